//! The part of an SRTP packet that is in the clear.

/// RTP header fields (RFC 3550 §5.1), readable without keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClearHeader {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence_number: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// Length with CSRCs and extension: where the sealed part begins.
    pub(crate) len: usize,
}

impl ClearHeader {
    /// `None` when it is no RTP header.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let fixed = packet.first_chunk::<12>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if first >> 6 != 2 {
            return None;
        }
        let mut len = 12 + usize::from(first & 0x0f) * 4;
        if first & 0x10 != 0 {
            let words = packet.get(len + 2..len + 4)?;
            len += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
        }
        (len <= packet.len()).then_some(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence_number: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_of_the_header() {
        let mut packet = vec![0x91, 0xe7, 0, 5, 0, 0, 0, 9, 0, 0, 0, 7];
        packet.extend([0; 4]);
        packet.extend([0xbe, 0xde, 0, 1, 0x10, 0x30, 0, 0]);
        let header = ClearHeader::parse(&packet).unwrap();
        assert_eq!(header.len, packet.len());
        assert!(header.marker);
        assert_eq!((header.payload_type, header.sequence_number), (0x67, 5));
        assert_eq!((header.timestamp, header.ssrc), (9, 7));
        packet.pop();
        assert_eq!(ClearHeader::parse(&packet), None);
        assert_eq!(ClearHeader::parse(&packet[..11]), None);
    }
}
