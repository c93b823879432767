//! Missing packets of one track: when to ask for them (RFC 4585 §6.2.1 generic NACK), and when to give up.
//!
//! The list is bounded in packets and time by what the camera can still send. Once the list cannot help,
//! it says that a key frame is needed. Writing the NACK and asking for the key frame is done elsewhere.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// Numbers that one NACK asks for at most; the rest follow in the next datagram.
const NACK_BATCH: usize = 64;
/// Packets awaited at most. When full, the oldest is given up.
const MAX_MISSING: usize = 256;
/// A gap larger than this is not asked for: that much again would only add to the congestion, and a
/// key frame is smaller.
const MAX_GAP: u64 = 128;
/// How long a packet may be late before it is asked for, unless two later ones have come.
const REORDER_WAIT: Duration = Duration::from_millis(10);
/// The camera's history (*assumed* about 1 s, camera-protocol.md): older packets cannot come again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);
/// Times that a packet is asked for at most.
const MAX_TRIES: u8 = 10;
/// Round trip assumed until one was measured.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(60);
/// Bounds of the time between two requests for the same packet.
const MIN_REPEAT: Duration = Duration::from_millis(20);
const MAX_REPEAT: Duration = Duration::from_millis(250);

/// Sequence numbers to ask for now, in sending order.
pub type MissingList = SmallVec<[u16; NACK_BATCH]>;

/// The packets of a track that are awaited.
#[derive(Clone, Debug)]
pub struct LossTracker {
    /// In sending order. Filled ones stay until they reach the front.
    missing: VecDeque<Missing>,
    /// Packets taken in; tells how many came after a gap was seen.
    arrivals: u64,
    /// `arrivals` at the last gap, while it has not been asked for.
    fresh_gap: Option<u64>,
    next_due: Option<Instant>,
    round_trip: Option<Duration>,
    /// Packets before this one are not needed for the picture from here on.
    key_frame_at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    extended: u64,
    since: Instant,
    noticed_at: u64,
    due: Instant,
    asked: Option<Instant>,
    tries: u8,
    filled: bool,
}

/// A late packet's relation to what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// It was asked for.
    Repaired,
    /// It came by itself, out of order.
    Reordered,
}

/// What a gap or a look at the clock means for the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outlook {
    /// What is missing may still come.
    Repairable,
    /// Something is lost for good: only a key frame mends the picture.
    KeyFrameNeeded,
}

