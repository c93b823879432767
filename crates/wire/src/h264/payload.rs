//! One RTP payload taken apart (RFC 6184 §5.6 to §5.8).

use super::{
    FORBIDDEN_BIT, FU_END, FU_HEADERS_LEN, FU_START, H264Error, NalUnitType, TYPE_MASK, UPPER_MASK,
};

/// What a payload holds, as far as forwarding depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadSummary {
    /// A slice of an IDR begins in it.
    pub starts_idr: bool,
    /// A sequence parameter set begins in it.
    pub has_sps: bool,
    /// A picture parameter set begins in it.
    pub has_pps: bool,
    /// It begins with the beginning of a NAL unit: false for a fragment that goes on.
    pub starts_nal: bool,
}

/// Looks into one payload. Never allocates.
///
/// # Errors
/// When it is malformed or not of packetization-mode 1.
pub fn inspect(payload: &[u8]) -> Result<PayloadSummary, H264Error> {
    let mut summary = PayloadSummary::default();
    match Payload::parse(payload)? {
        Payload::Single(nal) => summary.note(nal_type(nal)?),
        Payload::Aggregate(nals) => {
            for nal in nals {
                summary.note(nal_type(nal?)?);
            }
        }
        Payload::Fragment(fragment) if fragment.start => {
            summary.note(NalUnitType::of_header(fragment.header));
        }
        Payload::Fragment(_) => {}
    }
    Ok(summary)
}

impl PayloadSummary {
    fn note(&mut self, begins: NalUnitType) {
        self.starts_nal = true;
        match begins {
            NalUnitType::IdrSlice => self.starts_idr = true,
            NalUnitType::Sps => self.has_sps = true,
            NalUnitType::Pps => self.has_pps = true,
            NalUnitType::Slice
            | NalUnitType::Sei
            | NalUnitType::Delimiter
            | NalUnitType::StapA
            | NalUnitType::FuA
            | NalUnitType::Other(_) => {}
        }
    }
}

/// A payload by its structure.
#[derive(Clone, Debug)]
pub(super) enum Payload<'a> {
    Single(&'a [u8]),
    Aggregate(Aggregate<'a>),
    Fragment(Fragment<'a>),
}

/// One FU-A.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    /// The first byte of the NAL unit that is fragmented.
    pub(super) header: u8,
    pub(super) start: bool,
    pub(super) end: bool,
    /// Never empty.
    pub(super) data: &'a [u8],
}

impl<'a> Payload<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Result<Self, H264Error> {
        let &[indicator, ref rest @ ..] = payload else {
            return Err(H264Error::Empty);
        };
        if indicator & FORBIDDEN_BIT != 0 {
            return Err(H264Error::ForbiddenBit);
        }
        match NalUnitType::of_header(indicator) {
            NalUnitType::StapA if rest.is_empty() => Err(H264Error::Empty),
            NalUnitType::StapA => Ok(Self::Aggregate(Aggregate { rest })),
            NalUnitType::FuA => Fragment::parse(payload).map(Self::Fragment),
            NalUnitType::Slice
            | NalUnitType::IdrSlice
            | NalUnitType::Sei
            | NalUnitType::Sps
            | NalUnitType::Pps
            | NalUnitType::Delimiter
            | NalUnitType::Other(_) => nal_type(payload).map(|_| Self::Single(payload)),
        }
    }
}

impl<'a> Fragment<'a> {
    fn parse(payload: &'a [u8]) -> Result<Self, H264Error> {
        let Some((&[indicator, fu], data)) = payload.split_first_chunk::<FU_HEADERS_LEN>() else {
            return Err(H264Error::Fragment);
        };
        let (start, end) = (fu & FU_START != 0, fu & FU_END != 0);
        // A NAL unit that fits one packet must not be fragmented (RFC 6184 §5.8).
        if data.is_empty() || (start && end) {
            return Err(H264Error::Fragment);
        }
        let header = indicator & UPPER_MASK | fu & TYPE_MASK;
        nal_type(&[header])?;
        Ok(Self {
            header,
            start,
            end,
            data,
        })
    }
}

/// Iterates the NAL units of a STAP-A; ends after the first error.
#[derive(Clone, Debug)]
pub(super) struct Aggregate<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Aggregate<'a> {
    type Item = Result<&'a [u8], H264Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = std::mem::take(&mut self.rest);
        let (announced, rest) = match taken {
            [l0, l1, rest @ ..] => (usize::from(u16::from_be_bytes([*l0, *l1])), rest),
            // Half a length.
            _ => {
                return Some(Err(H264Error::AggregateBeyondEnd {
                    announced: 1,
                    available: 0,
                }));
            }
        };
        let Some((nal, rest)) = rest.split_at_checked(announced) else {
            return Some(Err(H264Error::AggregateBeyondEnd {
                announced,
                available: rest.len(),
            }));
        };
        if nal.is_empty() {
            return Some(Err(H264Error::Empty));
        }
        self.rest = rest;
        Some(Ok(nal))
    }
}

/// The type of a NAL unit that must be one of the codec's own.
pub(super) fn nal_type(nal: &[u8]) -> Result<NalUnitType, H264Error> {
    let header = *nal.first().ok_or(H264Error::Empty)?;
    if header & FORBIDDEN_BIT != 0 {
        return Err(H264Error::ForbiddenBit);
    }
    let kind = NalUnitType::of_header(header);
    if kind.is_of_codec() {
        Ok(kind)
    } else {
        Err(H264Error::UnexpectedType {
            number: header & TYPE_MASK,
        })
    }
}
