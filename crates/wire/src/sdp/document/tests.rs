use super::*;
use crate::sdp::{MediaKind, RtpMap};
use crate::units::PayloadType;
use proptest::prelude::*;

/// What Chromium offers, shortened.
const OFFER: &str = include_str!("../../../tests/golden/chromium-offer.sdp");

fn pt(number: u8) -> PayloadType {
    PayloadType::new(number).unwrap()
}

fn parse_error(text: &str) -> (usize, SdpErrorKind) {
    let error = Document::parse(text).unwrap_err();
    (error.line, error.kind)
}

#[test]
fn a_browsers_offer_is_read() {
    let document = Document::parse(OFFER).unwrap();
    assert_eq!(document.to_string(), OFFER);
    assert_eq!(document.attribute("group"), Some("BUNDLE 0 1"));
    let [audio, video] = document.media() else {
        panic!()
    };
    assert_eq!(
        (audio.kind(), video.kind()),
        (MediaKind::Audio, MediaKind::Video)
    );
    assert_eq!((video.port(), video.proto()), (9, "UDP/TLS/RTP/SAVPF"));
    assert_eq!((audio.mid(), video.mid()), (Some("0"), Some("1")));
    assert_eq!(document.media_by_mid("1"), Some(video));
    assert_eq!(document.direction_of(video), Direction::RecvOnly);
    assert_eq!(document.ice_ufrag_of(video), Some("Xk2p"));
    assert_eq!(document.ice_pwd_of(video), Some("0123456789abcdefghijklmn"));
    assert_eq!(document.setup_of(video), Some(Setup::ActPass));
    assert_eq!(document.fingerprint_of(video).unwrap().hash, "sha-256");
    let h264: Vec<_> = video
        .rtpmaps()
        .filter(|map| map.is("h264"))
        .map(|map| map.payload_type)
        .collect();
    assert_eq!(h264, [pt(103), pt(107), pt(109)]);
    assert_eq!(
        video.fmtp(pt(109)).unwrap().get("profile-level-id"),
        Some("42e01f")
    );
    assert_eq!(video.fmtp(pt(104)).unwrap().get("apt"), Some("103"));
    assert!(video.rtcp_fbs(pt(109)).any(|fb| fb.is("nack", "pli")));
    assert!(video.rtcp_fbs(pt(109)).any(|fb| fb.is("goog-remb", "")));
    assert_eq!(video.rtcp_fbs(pt(104)).count(), 0);
    let mid = video
        .extmaps()
        .find(|map| map.uri == "urn:ietf:params:rtp-hdrext:sdes:mid")
        .unwrap();
    assert_eq!(mid.id, 4);
    assert!(video.has_flag("rtcp-mux") && !video.has_flag("rtcp-mu"));
    assert_eq!(video.candidates().count(), 1);
    assert_eq!(video.payload_types().count(), 7);
    assert_eq!(
        audio.rtpmap(pt(111)).unwrap(),
        RtpMap {
            payload_type: pt(111),
            encoding: "opus",
            clock_rate: 48_000,
            channels: 2
        }
    );
}

#[test]
fn what_holds_for_a_section_may_stand_in_the_session() {
    let text = "v=0\r\na=setup:active\r\na=ice-ufrag:s\r\na=inactive\r\na=fingerprint:sha-1 AA\r\n\
                m=audio 9 RTP/AVP 0\r\na=ice-ufrag:m\r\na=fingerprint:broken\r\nm=audio 9 RTP/AVP 0\r\na=sendonly\r\n";
    let document = Document::parse(text).unwrap();
    let [first, second] = document.media() else {
        panic!()
    };
    assert_eq!(document.ice_ufrag_of(first), Some("m"));
    assert_eq!(document.ice_ufrag_of(second), Some("s"));
    assert_eq!(document.setup_of(first), Some(Setup::Active));
    assert_eq!(document.direction_of(first), Direction::Inactive);
    assert_eq!(document.direction_of(second), Direction::SendOnly);
    // A section's own fingerprint counts even when it is broken: the session's must not stand in for it.
    assert_eq!(document.fingerprint_of(first), None);
    assert_eq!(document.fingerprints_of(first).collect::<Vec<_>>(), [None]);
    assert_eq!(document.fingerprint_of(second).unwrap().bytes, [0xaa]);
}

