//! RTCP (RFC 3550 §6) with the feedback messages that are spoken here: generic NACK and PLI (RFC 4585), FIR
//! (RFC 5104) and REMB (draft-alvestrand-rmcat-remb-03).
//!
//! Parsing borrows from the datagram and never allocates; every length and count is checked once, when a packet
//! is parsed, so the iterators over its contents cannot fail. When to send what belongs to `core`.

mod feedback;
mod report;
mod session;
mod writer;

pub use feedback::{Fir, FirEntry, Nack, Pli, Remb, RembSsrcs};
pub use report::{ReceiverReport, ReportBlock, ReportBlocks, SenderInfo, SenderReport};
pub use session::{Goodbye, SdesChunk, SdesChunks, SdesItems, SourceDescription};
pub use writer::RtcpWriter;

use crate::units::Ssrc;

pub(crate) const SENDER_REPORT: u8 = 200;
pub(crate) const RECEIVER_REPORT: u8 = 201;
pub(crate) const SOURCE_DESCRIPTION: u8 = 202;
pub(crate) const GOODBYE: u8 = 203;
pub(crate) const TRANSPORT_FEEDBACK: u8 = 205;
pub(crate) const PAYLOAD_FEEDBACK: u8 = 206;

const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
const HEADER_LEN: usize = 4;
const WORD: usize = 4;

