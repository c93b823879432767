//! The one interface between the gateway and whatever moves the pictures.
//!
//! An engine holds at most one stream per camera and any number of viewers of it. It reports what it sees
//! on the wire as [`EngineEvent`]s and decides nothing about the life of a stream: that is the
//! supervisor's work.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

pub use apiary_core::ingest::BitrateBounds;
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use apiary_wire::units::{Bitrate, Ssrc};
use async_trait::async_trait;
use tokio::sync::{broadcast, mpsc};

use crate::counts::EngineCounts;

/// How many events may wait for a slow subscriber before the oldest are lost to it.
pub const EVENT_QUEUE: usize = 1024;

/// What is needed to take a camera's stream.
#[derive(Clone, Debug)]
pub struct StreamSpec {
    /// The camera that will send.
    pub camera: CameraId,
    /// This run of the camera.
    pub stream: StreamId,
    /// The IPv4 address that the camera is told to send to.
    pub advertised: Ipv4Addr,
    /// The stream's bitrate bounds.
    pub bitrate: BitrateBounds,
}

/// The even RTP ports that wait for the camera; RTCP is one above each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestPorts {
    /// Port of the picture's RTP.
    pub video: u16,
    /// Port of the sound's RTP.
    pub audio: u16,
}

/// A stream that waits for its camera.
#[derive(Clone, Debug)]
pub struct OpenedStream {
    /// The SDP for the `sdpOffer` field of `stream/play` (in SDP's own terms an answer).
    pub camera_sdp: String,
    /// The address that it names. Another than [`StreamSpec::advertised`] where the camera sends to another machine.
    pub address: Ipv4Addr,
    /// Where the camera's RTP is awaited.
    pub ingest: IngestPorts,
    /// Name of the stream in this engine, shown as `pipeline_id`.
    pub pipeline_id: String,
    /// Name of the camera's leg in this engine, shown as `rtp_endpoint_id`.
    pub rtp_endpoint_id: String,
}

/// A browser that wants to watch.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The camera it wants to see; its stream must be open.
    pub camera: CameraId,
    /// The name under which it is known from now on.
    pub viewer: ViewerId,
    /// Its SDP offer.
    pub offer: String,
    /// How it learns of our candidates.
    pub candidates: CandidateDelivery,
    /// It may talk to the camera, if it offers to send its voice: see [`MediaEngine::talk`].
    pub may_talk: bool,
}

/// How a viewer learns of our ICE candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateDelivery {
    /// All of them are in the answer, which waits for them: WHEP has no other way.
    InAnswer,
    /// The answer does not wait; those that are not in it come by [`JoinedViewer::candidates`].
    Trickled,
}

/// One of our candidates that was not in the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrickledCandidate {
    /// `candidate:…`
    pub candidate: String,
    /// Identification of the media section.
    pub sdp_mid: String,
    /// Number of the media section, from 0.
    pub sdp_m_line_index: u16,
}

/// A viewer that has its answer.
#[derive(Debug)]
pub struct JoinedViewer {
    /// The SDP answer.
    pub answer: String,
    /// Name of the viewer's leg in this engine, shown as `webrtc_endpoint_id`.
    pub webrtc_endpoint_id: String,
    /// Candidates that were not in the answer, in their order; ends with the last. `None` when the answer has all.
    pub candidates: Option<mpsc::Receiver<TrickledCandidate>>,
}

/// Our side of an ICE restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceParameters {
    /// New `ice-ufrag`.
    pub ufrag: String,
    /// New `ice-pwd`.
    pub pwd: String,
    /// Candidate attribute values without the `a=` (`candidate:…`).
    pub candidates: Vec<String>,
}

/// Why a stream's leg is closed; viewers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Somebody asked for it, or nobody watches any more.
    Stopped,
    /// The stream failed.
    Failed,
    /// The program ends.
    Shutdown,
}

/// Why a viewer is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewerGoneReason {
    /// It said goodbye (DTLS close_notify), or [`MediaEngine::leave`] was called.
    Left,
    /// Nothing was heard of it for the consent time (RFC 7675).
    Expired,
    /// Its DTLS handshake or its keys failed; the text is for the log.
    Failed(String),
    /// It never connected within the set-up time.
    NeverConnected,
    /// Its stream was closed.
    StreamClosed(CloseReason),
    /// The worker that served it died.
    WorkerLost,
    /// The media server that served it died, or forgot it.
    ServerLost,
    /// Its stream moves to another media server.
    Moved,
}

