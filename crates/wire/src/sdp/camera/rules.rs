//! What the firmware takes of an SDP: the simulator's half, and a check of what the gateway writes. Stricter than
//! what was observed where the observation is only "nothing may be dropped".

use std::net::Ipv4Addr;

use super::{
    AUDIO_SSRC_NAME, CNAME_NAME, DIRECTION_NAME, FEEDBACK, H264_FMTP, H264_MAP, OPUS_MAP, PASSIVE,
    PCMU_MAP, PROTO, SESSION_NAME, VIDEO_SSRC_NAME,
};
use crate::id::shorten;
use crate::sdp::attributes::decimal;
use crate::sdp::{Direction, Document, LineEnding, MediaSection, SdpError};
use crate::units::Ssrc;

/// The firmware's rules; see [`CameraSdpRules::accept`].
#[derive(Clone, Copy, Debug)]
pub struct CameraSdpRules;

/// What a camera takes from an SDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedSdp {
    /// Where to send.
    pub address: Ipv4Addr,
    /// Where audio RTP goes.
    pub audio_port: u16,
    /// Where audio RTCP goes.
    pub audio_rtcp_port: u16,
    /// Where video RTP goes.
    pub video_port: u16,
    /// Where video RTCP goes.
    pub video_rtcp_port: u16,
    /// What audio is sent as.
    pub audio_ssrc: Ssrc,
    /// What video is sent as.
    pub video_ssrc: Ssrc,
    /// What the camera calls itself in RTCP.
    pub cname: String,
    /// `a=direction:passive` stood in both sections. Without it the camera streams but ignores RTCP feedback.
    pub passive: bool,
}

/// Why the firmware would not take an SDP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CameraSdpRefusal {
    /// It is no SDP at all.
    #[error("not an SDP")]
    Document(#[source] SdpError),
    /// A line does not end in CR LF.
    #[error("each line must end in CR LF, also the last")]
    LineEnd,
    /// The session name was changed.
    #[error("the session name must be {SESSION_NAME:?}, not {found:?}")]
    SessionName {
        /// The name found, shortened.
        found: String,
    },
    /// An address is not IPv4, not usable, or differs from the others.
    #[error("{line} must name the one IPv4 address to send to, not {found:?}")]
    Address {
        /// Which line.
        line: &'static str,
        /// Its value, shortened.
        found: String,
    },
    /// There are not exactly an audio and a video section with the known payload types.
    #[error("the media sections must be \"m=audio … {PROTO} 96 0\" and \"m=video … {PROTO} 103\"")]
    Sections,
    /// Something is not there, or not with the one known value.
    #[error("{section} lacks {line:?}")]
    Missing {
        /// `session`, `audio` or `video`.
        section: &'static str,
        /// What is expected.
        line: &'static str,
    },
    /// The last three lines are not the `x-skl` ones.
    #[error(
        "the last three lines must be x-skl-ssrca, x-skl-ssrcv and x-skl-cname with their values"
    )]
    Trailer,
}

use CameraSdpRefusal as Refusal;

impl CameraSdpRules {
    /// What a VBC01 takes from this text.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn accept(text: &str) -> Result<AcceptedSdp, CameraSdpRefusal> {
        let document = Document::parse(text).map_err(Refusal::Document)?;
        check_line_ends(text, &document)?;
        let address = session_address(&document)?;
        let [audio, video] = document.media() else {
            return Err(Refusal::Sections);
        };
        check_media_line(audio, "audio", &["96", "0"])?;
        check_media_line(video, "video", &["103"])?;
        check_addresses(&document, address)?;
        check_audio(audio)?;
        check_video(video)?;
        let (audio_ssrc, video_ssrc, cname) = trailer(video).ok_or(Refusal::Trailer)?;
        Ok(AcceptedSdp {
            address,
            audio_port: audio.port(),
            audio_rtcp_port: rtcp_port(audio, "audio")?,
            video_port: video.port(),
            video_rtcp_port: rtcp_port(video, "video")?,
            audio_ssrc,
            video_ssrc,
            cname,
            passive: is_passive(audio) && is_passive(video),
        })
    }
}

fn check_line_ends(text: &str, document: &Document) -> Result<(), Refusal> {
    let media = document.media().iter();
    let all_cr_lf = document
        .lines()
        .iter()
        .chain(media.clone().flat_map(|media| media.lines()))
        .map(|line| line.ending())
        .chain(media.map(|media| media.ending))
        .all(|ending| ending == LineEnding::CrLf);
    if all_cr_lf && text.ends_with("\r\n") {
        Ok(())
    } else {
        Err(Refusal::LineEnd)
    }
}

