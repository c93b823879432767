//! What is counted about notifications.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::counters::{Counter, Tally};

/// Too many waited.
pub(super) const QUEUE_FULL: &str = "queue_full";
/// The browser was told the like a moment before.
pub(super) const TOO_OFTEN: &str = "too_often";
/// It could not be sent for too long.
pub(super) const TOO_OLD: &str = "too_old";
/// The push service refused it, or failed too often.
pub(super) const REFUSED: &str = "refused";
/// More happened at once than could be taken note of.
pub(super) const NOT_KEPT: &str = "not_kept";
/// When it could be sent it was not wanted, not true or not allowed any more.
pub(super) const UNWANTED: &str = "unwanted";

/// Counters since the program started, and what waits now.
#[derive(Debug)]
pub struct Counts {
    /// Messages that a push service took.
    pub sent: Counter,
    /// Attempts that failed.
    pub failed: Counter,
    /// Subscriptions that a push service knew no more.
    pub gone: Counter,
    /// Messages that were never sent, by why.
    pub dropped: Tally,
    waiting: AtomicUsize,
}

impl Default for Counts {
    fn default() -> Self {
        const REASONS: &[&str] = &[QUEUE_FULL, TOO_OFTEN, TOO_OLD, REFUSED, NOT_KEPT, UNWANTED];
        Self {
            sent: Counter::default(),
            failed: Counter::default(),
            gone: Counter::default(),
            dropped: Tally::new(REASONS),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Counts {
    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn wait(&self, messages: usize) {
        self.waiting.store(messages, Ordering::Relaxed);
    }
}
