//! The voice of a viewer, as its camera takes it.
//!
//! The camera's SDP has the sound `sendrecv` (camera-protocol.md): it plays Opus that comes to the port it sends its own sound
//! from. It must not notice that talkers change: they share one SSRC, and numbers and timestamps go on.

use std::time::{Duration, Instant};

use apiary_wire::rtp::{FIXED_HEADER_LEN, HeaderTemplate, RtpPacket};
use apiary_wire::sdp::camera::{OPUS, OPUS_CLOCK_RATE};
use apiary_wire::units::Ssrc;

use crate::splice::Splice;

/// Longest payload that is passed on: one Opus frame of the greatest size (RFC 6716 §3.2.1) and its first octet.
const MAX_PAYLOAD: usize = 1_276;
/// Longest packet that is written.
pub const MAX_TALK_PACKET: usize = FIXED_HEADER_LEN + MAX_PAYLOAD;

/// Packets a second that are passed on: frames of 10 ms; browsers send 20 ms. The camera is small, and its link slow.
const PACKETS_PER_S: u32 = 100;
/// What a talker may send at once after a stall of its own link.
const BURST: u32 = 50;

/// One unbroken track of sound toward a camera.
pub struct TalkTrack {
    header: HeaderTemplate,
    splice: Splice,
    /// Extended sequence number of the first packet of the one who talks; `None` until it came.
    first: Option<u64>,
    allowance: Allowance,
}

/// A token bucket of packets.
#[derive(Clone, Copy)]
struct Allowance {
    packets: u32,
    filled: Option<Instant>,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let each = Duration::from_secs(1) / PACKETS_PER_S;
        let filled = *self.filled.get_or_insert(now);
        let gained = now.saturating_duration_since(filled).as_nanos() / each.as_nanos();
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        self.packets = self.packets.saturating_add(gained);
        if self.packets >= BURST {
            self.packets = BURST;
            self.filled = Some(now);
        } else {
            self.filled = Some(filled + each * gained);
        }
        let affordable = self.packets > 0;
        self.packets -= u32::from(affordable);
        affordable
    }
}

impl TalkTrack {
    /// A track that nobody has spoken on.
    pub fn new(ssrc: Ssrc) -> Self {
        Self {
            header: HeaderTemplate::new(ssrc),
            splice: Splice::new(OPUS_CLOCK_RATE),
            first: None,
            allowance: Allowance {
                packets: BURST,
                filled: None,
            },
        }
    }

    /// Somebody begins to talk.
    pub fn begin(&mut self) {
        self.splice.begin_run();
        self.first = None;
    }

    /// Writes a talker's packet, whose extended sequence number is `ext_seq`, as the camera takes it to the front of `out`; gives
    /// its length. `None` when it is not passed on: empty, too long, one too many, or from before the talker began.
    pub fn write(
        &mut self,
        now: Instant,
        ext_seq: u64,
        packet: &RtpPacket<'_>,
        out: &mut [u8; MAX_TALK_PACKET],
    ) -> Option<usize> {
        let len = FIXED_HEADER_LEN + packet.payload.len();
        if packet.payload.is_empty() || len > out.len() || !self.allowance.take(now) {
            return None;
        }
        let first = *self.first.get_or_insert(ext_seq);
        if ext_seq < first {
            return None;
        }
        let (index, timestamp) = self.splice.map(now, ext_seq, packet.timestamp)?;
        // A talkspurt begins (RFC 3551 §4.1).
        let marker = ext_seq == first;
        self.header
            .write(marker, OPUS, index as u16, timestamp, out);
        out[FIXED_HEADER_LEN..len].copy_from_slice(packet.payload);
        Some(len)
    }
}

#[cfg(test)]
mod tests {
    use apiary_wire::units::PayloadType;

    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    fn voice(sequence_number: u16, timestamp: u32, payload: &[u8]) -> RtpPacket<'_> {
        RtpPacket {
            marker: false,
            payload_type: PayloadType::new(111).unwrap(),
            sequence_number,
            timestamp,
            ssrc: Ssrc(9),
            extension: None,
            payload,
        }
    }

    /// Sequence number, timestamp and marker of what the camera gets.
    fn pass(
        track: &mut TalkTrack,
        now: Instant,
        ext_seq: u64,
        timestamp: u32,
    ) -> Option<(u16, u32, bool)> {
        let mut out = [0; MAX_TALK_PACKET];
        let packet = voice(ext_seq as u16, timestamp, b"voice");
        let len = track.write(now, ext_seq, &packet, &mut out)?;
        let packet = RtpPacket::parse(&out[..len]).unwrap();
        assert_eq!((packet.payload_type, packet.ssrc), (OPUS, Ssrc(5)));
        assert_eq!(packet.payload, b"voice");
        Some((packet.sequence_number, packet.timestamp, packet.marker))
    }

    #[test]
    fn a_second_talker_goes_on_where_the_first_ended() {
        let start = Instant::now();
        let mut track = TalkTrack::new(Ssrc(5));
        track.begin();
        assert_eq!(
            pass(&mut track, start, 70_000, 1_000),
            Some((0, 1_000, true))
        );
        let next = pass(&mut track, start + FRAME, 70_001, 1_960);
        assert_eq!(next, Some((1, 1_960, false)));
        track.begin();
        let later = start + FRAME + Duration::from_secs(1);
        let second = pass(&mut track, later, 12, 4_000_000);
        assert_eq!(second, Some((2, 1_960 + OPUS_CLOCK_RATE, true)));
        let late = pass(&mut track, later, 11, 4_000_000 - 960);
        assert_eq!(late, None, "of before it was allowed to");
        let after_loss = pass(&mut track, later + 2 * FRAME, 14, 4_000_000 + 1_920);
        assert_eq!(
            after_loss,
            Some((4, 1_960 + OPUS_CLOCK_RATE + 1_920, false))
        );
    }

    #[test]
    fn a_talker_that_floods_gets_its_rate_and_no_more() {
        let start = Instant::now();
        let mut track = TalkTrack::new(Ssrc(5));
        track.begin();
        let passed = (0..10_000_u64)
            .filter(|&at| {
                let now = start + Duration::from_micros(at * 100);
                pass(&mut track, now, at, at as u32).is_some()
            })
            .count() as u32;
        assert!(
            (PACKETS_PER_S..=PACKETS_PER_S + BURST).contains(&passed),
            "{passed}"
        );
    }

    #[test]
    fn one_frame_each_20_ms_is_never_held_back() {
        let start = Instant::now();
        let mut track = TalkTrack::new(Ssrc(5));
        for at in 0..1_000_u32 {
            let passed = pass(&mut track, start + FRAME * at, u64::from(at), at * 960);
            assert!(passed.is_some(), "{at}");
        }
    }

    #[test]
    fn h19_empty_and_oversized_payloads_are_not_passed_on() {
        let mut track = TalkTrack::new(Ssrc(5));
        let mut out = [0; MAX_TALK_PACKET];
        let now = Instant::now();
        let long = [0; MAX_PAYLOAD + 1];
        assert_eq!(track.write(now, 1, &voice(1, 0, &[]), &mut out), None);
        assert_eq!(track.write(now, 2, &voice(2, 0, &long), &mut out), None);
        let longest = voice(3, 0, &long[1..]);
        assert_eq!(track.write(now, 3, &longest, &mut out), Some(out.len()));
    }
}
