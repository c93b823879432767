//! What is said on the socket. Pages ignore types and fields that they do not know.

use apiary_wire::id::CameraId;
use serde::Serialize;

use crate::http::rest::{CameraEntry, EventEntry};

/// From the server.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ServerMessage<'a> {
    /// The first of each socket.
    Hello {
        id: &'a str,
        /// What followed `after` comes now; otherwise a snapshot does.
        resumed: bool,
        time: String,
        version: &'static str,
    },
    /// How all stands; what was known before counts no more.
    Snapshot {
        id: &'a str,
        cameras: Vec<CameraEntry>,
        #[serde(flatten)]
        system: &'a System,
    },
    /// Something of a camera is different.
    Camera {
        id: &'a str,
        camera: &'a CameraEntry,
    },
    /// A camera may not be seen any more.
    Gone { id: &'a str, camera_id: CameraId },
    /// Something happened to a camera.
    Event { id: &'a str, event: &'a EventEntry },
    /// What concerns all cameras is different.
    System {
        id: &'a str,
        #[serde(flatten)]
        system: &'a System,
    },
}

/// What concerns all cameras.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct System {
    /// Whether cameras can be commanded.
    pub(super) broker_connected: bool,
    /// Why the media engine can take no streams; guests are not told.
    pub(super) engine_error: Option<String>,
}

impl System {
    pub(super) fn for_guests(&self) -> Self {
        Self {
            engine_error: None,
            ..self.clone()
        }
    }
}

impl ServerMessage<'_> {
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and ids always become JSON")
    }
}
