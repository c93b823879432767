//! How much one socket may ask in how much time.

use std::time::{Duration, Instant};

/// What may be asked at once. A page sends one offer and a few dozen candidates.
const BURST: u32 = 120;
/// What comes back each second.
const PER_SECOND: u32 = 20;

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
    pub(super) fn take(&mut self, now: Instant, cost: u32) -> bool {
        let refill = |tokens: u32| Duration::from_secs(tokens.into()) / PER_SECOND;
        let full_at = self.full_at.max(now) + refill(cost);
        let affordable = full_at <= now + refill(BURST);
        if affordable {
            self.full_at = full_at;
        }
        affordable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut allowance = Allowance::full(start);
        assert!((0..BURST).all(|_| allowance.take(start, 1)));
        assert!(!allowance.take(start, 1));
        let later = start + Duration::from_secs(1);
        assert!((0..PER_SECOND).all(|_| allowance.take(later, 1)));
        assert!(!allowance.take(later, 1));
        let long_after = later + Duration::from_secs(3600);
        assert!(allowance.take(long_after, BURST));
        assert!(
            !allowance.take(long_after, 1),
            "time saves up no more than a burst"
        );
    }

    #[test]
    fn what_costs_too_much_takes_nothing() {
        let start = Instant::now();
        let mut allowance = Allowance::full(start);
        assert!(!allowance.take(start, BURST + 1));
        assert!(allowance.take(start, BURST));
    }
}
