use std::net::SocketAddr;

use apiary_wire::Ssrc;
use apiary_wire::sdp::Direction;
use aws_lc_rs::digest;

use super::*;
use crate::viewer::answer::LocalDescription;

/// As Chromium writes it for two transceivers that only receive, shortened by formats of no interest.
const CHROMIUM: &str = include_str!("chromium.sdp");
const FINGERPRINT: &str = "a=fingerprint:sha-256 \
    0F:74:31:25:CB:A2:13:EC:28:6F:6D:2C:61:FF:5D:C2:BC:B9:DB:3D:98:14:8D:1A:BB:EA:33:0C:A4:60:A8:8E\r\n";

fn pt(number: u8) -> PayloadType {
    PayloadType::new(number).unwrap()
}

fn chromium() -> String {
    CHROMIUM.replace('\n', "\r\n")
}

/// The offer's head, and its sections with their `m=` lines.
fn parts() -> (String, Vec<String>) {
    let text = chromium();
    let mut all = text.split("m=");
    let head = all.next().unwrap().to_owned();
    (head, all.map(|section| format!("m={section}")).collect())
}

fn answer(offer: &Offer) -> Document {
    answer_to(offer, false)
}

fn answer_to(offer: &Offer, takes_voice: bool) -> Document {
    let ice = IceCredentials {
        ufrag: "ours".to_owned(),
        pwd: "p".repeat(22),
    };
    let candidates: [SocketAddr; 2] = [
        "192.168.1.10:7000".parse().unwrap(),
        "[2001:db8::1]:7000".parse().unwrap(),
    ];
    let text = offer.answer(&LocalDescription {
        session_id: 42,
        ice: &ice,
        fingerprint: "sha-256 AB:CD",
        candidates: &candidates,
        cname: "apiary-1",
        video_ssrc: Ssrc(1),
        rtx_ssrc: Ssrc(2),
        audio_ssrc: Ssrc(3),
        takes_voice,
    });
    assert!(text.ends_with("\r\n"));
    let document = Document::parse(&text).unwrap();
    assert_eq!(document.to_string(), text);
    document
}

#[test]
fn chromium_is_offered_the_cameras_formats() {
    let offer = read_offer(&chromium()).unwrap();
    assert_eq!(offer.ice.ufrag, "6wAg");
    let mid = |mid: &str| HeaderExtensions {
        mid: Some((4, mid.to_owned())),
        playout_delay: None,
    };
    assert_eq!(
        offer.video,
        Some(VideoTrack {
            payload_type: pt(108),
            rtx: Some(pt(109)),
            nack: true,
            extensions: mid("0"),
        })
    );
    assert_eq!(
        offer.audio,
        Some(AudioTrack {
            opus: Some(pt(111)),
            pcmu: Some(pt(0)),
            speaks: false,
            extensions: mid("1"),
        })
    );
}

#[test]
fn the_answer_to_chromium_is_complete() {
    let document = answer(&read_offer(&chromium()).unwrap());
    assert!(document.has_flag("ice-lite"));
    assert_eq!(document.attribute("group"), Some("BUNDLE 0 1"));
    assert_eq!(document.attribute("msid-semantic"), Some(" WMS apiary"));
    let expected = "video 7000 UDP/TLS/RTP/SAVPF 108 109
c=IN IP4 192.168.1.10
a=ice-ufrag:ours
a=ice-pwd:pppppppppppppppppppppp
a=fingerprint:sha-256 AB:CD
a=setup:passive
a=mid:0
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendonly
a=rtcp-mux
a=rtpmap:108 H264/90000
a=rtcp-fb:108 nack
a=rtcp-fb:108 nack pli
a=rtcp-fb:108 ccm fir
a=rtcp-fb:108 goog-remb
a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:109 rtx/90000
a=fmtp:109 apt=108
a=msid:apiary video
a=ssrc:1 cname:apiary-1
a=ssrc:2 cname:apiary-1
a=ssrc-group:FID 1 2
a=candidate:1 1 udp 2130706431 192.168.1.10 7000 typ host
a=candidate:2 1 udp 2130706175 2001:db8::1 7000 typ host
a=end-of-candidates";
    assert_eq!(written(&document.media()[0]), expected);
    let audio = written(&document.media()[1]);
    assert!(audio.starts_with("audio 7000 UDP/TLS/RTP/SAVPF 111 0\n"));
    assert!(audio.contains("a=rtpmap:111 opus/48000/2\na=fmtp:111 minptime=10"));
    assert!(audio.contains("a=rtpmap:0 PCMU/8000\na=msid:apiary audio\na=ssrc:3 cname:apiary-1"));
    assert!(!audio.contains("candidate") && !audio.contains("rtcp-fb"));
}

