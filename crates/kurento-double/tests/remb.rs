//! Reports and estimates on their way back to the camera, as a real server was seen to send them.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails"
)]

mod support;

use std::time::Instant;

use serde_json::json;
use support::{
    Camera, Codecs, DEADLINE, Feedback, Frame, Stage, VIDEO_SSRC, Viewer, stats_of, watching,
};

#[test]
fn nothing_comes_back_before_a_report() {
    let mut stage = Stage::new();
    let mut camera = stage.camera();
    stage
        .client
        .subscribe(&stage.rtp, "MediaFlowOutStateChanged");
    camera.send(&Frame::idr(1));
    // It has had its picture, and half a second passes more than once until it flows no more.
    stage
        .client
        .wait_state("MediaFlowOutStateChanged", "state", "NOT_FLOWING");
    assert_eq!(camera.poll(), None);
    let (sender, about) = camera.wait("a report", |packets| match packets {
        [Feedback::Report { sender, about }, Feedback::Cname, ..] => Some((*sender, *about)),
        other => panic!("{other:?}"),
    });
    assert_eq!(about, Some(VIDEO_SSRC));
    assert_ne!(sender, VIDEO_SSRC);
}

#[test]
fn reports_are_taken_on_the_port_of_rtp_too() {
    let mut stage = Stage::new();
    let mut camera = stage.camera();
    stage
        .client
        .subscribe(&stage.rtp, "MediaFlowOutStateChanged");
    camera.send(&Frame::idr(1));
    stage
        .client
        .wait_state("MediaFlowOutStateChanged", "state", "FLOWING");
    camera.send_report(0);
    let deadline = Instant::now() + DEADLINE;
    let from = loop {
        assert!(Instant::now() < deadline, "no report");
        if let Some((_, from)) = camera.poll() {
            break from;
        }
    };
    assert_eq!(from, camera.video_rtcp());
}

#[test]
fn a_remb_names_the_offered_source_and_grows() {
    let mut stage = Stage::new();
    let mut camera = stage.camera();
    let (sender, first) = camera.wait("a REMB", |packets| match packets {
        [
            Feedback::Report {
                sender: reporter, ..
            },
            Feedback::Cname,
            Feedback::Remb { sender, bps, ssrcs },
        ] => {
            assert_eq!(reporter, sender);
            assert_eq!(ssrcs, &[VIDEO_SSRC]);
            Some((*sender, *bps))
        }
        _ => None,
    });
    let answer = stage
        .client
        .invoke(&stage.rtp, "getLocalSessionDescriptor", json!({}));
    let own = format!("a=ssrc:{} cname:", sender.0);
    assert!(answer.as_str().unwrap().contains(&own), "{answer}");
    let second = camera.wait_remb();
    let third = camera.wait_remb();
    assert!(
        first < second && second < third,
        "{first}, {second}, {third}"
    );
    // 4 % more each time; what a REMB can say is rounded.
    let growth = second as f64 / first as f64;
    assert!((1.03..1.05).contains(&growth), "{first}, {second}");
}

#[test]
fn a_cap_holds_from_the_first_remb_if_it_was_set_before_the_offer() {
    let mut stage = Stage::with(|options| options.wild_first_remb = true);
    set_max_recv(&mut stage, 600);
    let mut camera = stage.camera();
    assert_eq!(camera.wait_remb(), 600_000);
    assert_eq!(camera.wait_remb(), 600_000);
}

#[test]
fn a_cap_that_comes_late_holds_nothing() {
    let mut stage = Stage::with(|options| options.wild_first_remb = true);
    let mut camera = stage.camera();
    set_max_recv(&mut stage, 600);
    let wild = camera.wait_remb();
    assert!((59_000_000..=60_000_000).contains(&wild), "{wild}");
}

#[test]
fn some_offers_get_no_remb() {
    let without = |line: &str| support::offer().replace(line, "");
    for offer in [
        without("a=rtcp-fb:103 goog-remb\r\n"),
        without("a=ssrc:22222222 cname:camera\r\n"),
        support::offer().replace("RTP/AVPF", "RTP/AVP"),
    ] {
        let mut stage = Stage::new();
        let mut camera = stage.camera_with(&offer);
        let reports = std::cell::Cell::new(0);
        camera.wait("reports", |packets| {
            assert!(
                !packets
                    .iter()
                    .any(|packet| matches!(packet, Feedback::Remb { .. })),
                "{packets:?} for {offer}"
            );
            reports.set(reports.get() + 1);
            (reports.get() == 2).then_some(())
        });
    }
}

