//! Which packets a viewer asks for again, and when: as Chromium does, on a virtual clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// From a gap to the first request; Chromium takes 1 to 7 ms.
const FIRST_AFTER: Duration = Duration::from_millis(4);
/// From one request to the next while no answer comes; Chromium takes 109 ms on loopback.
const REPEAT_AFTER: Duration = Duration::from_millis(100);
/// Requests for the same packet, as in libwebrtc (`kMaxNackRetries`).
const MAX_TRIES: u8 = 10;
/// Packets awaited at once, as in libwebrtc (`kMaxNackPackets`); the oldest are given up.
const MAX_MISSING: usize = 1000;

/// The packets of one SSRC that are awaited. Numbers are extended sequence numbers.
#[derive(Debug, Default)]
pub(crate) struct NackList {
    highest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
    counts: NackCounts,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NackCounts {
    /// Requests, packets counted and not messages.
    pub(crate) asked: u64,
    /// Packets that were missing at all.
    pub(crate) missed: u64,
    /// Packets that came after they were asked for.
    pub(crate) repaired: u64,
    /// Packets that came out of order before they were asked for.
    pub(crate) late: u64,
    /// The longest time from a gap to the packet that filled it.
    pub(crate) longest_wait: Duration,
}

#[derive(Debug)]
struct Missing {
    since: Instant,
    due: Instant,
    tries: u8,
}

impl NackList {
    /// A packet came, sent anew or again. `number` may be one that came already.
    pub(crate) fn on_packet(&mut self, now: Instant, number: u64) {
        let Some(highest) = self.highest else {
            self.highest = Some(number);
            return;
        };
        if number <= highest {
            if let Some(found) = self.missing.remove(&number) {
                match found.tries {
                    0 => self.counts.late += 1,
                    _ => self.counts.repaired += 1,
                }
                let waited = now.saturating_duration_since(found.since);
                self.counts.longest_wait = self.counts.longest_wait.max(waited);
            }
            return;
        }
        let skipped = number - highest - 1;
        self.counts.missed += skipped;
        let due = now + FIRST_AFTER;
        for missing in number - skipped.min(MAX_MISSING as u64)..number {
            let entry = Missing {
                since: now,
                due,
                tries: 0,
            };
            self.missing.insert(missing, entry);
        }
        while self.missing.len() > MAX_MISSING {
            self.missing.pop_first();
        }
        self.highest = Some(number);
    }

    /// Nobody waits any more for packets below `number`.
    pub(crate) fn forget_before(&mut self, number: u64) {
        self.missing = self.missing.split_off(&number);
    }

    /// When [`NackList::poll`] has something.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.missing.values().map(|missing| missing.due).min()
    }

    /// The sequence numbers to ask for now, ascending.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<u16> {
        let mut due = Vec::new();
        self.missing.retain(|number, missing| {
            if missing.due > now {
                return true;
            }
            if missing.tries == MAX_TRIES {
                return false;
            }
            missing.tries += 1;
            missing.due = now + REPEAT_AFTER;
            due.push(*number as u16);
            true
        });
        self.counts.asked += due.len() as u64;
        due
    }

    /// Forgets the longest wait so far, for a measurement that begins now.
    pub(crate) fn begin_measuring(&mut self) {
        self.counts.longest_wait = Duration::ZERO;
    }

    pub(crate) fn counts(&self) -> NackCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn asks_soon_after_a_gap_and_again_until_answered() {
        let start = Instant::now();
        let mut list = NackList::default();
        list.on_packet(start, 65_534);
        assert_eq!(list.next_timeout(), None);
        list.on_packet(start, 65_538);
        assert_eq!(list.next_timeout(), Some(start + FIRST_AFTER));
        assert!(list.poll(start + ms(1)).is_empty());
        assert_eq!(list.poll(start + ms(4)), [65_535, 0, 1]);
        list.on_packet(start + ms(6), 65_536);
        assert!(list.poll(start + ms(100)).is_empty());
        assert_eq!(list.poll(start + ms(104)), [65_535, 1]);
        list.on_packet(start + ms(110), 65_535);
        list.on_packet(start + ms(110), 65_537);
        assert_eq!(list.next_timeout(), None);
        let counts = list.counts();
        assert_eq!((counts.asked, counts.missed, counts.repaired), (5, 3, 3));
    }

    #[test]
    fn what_comes_by_itself_is_not_repaired() {
        let start = Instant::now();
        let mut list = NackList::default();
        list.on_packet(start, 10);
        list.on_packet(start, 12);
        list.on_packet(start + ms(1), 11);
        list.on_packet(start + ms(1), 11);
        assert_eq!((list.counts().repaired, list.counts().late), (0, 1));
        assert!(list.poll(start + ms(50)).is_empty());
    }

    #[test]
    fn gives_up_in_the_end() {
        let start = Instant::now();
        let mut list = NackList::default();
        list.on_packet(start, 1);
        list.on_packet(start, 3);
        let asked: usize = (0..30)
            .map(|n| list.poll(start + ms(4 + 100 * n)).len())
            .sum();
        assert_eq!(asked, usize::from(MAX_TRIES));
        assert_eq!(list.next_timeout(), None);
        list.on_packet(start, 6);
        list.forget_before(5);
        assert_eq!(list.poll(start + ms(4000)), [5]);
    }

    #[test]
    fn a_huge_gap_is_bounded() {
        let start = Instant::now();
        let mut list = NackList::default();
        list.on_packet(start, 1);
        list.on_packet(start, 1 << 40);
        let due = list.poll(start + ms(4));
        assert_eq!(due.len(), MAX_MISSING);
        assert_eq!(due.last(), Some(&u16::MAX));
    }
}
