//! One unbroken run of packets for viewers, whatever the camera does.
//!
//! A camera that starts anew comes with another SSRC, other sequence numbers and other timestamps. Viewers must not
//! notice: [`Splice`] maps each run of a track onto indices and timestamps that go on where the last run ended.

use std::time::Instant;

/// Where the first run begins, so that packets reordered before its first one still have an index.
const FIRST_INDEX: u64 = 1 << 16;

/// Maps a track's packets onto the run that viewers see.
pub struct Splice {
    clock_rate: u32,
    run: Option<Run>,
    /// Index, timestamp and arrival of the newest packet so far.
    newest: Option<(u64, u32, Instant)>,
}

#[derive(Clone, Copy)]
struct Run {
    first_ext_seq: u64,
    first_index: u64,
    timestamp_offset: u32,
}

impl Splice {
    /// A track with this RTP clock, in Hz.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            run: None,
            newest: None,
        }
    }

    /// The next packet begins a new run of the camera.
    pub fn begin_run(&mut self) {
        self.run = None;
    }

    /// What to add to a camera's timestamp of the current run, modulo 2^32.
    pub fn timestamp_offset(&self) -> u32 {
        self.run.map_or(0, |run| run.timestamp_offset)
    }

    /// Timestamp, as viewers see it, and arrival of the newest packet.
    pub fn newest(&self) -> Option<(u32, Instant)> {
        self.newest
            .map(|(_, timestamp, arrived)| (timestamp, arrived))
    }

    /// Index and timestamp for viewers; `None` for a packet from before the run began.
    pub fn map(&mut self, now: Instant, ext_seq: u64, timestamp: u32) -> Option<(u64, u32)> {
        let run = *self.run.get_or_insert_with(|| {
            Self::follow(self.newest, self.clock_rate, now, ext_seq, timestamp)
        });
        let index = (run.first_index + ext_seq).checked_sub(run.first_ext_seq)?;
        let timestamp = timestamp.wrapping_add(run.timestamp_offset);
        if self.newest.is_none_or(|(newest, ..)| index > newest) {
            self.newest = Some((index, timestamp, now));
        }
        Some((index, timestamp))
    }

    /// The run that continues after `newest`: its timestamps advance by the time that passed between.
    fn follow(
        newest: Option<(u64, u32, Instant)>,
        clock_rate: u32,
        now: Instant,
        ext_seq: u64,
        timestamp: u32,
    ) -> Run {
        let Some((index, last_timestamp, arrived)) = newest else {
            return Run {
                first_ext_seq: ext_seq,
                first_index: FIRST_INDEX,
                timestamp_offset: 0,
            };
        };
        let passed = now.saturating_duration_since(arrived).as_micros();
        let ticks = (passed * u128::from(clock_rate) / 1_000_000).max(1) as u32;
        Run {
            first_ext_seq: ext_seq,
            first_index: index + 1,
            timestamp_offset: last_timestamp.wrapping_add(ticks).wrapping_sub(timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_first_run_keeps_its_timestamps() {
        let now = Instant::now();
        let mut splice = Splice::new(90_000);
        assert_eq!(splice.map(now, 500, 77), Some((FIRST_INDEX, 77)));
        assert_eq!(splice.map(now, 499, 70), Some((FIRST_INDEX - 1, 70)));
        assert_eq!(splice.map(now, 503, 90), Some((FIRST_INDEX + 3, 90)));
    }

    #[test]
    fn a_new_run_goes_on_where_the_last_ended() {
        let start = Instant::now();
        let mut splice = Splice::new(90_000);
        splice.map(start, 10, u32::MAX - 10);
        splice.map(start, 11, u32::MAX);
        splice.begin_run();
        let later = start + Duration::from_secs(1);
        assert_eq!(
            splice.map(later, 4_000, 123),
            Some((FIRST_INDEX + 2, 89_999))
        );
        assert_eq!(
            splice.map(later, 4_001, 123 + 3_000),
            Some((FIRST_INDEX + 3, 92_999))
        );
        assert_eq!(splice.timestamp_offset(), 89_999 - 123);
    }
}
