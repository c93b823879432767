//! What can be seen of a simulated camera from outside: its state and counters, as tests, the demo
//! and the command line read them. Only plain values; the machines that fill them are elsewhere.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apiary_wire::camera::{Command, Mode};
use apiary_wire::{Bitrate, StreamId};

/// A camera as it stands. Counters belong to the latest stream and are kept until the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraState {
    /// Whether the broker has accepted the camera's MQTT connection.
    pub connected: bool,
    /// As commanded; `ARMED` after power-on.
    pub mode: Mode,
    /// The latest stream.
    pub stream: StreamState,
    /// Why the last `stream/play` was not taken; `None` once one is.
    pub refusal: Option<String>,
    /// What was sent.
    pub sent: Sent,
    /// What the receiver said.
    pub feedback: Feedback,
    /// Commands of any kind received since power-on.
    pub commands: u64,
}

impl Default for CameraState {
    fn default() -> Self {
        Self {
            connected: false,
            mode: Mode::Armed,
            stream: StreamState::Idle,
            refusal: None,
            sent: Sent::default(),
            feedback: Feedback::default(),
            commands: 0,
        }
    }
}

impl CameraState {
    /// Whether packets are leaving.
    pub fn is_streaming(&self) -> bool {
        matches!(self.stream, StreamState::Streaming { .. })
    }

    /// Why the last stream ended, if it did.
    pub fn stop_reason(&self) -> Option<StopReason> {
        match self.stream {
            StreamState::Stopped { reason, .. } => Some(reason),
            StreamState::Idle | StreamState::Starting { .. } | StreamState::Streaming { .. } => {
                None
            }
        }
    }

    /// The bitrate that the encoder aims at, while it runs.
    pub fn bitrate(&self) -> Option<Bitrate> {
        match self.stream {
            StreamState::Streaming { bitrate, .. } => Some(bitrate),
            StreamState::Idle | StreamState::Starting { .. } | StreamState::Stopped { .. } => None,
        }
    }
}

/// The latest stream of a camera.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StreamState {
    /// None since power-on.
    #[default]
    Idle,
    /// Commanded, and held back by a slow start.
    Starting {
        /// The stream commanded.
        stream: StreamId,
    },
    /// Packets are leaving.
    Streaming {
        /// The stream commanded.
        stream: StreamId,
        /// What the encoder aims at, audio not counted.
        bitrate: Bitrate,
        /// Where video RTP goes.
        video: SocketAddr,
        /// Where audio RTP goes.
        audio: SocketAddr,
    },
    /// It ended.
    Stopped {
        /// The stream that ended.
        stream: StreamId,
        /// Why it ended.
        reason: StopReason,
    },
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// `stream/stop`.
    Commanded,
    /// A further `stream/play` took its place.
    Replaced,
    /// No REMB for its video SSRC came in time.
    NoRemb,
    /// No `stream/keepalive` for its id came in time.
    NoKeepalive,
    /// The camera was put into `PRIVACY`.
    Privacy,
    /// The camera lost power, or was told to reboot.
    PowerOff,
    /// The camera's sockets or encoder failed.
    Failed,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commanded => "it was told to stop",
            Self::Replaced => "another stream was commanded",
            Self::NoRemb => "no REMB came",
            Self::NoKeepalive => "no keepalive came",
            Self::Privacy => "the camera was put into PRIVACY",
            Self::PowerOff => "the camera lost power",
            Self::Failed => "the camera's sockets or encoder failed",
        })
    }
}

/// What a stream sent. Retransmissions count as packets; what the link then lost does too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Video RTP packets.
    pub video_packets: u64,
    /// Audio RTP packets.
    pub audio_packets: u64,
    /// Bytes of RTP payload of both.
    pub payload_bytes: u64,
    /// Pictures.
    pub frames: u64,
    /// Pictures that were IDRs.
    pub idrs: u64,
    /// Sender reports of both media.
    pub sender_reports: u64,
    /// Packets that the simulated link lost on purpose, RTCP included.
    pub lost: u64,
}

impl Sent {
    /// RTP packets of both media.
    pub fn packets(&self) -> u64 {
        self.video_packets + self.audio_packets
    }
}

/// What the receiver of a stream said, over RTCP and MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Feedback {
    /// REMB for the stream's video SSRC.
    pub remb: Beat,
    /// The value of the last one.
    pub last_remb: Option<Bitrate>,
    /// `stream/keepalive` for the stream's id.
    pub keepalive: Beat,
    /// The count in the last one.
    pub last_keepalive: Option<u64>,
    /// Generic NACKs.
    pub nack: Nacks,
    /// PLIs for the video SSRC.
    pub plis: u64,
    /// FIRs for the video SSRC, repetitions not counted.
    pub firs: u64,
    /// Receiver reports with a block about one of the stream's SSRCs.
    pub receiver_reports: u64,
    /// RTCP that could not be read, or that spoke of other SSRCs.
    pub foreign: u64,
    /// Packets of a voice that the speaker plays.
    pub heard: u64,
    /// Bytes of sound in them.
    pub heard_bytes: u64,
    /// RTP that came to where the sound is sent from, and is no Opus or PCMU under the payload types of the SDP.
    pub unheard: u64,
}

/// Something that has to come again and again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beat {
    /// How often it came.
    pub count: u64,
    /// The longest time without it, the time from the start to the first one included.
    pub max_gap: Duration,
    last: Option<Instant>,
}

impl Beat {
    /// Counting begins.
    pub(crate) fn starting(now: Instant) -> Self {
        Self {
            last: Some(now),
            ..Self::default()
        }
    }

    /// It came.
    pub(crate) fn hit(&mut self, now: Instant) {
        self.count += 1;
        self.note_gap(now);
        self.last = Some(now);
    }

    /// Counts the time since the last one as a gap, in case none follows.
    pub(crate) fn note_gap(&mut self, now: Instant) {
        if let Some(last) = self.last {
            self.max_gap = self.max_gap.max(now.saturating_duration_since(last));
        }
    }

    /// When it came last, or when counting began.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.last
    }
}

/// Generic NACKs of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nacks {
    /// NACK packets.
    pub requests: u64,
    /// Sequence numbers in them.
    pub asked: u64,
    /// Packets sent again.
    pub answered: u64,
}

/// A command as the camera received it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedCommand {
    /// When it arrived.
    pub at: Instant,
    /// What it says.
    pub command: Command,
}
