//! What the supervisor tells: how streams, viewers and cameras stand, as plain values.

use std::sync::Arc;
use std::time::Duration;

use apiary_core::lifecycle::{Health, Phase};
use apiary_media::engine::{CloseReason, ViewerGoneReason};
use apiary_store::{CameraEvent, CameraLabel, CameraReport};
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use jiff::Timestamp;

use super::totals::class_of_gone;
use crate::reason::{Code, Reason};

/// A session of a camera's stream, running or the last that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSnapshot {
    /// Whose.
    pub camera: CameraId,
    /// `stream-{camera id, first 8}-{stream id, first 8}`; stays when the camera is told to play again.
    pub session_id: String,
    /// The current run of the camera.
    pub stream: StreamId,
    /// Where it stands.
    pub phase: Phase,
    /// How well it does.
    pub health: Health,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub stopped_at: Option<Timestamp>,
    /// Who watches, those who are joining included.
    pub viewer_count: usize,
    /// The engine's name of the stream, once its leg is open.
    pub pipeline_id: Option<String>,
    /// The engine's name of the camera's leg.
    pub rtp_endpoint_id: Option<String>,
    /// The engine's name of the first viewer's leg.
    pub webrtc_endpoint_id: Option<String>,
    /// Why it failed.
    pub error: Option<Reason>,
    /// Its keepalives.
    pub keepalive: KeepaliveSnapshot,
    /// Starts of this camera since the program started.
    pub starts: u64,
    /// Stops of this camera that were asked for.
    pub stops: u64,
    /// Streams of this camera that failed.
    pub errors: u64,
    /// How the last of them failed.
    pub last_error: Option<String>,
}

/// The keepalives of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeepaliveSnapshot {
    /// More are to come.
    pub running: bool,
    /// Time between two.
    pub interval: Duration,
    /// Sent so far.
    pub count: u64,
    /// Failed so far.
    pub errors: u64,
    /// When the broker last acknowledged one.
    pub last_success: Option<Timestamp>,
    /// How one last failed.
    pub last_error: Option<String>,
    /// Since the first, until now or the end.
    pub elapsed: Duration,
}

/// Someone who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewerSnapshot {
    /// Who.
    pub viewer: ViewerId,
    /// What.
    pub camera: CameraId,
    /// The current run of that camera.
    pub stream: StreamId,
    /// Since when.
    pub created_at: Timestamp,
    /// The engine's name of the viewer's leg; empty while joining.
    pub webrtc_endpoint_id: String,
    /// The stream is being sent to it.
    pub connected: bool,
}

/// A camera that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraSnapshot {
    /// Which.
    pub camera: CameraId,
    /// What its owner says of it.
    pub label: CameraLabel,
    /// Whether it is connected to the broker; `None` when that was never heard.
    pub online: Option<bool>,
    /// When it was last heard.
    pub last_seen: Option<Timestamp>,
    /// Its firmware version.
    pub firmware: Option<String>,
    /// Its model.
    pub hardware: Option<String>,
    /// Its own address, as it says.
    pub address: Option<String>,
    /// What it last said of itself.
    pub report: CameraReport,
    /// For how long it had been up when it last told.
    pub uptime_s: Option<f64>,
    /// What it notices just now.
    pub noticed: Option<Noticed>,
}

/// Who talks to a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talker {
    /// Which viewer.
    pub viewer: ViewerId,
    /// Whose voice it is.
    pub name: Arc<str>,
    /// Since when.
    pub since: Timestamp,
}

/// Something that a camera notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// `MOTION`, `PERSON`, …
    pub kind: Option<String>,
    /// When it was first heard of here.
    pub since: Timestamp,
}

/// What changed.
#[derive(Clone, Debug)]
pub enum SupervisorEvent {
    /// A stream's phase, health, run or number of viewers.
    StreamChanged(StreamSnapshot),
    /// A viewer's offer was answered.
    ViewerJoined {
        /// Who.
        viewer: ViewerId,
        /// Whom it watches.
        camera: CameraId,
    },
    /// A viewer is gone, and will not be told by other means.
    ViewerGone {
        /// Who.
        viewer: ViewerId,
        /// Whom it watched.
        camera: CameraId,
        /// Why, for the viewer to read.
        reason: Reason,
        /// Joining again at once makes sense, without anybody's doing.
        retry: bool,
        /// It had joined; otherwise it was still about to.
        joined: bool,
    },
    /// Something happened to a camera that is remembered.
    CameraEvent(CameraEvent),
    /// Somebody talks to a camera, or nobody any more.
    TalkChanged {
        /// Which.
        camera: CameraId,
        /// Who.
        talker: Option<Talker>,
    },
    /// What is known of a camera; its `last_seen` alone is no event.
    CameraChanged(CameraSnapshot),
}

/// Why a viewer is gone, as its page is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    code: Code,
    text: &'static str,
    pub(super) retry: bool,
    /// Under which it is counted.
    pub(super) class: &'static str,
}

impl Gone {
    /// The viewer wanted it.
    pub(super) const LEFT: Self = Self::for_good("left", Code::ViewerLeft, "the viewer left");
    /// The viewer may not watch any more.
    pub(super) const EXPELLED: Self = Self::for_good(
        "expelled",
        Code::Expelled,
        "the right to watch this camera has ended",
    );
    /// The event that said why was lost.
    pub(super) const UNKNOWN: Self =
        Self::for_now("unknown", Code::ViewerLost, "the viewer's connection ended");

    pub(super) fn new(reason: &ViewerGoneReason) -> Self {
        let class = class_of_gone(reason);
        match reason {
            ViewerGoneReason::Left => Self::LEFT,
            ViewerGoneReason::Expired => {
                Self::for_now(class, Code::ViewerLost, "the viewer's connection was lost")
            }
            ViewerGoneReason::Failed(_) => Self::for_now(
                class,
                Code::HandshakeFailed,
                "the encrypted connection could not be set up",
            ),
            ViewerGoneReason::NeverConnected => Self::for_now(
                class,
                Code::NeverConnected,
                "the viewer never connected: UDP between the browser and this server may be blocked",
            ),
            ViewerGoneReason::StreamClosed(CloseReason::Stopped) => {
                Self::for_good(class, Code::StreamStopped, "the stream was stopped")
            }
            ViewerGoneReason::StreamClosed(CloseReason::Failed) => {
                Self::for_good(class, Code::StreamFailed, "the stream failed")
            }
            ViewerGoneReason::StreamClosed(CloseReason::Shutdown) => {
                Self::for_now(class, Code::ShuttingDown, "the server is shutting down")
            }
            ViewerGoneReason::WorkerLost => {
                Self::for_now(class, Code::WorkerLost, "the media worker failed")
            }
            ViewerGoneReason::ServerLost => Self::for_now(
                class,
                Code::MediaServerLost,
                "the media server that served it was lost",
            ),
            ViewerGoneReason::Moved => Self::for_now(
                class,
                Code::StreamMoves,
                "the stream moves to another media server",
            ),
        }
    }

    pub(super) fn reason(&self) -> Reason {
        Reason::new(self.code, self.text)
    }

    const fn for_good(class: &'static str, code: Code, text: &'static str) -> Self {
        Self {
            code,
            text,
            retry: false,
            class,
        }
    }

    const fn for_now(class: &'static str, code: Code, text: &'static str) -> Self {
        Self {
            code,
            text,
            retry: true,
            class,
        }
    }
}
