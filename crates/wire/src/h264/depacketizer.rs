//! Joining payloads to access units. Packets come in order; what is missing costs everything up to the next IDR,
//! because pictures that refer to a lost one would be shown broken.

use super::payload::{Fragment, Payload, nal_type};
use super::{H264Error, NalUnitType};

/// Longer access units are given up. An IDR at 5 Mbit/s has a few hundred KiB.
pub const MAX_ACCESS_UNIT_LEN: usize = 4 * 1024 * 1024;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// One picture with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// In the RTP clock, 90 kHz.
    pub timestamp: u32,
    /// Decoding can begin with it.
    pub is_idr: bool,
    /// NAL units with start codes of four bytes (H.264 annex B).
    pub annex_b: Vec<u8>,
}

/// Joins the payloads of one stream. Holds at most [`MAX_ACCESS_UNIT_LEN`] bytes.
#[derive(Debug, Default)]
pub struct Depacketizer {
    next_sequence: Option<u16>,
    /// Nothing is given out before an intact IDR: at the beginning, and after a loss.
    in_sync: bool,
    building: Option<Building>,
}

/// The access unit that grows.
#[derive(Debug)]
struct Building {
    unit: AccessUnit,
    /// Its marker has come.
    ended: bool,
    /// A part of it is missing.
    broken: bool,
    /// A fragmented NAL unit is not at its end.
    in_fragment: bool,
}

impl Depacketizer {
    /// Waits for the first IDR.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one packet and gives the access unit that it completes. Packets older than the last one are ignored.
    ///
    /// The marker bit is not relied on (RFC 6184 §5.1): an access unit without it is given out with the first
    /// packet of the next one, whose own error would then go unreported.
    ///
    /// # Errors
    /// When the payload cannot be used. Its access unit is given up, and all up to the next IDR.
    pub fn push(
        &mut self,
        sequence_number: u16,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> Result<Option<AccessUnit>, H264Error> {
        let Some(gap) = self.note_sequence(sequence_number) else {
            return Ok(None);
        };
        let previous = self.finish_before(timestamp, gap);
        let result = self.append(timestamp, gap, payload);
        let building = self.building.as_mut();
        if let Some(building) = building {
            building.ended = marker;
            building.broken |= result.is_err();
        }
        match (previous, result) {
            (Some(unit), _) => Ok(Some(unit)),
            (None, Err(error)) => Err(error),
            (None, Ok(())) if marker => Ok(self.finish()),
            (None, Ok(())) => Ok(None),
        }
    }

    /// Whether packets are missing before this one; `None` when it is not newer than the last.
    fn note_sequence(&mut self, sequence_number: u16) -> Option<bool> {
        let ahead = match self.next_sequence {
            Some(next) => sequence_number.wrapping_sub(next) as i16,
            // Nobody knows what came before the first packet.
            None => 1,
        };
        if ahead < 0 {
            return None;
        }
        self.next_sequence = Some(sequence_number.wrapping_add(1));
        Some(ahead > 0)
    }

    /// Ends what is being built if a packet with this timestamp does not belong to it. After a gap what has no
    /// marker yet may lack its end.
    fn finish_before(&mut self, timestamp: u32, gap: bool) -> Option<AccessUnit> {
        let building = self.building.as_mut()?;
        building.broken |= gap && !building.ended;
        if building.ended || building.unit.timestamp != timestamp {
            self.finish()
        } else {
            None
        }
    }

    fn finish(&mut self) -> Option<AccessUnit> {
        let Building {
            unit,
            broken,
            in_fragment,
            ..
        } = self.building.take()?;
        if broken || in_fragment {
            self.in_sync = false;
        } else if unit.is_idr {
            self.in_sync = true;
        }
        (self.in_sync && !unit.annex_b.is_empty()).then_some(unit)
    }

    fn append(&mut self, timestamp: u32, gap: bool, payload: &[u8]) -> Result<(), H264Error> {
        if gap {
            self.in_sync = false;
        }
        let building = match &mut self.building {
            Some(building) => building,
            none => none.insert(Building::start(timestamp, gap && !begins_unit(payload))),
        };
        // What is broken stays so: nothing more is collected for it.
        if building.broken {
            return Payload::parse(payload).map(drop);
        }
        match Payload::parse(payload)? {
            Payload::Single(nal) => building.push_nal(nal),
            Payload::Aggregate(mut nals) => nals.try_for_each(|nal| building.push_nal(nal?)),
            Payload::Fragment(fragment) => building.push_fragment(fragment),
        }
    }
}

/// After a loss: whether a payload is surely the first of its access unit, because of what it holds.
fn begins_unit(payload: &[u8]) -> bool {
    let first = match Payload::parse(payload) {
        Ok(Payload::Single(nal)) => Some(nal[0]),
        Ok(Payload::Aggregate(mut nals)) => nals.next().and_then(Result::ok).map(|nal| nal[0]),
        Ok(Payload::Fragment(fragment)) => fragment.start.then_some(fragment.header),
        Err(_) => None,
    };
    first.is_some_and(|header| NalUnitType::of_header(header).precedes_slices())
}

impl Building {
    fn start(timestamp: u32, broken: bool) -> Self {
        Self {
            unit: AccessUnit {
                timestamp,
                is_idr: false,
                annex_b: Vec::new(),
            },
            ended: false,
            broken,
            in_fragment: false,
        }
    }

    fn push_nal(&mut self, nal: &[u8]) -> Result<(), H264Error> {
        if self.in_fragment {
            return Err(H264Error::FragmentWithoutEnd);
        }
        let kind = nal_type(nal)?;
        self.begin_nal(kind, nal)
    }

    fn push_fragment(&mut self, fragment: Fragment<'_>) -> Result<(), H264Error> {
        match (fragment.start, self.in_fragment) {
            (true, true) => return Err(H264Error::FragmentWithoutEnd),
            (false, false) => return Err(H264Error::FragmentWithoutStart),
            (true, false) => {
                self.begin_nal(NalUnitType::of_header(fragment.header), &[fragment.header])?;
            }
            (false, true) => {}
        }
        self.in_fragment = !fragment.end;
        self.push_bytes(fragment.data)
    }

    fn begin_nal(&mut self, kind: NalUnitType, start: &[u8]) -> Result<(), H264Error> {
        self.unit.is_idr |= kind == NalUnitType::IdrSlice;
        self.push_bytes(&START_CODE)?;
        self.push_bytes(start)
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), H264Error> {
        if self.unit.annex_b.len() + bytes.len() > MAX_ACCESS_UNIT_LEN {
            // Given back at once: it will not be given out.
            self.unit.annex_b = Vec::new();
            return Err(H264Error::TooLong);
        }
        self.unit.annex_b.extend_from_slice(bytes);
        Ok(())
    }
}
