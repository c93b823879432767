//! The answer to a viewer's offer (RFC 3264, RFC 8829 §5.3): we are ICE-lite, passive in DTLS, and only send, but for the
//! voice of a viewer who may talk. What is agreed on was decided when the offer was read, in [`super::offer`].

use std::net::SocketAddr;

use apiary_wire::Ssrc;
use apiary_wire::sdp::{Direction, Document, MediaSection, Setup};

use super::offer::{Codec, Disposition, IceCredentials, MID_URI, Offer, OfferedSection};

/// The name of the one media stream that holds picture and sound, so that browsers keep them in time.
const STREAM: &str = "apiary";
/// Of a host candidate (RFC 8445 §5.1.2.2).
const HOST_TYPE_PREFERENCE: u32 = 126;
/// Stands for "not known" (RFC 8840 §4.1.1).
const DISCARD_PORT: u16 = 9;

/// Our side of a connection.
#[derive(Clone, Copy, Debug)]
pub struct LocalDescription<'a> {
    /// The number in `o=`; browsers want it below 2^63.
    pub session_id: u64,
    /// Our ICE credentials.
    pub ice: &'a IceCredentials,
    /// Of our certificate, as in SDP: `sha-256 AB:CD:…`.
    pub fingerprint: &'a str,
    /// Where the viewer reaches us by UDP, the most preferred first.
    pub candidates: &'a [SocketAddr],
    /// Our canonical name in RTCP, one for picture and sound.
    pub cname: &'a str,
    /// What the picture is sent as.
    pub video_ssrc: Ssrc,
    /// What retransmissions of the picture are sent as.
    pub rtx_ssrc: Ssrc,
    /// What the sound is sent as.
    pub audio_ssrc: Ssrc,
    /// The viewer's voice is taken, if it offers to send it.
    pub takes_voice: bool,
}

impl Offer {
    /// The text of the answer.
    pub fn answer(&self, local: &LocalDescription<'_>) -> String {
        let mut answer = Document::new();
        answer
            .push_line('v', 0)
            .push_line(
                'o',
                format_args!("- {} 1 IN IP4 127.0.0.1", local.session_id),
            )
            .push_line('s', "-")
            .push_line('t', "0 0");
        if !self.bundle.is_empty() {
            answer.push_attribute("group", format_args!("BUNDLE {}", self.bundle.join(" ")));
        }
        answer
            .push_flag("ice-lite")
            .push_attribute("msid-semantic", format_args!(" WMS {STREAM}"));
        for (index, section) in self.sections.iter().enumerate() {
            let mut media = self.answer_section(section, local);
            if index == self.tagged {
                push_candidates(&mut media, local.candidates);
            }
            answer.push_media(media);
        }
        answer.to_string()
    }

    fn answer_section(
        &self,
        section: &OfferedSection,
        local: &LocalDescription<'_>,
    ) -> MediaSection {
        match &section.disposition {
            Disposition::Rejected => rejected(section),
            Disposition::Video(codecs) => {
                let extension = self.video.as_ref().map(|track| &track.extensions);
                let id = extension.and_then(|extensions| extensions.mid.as_ref());
                let id = id.map(|(id, _)| *id);
                let mut media = used(section, codecs, id, Direction::SendOnly, local);
                let rtx = self.video.as_ref().and_then(|track| track.rtx);
                push_source(&mut media, "video", local.video_ssrc, local.cname);
                if rtx.is_some() {
                    push_rtx_source(&mut media, local);
                }
                media
            }
            Disposition::Audio(codecs) => {
                let extension = self.audio.as_ref().map(|track| &track.extensions);
                let id = extension.and_then(|extensions| extensions.mid.as_ref());
                let id = id.map(|(id, _)| *id);
                let speaks = self.audio.as_ref().is_some_and(|track| track.speaks);
                let direction = if local.takes_voice && speaks {
                    Direction::SendRecv
                } else {
                    Direction::SendOnly
                };
                let mut media = used(section, codecs, id, direction, local);
                push_source(&mut media, "audio", local.audio_ssrc, local.cname);
                media
            }
        }
    }
}

