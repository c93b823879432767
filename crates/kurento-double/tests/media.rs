//! Media through the double: from a camera to a viewer, and what goes back to the camera.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails"
)]

mod support;

use std::net::Ipv4Addr;
use std::time::Instant;

use apiary_kurento_double::{KurentoDouble, Options};
use serde_json::{Value, json};
use support::{Camera, Client, Codecs, DEADLINE, Feedback, Frame, VIDEO_SSRC, Viewer, own_address};

/// A double with a pipeline and an RtpEndpoint in it, and a client that made them.
struct Stage {
    address: Ipv4Addr,
    double: KurentoDouble,
    client: Client,
    pipeline: String,
    rtp: String,
}

impl Stage {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Self {
        let address = own_address();
        let mut options = Options::at(address);
        change(&mut options);
        let double = KurentoDouble::start(options).unwrap();
        let mut client = Client::connect(&double.url());
        let pipeline = client.create("MediaPipeline", None);
        let rtp = client.create("RtpEndpoint", Some(&pipeline));
        Self {
            address,
            double,
            client,
            pipeline,
            rtp,
        }
    }

    fn camera(&mut self) -> Camera {
        self.camera_with(&support::offer())
    }

    fn camera_with(&mut self, offer: &str) -> Camera {
        let answer = self
            .client
            .invoke(&self.rtp, "processOffer", json!({ "offer": offer }));
        Camera::new(self.address, answer.as_str().unwrap())
    }

    /// A viewer that has its answer and candidates, and the endpoint that serves it.
    fn viewer(&mut self, codecs: Codecs) -> (Viewer, String) {
        let mut viewer = Viewer::new(self.address, codecs);
        let client = &mut self.client;
        let endpoint = client.create("WebRtcEndpoint", Some(&self.pipeline));
        for event in [
            "IceCandidateFound",
            "IceGatheringDone",
            "IceComponentStateChanged",
            "NewCandidatePairSelected",
            "DtlsConnectionStateChange",
            "ConnectionStateChanged",
            "MediaStateChanged",
            "MediaFlowInStateChanged",
        ] {
            client.subscribe(&endpoint, event);
        }
        client.invoke(&self.rtp, "connect", json!({ "sink": endpoint }));
        let offer = json!({ "offer": viewer.offer });
        let answer = client.invoke(&endpoint, "processOffer", offer);
        viewer.accept(answer.as_str().unwrap());
        client.invoke(&endpoint, "gatherCandidates", json!({}));
        client.wait_event("IceGatheringDone", |_| Some(()));
        for event in client.events.drain(..) {
            if let Some(candidate) = event["data"]["candidate"]["candidate"].as_str() {
                viewer.add_candidate(candidate);
            }
        }
        (viewer, endpoint)
    }
}

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

/// Reports and estimates on their way back, as the recorded server sent them.
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

fn set_max_recv(stage: &mut Stage, kbps: i64) {
    let params = json!({ "maxVideoRecvBandwidth": kbps });
    stage
        .client
        .invoke(&stage.rtp, "setMaxVideoRecvBandwidth", params);
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

/// A viewer that is connected and sees the camera's picture.
fn watching(stage: &mut Stage, camera: &mut Camera) -> (Viewer, String) {
    let (mut viewer, endpoint) = stage.viewer(Codecs::H264);
    viewer.connect();
    viewer.run_until("a picture", |viewer| {
        camera.send(&Frame::idr(1));
        !viewer.frames.is_empty()
    });
    (viewer, endpoint)
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

#[track_caller]
fn stats_of(client: &mut Client, object: &str, kind: &str) -> Value {
    let stats = client.invoke(object, "getStats", json!({ "mediaType": "VIDEO" }));
    let entries = stats
        .as_object()
        .into_iter()
        .flat_map(|entries| entries.values());
    let mut of_it = entries.filter(|entry| entry["type"] == kind);
    of_it.next().cloned().unwrap_or_default()
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
