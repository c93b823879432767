//! SDP at a Kurento server: the offer that a camera would have made, what the camera is sent of the answer to it, and what
//! a browser's offer must look like so that nothing is transcoded.
//!
//! Cameras cannot offer. The gateway does it for them, with `a=direction:active` (the camera begins to send, from a port
//! that is not known), and so learns where the server waits for their packets.

use std::net::Ipv4Addr;

use super::attributes::{Direction, RtpMap};
use super::camera::{
    AUDIO_SSRC_NAME, CNAME_NAME, DIRECTION_NAME, FEEDBACK, H264, H264_FMTP, H264_MAP, OPUS,
    OPUS_MAP, PASSIVE, PCMU, PCMU_MAP, PROTO, VIDEO_SSRC_NAME,
};
use super::document::{Document, SdpError};
use super::media::{MediaKind, MediaSection};
use crate::units::{PayloadType, Ssrc};

/// "Not known": the server learns the camera's port from its packets.
const DISCARD_PORT: u16 = 9;
const ACTIVE: &str = "active";

/// What the camera is told to send with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraIdentity {
    /// SSRC of its sound.
    pub audio_ssrc: Ssrc,
    /// SSRC of its picture.
    pub video_ssrc: Ssrc,
    /// What it calls itself in RTCP.
    pub cname: String,
}

impl CameraIdentity {
    /// The offer that the camera would have made. Each part of it is needed for REMB: the SSRCs, `goog-remb` and AVPF
    /// (seen with Kurento 7.3).
    pub fn to_offer(&self) -> Document {
        let mut document = Document::new();
        document
            .push_line('v', 0)
            .push_line('o', "- 0 0 IN IP4 0.0.0.0")
            .push_line('s', "-")
            .push_line('c', "IN IP4 0.0.0.0")
            .push_line('t', "0 0");
        let mut audio = MediaSection::new("audio", DISCARD_PORT, PROTO, [OPUS, PCMU]);
        audio
            .push_attribute("rtpmap", OPUS_MAP)
            .push_attribute("rtpmap", PCMU_MAP)
            .push_flag(Direction::SendRecv.as_str())
            .push_attribute(DIRECTION_NAME, ACTIVE)
            .push_attribute("ssrc", self.source(self.audio_ssrc));
        let mut video = MediaSection::new("video", DISCARD_PORT, PROTO, [H264]);
        video
            .push_attribute("rtpmap", H264_MAP)
            .push_attribute("fmtp", H264_FMTP);
        for feedback in FEEDBACK {
            video.push_attribute("rtcp-fb", feedback);
        }
        video
            .push_flag(Direction::SendOnly.as_str())
            .push_attribute(DIRECTION_NAME, ACTIVE)
            .push_attribute("ssrc", self.source(self.video_ssrc));
        document.push_media(audio).push_media(video);
        document
    }

    fn source(&self, ssrc: Ssrc) -> String {
        format!("{ssrc} cname:{}", self.cname)
    }
}

/// What is wrong with a server's answer to the camera's offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerRefusal {
    /// It is no SDP.
    #[error("its answer is no SDP: {0}")]
    Sdp(#[from] SdpError),
    /// A medium is missing or refused.
    #[error("its answer takes no {0}")]
    NoMedium(&'static str),
    /// The answer lacks `a=direction:passive`: the server would not wait for the camera, and the camera would ignore RTCP.
    #[error(
        "its answer lacks a=direction:passive for the {0}, without which the camera ignores RTCP"
    )]
    NotPassive(&'static str),
    /// The answer lacks `goog-remb`: the camera would stop after 30 s.
    #[error("its answer lacks goog-remb, without which the camera stops after 30 s")]
    NoRemb,
}

/// What a camera is sent, and where it will send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KurentoCameraSdp {
    /// For the `sdpOffer` field of `stream/play`.
    pub text: String,
    /// The server's address as it gave it; `None` when it is none that could be sent to.
    pub server_address: Option<Ipv4Addr>,
    /// Where the server waits for the picture's RTP.
    pub video_port: u16,
    /// Where the server waits for the sound's RTP.
    pub audio_port: u16,
}

