//! An SDP that the firmware takes can be written by the gateway, and is taken again with the same values.

use apiary_wire::sdp::{AcceptedSdp, CameraSdp, CameraSdpRules};

pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(accepted) = CameraSdpRules::accept(text) else {
        return;
    };
    let sdp = CameraSdp {
        session_id: u64::MAX,
        version: 0,
        address: accepted.address,
        audio_port: accepted.audio_port,
        video_port: accepted.video_port,
        audio_ssrc: accepted.audio_ssrc,
        video_ssrc: accepted.video_ssrc,
        cname: accepted.cname.clone(),
    };
    let expected = AcceptedSdp {
        audio_rtcp_port: accepted.audio_port.saturating_add(1),
        video_rtcp_port: accepted.video_port.saturating_add(1),
        passive: true,
        ..accepted
    };
    assert_eq!(CameraSdpRules::accept(&sdp.to_string()), Ok(expected));
}