#[test]
fn rtcp_goes_at_once_where_the_offer_says() {
    let mut stage = Stage::new();
    let socket = std::net::UdpSocket::bind((stage.address, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let offer = support::offer()
        .replace("a=direction:active\r\n", "")
        .replace("c=IN IP4 0.0.0.0", &format!("c=IN IP4 {}", stage.address))
        .replace("m=video 9 ", &format!("m=video {} ", port - 1));
    stage.camera_with(&offer);
    let mut buffer = [0; 2_000];
    socket
        .recv_from(&mut buffer)
        .expect("a report without any RTP");
}

#[test]
fn a_viewer_holds_the_remb_down_until_it_asks_for_more() {
    let mut stage = Stage::with(|options| options.wild_first_remb = true);
    let mut camera = stage.camera();
    camera.wait_remb();
    let (mut viewer, endpoint) = watching(&mut stage, &mut camera);
    wait_for_remb(&mut camera, 300_000);
    // Less than what is taken for granted at the start changes nothing.
    let steps = [(200_000, 300_000), (350_000, 350_000), (200_000, 200_000)];
    for (asked, expected) in steps {
        let sent = stats_of(&mut stage.client, &endpoint, "outboundrtp")["remb"].clone();
        viewer.send_remb(asked);
        viewer.run_until("the REMB has arrived", |_| {
            camera.send(&Frame::delta(1));
            stats_of(&mut stage.client, &endpoint, "outboundrtp")["remb"] != sent
        });
        wait_for_remb(&mut camera, expected);
    }
    viewer.send_remb(5_000_000);
    run_until_remb(&mut viewer, &mut camera, 500_000);
    let params = json!({ "maxVideoSendBandwidth": 0 });
    stage
        .client
        .invoke(&endpoint, "setMaxVideoSendBandwidth", params);
    wait_for_remb(&mut camera, 5_000_000);
    stage.client.call("release", json!({ "object": endpoint }));
    camera.wait("the endpoint's own again", |packets| {
        packets.iter().find_map(|packet| match packet {
            Feedback::Remb { bps, .. } => (*bps > 50_000_000).then_some(()),
            _ => None,
        })
    });
}

#[test]
fn what_a_viewer_is_taken_for_at_first_can_be_set() {
    let mut stage = Stage::with(|options| options.wild_first_remb = true);
    let mut camera = stage.camera();
    let (viewer, endpoint) = stage.viewer(Codecs::H264);
    let params = json!({ "rembParams": { "rembOnConnect": 450_000 } });
    stage.client.invoke(&endpoint, "setRembParams", params);
    let mut viewer = viewer;
    viewer.connect();
    wait_for_remb(&mut camera, 450_000);
}

#[test]
fn the_least_of_all_viewers_counts() {
    let mut stage = Stage::with(|options| options.wild_first_remb = true);
    let mut camera = stage.camera();
    camera.wait_remb();
    let (mut first, endpoint) = watching(&mut stage, &mut camera);
    first.send_remb(450_000);
    run_until_remb(&mut first, &mut camera, 450_000);
    let (_second, _) = watching(&mut stage, &mut camera);
    wait_for_remb(&mut camera, 300_000);
    let params = json!({ "maxVideoSendBandwidth": 200 });
    stage
        .client
        .invoke(&endpoint, "setMaxVideoSendBandwidth", params);
    wait_for_remb(&mut camera, 200_000);
}

/// Until one says this much; what 18 bits of mantissa cannot say is cut off.
#[track_caller]
fn wait_for_remb(camera: &mut Camera, expected: u64) {
    camera.wait(&format!("a REMB of {expected}"), |packets| {
        packets.iter().find_map(|packet| is_remb(packet, expected))
    });
}

fn is_remb(packet: &Feedback, expected: u64) -> Option<()> {
    match packet {
        Feedback::Remb { bps, .. } => (bps.abs_diff(expected) < 100).then_some(()),
        _ => None,
    }
}

#[track_caller]
fn run_until_remb(viewer: &mut Viewer, camera: &mut Camera, expected: u64) {
    viewer.run_until("a REMB", |_| {
        camera.send(&Frame::delta(1));
        let packets = camera
            .poll()
            .map(|(packets, _)| packets)
            .unwrap_or_default();
        packets
            .iter()
            .any(|packet| is_remb(packet, expected).is_some())
    });
}

fn set_max_recv(stage: &mut Stage, kbps: i64) {
    let params = json!({ "maxVideoRecvBandwidth": kbps });
    stage
        .client
        .invoke(&stage.rtp, "setMaxVideoRecvBandwidth", params);
}
