//! What happened to all streams and viewers together since the program started. Reasons are classes, known beforehand; the
//! texts for people are elsewhere.

use apiary_core::lifecycle::Failure;
use apiary_media::engine::{EngineError, ViewerGoneReason};
use std::time::Duration;

use super::error::{JoinError, StartError};
use crate::metrics::counters::{Counter, Histogram, Tally};

/// Classes of the time that a join takes.
const JOIN_BOUNDS: &[Duration] = &[
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
const FAILURES: &[&str] = &[
    "engine",
    "broker_unreachable",
    "camera_offline",
    "no_rtp",
    "foreign_ssrc",
    "internal",
];
const REFUSALS: &[&str] = &[
    "bad_offer",
    "viewer_limit",
    "stream_limit",
    "no_bandwidth",
    "no_ports",
    "overloaded",
    "media_server",
    "stream_ended",
    "shutting_down",
    "internal",
];
const GONE: &[&str] = &[
    "left",
    "expelled",
    "expired",
    "failed",
    "never_connected",
    "stream_closed",
    "worker_lost",
    "server_lost",
    "moved",
    "unknown",
];

/// The totals.
#[derive(Debug)]
pub struct Totals {
    /// Streams that were started.
    pub streams_started: Counter,
    /// Streams that failed, by reason.
    pub stream_failures: Tally,
    /// Keepalives handed to the broker.
    pub keepalives_sent: Counter,
    /// Those that it did not take.
    pub keepalives_failed: Counter,
    /// Viewers whose offer was answered.
    pub joins: Counter,
    /// Viewers that were refused, by reason.
    pub joins_refused: Tally,
    /// From the offer to the answer.
    pub join_answered: Histogram,
    /// From the offer until the viewer is sent pictures.
    pub join_connected: Histogram,
    /// Viewers that are gone, by reason.
    pub viewers_gone: Tally,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            streams_started: Counter::default(),
            stream_failures: Tally::new(FAILURES),
            keepalives_sent: Counter::default(),
            keepalives_failed: Counter::default(),
            joins: Counter::default(),
            joins_refused: Tally::new(REFUSALS),
            join_answered: Histogram::new(JOIN_BOUNDS),
            join_connected: Histogram::new(JOIN_BOUNDS),
            viewers_gone: Tally::new(GONE),
        }
    }
}

pub(super) fn class_of_failure(failure: &Failure) -> &'static str {
    match failure {
        Failure::Leg { .. } => "engine",
        Failure::BrokerUnreachable { .. } => "broker_unreachable",
        Failure::CameraOffline => "camera_offline",
        Failure::NoRtp { .. } => "no_rtp",
        Failure::ForeignSsrc { .. } => "foreign_ssrc",
    }
}

/// Of a stream whose task panicked.
pub(super) const INTERNAL_FAILURE: &str = "internal";

pub(super) fn class_of_refusal(error: &JoinError) -> &'static str {
    match error {
        JoinError::Start(StartError::Engine(error)) | JoinError::Engine(error) => {
            class_of_engine_error(error)
        }
        JoinError::Start(StartError::StreamLimit { .. }) => "stream_limit",
        JoinError::NoBandwidth { .. } => "no_bandwidth",
        JoinError::Start(StartError::ShuttingDown) => "shutting_down",
        JoinError::Start(StartError::AlreadyRunning(_)) => "stream_ended",
        JoinError::Start(StartError::BadBounds { .. }) => "internal",
    }
}

fn class_of_engine_error(error: &EngineError) -> &'static str {
    match error {
        EngineError::Offer(_) | EngineError::Candidate(_) => "bad_offer",
        EngineError::ViewerLimit { .. } => "viewer_limit",
        EngineError::PortsExhausted { .. } => "no_ports",
        EngineError::Busy | EngineError::WorkerLost => "overloaded",
        EngineError::NoServer(_) | EngineError::MediaServer { .. } => "media_server",
        EngineError::UnknownStream(_) | EngineError::UnknownViewer(_) => "stream_ended",
        EngineError::Closed => "shutting_down",
        // The last three concern viewers who are in.
        EngineError::NoVoice(_)
        | EngineError::Talking(_)
        | EngineError::NotListening(_)
        | EngineError::AlreadyOpen(_)
        | EngineError::Unsupported { .. }
        | EngineError::Io { .. } => "internal",
    }
}

pub(super) fn class_of_gone(reason: &ViewerGoneReason) -> &'static str {
    match reason {
        ViewerGoneReason::Left => "left",
        ViewerGoneReason::Expired => "expired",
        ViewerGoneReason::Failed(_) => "failed",
        ViewerGoneReason::NeverConnected => "never_connected",
        ViewerGoneReason::StreamClosed(_) => "stream_closed",
        ViewerGoneReason::WorkerLost => "worker_lost",
        ViewerGoneReason::ServerLost => "server_lost",
        ViewerGoneReason::Moved => "moved",
    }
}
