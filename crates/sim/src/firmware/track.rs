//! The sending side of one RTP track: sequence numbers, timestamps, and what sender reports say.

use std::time::Instant;

use apiary_wire::rtcp::SenderInfo;
use apiary_wire::rtp::RtpHeader;
use apiary_wire::{NtpTime, PayloadType, Ssrc};

use super::WallClock;

/// One of the two media of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Track {
    Video,
    Audio,
}

/// Numbers the packets of one track.
#[derive(Debug)]
pub(super) struct TrackSender {
    ssrc: Ssrc,
    payload_type: PayloadType,
    clock_rate: u32,
    next_sequence: u16,
    /// The timestamp of the moment `origin`.
    first_timestamp: u32,
    origin: Instant,
    packets: u32,
    octets: u32,
}

/// How the packets of one track are marked.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrackFormat {
    pub(super) ssrc: Ssrc,
    pub(super) payload_type: PayloadType,
    pub(super) clock_rate: u32,
}

/// Where the numbers of one track start; random on a real camera.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrackOrigin {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    /// The moment that `timestamp` stands for.
    pub(super) at: Instant,
}

impl TrackSender {
    pub(super) fn new(format: TrackFormat, origin: TrackOrigin) -> Self {
        Self {
            ssrc: format.ssrc,
            payload_type: format.payload_type,
            clock_rate: format.clock_rate,
            next_sequence: origin.sequence,
            first_timestamp: origin.timestamp,
            origin: origin.at,
            packets: 0,
            octets: 0,
        }
    }

    pub(super) fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The header of the next packet, with `payload_len` bytes of what was captured at `captured`.
    pub(super) fn next_header(
        &mut self,
        captured: Instant,
        payload_len: usize,
        marker: bool,
    ) -> RtpHeader {
        let header = RtpHeader {
            marker,
            payload_type: self.payload_type,
            sequence_number: self.next_sequence,
            timestamp: self.timestamp(captured),
            ssrc: self.ssrc,
        };
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
        header
    }

    /// The RTP time of `moment`, which may lie a little before the origin.
    fn timestamp(&self, moment: Instant) -> u32 {
        let ticks = |micros: u128| (micros * u128::from(self.clock_rate) / 1_000_000) as u32;
        match moment.checked_duration_since(self.origin) {
            Some(since) => self.first_timestamp.wrapping_add(ticks(since.as_micros())),
            None => {
                let before = self.origin.saturating_duration_since(moment);
                self.first_timestamp.wrapping_sub(ticks(before.as_micros()))
            }
        }
    }

    /// What a sender report of this moment says; nothing before the first packet.
    pub(super) fn report(&self, now: Instant, clock: &WallClock) -> Option<SenderInfo> {
        (self.packets > 0).then(|| SenderInfo {
            ssrc: self.ssrc,
            ntp: NtpTime::from_unix(clock.unix_at(now)),
            rtp_time: self.timestamp(now),
            packet_count: self.packets,
            octet_count: self.octets,
        })
    }
}
