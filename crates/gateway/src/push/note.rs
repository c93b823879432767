//! What a browser is told: as little as a notification needs, since a payload has 4 KiB at most and old push services less.

use apiary_store::{CameraEvent, EventKind, PushKind};
use apiary_wire::id::CameraId;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jiff::Timestamp;
use serde::Serialize;

/// Longest text of a person or a camera in a message, in characters.
const MAX_TEXT: usize = 80;
/// Longest topic (RFC 8030 §5.4).
const TOPIC_LEN: usize = 32;
/// What the message of a trial says that happened.
const TEST: &str = "test";
/// What somebody notices is of interest for so long, in seconds.
const ACTIVITY_TTL_S: u32 = 3600;
/// That a camera is away is so for longer.
const OFFLINE_TTL_S: u32 = 12 * 3600;

/// Something that happened at a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) camera: CameraId,
    pub(super) kind: PushKind,
    /// What the camera calls what it noticed.
    pub(super) activity: Option<String>,
    pub(super) at: Timestamp,
}

/// The message. Never HTML: a browser shows it as text.
#[derive(Serialize)]
struct Payload<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    camera: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    at: String,
}

impl Payload<'_> {
    fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts are JSON")
    }
}

impl Note {
    /// A camera is away.
    pub(super) fn offline(camera: CameraId, at: Timestamp) -> Self {
        Self {
            camera,
            kind: PushKind::Offline,
            activity: None,
            at,
        }
    }

    /// What a camera began to notice.
    pub(super) fn of(event: &CameraEvent) -> Option<Self> {
        match event.kind {
            EventKind::ActivityStart => {}
            EventKind::ActivityStop
            | EventKind::Connection
            | EventKind::Status
            | EventKind::State => return None,
        }
        let kind = match event.activity_type.as_deref() {
            Some("PERSON") => PushKind::Person,
            Some("MOTION") => PushKind::Motion,
            Some("AUDIO") => PushKind::Audio,
            Some(_) | None => PushKind::Other,
        };
        let activity = event.activity_type.clone();
        Some(Self {
            camera: event.camera,
            kind,
            activity: activity.filter(|_| kind == PushKind::Other),
            at: event.at,
        })
    }

    /// The message about it, with what its owner calls the camera.
    pub(super) fn message(&self, name: Option<&str>) -> Vec<u8> {
        let payload = Payload {
            kind: self.kind.as_str(),
            activity: self.activity.as_deref().map(short),
            camera: Some(self.camera.to_string()),
            name: name.map(short),
            at: self.at.to_string(),
        };
        payload.json()
    }

    /// What a later message of the same kind about the same camera has too: it takes the place of the earlier one.
    /// It says nothing to the push service.
    pub(super) fn topic(&self) -> String {
        let named = format!("{} {}", self.camera, self.kind);
        let mut topic = BASE64.encode(digest(&SHA256, named.as_bytes()));
        topic.truncate(TOPIC_LEN);
        topic
    }

    /// For how long it is of interest, in seconds.
    pub(super) fn ttl_s(&self) -> u32 {
        match self.kind {
            PushKind::Person | PushKind::Motion | PushKind::Audio | PushKind::Other => {
                ACTIVITY_TTL_S
            }
            PushKind::Offline => OFFLINE_TTL_S,
        }
    }

    /// Whether a telephone should be woken for it (RFC 8030 §5.3).
    pub(super) fn urgency(&self) -> &'static str {
        match self.kind {
            PushKind::Person | PushKind::Motion | PushKind::Audio | PushKind::Other => "high",
            PushKind::Offline => "normal",
        }
    }
}

/// The message of a trial.
pub(super) fn trial(at: Timestamp) -> Vec<u8> {
    let payload = Payload {
        kind: TEST,
        activity: None,
        camera: None,
        name: None,
        at: at.to_string(),
    };
    payload.json()
}

fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use apiary_store::EventId;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    const CAMERA: CameraId = CameraId::from_bytes([7; 16]);

    fn noticed(kind: EventKind, activity: Option<&str>) -> Option<Note> {
        Note::of(&CameraEvent {
            id: EventId(Uuid::nil()),
            camera: CAMERA,
            kind,
            at: Timestamp::UNIX_EPOCH,
            event_id: None,
            activity_type: activity.map(str::to_owned),
            confidence: None,
            detail: None,
            payload: None,
        })
    }

    #[test]
    fn what_a_camera_begins_to_notice_is_told_and_nothing_else() {
        let kind = |activity| noticed(EventKind::ActivityStart, activity).map(|note| note.kind);
        assert_eq!(kind(Some("PERSON")), Some(PushKind::Person));
        assert_eq!(kind(Some("MOTION")), Some(PushKind::Motion));
        assert_eq!(kind(Some("AUDIO")), Some(PushKind::Audio));
        assert_eq!(kind(Some("PET")), Some(PushKind::Other));
        assert_eq!(kind(None), Some(PushKind::Other));
        for other in [
            EventKind::ActivityStop,
            EventKind::Connection,
            EventKind::Status,
            EventKind::State,
        ] {
            assert_eq!(noticed(other, Some("PERSON")), None);
        }
    }

    #[test]
    fn a_message_is_small_whatever_it_is_told() {
        let evil = "<script>\u{1f41d}".repeat(1000);
        let note = noticed(EventKind::ActivityStart, Some(&evil)).unwrap();
        let message = note.message(Some(&evil));
        assert!(message.len() < 1500, "{}", message.len());
        let note = noticed(EventKind::ActivityStart, Some("PERSON")).unwrap();
        let message: Value = serde_json::from_slice(&note.message(Some("Porch"))).unwrap();
        let expected = json!({
            "kind": "person",
            "camera": CAMERA.to_string(),
            "name": "Porch",
            "at": "1970-01-01T00:00:00Z",
        });
        assert_eq!(message, expected);
    }

    #[test]
    fn a_topic_is_of_a_camera_and_a_kind_and_fits() {
        let motion = noticed(EventKind::ActivityStart, Some("MOTION")).unwrap();
        let person = noticed(EventKind::ActivityStart, Some("PERSON")).unwrap();
        assert_eq!(motion.topic().len(), TOPIC_LEN);
        assert_ne!(motion.topic(), person.topic());
        assert_eq!(motion.topic(), motion.clone().topic());
        assert!(!motion.topic().contains(&CAMERA.to_string()));
    }
}