/// Makes what the camera is sent out of the server's answer: the camera's own SSRCs and CNAME, `advertised` in place of
/// every address (the server's own when that is `None`), and the `x-skl` lines.
///
/// # Errors
/// When the answer could not keep a camera alive.
pub fn camera_sdp(
    answer: &str,
    identity: &CameraIdentity,
    advertised: Option<Ipv4Addr>,
) -> Result<KurentoCameraSdp, AnswerRefusal> {
    let mut document = Document::parse(answer)?;
    let server_address = connection_address(&document);
    let audio_port = check_section(&document, MediaKind::Audio, "sound")?;
    let video_port = check_section(&document, MediaKind::Video, "picture")?;
    let address = advertised
        .or(server_address)
        .unwrap_or(Ipv4Addr::UNSPECIFIED);
    if let Some(origin) = document.line('o') {
        let mut words: Vec<String> = origin.split(' ').map(str::to_owned).collect();
        if let Some(last) = words.last_mut() {
            *last = address.to_string();
        }
        document.set_line('o', words.join(" "));
    }
    document.set_line('c', format_args!("IN IP4 {address}"));
    for media in document.media_mut() {
        if media.line('c').is_some() {
            media.set_line('c', format_args!("IN IP4 {address}"));
        }
        // The port alone: an address after it is one more to be wrong.
        let rtcp = media.attribute("rtcp").map(|value| {
            let port = value.split(' ').next().unwrap_or(value);
            port.to_owned()
        });
        if let Some(port) = rtcp {
            media.set_attribute("rtcp", port);
        }
        let ssrc = match media.kind() {
            MediaKind::Audio => identity.audio_ssrc,
            MediaKind::Video => identity.video_ssrc,
            MediaKind::Application | MediaKind::Other => continue,
        };
        media.set_attribute("ssrc", identity.source(ssrc));
        if media.kind() == MediaKind::Video {
            // The same parameters in the order that cameras are known to take.
            media.set_attribute("fmtp", H264_FMTP);
            media
                .push_attribute(AUDIO_SSRC_NAME, identity.audio_ssrc)
                .push_attribute(VIDEO_SSRC_NAME, identity.video_ssrc)
                .push_attribute(CNAME_NAME, &identity.cname);
        }
    }
    Ok(KurentoCameraSdp {
        text: document.to_string(),
        server_address,
        video_port,
        audio_port,
    })
}

fn connection_address(document: &Document) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = document.line('c')?.strip_prefix("IN IP4 ")?.parse().ok()?;
    (!address.is_unspecified()).then_some(address)
}

/// Gives the section's port.
fn check_section(
    document: &Document,
    kind: MediaKind,
    name: &'static str,
) -> Result<u16, AnswerRefusal> {
    let mut sections = document.media().iter();
    let media = sections
        .find(|media| media.kind() == kind && media.port() != 0)
        .ok_or(AnswerRefusal::NoMedium(name))?;
    if media.attribute(DIRECTION_NAME) != Some(PASSIVE) {
        return Err(AnswerRefusal::NotPassive(name));
    }
    let has_remb = || media.rtcp_fbs(H264).any(|fb| fb.is("goog-remb", ""));
    if kind == MediaKind::Video && !has_remb() {
        return Err(AnswerRefusal::NoRemb);
    }
    Ok(media.port())
}

/// Why a browser's offer is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewerOfferError {
    /// It is no SDP.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// There is nothing in it that could be answered. (A server would answer it all the same, with nothing.)
    #[error(
        "it asks for neither picture nor sound over WebRTC (with ICE credentials and a certificate's fingerprint)"
    )]
    Nothing,
}

/// What a server is given of a browser's offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KurentoViewerOffer {
    /// The offer.
    pub text: String,
    /// Identification of the first media section, to which all candidates belong when media are bundled.
    pub first_mid: String,
    /// The browser takes the cameras' H.264, so that nothing is transcoded.
    pub takes_h264: bool,
}

/// Makes what a server is given out of a browser's offer.
///
/// - Where H.264 with packetization-mode 1 is offered, all other formats of the picture go, and of several profiles all but
///   constrained baseline: the server takes the first that it
///   knows, VP8 in most browsers, and would transcode every picture into it. Where it is not, the server transcodes.
/// - Candidates with names of mDNS go: the server cannot resolve them, and learns the addresses from the browser's checks.
///
/// # Errors
/// When it is no SDP, or asks for nothing.
pub fn viewer_offer(offer: &str) -> Result<KurentoViewerOffer, ViewerOfferError> {
    let mut document = Document::parse(offer)?;
    let is_asked_for = |media: &MediaSection| {
        media.is_rtp()
            && media.port() != 0
            && document.ice_ufrag_of(media).is_some()
            && document.fingerprint_of(media).is_some()
    };
    if !document.media().iter().any(is_asked_for) {
        return Err(ViewerOfferError::Nothing);
    }
    let first_mid = document.media().first().and_then(|media| media.mid());
    let first_mid = first_mid.unwrap_or("0").to_owned();
    let mut takes_h264 = false;
    for media in document.media_mut() {
        media.retain_attributes("candidate", |candidate| !is_mdns(candidate));
        if media.kind() == MediaKind::Video && media.payload_types().any(|pt| is_h264(media, pt)) {
            takes_h264 = true;
            let mut kept: Vec<PayloadType> = media
                .payload_types()
                .filter(|&payload_type| is_h264(media, payload_type))
                .collect();
            let baseline =
                |payload_type: &PayloadType| is_constrained_baseline(media, *payload_type);
            if kept.iter().any(baseline) {
                kept.retain(baseline);
            }
            media.retain_payload_types(|payload_type| kept.contains(&payload_type));
        }
    }
    Ok(KurentoViewerOffer {
        text: document.to_string(),
        first_mid,
        takes_h264,
    })
}