/// What the engine saw.
#[derive(Clone, Debug)]
pub enum EngineEvent {
    /// The first valid RTP packet of the camera's picture since open or rearm came, from this address where that is known.
    RtpStarted {
        camera: CameraId,
        source: Option<SocketAddr>,
    },
    /// No valid RTP of the picture for this long; said once per silence.
    RtpSilent {
        camera: CameraId,
        silent_for: Duration,
    },
    /// RTP flows again after a silence.
    RtpResumed { camera: CameraId },
    /// The first RTCP of the camera since open or rearm came.
    RtcpSeen { camera: CameraId },
    /// RTP came with an SSRC that was not handed out; said once per open or rearm.
    ForeignSsrc { camera: CameraId, ssrc: Ssrc },
    /// A viewer's keys are agreed and it is being sent the stream.
    ViewerConnected { camera: CameraId, viewer: ViewerId },
    /// A viewer's session is over and its resources are free.
    ViewerGone {
        camera: CameraId,
        viewer: ViewerId,
        reason: ViewerGoneReason,
    },
    /// A viewer's voice does not reach the camera any more, without [`MediaEngine::hush`] or its leaving.
    TalkEnded { camera: CameraId, viewer: ViewerId },
    /// Streams were closed by something else than [`MediaEngine::close`]; their viewers have been reported gone. They can be
    /// opened again.
    LegsLost {
        cause: LegLoss,
        streams: Vec<CameraId>,
    },
}

/// Why an engine closed streams by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegLoss {
    /// The worker thread with this number died and was restarted.
    Worker(usize),
    /// The media server of this name died, or forgot what it had.
    Server(String),
    /// The media server of this name is to be free of streams.
    Drained(String),
}

impl fmt::Display for LegLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(number) => write!(f, "media worker {number} failed"),
            Self::Server(name) => write!(f, "media server {name} was lost"),
            Self::Drained(name) => write!(f, "media server {name} is being drained"),
        }
    }
}

/// How an engine does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineHealth {
    /// What keeps it from taking streams, for users to read; `None` when nothing does.
    pub trouble: Option<String>,
    /// The media servers that it drives, if any.
    pub servers: Vec<MediaServer>,
}

/// A media server that an engine drives.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaServer {
    /// Where it is reached, as configured.
    pub url: String,
    /// It answers, and what it has is known.
    pub connected: bool,
    /// It gets no new streams.
    pub draining: bool,
    /// What it calls itself; `None` before it was reached.
    pub version: Option<String>,
    /// Streams on it.
    pub streams: usize,
    /// Viewers on it.
    pub viewers: usize,
    /// CPU time that it uses, in per cent of a core, where it tells.
    pub cpu_percent: Option<f32>,
    /// Memory that it uses, where it tells.
    pub memory_mib: Option<u64>,
    /// Why it is not connected.
    pub error: Option<String>,
}

/// A picture that decoding can begin with, as the camera sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFrame {
    /// An IDR with its parameter sets (H.264 annex B).
    pub annex_b: Vec<u8>,
    /// How long ago it came.
    pub age: Duration,
}

/// Counters of a camera's leg, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Valid RTP packets received, both tracks.
    pub packets: u64,
    /// Their payload octets.
    pub octets: u64,
    /// Packets missing for good, both tracks.
    pub lost: u64,
    /// Packets refused (wrong source, SSRC, payload type, truncated …).
    pub dropped: u64,
    /// Picture and sound together over the last second.
    pub bitrate: Bitrate,
    /// Pictures in the last second.
    pub frames_per_second: u32,
    /// The last REMB sent.
    pub remb: Bitrate,
    /// REMBs sent.
    pub remb_count: u64,
    /// Longest time between two REMBs, in milliseconds.
    pub remb_max_gap_ms: u64,
    /// Where the camera's RTP comes from.
    pub source: Option<SocketAddr>,
    /// Viewers of the stream that are connected.
    pub viewers: usize,
}

/// Counters of a viewer, since it joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerStats {
    /// RTP packets sent, retransmissions included.
    pub packets: u64,
    /// Octets sent in them, SRTP overhead included.
    pub octets: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// NACKed packets that the ring no longer held.
    pub unanswered_nacks: u64,
    /// Key frames the viewer asked for.
    pub key_frame_requests: u64,
    /// Its last REMB.
    pub remb: Option<Bitrate>,
    /// Loss in its last report, 0 to 255 (RFC 3550 fraction lost).
    pub fraction_lost: u8,
    /// Round trip by its last report, in milliseconds.
    pub round_trip_ms: Option<u32>,
    /// Its keys are agreed.
    pub connected: bool,
}