/// Why a part of a compound packet cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// Fewer bytes left than a header has.
    #[error("RTCP packet of {len} bytes is shorter than its header of 4")]
    TooShort {
        /// Bytes left in the compound.
        len: usize,
    },
    /// Another version than 2.
    #[error("RTCP version is {version} instead of 2")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The length field points beyond the datagram.
    #[error("RTCP packet type {packet_type} announces {announced} bytes, {available} are there")]
    BeyondEnd {
        /// The packet type.
        packet_type: u8,
        /// What the length field says, in bytes.
        announced: usize,
        /// Bytes left in the compound.
        available: usize,
    },
    /// The padding is zero, no multiple of four or longer than the packet.
    #[error(
        "RTCP packet type {packet_type} announces {padding} bytes of padding in a body of {body}"
    )]
    Padding {
        /// The packet type.
        packet_type: u8,
        /// The padding announced.
        padding: u8,
        /// Bytes after the packet's header.
        body: usize,
    },
    /// A count or an item inside a packet points beyond the packet.
    #[error("RTCP packet type {packet_type} has a {what} that does not fit its {body} bytes")]
    Malformed {
        /// The packet type.
        packet_type: u8,
        /// What does not fit.
        what: &'static str,
        /// Bytes after the packet's header.
        body: usize,
    },
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpPacket<'a> {
    /// SR, packet type 200.
    SenderReport(SenderReport<'a>),
    /// RR, packet type 201.
    ReceiverReport(ReceiverReport<'a>),
    /// SDES, packet type 202.
    SourceDescription(SourceDescription<'a>),
    /// BYE, packet type 203.
    Goodbye(Goodbye<'a>),
    /// Generic NACK, packet type 205 format 1.
    Nack(Nack<'a>),
    /// Picture loss indication, packet type 206 format 1.
    Pli(Pli),
    /// Full intra request, packet type 206 format 4.
    Fir(Fir<'a>),
    /// Receiver estimated maximum bitrate, packet type 206 format 15 with its own name inside.
    Remb(Remb<'a>),
    /// Well formed, but not of a kind that is understood here.
    Other {
        /// The packet type.
        packet_type: u8,
        /// The five bits that hold a count or a feedback format.
        count: u8,
    },
}

/// Reads a compound packet (RFC 3550 §6.1) or a reduced-size one (RFC 5506): any packet may come first.
pub fn parse_compound(buf: &[u8]) -> CompoundIter<'_> {
    CompoundIter { rest: buf }
}

/// Iterates the packets of a compound; ends after the first error.
#[derive(Clone, Debug)]
pub struct CompoundIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for CompoundIter<'a> {
    type Item = Result<RtcpPacket<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        // Left empty on an error, so that nothing follows it.
        let taken = std::mem::take(&mut self.rest);
        let item = RawPacket::split_from(taken).and_then(|(raw, rest)| {
            let packet = raw.interpret()?;
            self.rest = rest;
            Ok(packet)
        });
        Some(item)
    }
}

impl std::iter::FusedIterator for CompoundIter<'_> {}

/// A packet whose header has been checked; `body` is without header and padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawPacket<'a> {
    pub(crate) packet_type: u8,
    pub(crate) count: u8,
    pub(crate) body: &'a [u8],
}

impl<'a> RawPacket<'a> {
    fn split_from(buf: &'a [u8]) -> Result<(Self, &'a [u8]), RtcpError> {
        let &[first, packet_type, l0, l1, ..] = buf else {
            return Err(RtcpError::TooShort { len: buf.len() });
        };
        let version = first >> 6;
        if version != VERSION {
            return Err(RtcpError::Version { version });
        }
        let announced = HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1])) * WORD;
        let (packet, rest) = buf
            .split_at_checked(announced)
            .ok_or(RtcpError::BeyondEnd {
                packet_type,
                announced,
                available: buf.len(),
            })?;
        let mut raw = Self {
            packet_type,
            count: first & 0x1f,
            body: &packet[HEADER_LEN..],
        };
        if first & PADDING_BIT != 0 {
            raw.body = raw.without_padding()?;
        }
        Ok((raw, rest))
    }

    fn without_padding(&self) -> Result<&'a [u8], RtcpError> {
        let body = self.body.len();
        let padding = self.body.last().copied().unwrap_or(0);
        match body.checked_sub(usize::from(padding)) {
            Some(kept) if padding > 0 && usize::from(padding) % WORD == 0 => Ok(&self.body[..kept]),
            _ => Err(RtcpError::Padding {
                packet_type: self.packet_type,
                padding,
                body,
            }),
        }
    }

    fn interpret(self) -> Result<RtcpPacket<'a>, RtcpError> {
        Ok(match (self.packet_type, self.count) {
            (SENDER_REPORT, _) => RtcpPacket::SenderReport(SenderReport::parse(&self)?),
            (RECEIVER_REPORT, _) => RtcpPacket::ReceiverReport(ReceiverReport::parse(&self)?),
            (SOURCE_DESCRIPTION, _) => {
                RtcpPacket::SourceDescription(SourceDescription::parse(&self)?)
            }
            (GOODBYE, _) => RtcpPacket::Goodbye(Goodbye::parse(&self)?),
            (TRANSPORT_FEEDBACK, Nack::FORMAT) => RtcpPacket::Nack(Nack::parse(&self)?),
            (PAYLOAD_FEEDBACK, Pli::FORMAT) => RtcpPacket::Pli(Pli::parse(&self)?),
            (PAYLOAD_FEEDBACK, Fir::FORMAT) => RtcpPacket::Fir(Fir::parse(&self)?),
            (PAYLOAD_FEEDBACK, Remb::FORMAT) if Remb::is_named_in(&self) => {
                RtcpPacket::Remb(Remb::parse(&self)?)
            }
            (packet_type, count) => RtcpPacket::Other { packet_type, count },
        })
    }

    pub(crate) fn malformed(&self, what: &'static str) -> RtcpError {
        RtcpError::Malformed {
            packet_type: self.packet_type,
            what,
            body: self.body.len(),
        }
    }

    /// The first `N` bytes of the body and what follows them.
    pub(crate) fn split_body<const N: usize>(
        &self,
        what: &'static str,
    ) -> Result<(&'a [u8; N], &'a [u8]), RtcpError> {
        self.body
            .split_first_chunk::<N>()
            .ok_or_else(|| self.malformed(what))
    }
}

/// The big-endian word at `offset`; the caller has checked the length.
pub(crate) fn word(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; WORD];
    word.copy_from_slice(&bytes[offset..offset + WORD]);
    u32::from_be_bytes(word)
}

pub(crate) fn ssrc(bytes: &[u8], offset: usize) -> Ssrc {
    Ssrc(word(bytes, offset))
}

#[cfg(test)]
mod tests;
