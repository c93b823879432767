//! Which messages of a camera are worth remembering, and as what.
//!
//! - Each activity is, once: a message that the broker delivers twice is one event.
//! - Connections are where they change something, and every hello, since the camera has restarted then.
//! - Status comes each ten minutes and state whenever asked for: both are only where they say something new (another word,
//!   another mode or setting). The last readings are in the camera's row anyhow.
//! - What the broker kept for new subscribers happened at some other time, and is none.
//! - A camera that says more than [`Allowance`] lets through is not believed to mean it.

use apiary_store::{CameraEvent, CameraRow, EventId, EventKind};
use apiary_wire::camera::{Activity, CameraMessage, ConnectionStatus};
use apiary_wire::id::CameraId;
use jiff::{SignedDuration, Timestamp};
use uuid::{ContextV7, Uuid};

use super::cameras::{Presence, shorten};

/// Longest message that is kept with its event, in bytes.
pub(super) const PAYLOAD_LIMIT: usize = 4096;
/// Rows that the messages of one camera may cause in an [`ALLOWANCE_TIME`].
const ALLOWANCE: u32 = 1200;
const ALLOWANCE_TIME: SignedDuration = SignedDuration::from_hours(1);

/// How much of what a camera says is still written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    since: Timestamp,
    used: u32,
}

impl Allowance {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            used: 0,
        }
    }

    /// Whether one more may be written.
    pub(super) fn take(&mut self, camera: CameraId, now: Timestamp) -> bool {
        // A clock that was set back begins anew too.
        if now.duration_since(self.since).abs() >= ALLOWANCE_TIME {
            *self = Self::new(now);
        }
        self.used = self.used.saturating_add(1);
        if self.used == ALLOWANCE + 1 {
            tracing::warn!(%camera, limit = ALLOWANCE, "a camera says more than is kept of it; ignored for up to an hour");
        }
        self.used <= ALLOWANCE
    }
}

/// A message of a camera, and when it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) camera: CameraId,
    pub(super) message: &'a CameraMessage,
    /// As it came.
    pub(super) raw: &'a [u8],
    /// It is a memory of the broker.
    pub(super) retained: bool,
    pub(super) now: Timestamp,
}

/// Makes the events of all cameras.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Keeps the order of keys that of events, within a millisecond too.
    keys: ContextV7,
}

impl Events {
    /// The event that a message is, `before` and `after` which the camera's row was like this.
    pub(super) fn of(
        &self,
        said: Said<'_>,
        presence: Option<Presence>,
        before: &CameraRow,
        after: &CameraRow,
    ) -> Option<CameraEvent> {
        if said.retained {
            return None;
        }
        let event = |kind, detail: Option<&str>| CameraEvent {
            id: self.key(said.now),
            camera: said.camera,
            kind,
            at: said.now,
            event_id: None,
            activity_type: None,
            confidence: None,
            detail: detail.map(shorten),
            payload: payload(said.raw),
        };
        let activity = |kind, activity: &Activity| CameraEvent {
            event_id: activity.event_id.as_deref().map(shorten),
            activity_type: activity.activity_type.as_deref().map(shorten),
            confidence: activity.confidence,
            ..event(kind, None)
        };
        match said.message {
            CameraMessage::ActivityStart(found) => Some(activity(EventKind::ActivityStart, found)),
            CameraMessage::ActivityStop(found) => Some(activity(EventKind::ActivityStop, found)),
            CameraMessage::Connection(connection) => {
                let news =
                    before.connection != after.connection || presence == Some(Presence::Hello);
                let word = match connection.status? {
                    ConnectionStatus::Connected => "connected",
                    ConnectionStatus::Disconnected => "disconnected",
                };
                news.then(|| event(EventKind::Connection, Some(word)))
            }
            CameraMessage::Status(_) => (before.report.status != after.report.status)
                .then(|| event(EventKind::Status, after.report.status.as_deref())),
            CameraMessage::State(_) => (before.report.settings != after.report.settings)
                .then(|| event(EventKind::State, after.report.mode.as_deref())),
            CameraMessage::Other { .. } => None,
        }
    }

    fn key(&self, now: Timestamp) -> EventId {
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        EventId(Uuid::new_v7(uuid::Timestamp::from_unix(
            &self.keys, seconds, nanos,
        )))
    }
}

/// Half a message would be no JSON, so one that is too long is left out.
fn payload(raw: &[u8]) -> Option<String> {
    if raw.is_empty() || raw.len() > PAYLOAD_LIMIT {
        return None;
    }
    std::str::from_utf8(raw).ok().map(str::to_owned)
}
