//! H.264 in RTP, packetization-mode 1 (RFC 6184): single NAL units, STAP-A and FU-A.
//!
//! Belongs here: looking into a payload, cutting an access unit into payloads and joining it again. Does not:
//! decoding anything beyond a NAL unit's first byte, putting packets in order, asking for lost ones.

mod depacketizer;
mod packetizer;
mod payload;

pub use depacketizer::{AccessUnit, Depacketizer, MAX_ACCESS_UNIT_LEN};
pub use packetizer::{Packetizer, nal_units};
pub use payload::{PayloadSummary, inspect};

/// `nal_unit_type` (H.264 table 7-1, RFC 6184 table 1), as far as it makes a difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NalUnitType {
    /// 1: a slice of a picture that needs others.
    Slice,
    /// 5: a slice of an instantaneous decoding refresh, where decoding can begin.
    IdrSlice,
    /// 6: supplemental enhancement information.
    Sei,
    /// 7: a sequence parameter set.
    Sps,
    /// 8: a picture parameter set.
    Pps,
    /// 9: an access unit delimiter.
    Delimiter,
    /// 24: several NAL units in one payload.
    StapA,
    /// 28: a fragment of a NAL unit.
    FuA,
    /// Any other.
    Other(u8),
}

impl NalUnitType {
    /// From a NAL unit's first byte.
    pub const fn of_header(byte: u8) -> Self {
        match byte & TYPE_MASK {
            1 => Self::Slice,
            5 => Self::IdrSlice,
            6 => Self::Sei,
            7 => Self::Sps,
            8 => Self::Pps,
            9 => Self::Delimiter,
            24 => Self::StapA,
            28 => Self::FuA,
            other => Self::Other(other),
        }
    }

    /// Whether it may stand in an access unit: types 1 to 23. The rest only exist in RTP, or not at all.
    const fn is_of_codec(self) -> bool {
        match self {
            Self::StapA | Self::FuA => false,
            Self::Other(number) => number >= 1 && number <= 23,
            Self::Slice | Self::IdrSlice | Self::Sei | Self::Sps | Self::Pps | Self::Delimiter => {
                true
            }
        }
    }

    /// Whether it can only stand before the first slice of an access unit (H.264 §7.4.1.2.3).
    const fn precedes_slices(self) -> bool {
        match self {
            Self::Sei | Self::Sps | Self::Pps | Self::Delimiter => true,
            Self::Slice | Self::IdrSlice | Self::StapA | Self::FuA | Self::Other(_) => false,
        }
    }
}

/// Why a payload is none of H.264 in packetization-mode 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum H264Error {
    /// No byte, or a NAL unit of no byte inside an aggregate.
    #[error("empty NAL unit")]
    Empty,
    /// The first bit is set, which says that the NAL unit is known to be broken.
    #[error("NAL unit marked as broken by its first bit")]
    ForbiddenBit,
    /// Not allowed in packetization-mode 1, or not where it stands.
    #[error("NAL unit type {number} is not allowed here")]
    UnexpectedType {
        /// The type.
        number: u8,
    },
    /// An aggregate's length points beyond its end.
    #[error("aggregate of {available} bytes announces a NAL unit of {announced}")]
    AggregateBeyondEnd {
        /// The NAL unit's announced length.
        announced: usize,
        /// Bytes left in the aggregate.
        available: usize,
    },
    /// A fragment without content, or start and end at once.
    #[error("malformed fragment")]
    Fragment,
    /// A fragment goes on that never began.
    #[error("fragment of a NAL unit whose start is missing")]
    FragmentWithoutStart,
    /// Something else begins while a fragmented NAL unit is not at its end.
    #[error("fragmented NAL unit without an end")]
    FragmentWithoutEnd,
    /// An access unit above [`MAX_ACCESS_UNIT_LEN`].
    #[error("access unit of more than {MAX_ACCESS_UNIT_LEN} bytes")]
    TooLong,
}

const TYPE_MASK: u8 = 0x1f;
/// `nal_ref_idc` and the forbidden bit.
const UPPER_MASK: u8 = 0xe0;
const FORBIDDEN_BIT: u8 = 0x80;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
const FU_HEADERS_LEN: usize = 2;

#[cfg(test)]
mod tests;