fn rejected(section: &OfferedSection) -> MediaSection {
    let mut media = section.media.clone();
    media.push_line('c', "IN IP4 0.0.0.0");
    if let Some(mid) = &section.mid {
        media.push_attribute("mid", mid);
    }
    media.push_flag(Direction::Inactive.as_str());
    media
}

fn used(
    section: &OfferedSection,
    codecs: &[Codec],
    mid_extension: Option<u8>,
    direction: Direction,
    local: &LocalDescription<'_>,
) -> MediaSection {
    let mut media = section.media.clone();
    media.set_formats(codecs.iter().map(|codec| codec.payload_type));
    push_default_destination(&mut media, local.candidates);
    media
        .push_attribute("ice-ufrag", &local.ice.ufrag)
        .push_attribute("ice-pwd", &local.ice.pwd)
        .push_attribute("fingerprint", local.fingerprint)
        .push_attribute("setup", Setup::Passive);
    if let Some(mid) = &section.mid {
        media.push_attribute("mid", mid);
    }
    if let Some(id) = mid_extension {
        media.push_attribute("extmap", format_args!("{id} {MID_URI}"));
    }
    media.push_flag(direction.as_str()).push_flag("rtcp-mux");
    for codec in codecs {
        push_codec(&mut media, codec);
    }
    media
}

/// The default candidate (RFC 8839 §4.2.1.2), which `m=` and `c=` name.
fn push_default_destination(media: &mut MediaSection, candidates: &[SocketAddr]) {
    let Some(first) = candidates.first() else {
        media.set_port(DISCARD_PORT);
        media.push_line('c', "IN IP4 0.0.0.0");
        return;
    };
    let ip = first.ip().to_canonical();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    media.set_port(first.port());
    media.push_line('c', format_args!("IN {family} {ip}"));
}

fn push_codec(media: &mut MediaSection, codec: &Codec) {
    let payload_type = codec.payload_type;
    media.push_attribute("rtpmap", &codec.map);
    for (kind, parameter) in &codec.feedback {
        let feedback = format!("{payload_type} {kind} {parameter}");
        media.push_attribute("rtcp-fb", feedback.trim_end());
    }
    if let Some(parameters) = &codec.parameters {
        media.push_attribute("fmtp", format_args!("{payload_type} {parameters}"));
    }
}

fn push_source(media: &mut MediaSection, track: &str, ssrc: Ssrc, cname: &str) {
    media
        .push_attribute("msid", format_args!("{STREAM} {track}"))
        .push_attribute("ssrc", format_args!("{ssrc} cname:{cname}"));
}

/// Which source repeats which (RFC 5576 §4.2).
fn push_rtx_source(media: &mut MediaSection, local: &LocalDescription<'_>) {
    let (video, rtx) = (local.video_ssrc, local.rtx_ssrc);
    media
        .push_attribute("ssrc", format_args!("{rtx} cname:{}", local.cname))
        .push_attribute("ssrc-group", format_args!("FID {video} {rtx}"));
}

fn push_candidates(media: &mut MediaSection, candidates: &[SocketAddr]) {
    for (index, address) in candidates.iter().enumerate() {
        media.push_line('a', candidate_line(*address, index));
    }
    media.push_flag("end-of-candidates");
}

/// A host candidate for UDP as in RFC 8839 §5.1: `candidate:… 1 udp … typ host`. The lower the index, the more it is
/// preferred; each address wants an index of its own.
pub fn candidate_line(address: SocketAddr, index: usize) -> String {
    let local_preference = u32::from(u16::MAX - u16::try_from(index).unwrap_or(u16::MAX));
    // Component 1 (RFC 8445 §5.1.2.1).
    let priority = (HOST_TYPE_PREFERENCE << 24) | (local_preference << 8) | 255;
    let foundation = index.saturating_add(1);
    let (ip, port) = (address.ip().to_canonical(), address.port());
    format!("candidate:{foundation} 1 udp {priority} {ip} {port} typ host")
}
