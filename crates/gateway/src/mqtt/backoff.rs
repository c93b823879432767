//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng;

/// The first pause, before jitter.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause, before jitter: a broker that returns is met again within this time.
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses that double up to [`LONGEST`], each shortened by up to half at random, so that many clients of one broker do
/// not return in step.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The pause before the next attempt.
    pub(super) fn pause(&mut self, random: &mut impl Rng) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause.mul_f64(random.random_range(0.5..=1.0))
    }

    /// The attempt succeeded: begin anew.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let mut random = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new();
        let pauses: Vec<Duration> = (0..50).map(|_| backoff.pause(&mut random)).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses[10..].iter().all(|pause| *pause >= LONGEST / 2));
        assert_ne!(pauses[20], pauses[21]);
        backoff.reset();
        assert!(backoff.pause(&mut random) <= FIRST);
    }
}
