//! What an engine has counted since it started: totals that only grow, those of streams and viewers that are gone included.

use std::time::Duration;

/// Upper bounds of the classes that turns of a worker's loop are sorted into; the last class has none.
pub const TURN_BOUNDS: [Duration; 7] = [
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_millis(4),
    Duration::from_millis(16),
    Duration::from_millis(64),
    Duration::from_millis(256),
    Duration::from_secs(1),
];

/// What all workers counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineCounts {
    /// Each worker's, in their order.
    pub workers: Vec<WorkerCounts>,
}

/// What one worker counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// What cameras sent it, and what it told them.
    pub cameras: CameraTraffic,
    /// What it sent to viewers, and what they told it.
    pub viewers: ViewerTraffic,
    /// Turns of its loop.
    pub turns: TurnCounts,
    /// CPU time of its thread.
    pub cpu: Duration,
    /// Messages that wait for it now.
    pub waiting: usize,
}

/// Between cameras and a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CameraTraffic {
    /// Valid RTP packets received.
    pub packets: u64,
    /// Their payload octets.
    pub octets: u64,
    /// Packets missing for good.
    pub lost: u64,
    /// Packets refused.
    pub dropped: u64,
    /// Packets asked for again, repetitions included.
    pub nacked: u64,
    /// Packets that came because they were asked for again.
    pub repaired: u64,
    /// Key frames asked for (PLI and FIR).
    pub key_frame_requests: u64,
    /// REMBs sent.
    pub rembs: u64,
}

impl CameraTraffic {
    /// What is more in `self` than in `earlier`; what has become less meanwhile counts as equal.
    pub(crate) fn since(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// The greater of each.
    pub(crate) fn highest(self, other: Self) -> Self {
        self.with(other, u64::max)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.with(other, u64::wrapping_add)
    }

    fn with(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            packets: f(self.packets, other.packets),
            octets: f(self.octets, other.octets),
            lost: f(self.lost, other.lost),
            dropped: f(self.dropped, other.dropped),
            nacked: f(self.nacked, other.nacked),
            repaired: f(self.repaired, other.repaired),
            key_frame_requests: f(self.key_frame_requests, other.key_frame_requests),
            rembs: f(self.rembs, other.rembs),
        }
    }
}

/// Between a worker and viewers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerTraffic {
    /// Datagrams that the system took: RTP, RTCP and what sets a connection up.
    pub datagrams: u64,
    /// Their octets.
    pub octets: u64,
    /// Datagrams that the system did not take, and that are lost therefore.
    pub unsent: u64,
    /// Packets that viewers asked for again.
    pub nacked: u64,
    /// Those that were sent again (RTX, or as they were).
    pub retransmitted: u64,
    /// Key frames that viewers asked for.
    pub key_frame_requests: u64,
    /// REMBs received.
    pub rembs: u64,
    /// Times a viewer did not keep up and was moved to a later picture.
    pub skipped: u64,
}

impl ViewerTraffic {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            datagrams: self.datagrams + other.datagrams,
            octets: self.octets + other.octets,
            unsent: self.unsent + other.unsent,
            nacked: self.nacked + other.nacked,
            retransmitted: self.retransmitted + other.retransmitted,
            key_frame_requests: self.key_frame_requests + other.key_frame_requests,
            rembs: self.rembs + other.rembs,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// Turns of a loop by how long each took: for so long, whatever came had to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnCounts {
    /// Turns up to each of [`TURN_BOUNDS`] and above the one before; then those above all.
    pub classes: [u64; TURN_BOUNDS.len() + 1],
    /// How long all took together.
    pub total: Duration,
}

impl TurnCounts {
    pub(crate) fn note(&mut self, took: Duration) {
        let class = TURN_BOUNDS.iter().position(|bound| took <= *bound);
        self.classes[class.unwrap_or(TURN_BOUNDS.len())] += 1;
        self.total += took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_counted_in_the_class_that_it_ends_in() {
        let mut turns = TurnCounts::default();
        turns.note(Duration::ZERO);
        turns.note(TURN_BOUNDS[0]);
        turns.note(TURN_BOUNDS[0] + Duration::from_nanos(1));
        turns.note(Duration::from_secs(2));
        assert_eq!(turns.classes, [2, 1, 0, 0, 0, 0, 0, 1]);
        assert!(turns.total > Duration::from_secs(2));
    }

    #[test]
    fn what_becomes_less_is_not_counted_again_when_it_grows_back() {
        let lost = |lost| CameraTraffic {
            lost,
            ..CameraTraffic::default()
        };
        let mut known = CameraTraffic::default();
        let mut total = 0;
        // A packet that was missed and came late after all, and then one that did not.
        for seen in [3, 1, 3, 4] {
            total += lost(seen).since(known).lost;
            known = known.highest(lost(seen));
        }
        assert_eq!(total, 4);
    }
}
