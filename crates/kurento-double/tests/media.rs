//! Media through the double: from a camera to a viewer, and requests for key frames back to the camera.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails"
)]

mod support;

use serde_json::json;
use support::{Codecs, Feedback, Frame, Stage, VIDEO_SSRC, stats_of, watching};

#[test]
fn a_viewer_gets_the_cameras_picture_and_sound() {
    let mut stage = Stage::new();
    stage
        .client
        .subscribe(&stage.rtp, "MediaFlowOutStateChanged");
    stage.client.subscribe(&stage.rtp, "MediaStateChanged");
    let mut camera = stage.camera();
    camera.send(&Frame::delta(1));
    stage
        .client
        .wait_state("MediaStateChanged", "newState", "CONNECTED");
    stage.client.wait_event("MediaFlowOutStateChanged", |data| {
        (data["state"] == "FLOWING" && data["mediaType"] == "VIDEO").then_some(())
    });
    let (mut viewer, endpoint) = stage.viewer(Codecs::H264);
    viewer.connect();
    stage
        .client
        .wait_state("ConnectionStateChanged", "newState", "CONNECTED");
    let mut number = 0;
    viewer.run_until("a picture and a sound", |viewer| {
        number += 1;
        camera.send(&Frame::idr(number));
        camera.send_sound(&[1, 2, 3, number]);
        !viewer.frames.is_empty() && !viewer.sounds.is_empty()
    });
    let sent: Vec<_> = (1..=number).map(Frame::idr).collect();
    assert!(viewer.frames.iter().all(|frame| sent.contains(frame)));
    assert_eq!(viewer.sounds[0][..3], [1, 2, 3]);
    let connected = stage
        .client
        .invoke(&endpoint, "getConnectionState", json!({}));
    assert_eq!(connected, "CONNECTED");
    assert_eq!(stage.double.transcoding_viewers(), 0);
}

#[test]
fn joining_asks_for_an_idr_with_each_picture_until_one_comes() {
    for (offer, fir) in [
        (support::offer(), true),
        (
            support::offer().replace("a=rtcp-fb:103 ccm fir\r\n", ""),
            false,
        ),
    ] {
        let mut stage = Stage::new();
        let mut camera = stage.camera_with(&offer);
        camera.wait("feedback", |_| Some(()));
        let (mut viewer, _) = stage.viewer(Codecs::H264);
        viewer.connect();
        let asks = |packet: &Feedback| match packet {
            Feedback::Fir(ssrcs) => fir && ssrcs == &[VIDEO_SSRC],
            Feedback::Pli(ssrc) => !fir && *ssrc == VIDEO_SSRC,
            _ => false,
        };
        for _ in 0..2 {
            camera.wait("a request", |packets| {
                packets.iter().any(asks).then_some(())
            });
        }
        // The request that the viewer itself sends when it sees no picture is over with the picture too.
        viewer.run_until("the picture", |viewer| {
            camera.send(&Frame::idr(2));
            while camera.poll().is_some() {}
            !viewer.frames.is_empty()
        });
        let stats = stats_of(&mut stage.client, &stage.rtp, "inboundrtp");
        let count = if fir { "firCount" } else { "pliCount" };
        assert!(stats[count].as_u64().unwrap() >= 2, "{stats}");
    }
}

#[test]
fn a_key_frame_can_be_requested_for_a_viewer_alone() {
    let mut stage = Stage::new();
    let mut camera = stage.camera();
    let (mut viewer, endpoint) = watching(&mut stage, &mut camera);
    camera.wait("feedback", |_| Some(()));
    stage.client.invoke(&endpoint, "requestKeyframe", json!({}));
    let is_fir = |packet: &Feedback| matches!(packet, Feedback::Fir(_));
    camera.wait("a FIR", |packets| packets.iter().any(is_fir).then_some(()));
    // An IDR ends it, and the viewer's own request begins it anew.
    camera.send(&Frame::idr(3));
    viewer.run_until("the IDR", |viewer| viewer.frames.contains(&Frame::idr(3)));
    while camera.poll().is_some() {}
    viewer.request_key_frame();
    viewer.run_until("another FIR", |_| {
        camera.send(&Frame::delta(4));
        camera
            .poll()
            .is_some_and(|(packets, _)| packets.iter().any(is_fir))
    });
    let params = json!({ "object": stage.rtp, "operation": "requestKeyframe" });
    assert_eq!(stage.client.error("invoke", params).0, 40_111);
}

#[test]
fn media_goes_on_while_the_server_is_frozen() {
    let mut stage = Stage::new();
    let mut camera = stage.camera();
    let (mut viewer, _) = watching(&mut stage, &mut camera);
    stage.double.freeze();
    viewer.run_until("another picture", |viewer| {
        camera.send(&Frame::idr(9));
        viewer.frames.contains(&Frame::idr(9))
    });
    assert!(camera.wait_remb() > 0);
}

#[test]
fn a_viewer_whose_first_codec_is_another_sees_nothing_and_is_counted() {
    let mut stage = Stage::new();
    let mut camera = stage.camera();
    let (mut viewer, endpoint) = stage.viewer(Codecs::Vp8AndH264);
    viewer.connect();
    viewer.run_until("sound", |viewer| {
        camera.send(&Frame::idr(1));
        camera.send_sound(&[1, 2, 3]);
        viewer.sounds.len() > 3
    });
    let video = stats_of(&mut stage.client, &endpoint, "outboundrtp");
    assert!(video.is_null(), "{video}");
    assert_eq!(stage.double.transcoding_viewers(), 1);
}

#[test]
fn a_viewer_that_leaves_is_noticed() {
    let mut stage = Stage::new();
    let mut camera = stage.camera();
    let (mut viewer, _) = watching(&mut stage, &mut camera);
    stage
        .client
        .wait_state("ConnectionStateChanged", "newState", "CONNECTED");
    viewer.leave();
    stage
        .client
        .wait_state("IceComponentStateChanged", "state", "FAILED");
    stage
        .client
        .wait_state("ConnectionStateChanged", "newState", "DISCONNECTED");
}

#[test]
fn a_viewer_that_falls_silent_is_noticed_too() {
    let mut stage = Stage::new();
    let mut camera = stage.camera();
    let (viewer, _) = watching(&mut stage, &mut camera);
    drop(viewer);
    stage
        .client
        .wait_state("IceComponentStateChanged", "state", "FAILED");
    stage
        .client
        .wait_state("ConnectionStateChanged", "newState", "DISCONNECTED");
}

#[test]
fn statistics_are_there_once_there_is_media() {
    let mut stage = Stage::new();
    let mut camera = stage.camera();
    let none = stage.client.invoke(&stage.rtp, "getStats", json!({}));
    assert!(none.is_null(), "{none}");
    let (_viewer, endpoint) = watching(&mut stage, &mut camera);
    camera.wait_remb();
    let inbound = stats_of(&mut stage.client, &stage.rtp, "inboundrtp");
    assert_eq!(inbound["ssrc"], VIDEO_SSRC.0.to_string());
    assert_eq!(inbound["packetsLost"], 0);
    for count in ["packetsReceived", "bytesReceived", "remb"] {
        assert!(inbound[count].as_u64().unwrap() > 0, "{count}: {inbound}");
    }
    let outbound = stats_of(&mut stage.client, &endpoint, "outboundrtp");
    assert!(outbound["packetsSent"].as_u64().unwrap() > 0, "{outbound}");
    let audio = json!({ "mediaType": "AUDIO" });
    let none = stage.client.invoke(&stage.rtp, "getStats", audio);
    assert!(none.is_null(), "{none}");
}
