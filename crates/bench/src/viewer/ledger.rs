//! How many pictures there should have been, and how long nothing could be shown.

use std::time::{Duration, Instant};

/// Counts pictures by what comes out of the jitter buffer.
#[derive(Debug)]
pub(super) struct Ledger {
    /// RTP time from one picture to the next.
    ticks: u32,
    current: Option<Current>,
    after_gap: bool,
    ended: u64,
    last_shown: Option<Instant>,
    longest_freeze: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    timestamp: u32,
    ended: bool,
}

impl Ledger {
    pub(super) fn new(ticks: u32) -> Self {
        Self {
            ticks,
            current: None,
            after_gap: false,
            ended: 0,
            last_shown: None,
            longest_freeze: Duration::ZERO,
        }
    }

    /// Packets were given up before the next one.
    pub(super) fn on_gap(&mut self) {
        self.after_gap = true;
    }

    /// The next packet in order.
    pub(super) fn on_packet(&mut self, timestamp: u32, marker: bool) {
        let after_gap = std::mem::take(&mut self.after_gap);
        let current = match self.current {
            Some(current) if current.timestamp == timestamp => current,
            Some(current) => {
                self.end(current);
                if after_gap {
                    // Pictures of which no packet is left.
                    let passed = timestamp.wrapping_sub(current.timestamp) + self.ticks / 2;
                    self.ended += u64::from((passed / self.ticks).saturating_sub(1));
                }
                Current {
                    timestamp,
                    ended: false,
                }
            }
            None => Current {
                timestamp,
                ended: false,
            },
        };
        self.current = Some(current);
        if marker {
            self.end(current);
        }
    }

    fn end(&mut self, picture: Current) {
        if !picture.ended {
            self.ended += 1;
            self.current = Some(Current {
                ended: true,
                ..picture
            });
        }
    }

    /// A whole picture came out.
    pub(super) fn on_shown(&mut self, now: Instant) {
        if let Some(last) = self.last_shown.replace(now) {
            let still = now.saturating_duration_since(last);
            self.longest_freeze = self.longest_freeze.max(still);
        }
    }

    /// Pictures that ended, whole or not.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// The longest time between two pictures that were shown.
    pub(super) fn longest_freeze(&self) -> Duration {
        self.longest_freeze
    }

    /// Forgets the longest freeze so far.
    pub(super) fn begin_measuring(&mut self) {
        self.longest_freeze = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_whole_broken_and_vanished_pictures() {
        let mut ledger = Ledger::new(3000);
        for (timestamp, marker) in [(0, false), (0, true), (3000, true), (6003, false)] {
            ledger.on_packet(timestamp, marker);
        }
        assert_eq!(ledger.ended(), 2);
        // The end of the third and the whole fourth and fifth are missing.
        ledger.on_gap();
        ledger.on_packet(14_998, true);
        assert_eq!(ledger.ended(), 6);
        // A longer pause of the camera is none.
        ledger.on_packet(90_000, true);
        assert_eq!(ledger.ended(), 7);
    }

    #[test]
    fn knows_the_longest_freeze_of_the_measurement() {
        let start = Instant::now();
        let mut ledger = Ledger::new(3000);
        for ms in [0, 900, 933] {
            ledger.on_shown(start + Duration::from_millis(ms));
        }
        assert_eq!(ledger.longest_freeze(), Duration::from_millis(900));
        ledger.begin_measuring();
        ledger.on_shown(start + Duration::from_millis(990));
        assert_eq!(ledger.longest_freeze(), Duration::from_millis(57));
    }
}