fn written(media: &MediaSection) -> String {
    let lines = media.lines().iter().map(|line| format!("\n{line}"));
    format!("{media}{}", lines.collect::<String>())
}

#[test]
fn other_sections_are_rejected_in_their_place() {
    let (head, parts) = parts();
    let again = |section: &str, mid: &str| {
        let (before, after) = section.split_once("a=mid:").unwrap();
        format!("{before}a=mid:{mid}{}", &after[1..])
    };
    let data =
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:d\r\n";
    let sent = again(&parts[0], "s").replace("a=recvonly", "a=sendonly");
    let second = again(&parts[0], "v");
    let group = head.replace("BUNDLE 0 1", "BUNDLE d s 1 0 0 1 v");
    let text = [&group, data, &sent, &parts[0], &second, &parts[1]];
    let offer = read_offer(&text.concat()).unwrap();
    let document = answer(&offer);
    assert_eq!(document.attribute("group"), Some("BUNDLE 1 0"));
    let ports: Vec<_> = document.media().iter().map(MediaSection::port).collect();
    assert_eq!(ports, [0, 0, 7000, 0, 7000]);
    let mids: Vec<_> = document.media().iter().map(|media| media.mid()).collect();
    assert_eq!(mids, ["d", "s", "0", "v", "1"].map(Some));
    assert_eq!(document.media()[0].proto(), "UDP/DTLS/SCTP");
    assert_eq!(document.media()[0].direction(), Some(Direction::Inactive));
    // The tag's section carries the candidates of all.
    let candidates = document
        .media()
        .iter()
        .map(|media| media.candidates().count());
    assert_eq!(candidates.collect::<Vec<_>>(), [0, 0, 0, 0, 2]);
}

#[test]
fn a_bundled_section_may_leave_its_transport_to_the_tag() {
    let (head, parts) = parts();
    let of_transport = ["a=ice-", "a=fingerprint", "a=setup", "a=rtcp-mux"];
    let bare = parts[1].split_inclusive("\r\n");
    let bare: String = bare
        .filter(|line| !of_transport.iter().any(|name| line.starts_with(name)))
        .collect();
    let bare = bare.replace("m=audio 9", "m=audio 0") + "a=bundle-only\r\n";
    let offer = read_offer(&[head, parts[0].clone(), bare].concat()).unwrap();
    assert!(offer.video.is_some() && offer.audio.is_some());
}

#[test]
fn sound_alone_needs_no_group() {
    let (head, parts) = parts();
    let head = head.replace("a=group:BUNDLE 0 1\r\n", "");
    let audio = parts[1].replace("a=mid:1\r\n", "");
    let offer = read_offer(&format!("{head}{audio}")).unwrap();
    assert_eq!(offer.video, None);
    let extensions = &offer.audio.as_ref().unwrap().extensions;
    assert_eq!(*extensions, HeaderExtensions::default());
    let document = answer(&offer);
    assert_eq!(document.attribute("group"), None);
    assert_eq!(document.media()[0].mid(), None);
    assert_eq!(document.media()[0].candidates().count(), 2);
}

