//! Writing compound packets. The caller decides the order; RFC 3550 §6.1 wants a report first.

use super::feedback::{Fir, Nack, NackEntries, Pli, Remb};
use super::report::{ReportBlock, SenderInfo};
use super::session::ITEM_CNAME;
use super::{
    GOODBYE, HEADER_LEN, PAYLOAD_FEEDBACK, RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION,
    TRANSPORT_FEEDBACK, VERSION, WORD,
};
use crate::units::{Bitrate, Ssrc};

/// The five count bits hold no more; further blocks go into further packets.
const MAX_REPORT_BLOCKS: usize = 31;
/// A CNAME's length is one byte.
const MAX_CNAME_LEN: usize = 255;
/// Entries per NACK packet, so that one fits any datagram; further ones go into further packets.
const MAX_NACK_ENTRIES: usize = 256;

/// Appends RTCP packets to a buffer, one complete packet per call.
#[derive(Debug)]
pub struct RtcpWriter<'b> {
    out: &'b mut Vec<u8>,
}

impl<'b> RtcpWriter<'b> {
    /// Appends to `out`; what is there stays.
    pub fn new(out: &'b mut Vec<u8>) -> Self {
        Self { out }
    }

    /// SR. More than 31 blocks are continued in receiver reports (RFC 3550 §6.1).
    pub fn sender_report(&mut self, info: SenderInfo, reports: &[ReportBlock]) -> &mut Self {
        let (first, more) = reports.split_at(reports.len().min(MAX_REPORT_BLOCKS));
        self.packet(SENDER_REPORT, first.len(), |out| {
            put(out, info.ssrc.0);
            out.extend_from_slice(&info.ntp.0.to_be_bytes());
            put(out, info.rtp_time);
            put(out, info.packet_count);
            put(out, info.octet_count);
            first.iter().for_each(|block| block.write(out));
        });
        if !more.is_empty() {
            self.receiver_report(info.ssrc, more);
        }
        self
    }

    /// RR, also without any block. More than 31 blocks are continued in further ones.
    pub fn receiver_report(&mut self, ssrc: Ssrc, reports: &[ReportBlock]) -> &mut Self {
        let mut rest = reports;
        loop {
            let (blocks, more) = rest.split_at(rest.len().min(MAX_REPORT_BLOCKS));
            self.packet(RECEIVER_REPORT, blocks.len(), |out| {
                put(out, ssrc.0);
                blocks.iter().for_each(|block| block.write(out));
            });
            if more.is_empty() {
                return self;
            }
            rest = more;
        }
    }

    /// SDES with one CNAME, which is cut after 255 bytes.
    pub fn sdes_cname(&mut self, ssrc: Ssrc, cname: &str) -> &mut Self {
        let cname = &cname[..cname.floor_char_boundary(MAX_CNAME_LEN)];
        self.packet(SOURCE_DESCRIPTION, 1, |out| {
            put(out, ssrc.0);
            let items_start = out.len();
            out.extend_from_slice(&[ITEM_CNAME, cname.len() as u8]);
            out.extend_from_slice(cname.as_bytes());
            // At least one zero ends the list, more fill the word.
            let items_len = out.len() - items_start;
            let padded = (items_len / WORD + 1) * WORD;
            out.resize(items_start + padded, 0);
        })
    }

    /// Generic NACK for ascending sequence numbers (wrapping ones too); nothing when there are none.
    pub fn nack(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        numbers: impl Iterator<Item = u16>,
    ) -> &mut Self {
        let mut entries = NackEntries::new(numbers).peekable();
        while entries.peek().is_some() {
            self.feedback(TRANSPORT_FEEDBACK, Nack::FORMAT, [sender, media], |out| {
                entries
                    .by_ref()
                    .take(MAX_NACK_ENTRIES)
                    .for_each(|entry| out.extend_from_slice(&entry));
            });
        }
        self
    }

    /// Picture loss indication.
    pub fn pli(&mut self, sender: Ssrc, media: Ssrc) -> &mut Self {
        self.feedback(PAYLOAD_FEEDBACK, Pli::FORMAT, [sender, media], |_| {})
    }

    /// Full intra request to one source; `sequence` grows with each new request.
    pub fn fir(&mut self, sender: Ssrc, media: Ssrc, sequence: u8) -> &mut Self {
        self.feedback(PAYLOAD_FEEDBACK, Fir::FORMAT, [sender, Ssrc(0)], |out| {
            put(out, media.0);
            out.extend_from_slice(&[sequence, 0, 0, 0]);
        })
    }

    /// REMB, rounded down to what 18 bits of mantissa can say. Names at most 255 sources.
    pub fn remb(&mut self, sender: Ssrc, bitrate: Bitrate, ssrcs: &[Ssrc]) -> &mut Self {
        let ssrcs = &ssrcs[..ssrcs.len().min(Remb::MAX_SSRCS)];
        self.feedback(PAYLOAD_FEEDBACK, Remb::FORMAT, [sender, Ssrc(0)], |out| {
            out.extend_from_slice(&Remb::NAME);
            put(
                out,
                (ssrcs.len() as u32) << 24 | Remb::encode_bitrate(bitrate),
            );
            ssrcs.iter().for_each(|ssrc| put(out, ssrc.0));
        })
    }

    /// BYE of one source, without a reason.
    pub fn goodbye(&mut self, ssrc: Ssrc) -> &mut Self {
        self.packet(GOODBYE, 1, |out| put(out, ssrc.0))
    }

    fn feedback(
        &mut self,
        packet_type: u8,
        format: u8,
        ssrcs: [Ssrc; 2],
        body: impl FnOnce(&mut Vec<u8>),
    ) -> &mut Self {
        self.packet(packet_type, usize::from(format), |out| {
            ssrcs.iter().for_each(|ssrc| put(out, ssrc.0));
            body(out);
        })
    }

    /// Writes the header around a body that is a whole number of words.
    fn packet(
        &mut self,
        packet_type: u8,
        count: usize,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> &mut Self {
        debug_assert!(count <= MAX_REPORT_BLOCKS);
        let start = self.out.len();
        self.out
            .extend_from_slice(&[VERSION << 6 | count as u8, packet_type, 0, 0]);
        body(self.out);
        let words = (self.out.len() - start - HEADER_LEN) / WORD;
        self.out[start + 2..start + HEADER_LEN].copy_from_slice(&(words as u16).to_be_bytes());
        self
    }
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}
