//! How much may be asked in how much time.

use std::time::{Duration, Instant};

/// How fast, and how much at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// What may be asked at once.
    pub(super) burst: u32,
    /// What comes back each second; at least 1.
    pub(super) per_second: u32,
}

impl Rate {
    fn refill(self, tokens: u32) -> Duration {
        Duration::from_secs(tokens.into()) / self.per_second.max(1)
    }
}

/// A bucket of tokens that refills with time.
#[derive(Debug)]
pub(super) struct Allowance {
    /// When the bucket would be full again.
    full_at: Instant,
}

impl Allowance {
    pub(super) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes `cost` tokens, or nothing where there are too few.
    pub(super) fn take(&mut self, now: Instant, cost: u32, rate: Rate) -> bool {
        let full_at = self.full_at.max(now) + rate.refill(cost);
        let affordable = full_at <= now + rate.refill(rate.burst);
        if affordable {
            self.full_at = full_at;
        }
        affordable
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        burst: 120,
        per_second: 20,
    };

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut allowance = Allowance::full(start);
        assert!(allowance.is_full(start));
        assert!((0..RATE.burst).all(|_| allowance.take(start, 1, RATE)));
        assert!(!allowance.take(start, 1, RATE));
        let later = start + Duration::from_secs(1);
        assert!((0..RATE.per_second).all(|_| allowance.take(later, 1, RATE)));
        assert!(!allowance.take(later, 1, RATE));
        assert!(!allowance.is_full(later));
        let long_after = later + Duration::from_secs(3600);
        assert!(allowance.take(long_after, RATE.burst, RATE));
        assert!(
            !allowance.take(long_after, 1, RATE),
            "time saves up no more than a burst"
        );
    }

    #[test]
    fn what_costs_too_much_takes_nothing() {
        let start = Instant::now();
        let mut allowance = Allowance::full(start);
        assert!(!allowance.take(start, RATE.burst + 1, RATE));
        assert!(allowance.take(start, RATE.burst, RATE));
    }
}