#[test]
fn the_best_h264_is_taken() {
    for (ids, expected) in [
        (["42001f", "42e01f", "4d001f"], 108),
        (["42001f", "42e034", "42e01f"], 108),
        (["f4001f", "4d001f", "42001f"], 127),
        (["f4001f", "64001f", "4d001f"], 127),
        (["f4001f", "58001f", "640c1f"], 127),
        (["f4001f", "nonsense", "ff001f"], 103),
    ] {
        let mut text = chromium();
        for (number, offered, id) in [
            (103, "42001f", ids[0]),
            (108, "42e01f", ids[1]),
            (127, "4d001f", ids[2]),
        ] {
            let line = |id| {
                let fixed = "level-asymmetry-allowed=1;packetization-mode=1";
                format!("a=fmtp:{number} {fixed};profile-level-id={id}\r\n")
            };
            assert!(text.contains(&line(offered)));
            text = text.replace(&line(offered), &line(id));
        }
        let video = read_offer(&text).unwrap().video.unwrap();
        assert_eq!(video.payload_type, pt(expected), "{ids:?}");
    }
}

#[test]
fn only_what_was_offered_is_answered() {
    let text = chromium()
        .replace("a=rtcp-fb:108 nack\r\n", "")
        .replace("a=rtcp-fb:108 goog-remb\r\n", "")
        .replace("a=fmtp:109 apt=108", "a=fmtp:109 apt=96")
        .replace("extmap:4 ", "extmap:15 ");
    let offer = read_offer(&text).unwrap();
    let video = offer.video.as_ref().unwrap();
    assert_eq!((video.rtx, video.nack), (None, false));
    assert_eq!(video.extensions.mid, None);
    let document = answer(&offer);
    let video = written(&document.media()[0]);
    for absent in ["rtx", "108 nack\n", "goog-remb", "extmap", "FID", "ssrc:2"] {
        assert!(!video.contains(absent), "{absent}: {video}");
    }
    assert!(video.contains("108 nack pli"));
}

#[test]
fn h16_fingerprints_match_one_certificate() {
    let certificate = b"not quite DER";
    for (name, algorithm) in [
        ("sha-256", &digest::SHA256),
        ("SHA-384", &digest::SHA384),
        ("sha-512", &digest::SHA512),
    ] {
        let hash = digest::digest(algorithm, certificate);
        let hex: Vec<_> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        let line = format!("a=fingerprint:{name} {}\r\n", hex.join(":"));
        let offer = read_offer(&chromium().replace(FINGERPRINT, &line)).unwrap();
        assert!(offer.fingerprint.matches(certificate), "{name}");
        assert!(!offer.fingerprint.matches(b"another"), "{name}");
    }
}

/// As Debian's Firefox writes it, which has VP8 and no H.264.
#[test]
fn firefox_without_h264_is_told_so() {
    let text = chromium()
        .replace("H264/90000", "VP8/90000")
        .replace(FINGERPRINT, "")
        .replace(
            "a=msid-semantic: WMS\r\n",
            &format!("{FINGERPRINT}a=msid-semantic:WMS *\r\n"),
        );
    let error = read_offer(&text).unwrap_err();
    assert_eq!(error, OfferError::NoH264);
    assert!(error.to_string().contains("H.264"));
    // The same browser may listen.
    let listening = text.replacen("a=recvonly", "a=inactive", 1);
    let offer = read_offer(&listening).unwrap();
    assert!(offer.video.is_none() && offer.audio.is_some());
}

