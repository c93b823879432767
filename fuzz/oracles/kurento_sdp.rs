//! A media server's answer that is taken for a camera names the camera's own SSRCs and one address, and a browser's offer that
//! is taken is still an SDP, with no candidate that a server could not resolve.

use std::net::Ipv4Addr;

use apiary_wire::sdp::Document;
use apiary_wire::sdp::kurento::{CameraIdentity, camera_sdp, is_mdns, viewer_offer};
use apiary_wire::units::Ssrc;

pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let identity = CameraIdentity {
        audio_ssrc: Ssrc(1_111_111_111),
        video_ssrc: Ssrc(2_222_222_222),
        cname: "camera".to_owned(),
    };
    let address = Ipv4Addr::new(192, 0, 2, 1);
    if let Ok(sdp) = camera_sdp(text, &identity, Some(address)) {
        let document = Document::parse(&sdp.text).expect("what is edited is still an SDP");
        assert_eq!(document.line('c'), Some("IN IP4 192.0.2.1"));
        let video = document
            .media()
            .iter()
            .find(|media| media.attribute("x-skl-ssrcv").is_some())
            .expect("the picture's section is told its SSRC");
        assert_eq!(video.attribute("ssrc"), Some("2222222222 cname:camera"));
        assert_eq!(video.attributes("ssrc").count(), 1);
        assert!(sdp.video_port != 0 && sdp.audio_port != 0);
    }
    if let Ok(offer) = viewer_offer(text) {
        let document = Document::parse(&offer.text).expect("what is edited is still an SDP");
        let mut candidates = document.media().iter().flat_map(|media| media.candidates());
        assert!(!candidates.any(is_mdns));
        assert!(offer.text.len() <= text.len());
    }
}
