//! The last picture that decoding can begin with, in one piece.
//!
//! The worker copies its packets and goes on; whoever asked joins them.

use std::time::Duration;

use apiary_core::ring::RingPacket;
use apiary_wire::h264::Depacketizer;

use crate::engine::KeyFrame;

/// Longer pictures are not copied: the worker has better things to do.
const MAX_OCTETS: usize = 512 * 1024;

/// The packets of a picture.
pub(super) struct Still {
    heads: Vec<Head>,
    payloads: Vec<u8>,
    age: Duration,
}

/// One of them; its payload goes from the last one's end to `end`.
struct Head {
    sequence_number: u16,
    timestamp: u32,
    marker: bool,
    end: usize,
}

impl Still {
    /// Copies packets with their index in the ring; `None` where one of them is missing, or they are too long.
    pub(super) fn copy<'a>(
        packets: impl Iterator<Item = Option<(u64, RingPacket<'a>)>>,
        age: Duration,
    ) -> Option<Self> {
        let mut still = Self {
            heads: Vec::new(),
            payloads: Vec::new(),
            age,
        };
        for packet in packets {
            let (index, RingPacket { meta, payload }) = packet?;
            if still.payloads.len() + payload.len() > MAX_OCTETS {
                return None;
            }
            still.payloads.extend_from_slice(payload);
            still.heads.push(Head {
                // The index goes on by one for each sequence number.
                sequence_number: index as u16,
                timestamp: meta.timestamp,
                marker: meta.marker,
                end: still.payloads.len(),
            });
        }
        Some(still)
    }

    /// The picture, where they are all of it.
    pub(super) fn join(&self) -> Option<KeyFrame> {
        let mut depacketizer = Depacketizer::new();
        let mut start = 0;
        for head in &self.heads {
            let payload = &self.payloads[start..head.end];
            start = head.end;
            let unit =
                depacketizer.push(head.sequence_number, head.timestamp, head.marker, payload);
            if let Ok(Some(unit)) = unit
                && unit.is_idr
            {
                return Some(KeyFrame {
                    annex_b: unit.annex_b,
                    age: self.age,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiary_core::ring::{Codec, PacketMeta, PictureRole};

    const SPS: &[u8] = &[0x67, 1, 2];
    const PPS: &[u8] = &[0x68, 3];
    const IDR: &[u8] = &[0x65, 4, 5, 6];

    fn packet(payload: &[u8], marker: bool) -> RingPacket<'_> {
        let meta = PacketMeta {
            timestamp: 7,
            marker,
            codec: Codec::H264,
            role: PictureRole::Other,
        };
        RingPacket { meta, payload }
    }

    fn join(packets: &[Option<(u64, RingPacket<'_>)>]) -> Option<KeyFrame> {
        Still::copy(packets.iter().copied(), Duration::from_secs(1))?.join()
    }

    #[test]
    fn a_whole_picture_comes_with_its_parameter_sets() {
        // The index is about to pass what a sequence number can hold.
        let at = u64::from(u16::MAX);
        let whole = [
            Some((at, packet(SPS, false))),
            Some((at + 1, packet(PPS, false))),
            Some((at + 2, packet(IDR, true))),
        ];
        let found = join(&whole).unwrap();
        let start: &[u8] = &[0, 0, 0, 1];
        let expected = [start, SPS, start, PPS, start, IDR].concat();
        assert_eq!((found.annex_b, found.age.as_secs()), (expected, 1));
        assert_eq!(join(&whole[..2]), None, "its end has not come");
        assert_eq!(join(&[whole[0], None, whole[2]]), None);
    }

    #[test]
    fn what_is_too_long_is_not_copied() {
        let long = vec![0x65; MAX_OCTETS / 2 + 1];
        let packets = [0, 1].map(|index| Some((index, packet(&long, index == 1))));
        assert_eq!(join(&packets), None);
    }
}