impl Default for LossTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl LossTracker {
    /// A tracker that waits for nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            missing: VecDeque::with_capacity(MAX_MISSING),
            arrivals: 0,
            fresh_gap: None,
            next_due: None,
            round_trip: None,
            key_frame_at: 0,
        }
    }

    /// Packets awaited now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.missing.iter().filter(|entry| !entry.filled).count()
    }

    /// Nothing is awaited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The measured round trip to the sender, from requests that were answered at the first try.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// A packet above all before it came, with `skipped` numbers right before it missing.
    pub fn on_next(&mut self, now: Instant, extended: u64, skipped: u64) -> Outlook {
        self.arrivals += 1;
        if skipped > 0 {
            return self.on_gap(now, extended, skipped);
        }
        if self
            .fresh_gap
            .is_some_and(|noticed| self.arrivals > noticed)
        {
            // The second packet after the gap: not reordering any more.
            self.fresh_gap = None;
            self.wake_at(now);
        }
        Outlook::Repairable
    }

    fn on_gap(&mut self, now: Instant, extended: u64, skipped: u64) -> Outlook {
        if skipped > MAX_GAP {
            self.clear();
            return Outlook::KeyFrameNeeded;
        }
        let mut outlook = Outlook::Repairable;
        let due = now + REORDER_WAIT;
        for missing in extended - skipped..extended {
            if self.make_room() == Outlook::KeyFrameNeeded {
                outlook = Outlook::KeyFrameNeeded;
            }
            self.missing.push_back(Missing {
                extended: missing,
                since: now,
                noticed_at: self.arrivals,
                due,
                asked: None,
                tries: 0,
                filled: false,
            });
        }
        self.fresh_gap = Some(self.arrivals);
        self.wake_at(due);
        outlook
    }

    /// A packet below the highest came for the first time.
    pub fn on_late(&mut self, now: Instant, extended: u64) -> Filled {
        self.arrivals += 1;
        let found = self
            .missing
            .binary_search_by_key(&extended, |entry| entry.extended);
        let Some(entry) = found.ok().and_then(|index| self.missing.get_mut(index)) else {
            return Filled::Reordered;
        };
        entry.filled = true;
        let (asked, tries) = (entry.asked, entry.tries);
        self.drop_filled_front();
        let Some(asked) = asked else {
            return Filled::Reordered;
        };
        // Karn's rule: an answer to one of several requests does not say to which.
        if tries == 1 {
            self.measure_round_trip(now.saturating_duration_since(asked));
        }
        Filled::Repaired
    }

    /// A key frame begins with this packet: what was sent before it is not worth another one.
    pub fn on_key_frame(&mut self, extended: u64) {
        self.key_frame_at = self.key_frame_at.max(extended);
    }

    /// Forgets all that is awaited.
    pub fn clear(&mut self) {
        self.missing.clear();
        self.fresh_gap = None;
        self.next_due = None;
    }

    /// When [`LossTracker::collect`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_due
    }

    /// Appends the numbers that are due for a request, at most 64 in all, and gives up
    /// those that cannot come any more.
    pub fn collect(&mut self, now: Instant, out: &mut MissingList) -> Outlook {
        if self.next_due.is_none_or(|due| due > now) {
            return Outlook::Repairable;
        }
        let repeat = self.repeat_after();
        let (arrivals, key_frame_at) = (self.arrivals, self.key_frame_at);
        let mut outlook = Outlook::Repairable;
        let mut next_due: Option<Instant> = None;
        for entry in self.missing.iter_mut().filter(|entry| !entry.filled) {
            if entry.is_hopeless(now) {
                entry.filled = true;
                if entry.extended >= key_frame_at {
                    outlook = Outlook::KeyFrameNeeded;
                }
                continue;
            }
            if entry.is_due(now, arrivals) {
                if out.len() == NACK_BATCH {
                    next_due = Some(now);
                    break;
                }
                out.push(entry.extended as u16);
                entry.tries += 1;
                entry.asked = Some(now);
                entry.due = now + repeat;
            }
            next_due = Some(next_due.map_or(entry.due, |due| due.min(entry.due)));
        }
        self.next_due = next_due;
        self.drop_filled_front();
        outlook
    }

    fn repeat_after(&self) -> Duration {
        let round_trip = self.round_trip.unwrap_or(INITIAL_ROUND_TRIP);
        (round_trip * 3 / 2 + REORDER_WAIT).clamp(MIN_REPEAT, MAX_REPEAT)
    }

    fn measure_round_trip(&mut self, sample: Duration) {
        // The smoothing of RFC 6298 §2.
        self.round_trip = Some(match self.round_trip {
            None => sample,
            Some(before) => (before * 7 + sample) / 8,
        });
    }

    /// Keeps the list within its bound by giving up the oldest.
    fn make_room(&mut self) -> Outlook {
        if self.missing.len() < MAX_MISSING {
            return Outlook::Repairable;
        }
        self.missing.retain(|entry| !entry.filled);
        if self.missing.len() < MAX_MISSING {
            return Outlook::Repairable;
        }
        match self.missing.pop_front() {
            Some(oldest) if oldest.extended >= self.key_frame_at => Outlook::KeyFrameNeeded,
            Some(_) | None => Outlook::Repairable,
        }
    }

    fn drop_filled_front(&mut self) {
        while self.missing.front().is_some_and(|entry| entry.filled) {
            self.missing.pop_front();
        }
        if self.missing.is_empty() {
            self.fresh_gap = None;
            self.next_due = None;
        }
    }

    fn wake_at(&mut self, at: Instant) {
        self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
    }
}

impl Missing {
    fn is_due(&self, now: Instant, arrivals: u64) -> bool {
        self.due <= now || (self.tries == 0 && arrivals > self.noticed_at)
    }

