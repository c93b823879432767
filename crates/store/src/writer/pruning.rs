//! When old rows are deleted: at the start and then each hour, some at a time, with pauses for those who write.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::retention::{Pruned, Retention};

/// Time between two rounds.
const EVERY: Duration = Duration::from_secs(3600);
/// Time between two batches of a round.
const PAUSE: Duration = Duration::from_millis(100);
/// A database that was away is tried again after this time.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Pruning {
    pub(super) retention: Retention,
    next: Instant,
    /// Deleted in this round.
    rows: u64,
}

impl Pruning {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            next: Instant::now(),
            rows: 0,
        }
    }

    /// Waits until some are to be deleted.
    pub(super) async fn is_due(&self) {
        sleep_until(self.next).await;
    }

    pub(super) fn on_deleted(&mut self, pruned: Pruned) {
        self.rows += pruned.rows;
        if pruned.more {
            self.next = Instant::now() + PAUSE;
        } else {
            self.end_round();
        }
    }

    /// The database is away.
    pub(super) fn on_passing_failure(&mut self) {
        self.next = Instant::now() + RETRY_PAUSE;
    }

    /// Nothing more is deleted until the next round.
    pub(super) fn end_round(&mut self) {
        self.next = Instant::now() + EVERY;
        let rows = std::mem::take(&mut self.rows);
        if rows > 0 {
            tracing::info!(
                rows,
                "deleted what was kept for long enough (see [retention])"
            );
        }
    }
}
