//! What a viewer offers over WHEP, and what it reads from the answer.

use std::net::SocketAddr;

use apiary_wire::sdp::{Document, Fingerprint, MediaKind, MediaSection};
use is::IceCreds;

use crate::error::BenchError;

const OPUS: u8 = 111;
const H264: u8 = 102;
const RTX: u8 = 103;

/// The part of the offer that differs between viewers.
pub(crate) struct OfferParts<'a> {
    pub(crate) credentials: &'a IceCreds,
    /// Value of `a=fingerprint`.
    pub(crate) fingerprint: &'a str,
    pub(crate) local: SocketAddr,
}

/// An offer as a browser makes it, with one host candidate and nothing to trickle.
pub(crate) fn offer(parts: &OfferParts<'_>) -> String {
    let mut document = Document::new();
    document
        .push_line('v', 0)
        .push_line('o', "- 4611731400430051336 2 IN IP4 127.0.0.1")
        .push_line('s', "-")
        .push_line('t', "0 0")
        .push_attribute("group", "BUNDLE 0 1");
    let mut audio = section("audio", 0, &[OPUS], parts);
    audio.push_attribute("rtpmap", format_args!("{OPUS} opus/48000/2"));
    let mut video = section("video", 1, &[H264, RTX], parts);
    video
        .push_attribute("rtpmap", format_args!("{H264} H264/90000"))
        .push_attribute(
            "fmtp",
            format_args!(
                "{H264} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
            ),
        );
    for feedback in ["goog-remb", "ccm fir", "nack", "nack pli"] {
        video.push_attribute("rtcp-fb", format_args!("{H264} {feedback}"));
    }
    video
        .push_attribute("rtpmap", format_args!("{RTX} rtx/90000"))
        .push_attribute("fmtp", format_args!("{RTX} apt={H264}"));
    document.push_media(audio).push_media(video);
    document.to_string()
}

fn section(kind: &str, mid: u8, formats: &[u8], parts: &OfferParts<'_>) -> MediaSection {
    let mut media = MediaSection::new(kind, 9, "UDP/TLS/RTP/SAVPF", formats);
    media
        .push_line('c', "IN IP4 0.0.0.0")
        .push_attribute("mid", mid)
        .push_attribute("ice-ufrag", &parts.credentials.ufrag)
        .push_attribute("ice-pwd", &parts.credentials.pass)
        .push_attribute("fingerprint", parts.fingerprint)
        .push_attribute("setup", "actpass")
        .push_flag("recvonly")
        .push_flag("rtcp-mux")
        .push_attribute(
            "candidate",
            format_args!(
                "1 1 udp 2130706431 {} {} typ host",
                parts.local.ip(),
                parts.local.port()
            ),
        )
        .push_flag("end-of-candidates");
    media
}

/// What the server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) credentials: IceCreds,
    pub(crate) fingerprint: Fingerprint,
    /// Values of `a=candidate`.
    pub(crate) candidates: Vec<String>,
    pub(crate) video_payload_type: u8,
}

impl Answer {
    /// Reads it.
    pub(crate) fn parse(text: &str) -> Result<Self, BenchError> {
        let document =
            Document::parse(text).map_err(|error| BenchError::Answer(error.to_string()))?;
        let video = document
            .media()
            .iter()
            .find(|media| media.kind() == MediaKind::Video && media.port() != 0)
            .ok_or_else(|| missing("an accepted video section"))?;
        let payload_type = video
            .rtpmaps()
            .find(|map| map.is("H264"))
            .ok_or_else(|| missing("H264"))?
            .payload_type;
        // With BUNDLE the first section's transport is everybody's.
        let transport = document.media().first().unwrap_or(video);
        let credential =
            |name: &str, value: Option<&str>| value.map(str::to_owned).ok_or_else(|| missing(name));
        Ok(Self {
            credentials: IceCreds {
                ufrag: credential("ice-ufrag", document.ice_ufrag_of(transport))?,
                pass: credential("ice-pwd", document.ice_pwd_of(transport))?,
            },
            fingerprint: document
                .fingerprint_of(transport)
                .ok_or_else(|| missing("fingerprint"))?,
            candidates: document
                .media()
                .iter()
                .flat_map(|media| media.candidates())
                .map(str::to_owned)
                .collect(),
            video_payload_type: payload_type.get(),
        })
    }
}

fn missing(what: &str) -> BenchError {
    BenchError::Answer(format!("it has no {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_reads_back() {
        let credentials = IceCreds::new();
        let text = offer(&OfferParts {
            credentials: &credentials,
            fingerprint: "sha-256 AB:CD",
            local: "127.0.0.1:4000".parse().unwrap(),
        });
        let answer = Answer::parse(&text).unwrap();
        assert_eq!(answer.credentials, credentials);
        assert_eq!(answer.video_payload_type, H264);
        assert_eq!(answer.fingerprint.bytes, [0xab, 0xcd]);
        assert_eq!(answer.candidates.len(), 2);
        assert!(Answer::parse("v=0\r\n").is_err());
    }
}