#[test]
fn mixed_line_ends_and_a_missing_last_one_are_kept() {
    for text in [
        "v=0",
        "v=0\n",
        "v=0\r\ns=-\nb=AS:1\r\nz=0\nm=audio 9/2 RTP/AVP 0\na=x\r\nq=unknown  \n",
        "v=0\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=é: :",
        "v=\nm=audio 9 RTP/AVP 0",
        "v=0\na=\na=:\n",
    ] {
        assert_eq!(Document::parse(text).unwrap().to_string(), text, "{text:?}");
    }
}

#[test]
fn errors_name_the_line() {
    assert_eq!(
        parse_error(""),
        (
            1,
            SdpErrorKind::NoVersion {
                found: String::new()
            }
        )
    );
    assert_eq!(
        parse_error("s=-\r\n"),
        (
            1,
            SdpErrorKind::NoVersion {
                found: "s=-".to_owned()
            }
        )
    );
    assert_eq!(
        parse_error("v=0\r\n\r\n"),
        (
            2,
            SdpErrorKind::NotALine {
                found: String::new()
            }
        )
    );
    assert_eq!(
        parse_error("v=0\n1=x\n"),
        (
            2,
            SdpErrorKind::NotALine {
                found: "1=x".to_owned()
            }
        )
    );
    assert_eq!(
        parse_error("v=0\ns=a\rb\n"),
        (2, SdpErrorKind::ForbiddenCharacter)
    );
    assert_eq!(
        parse_error("v=0\ns=\0\n"),
        (2, SdpErrorKind::ForbiddenCharacter)
    );
    let error = Document::parse("v=0\nm=video x RTP/AVP 0\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "SDP line 2: \"video x RTP/AVP 0\" is not of the form kind port transport formats"
    );
    for bad in [
        "video",
        "video 9",
        "video 9 RTP/AVP",
        "video 9 RTP/AVP ",
        "video  9 RTP/AVP 0",
        "video 09 RTP/AVP 0",
        "video 65536 RTP/AVP 0",
        "video -1 RTP/AVP 0",
        "video 9/x RTP/AVP 0",
    ] {
        let (line, kind) = parse_error(&format!("v=0\nm={bad}\n"));
        assert!(
            line == 2
                && matches!(
                    kind,
                    SdpErrorKind::MediaLine { .. } | SdpErrorKind::PayloadType { .. }
                ),
            "{bad}"
        );
    }
}

#[test]
fn h21_bounds_are_held_and_named() {
    let sections = |count| format!("v=0\n{}", "m=audio 9 RTP/AVP 0\n".repeat(count));
    assert_eq!(
        Document::parse(&sections(MAX_SECTIONS))
            .unwrap()
            .media()
            .len(),
        MAX_SECTIONS
    );
    assert_eq!(
        parse_error(&sections(MAX_SECTIONS + 1)),
        (MAX_SECTIONS + 2, SdpErrorKind::TooManySections)
    );
    assert!(matches!(
        parse_error(&sections(10_000)).1,
        SdpErrorKind::TooLong { .. }
    ));
    let lines = |count| format!("v=0\n{}", "a=x\n".repeat(count - 1));
    assert!(Document::parse(&lines(MAX_LINES)).is_ok());
    assert_eq!(
        parse_error(&lines(MAX_LINES + 1)),
        (MAX_LINES + 1, SdpErrorKind::TooManyLines)
    );
    let attribute = |len| format!("v=0\na={}", "x".repeat(len));
    assert!(Document::parse(&attribute(MAX_LEN - 6)).is_ok());
    assert_eq!(
        parse_error(&attribute(MAX_LEN - 5)),
        (1, SdpErrorKind::TooLong { len: MAX_LEN + 1 })
    );
    assert!(matches!(
        parse_error(&attribute(1_000_000)).1,
        SdpErrorKind::TooLong { .. }
    ));
}

#[test]
fn h21_payload_types_above_127_and_doubled_mids_are_refused() {
    assert_eq!(
        parse_error("v=0\nm=video 9 UDP/TLS/RTP/SAVPF 96 128\n"),
        (
            2,
            SdpErrorKind::PayloadType {
                found: "128".to_owned()
            }
        )
    );
    assert_eq!(
        parse_error("v=0\nm=video 9 RTP/AVP 96 97 96\n"),
        (
            2,
            SdpErrorKind::DuplicatePayloadType {
                found: "96".to_owned()
            }
        )
    );
    // Only RTP has payload types.
    assert!(Document::parse("v=0\nm=image 9 udptl t38\n").is_ok());
    let doubled = "v=0\nm=audio 9 RTP/AVP 0\na=mid:0\nm=video 9 RTP/AVP 96\na=mid:0\n";
    assert_eq!(
        parse_error(doubled),
        (
            5,
            SdpErrorKind::DuplicateMid {
                mid: "0".to_owned()
            }
        )
    );
}

