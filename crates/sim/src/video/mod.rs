//! Pictures: the test card, its encoding, live or ahead of time, and the RTP payloads they become.

mod canvas;
mod card;
mod encoder;
mod font;
mod live;
mod replay;
mod timestamp;

use std::ops::Range;

use apiary_wire::h264;
use bytes::Bytes;

pub use timestamp::{UUID as TIMESTAMP_UUID, find as find_timestamp};

pub use encoder::EncodeError;
pub(crate) use live::{LiveEncoder, LiveEvent, LiveSource};
pub(crate) use replay::{ReplayCursor, ReplayLoop};
pub(crate) use timestamp::write as timestamp_sei;

/// The largest RTP payload of live video, in bytes: what cameras use on an Ethernet, with room to spare.
const MAX_PAYLOAD: usize = 1200;

/// One encoded picture as the RTP payloads that carry it (RFC 6184), shared by all who send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoFrame {
    pub(crate) packets: Vec<Bytes>,
    /// How many packets in front hold nothing but parameter sets.
    pub(crate) slices_at: usize,
    pub(crate) idr: bool,
}

impl VideoFrame {
    /// Packs an access unit into payloads of at most `max_payload` bytes.
    fn packetize(unit: &encoder::AccessUnit, max_payload: usize) -> Self {
        let mut buffer = Vec::with_capacity(unit.annexb.len() + 64);
        let mut ranges: Vec<Range<usize>> = Vec::new();
        h264::Packetizer::new(max_payload).packetize(&unit.annexb, |payload, _marker| {
            let start = buffer.len();
            buffer.extend_from_slice(payload);
            ranges.push(start..buffer.len());
        });
        let buffer = Bytes::from(buffer);
        let packets: Vec<Bytes> = ranges
            .into_iter()
            .map(|range| buffer.slice(range))
            .collect();
        let slices_at = packets
            .iter()
            .take_while(|p| only_parameter_sets(p))
            .count();
        Self {
            packets,
            slices_at,
            idr: unit.idr,
        }
    }
}

fn only_parameter_sets(payload: &[u8]) -> bool {
    h264::inspect(payload)
        .is_ok_and(|summary| (summary.has_sps || summary.has_pps) && !summary.starts_idr)
}
