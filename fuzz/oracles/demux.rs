//! Sorting agrees with the parsers: nothing sorted to one of them is too short for it or of another version, and
//! what RTP's parser takes was sorted to RTP or, by its payload type, to RTCP.

use apiary_wire::demux::{Protocol, classify};
use apiary_wire::rtcp::{RtcpError, parse_compound};
use apiary_wire::rtp::{RtpError, RtpPacket};

pub(crate) fn check(data: &[u8]) {
    let rtp = RtpPacket::parse(data);
    let rtcp = parse_compound(data).next();
    match classify(data) {
        Protocol::Rtp => {
            assert!(!matches!(
                rtp,
                Err(RtpError::TooShort { .. } | RtpError::Version { .. })
            ));
        }
        Protocol::Rtcp => {
            assert!(!matches!(
                rtcp,
                None | Some(Err(RtcpError::TooShort { .. } | RtcpError::Version { .. }))
            ));
        }
        Protocol::Stun => assert!(data.len() >= 20 && rtp.is_err()),
        Protocol::Dtls => assert!(data.len() >= 13 && rtp.is_err()),
        Protocol::Unknown => assert!(rtp.is_err()),
    }
}