fn session_address(document: &Document) -> Result<Ipv4Addr, Refusal> {
    let name = document.line('s').unwrap_or_default();
    if name != SESSION_NAME {
        return Err(Refusal::SessionName {
            found: shorten(name),
        });
    }
    if document.line('t') != Some("0 0") {
        return Err(Refusal::Missing {
            section: "session",
            line: "t=0 0",
        });
    }
    let connection = document.line('c').unwrap_or_default();
    let refuse = |line, found| Refusal::Address {
        line,
        found: shorten(found),
    };
    let address = ipv4(connection).ok_or_else(|| refuse("c=", connection))?;
    let origin = document.line('o').unwrap_or_default();
    // Username, session and version stand before the address.
    let named = origin.splitn(4, ' ').nth(3).and_then(ipv4);
    if named == Some(address) {
        Ok(address)
    } else {
        Err(refuse("o=", origin))
    }
}

/// The address of `IN IP4 address`, if something can be sent there.
fn ipv4(connection: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = connection.strip_prefix("IN IP4 ")?.parse().ok()?;
    let usable = !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast();
    usable.then_some(address)
}

/// Section-level addresses may repeat the session's and nothing else.
fn check_addresses(document: &Document, address: Ipv4Addr) -> Result<(), Refusal> {
    let all = std::iter::once(&**document).chain(document.media().iter().map(|media| &**media));
    let mut lines = all
        .flat_map(|section| section.lines())
        .filter(|line| line.kind() == 'c');
    match lines.find(|line| ipv4(line.value()) != Some(address)) {
        None => Ok(()),
        Some(line) => Err(Refusal::Address {
            line: "c=",
            found: shorten(line.value()),
        }),
    }
}

fn check_media_line(media: &MediaSection, kind: &str, formats: &[&str]) -> Result<(), Refusal> {
    let fits = media.kind_name() == kind
        && media.proto() == PROTO
        && media.port() != 0
        && media.formats().eq(formats.iter().copied());
    if fits { Ok(()) } else { Err(Refusal::Sections) }
}

fn check_audio(audio: &MediaSection) -> Result<(), Refusal> {
    require(audio, "audio", "rtpmap", OPUS_MAP)?;
    require(audio, "audio", "rtpmap", PCMU_MAP)?;
    require_direction(audio, "audio", Direction::SendRecv)?;
    require_cname(audio, "audio")
}

fn check_video(video: &MediaSection) -> Result<(), Refusal> {
    require(video, "video", "rtpmap", H264_MAP)?;
    require(video, "video", "fmtp", H264_FMTP)?;
    for feedback in FEEDBACK {
        require(video, "video", "rtcp-fb", feedback)?;
    }
    require_direction(video, "video", Direction::RecvOnly)?;
    require_cname(video, "video")
}

fn require(
    media: &MediaSection,
    section: &'static str,
    name: &str,
    value: &'static str,
) -> Result<(), Refusal> {
    if media.attributes(name).any(|found| found == value) {
        Ok(())
    } else {
        Err(Refusal::Missing {
            section,
            line: value,
        })
    }
}

fn require_direction(
    media: &MediaSection,
    section: &'static str,
    direction: Direction,
) -> Result<(), Refusal> {
    if media.direction() == Some(direction) {
        Ok(())
    } else {
        Err(Refusal::Missing {
            section,
            line: direction.as_str(),
        })
    }
}

fn require_cname(media: &MediaSection, section: &'static str) -> Result<(), Refusal> {
    let named = media
        .ssrcs()
        .any(|ssrc| ssrc.name == "cname" && !ssrc.value.is_empty());
    if named {
        Ok(())
    } else {
        Err(Refusal::Missing {
            section,
            line: "ssrc: … cname:",
        })
    }
}

fn rtcp_port(media: &MediaSection, section: &'static str) -> Result<u16, Refusal> {
    let port = media
        .attribute("rtcp")
        .and_then(decimal)
        .filter(|port| *port != 0);
    port.ok_or(Refusal::Missing {
        section,
        line: "rtcp:",
    })
}

fn is_passive(media: &MediaSection) -> bool {
    media.attribute(DIRECTION_NAME) == Some(PASSIVE)
}

