//! What strangers and bad guests do to a server. Each attack is a loop that runs in the background at a set pace and
//! says in the end how much it did: an attack that the rig could not drive proves nothing.

pub(crate) mod flood;
pub(crate) mod guests;
pub(crate) mod offers;
pub(crate) mod rtcp;
pub(crate) mod stun;

use std::time::{Duration, Instant};

use serde::Serialize;

/// What an attack did.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Onslaught {
    /// Datagrams, requests or messages that were sent.
    pub(crate) sent: u64,
    pub(crate) octets_sent: u64,
    /// Those that the own socket or the server refused.
    pub(crate) refused: u64,
    /// What came back.
    pub(crate) octets_received: u64,
    pub(crate) seconds: f64,
}

impl Onslaught {
    /// Sent per second.
    pub(crate) fn rate(&self) -> f64 {
        self.sent as f64 / self.seconds.max(f64::EPSILON)
    }
}

/// Longest time that an attack which fell behind makes up for, if more than one is due in it: it floods, but in no
/// larger bursts than this.
const CATCH_UP: Duration = Duration::from_millis(5);
/// From one look at the clock to the next.
const BEAT: Duration = Duration::from_millis(1);

/// Says how many are due.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: u64,
    start: Instant,
    /// Up to when all were sent.
    sent_until: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u64, now: Instant) -> Self {
        Self {
            per_second: per_second.max(1),
            start: now,
            sent_until: now,
        }
    }

    /// How many to send now.
    pub(crate) fn due(&mut self, now: Instant) -> u64 {
        let earliest = now
            .checked_sub(CATCH_UP.max(self.interval()))
            .unwrap_or(self.start);
        self.sent_until = self.sent_until.max(earliest);
        let passed = now.saturating_duration_since(self.sent_until).as_nanos();
        let due = passed * u128::from(self.per_second) / 1_000_000_000;
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        self.sent_until += Duration::from_nanos(due * 1_000_000_000 / self.per_second);
        due
    }

    /// When to ask next.
    pub(crate) fn next(&self) -> Instant {
        self.sent_until + self.interval().max(BEAT)
    }

    fn interval(&self) -> Duration {
        Duration::from_nanos(1_000_000_000 / self.per_second)
    }

    /// Sleeps until then.
    pub(crate) fn wait(&self) {
        std::thread::sleep(self.next().saturating_duration_since(Instant::now()));
    }

    /// Since the beginning.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_pace_is_kept_too() {
        let start = Instant::now();
        let mut pace = Pace::new(10, start);
        let total: u64 = (1..=1010)
            .map(|ms| pace.due(start + Duration::from_millis(ms)))
            .sum();
        assert_eq!(total, 10);
    }

    #[test]
    fn keeps_the_pace_and_does_not_make_up_for_long_pauses() {
        let start = Instant::now();
        let mut pace = Pace::new(3000, start);
        let total: u64 = (1..=1000)
            .map(|ms| pace.due(start + Duration::from_millis(ms)))
            .sum();
        assert!((2999..=3000).contains(&total), "{total}");
        assert_eq!(pace.due(start + Duration::from_millis(2000)), 15);
        assert_eq!(pace.due(start + Duration::from_millis(2000)), 0);
    }
}
