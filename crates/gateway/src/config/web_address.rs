//! Addresses of servers that the program asks for something, and believes.

use url::Url;

use super::raw::RawValue;
use super::values::{Parsed, reject, text};
use crate::fetch::may_be_asked;

/// An `https://` address; `http://` for this machine alone, since anybody on the way could answer.
pub(super) fn asked(value: &RawValue) -> Parsed<Url> {
    const HINT: &str = "write https://host/path";
    let url = match Url::parse(&text(value)?) {
        Ok(url) => url,
        Err(error) => return reject(format!("it is no URL: {error}"), HINT),
    };
    if !["http", "https"].contains(&url.scheme()) {
        return reject("it is no https:// address", HINT);
    }
    if !may_be_asked(&url) {
        return reject(
            "it is asked without TLS, so that anybody on the way could answer in its place",
            "use https://; http:// is for this machine alone",
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        return reject("it holds a user name or a password", "leave them out");
    }
    if url.fragment().is_some() {
        return reject("it has a part after #", "leave it out");
    }
    Ok(url)
}
