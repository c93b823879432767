//! Why the supervisor cannot do what was asked.

use apiary_media::engine::EngineError;
use apiary_store::NotKept;
use apiary_wire::id::CameraId;
use apiary_wire::units::Bitrate;

use super::snapshot::StreamSnapshot;
use crate::mqtt::ControlError;

/// Why a stream does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One stream a camera: this is it.
    #[error("camera {} is streaming already, as session {}", .0.camera, .0.session_id)]
    AlreadyRunning(Box<StreamSnapshot>),
    /// The bitrate bounds that were asked for contradict each other.
    #[error(
        "the bitrate bounds make no sense: the minimum ({} kbit/s) must be above zero and at most the maximum ({} kbit/s)",
        .min.as_kbps(),
        .max.as_kbps()
    )]
    BadBounds {
        /// The minimum that would hold.
        min: Bitrate,
        /// The maximum that would hold.
        max: Bitrate,
    },
    /// As many cameras stream as may.
    #[error("{limit} cameras stream already, the most that may (stream.max_streams)")]
    StreamLimit {
        /// How many may.
        limit: u32,
    },
    /// The media engine has no room for it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The program ends.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Why a viewer cannot watch.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The camera was idle and cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// All viewers together may be sent as much as may be.
    #[error(
        "those who watch may be sent {limit_mbps} Mbit/s together, and one more would exceed it (media.max_total_mbps)"
    )]
    NoBandwidth {
        /// How much they may be sent.
        limit_mbps: u32,
    },
    /// The media engine refuses: the offer, or one viewer more.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Why a viewer cannot talk.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// It is somebody else's turn.
    #[error("{by} is talking to this camera just now; wait until they have finished")]
    Taken {
        /// Whose.
        by: String,
    },
    /// The media engine refuses.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The camera has no stream that could be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("camera {camera} has no stream")]
pub struct NoStream {
    /// The camera.
    pub camera: CameraId,
}

/// Why a camera is not commanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nobody ever heard of that camera.
    #[error("camera {0} is not known: it was never heard of, and nobody asked for it yet")]
    UnknownCamera(CameraId),
    /// It would not hear the command.
    #[error("camera {0} is not connected, so it was not told; try again when it is back")]
    Offline(CameraId),
    /// The broker did not take the command.
    #[error("camera {camera} was not told: {source}")]
    Control {
        /// Which.
        camera: CameraId,
        /// Why.
        source: ControlError,
    },
}

/// There is no picture of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPicture {
    /// It does not want to be looked through.
    #[error("camera {0} is in the mode PRIVACY, in which no picture of it is shown")]
    Private(CameraId),
    /// None came since the program started, or it is gone again.
    #[error(
        "there is no picture of camera {0}: it did not stream lately, or the media engine sees no pictures; watch it to have one"
    )]
    None(CameraId),
}

/// What an owner said of a camera is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nobody ever heard of that camera.
    #[error("camera {0} is not known: it was never heard of, and nobody asked for it yet")]
    UnknownCamera(CameraId),
    /// The database did not take it.
    #[error(transparent)]
    NotKept(#[from] NotKept),
}
