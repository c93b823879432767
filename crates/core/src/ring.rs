//! The last packets of one track, shared by all its viewers on a worker.
//!
//! It serves three needs: what is new for a viewer, what a viewer lost (NACK), and the pictures since the last IDR for
//! a viewer that just joined. Payloads are copied in once and stay where they are until they are too old; in steady
//! state nothing is allocated.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Octets of one storage chunk; a packet never spans two.
const CHUNK_LEN: usize = 64 * 1024;

/// How far back a packet may still fill a gap, and how far ahead of the newest one may jump, in packets.
pub const MAX_GAP: u64 = 2048;

/// Which of a track's codecs a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264 (RFC 6184), 90 kHz.
    H264,
    /// Opus (RFC 7587), 48 kHz.
    Opus,
    /// PCMU (RFC 3551), 8 kHz.
    Pcmu,
}

impl Codec {
    /// RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::H264 => 90_000,
            Self::Opus => 48_000,
            Self::Pcmu => 8_000,
        }
    }
}

/// What the ring remembers of a packet besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMeta {
    /// RTP timestamp as viewers see it.
    pub timestamp: u32,
    /// RTP marker bit: for H.264 the last packet of a picture.
    pub marker: bool,
    /// The codec.
    pub codec: Codec,
    /// Whether it matters to the start picture.
    pub role: PictureRole,
}

/// A packet's part in a picture that decoding can start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureRole {
    /// It holds a parameter set but no slice.
    ParameterSet,
    /// It begins an IDR slice (a STAP-A with parameter sets and the slice counts as this).
    IdrStart,
    /// Anything else.
    Other,
}

/// The bounds of a ring.
#[derive(Clone, Copy, Debug)]
pub struct RingLimits {
    /// Payload storage in octets, rounded up to whole chunks of 64 KiB.
    pub bytes: usize,
    /// Packets older than this go, unless the start picture needs them.
    pub age: Duration,
}

/// A packet in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingPacket<'a> {
    /// Its description.
    pub meta: PacketMeta,
    /// Its RTP payload.
    pub payload: &'a [u8],
}

/// What became of an inserted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is the newest; gaps before it are empty.
    Newest,
    /// It filled a gap.
    Repair,
    /// It was there already, is too old, too far ahead or too large.
    Refused,
}

struct Slot {
    meta: PacketMeta,
    arrived: Instant,
    /// Number of the chunk since the ring began.
    chunk: u64,
    offset: u32,
    len: u16,
}

struct Chunk {
    bytes: Box<[u8]>,
    used: usize,
    /// Highest packet index stored in it.
    newest: u64,
}

/// Where the last decodable picture begins.
#[derive(Clone, Copy)]
struct PictureStart {
    index: u64,
    timestamp: u32,
}

/// The ring. Packets are named by a 64-bit index that rises by one for each sequence number.
pub struct PacketRing {
    limits: RingLimits,
    slots: VecDeque<Option<Slot>>,
    /// Index of `slots[0]`.
    first: u64,
    chunks: VecDeque<Chunk>,
    /// Number of `chunks[0]` since the ring began.
    first_chunk: u64,
    /// Storage of chunks that are gone, for those that come: at most what was in use at once.
    spare: Vec<Box<[u8]>>,
    parameter_sets: Option<PictureStart>,
    picture: Option<PictureStart>,
}

impl PacketRing {
    /// An empty ring; storage is taken as packets come.
    pub fn new(limits: RingLimits) -> Self {
        Self {
            limits,
            slots: VecDeque::new(),
            first: 0,
            chunks: VecDeque::new(),
            first_chunk: 0,
            spare: Vec::new(),
            parameter_sets: None,
            picture: None,
        }
    }

    /// One past the index of the newest packet.
    pub fn head(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// The index of the oldest place that is still held.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The packet at `index`, unless it never came or is gone.
    pub fn get(&self, index: u64) -> Option<RingPacket<'_>> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let slot = self.slots.get(at)?.as_ref()?;
        let chunk = &self.chunks[(slot.chunk - self.first_chunk) as usize];
        let start = slot.offset as usize;
        Some(RingPacket {
            meta: slot.meta,
            payload: &chunk.bytes[start..start + usize::from(slot.len)],
        })
    }