#[test]
fn bad_offers_are_refused_in_words() {
    let weak = format!("a=fingerprint:sha-1 {}\r\n", ["AB"; 20].join(":"));
    let twice = FINGERPRINT.repeat(2);
    let long = format!("a=ice-ufrag:{}\r\n", "x".repeat(257));
    let pwd = "a=ice-pwd:jKGhRZ5pzMIrNUpC1bAzuMhd\r\n";
    for (from, to, expected) in [
        ("v=0", "hello", "cannot be read"),
        ("UDP/TLS/RTP/SAVPF", "RTP/AVP", "asks for neither"),
        ("a=recvonly", "a=sendonly", "asks for neither"),
        ("packetization-mode=1", "packetization-mode=0", "H.264"),
        ("BUNDLE 0 1", "BUNDLE 0", "BUNDLE"),
        ("BUNDLE 0 1", "LS 0 1", "BUNDLE"),
        ("a=mid:1", "a=mid:1 2", "mid"),
        ("a=rtcp-mux\r\n", "", "rtcp-mux"),
        ("a=setup:actpass", "a=setup:passive", "setup:actpass"),
        ("a=setup:actpass", "a=setup:holdconn", "setup:actpass"),
        ("a=setup:actpass\r\n", "", "setup:actpass"),
        ("a=ice-ufrag:6wAg\r\n", "", "ice-ufrag must have 4"),
        (
            "a=ice-ufrag:6wAg",
            "a=ice-ufrag:6wA",
            "ice-ufrag must have 4",
        ),
        (
            "a=ice-ufrag:6wAg",
            "a=ice-ufrag:6:Ag",
            "ice-ufrag must have 4",
        ),
        (
            "a=ice-ufrag:6wAg\r\n",
            long.as_str(),
            "ice-ufrag must have 4",
        ),
        (pwd, "", "ice-pwd must have 22"),
        (pwd, "a=ice-pwd:tooshort\r\n", "ice-pwd must have 22"),
        (FINGERPRINT, "", "no a=fingerprint"),
        (FINGERPRINT, twice.as_str(), "more than one a=fingerprint"),
        (FINGERPRINT, weak.as_str(), "\"sha-1\", which is too weak"),
        (
            FINGERPRINT,
            "a=fingerprint:md5 AB\r\n",
            "\"md5\", which is too weak",
        ),
        (FINGERPRINT, "a=fingerprint:sha-256 AB\r\n", "malformed"),
        (FINGERPRINT, "a=fingerprint:nonsense\r\n", "malformed"),
    ] {
        let text = chromium().replace(from, to);
        assert_ne!(text, chromium(), "{from}");
        let error = read_offer(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
}

#[test]
fn h16_one_connection_has_one_certificate() {
    let (head, parts) = parts();
    let other = parts[1].replace("sha-256 0F", "sha-256 0E");
    let error = read_offer(&[head, parts[0].clone(), other].concat()).unwrap_err();
    assert_eq!(error, OfferError::DifferentFingerprints);
}

#[test]
fn an_active_viewer_is_answered_passively() {
    let text = chromium().replace("a=setup:actpass", "a=setup:active");
    let document = answer(&read_offer(&text).unwrap());
    assert_eq!(document.media()[0].attribute("setup"), Some("passive"));
}

#[test]
fn h21_repeated_lines_do_not_grow_the_answer() {
    let (head, parts) = parts();
    let head = head.replace("BUNDLE 0 1", &format!("BUNDLE{}", " 0 1".repeat(5_000)));
    let fmtp = "a=fmtp:108 packetization-mode=0\r\n".repeat(500);
    let feedback = "a=rtcp-fb:* nack\r\n".repeat(500);
    let text = [head, parts[0].clone(), fmtp, feedback, parts[1].clone()].concat();
    let document = answer(&read_offer(&text).unwrap());
    assert_eq!(document.attribute("group"), Some("BUNDLE 0 1"));
    assert_eq!(document.media()[0].lines().len(), 24);
}

#[test]
fn a_voice_is_taken_where_it_is_offered_in_opus_and_allowed() {
    let (head, sections) = parts();
    let with = |from: &str, to: &str| {
        let text: String = sections
            .iter()
            .map(|section| match section.starts_with("m=audio") {
                true => section.replace(from, to),
                false => section.clone(),
            })
            .collect();
        read_offer(&format!("{head}{text}")).unwrap()
    };
    let directions = |offer: &Offer, takes_voice| -> Vec<Direction> {
        let answer = answer_to(offer, takes_voice);
        let media = answer.media().iter();
        media.map(|media| answer.direction_of(media)).collect()
    };
    let speaks = with("a=recvonly", "a=sendrecv");
    assert!(speaks.audio.as_ref().unwrap().speaks);
    // The picture comes first in this offer.
    let both = [Direction::SendOnly, Direction::SendRecv];
    assert_eq!(directions(&speaks, true), both);
    assert_eq!(directions(&speaks, false), [Direction::SendOnly; 2]);
    let listens = with("a=recvonly", "a=recvonly");
    assert!(!listens.audio.as_ref().unwrap().speaks);
    assert_eq!(directions(&listens, true), [Direction::SendOnly; 2]);
    let pcmu = with("opus/48000/2", "telephone-event/48000");
    assert!(!pcmu.audio.as_ref().unwrap().speaks);
}
