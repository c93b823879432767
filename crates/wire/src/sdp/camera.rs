//! The SDP that a camera is sent with `stream/play`: what the gateway writes. What the firmware takes is in
//! [`CameraSdpRules`].
//!
//! Although its field is named `sdpOffer` it is an answer: it says where the camera must send, and what the
//! receiver supports.

mod rules;

use std::fmt;
use std::net::Ipv4Addr;

pub use rules::{AcceptedSdp, CameraSdpRefusal, CameraSdpRules};

use super::attributes::Direction;
use super::document::Document;
use super::media::MediaSection;
use crate::units::{PayloadType, Ssrc};

/// Opus at 48 kHz with 2 channels.
pub const OPUS: PayloadType = payload_type(96);
/// PCMU at 8 kHz.
pub const PCMU: PayloadType = payload_type(0);
/// H.264 at 90 kHz, packetization-mode 1.
pub const H264: PayloadType = payload_type(103);
/// In Hz.
pub const OPUS_CLOCK_RATE: u32 = 48_000;
/// In Hz.
pub const PCMU_CLOCK_RATE: u32 = 8_000;
/// In Hz.
pub const H264_CLOCK_RATE: u32 = 90_000;

/// Another name with spaces broke the firmware's parser, so this one stays.
const SESSION_NAME: &str = "Kurento Media Server";
pub(super) const PROTO: &str = "RTP/AVPF";
pub(super) const OPUS_MAP: &str = "96 opus/48000/2";
pub(super) const PCMU_MAP: &str = "0 PCMU/8000";
pub(super) const H264_MAP: &str = "103 H264/90000";
pub(super) const H264_FMTP: &str =
    "103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
pub(super) const FEEDBACK: [&str; 4] = ["103 nack", "103 nack pli", "103 goog-remb", "103 ccm fir"];
/// Without it in both sections the camera streams but ignores RTCP feedback.
pub(super) const DIRECTION_NAME: &str = "direction";
pub(super) const PASSIVE: &str = "passive";
/// The SSRCs and the CNAME that the camera has to send with.
pub(super) const AUDIO_SSRC_NAME: &str = "x-skl-ssrca";
pub(super) const VIDEO_SSRC_NAME: &str = "x-skl-ssrcv";
pub(super) const CNAME_NAME: &str = "x-skl-cname";

const fn payload_type(number: u8) -> PayloadType {
    PayloadType::new(number).expect("a constant within 0 to 127")
}

/// Everything that is filled into the camera's SDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraSdp {
    /// The session's number in `o=`.
    pub session_id: u64,
    /// The session's version in `o=`.
    pub version: u64,
    /// Where the camera sends to. One address only, IPv4.
    pub address: Ipv4Addr,
    /// Where it sends audio to; RTCP is one above, so at most 65,534.
    pub audio_port: u16,
    /// Where it sends video to; RTCP is one above, so at most 65,534.
    pub video_port: u16,
    /// What it sends audio as.
    pub audio_ssrc: Ssrc,
    /// What it sends video as.
    pub video_ssrc: Ssrc,
    /// What it calls itself in RTCP.
    pub cname: String,
}

impl CameraSdp {
    /// The document; its text is what [`CameraSdp`] displays.
    pub fn to_document(&self) -> Document {
        let mut document = Document::new();
        document
            .push_line('v', 0)
            .push_line(
                'o',
                format_args!(
                    "- {} {} IN IP4 {}",
                    self.session_id, self.version, self.address
                ),
            )
            .push_line('s', SESSION_NAME)
            .push_line('c', format_args!("IN IP4 {}", self.address))
            .push_line('t', "0 0");
        document.push_media(self.audio()).push_media(self.video());
        document
    }

    fn audio(&self) -> MediaSection {
        let mut audio = MediaSection::new("audio", self.audio_port, PROTO, [OPUS, PCMU]);
        audio
            .push_attribute("rtcp", self.audio_port.saturating_add(1))
            .push_attribute("rtpmap", OPUS_MAP)
            .push_attribute("rtpmap", PCMU_MAP)
            .push_flag(Direction::SendRecv.as_str())
            .push_attribute(DIRECTION_NAME, PASSIVE)
            .push_attribute(
                "ssrc",
                format_args!("{} cname:{}", self.audio_ssrc, self.cname),
            );
        audio
    }

    fn video(&self) -> MediaSection {
        let mut video = MediaSection::new("video", self.video_port, PROTO, [H264]);
        video
            .push_attribute("rtcp", self.video_port.saturating_add(1))
            .push_attribute("rtpmap", H264_MAP)
            .push_attribute("fmtp", H264_FMTP);
        for feedback in FEEDBACK {
            video.push_attribute("rtcp-fb", feedback);
        }
        video
            .push_flag(Direction::RecvOnly.as_str())
            .push_attribute(DIRECTION_NAME, PASSIVE)
            .push_attribute(
                "ssrc",
                format_args!("{} cname:{}", self.video_ssrc, self.cname),
            )
            .push_attribute(AUDIO_SSRC_NAME, self.audio_ssrc)
            .push_attribute(VIDEO_SSRC_NAME, self.video_ssrc)
            .push_attribute(CNAME_NAME, &self.cname);
        video
    }
}

impl fmt::Display for CameraSdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_document().fmt(f)
    }
}
