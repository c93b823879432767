//! Which protocol a datagram on a shared port belongs to, from its first two bytes.
//! Only the sorting: whether the datagram is a valid one is the parser's matter.

/// What a datagram looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// STUN (RFC 8489): first byte 0 to 3, at least a header.
    Stun,
    /// DTLS (RFC 9147): first byte 20 to 63, at least a record header.
    Dtls,
    /// RTP or SRTP.
    Rtp,
    /// RTCP or SRTCP.
    Rtcp,
    /// None of these (ZRTP and TURN channels included, which are not spoken here), or too short.
    Unknown,
}

const STUN_HEADER_LEN: usize = 20;
const DTLS_RECORD_HEADER_LEN: usize = 13;
const RTP_HEADER_LEN: usize = 12;
const RTCP_HEADER_LEN: usize = 4;

/// Sorts a datagram by RFC 7983 §7 and, between RTP and RTCP, by RFC 5761 §4.
#[inline]
pub fn classify(datagram: &[u8]) -> Protocol {
    let &[first, second, ..] = datagram else {
        return Protocol::Unknown;
    };
    let (protocol, header_len) = match (first, second) {
        (0..=3, _) => (Protocol::Stun, STUN_HEADER_LEN),
        (20..=63, _) => (Protocol::Dtls, DTLS_RECORD_HEADER_LEN),
        (128..=191, 192..=223) => (Protocol::Rtcp, RTCP_HEADER_LEN),
        (128..=191, _) => (Protocol::Rtp, RTP_HEADER_LEN),
        _ => (Protocol::Unknown, 0),
    };
    if datagram.len() < header_len {
        return Protocol::Unknown;
    }
    protocol
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_sort_by_rfc_7983() {
        for first in 0..=255u8 {
            let mut datagram = [0; 64];
            datagram[0] = first;
            let expected = match first {
                0..=3 => Protocol::Stun,
                20..=63 => Protocol::Dtls,
                128..=191 => Protocol::Rtp,
                _ => Protocol::Unknown,
            };
            assert_eq!(classify(&datagram), expected, "first byte {first}");
        }
    }

    #[test]
    fn second_byte_splits_rtp_from_rtcp_by_rfc_5761() {
        for second in 0..=255u8 {
            let mut datagram = [0; 64];
            datagram[..2].copy_from_slice(&[0x80, second]);
            let rtcp = (192..=223).contains(&second);
            let expected = if rtcp { Protocol::Rtcp } else { Protocol::Rtp };
            assert_eq!(classify(&datagram), expected, "second byte {second}");
        }
    }

    #[test]
    fn h19_shorter_than_a_header_is_unknown() {
        let cases = [
            (Protocol::Stun, [0, 1], 20),
            (Protocol::Dtls, [22, 254], 13),
            (Protocol::Rtp, [0x80, 103], 12),
            (Protocol::Rtcp, [0x80, 200], 4),
        ];
        for (protocol, start, header_len) in cases {
            for len in 0..=1500 {
                let mut datagram = vec![0; len];
                datagram
                    .iter_mut()
                    .zip(start)
                    .for_each(|(to, from)| *to = from);
                let expected = if len < header_len {
                    Protocol::Unknown
                } else {
                    protocol
                };
                assert_eq!(classify(&datagram), expected, "{protocol:?} of {len} bytes");
            }
        }
    }
}
