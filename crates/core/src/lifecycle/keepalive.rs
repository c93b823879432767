//! Counters of the keepalives, for the API.

use std::time::Instant;

/// Counters over all stream ids of one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepaliveStats {
    /// Keepalives handed out to be published.
    pub sent: u64,
    /// Those that the broker acknowledged.
    pub acknowledged: u64,
    /// Those that failed.
    pub failed: u64,
    /// When one was last acknowledged.
    pub last_success: Option<Instant>,
    /// Why one last failed.
    pub last_error: Option<String>,
}

impl KeepaliveStats {
    pub(super) fn on_sent(&mut self) {
        self.sent += 1;
    }

    pub(super) fn on_settled(&mut self, now: Instant, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.acknowledged += 1;
                self.last_success = Some(now);
            }
            Err(reason) => {
                self.failed += 1;
                self.last_error = Some(reason);
            }
        }
    }
}