#[test]
fn edits_touch_only_what_they_name() {
    let mut document = Document::parse(OFFER).unwrap();
    let video = &mut document.media_mut()[1];
    video.set_direction(Direction::Inactive);
    assert_eq!(video.remove_attributes("candidate"), 1);
    video.set_port(0).set_attribute("mid", "picture");
    video.push_flag("added");
    document.set_line('s', "name");
    let expected = OFFER
        .replacen("s=-", "s=name", 1)
        .replacen("m=video 9", "m=video 0", 1)
        .replacen("a=mid:1\r\n", "a=mid:picture\r\n", 1)
        .replace("a=candidate:1 1 udp 2113937151 f9d9e1b0-0000-4000-8000-000000000000.local 50000 typ host\r\n", "");
    let (head, tail) = expected.split_at(expected.find("m=video").unwrap());
    let expected = format!(
        "{head}{}a=added\r\n",
        tail.replacen("a=recvonly", "a=inactive", 1)
    );
    assert_eq!(document.to_string(), expected);
}

#[test]
fn set_attribute_leaves_one() {
    let mut document = Document::parse("v=0\na=x:1\na=y\na=x:2\na=x\n").unwrap();
    document.set_attribute("x", 3).set_attribute("z", 4);
    assert_eq!(document.to_string(), "v=0\na=x:3\na=y\na=z:4\n");
}

#[test]
fn added_lines_end_like_the_others_even_after_an_unterminated_one() {
    let mut document = Document::parse("v=0\nm=audio 9 RTP/AVP 0\na=x").unwrap();
    document.push_attribute("session", 1);
    document.media_mut()[0].push_flag("y");
    assert_eq!(
        document.to_string(),
        "v=0\na=session:1\nm=audio 9 RTP/AVP 0\na=x\na=y"
    );
}

#[test]
fn h35_no_value_becomes_a_second_line() {
    let mut document = Document::new();
    document
        .push_line('v', 0)
        .push_attribute("x", "1\r\na=evil:1\n\0")
        .set_attribute("y\r\nz", "2\n3")
        .set_line('s', "a\nb");
    document.push_media(MediaSection::new(
        "audio\r\nm=x",
        9,
        "RTP/AVP\n",
        ["0\r\n", "8 9"],
    ));
    let text = document.to_string();
    assert_eq!(
        text,
        "v=0\r\na=x:1a=evil:1\r\na=yz:23\r\ns=ab\r\nm=audiom=x 9 RTP/AVP 0 89\r\n"
    );
    assert_eq!(Document::parse(&text).unwrap().to_string(), text);
}

#[test]
fn candidates_at_odd_hosts_are_only_text_here() {
    let text =
        "v=0\nm=audio 9 RTP/AVP 0\na=candidate:1 1 udp 1 127.0.0.1 22 typ host\na=candidate:x\n";
    let document = Document::parse(text).unwrap();
    assert_eq!(
        document.media()[0].candidates().collect::<Vec<_>>(),
        ["1 1 udp 1 127.0.0.1 22 typ host", "x"]
    );
}

proptest! {
    #[test]
    fn parsing_and_writing_is_the_identity(
        lines in proptest::collection::vec(
            ("[a-ln-z]=[ -~éß]{0,20}|m=(audio|video|x) [1-9][0-9]{0,3} (RTP/AVP|UDP/TLS/RTP/SAVPF) [1-9]?[0-9]", "(\r\n|\n)"),
            0..30,
        ),
        unterminated: bool,
    ) {
        let mut text = "v=0\r\n".to_owned();
        for (line, end) in &lines {
            text += line;
            text += end;
        }
        let text = if unterminated { text.trim_end_matches(['\r', '\n']) } else { &text };
        prop_assert_eq!(Document::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn any_text_is_survived_and_what_parses_is_kept(text in "(v=0\n)?([a-z]=[ -~\r\n\\x00]{0,12}\n?){0,8}") {
        if let Ok(document) = Document::parse(&text) {
            prop_assert_eq!(document.to_string(), text);
        }
    }
}
