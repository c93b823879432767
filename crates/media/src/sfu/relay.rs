//! Packets on their way from the worker that serves the camera to other workers, in batches that are used again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use apiary_core::ingest::TrackKind;
use apiary_core::ring::{PacketMeta, RingPacket};
use apiary_wire::id::CameraId;

use super::clocks::StreamClocks;

/// Batches that are remembered to be used again; while more are on their way, new ones are made.
const REMEMBERED: usize = 32;

/// The packets of one turn on their way to another worker.
pub(super) struct RelayBatch {
    pub(super) camera: CameraId,
    pub(super) received: Instant,
    pub(super) clocks: StreamClocks,
    pub(super) packets: RelayedPackets,
}

/// Room of a new batch, which holds more than a turn brings, but for floods.
const PACKETS: usize = 64;
const PAYLOAD_OCTETS: usize = PACKETS * 1024;

/// Packets with their payloads one behind the other.
pub(super) struct RelayedPackets {
    heads: Vec<RelayedHead>,
    payloads: Vec<u8>,
}

/// One of them; its payload goes from the last one's end to `end`.
#[derive(Clone, Copy)]
struct RelayedHead {
    track: TrackKind,
    index: u64,
    meta: PacketMeta,
    end: usize,
}

impl Default for RelayedPackets {
    fn default() -> Self {
        Self {
            heads: Vec::with_capacity(PACKETS),
            payloads: Vec::with_capacity(PAYLOAD_OCTETS),
        }
    }
}

impl RelayedPackets {
    /// Appends a packet.
    pub(super) fn push(&mut self, track: TrackKind, index: u64, packet: RingPacket<'_>) {
        self.payloads.extend_from_slice(packet.payload);
        self.heads.push(RelayedHead {
            track,
            index,
            meta: packet.meta,
            end: self.payloads.len(),
        });
    }

    /// The packets as they were pushed: track, ring index, and the packet.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TrackKind, u64, RingPacket<'_>)> {
        let mut start = 0;
        self.heads.iter().map(move |head| {
            let payload = &self.payloads[start..head.end];
            start = head.end;
            let meta = head.meta;
            (head.track, head.index, RingPacket { meta, payload })
        })
    }

    fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    fn clear(&mut self) {
        self.heads.clear();
        self.payloads.clear();
    }
}

/// Fills batches. Takes no memory before the first packet.
#[derive(Default)]
pub(super) struct RelayOut {
    filling: Option<RelayedPackets>,
    /// Those that were handed out, the oldest first.
    handed_out: VecDeque<Arc<RelayBatch>>,
}

impl RelayOut {
    /// What the next batch is filled with.
    pub(super) fn packets(&mut self) -> &mut RelayedPackets {
        self.filling.get_or_insert_default()
    }

    /// The packets since the last call as a batch; `None` where there are none.
    pub(super) fn take(
        &mut self,
        camera: CameraId,
        received: Instant,
        clocks: StreamClocks,
    ) -> Option<Arc<RelayBatch>> {
        let filled = self.filling.take_if(|packets| !packets.is_empty())?;
        let batch = match self.take_back() {
            Some(mut batch) => {
                let inner = Arc::get_mut(&mut batch).expect("what was taken back is nobody else's");
                (inner.camera, inner.received, inner.clocks) = (camera, received, clocks);
                let mut emptied = std::mem::replace(&mut inner.packets, filled);
                emptied.clear();
                self.filling = Some(emptied);
                batch
            }
            None => Arc::new(RelayBatch {
                camera,
                received,
                clocks,
                packets: filled,
            }),
        };
        if self.handed_out.len() < REMEMBERED {
            self.handed_out.push_back(Arc::clone(&batch));
        }
        Some(batch)
    }

    /// The oldest batch, if all its receivers are done with it.
    fn take_back(&mut self) -> Option<Arc<RelayBatch>> {
        let oldest = self.handed_out.front_mut()?;
        Arc::get_mut(oldest)?;
        self.handed_out.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiary_core::ring::{Codec, PictureRole};

    fn fill(out: &mut RelayOut, payloads: &[&[u8]]) -> Arc<RelayBatch> {
        for (index, payload) in (7..).zip(payloads) {
            let meta = PacketMeta {
                timestamp: index as u32,
                marker: false,
                codec: Codec::H264,
                role: PictureRole::Other,
            };
            let packet = RingPacket { meta, payload };
            out.packets().push(TrackKind::Video, index, packet);
        }
        let now = Instant::now();
        let camera = CameraId::from_bytes([1; 16]);
        out.take(camera, now, StreamClocks::unknown(now)).unwrap()
    }

    fn payloads(batch: &RelayBatch) -> Vec<(u64, &[u8])> {
        let packets = batch.packets.iter();
        packets
            .map(|(_, index, packet)| (index, packet.payload))
            .collect()
    }

    #[test]
    fn a_batch_is_used_again_only_when_nobody_holds_it() {
        let mut out = RelayOut::default();
        let first = fill(&mut out, &[b"one", b"", b"three"]);
        let address = Arc::as_ptr(&first);
        let second = fill(&mut out, &[b"four"]);
        assert_eq!(
            payloads(&first),
            [(7, &b"one"[..]), (8, b""), (9, b"three")]
        );
        assert_eq!(payloads(&second), [(7, &b"four"[..])]);
        drop(first);
        let third = fill(&mut out, &[b"five", b"six"]);
        assert_eq!(Arc::as_ptr(&third), address);
        assert_eq!(payloads(&third), [(7, &b"five"[..]), (8, b"six")]);
        assert_eq!(payloads(&second), [(7, &b"four"[..])]);
    }

    #[test]
    fn nothing_is_handed_out_when_nothing_came() {
        let now = Instant::now();
        let camera = CameraId::from_bytes([1; 16]);
        assert!(
            RelayOut::default()
                .take(camera, now, StreamClocks::unknown(now))
                .is_none()
        );
    }
}