    /// How long ago the packet at `index` came.
    pub fn age(&self, now: Instant, index: u64) -> Option<Duration> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let slot = self.slots.get(at)?.as_ref()?;
        Some(now.saturating_duration_since(slot.arrived))
    }

    /// The index at which a newcomer starts to decode: the parameter sets (or the first packet) of the last IDR.
    pub fn picture_start(&self) -> Option<u64> {
        self.picture.map(|picture| picture.index)
    }

    /// One past the index of the last packet, as far as it came, of the picture that holds `index`.
    pub fn picture_end(&self, index: u64) -> u64 {
        (index..self.head())
            .find(|&at| self.get(at).is_some_and(|packet| packet.meta.marker))
            .map_or(self.head(), |marker| marker + 1)
    }

    /// Keeps a packet.
    pub fn insert(
        &mut self,
        now: Instant,
        index: u64,
        meta: PacketMeta,
        payload: &[u8],
    ) -> Inserted {
        if payload.len() > usize::from(u16::MAX) {
            return Inserted::Refused;
        }
        let inserted = self.make_place(index);
        if inserted == Inserted::Refused {
            return inserted;
        }
        let (chunk, offset) = self.store(index, payload);
        let at = (index - self.first) as usize;
        self.slots[at] = Some(Slot {
            meta,
            arrived: now,
            chunk,
            offset,
            len: payload.len() as u16,
        });
        self.note_picture(index, meta);
        self.evict(now);
        inserted
    }

    /// Makes `slots` reach up to `index`, if that place is free.
    fn make_place(&mut self, index: u64) -> Inserted {
        if self.slots.is_empty() {
            self.first = index;
            self.slots.push_back(None);
            return Inserted::Newest;
        }
        let head = self.head();
        if index >= head {
            if index - head > MAX_GAP {
                return Inserted::Refused;
            }
            self.slots
                .resize_with((index + 1 - self.first) as usize, || None);
            return Inserted::Newest;
        }
        match index.checked_sub(self.first) {
            Some(at) if self.slots[at as usize].is_none() => Inserted::Repair,
            Some(_) | None => Inserted::Refused,
        }
    }

    /// Copies the payload into the newest chunk; gives the chunk's number and the offset in it.
    fn store(&mut self, index: u64, payload: &[u8]) -> (u64, u32) {
        let fits = self
            .chunks
            .back()
            .is_some_and(|chunk| chunk.bytes.len() - chunk.used >= payload.len());
        if !fits {
            let bytes = self
                .spare
                .pop()
                .unwrap_or_else(|| vec![0; CHUNK_LEN].into_boxed_slice());
            self.chunks.push_back(Chunk {
                bytes,
                used: 0,
                newest: index,
            });
        }
        let number = self.first_chunk + self.chunks.len() as u64 - 1;
        let chunk = self
            .chunks
            .back_mut()
            .expect("a chunk was just made sure of");
        let offset = chunk.used;
        chunk.bytes[offset..offset + payload.len()].copy_from_slice(payload);
        chunk.used += payload.len();
        chunk.newest = chunk.newest.max(index);
        (number, offset as u32)
    }

    fn note_picture(&mut self, index: u64, meta: PacketMeta) {
        let here = PictureStart {
            index,
            timestamp: meta.timestamp,
        };
        match meta.role {
            PictureRole::Other => {}
            PictureRole::ParameterSet => {
                let same_picture = |start: PictureStart| start.timestamp == meta.timestamp;
                if !self.parameter_sets.is_some_and(same_picture) {
                    self.parameter_sets = Some(here);
                }
            }
            PictureRole::IdrStart => {
                if self.picture.is_some_and(|picture| {
                    picture.timestamp == meta.timestamp || picture.index > index
                }) {
                    return; // a further slice of the same picture, or an old one that was repaired
                }
                let start = self
                    .parameter_sets
                    .filter(|sets| sets.timestamp == meta.timestamp && sets.index < index)
                    .unwrap_or(here);
                self.picture = Some(start);
            }
        }
    }

    fn evict(&mut self, now: Instant) {
        let max_chunks = self.limits.bytes.div_ceil(CHUNK_LEN).max(2);
        while self.chunks.len() > max_chunks {
            self.drop_oldest();
        }
        // What the start picture needs stays as long as the storage allows.
        let needed = self.picture_start().unwrap_or(self.head());
        while self.first < needed && self.oldest_is_stale(now) {
            self.drop_oldest();
        }
    }

    fn oldest_is_stale(&self, now: Instant) -> bool {
        match self.slots.front() {
            Some(Some(slot)) => now.saturating_duration_since(slot.arrived) > self.limits.age,
            Some(None) => true, // a gap at the end of the ring will not be filled any more
            None => false,
        }
    }

    fn drop_oldest(&mut self) {
        if self.slots.pop_front().is_none() {
            return;
        }
        self.first += 1;
        let gone = |start: &PictureStart| start.index < self.first;
        if self.picture.as_ref().is_some_and(gone) {
            self.picture = None;
        }
        if self.parameter_sets.as_ref().is_some_and(gone) {
            self.parameter_sets = None;
        }
        while self.chunks.len() > 1 && self.chunks[0].newest < self.first {
            self.spare
                .extend(self.chunks.pop_front().map(|chunk| chunk.bytes));
            self.first_chunk += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: RingLimits = RingLimits {
        bytes: 4 * CHUNK_LEN,
        age: Duration::from_secs(1),
    };

    fn meta(timestamp: u32, role: PictureRole) -> PacketMeta {
        PacketMeta {
            timestamp,
            marker: false,
            codec: Codec::H264,
            role,
        }
    }

    fn other(timestamp: u32) -> PacketMeta {
        meta(timestamp, PictureRole::Other)
    }

    #[test]
    fn a_gap_is_filled_once() {
        let now = Instant::now();
        let mut ring = PacketRing::new(LIMITS);
        assert_eq!(ring.insert(now, 10, other(0), b"ten"), Inserted::Newest);
        assert_eq!(ring.insert(now, 12, other(0), b"twelve"), Inserted::Newest);
        assert_eq!(ring.get(11), None);
        assert_eq!(ring.insert(now, 11, other(0), b"eleven"), Inserted::Repair);
        assert_eq!(ring.insert(now, 11, other(0), b"again"), Inserted::Refused);
        assert_eq!(ring.get(11).unwrap().payload, b"eleven");
        assert_eq!(ring.insert(now, 9, other(0), b"old"), Inserted::Refused);
        assert_eq!(ring.head(), 13);
    }

    #[test]
    fn a_jump_beyond_the_gap_is_refused() {
        let mut ring = PacketRing::new(LIMITS);
        ring.insert(Instant::now(), 10, other(0), b"x");
        let far = 11 + MAX_GAP + 1;
        assert_eq!(
            ring.insert(Instant::now(), far, other(0), b"x"),
            Inserted::Refused
        );
        assert_eq!(ring.head(), 11);
    }

    #[test]
    fn the_start_picture_begins_with_its_parameter_sets() {
        let now = Instant::now();
        let mut ring = PacketRing::new(LIMITS);
        ring.insert(now, 0, other(1), b"p");
        ring.insert(now, 1, meta(2, PictureRole::ParameterSet), b"sps");
        ring.insert(now, 2, meta(2, PictureRole::ParameterSet), b"pps");
        assert_eq!(ring.picture_start(), None);
        ring.insert(now, 3, meta(2, PictureRole::IdrStart), b"idr");
        ring.insert(
            now,
            4,
            PacketMeta {
                marker: true,
                ..meta(2, PictureRole::IdrStart)
            },
            b"slice 2",
        );
        ring.insert(now, 5, other(3), b"p");
        assert_eq!(ring.picture_start(), Some(1));
        assert_eq!(ring.picture_end(1), 5);
        ring.insert(now, 6, meta(9, PictureRole::IdrStart), b"idr without sets");
        assert_eq!(ring.picture_start(), Some(6));
    }

    #[test]
    fn old_packets_go_but_the_start_picture_stays() {
        let start = Instant::now();
        let mut ring = PacketRing::new(LIMITS);
        ring.insert(start, 0, other(0), b"old");
        ring.insert(start, 1, meta(1, PictureRole::IdrStart), b"idr");
        let later = start + Duration::from_secs(3);
        ring.insert(later, 2, other(2), b"p");
        assert_eq!(ring.get(0), None);
        assert_eq!(ring.picture_start(), Some(1));
        ring.insert(later, 3, meta(3, PictureRole::IdrStart), b"idr");
        assert_eq!(ring.first(), 2);
    }

    #[test]
    fn storage_is_bounded_even_when_the_start_picture_goes() {
        let now = Instant::now();
        let mut ring = PacketRing::new(LIMITS);
        ring.insert(now, 0, meta(0, PictureRole::IdrStart), &[0; 1200]);
        for index in 1..1000 {
            ring.insert(now, index, other(index as u32), &[index as u8; 1200]);
        }
        assert!(ring.chunks.len() <= 4);
        assert_eq!(ring.picture_start(), None);
        assert_eq!(ring.get(999).unwrap().payload, &[999u64 as u8; 1200]);
    }

    proptest! {
        #[test]
        fn what_is_in_the_ring_is_what_was_put_in(
            steps in prop::collection::vec((0u64..40, 1usize..3000, 0u64..200), 1..400)
        ) {
            let mut now = Instant::now();
            let mut ring = PacketRing::new(LIMITS);
            let mut model = std::collections::BTreeMap::new();
            for (back, len, wait_ms) in steps {
                now += Duration::from_millis(wait_ms);
                let index = (ring.head() + 5).max(100) - back.min(50);
                let payload = vec![index as u8; len];
                if ring.insert(now, index, other(index as u32), &payload) != Inserted::Refused {
                    prop_assert!(model.insert(index, payload).is_none());
                }
                prop_assert!(ring.chunks.len() + ring.spare.len() <= 5);
                for at in ring.first()..ring.head() {
                    prop_assert_eq!(ring.get(at).map(|p| p.payload), model.get(&at).map(Vec::as_slice));
                }
            }
        }
    }
}
