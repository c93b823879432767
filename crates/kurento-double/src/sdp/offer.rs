//! The offers that Kurento makes, with all the codecs that it has.

use apiary_wire::sdp::MediaSection;

use super::{ABS_SEND_TIME, Own};

/// A payload type, its encoding, its parameters, and whether it has REMB.
type Format = (u8, Option<&'static str>, Option<&'static str>, bool);

const H264: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
const AV1: &str = "level-idx=5;profile=0;tier=0";
const OPUS: Format = (96, Some("opus/48000/2"), None, false);
const PCMU: Format = (0, None, None, false);
const PCMA: Format = (8, None, None, false);

const WEBRTC_AUDIO: &[Format] = &[OPUS, PCMU, PCMA];
const WEBRTC_VIDEO: &[Format] = &[
    (102, Some("AV1/90000"), Some(AV1), true),
    (103, Some("VP9/90000"), Some("profile-id=0"), true),
    (104, Some("VP8/90000"), None, true),
    (105, Some("H264/90000"), Some(H264), false),
];
const RTP_AUDIO: &[Format] = &[OPUS, PCMU, PCMA, (97, Some("AMR/8000"), None, false)];
const RTP_VIDEO: &[Format] = &[
    (105, Some("H265/90000"), None, false),
    (106, Some("AV1/90000"), Some(AV1), true),
    (107, Some("VP9/90000"), Some("profile-id=0"), true),
    (108, Some("VP8/90000"), None, true),
    (109, Some("H264/90000"), Some(H264), false),
];

/// The section of an RtpEndpoint's offer.
pub(crate) fn rtp_offer(kind: &'static str, own: &Own<'_>) -> MediaSection {
    let formats = if kind == "audio" {
        RTP_AUDIO
    } else {
        RTP_VIDEO
    };
    section(kind, "RTP/AVPF", formats, own)
}

/// The section of a WebRtcEndpoint's offer.
pub(crate) fn webrtc_offer(kind: &'static str, own: &Own<'_>) -> MediaSection {
    let formats = if kind == "audio" {
        WEBRTC_AUDIO
    } else {
        WEBRTC_VIDEO
    };
    section(kind, "RTP/SAVPF", formats, own)
}

fn section(kind: &str, proto: &str, formats: &[Format], own: &Own<'_>) -> MediaSection {
    let numbers = formats.iter().map(|(number, ..)| number);
    let mut offer = MediaSection::new(kind, own.port, proto, numbers);
    offer
        .push_attribute("setup", "actpass")
        .push_attribute("extmap", format_args!("3 {ABS_SEND_TIME}"));
    for (number, encoding, parameters, _) in formats {
        if let Some(encoding) = encoding {
            offer.push_attribute("rtpmap", format_args!("{number} {encoding}"));
        }
        if let Some(parameters) = parameters {
            offer.push_attribute("fmtp", format_args!("{number} {parameters}"));
        }
    }
    offer.push_attribute("rtcp", &own.rtcp);
    if own.rtcp_mux {
        offer.push_flag("rtcp-mux");
    }
    offer
        .push_flag("sendrecv")
        .push_attribute("mid", format_args!("{kind}0"));
    if kind == "video" {
        for (number, _, _, remb) in formats {
            for feedback in ["nack", "nack pli", "goog-remb", "ccm fir"] {
                if *remb || feedback != "goog-remb" {
                    offer.push_attribute("rtcp-fb", format_args!("{number} {feedback}"));
                }
            }
        }
    }
    offer.push_attribute("ssrc", format_args!("{} cname:{}", own.ssrc, own.cname));
    for (name, value) in &own.transport {
        offer.push_attribute(name, value);
    }
    offer
}
