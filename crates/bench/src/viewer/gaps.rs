//! Packets of one SSRC that came, came twice, or did not come.

/// Numbers behind the highest one that are remembered.
const WINDOW: u64 = 1024;

/// Counts by sequence number. The first packet is the beginning, whatever its number.
#[derive(Debug, Clone)]
pub(crate) struct Gaps {
    first: u64,
    highest: u64,
    received: u64,
    duplicates: u64,
    /// One bit a number, without a detour over the heap: there are thousands of these.
    seen: [u64; (WINDOW / 64) as usize],
}

impl Gaps {
    /// The first packet came.
    pub(crate) fn new(sequence_number: u16) -> Self {
        // One cycle up, so that what is reordered before the first has a number too.
        let first = u64::from(sequence_number) + (1 << 16);
        let mut gaps = Self {
            first,
            highest: first,
            received: 0,
            duplicates: 0,
            seen: [0; (WINDOW / 64) as usize],
        };
        gaps.mark(first);
        gaps
    }

    /// Another packet came.
    pub(crate) fn on_packet(&mut self, sequence_number: u16) {
        let ahead = sequence_number.wrapping_sub(self.highest as u16) as i16;
        let Some(extended) = self.highest.checked_add_signed(i64::from(ahead)) else {
            return;
        };
        if extended + WINDOW <= self.highest {
            self.duplicates += 1;
            return;
        }
        if extended >= self.highest + WINDOW {
            self.seen.fill(0);
        } else {
            for skipped in self.highest + 1..=extended {
                let (word, bit) = place(skipped);
                self.seen[word] &= !bit;
            }
        }
        self.highest = self.highest.max(extended);
        self.first = self.first.min(extended);
        self.mark(extended);
    }

    fn mark(&mut self, extended: u64) {
        let (word, bit) = place(extended);
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.received += 1;
        } else {
            self.duplicates += 1;
        }
    }

    /// The highest number, extended by its cycles, as a receiver report carries it (RFC 3550 §6.4.1).
    pub(crate) fn highest_extended(&self) -> u32 {
        (self.highest - (1 << 16)) as u32
    }

    /// Packets that came, each counted once.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Packets between the first and the highest that did not come.
    pub(crate) fn lost(&self) -> u64 {
        (self.highest - self.first + 1).saturating_sub(self.received)
    }
}

/// Word and bit of a number.
fn place(extended: u64) -> (usize, u64) {
    let at = extended % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_gaps_and_what_fills_them() {
        let mut gaps = Gaps::new(65_534);
        for number in [65_535, 2, 3, 3, 1] {
            gaps.on_packet(number);
        }
        assert_eq!((gaps.received(), gaps.lost(), gaps.duplicates), (5, 1, 1));
        gaps.on_packet(0);
        gaps.on_packet(65_533);
        assert_eq!((gaps.received(), gaps.lost()), (7, 0));
    }

    #[test]
    fn a_gap_larger_than_the_window_is_lost() {
        let mut gaps = Gaps::new(0);
        gaps.on_packet(5000);
        assert_eq!((gaps.received(), gaps.lost()), (2, 4999));
    }
}
