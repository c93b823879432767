//! Extended sequence numbers: 16 bits from the wire become 64 that never wrap (RFC 3550 Appendix A.1).
//!
//! Here belong the window in which late packets and duplicates are told apart, and the rule for jumps.
//! What a gap means (loss, NACK) is decided elsewhere.

/// How far behind the highest number a packet may come and still count (a repair, or reordering).
///
/// About two seconds of a camera at its highest bitrate, twice its retransmission history.
const WINDOW: u64 = 1024;
/// How far ahead a number may be without further proof (RFC 3550 A.1, `MAX_DROPOUT`).
const MAX_DROPOUT: u16 = 3000;
/// Extended numbers start one cycle up, so that what was sent before the first packet has one too.
const FIRST_CYCLE: u64 = 1 << 16;
const WORDS: usize = (WINDOW / 64) as usize;

/// Where an accepted packet stands among its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// The first packet of the stream.
    First {
        /// Extended sequence number.
        extended: u64,
    },
    /// The highest so far.
    Next {
        /// Extended sequence number.
        extended: u64,
        /// How many numbers right before it have not come.
        skipped: u64,
    },
    /// Below the highest, and not seen before.
    Late {
        /// Extended sequence number.
        extended: u64,
    },
    /// The sender goes on from another number: the second packet in sequence after a jump. The one
    /// before it was refused and can be asked for again.
    Restarted {
        /// Extended sequence number; above all earlier ones.
        extended: u64,
    },
}

/// Why a sequence number does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It came before.
    Duplicate,
    /// It is far from the highest, and its predecessor has not come right before it.
    Jump,
}

/// Extends sequence numbers and remembers which of the last 1024 came.
///
/// The first packet counts at once: a camera starts with an IDR, so there is no probation that would
/// throw it away. A jump counts once two packets in sequence confirm it. Extended numbers only grow,
/// also over jumps and [`SequenceTracker::rearm`].
#[derive(Clone, Debug)]
pub struct SequenceTracker {
    state: State,
    seen: [u64; WORDS],
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No packet yet; extended numbers will be above `floor`.
    Waiting { floor: u64 },
    /// `suspect` is the number that would confirm a jump.
    Running { highest: u64, suspect: Option<u16> },
}

impl Default for SequenceTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl SequenceTracker {
    /// A tracker that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Waiting {
                floor: FIRST_CYCLE - 1,
            },
            seen: [0; WORDS],
        }
    }

    /// The highest extended number, `None` before the first packet.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        match self.state {
            State::Waiting { .. } => None,
            State::Running { highest, .. } => Some(highest),
        }
    }

    /// Forgets the sender: any number may come next, and its extended form is above all earlier ones.
    pub fn rearm(&mut self) {
        if let State::Running { highest, .. } = self.state {
            self.state = State::Waiting {
                // Room for what was sent before the first packet and comes after it.
                floor: highest + WINDOW,
            };
        }
    }

    /// Takes a sequence number from the wire.
    pub fn place(&mut self, sequence_number: u16) -> Result<Placed, Refused> {
        match self.state {
            State::Waiting { floor } => {
                let extended = next_above(floor, sequence_number);
                self.start(extended);
                Ok(Placed::First { extended })
            }
            State::Running { highest, suspect } => {
                self.place_running(highest, suspect, sequence_number)
            }
        }
    }

    fn place_running(
        &mut self,
        highest: u64,
        suspect: Option<u16>,
        sequence_number: u16,
    ) -> Result<Placed, Refused> {
        let ahead = sequence_number.wrapping_sub(highest as u16);
        let behind = u64::from(ahead.wrapping_neg());
        if ahead != 0 && ahead < MAX_DROPOUT {
            let extended = highest + u64::from(ahead);
            self.advance(highest, extended);
            return Ok(Placed::Next {
                extended,
                skipped: u64::from(ahead) - 1,
            });
        }
        if behind < WINDOW {
            let extended = highest - behind;
            if self.mark(extended) {
                return Err(Refused::Duplicate);
            }
            self.state = State::Running {
                highest,
                suspect: None,
            };
            return Ok(Placed::Late { extended });
        }
        if suspect == Some(sequence_number) {
            let extended = next_above(highest, sequence_number);
            self.start(extended);
            return Ok(Placed::Restarted { extended });
        }
        self.state = State::Running {
            highest,
            suspect: Some(sequence_number.wrapping_add(1)),
        };
        Err(Refused::Jump)
    }

    fn start(&mut self, extended: u64) {
        self.seen = [0; WORDS];
        self.mark(extended);
        self.state = State::Running {
            highest: extended,
            suspect: None,
        };
    }

    fn advance(&mut self, highest: u64, extended: u64) {
        if extended - highest >= WINDOW {
            self.seen = [0; WORDS];
        } else {
            for skipped in highest + 1..extended {
                let (word, bit) = position(skipped);
                self.seen[word] &= !bit;
            }
            let (word, bit) = position(extended);
            self.seen[word] &= !bit;
        }
        self.mark(extended);
        self.state = State::Running {
            highest: extended,
            suspect: None,
        };
    }

    /// Marks a number as seen; says whether it was already.
    fn mark(&mut self, extended: u64) -> bool {
        let (word, bit) = position(extended);
        let before = self.seen[word] & bit != 0;
        self.seen[word] |= bit;
        before
    }
}

