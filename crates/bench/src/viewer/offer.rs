//! What a viewer offers over WHEP, and what it reads from the answer.

use std::net::{IpAddr, SocketAddr};

use apiary_wire::Ssrc;
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
    /// How the picture's packets are sent again, where that was agreed on.
    pub(crate) rtx: Option<RtxSource>,
}

/// A retransmission stream (RFC 4588) and the one that it repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RtxSource {
    pub(crate) payload_type: u8,
    pub(crate) ssrc: u32,
    pub(crate) original_ssrc: u32,
}

impl RtxSource {
    fn find(video: &MediaSection) -> Option<Self> {
        let map = video.rtpmaps().find(|map| map.is("rtx"))?;
        // RFC 5576 §4.2: the original first, then what repeats it.
        let mut pair = video
            .attributes("ssrc-group")
            .find_map(|group| group.strip_prefix("FID "))?
            .split_ascii_whitespace()
            .map(str::parse);
        Some(Self {
            payload_type: map.payload_type.get(),
            original_ssrc: pair.next()?.ok()?,
            ssrc: pair.next()?.ok()?,
        })
    }
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
            rtx: RtxSource::find(video),
        })
    }
}

impl Answer {
    /// The same with one candidate only, as if the server were there.
    pub(crate) fn through(mut self, address: SocketAddr) -> Self {
        let (ip, port) = (address.ip(), address.port());
        self.candidates = vec![format!("1 1 udp 2130706431 {ip} {port} typ host")];
        self
    }

    /// The SSRC of the picture; it is named only together with its retransmissions.
    pub(crate) fn video_ssrc(&self) -> Result<Ssrc, BenchError> {
        let rtx = self.rtx.ok_or_else(|| missing("retransmissions"))?;
        Ok(Ssrc(rtx.original_ssrc))
    }

    /// Where its first UDP candidate on loopback is.
    pub(crate) fn server(&self) -> Result<SocketAddr, BenchError> {
        let address = self.candidates.iter().find_map(|candidate| {
            let mut fields = candidate.split_ascii_whitespace().skip(2);
            let is_udp = fields.next()?.eq_ignore_ascii_case("udp");
            let ip: IpAddr = fields.nth(1)?.parse().ok()?;
            let port = fields.next()?.parse().ok()?;
            (is_udp && ip.is_loopback()).then_some(SocketAddr::new(ip, port))
        });
        address.ok_or_else(|| missing("candidate on loopback"))
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
        assert_eq!(answer.server().ok(), "127.0.0.1:4000".parse().ok());
        assert!(answer.video_ssrc().is_err());
        assert_eq!(answer.rtx, None);
        let relay = "127.0.0.1:5000".parse().unwrap();
        assert_eq!(answer.through(relay).server().unwrap(), relay);
        assert!(Answer::parse("v=0\r\n").is_err());
    }

    #[test]
    fn the_retransmission_stream_is_found() {
        let text = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\na=rtpmap:102 H264/90000\r\na=rtpmap:103 rtx/90000\r\n\
            a=fmtp:103 apt=102\r\na=ssrc:7 cname:a\r\na=ssrc:8 cname:a\r\na=ssrc-group:FID 7 8\r\n";
        let document = Document::parse(text).unwrap();
        let expected = RtxSource {
            payload_type: 103,
            ssrc: 8,
            original_ssrc: 7,
        };
        assert_eq!(RtxSource::find(&document.media()[0]), Some(expected));
    }
}
