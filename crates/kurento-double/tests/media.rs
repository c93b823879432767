//! Media through the double: from a camera to a viewer, and what goes back to the camera.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails"
)]

mod support;

use std::net::Ipv4Addr;

use apiary_kurento_double::{KurentoDouble, Options};
use serde_json::json;
use support::{Camera, Client, Codecs, Frame, Viewer, own_address};

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
