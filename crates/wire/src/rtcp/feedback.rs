//! Feedback messages: NACK and PLI (RFC 4585 §6), FIR (RFC 5104 §4.3.1), REMB (draft-alvestrand-rmcat-remb-03 §2.2).

use super::{RawPacket, RtcpError, WORD, ssrc, word};
use crate::units::{Bitrate, Ssrc};

const SSRCS_LEN: usize = 8;
const NACK_ENTRY_LEN: usize = 4;
const FIR_ENTRY_LEN: usize = 8;
/// Lost packets that one NACK entry can name: the first and 16 bits.
const NACK_ENTRY_PACKETS: u16 = 17;
const MANTISSA_BITS: u32 = 18;

/// Generic NACK: packets that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack<'a> {
    /// Who misses them.
    pub sender_ssrc: Ssrc,
    /// The source that sent them.
    pub media_ssrc: Ssrc,
    /// A whole number of (PID, BLP) pairs.
    entries: &'a [u8],
}

impl<'a> Nack<'a> {
    pub(super) const FORMAT: u8 = 1;

    pub(super) fn parse(raw: &RawPacket<'a>) -> Result<Self, RtcpError> {
        let (ssrcs, entries) = raw.split_body::<SSRCS_LEN>("pair of SSRCs")?;
        Ok(Self {
            sender_ssrc: ssrc(ssrcs, 0),
            media_ssrc: ssrc(ssrcs, WORD),
            entries,
        })
    }

    /// The missing sequence numbers in the order of the packet; a hostile one may repeat some. At most 17 for
    /// each four bytes.
    pub fn sequence_numbers(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.entries.chunks_exact(NACK_ENTRY_LEN).flat_map(|entry| {
            let first = u16::from_be_bytes([entry[0], entry[1]]);
            // The first packet is bit 0 here, so that the following ones are bits 1 to 16.
            let lost = u32::from(u16::from_be_bytes([entry[2], entry[3]])) << 1 | 1;
            (0..NACK_ENTRY_PACKETS)
                .filter(move |bit| lost & (1 << bit) != 0)
                .map(move |bit| first.wrapping_add(bit))
        })
    }
}

/// Packs ascending sequence numbers into (PID, BLP) pairs.
pub(super) struct NackEntries<I: Iterator<Item = u16>> {
    numbers: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = u16>> NackEntries<I> {
    pub(super) fn new(numbers: I) -> Self {
        Self {
            numbers: numbers.peekable(),
        }
    }
}

impl<I: Iterator<Item = u16>> Iterator for NackEntries<I> {
    type Item = [u8; NACK_ENTRY_LEN];

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.numbers.next()?;
        let mut bits = 0u16;
        while let Some(next) = self
            .numbers
            .next_if(|n| n.wrapping_sub(first) < NACK_ENTRY_PACKETS)
        {
            // Distance 0 is a repetition of the first.
            if let Some(bit) = next.wrapping_sub(first).checked_sub(1) {
                bits |= 1 << bit;
            }
        }
        let ([f0, f1], [b0, b1]) = (first.to_be_bytes(), bits.to_be_bytes());
        Some([f0, f1, b0, b1])
    }
}

/// Picture loss indication: the decoder needs a key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pli {
    /// Who asks.
    pub sender_ssrc: Ssrc,
    /// The source that is asked.
    pub media_ssrc: Ssrc,
}

impl Pli {
    pub(super) const FORMAT: u8 = 1;

    pub(super) fn parse(raw: &RawPacket<'_>) -> Result<Self, RtcpError> {
        let (ssrcs, _) = raw.split_body::<SSRCS_LEN>("pair of SSRCs")?;
        Ok(Self {
            sender_ssrc: ssrc(ssrcs, 0),
            media_ssrc: ssrc(ssrcs, WORD),
        })
    }
}

/// Full intra request: a key frame is needed, not because of loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender_ssrc: Ssrc,
    entries: &'a [u8],
}

