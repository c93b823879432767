//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng;

/// Pauses that double up to a longest, each shortened by up to half at random, so that many clients of one server do
/// not return in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// With these bounds, before they are shortened.
    pub(crate) const fn between(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The pause before the next attempt.
    pub(crate) fn pause(&mut self, random: &mut impl Rng) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause.mul_f64(random.random_range(0.5..=1.0))
    }

    /// The attempt succeeded: begin anew.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(5);

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let mut random = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::between(FIRST, LONGEST);
        let pauses: Vec<Duration> = (0..50).map(|_| backoff.pause(&mut random)).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses[10..].iter().all(|pause| *pause >= LONGEST / 2));
        assert_ne!(pauses[20], pauses[21]);
        backoff.reset();
        assert!(backoff.pause(&mut random) <= FIRST);
    }
}
