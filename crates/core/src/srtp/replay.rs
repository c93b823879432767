//! Which packets were seen before (RFC 3711 §3.3.2).

/// The last 64 indices, of RTP (48 bits) or RTCP (31 bits).
#[derive(Clone, Debug, Default)]
pub(super) struct ReplayWindow {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u64,
}

impl ReplayWindow {
    /// Takes note of an authentic packet; `None` when it was seen, or is too old to tell.
    pub(super) fn accept(&mut self, index: u64) -> Option<()> {
        if self.seen == 0 || index > self.highest {
            let step = u32::try_from(index.saturating_sub(self.highest)).unwrap_or(u32::MAX);
            self.seen = if self.seen == 0 {
                1
            } else {
                self.seen.checked_shl(step).unwrap_or(0) | 1
            };
            self.highest = index;
            return Some(());
        }
        let back = u32::try_from(self.highest - index).ok()?;
        let bit = 1u64.checked_shl(back)?;
        if self.seen & bit != 0 {
            return None;
        }
        self.seen |= bit;
        Some(())
    }

    /// The highest index so far; `None` before the first.
    pub(super) fn highest(&self) -> Option<u64> {
        (self.seen != 0).then_some(self.highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_takes_reordered_packets_once() {
        let mut window = ReplayWindow::default();
        assert_eq!(window.highest(), None);
        for index in [5, 3, 70, 8, 69] {
            assert!(window.accept(index).is_some(), "{index}");
        }
        for index in [70, 8, 69, 5, 3] {
            assert!(window.accept(index).is_none(), "{index}");
        }
        assert_eq!(window.highest(), Some(70));
    }

    #[test]
    fn a_leap_beyond_32_bits_leaves_nothing_seen() {
        let mut window = ReplayWindow::default();
        window.accept(1).unwrap();
        window.accept((1 << 40) + 1).unwrap();
        assert!(window.accept(1 << 40).is_some());
        assert!(window.accept(1).is_none(), "too old to tell");
    }
}
