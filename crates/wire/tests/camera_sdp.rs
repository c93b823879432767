//! The SDP for cameras against the golden file, byte for byte: firmware cannot be changed, so neither may this.

use std::net::Ipv4Addr;

use apiary_wire::Ssrc;
use apiary_wire::sdp::{CameraSdp, CameraSdpRules, Document};

const GOLDEN: &str = include_str!("golden/camera.sdp");

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

#[test]
fn the_camera_sdp_is_the_golden_file() {
    assert_eq!(sdp().to_string(), GOLDEN);
    assert_eq!(GOLDEN.matches('\n').count(), GOLDEN.matches("\r\n").count());
    assert_eq!(Document::parse(GOLDEN).unwrap(), sdp().to_document());
}

#[test]
fn the_firmware_takes_the_golden_file() {
    let accepted = CameraSdpRules::accept(GOLDEN).unwrap();
    assert_eq!(
        (accepted.video_ssrc, accepted.video_rtcp_port),
        (Ssrc(2_222_222_222), 5007)
    );
    assert!(accepted.passive);
}
