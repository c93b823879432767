//! The SSRCs that a viewer receives, without a detour over the heap.

use apiary_wire::Ssrc;

use super::gaps::Gaps;

/// Picture, sound, the picture's retransmissions, and one more; packets of others are not counted.
const MAX_TRACKS: usize = 4;

/// What came of each SSRC.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    tracks: [Option<(u32, Gaps)>; MAX_TRACKS],
}

impl Tracks {
    /// A packet came.
    pub(crate) fn on_packet(&mut self, ssrc: u32, sequence_number: u16) {
        for track in &mut self.tracks {
            match track {
                Some((known, gaps)) if *known == ssrc => return gaps.on_packet(sequence_number),
                Some(_) => {}
                None => {
                    *track = Some((ssrc, Gaps::new(sequence_number)));
                    return;
                }
            }
        }
    }

    /// Packets that came, each counted once.
    pub(crate) fn received(&self) -> u64 {
        self.all().map(|(_, gaps)| gaps.received()).sum()
    }

    /// Packets that did not come.
    pub(crate) fn lost(&self) -> u64 {
        self.all().map(|(_, gaps)| gaps.lost()).sum()
    }

    /// Each SSRC with its highest extended sequence number.
    pub(crate) fn highest(&self) -> impl Iterator<Item = (Ssrc, u32)> {
        self.all()
            .map(|(ssrc, gaps)| (Ssrc(*ssrc), gaps.highest_extended()))
    }

    fn all(&self) -> impl Iterator<Item = &(u32, Gaps)> {
        self.tracks.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ssrc_has_its_own_numbers() {
        let mut tracks = Tracks::default();
        for (ssrc, number) in [(7, 10), (9, 500), (7, 12), (9, 501), (1, 1), (2, 2), (3, 3)] {
            tracks.on_packet(ssrc, number);
        }
        assert_eq!((tracks.received(), tracks.lost()), (6, 1));
        let highest: Vec<_> = tracks.highest().take(2).collect();
        assert_eq!(highest, [(Ssrc(7), 12), (Ssrc(9), 501)]);
    }
}
