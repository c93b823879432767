//! The rows as typed values.

mod camera;

use std::fmt;
use std::str::FromStr;

use apiary_wire::id::{CameraId, StreamId, ViewerId};
use jiff::Timestamp;

use crate::accounts::AuditRow;
pub use camera::{
    CameraEvent, CameraLabel, CameraReport, CameraRow, ConnectionState, EventFilter, EventId,
    EventKind,
};

/// One session of a stream, from its start to its end; `stream` changes when the camera is told to play again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSession {
    /// `stream-{camera}-{stream}`, the key.
    pub session_id: String,
    /// Whose stream.
    pub camera: CameraId,
    /// The current or last run of the camera.
    pub stream: StreamId,
    /// The stream's name in the engine.
    pub pipeline_id: Option<String>,
    /// The camera leg's name in the engine.
    pub rtp_endpoint_id: Option<String>,
    /// The first viewer leg's name in the engine.
    pub webrtc_endpoint_id: Option<String>,
    /// Where it stands.
    pub status: SessionStatus,
    /// When it was started.
    pub created_at: Timestamp,
    /// When this row was last changed.
    pub updated_at: Timestamp,
    /// When it ended; a row without it is open.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub error_message: Option<String>,
}

/// Where a stream's session stands: the names that the API shows, and `interrupted` after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// No RTP yet.
    Starting,
    /// RTP came.
    Active,
    /// The camera is being told to stop.
    Stopping,
    /// Over, as wished.
    Stopped,
    /// Over, by a failure.
    Error,
    /// Over, because the program ended without closing it.
    Interrupted,
}

/// One viewer's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewerSession {
    /// The key.
    pub viewer: ViewerId,
    /// The stream session that it watches.
    pub session_id: String,
    /// Its leg's name in the engine.
    pub webrtc_endpoint_id: Option<String>,
    /// What its browser calls itself.
    pub user_agent: Option<String>,
    /// From where it came.
    pub ip_address: Option<String>,
    /// When it joined.
    pub connected_at: Timestamp,
    /// When it was gone; a row without it is open.
    pub disconnected_at: Option<Timestamp>,
}

/// A session that was open when the program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterruptedSession {
    /// The session.
    pub session_id: String,
    /// Its camera, which may still be sending.
    pub camera: CameraId,
    /// The run of the camera to stop.
    pub stream: StreamId,
}

/// Something to be written: the whole row, new or not.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A stream's session.
    StreamSession(StreamSession),
    /// A viewer's session.
    ViewerSession(ViewerSession),
    /// A camera.
    Camera(CameraRow),
    /// An entry of the audit log that nobody waits for.
    Audit(AuditRow),
    /// Something that happened to a camera.
    CameraEvent(CameraEvent),
}

impl Write {
    /// What it is about, for the log.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::StreamSession(row) => format!("stream session {}", row.session_id),
            Self::ViewerSession(row) => format!("viewer session {}", row.viewer),
            Self::Camera(row) => format!("camera {}", row.camera),
            Self::Audit(row) => format!("audit entry {}", row.action),
            Self::CameraEvent(row) => format!("event {} of camera {}", row.id, row.camera),
        }
    }
}

/// A word in the database that this program does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no known value")]
pub struct UnknownWord(String);

impl UnknownWord {
    pub(crate) fn new(word: &str) -> Self {
        Self(word.chars().take(40).collect())
    }
}

macro_rules! words {
    ($type:ty { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word in the database and the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $type {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    other => Err(UnknownWord::new(other)),
                }
            }
        }
    };
}

pub(crate) use words;

words!(SessionStatus {
    Starting = "starting",
    Active = "active",
    Stopping = "stopping",
    Stopped = "stopped",
    Error = "error",
    Interrupted = "interrupted",
});

words!(ConnectionState {
    Unknown = "unknown",
    Connected = "connected",
    Disconnected = "disconnected",
});

words!(EventKind {
    ActivityStart = "activity_start",
    ActivityStop = "activity_stop",
    Connection = "connection",
    Status = "status",
    State = "state",
});
