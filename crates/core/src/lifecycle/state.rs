//! The states of a stream, each with its data.

use std::time::Instant;

use apiary_wire::id::StreamId;
use apiary_wire::units::Ssrc;

use super::failure::Failure;
use super::leg::Leg;

/// Whether the camera is connected to the broker, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    NeverHeard,
    Online,
    Offline,
}

#[derive(Debug)]
pub(super) enum State {
    Idle,
    Starting(Starting),
    Active(Active),
    Stopping(Stopping),
    Stopped { stream: Option<StreamId> },
    Error { stream: StreamId, failure: Failure },
}

#[derive(Debug)]
pub(super) struct Starting {
    pub(super) leg: Leg,
    pub(super) foreign_ssrc: Option<Ssrc>,
}

#[derive(Debug)]
pub(super) struct Active {
    pub(super) leg: Leg,
    pub(super) flow: Flow,
}

#[derive(Debug)]
pub(super) enum Flow {
    /// RTP comes. A hello meanwhile may be that of a camera that just restarted: it counts once silence shows.
    Flowing { hello: Option<Instant> },
    /// No RTP comes; so many attempts to play again were made since it fell silent or said hello.
    Silent { replays: u32 },
}

#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) stream: StreamId,
    pub(super) stop_settled: bool,
    pub(super) leg_closed: bool,
}
