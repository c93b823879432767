//! One run of the camera, from the request to open its leg to the end of its stream id.

use std::net::SocketAddrV4;
use std::time::Instant;

use apiary_wire::id::StreamId;

/// A run of the camera under one stream id.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) stream: StreamId,
    pub(super) setup: Setup,
    /// The number of the next keepalive.
    keepalive_count: u64,
    /// Keepalives that failed since the last that did not.
    keepalive_failures: u32,
}

/// How far the camera's order to play has come.
#[derive(Debug)]
pub(super) enum Setup {
    /// The engine prepares the leg.
    Opening,
    /// The engine waits at `address`; play was published, last at `played`.
    Played {
        address: SocketAddrV4,
        played: Instant,
        delivery: Delivery,
    },
}

/// What became of `stream/play`.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The broker has not answered yet; the attempt before, if any, failed for this reason.
    Pending { last_failure: Option<String> },
    /// The broker has it.
    Acknowledged,
}

impl Leg {
    pub(super) fn opening(stream: StreamId) -> Self {
        Self {
            stream,
            setup: Setup::Opening,
            keepalive_count: 0,
            keepalive_failures: 0,
        }
    }

    pub(super) fn opened(&mut self, now: Instant, address: SocketAddrV4) {
        self.setup = Setup::Played {
            address,
            played: now,
            delivery: Delivery::Pending { last_failure: None },
        };
    }

    pub(super) fn is_opening(&self) -> bool {
        matches!(self.setup, Setup::Opening)
    }

    /// Play is being published (again).
    pub(super) fn playing(&mut self, now: Instant) {
        match &mut self.setup {
            Setup::Played { played, .. } => *played = now,
            Setup::Opening => {}
        }
    }

    /// When the camera was last told to play this stream, if it was.
    pub(super) fn played_at(&self) -> Option<Instant> {
        match self.setup {
            Setup::Opening => None,
            Setup::Played { played, .. } => Some(played),
        }
    }

    pub(super) fn play_acknowledged(&mut self) {
        match &mut self.setup {
            Setup::Played { delivery, .. } => *delivery = Delivery::Acknowledged,
            Setup::Opening => {}
        }
    }

    /// Notes the failure; `false` if an earlier publish of the same play has arrived.
    pub(super) fn play_failed(&mut self, reason: String) -> bool {
        match &mut self.setup {
            Setup::Played {
                delivery: Delivery::Pending { last_failure },
                ..
            } => {
                *last_failure = Some(reason);
                true
            }
            Setup::Played {
                delivery: Delivery::Acknowledged,
                ..
            }
            | Setup::Opening => false,
        }
    }

    pub(super) fn next_keepalive(&mut self) -> u64 {
        let count = self.keepalive_count;
        self.keepalive_count += 1;
        count
    }

    pub(super) fn keepalive_settled(&mut self, acknowledged: bool) {
        self.keepalive_failures = if acknowledged {
            0
        } else {
            self.keepalive_failures.saturating_add(1)
        };
    }

    pub(super) fn keepalive_failures(&self) -> u32 {
        self.keepalive_failures
    }
}
