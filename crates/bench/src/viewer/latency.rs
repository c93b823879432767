//! How late packets are. The camera's time stamp is inside the picture, where only the sample looks; RTP times are the
//! camera's for everybody, so what others received is matched by these.

use std::collections::{HashMap, VecDeque};

use crate::distribution::Distribution;
use crate::histogram::Histogram;

use super::picture::Stamp;

/// Sightings that wait for their stamp at most; the oldest go first.
const MAX_PENDING: usize = 1 << 16;
/// A stamp comes with the first packet of a picture. What has none by then never gets one.
const STAMPED_WITHIN_NS: u64 = 1_000_000_000;
/// Stamps that are remembered: many seconds of some cameras.
const MAX_STAMPS: usize = 4096;

/// A video packet that reached a viewer who notes times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    /// Whose picture.
    pub(crate) stream: usize,
    /// Its RTP time.
    pub(crate) timestamp: u32,
    /// When the kernel received it, in nanoseconds since 1970.
    pub(crate) at_ns: u64,
    /// Whether it is the first of its picture for this viewer.
    pub(crate) first: bool,
    /// Whether it is the picture's last.
    pub(crate) last: bool,
}

/// Collects sightings and stamps, and matches them.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    pending: VecDeque<Sighting>,
    stamps: HashMap<(usize, u32), u64>,
    stamp_order: VecDeque<(usize, u32)>,
    delays: Delays,
}

/// From the camera's stamp until the kernel had the packet for a viewer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delays {
    first: Histogram,
    each: Histogram,
    last: Histogram,
    unmatched: u64,
}

impl Sightings {
    /// A packet came.
    pub(crate) fn see(&mut self, sighting: Sighting) {
        if self.pending.len() == MAX_PENDING {
            self.pending.pop_front();
            self.delays.unmatched += 1;
        }
        self.pending.push_back(sighting);
    }

    /// The sample found a stamp.
    pub(crate) fn stamp(&mut self, stream: usize, stamp: Stamp) {
        let key = (stream, stamp.timestamp);
        if self.stamps.insert(key, stamp.sent_ns).is_some() {
            return;
        }
        self.stamp_order.push_back(key);
        if self.stamp_order.len() > MAX_STAMPS
            && let Some(oldest) = self.stamp_order.pop_front()
        {
            self.stamps.remove(&oldest);
        }
    }

    /// Matches what can be matched.
    pub(crate) fn settle(&mut self) {
        let Some(newest) = self.pending.back().map(|sighting| sighting.at_ns) else {
            return;
        };
        while let Some(sighting) = self.pending.front() {
            match self.stamps.get(&(sighting.stream, sighting.timestamp)) {
                Some(sent_ns) => self.delays.record(sighting, *sent_ns),
                None if newest.saturating_sub(sighting.at_ns) > STAMPED_WITHIN_NS => {
                    self.delays.unmatched += 1;
                }
                None => return,
            }
            self.pending.pop_front();
        }
    }

    /// The delays since the last call.
    pub(crate) fn take_delays(&mut self) -> Delays {
        self.settle();
        std::mem::take(&mut self.delays)
    }
}

impl Delays {
    fn record(&mut self, sighting: &Sighting, sent_ns: u64) {
        // A clock that is set back meanwhile makes a delay of nothing.
        let delay = sighting.at_ns.saturating_sub(sent_ns);
        self.each.record(delay);
        if sighting.first {
            self.first.record(delay);
        }
        if sighting.last {
            self.last.record(delay);
        }
    }

    /// Until the first packet of a picture, in microseconds.
    pub(crate) fn first_packet_us(&self) -> Option<Distribution> {
        self.first.distribution(1e-3)
    }

    /// Until each of its packets.
    pub(crate) fn each_packet_us(&self) -> Option<Distribution> {
        self.each.distribution(1e-3)
    }

    /// Until the last one.
    pub(crate) fn whole_picture_us(&self) -> Option<Distribution> {
        self.last.distribution(1e-3)
    }

    /// Packets whose picture had no stamp.
    pub(crate) fn unmatched(&self) -> u64 {
        self.unmatched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(timestamp: u32, at_ns: u64, first: bool, last: bool) -> Sighting {
        Sighting {
            stream: 3,
            timestamp,
            at_ns,
            first,
            last,
        }
    }

    #[test]
    fn sightings_are_matched_by_rtp_time_even_when_the_stamp_is_later() {
        let mut sightings = Sightings::default();
        sightings.see(sighting(9, 1_000_050, true, false));
        sightings.settle();
        let stamp = Stamp {
            timestamp: 9,
            sent_ns: 1_000_000,
        };
        sightings.stamp(2, stamp);
        sightings.settle();
        assert_eq!(sightings.pending.len(), 1, "another stream's stamp");
        sightings.stamp(3, stamp);
        sightings.see(sighting(9, 1_000_060, false, true));
        sightings.see(sighting(10, 1_000_070, true, true));
        let delays = sightings.take_delays();
        assert_eq!(delays.first_packet_us().unwrap().max, 0.05);
        assert_eq!(delays.whole_picture_us().unwrap().max, 0.06);
        assert_eq!(delays.each_packet_us().unwrap().count, 2);

        sightings.see(sighting(10, 1_000_080 + STAMPED_WITHIN_NS, false, true));
        let delays = sightings.take_delays();
        assert_eq!((delays.unmatched(), sightings.pending.len()), (1, 1));
        assert!(delays.each_packet_us().is_none());
    }

    #[test]
    fn is_bounded() {
        let mut sightings = Sightings::default();
        for number in 0..100_000 {
            sightings.see(sighting(number, 0, false, false));
            let stamp = Stamp {
                timestamp: number,
                sent_ns: 0,
            };
            sightings.stamp(0, stamp);
        }
        assert_eq!(sightings.pending.len(), MAX_PENDING);
        assert_eq!(sightings.stamps.len(), MAX_STAMPS);
    }
}
