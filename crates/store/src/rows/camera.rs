//! Cameras, and what happened to them.

use std::fmt;
use std::str::FromStr;

use apiary_wire::id::CameraId;
use jiff::Timestamp;
use uuid::Uuid;

/// What is known of a camera.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraRow {
    /// The key.
    pub camera: CameraId,
    /// What its owner says of it.
    pub label: CameraLabel,
    /// Its address, as it says itself.
    pub ip_address: Option<String>,
    /// Its `softwareVersion`.
    pub firmware_version: Option<String>,
    /// Its `hardwareVersion`, such as `VBC01`.
    pub hardware: Option<String>,
    /// Its `serialNumber`.
    pub serial_number: Option<String>,
    /// What it last said of itself.
    pub report: CameraReport,
    /// Whether it is connected to the broker, as last heard.
    pub connection: ConnectionState,
    /// When it was last heard.
    pub last_seen: Option<Timestamp>,
    /// When it became known.
    pub created_at: Timestamp,
    /// When this row was last changed.
    pub updated_at: Timestamp,
}

impl CameraRow {
    /// A camera of which nothing is known but that it exists.
    #[must_use]
    pub fn new(camera: CameraId, now: Timestamp) -> Self {
        Self {
            camera,
            label: CameraLabel::default(),
            ip_address: None,
            firmware_version: None,
            hardware: None,
            serial_number: None,
            report: CameraReport::default(),
            connection: ConnectionState::Unknown,
            last_seen: None,
            created_at: now,
            updated_at: now,
        }
    }
}

/// What an owner says of a camera.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CameraLabel {
    /// What it is called.
    pub name: Option<String>,
    /// Where it is.
    pub room: Option<String>,
    /// Its place in lists, small ones first.
    pub position: Option<u32>,
}

/// What a camera last said of itself; what it never said is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CameraReport {
    /// The `status` of its last status message.
    pub status: Option<String>,
    /// Its mode, such as `ARMED`.
    pub mode: Option<String>,
    /// Its last state message, as JSON.
    pub settings: Option<String>,
    /// How full its battery is, in per cent.
    pub battery_percent: Option<f64>,
    /// Its radio's signal, in the camera's own measure, presumably dBm.
    pub signal: Option<f64>,
    /// In degrees, presumably Celsius.
    pub temperature: Option<f64>,
}

/// Whether a camera is connected to the broker, as last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// It was never heard.
    Unknown,
    /// It said hello.
    Connected,
    /// It said goodbye, or its last will came.
    Disconnected,
}

/// Something that happened to a camera.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraEvent {
    /// The key.
    pub id: EventId,
    /// Whose.
    pub camera: CameraId,
    /// What.
    pub kind: EventKind,
    /// When it was heard of here.
    pub at: Timestamp,
    /// The camera's own name for it, the same at start and stop.
    pub event_id: Option<String>,
    /// `MOTION`, `PERSON`, …
    pub activity_type: Option<String>,
    /// Scale unknown.
    pub confidence: Option<f64>,
    /// In a word, how the camera stands since: `connected`, its status, its mode.
    pub detail: Option<String>,
    /// The camera's message as it came, where it was not too long.
    pub payload: Option<String>,
}

/// Kinds of [`CameraEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The camera notices something.
    ActivityStart,
    /// That ended.
    ActivityStop,
    /// The camera came or went.
    Connection,
    /// Its status is another.
    Status,
    /// Its mode or settings are others.
    State,
}

/// Key of a [`CameraEvent`], a UUID of version 7: their order is that of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub Uuid);

impl EventId {
    /// The place in that order before which everything is older than `time`, to the millisecond.
    #[must_use]
    pub fn first_at(time: Timestamp) -> Self {
        let millis = u64::try_from(time.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Which events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of these cameras, or of all.
    pub cameras: Option<Vec<CameraId>>,
    /// Of this kind, or of all.
    pub kind: Option<EventKind>,
    /// Activities of this type, or whatever happened.
    pub activity_type: Option<String>,
}

impl EventFilter {
    /// The ids of the cameras, as they are kept.
    pub(crate) fn camera_ids(&self) -> Option<Vec<String>> {
        let cameras = self.cameras.as_ref()?;
        Some(cameras.iter().map(CameraId::to_string).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_is_that_of_time() {
        let time = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, 1_700_000_000, 123_000_000);
        let at_that_time = EventId(Uuid::new_v7(stamp));
        assert!(EventId::first_at(time) <= at_that_time);
        let later = Timestamp::from_millisecond(1_700_000_000_124).unwrap();
        assert!(at_that_time < EventId::first_at(later));
        assert!(at_that_time.to_string() < EventId::first_at(later).to_string());
        assert_eq!(
            EventId::first_at(Timestamp::MIN),
            EventId::first_at(Timestamp::UNIX_EPOCH)
        );
        let _ = EventId::first_at(Timestamp::MAX);
    }
}
