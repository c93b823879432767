//! How writing to the database goes, for the health page and metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::error::StoreError;

/// A transaction that takes longer is a trouble in itself.
const SLOW: Duration = Duration::from_secs(3);

/// How writing to the database goes. The numbers count rows since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseHealth {
    /// Rows that wait to be written.
    pub queued: usize,
    /// How many may wait; one more is dropped.
    pub queue_limit: usize,
    /// Rows written.
    pub written: u64,
    /// Rows lost because too many waited.
    pub dropped: u64,
    /// Rows lost because the database refused them for good, or was away when the program ended.
    pub refused: u64,
    /// Why nothing is written at the moment; `None` while all is well.
    pub trouble: Option<Trouble>,
}

/// Why nothing is written at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Timestamp,
    /// What is wrong, without what the database said.
    pub what: String,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    written: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    /// Whether the last row found the queue full, so that the lock is taken only when that changes.
    is_full: AtomicBool,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Since when a transaction is under way.
    under_way: Option<(Instant, Timestamp)>,
    trouble: Option<Trouble>,
    /// Since when rows are dropped.
    full_since: Option<Timestamp>,
}

impl Counters {
    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The queue is full; says whether that is news.
    pub(crate) fn full(&self) -> bool {
        let is_new = !self.is_full.swap(true, Ordering::Relaxed);
        if is_new {
            self.progress().full_since = Some(Timestamp::now());
        }
        is_new
    }

    /// The queue takes rows; says whether that is news.
    pub(crate) fn not_full(&self) -> bool {
        let is_new = self.is_full.swap(false, Ordering::Relaxed);
        if is_new {
            self.progress().full_since = None;
        }
        is_new
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A transaction begins.
    pub(crate) fn begin(&self) {
        self.progress().under_way = Some((Instant::now(), Timestamp::now()));
    }

    /// It ended, with so many rows written, or a trouble that may pass; says whether the trouble is a new one, or over.
    pub(crate) fn end(&self, done: Result<usize, &StoreError>) -> bool {
        let mut progress = self.progress();
        let began = progress.under_way.take();
        match done {
            Ok(rows) => {
                let rows = u64::try_from(rows).unwrap_or(u64::MAX);
                self.written.fetch_add(rows, Ordering::Relaxed);
                progress.trouble.take().is_some()
            }
            Err(error) => {
                let is_new = progress.trouble.is_none();
                let since = match progress.trouble.take() {
                    Some(trouble) => trouble.since,
                    None => began.map_or_else(Timestamp::now, |(_, since)| since),
                };
                // Its causes are in the log; this is read by everybody.
                let what = format!("it cannot be written: {error}");
                progress.trouble = Some(Trouble { since, what });
                is_new
            }
        }
    }

    pub(crate) fn health(&self, queued: usize, queue_limit: usize) -> DatabaseHealth {
        let progress = self.progress();
        let slow = progress
            .under_way
            .filter(|(began, _)| began.elapsed() >= SLOW)
            .map(|(_, since)| Trouble {
                since,
                what: "it does not answer".to_owned(),
            });
        let full = progress.full_since.map(|since| Trouble {
            since,
            what: "it does not keep up, and rows are dropped".to_owned(),
        });
        DatabaseHealth {
            queued,
            queue_limit,
            written: self.written.load(Ordering::Relaxed),
            dropped: self.dropped(),
            refused: self.refused(),
            trouble: progress.trouble.clone().or(slow).or(full),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Each critical section leaves it whole.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
