//! Headers that are nearly all alike: what a sender writes once and then changes a little for each packet.

use crate::units::{PayloadType, Ssrc};

use super::{EXTENSION_BIT, FIXED_HEADER_LEN, MARKER_BIT, VERSION};

/// Octets of RFC 8285 extensions that fit behind the fixed header.
pub const TEMPLATE_EXTENSION_MAX: usize = 36;

/// The header of all packets of one SSRC that carry the same extension block (RFC 3550 §5.1, RFC 8285).
#[derive(Clone, Copy, Debug)]
pub struct HeaderTemplate {
    ssrc: Ssrc,
    octets: [u8; FIXED_HEADER_LEN + TEMPLATE_EXTENSION_MAX],
    len: usize,
}

impl HeaderTemplate {
    /// Headers without an extension.
    pub fn new(ssrc: Ssrc) -> Self {
        let mut octets = [0; FIXED_HEADER_LEN + TEMPLATE_EXTENSION_MAX];
        octets[0] = VERSION << 6;
        octets[8..12].copy_from_slice(&ssrc.0.to_be_bytes());
        Self {
            ssrc,
            octets,
            len: FIXED_HEADER_LEN,
        }
    }

    /// The same headers with a whole extension block each; `None` where it is empty or longer than
    /// [`TEMPLATE_EXTENSION_MAX`].
    pub fn with_extension(mut self, block: &[u8]) -> Option<Self> {
        if block.is_empty() {
            return None;
        }
        self.len = FIXED_HEADER_LEN + block.len();
        self.octets
            .get_mut(FIXED_HEADER_LEN..self.len)?
            .copy_from_slice(block);
        self.octets[0] |= EXTENSION_BIT;
        Some(self)
    }

    /// The SSRC in all of them.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Octets of the header.
    pub fn header_len(&self) -> usize {
        self.len
    }

    /// Writes the header of one packet to the front of `packet`.
    ///
    /// # Panics
    /// If `packet` is shorter than [`Self::header_len`].
    pub fn write(
        &self,
        marker: bool,
        payload_type: PayloadType,
        sequence_number: u16,
        timestamp: u32,
        packet: &mut [u8],
    ) {
        packet[..self.len].copy_from_slice(&self.octets[..self.len]);
        packet[1] = payload_type.get() | if marker { MARKER_BIT } else { 0 };
        packet[2..4].copy_from_slice(&sequence_number.to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{RtpPacket, write_one_byte_extensions};

    #[test]
    fn a_packet_from_the_template_reads_back() {
        let mut block = Vec::new();
        write_one_byte_extensions(&[(4, b"0")], &mut block).unwrap();
        let plain = HeaderTemplate::new(Ssrc(7));
        for template in [plain, plain.with_extension(&block).unwrap()] {
            let mut packet = vec![0xff; template.header_len() + 3];
            let payload_type = PayloadType::new(102).unwrap();
            template.write(true, payload_type, 65_535, 4_000_000_000, &mut packet);
            let read = RtpPacket::parse(&packet).unwrap();
            assert!(read.marker);
            assert_eq!(read.payload_type, payload_type);
            assert_eq!(
                (read.sequence_number, read.timestamp),
                (65_535, 4_000_000_000)
            );
            assert_eq!((read.ssrc, read.payload), (Ssrc(7), &[0xff; 3][..]));
            assert_eq!(read.header_len(), template.header_len());
        }
    }

    #[test]
    fn an_extension_that_does_not_fit_is_refused() {
        let template = HeaderTemplate::new(Ssrc(7));
        assert!(
            template
                .with_extension(&[0; TEMPLATE_EXTENSION_MAX])
                .is_some()
        );
        assert!(
            template
                .with_extension(&[0; TEMPLATE_EXTENSION_MAX + 1])
                .is_none()
        );
        assert!(template.with_extension(&[]).is_none());
    }
}
