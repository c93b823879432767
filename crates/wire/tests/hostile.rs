//! h19 for the parsers of text: each length up to 1500 with each first byte. Those of packets have theirs beside
//! their code. What is asserted is that nothing panics, and that a cut text is never taken for the whole.

use apiary_wire::camera::{CameraMessage, Command};
use apiary_wire::sdp::{CameraSdpRules, Document};

const CAMERA: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";
const CAMERA_SDP: &str = include_str!("golden/camera.sdp");
const OFFER: &str = include_str!("golden/chromium-offer.sdp");

/// Gives `text` cut at each length up to 1500, with each first byte, and says whether it is what it was.
fn for_each_variant(text: &str, mut check: impl FnMut(&[u8], bool)) {
    for len in 0..=text.len().min(1500) {
        let mut bytes = text.as_bytes()[..len].to_vec();
        for first in 0..=255u8 {
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            check(&bytes, bytes == text.as_bytes());
        }
    }
}

#[test]
fn h19_cut_sdp_is_survived_and_no_camera_takes_it() {
    for text in [CAMERA_SDP, OFFER] {
        for_each_variant(text, |bytes, whole| {
            let Ok(text) = std::str::from_utf8(bytes) else {
                return;
            };
            if let Ok(document) = Document::parse(text) {
                assert_eq!(document.to_string(), text);
            }
            let accepted = CameraSdpRules::accept(text).is_ok();
            assert_eq!(accepted, whole && text == CAMERA_SDP, "{text}");
        });
    }
}

#[test]
fn h19_cut_messages_are_survived() {
    let topic = format!("prod/device/connection/hive-cam/{CAMERA}");
    let payload = format!(
        r#"{{"status":"connected","device":{{}},"pad":"{}"}}"#,
        "x".repeat(1400)
    );
    for_each_variant(&payload, |bytes, whole| {
        assert_eq!(CameraMessage::parse(&topic, bytes).is_ok(), whole);
        assert!(CameraMessage::parse(&String::from_utf8_lossy(bytes), b"{}").is_err());
    });
}

#[test]
fn h19_cut_commands_are_survived() {
    let topic = format!("prod/honeycomb/{CAMERA}/stream/stop");
    let payload = format!(
        r#"{{"streamId":"67e55044-10b1-426f-9247-bb680e5fe0c8","pad":"{}"}}"#,
        "x".repeat(1400)
    );
    for_each_variant(&payload, |bytes, whole| {
        assert_eq!(Command::parse(&topic, bytes).is_ok(), whole);
    });
}

#[test]
fn h32_cut_and_changed_topics_name_no_camera_or_the_right_one() {
    let topic = format!("prod/device/connection/hive-cam/{CAMERA}");
    for_each_variant(&topic, |bytes, whole| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let parsed = CameraMessage::parse(text, b"{}");
        assert_eq!(parsed.is_ok(), whole);
        assert!(parsed.is_ok_and(|(camera, _)| camera.to_string() == CAMERA) || !whole);
    });
}
