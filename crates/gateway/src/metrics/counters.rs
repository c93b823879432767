//! What is counted as it happens, without locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters by reason. All reasons are known beforehand.
#[derive(Debug)]
pub struct Tally {
    reasons: &'static [&'static str],
    counters: Box<[Counter]>,
}

impl Tally {
    /// None of any reason so far.
    pub fn new(reasons: &'static [&'static str]) -> Self {
        let counters = reasons.iter().map(|_| Counter::default()).collect();
        Self { reasons, counters }
    }

    /// One more for this reason, which is one of those that were named.
    pub fn count(&self, reason: &str) {
        let place = self.reasons.iter().position(|known| *known == reason);
        debug_assert!(place.is_some(), "{reason} is not in the list of reasons");
        if let Some(counter) = place.and_then(|place| self.counters.get(place)) {
            counter.add_one();
        }
    }

    /// Each reason with its number.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.counters.iter().map(Counter::get);
        self.reasons.iter().copied().zip(counts)
    }
}

/// How long something took, in classes.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [Duration],
    classes: Box<[Counter]>,
    total_us: AtomicU64,
}

/// A look at a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramCounts {
    /// Upper bounds of all classes but the last, which has none; they rise.
    pub bounds: Vec<Duration>,
    /// How many were in each class.
    pub classes: Vec<u64>,
    /// How long all took together.
    pub total: Duration,
}

impl Histogram {
    /// An empty one with these upper bounds, which rise.
    pub fn new(bounds: &'static [Duration]) -> Self {
        Self {
            bounds,
            classes: (0..=bounds.len()).map(|_| Counter::default()).collect(),
            total_us: AtomicU64::new(0),
        }
    }

    /// One more took so long.
    pub fn note(&self, took: Duration) {
        let class = self.bounds.iter().position(|bound| took <= *bound);
        self.classes[class.unwrap_or(self.bounds.len())].add_one();
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.total_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What it holds.
    pub fn counts(&self) -> HistogramCounts {
        HistogramCounts {
            bounds: self.bounds.to_vec(),
            classes: self.classes.iter().map(Counter::get).collect(),
            total: Duration::from_micros(self.total_us.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_apart() {
        let tally = Tally::new(&["one", "two"]);
        tally.count("two");
        tally.count("two");
        assert_eq!(tally.counts().collect::<Vec<_>>(), [("one", 0), ("two", 2)]);
    }

    #[test]
    fn a_bound_belongs_to_its_class() {
        const BOUNDS: &[Duration] = &[Duration::from_millis(1), Duration::from_millis(10)];
        let histogram = Histogram::new(BOUNDS);
        for ms in [0, 1, 2, 11] {
            histogram.note(Duration::from_millis(ms));
        }
        let counts = histogram.counts();
        assert_eq!(counts.classes, [2, 1, 1]);
        assert_eq!(counts.total, Duration::from_millis(14));
    }
}
