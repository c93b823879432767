//! What is counted about webhooks, all receivers together.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::counters::{Counter, Tally};

/// Too many waited, and the oldest made room.
pub(super) const QUEUE_FULL: &str = "queue_full";
/// It could not be sent for too long.
pub(super) const TOO_OLD: &str = "too_old";
/// The receiver refused it again and again.
pub(super) const REFUSED: &str = "refused";
/// More happened at once than could be taken note of.
pub(super) const NOT_KEPT: &str = "not_kept";

/// Counters since the program started, and what waits now.
#[derive(Debug)]
pub struct Counts {
    /// Events that a receiver took.
    pub sent: Counter,
    /// Attempts that failed.
    pub failed: Counter,
    /// Events that a receiver was never told, by why.
    pub dropped: Tally,
    /// For each receiver, how many wait.
    queued: Box<[AtomicUsize]>,
}

impl Counts {
    pub(super) fn new(receivers: usize) -> Self {
        Self {
            sent: Counter::default(),
            failed: Counter::default(),
            dropped: Tally::new(&[QUEUE_FULL, TOO_OLD, REFUSED, NOT_KEPT]),
            queued: (0..receivers).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// How many events wait, those for several receivers several times.
    pub fn queued(&self) -> usize {
        self.queued
            .iter()
            .map(|queued| queued.load(Ordering::Relaxed))
            .sum()
    }

    pub(super) fn waits(&self, receiver: usize, events: usize) {
        if let Some(queued) = self.queued.get(receiver) {
            queued.store(events, Ordering::Relaxed);
        }
    }

    pub(super) fn drop_some(&self, why: &str, events: u64) {
        for _ in 0..events {
            self.dropped.count(why);
        }
    }
}
