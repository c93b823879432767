//! The control side's pulse: a timer that should fire at once when it is due, and tells how late it was.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::metrics::counters::{Histogram, HistogramCounts};

/// Time between two beats.
const BEAT: Duration = Duration::from_millis(250);
/// Classes of the lag.
const BOUNDS: &[Duration] = &[
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// How late each beat came.
#[derive(Debug)]
pub struct Pulse {
    lags: Histogram,
    last: Mutex<Instant>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            lags: Histogram::new(BOUNDS),
            last: Mutex::new(Instant::now()),
        }
    }
}

impl Pulse {
    /// Beats, without end.
    pub(super) async fn beat(&self) {
        loop {
            let due = Instant::now() + BEAT;
            sleep_until(due).await;
            self.lags.note(due.elapsed());
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    /// The lags so far.
    pub fn lags(&self) -> HistogramCounts {
        self.lags.counts()
    }

    /// How long ago the last beat was.
    pub fn silent_for(&self) -> Duration {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.elapsed()
    }
}