/// Why an engine cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("no free ingest ports in {}-{}; widen ingest.ports", .range.start(), .range.end())]
    PortsExhausted { range: RangeInclusive<u16> },
    #[error("camera {0} already has an open stream")]
    AlreadyOpen(CameraId),
    #[error("camera {0} has no open stream")]
    UnknownStream(CameraId),
    #[error("viewer {0} is not known")]
    UnknownViewer(ViewerId),
    #[error(
        "no more viewers fit: the limit of the stream is {limit} (media.max_viewers_per_stream)"
    )]
    ViewerLimit { limit: u32 },
    #[error(
        "the viewer cannot talk: it may not, its browser did not offer to send sound, or the media engine takes none"
    )]
    NoVoice(ViewerId),
    #[error("somebody else is talking to camera {0}; wait until they have finished")]
    Talking(CameraId),
    #[error(
        "camera {0} has sent no sound yet, so that it is not known where it listens; switch its microphone on"
    )]
    NotListening(CameraId),
    #[error("the offer cannot be used: {0}")]
    Offer(String),
    #[error("the candidate cannot be used: {0}")]
    Candidate(String),
    #[error("the media engine is overloaded; try again shortly")]
    Busy,
    #[error("the media worker that serves this camera was lost; try again")]
    WorkerLost,
    #[error(
        "no media server can take the stream: {0}; start one, or see what `apiary check` says of each"
    )]
    NoServer(String),
    #[error("media server {server} could not {operation}: {reason}")]
    MediaServer {
        server: String,
        operation: &'static str,
        reason: String,
    },
    #[error("the media engine {engine} cannot {operation}")]
    Unsupported {
        engine: &'static str,
        operation: &'static str,
    },
    #[error("cannot {operation}")]
    Io {
        operation: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("the media engine has been shut down")]
    Closed,
}

/// Moves pictures from cameras to viewers.
#[async_trait]
pub trait MediaEngine: Send + Sync + 'static {
    /// Name of the engine as in `media.engine`.
    fn kind(&self) -> &'static str;

    /// Whether it can take streams.
    fn health(&self) -> EngineHealth {
        EngineHealth::default()
    }

    /// Reserves ports for the camera and says what to tell it.
    async fn open(&self, spec: StreamSpec) -> Result<OpenedStream, EngineError>;

    /// Prepares for another `stream/play` on the same ports: new SSRCs and CNAME, the camera's source
    /// address forgotten, viewers kept.
    async fn rearm(&self, camera: CameraId, stream: StreamId) -> Result<OpenedStream, EngineError>;

    /// Frees the stream and tells its viewers. Closing what is not open is fine.
    async fn close(&self, camera: CameraId, reason: CloseReason) -> Result<(), EngineError>;

    /// Answers a viewer's offer and starts serving it.
    async fn join(&self, request: JoinRequest) -> Result<JoinedViewer, EngineError>;

    /// Takes a trickled candidate (`candidate:…`); the empty string ends the candidates.
    async fn add_candidate(&self, viewer: ViewerId, candidate: &str) -> Result<(), EngineError>;

    /// Restarts ICE with the viewer's new credentials (RFC 8445 §9); keys and media go on.
    async fn restart_ice(
        &self,
        viewer: ViewerId,
        ufrag: &str,
        pwd: &str,
    ) -> Result<IceParameters, EngineError>;

    /// Lets a viewer go. Letting go of one that is gone is fine.
    async fn leave(&self, viewer: ViewerId) -> Result<(), EngineError>;

    /// Whether viewers can talk to cameras through it at all.
    fn takes_voices(&self) -> bool {
        false
    }

    /// Passes a viewer's voice on to its camera from now on: one viewer's at a time, until [`MediaEngine::hush`], it leaves, or
    /// [`EngineEvent::TalkEnded`].
    async fn talk(&self, viewer: ViewerId) -> Result<(), EngineError> {
        Err(EngineError::NoVoice(viewer))
    }

    /// Passes a viewer's voice on no more. One that does not talk is fine.
    async fn hush(&self, _viewer: ViewerId) -> Result<(), EngineError> {
        Ok(())
    }

    /// Asks the camera for a key frame, within its limit of one a second.
    async fn request_key_frame(&self, camera: CameraId) -> Result<(), EngineError>;

    /// The last picture of a stream that decoding can begin with; `None` when it is not open, none came whole, or the engine sees
    /// no packets.
    async fn key_frame(&self, _camera: CameraId) -> Option<KeyFrame> {
        None
    }

    /// Counters of a stream, `None` when it is not open.
    async fn stream_stats(&self, camera: CameraId) -> Option<StreamStats>;

    /// Counters of a viewer, `None` when it is not known.
    async fn viewer_stats(&self, viewer: ViewerId) -> Option<ViewerStats>;

    /// What it has counted in all; `None` where it counts nothing itself.
    async fn counts(&self) -> Option<EngineCounts> {
        None
    }

    /// For how long the busiest of its threads has not looked for anything new. Asks none of them.
    fn busy_for(&self) -> Duration {
        Duration::ZERO
    }

    /// What happens from now on. A subscriber that lags must read the state anew.
    fn events(&self) -> broadcast::Receiver<EngineEvent>;

    /// Closes all streams, tells all viewers and frees everything.
    async fn shutdown(&self);
}
