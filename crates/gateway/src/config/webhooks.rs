//! The section `[webhooks]`: who is told what happens, and how it is proved that we said it.
//!
//! Values and their rules. How events are sent does not belong here.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use apiary_wire::CameraId;
use url::Url;

use super::raw::RawValue;
use super::reader::Reader;
use super::values::{self, IpNetwork, Parsed, Rejection, integer, reject, seconds, text};
use crate::secret::Secret;
use crate::webhooks::address;

/// Most receivers: each has a queue, a file and a task of its own.
const MAX_RECEIVERS: usize = 16;
/// Longest URL of a receiver.
const MAX_URL: usize = 2048;
/// Shortest secret: 16 characters cannot be guessed by who sees what they signed, if they are random.
const MIN_SECRET: usize = 16;
/// Longest secret.
const MAX_SECRET: usize = 256;

/// `[webhooks]`, where there is a receiver.
#[derive(Clone, Debug)]
pub struct WebhooksConfig {
    /// Who is told. No two are the same.
    pub receivers: Vec<ReceiverUrl>,
    /// What everything that is sent is signed with.
    pub secret: Secret,
    /// What is told of.
    pub kinds: Vec<EventKind>,
    /// The cameras that are told of; none: all.
    pub cameras: Vec<CameraId>,
    /// Networks in which receivers may be although they are not of the internet.
    pub allow_private: Vec<IpNetwork>,
    /// The certificate authority (PEM) of `https://` receivers; without it the system's count.
    pub ca: Option<PathBuf>,
    /// Most events that wait for one receiver.
    pub queue_limit: usize,
    /// An event that could not be sent for so long is dropped.
    pub keep: Duration,
}

/// Where a receiver is. Prints without its path, in which many services have a token.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiverUrl(Url);

impl ReceiverUrl {
    /// The URL itself, for sending; never for a message.
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

#[cfg(test)]
impl ReceiverUrl {
    pub(crate) fn of(text: &str) -> Self {
        receiver(&RawValue::Text(text.to_owned())).unwrap()
    }
}

impl fmt::Display for ReceiverUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.0.scheme())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        match self.0.path() {
            "" | "/" => Ok(()),
            _ => f.write_str("/…"),
        }
    }
}

impl fmt::Debug for ReceiverUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A camera's pictures flow.
    StreamStarted,
    /// A stream that was started is over, as wished.
    StreamStopped,
    /// A stream ended by a failure, or could not start.
    StreamFailed,
    /// No pictures come from the camera; it is asked for new ones.
    StreamStalled,
    /// They come again.
    StreamResumed,
    /// Somebody watches.
    ViewerJoined,
    /// Somebody does no longer.
    ViewerLeft,
    /// A camera is connected to the broker.
    CameraOnline,
    /// A camera is not connected any more.
    CameraOffline,
    /// A camera noticed something.
    ActivityStarted,
    /// What it noticed is over.
    ActivityStopped,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::StreamStarted,
        Self::StreamStopped,
        Self::StreamFailed,
        Self::StreamStalled,
        Self::StreamResumed,
        Self::ViewerJoined,
        Self::ViewerLeft,
        Self::CameraOnline,
        Self::CameraOffline,
        Self::ActivityStarted,
        Self::ActivityStopped,
    ];

    /// Its name in the configuration and in what is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamStarted => "stream.started",
            Self::StreamStopped => "stream.stopped",
            Self::StreamFailed => "stream.failed",
            Self::StreamStalled => "stream.stalled",
            Self::StreamResumed => "stream.resumed",
            Self::ViewerJoined => "viewer.joined",
            Self::ViewerLeft => "viewer.left",
            Self::CameraOnline => "camera.online",
            Self::CameraOffline => "camera.offline",
            Self::ActivityStarted => "activity.started",
            Self::ActivityStopped => "activity.stopped",
        }
    }

    /// Those that a name means: one, or all of a group.
    fn named(name: &str) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |kind| {
            let (group, _) = kind.as_str().split_once('.').unwrap_or_default();
            name == kind.as_str() || name == group
        })
    }
}

