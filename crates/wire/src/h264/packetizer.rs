//! Cutting an access unit into payloads: a NAL unit that fits is sent alone, a longer one as FU-A.

use super::{FU_A, FU_END, FU_HEADERS_LEN, FU_START, TYPE_MASK, UPPER_MASK};

const START_CODE: [u8; 3] = [0, 0, 1];

/// The NAL units of a byte stream with start codes (H.264 annex B), without these. Empty ones are left out, and
/// what stands before the first start code.
pub fn nal_units(annex_b: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = split_at_start_code(annex_b).and_then(|(_, after)| after);
    let units = std::iter::from_fn(move || {
        let (unit, after) = split_at_start_code(rest?)?;
        rest = after;
        Some(unit)
    });
    units
        .map(without_trailing_zeros)
        .filter(|unit| !unit.is_empty())
}

/// What stands before the next start code and, if there is one, what follows it.
fn split_at_start_code(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let at = bytes
        .windows(START_CODE.len())
        .position(|window| window == START_CODE);
    Some(match at {
        Some(at) => (&bytes[..at], Some(&bytes[at + START_CODE.len()..])),
        None => (bytes, None),
    })
}

/// A NAL unit never ends in zero; zeros belong to the next start code (H.264 §B.1).
fn without_trailing_zeros(unit: &[u8]) -> &[u8] {
    let len = unit
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    &unit[..len]
}

/// Cuts access units into RTP payloads.
#[derive(Clone, Debug)]
pub struct Packetizer {
    max_payload: usize,
    /// Holds one fragment at a time.
    scratch: Vec<u8>,
}

impl Packetizer {
    /// Room for a fragment's two headers and one byte.
    const MIN_PAYLOAD: usize = FU_HEADERS_LEN + 1;

    /// `max_payload` is the length of the longest payload in bytes, at least 3.
    pub fn new(max_payload: usize) -> Self {
        let max_payload = max_payload.max(Self::MIN_PAYLOAD);
        Self {
            max_payload,
            scratch: Vec::with_capacity(max_payload),
        }
    }

    /// Gives each payload of one access unit with its marker bit, which is set on the last one only.
    pub fn packetize(&mut self, access_unit_annex_b: &[u8], mut emit: impl FnMut(&[u8], bool)) {
        let mut units = nal_units(access_unit_annex_b).peekable();
        while let Some(unit) = units.next() {
            let is_last = units.peek().is_none();
            if unit.len() <= self.max_payload {
                emit(unit, is_last);
            } else {
                self.fragment(unit, is_last, &mut emit);
            }
        }
    }

    fn fragment(&mut self, unit: &[u8], is_last: bool, emit: &mut impl FnMut(&[u8], bool)) {
        let Some((header, data)) = unit.split_first() else {
            return;
        };
        let mut pieces = data.chunks(self.max_payload - FU_HEADERS_LEN).peekable();
        let mut position = FU_START;
        while let Some(piece) = pieces.next() {
            let ends = pieces.peek().is_none();
            if ends {
                position |= FU_END;
            }
            self.scratch.clear();
            self.scratch
                .extend_from_slice(&[header & UPPER_MASK | FU_A, position | header & TYPE_MASK]);
            self.scratch.extend_from_slice(piece);
            emit(&self.scratch, is_last && ends);
            position = 0;
        }
    }
}