/// Whether a candidate's address is a name that only the browser's own network could resolve
/// (draft-ietf-mmusic-mdns-ice-candidates).
pub fn is_mdns(candidate: &str) -> bool {
    let address = candidate.split_ascii_whitespace().nth(4);
    address.is_some_and(|address| address.to_ascii_lowercase().ends_with(".local"))
}

/// The profile that is agreed on with cameras; the server takes the first that it is offered, whatever the stream has.
fn is_constrained_baseline(media: &MediaSection, payload_type: PayloadType) -> bool {
    let fmtp = media.fmtp(payload_type);
    let profile = fmtp.and_then(|fmtp| fmtp.get("profile-level-id"));
    profile.is_some_and(|profile| profile.to_ascii_lowercase().starts_with("42e0"))
}

fn is_h264(media: &MediaSection, payload_type: PayloadType) -> bool {
    let map = media.rtpmap(payload_type);
    let mode = media
        .fmtp(payload_type)
        .and_then(|fmtp| fmtp.get("packetization-mode"));
    map.is_some_and(|map: RtpMap<'_>| map.is("H264")) && mode == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{AcceptedSdp, CameraSdpRules};

    /// Of a 7.3 server, recorded, with PCMU and both directions of sound as it answers to [`CameraIdentity::to_offer`].
    const ANSWER: &str = "v=0\r\no=- 4004343376 4004343376 IN IP4 10.77.0.1\r\n\
        s=Kurento Media Server\r\nc=IN IP4 10.77.0.1\r\nt=0 0\r\n\
        m=audio 5386 RTP/AVPF 96 0\r\na=sendrecv\r\na=rtcp:5387\r\na=rtpmap:96 opus/48000/2\r\n\
        a=rtpmap:0 PCMU/8000\r\na=direction:passive\r\n\
        a=ssrc:3288172448 cname:user1026196648@host-aebd9977\r\n\
        m=video 5570 RTP/AVPF 103\r\na=recvonly\r\na=rtcp:5571\r\na=rtpmap:103 H264/90000\r\n\
        a=rtcp-fb:103 goog-remb\r\na=rtcp-fb:103 nack\r\na=rtcp-fb:103 nack pli\r\n\
        a=rtcp-fb:103 ccm fir\r\n\
        a=fmtp:103 packetization-mode=1;profile-level-id=42e01f;level-asymmetry-allowed=1\r\n\
        a=direction:passive\r\na=ssrc:3742326132 cname:user1026196648@host-aebd9977\r\n";

    fn identity() -> CameraIdentity {
        CameraIdentity {
            audio_ssrc: Ssrc(1_111_111_111),
            video_ssrc: Ssrc(2_222_222_222),
            cname: "user1234@host-5678".to_owned(),
        }
    }

    #[test]
    fn the_offer_has_what_remb_needs() {
        let text = identity().to_offer().to_string();
        let offer = Document::parse(&text).unwrap();
        assert_eq!(offer.line('c'), Some("IN IP4 0.0.0.0"));
        let [audio, video] = offer.media() else {
            panic!("{text}");
        };
        assert_eq!(audio.direction(), Some(Direction::SendRecv));
        assert_eq!(video.direction(), Some(Direction::SendOnly));
        assert_eq!(
            video.attribute("ssrc"),
            Some("2222222222 cname:user1234@host-5678")
        );
        assert!(video.rtcp_fbs(H264).any(|fb| fb.is("goog-remb", "")));
        for media in [audio, video] {
            assert_eq!((media.port(), media.proto()), (9, "RTP/AVPF"));
            assert_eq!(media.attribute("direction"), Some("active"));
        }
    }

    #[test]
    fn a_camera_takes_the_edited_answer() {
        let advertised = Ipv4Addr::new(192, 168, 1, 10);
        let sdp = camera_sdp(ANSWER, &identity(), Some(advertised)).unwrap();
        assert_eq!(sdp.server_address, Some(Ipv4Addr::new(10, 77, 0, 1)));
        assert_eq!((sdp.audio_port, sdp.video_port), (5386, 5570));
        let expected = AcceptedSdp {
            address: advertised,
            audio_port: 5386,
            audio_rtcp_port: 5387,
            video_port: 5570,
            video_rtcp_port: 5571,
            audio_ssrc: identity().audio_ssrc,
            video_ssrc: identity().video_ssrc,
            cname: identity().cname,
            passive: true,
        };
        assert_eq!(CameraSdpRules::accept(&sdp.text), Ok(expected));
        for own in ["10.77.0.1", "3288172448", "3742326132", "user1026196648"] {
            assert!(!sdp.text.contains(own), "{own} is left in {}", sdp.text);
        }
    }

    #[test]
    fn without_an_address_of_ours_the_servers_own_stays() {
        let sdp = camera_sdp(ANSWER, &identity(), None).unwrap();
        let accepted = CameraSdpRules::accept(&sdp.text).unwrap();
        assert_eq!(accepted.address, Ipv4Addr::new(10, 77, 0, 1));
    }

    #[test]
    fn answers_that_keep_no_camera_alive_are_refused() {
        let refusal = |text: &str| camera_sdp(text, &identity(), None).unwrap_err();
        assert_eq!(
            refusal(&ANSWER.replace("a=rtcp-fb:103 goog-remb\r\n", "")),
            AnswerRefusal::NoRemb
        );
        let active_video =
            ANSWER.replacen("level-asymmetry-allowed=1\r\na=direction:passive", "x", 1);
        assert_eq!(refusal(&active_video), AnswerRefusal::NotPassive("picture"));
        assert_eq!(
            refusal(&ANSWER.replacen("a=direction:passive\r\n", "", 1)),
            AnswerRefusal::NotPassive("sound")
        );
        assert_eq!(
            refusal(&ANSWER.replace("m=video 5570", "m=video 0")),
            AnswerRefusal::NoMedium("picture")
        );
        // What a real server answers to an offer without media.
        let empty = "v=0\r\no=- 1 1 IN IP4 10.77.0.1\r\ns=Kurento Media Server\r\n\
            c=IN IP4 10.77.0.1\r\nt=0 0\r\n";
        assert_eq!(refusal(empty), AnswerRefusal::NoMedium("sound"));
        assert!(matches!(refusal("garbage"), AnswerRefusal::Sdp(_)));
    }

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE v a\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
        a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 97 98 99 100 103 101 102\r\na=mid:v\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.7 55321 typ host\r\n\
        a=candidate:2 1 udp 2130706431 2c4e8f5a-0000-4000-8000-000000000000.local 55322 typ host\r\n\
        a=rtcp-fb:* goog-remb\r\na=rtpmap:97 VP8/90000\r\na=rtcp-fb:97 nack\r\n\
        a=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=97\r\n\
        a=rtpmap:99 H264/90000\r\na=fmtp:99 packetization-mode=0;profile-level-id=42e01f\r\n\
        a=rtpmap:103 H264/90000\r\na=fmtp:103 packetization-mode=1;profile-level-id=640c1f\r\n\
        a=rtpmap:101 H264/90000\r\na=rtcp-fb:101 nack\r\n\
        a=fmtp:101 packetization-mode=1;profile-level-id=42e01f\r\n\
        a=rtpmap:102 rtx/90000\r\na=fmtp:102 apt=101\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=rtpmap:111 opus/48000/2\r\n";

    #[test]
    fn a_browsers_offer_leaves_the_server_nothing_to_transcode() {
        let offer = viewer_offer(OFFER).unwrap();
        assert_eq!((offer.first_mid.as_str(), offer.takes_h264), ("v", true));
        let document = Document::parse(&offer.text).unwrap();
        let video = &document.media()[0];
        assert_eq!(video.formats().collect::<Vec<_>>(), ["101"]);
        for gone in ["VP8", "rtx", ":97", ":98", ":99", ".local"] {
            assert!(
                !offer.text.contains(gone),
                "{gone} is left in {}",
                offer.text
            );
        }
        for kept in [
            "rtcp-fb:* goog-remb",
            "rtcp-fb:101 nack",
            "192.0.2.7",
            "111 opus",
        ] {
            assert!(
                offer.text.contains(kept),
                "{kept} is gone from {}",
                offer.text
            );
        }
    }

    #[test]
    fn offers_that_ask_for_nothing_are_refused() {
        let empty = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
        assert_eq!(viewer_offer(empty), Err(ViewerOfferError::Nothing));
        let without_ice = OFFER.replace("a=ice-ufrag:abcd\r\n", "");
        assert_eq!(viewer_offer(&without_ice), Err(ViewerOfferError::Nothing));
        let refused = OFFER
            .replace("m=video 9", "m=video 0")
            .replace("m=audio 9", "m=audio 0");
        assert_eq!(viewer_offer(&refused), Err(ViewerOfferError::Nothing));
    }

    #[test]
    fn without_h264_the_offer_is_left_to_the_servers_transcoder() {
        let without = OFFER.replace("H264", "VP9");
        let offer = viewer_offer(&without).unwrap();
        assert!(!offer.takes_h264);
        assert!(offer.text.contains("97 98 99 100 103 101 102"));
    }
}
