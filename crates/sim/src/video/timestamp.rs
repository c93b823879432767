//! The time at which a picture was sent, carried inside the picture: a `user_data_unregistered` SEI
//! message (ITU-T H.264 §D.1.7, D.2.7) of [`UUID`] and microseconds since 1970 as 64 big-endian bits.
//! A measuring receiver finds the latency of the whole way from it; decoders ignore it.

use std::time::Duration;

/// Names the message: `a91a2a5e-6d1f-4c35-9d8c-5e4d7a0c1b93`, made for this purpose.
pub const UUID: [u8; 16] = [
    0xa9, 0x1a, 0x2a, 0x5e, 0x6d, 0x1f, 0x4c, 0x35, 0x9d, 0x8c, 0x5e, 0x4d, 0x7a, 0x0c, 0x1b, 0x93,
];

const NAL_SEI: u8 = 6;
const USER_DATA_UNREGISTERED: u8 = 5;
const MESSAGE_LEN: u8 = 24;
/// `rbsp_trailing_bits` of a byte-aligned payload.
const TRAILING_BITS: u8 = 0x80;

/// The SEI NAL unit, without a start code, that says `sent`.
pub(crate) fn write(sent: Duration) -> Vec<u8> {
    let micros = u64::try_from(sent.as_micros()).unwrap_or(u64::MAX);
    let mut nal = vec![NAL_SEI, USER_DATA_UNREGISTERED, MESSAGE_LEN];
    nal.extend_from_slice(&UUID);
    nal.extend_from_slice(&micros.to_be_bytes());
    nal.push(TRAILING_BITS);
    escape(&nal)
}

/// The time since 1970 that an H.264 payload or access unit says it was sent, if it holds the message
/// anywhere: bare, in an aggregation packet or among other NAL units.
pub fn find(bytes: &[u8]) -> Option<Duration> {
    let at = bytes.windows(UUID.len()).position(|part| part == UUID)?;
    let micros = unescape(&bytes[at + UUID.len()..]);
    let micros = micros.first_chunk::<8>()?;
    Some(Duration::from_micros(u64::from_be_bytes(*micros)))
}

/// Puts emulation prevention bytes where the payload looks like a start code (ITU-T H.264 §7.4.1.1).
fn escape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len() + 4);
    for &byte in nal {
        if byte <= 3 && out.ends_with(&[0, 0]) {
            out.push(3);
        }
        out.push(byte);
    }
    out
}

/// The first bytes of an escaped payload without the emulation prevention; enough for a timestamp.
fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    let mut zeros = 0;
    for &byte in escaped.iter().take(12) {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        for micros in [0, 1, 0x0006_0000_0000_0003, 1_790_000_000_123_456, u64::MAX] {
            let sent = Duration::from_micros(micros);
            let nal = write(sent);
            assert!(
                !nal.windows(3).any(|part| part <= [0, 0, 2].as_slice()),
                "{nal:02x?}"
            );
            assert_eq!(find(&nal), Some(sent));
            let mut among_others = vec![0, 0, 0, 1];
            among_others.extend_from_slice(&nal);
            among_others.extend_from_slice(&[0, 0, 0, 1, 0x65, 1, 2, 3]);
            assert_eq!(find(&among_others), Some(sent));
        }
    }

    #[test]
    fn finds_nothing_where_there_is_nothing() {
        assert_eq!(find(&[]), None);
        assert_eq!(find(&UUID), None);
        assert_eq!(find(&[0x65; 100]), None);
    }
}