/// One source that is asked for a key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirEntry {
    /// The source that is asked.
    pub ssrc: Ssrc,
    /// Grows by one with each new request; the same number is a repetition.
    pub sequence: u8,
}

impl<'a> Fir<'a> {
    pub(super) const FORMAT: u8 = 4;

    pub(super) fn parse(raw: &RawPacket<'a>) -> Result<Self, RtcpError> {
        let (ssrcs, entries) = raw.split_body::<SSRCS_LEN>("pair of SSRCs")?;
        if entries.len() % FIR_ENTRY_LEN != 0 {
            return Err(raw.malformed("FIR entry"));
        }
        Ok(Self {
            sender_ssrc: ssrc(ssrcs, 0),
            entries,
        })
    }

    /// The sources that are asked; the media SSRC of the packet's head is unused (RFC 5104 §4.3.1.2).
    pub fn entries(&self) -> impl ExactSizeIterator<Item = FirEntry> + use<'a> {
        self.entries
            .chunks_exact(FIR_ENTRY_LEN)
            .map(|entry| FirEntry {
                ssrc: ssrc(entry, 0),
                sequence: entry[4],
            })
    }
}

/// Receiver estimated maximum bitrate: how much the named sources may send in total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender_ssrc: Ssrc,
    /// The estimate.
    pub bitrate: Bitrate,
    /// The sources that it is about.
    pub ssrcs: RembSsrcs<'a>,
}

impl<'a> Remb<'a> {
    pub(super) const FORMAT: u8 = 15;
    pub(super) const NAME: [u8; 4] = *b"REMB";
    /// How many sources one packet can name.
    pub(super) const MAX_SSRCS: usize = u8::MAX as usize;
    const HEAD_LEN: usize = SSRCS_LEN + 8;

    /// Format 15 is shared by all application layer feedback; the name tells REMB from others.
    pub(super) fn is_named_in(raw: &RawPacket<'_>) -> bool {
        raw.body.get(SSRCS_LEN..SSRCS_LEN + 4) == Some(&Self::NAME)
    }

    pub(super) fn parse(raw: &RawPacket<'a>) -> Result<Self, RtcpError> {
        let (head, ssrcs) = raw.split_body::<{ Remb::HEAD_LEN }>("REMB head")?;
        let count = usize::from(head[12]);
        if ssrcs.len() != count * WORD {
            return Err(raw.malformed("count of REMB sources"));
        }
        Ok(Self {
            sender_ssrc: ssrc(head, 0),
            bitrate: Self::decode_bitrate(word(head, 12) & 0xff_ffff),
            ssrcs: RembSsrcs { bytes: ssrcs },
        })
    }

    /// Six bits of exponent, 18 of mantissa. Rates beyond 64 bits saturate.
    fn decode_bitrate(bits: u32) -> Bitrate {
        let (exponent, mantissa) = (
            bits >> MANTISSA_BITS,
            u128::from(bits & ((1 << MANTISSA_BITS) - 1)),
        );
        Bitrate::from_bps(u64::try_from(mantissa << exponent).unwrap_or(u64::MAX))
    }

    /// The largest rate that can be expressed and is not above `bitrate`.
    pub(super) fn encode_bitrate(bitrate: Bitrate) -> u32 {
        let bps = bitrate.as_bps();
        let exponent = (u64::BITS - bps.leading_zeros()).saturating_sub(MANTISSA_BITS);
        // After the shift at most 18 bits are left.
        exponent << MANTISSA_BITS | (bps >> exponent) as u32
    }
}

/// The sources that a REMB names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RembSsrcs<'a> {
    bytes: &'a [u8],
}

impl<'a> RembSsrcs<'a> {
    /// Each source in turn.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Ssrc> + use<'a> {
        self.bytes.chunks_exact(WORD).map(|bytes| ssrc(bytes, 0))
    }

    /// Whether this source is named.
    pub fn contains(&self, source: Ssrc) -> bool {
        self.iter().any(|named| named == source)
    }
}