/// What the last three lines say, in whatever order they stand.
fn trailer(video: &MediaSection) -> Option<(Ssrc, Ssrc, String)> {
    let last = video.lines().last_chunk::<3>()?;
    let value = |name: &str| {
        let mut attributes = last.iter().filter_map(|line| line.attribute());
        attributes
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    };
    let cname = value(CNAME_NAME).filter(|name| !name.is_empty())?;
    let audio_ssrc = Ssrc(decimal(value(AUDIO_SSRC_NAME)?)?);
    let video_ssrc = Ssrc(decimal(value(VIDEO_SSRC_NAME)?)?);
    Some((audio_ssrc, video_ssrc, cname.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::CameraSdp;

    fn sdp() -> CameraSdp {
        CameraSdp {
            session_id: 3_890_000_001,
            version: 1,
            address: Ipv4Addr::new(192, 168, 1, 10),
            audio_port: 5008,
            video_port: 5006,
            audio_ssrc: Ssrc(1_111_111_111),
            video_ssrc: Ssrc(2_222_222_222),
            cname: "user1234@host-5678".to_owned(),
        }
    }

    fn refusal(text: &str) -> CameraSdpRefusal {
        CameraSdpRules::accept(text).unwrap_err()
    }

    #[test]
    fn what_the_gateway_writes_is_taken() {
        let sdp = sdp();
        let expected = AcceptedSdp {
            address: sdp.address,
            audio_port: 5008,
            audio_rtcp_port: 5009,
            video_port: 5006,
            video_rtcp_port: 5007,
            audio_ssrc: sdp.audio_ssrc,
            video_ssrc: sdp.video_ssrc,
            cname: sdp.cname.clone(),
            passive: true,
        };
        assert_eq!(CameraSdpRules::accept(&sdp.to_string()), Ok(expected));
    }

    #[test]
    fn no_line_may_be_dropped() {
        let text = sdp().to_string();
        let lines: Vec<&str> = text.split_inclusive("\r\n").collect();
        for dropped in 0..lines.len() {
            let rest: String = lines
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != dropped)
                .map(|(_, l)| *l)
                .collect();
            let line = lines[dropped].trim_end();
            match CameraSdpRules::accept(&rest) {
                Ok(accepted) => {
                    assert!(line == "a=direction:passive" && !accepted.passive, "{line}")
                }
                Err(_) => assert_ne!(line, "a=direction:passive"),
            }
        }
    }

    #[test]
    fn the_order_within_a_section_is_free_but_for_the_trailer() {
        let mut document = sdp().to_document();
        document.media_mut()[0].lines.reverse();
        let end = document.media()[1].lines.len() - 3;
        document.media_mut()[1].lines[..end].reverse();
        assert!(CameraSdpRules::accept(&document.to_string()).is_ok());
        document.media_mut()[1].push_attribute("x-other", 1);
        assert_eq!(refusal(&document.to_string()), CameraSdpRefusal::Trailer);
    }

    #[test]
    fn every_line_ends_in_cr_lf() {
        let text = sdp().to_string();
        assert_eq!(
            refusal(&text.replace("\r\n", "\n")),
            CameraSdpRefusal::LineEnd
        );
        assert_eq!(refusal(text.trim_end()), CameraSdpRefusal::LineEnd);
        for (at, _) in text.match_indices("\r\n") {
            let mut mixed = text.clone();
            mixed.remove(at);
            assert_eq!(refusal(&mixed), CameraSdpRefusal::LineEnd);
        }
    }

    #[test]
    fn the_session_name_and_the_address_are_fixed() {
        let text = sdp().to_string();
        assert!(matches!(
            refusal(&text.replace("Kurento", "Apiary")),
            CameraSdpRefusal::SessionName { .. }
        ));
        for bad in [
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "host",
            "192.168.1.10/127",
            "192.168.1.300",
        ] {
            let error = refusal(&text.replace("192.168.1.10", bad));
            assert!(
                matches!(error, CameraSdpRefusal::Address { .. }),
                "{bad}: {error}"
            );
        }
        let two = text.replacen("192.168.1.10", "192.168.1.11", 1);
        assert!(matches!(
            refusal(&two),
            CameraSdpRefusal::Address { line: "o=", .. }
        ));
        let ip6 = text.replace("IN IP4 192.168.1.10", "IN IP6 2001:db8::1");
        assert!(matches!(refusal(&ip6), CameraSdpRefusal::Address { .. }));
        let mut second = sdp().to_document();
        second.media_mut()[0].lines.insert(
            0,
            Line::new('c', "IN IP4 10.0.0.1".to_owned(), LineEnding::CrLf),
        );
        assert!(matches!(
            refusal(&second.to_string()),
            CameraSdpRefusal::Address { line: "c=", .. }
        ));
    }

    #[test]
    fn sections_and_their_payload_types_are_fixed() {
        let text = sdp().to_string();
        for (from, to) in [
            ("RTP/AVPF 103", "RTP/AVPF 96"),
            ("RTP/AVPF 96 0", "RTP/AVPF 0 96"),
            ("RTP/AVPF 103", "RTP/SAVPF 103"),
            ("m=audio 5008", "m=audio 0"),
            ("m=audio", "m=video"),
        ] {
            assert_eq!(
                refusal(&text.replace(from, to)),
                CameraSdpRefusal::Sections,
                "{to}"
            );
        }
        let mut three = sdp().to_document();
        three.push_media(MediaSection::new("audio", 9, PROTO, ["0"]));
        assert_eq!(refusal(&three.to_string()), CameraSdpRefusal::Sections);
        assert!(matches!(refusal("nonsense"), CameraSdpRefusal::Document(_)));
    }

    #[test]
    fn refusals_say_what_is_missing() {
        let text = sdp().to_string().replace("a=rtcp-fb:103 goog-remb\r\n", "");
        assert_eq!(refusal(&text).to_string(), "video lacks \"103 goog-remb\"");
    }

    use crate::sdp::Line;
}