/// Reads the section; `None` where no receiver is named.
pub(super) fn load(reader: &mut Reader) -> Option<WebhooksConfig> {
    let receivers = reader.read("webhooks.urls", receivers).unwrap_or_default();
    let secret = reader.read("webhooks.secret", secret);
    let kinds = reader.read("webhooks.events", kinds);
    let cameras = reader.read("webhooks.cameras", |value| values::list(value, camera));
    let networks = |value: &_| values::list(value, values::network);
    let allow_private = reader.read("webhooks.allow_private", networks);
    let ca = reader.read("webhooks.ca", values::readable_file);
    let queue_limit = reader.read("webhooks.queue_limit", integer(1..=100_000));
    let keep = reader.read("webhooks.keep_s", seconds(60..=2_592_000));
    let allow_private = allow_private.unwrap_or_default();
    if receivers.is_empty() {
        return None;
    }
    refuse_private_literals(&receivers, &allow_private, reader);
    if secret.is_none() && !reader.has_failed("webhooks.secret") {
        let problem =
            "it needs webhooks.secret: receivers could not tell our events from others' without";
        let remedy = "set that to something random that only the receivers know too, what `openssl rand -hex 32` prints";
        refuse(reader, "webhooks.urls", problem, remedy);
    }
    Some(WebhooksConfig {
        receivers,
        secret: secret?,
        kinds: kinds.unwrap_or_else(|| EventKind::ALL.to_vec()),
        cameras: cameras.unwrap_or_default(),
        allow_private,
        ca,
        queue_limit: queue_limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(1000),
        keep: keep.unwrap_or(Duration::from_secs(86_400)),
    })
}

/// What names will turn out to be is seen when they are looked up; an address says so now.
fn refuse_private_literals(receivers: &[ReceiverUrl], allowed: &[IpNetwork], reader: &mut Reader) {
    if reader.has_failed("webhooks.allow_private") {
        return;
    }
    for receiver in receivers {
        if let Err(error) = address::check_literal(receiver.expose(), allowed) {
            let remedy = error.remedy();
            return refuse(reader, "webhooks.urls", error.to_string(), remedy);
        }
    }
}

fn refuse(
    reader: &mut Reader,
    key: &'static str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) {
    let (problem, remedy) = (problem.into(), remedy.into());
    reader.refuse(key, Rejection { problem, remedy });
}

fn receivers(value: &RawValue) -> Parsed<Vec<ReceiverUrl>> {
    let receivers = values::list(value, receiver)?;
    if receivers.len() > MAX_RECEIVERS {
        return reject(
            format!("there are {}", receivers.len()),
            format!("name at most {MAX_RECEIVERS}, and let one of them pass events on"),
        );
    }
    let is_again = |(at, url): &(usize, &ReceiverUrl)| receivers[..*at].contains(url);
    match receivers.iter().enumerate().find(is_again) {
        Some((_, url)) => reject(format!("{url} is there twice"), "remove one of them"),
        None => Ok(receivers),
    }
}

/// Errors do not repeat the text: it may hold a token.
fn receiver(value: &RawValue) -> Parsed<ReceiverUrl> {
    const HINT: &str = "write https://host/path";
    let text = text(value)?;
    if text.len() > MAX_URL {
        return reject(format!("a URL is longer than {MAX_URL} characters"), HINT);
    }
    let url = match Url::parse(&text) {
        Ok(url) => url,
        Err(error) => return reject(format!("one is no URL: {error}"), HINT),
    };
    if !["http", "https"].contains(&url.scheme()) {
        return reject("one is neither https:// nor http://", HINT);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return reject(
            "one holds a user name or a password, which are not sent",
            "leave them out: what is sent is signed with webhooks.secret",
        );
    }
    if url.fragment().is_some() {
        return reject("one has a part after #, which is not sent", "leave it out");
    }
    Ok(ReceiverUrl(url))
}

fn secret(value: &RawValue) -> Parsed<Secret> {
    let secret = text(value)?;
    match secret.chars().count() {
        MIN_SECRET..=MAX_SECRET => Ok(Secret::new(secret)),
        _ => reject(
            format!("it has fewer than {MIN_SECRET} characters or more than {MAX_SECRET}"),
            "take what `openssl rand -hex 32` prints",
        ),
    }
}

fn kinds(value: &RawValue) -> Parsed<Vec<EventKind>> {
    let named = |value: &_| {
        let name = text(value)?;
        let found: Vec<EventKind> = EventKind::named(&name).collect();
        if found.is_empty() {
            let all = EventKind::ALL.map(EventKind::as_str).join(", ");
            return reject(
                format!("`{}` is no event", name.escape_debug()),
                format!(
                    "write `stream`, `viewer`, `camera` or `activity` for all of a group, or one of {all}"
                ),
            );
        }
        Ok(found)
    };
    let mut kinds = values::list(value, named)?.concat();
    if kinds.is_empty() {
        return reject(
            "it names no event",
            "leave the key out for all events, or empty webhooks.urls to send none",
        );
    }
    let all = EventKind::ALL;
    kinds.sort_by_key(|kind| all.iter().position(|known| known == kind));
    kinds.dedup();
    Ok(kinds)
}

fn camera(value: &RawValue) -> Parsed<CameraId> {
    text(value)?.parse().or_else(|error| {
        reject(
            format!("one is no camera id: {error}"),
            "write ids as the dashboard shows them",
        )
    })
}