fn position(extended: u64) -> (usize, u64) {
    let index = extended % WINDOW;
    ((index / 64) as usize, 1 << (index % 64))
}

/// The smallest extended number above `floor` whose low 16 bits are `sequence_number`.
fn next_above(floor: u64, sequence_number: u16) -> u64 {
    let base = floor + 1;
    base + u64::from(sequence_number.wrapping_sub(base as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(tracker: &mut SequenceTracker, number: u16) -> (u64, u64) {
        match tracker.place(number) {
            Ok(Placed::Next { extended, skipped }) => (extended, skipped),
            other => panic!("{number}: {other:?}"),
        }
    }

    #[test]
    fn the_first_packet_counts_at_once() {
        let mut tracker = SequenceTracker::new();
        assert_eq!(tracker.place(7), Ok(Placed::First { extended: 0x1_0007 }));
    }

    #[test]
    fn numbers_go_on_over_the_wrap() {
        let mut tracker = SequenceTracker::new();
        tracker.place(65_534).unwrap();
        assert_eq!(next(&mut tracker, 65_535), (0x1_ffff, 0));
        assert_eq!(next(&mut tracker, 1), (0x2_0001, 1));
        assert_eq!(tracker.place(0), Ok(Placed::Late { extended: 0x2_0000 }));
    }

    #[test]
    fn packets_from_before_the_first_have_a_number_too() {
        let mut tracker = SequenceTracker::new();
        tracker.place(1).unwrap();
        assert_eq!(tracker.place(65_535), Ok(Placed::Late { extended: 0xffff }));
        assert_eq!(tracker.place(65_535), Err(Refused::Duplicate));
    }

    #[test]
    fn a_duplicate_is_known_across_the_whole_window() {
        let mut tracker = SequenceTracker::new();
        for number in 0..3000_u16 {
            tracker.place(number).unwrap();
        }
        for number in 3000 - WINDOW as u16..3000 {
            assert_eq!(tracker.place(number), Err(Refused::Duplicate), "{number}");
        }
        assert_eq!(
            tracker.place(2999 - WINDOW as u16),
            Err(Refused::Jump),
            "one beyond the window"
        );
    }

    #[test]
    fn old_marks_are_cleared_when_the_window_moves_over_a_gap() {
        let mut tracker = SequenceTracker::new();
        for number in 0..1024_u16 {
            tracker.place(number).unwrap();
        }
        next(&mut tracker, 1034);
        assert_eq!(
            tracker.place(1030),
            Ok(Placed::Late {
                extended: 0x1_0000 + 1030
            })
        );
    }

    #[test]
    fn h28_a_jump_needs_two_packets_in_sequence() {
        let mut tracker = SequenceTracker::new();
        tracker.place(10).unwrap();
        assert_eq!(tracker.place(40_000), Err(Refused::Jump));
        assert_eq!(tracker.place(50_000), Err(Refused::Jump));
        assert_eq!(next(&mut tracker, 11), (0x1_000b, 0), "the stream goes on");
        assert_eq!(
            tracker.place(50_001),
            Err(Refused::Jump),
            "a good packet in between takes the suspicion back"
        );
        assert_eq!(
            tracker.place(50_002),
            Ok(Placed::Restarted {
                extended: 0x1_0000 + 50_002
            })
        );
    }

    #[test]
    fn a_jump_backwards_still_grows_the_extended_number() {
        let mut tracker = SequenceTracker::new();
        tracker.place(30_000).unwrap();
        assert_eq!(tracker.place(5), Err(Refused::Jump));
        assert_eq!(
            tracker.place(6),
            Ok(Placed::Restarted { extended: 0x2_0006 })
        );
    }

    #[test]
    fn rearming_takes_any_number_and_never_goes_back() {
        let mut tracker = SequenceTracker::new();
        tracker.place(30_000).unwrap();
        tracker.rearm();
        assert_eq!(tracker.highest(), None);
        let Ok(Placed::First { extended }) = tracker.place(29_999) else {
            panic!("the first packet after rearming counts");
        };
        assert!(extended > 0x1_0000 + 30_000);
        assert_eq!(extended as u16, 29_999);
    }
}
