//! The words in which a stream's machine and its driver talk: rules, inputs, outputs, phases.

use std::fmt;
use std::net::SocketAddrV4;
use std::time::Duration;

use apiary_wire::id::StreamId;
use apiary_wire::units::Ssrc;

/// The durations that the configuration sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Time from the start to the first RTP (`stream.start_timeout_s`).
    pub start_timeout: Duration,
    /// Time from the last viewer's leaving to the stop (`stream.idle_timeout_s`).
    pub idle_timeout: Duration,
    /// Time between two keepalives (`mqtt.keepalive_interval_s`).
    pub keepalive_interval: Duration,
    /// Silence after which the camera is told to play again (`stream.replay_timeout_s`).
    pub replay_after: Duration,
    /// Longest pause between two attempts to play again (`stream.replay_backoff_max_s`).
    pub replay_pause_max: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            start_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            keepalive_interval: Duration::from_secs(4),
            replay_after: Duration::from_secs(6),
            replay_pause_max: Duration::from_secs(30),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The stream shall run.
    StartAsked,
    /// The leg of this stream waits for the camera's picture at this address.
    LegOpened {
        /// The stream id given with the request.
        stream: StreamId,
        /// Advertised address and port of the picture's RTP.
        address: SocketAddrV4,
    },
    /// The leg could not be opened or rearmed.
    LegFailed {
        /// The stream id given with the request.
        stream: StreamId,
        /// What the engine said.
        reason: String,
    },
    /// The engine lost the leg; ports and viewers are gone.
    LegLost,
    /// The engine closed the leg.
    LegClosed,
    /// The broker acknowledged `stream/play`.
    PlayAcknowledged {
        /// The stream id of the play.
        stream: StreamId,
    },
    /// `stream/play` could not be published.
    PlayFailed {
        /// The stream id of the play.
        stream: StreamId,
        /// Why.
        reason: String,
    },
    /// The broker acknowledged a keepalive.
    KeepaliveAcknowledged {
        /// The stream id of the keepalive.
        stream: StreamId,
    },
    /// A keepalive could not be published.
    KeepaliveFailed {
        /// The stream id of the keepalive.
        stream: StreamId,
        /// Why.
        reason: String,
    },
    /// `stream/stop` was acknowledged, or cannot be published.
    StopSettled {
        /// The stream id of the stop.
        stream: StreamId,
    },
    /// Valid RTP of the picture flows: the first since open or rearm, or again after a silence.
    RtpFlowing,
    /// No valid RTP of the picture came for this long.
    RtpSilent {
        /// Time since the last packet.
        silent_for: Duration,
    },
    /// RTP came with an SSRC that was not handed out.
    ForeignSsrc {
        /// That SSRC.
        ssrc: Ssrc,
    },
    /// The camera said hello on the broker.
    CameraHello,
    /// The camera's last will came: it is offline.
    CameraOffline,
    /// So many viewers watch now.
    ViewersChanged {
        /// Their number.
        count: usize,
    },
    /// The stream shall end.
    StopAsked {
        /// Why.
        reason: StopReason,
    },
    /// [`Lifecycle::poll_timeout`](super::Lifecycle::poll_timeout) is due.
    Timeout,
}

/// Why a stream ends without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody asked for it.
    Asked,
    /// Nobody watches any more.
    Idle,
    /// The program ends.
    Shutdown,
}

/// Why the leg shall be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegClose {
    /// The stream was stopped.
    Stopped(StopReason),
    /// The stream failed.
    Failed,
}

/// What the driver shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open the engine's leg for this stream.
    OpenLeg {
        /// The id of this run of the camera.
        stream: StreamId,
    },
    /// Prepare the open leg for another play; viewers stay.
    RearmLeg {
        /// The id of the next run of the camera.
        stream: StreamId,
    },
    /// Publish `stream/play` with the SDP of the leg.
    PublishPlay {
        /// The stream to play.
        stream: StreamId,
    },
    /// Publish `stream/keepalive`.
    PublishKeepalive {
        /// The stream to keep.
        stream: StreamId,
        /// 0, 1, 2, … within one stream id.
        count: u64,
    },
    /// Publish `stream/stop`.
    PublishStop {
        /// The stream to stop.
        stream: StreamId,
    },
    /// Ask the camera for a key frame (PLI).
    RequestKeyFrame,
    /// Close the leg and tell its viewers.
    CloseLeg {
        /// Why.
        reason: LegClose,
    },
    /// Phase, health or stream id changed; read them anew.
    Report(Report),
}

/// Where a stream stands, by the names the API shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was asked yet.
    Idle,
    /// The camera was, or will be, told to play; no valid RTP yet.
    Starting,
    /// Valid RTP has come.
    Active,
    /// The camera is being told to stop.
    Stopping,
    /// Over, as wished.
    Stopped,
    /// Over, by a failure.
    Error,
}

impl Phase {
    /// The name the API shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Error => "error",
        }
    }

    /// Nothing follows any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Error)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How well a stream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing to complain of.
    Good,
    /// Keepalives fail; the camera may end the stream.
    Degraded,
    /// No RTP comes from the camera.
    Stalled,
}

impl Health {
    /// The name the API shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Stalled => "stalled",
        }
    }
}

/// What the outside is told of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where it stands.
    pub phase: Phase,
    /// How well it does.
    pub health: Health,
    /// The current run of the camera, once there is one.
    pub stream: Option<StreamId>,
}
