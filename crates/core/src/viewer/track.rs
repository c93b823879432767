//! One track on its way to one viewer: RTP headers, sequence numbers and counts.

use apiary_wire::rtcp::SenderInfo;
use apiary_wire::rtp::HeaderTemplate;
use apiary_wire::units::{NtpTime, PayloadType, Ssrc};

use crate::ring::RingPacket;
use crate::srtp::SrtpSender;

/// Takes sealed packets.
pub trait PacketSink {
    /// A place for one packet of exactly `len` octets. What stands there at the next call, or at the end, is the packet.
    fn packet(&mut self, len: usize) -> &mut [u8];
}

/// Numbers, heads and seals a track's packets for one viewer.
///
/// Ring indices map onto sequence numbers by a constant distance, so that a NACK maps back; the distance changes only
/// at a [`jump`](Self::jump).
pub struct TrackSender {
    header: HeaderTemplate,
    /// Ring index at which the current mapping begins, and its extended sequence number.
    origin: (u64, u64),
    next: u64,
    packets: u32,
    octets: u32,
}

impl TrackSender {
    /// A track that begins with this sequence number. Below 2^15 a receiver that loses the first packets cannot
    /// mistake the rollover counter (RFC 3711 §3.3.1).
    pub fn new(header: HeaderTemplate, first_sequence: u16) -> Self {
        let first = u64::from(first_sequence & 0x7fff);
        Self {
            header,
            origin: (0, first),
            next: first,
            packets: 0,
            octets: 0,
        }
    }

    /// Goes on at another ring index without a gap in the sequence numbers.
    pub fn jump(&mut self, index: u64) {
        self.origin = (index, self.next);
    }

    /// The ring index of a sequence number that was sent since the last jump.
    pub fn index_of(&self, sequence_number: u16) -> Option<u64> {
        let newest = self.next.checked_sub(1)?;
        let back = (newest as u16).wrapping_sub(sequence_number);
        let extended = newest.checked_sub(u64::from(back))?;
        Some(self.origin.0 + extended.checked_sub(self.origin.1)?)
    }

    /// Seals the packet of ring index `index`; the same index always gives the same octets. `false` when the viewer has
    /// no number for it, because it is from before the last jump.
    pub fn seal(
        &mut self,
        srtp: &SrtpSender,
        payload_type: PayloadType,
        index: u64,
        packet: RingPacket<'_>,
        out: &mut impl PacketSink,
    ) -> bool {
        let Some(ahead) = index.checked_sub(self.origin.0) else {
            return false;
        };
        let extended = self.origin.1 + ahead;
        self.next = self.next.max(extended + 1);
        self.seal_as(srtp, payload_type, extended, packet, out);
        true
    }

    /// Seals a packet under an extended sequence number.
    fn seal_as(
        &mut self,
        srtp: &SrtpSender,
        payload_type: PayloadType,
        extended: u64,
        RingPacket { meta, payload }: RingPacket<'_>,
        out: &mut impl PacketSink,
    ) {
        let header_len = self.header.header_len();
        let place = out.packet(srtp.sealed_len(header_len, payload.len()));
        let sequence_number = extended as u16;
        self.header.write(
            meta.marker,
            payload_type,
            sequence_number,
            meta.timestamp,
            place,
        );
        srtp.seal(place, header_len, extended, payload);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
    }

    /// What a sender report says of this track.
    pub fn sender_info(&self, ntp: NtpTime, rtp_time: u32) -> SenderInfo {
        SenderInfo {
            ssrc: self.ssrc(),
            ntp,
            rtp_time,
            packet_count: self.packets,
            octet_count: self.octets,
        }
    }

    /// The SSRC toward the viewer.
    pub fn ssrc(&self) -> Ssrc {
        self.header.ssrc()
    }

    /// Whether anything was sent yet.
    pub fn has_sent(&self) -> bool {
        self.packets > 0
    }
}

/// Sends packets again on an SSRC and payload type of their own (RFC 4588).
pub struct RtxSender {
    track: TrackSender,
    payload_type: PayloadType,
    scratch: Vec<u8>,
}

impl RtxSender {
    /// A retransmission stream that begins with this sequence number.
    pub fn new(header: HeaderTemplate, payload_type: PayloadType, first_sequence: u16) -> Self {
        Self {
            track: TrackSender::new(header, first_sequence),
            payload_type,
            scratch: Vec::new(),
        }
    }

    /// Seals `packet`, first sent as `original`, once more.
    pub fn seal(
        &mut self,
        srtp: &SrtpSender,
        original: u16,
        packet: RingPacket<'_>,
        out: &mut impl PacketSink,
    ) {
        self.scratch.clear();
        self.scratch.extend_from_slice(&original.to_be_bytes());
        self.scratch.extend_from_slice(packet.payload);
        let extended = self.track.next;
        self.track.next += 1;
        let again = RingPacket {
            meta: packet.meta,
            payload: &self.scratch,
        };
        self.track
            .seal_as(srtp, self.payload_type, extended, again, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_map_back_to_ring_indices() {
        let mut track = TrackSender::new(HeaderTemplate::new(Ssrc(1)), 0x7fff);
        track.jump(1_000);
        track.next = 0x7fff + 70_000; // beyond a wrap
        let newest = (track.next - 1) as u16;
        assert_eq!(track.index_of(newest), Some(1_000 + 69_999));
        assert_eq!(track.index_of(newest.wrapping_sub(5)), Some(1_000 + 69_994));
        track.jump(90_000);
        track.next += 2;
        assert_eq!(track.index_of((track.next - 1) as u16), Some(90_001));
        assert_eq!(track.index_of(newest), None, "from before the jump");
    }
}
