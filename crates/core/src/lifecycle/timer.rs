//! The timers of a stream, at most one of each kind.

use std::time::Instant;

/// What can fall due. The order is that in which timers due at once are handled: an end comes before more work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// A stop was not answered.
    Stop,
    /// No RTP came since the start.
    Start,
    /// Nobody watched for long enough.
    Idle,
    /// The camera shall play again, with a fresh stream id.
    Replay,
    /// A play that could not be published is published again.
    PlayRetry,
    /// The next keepalive.
    Keepalive,
}

impl Timer {
    const ALL: [Self; 6] = [
        Self::Stop,
        Self::Start,
        Self::Idle,
        Self::Replay,
        Self::PlayRetry,
        Self::Keepalive,
    ];
}

/// When each timer is due.
#[derive(Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn get(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Takes out one timer that is due at `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let due = Timer::ALL
            .into_iter()
            .find(|timer| self.get(*timer).is_some_and(|at| at <= now))?;
        self.clear(due);
        Some(due)
    }
}
