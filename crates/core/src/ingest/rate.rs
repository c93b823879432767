//! Bitrate and frame rate of a stream over the last second, and the beat of that second.

use std::time::{Duration, Instant};

use apiary_wire::rtp::RtpPacket;
use apiary_wire::units::Bitrate;

use super::track::TrackKind;

/// What one measurement covers.
const INTERVAL: Duration = Duration::from_secs(1);

/// A finished measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    /// Payload of both tracks.
    pub(super) bitrate: Bitrate,
    /// Marker bits of the picture, rounded.
    pub(super) frames_per_second: u32,
}

/// Measures second by second, from the first packet on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateMeter {
    started: Option<Instant>,
    octets: u64,
    frames: u64,
    last: Rate,
}

impl RateMeter {
    /// The first packet of a track is here; the beat goes on if there is one.
    pub(super) fn start(&mut self, now: Instant) {
        self.started.get_or_insert(now);
    }

    /// Counts a packet.
    pub(super) fn on_packet(&mut self, track: TrackKind, packet: &RtpPacket<'_>) {
        self.octets += packet.payload.len() as u64;
        self.frames += u64::from(track == TrackKind::Video && packet.marker);
    }

    /// The last finished measurement.
    pub(super) fn last(&self) -> Rate {
        self.last
    }

    /// When the running measurement ends.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.started.map(|started| started + INTERVAL)
    }

    /// Ends the running measurement when it is time; says whether it was.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let Some(started) = self.started.filter(|started| *started + INTERVAL <= now) else {
            return false;
        };
        let millis = now.duration_since(started).as_millis().max(1) as u64;
        self.last = Rate {
            bitrate: Bitrate::from_bps(self.octets * 8 * 1000 / millis),
            frames_per_second: ((self.frames * 1000 + millis / 2) / millis) as u32,
        };
        self.started = Some(now);
        self.octets = 0;
        self.frames = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use apiary_wire::units::{PayloadType, Ssrc};

    use super::*;

    #[test]
    fn measures_each_second() {
        let start = Instant::now();
        let mut meter = RateMeter::default();
        assert!(!meter.handle_timeout(start), "not before a packet");
        meter.start(start);
        let mut packet = RtpPacket {
            marker: false,
            payload_type: PayloadType::new(103).unwrap(),
            sequence_number: 0,
            timestamp: 0,
            ssrc: Ssrc(1),
            extension: None,
            payload: &[0; 1000],
        };
        for number in 0..100 {
            packet.marker = number % 4 == 3;
            meter.on_packet(TrackKind::Video, &packet);
        }
        packet.marker = true;
        meter.on_packet(TrackKind::Audio, &packet);
        assert!(!meter.handle_timeout(start + INTERVAL / 2));
        assert!(meter.handle_timeout(start + INTERVAL));
        assert_eq!(meter.last().bitrate, Bitrate::from_kbps(808));
        assert_eq!(meter.last().frames_per_second, 25);
        assert!(meter.handle_timeout(start + 2 * INTERVAL));
        assert_eq!(meter.last(), Rate::default(), "silence is seen");
    }
}
