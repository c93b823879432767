//! Sender and receiver reports (RFC 3550 §6.4).

use super::{RawPacket, RtcpError, ssrc, word};
use crate::units::{NtpTime, Ssrc};

const BLOCK_LEN: usize = 24;
const SENDER_INFO_LEN: usize = 24;

/// How one source was received (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that this block is about.
    pub ssrc: Ssrc,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the beginning; negative with duplicates. 24 bits on the wire: clamped when written.
    pub cumulative_lost: i32,
    /// Highest sequence number received, extended by the number of wraps in the upper 16 bits.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time in the last sender report, 0 without one.
    pub last_sr: u32,
    /// Time since that sender report in 1/65536 s, 0 without one.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    pub(super) const MAX_CUMULATIVE_LOST: i32 = 0x7f_ffff;
    pub(super) const MIN_CUMULATIVE_LOST: i32 = -0x80_0000;

    fn from_bytes(bytes: &[u8]) -> Self {
        let loss = word(bytes, 4);
        Self {
            ssrc: ssrc(bytes, 0),
            fraction_lost: (loss >> 24) as u8,
            // Shifted up and back down again to extend the 24th bit as the sign.
            cumulative_lost: (loss << 8) as i32 >> 8,
            highest_sequence: word(bytes, 8),
            jitter: word(bytes, 12),
            last_sr: word(bytes, 16),
            delay_since_last_sr: word(bytes, 20),
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let lost = self
            .cumulative_lost
            .clamp(Self::MIN_CUMULATIVE_LOST, Self::MAX_CUMULATIVE_LOST);
        let loss = u32::from(self.fraction_lost) << 24 | (lost as u32 & 0xff_ffff);
        let words = [
            self.ssrc.0,
            loss,
            self.highest_sequence,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ];
        for word in words {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// The blocks of a report, read as they are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlocks<'a> {
    /// A whole number of blocks.
    bytes: &'a [u8],
}

impl<'a> ReportBlocks<'a> {
    /// How many blocks there are, at most 31.
    pub fn len(&self) -> usize {
        self.bytes.len() / BLOCK_LEN
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Each block in turn.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ReportBlock> + use<'a> {
        self.bytes
            .chunks_exact(BLOCK_LEN)
            .map(ReportBlock::from_bytes)
    }

    /// The block about one source.
    pub fn about(&self, source: Ssrc) -> Option<ReportBlock> {
        self.iter().find(|block| block.ssrc == source)
    }

    fn parse(raw: &RawPacket<'a>, after_header: &'a [u8]) -> Result<Self, RtcpError> {
        // What follows the blocks is a profile-specific extension; none is known here.
        let bytes = after_header
            .get(..usize::from(raw.count) * BLOCK_LEN)
            .ok_or_else(|| raw.malformed("count of report blocks"))?;
        Ok(Self { bytes })
    }
}

/// What a sender says about its own stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// The sender.
    pub ssrc: Ssrc,
    /// Its wall clock…
    pub ntp: NtpTime,
    /// …and the same moment in the RTP clock.
    pub rtp_time: u32,
    /// Packets sent so far, wraps.
    pub packet_count: u32,
    /// Payload octets sent so far, wraps.
    pub octet_count: u32,
}

/// SR (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport<'a> {
    /// The sender.
    pub ssrc: Ssrc,
    /// Its wall clock…
    pub ntp: NtpTime,
    /// …and the same moment in the RTP clock.
    pub rtp_time: u32,
    /// Packets sent so far, wraps.
    pub packet_count: u32,
    /// Payload octets sent so far, wraps.
    pub octet_count: u32,
    /// What the sender has received from others.
    pub reports: ReportBlocks<'a>,
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(raw: &RawPacket<'a>) -> Result<Self, RtcpError> {
        let (info, rest) = raw.split_body::<SENDER_INFO_LEN>("sender info")?;
        Ok(Self {
            ssrc: ssrc(info, 0),
            ntp: NtpTime(u64::from(word(info, 4)) << 32 | u64::from(word(info, 8))),
            rtp_time: word(info, 12),
            packet_count: word(info, 16),
            octet_count: word(info, 20),
            reports: ReportBlocks::parse(raw, rest)?,
        })
    }

    /// The part without report blocks.
    pub fn info(&self) -> SenderInfo {
        SenderInfo {
            ssrc: self.ssrc,
            ntp: self.ntp,
            rtp_time: self.rtp_time,
            packet_count: self.packet_count,
            octet_count: self.octet_count,
        }
    }
}

/// A report without blocks.
impl From<SenderInfo> for SenderReport<'static> {
    fn from(info: SenderInfo) -> Self {
        Self {
            ssrc: info.ssrc,
            ntp: info.ntp,
            rtp_time: info.rtp_time,
            packet_count: info.packet_count,
            octet_count: info.octet_count,
            reports: ReportBlocks::default(),
        }
    }
}

/// RR (RFC 3550 §6.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// What was received.
    pub reports: ReportBlocks<'a>,
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(raw: &RawPacket<'a>) -> Result<Self, RtcpError> {
        let (sender, rest) = raw.split_body::<4>("sender SSRC")?;
        Ok(Self {
            ssrc: ssrc(sender, 0),
            reports: ReportBlocks::parse(raw, rest)?,
        })
    }
}