    fn is_hopeless(&self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.since);
        waited >= GIVE_UP_AFTER || (self.tries >= MAX_TRIES && self.due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn due(tracker: &mut LossTracker, now: Instant) -> (Vec<u16>, Outlook) {
        let mut list = MissingList::new();
        let outlook = tracker.collect(now, &mut list);
        (list.to_vec(), outlook)
    }

    /// A tracker that has just seen 1000 and then 1003.
    fn with_gap(now: Instant) -> LossTracker {
        let mut tracker = LossTracker::new();
        assert_eq!(tracker.on_next(now, 1000, 0), Outlook::Repairable);
        assert_eq!(tracker.on_next(now, 1003, 2), Outlook::Repairable);
        tracker
    }

    #[test]
    fn waits_a_little_for_reordered_packets() {
        let now = Instant::now();
        let mut tracker = with_gap(now);
        assert!(due(&mut tracker, now).0.is_empty());
        assert_eq!(tracker.poll_timeout(), Some(now + REORDER_WAIT));
        assert_eq!(tracker.on_late(now + MS, 1002), Filled::Reordered);
        assert_eq!(due(&mut tracker, now + REORDER_WAIT).0, [1001]);
    }

    #[test]
    fn asks_at_once_when_a_second_later_packet_comes() {
        let now = Instant::now();
        let mut tracker = with_gap(now);
        let _ = tracker.on_next(now + MS, 1004, 0);
        assert_eq!(tracker.poll_timeout(), Some(now + MS));
        assert_eq!(due(&mut tracker, now + MS).0, [1001, 1002]);
        assert!(due(&mut tracker, now + MS).0.is_empty(), "once");
    }

    #[test]
    fn repeats_by_the_measured_round_trip() {
        let now = Instant::now();
        let mut tracker = with_gap(now);
        let asked = now + REORDER_WAIT;
        assert_eq!(due(&mut tracker, asked).0, [1001, 1002]);
        assert_eq!(tracker.on_late(asked + 20 * MS, 1001), Filled::Repaired);
        assert_eq!(tracker.round_trip(), Some(20 * MS));
        let repeat = tracker.poll_timeout().unwrap();
        assert_eq!(
            repeat,
            asked + 100 * MS,
            "set before the round trip was known"
        );
        assert_eq!(due(&mut tracker, repeat).0, [1002]);
        assert_eq!(tracker.poll_timeout(), Some(repeat + 40 * MS));
        tracker.on_late(repeat + 500 * MS, 1002);
        assert_eq!(
            tracker.round_trip(),
            Some(20 * MS),
            "an answer to the second request measures nothing"
        );
        assert_eq!(tracker.poll_timeout(), None);
    }

    #[test]
    fn gives_up_when_the_camera_cannot_have_it_any_more() {
        let now = Instant::now();
        let mut tracker = with_gap(now);
        let mut asked = 0;
        let mut at = now;
        let outlook = loop {
            at = tracker
                .poll_timeout()
                .expect("something is awaited")
                .max(at + MS);
            let (list, outlook) = due(&mut tracker, at);
            asked += list.len();
            if outlook == Outlook::KeyFrameNeeded {
                break outlook;
            }
        };
        assert_eq!(outlook, Outlook::KeyFrameNeeded);
        assert!(at <= now + GIVE_UP_AFTER + MAX_REPEAT);
        assert!((8..=2 * usize::from(MAX_TRIES)).contains(&asked), "{asked}");
        assert!(tracker.is_empty());
        assert_eq!(tracker.poll_timeout(), None);
    }

    #[test]
    fn what_was_lost_before_a_key_frame_needs_no_other() {
        let now = Instant::now();
        let mut tracker = with_gap(now);
        tracker.on_key_frame(1003);
        let (_, outlook) = due(&mut tracker, now + GIVE_UP_AFTER);
        assert_eq!(outlook, Outlook::Repairable);
        assert!(tracker.is_empty());
    }

    #[test]
    fn a_gap_beyond_the_window_needs_a_key_frame() {
        let now = Instant::now();
        let mut tracker = with_gap(now);
        let skipped = MAX_GAP + 1;
        let outlook = tracker.on_next(now, 1004 + skipped, skipped);
        assert_eq!(outlook, Outlook::KeyFrameNeeded);
        assert!(tracker.is_empty());
        assert_eq!(tracker.poll_timeout(), None);
    }

    #[test]
    fn a_large_gap_is_asked_for_in_batches_in_order() {
        let now = Instant::now();
        let mut tracker = LossTracker::new();
        let _ = tracker.on_next(now, 2000, MAX_GAP);
        let at = now + REORDER_WAIT;
        let mut all = Vec::new();
        while tracker.poll_timeout().is_some_and(|due| due <= at) {
            let (list, _) = due(&mut tracker, at);
            assert!(list.len() <= NACK_BATCH);
            all.extend(list);
        }
        let expected: Vec<u16> = (2000 - MAX_GAP as u16..2000).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn the_list_is_bounded() {
        let now = Instant::now();
        let mut tracker = LossTracker::new();
        let mut needed = 0;
        for gap in 0..20 {
            if tracker.on_next(now, 1000 + gap * 101, 100) == Outlook::KeyFrameNeeded {
                needed += 1;
            }
            assert!(tracker.missing.len() <= MAX_MISSING);
        }
        assert_eq!(tracker.missing.capacity(), MAX_MISSING, "never grew");
        assert!(needed > 0, "giving up is said");
    }
}
