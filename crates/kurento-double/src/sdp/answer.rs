//! The answer to one media section.

use apiary_wire::sdp::{Direction, Document, MediaKind, MediaSection};
use apiary_wire::units::PayloadType;

use super::ABS_SEND_TIME;
use crate::media::Codec;

/// What the answerer brings.
#[derive(Debug)]
pub(crate) struct Own<'a> {
    pub(crate) port: u16,
    /// The value of `a=rtcp`.
    pub(crate) rtcp: String,
    pub(crate) ssrc: u32,
    pub(crate) cname: &'a str,
    /// Whether RTCP may share the port.
    pub(crate) rtcp_mux: bool,
    /// Attributes of ICE and DTLS.
    pub(crate) transport: Vec<(&'static str, String)>,
}

/// What a payload type is, if Kurento knows it.
fn codec_of(media: &MediaSection, payload_type: PayloadType) -> Option<Codec> {
    match media.rtpmap(payload_type) {
        Some(map) => Codec::named(map.encoding),
        // RFC 3551 §6.
        None => match payload_type.get() {
            0 => Some(Codec::Pcmu),
            8 => Some(Codec::Pcma),
            _ => None,
        },
    }
}

/// Those of the offered payload types that Kurento knows, in the order of the offer.
pub(crate) fn known_formats(media: &MediaSection) -> Vec<(PayloadType, Codec)> {
    media
        .payload_types()
        .filter_map(|number| Some((number, codec_of(media, number)?)))
        .filter(|(_, codec)| is_of(*codec, media.kind()))
        .collect()
}

fn is_of(codec: Codec, kind: MediaKind) -> bool {
    match codec {
        Codec::Opus | Codec::Pcmu | Codec::Pcma => kind == MediaKind::Audio,
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::H264 => kind == MediaKind::Video,
    }
}

/// Seen from the other side.
fn mirrored(direction: Direction) -> Direction {
    match direction {
        Direction::SendRecv => Direction::SendRecv,
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        Direction::Inactive => Direction::Inactive,
    }
}

/// Answers a section with these formats. First stands what the answerer decides, then, in the order of the offer, what it
/// takes over.
pub(crate) fn answer_section(
    offer: &Document,
    media: &MediaSection,
    formats: &[PayloadType],
    own: &Own<'_>,
) -> MediaSection {
    let mut answer = MediaSection::new(media.kind_name(), own.port, media.proto(), formats);
    if let Some(extension) = media
        .extmaps()
        .find(|extension| extension.uri == ABS_SEND_TIME)
    {
        answer.push_attribute("extmap", format_args!("{} {ABS_SEND_TIME}", extension.id));
    }
    answer.push_flag(mirrored(offer.direction_of(media)).as_str());
    if let Some(mid) = media.mid() {
        answer.push_attribute("mid", mid);
    }
    answer.push_attribute("rtcp", &own.rtcp);
    let known = known_formats(media);
    let is_known = |number: PayloadType| known.iter().any(|(known, _)| *known == number);
    for number in formats.iter().filter(|number| is_known(**number)) {
        if let Some(map) = media.rtpmap(*number) {
            answer.push_attribute("rtpmap", map);
        }
    }
    for feedback in media.attributes("rtcp-fb").filter_map(parse_feedback) {
        if feedback.0.is_none_or(|number| formats.contains(&number)) {
            answer.push_attribute("rtcp-fb", feedback.1);
        }
    }
    take_over(&mut answer, media, formats, own);
    if !answer.has_flag("setup") && offer.setup_of(media).is_some() {
        answer.push_attribute("setup", "active");
    }
    answer.push_attribute("ssrc", format_args!("{} cname:{}", own.ssrc, own.cname));
    for (name, value) in &own.transport {
        answer.push_attribute(name, value);
    }
    answer
}

fn take_over(
    answer: &mut MediaSection,
    media: &MediaSection,
    formats: &[PayloadType],
    own: &Own<'_>,
) {
    for (name, value) in media.lines().iter().filter_map(|line| line.attribute()) {
        match name {
            "rtcp-mux" if own.rtcp_mux => {
                answer.push_flag("rtcp-mux");
            }
            "fmtp" if fmtp_number(value).is_some_and(|number| formats.contains(&number)) => {
                answer.push_attribute("fmtp", value);
            }
            "setup" => {
                let role = if value == "active" {
                    "passive"
                } else {
                    "active"
                };
                answer.push_attribute("setup", role);
            }
            "direction" => {
                answer.push_attribute("direction", "passive");
            }
            _ => {}
        }
    }
}

fn fmtp_number(value: &str) -> Option<PayloadType> {
    let number = value.split(' ').next()?;
    PayloadType::new(number.parse().ok()?)
}

/// The payload type and the value of feedback that Kurento has.
fn parse_feedback(value: &str) -> Option<(Option<PayloadType>, &str)> {
    let (number, what) = value.split_once(' ')?;
    let known = ["goog-remb", "nack", "nack pli", "ccm fir"].contains(&what);
    let number = match number {
        "*" => None,
        number => Some(PayloadType::new(number.parse().ok()?)?),
    };
    known.then_some((number, value))
}
