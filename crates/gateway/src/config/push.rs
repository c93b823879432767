//! The section `[push]`: notifications by Web Push.

use std::path::PathBuf;

use url::Url;

use super::raw::RawValue;
use super::reader::Reader;
use super::values::{self, IpNetwork, Parsed, reject, text};

/// Longest contact.
const MAX_CONTACT: usize = 200;

/// `[push]`
#[derive(Clone, Debug)]
pub struct PushConfig {
    /// Whether browsers may subscribe and are sent anything.
    pub enabled: bool,
    /// Whom push services may ask about what this server sends, as `mailto:` or `https:`.
    pub contact: Option<String>,
    /// Networks in which push services may be although they are not of the internet.
    pub allow_private: Vec<IpNetwork>,
    /// The certificate authority (PEM) of push services; without it the system's count.
    pub ca: Option<PathBuf>,
}

pub(super) fn load(reader: &mut Reader) -> PushConfig {
    let networks = |value: &_| values::list(value, values::network);
    PushConfig {
        enabled: reader.read("push.enabled", values::boolean).unwrap_or(true),
        contact: reader.read("push.contact", contact),
        allow_private: reader
            .read("push.allow_private", networks)
            .unwrap_or_default(),
        ca: reader.read("push.ca", values::readable_file),
    }
}

/// What RFC 8292 §2.1 takes.
fn contact(value: &RawValue) -> Parsed<String> {
    const HINT: &str = "write mailto:you@example.org, or the https:// address of a page";
    let text = text(value)?;
    let Ok(url) = Url::parse(&text) else {
        return reject("it is neither a mailto: nor an https:// address", HINT);
    };
    let is_contact = match url.scheme() {
        "mailto" => url.path().contains('@'),
        "https" => url.username().is_empty() && url.password().is_none(),
        _ => false,
    };
    if !is_contact || text.len() > MAX_CONTACT {
        return reject("it is neither a mailto: nor an https:// address", HINT);
    }
    Ok(url.to_string())
}
