//! A double with a camera's pipeline, for tests of media.

use std::net::Ipv4Addr;

use apiary_kurento_double::{KurentoDouble, Options};
use serde_json::{Value, json};

use super::{Camera, Client, Codecs, Frame, Viewer, offer, own_address};

/// A double with a pipeline and an RtpEndpoint in it, and a client that made them.
pub(crate) struct Stage {
    pub(crate) address: Ipv4Addr,
    pub(crate) double: KurentoDouble,
    pub(crate) client: Client,
    pub(crate) pipeline: String,
    pub(crate) rtp: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
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

    pub(crate) fn camera(&mut self) -> Camera {
        self.camera_with(&offer())
    }

    pub(crate) fn camera_with(&mut self, offer: &str) -> Camera {
        let answer = self
            .client
            .invoke(&self.rtp, "processOffer", json!({ "offer": offer }));
        Camera::new(self.address, answer.as_str().unwrap())
    }

    /// A viewer that has its answer and candidates, and the endpoint that serves it.
    pub(crate) fn viewer(&mut self, codecs: Codecs) -> (Viewer, String) {
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

/// A viewer that is connected and sees the camera's picture.
pub(crate) fn watching(stage: &mut Stage, camera: &mut Camera) -> (Viewer, String) {
    let (mut viewer, endpoint) = stage.viewer(Codecs::H264);
    viewer.connect();
    viewer.run_until("a picture", |viewer| {
        camera.send(&Frame::idr(1));
        !viewer.frames.is_empty()
    });
    (viewer, endpoint)
}

#[track_caller]
pub(crate) fn stats_of(client: &mut Client, object: &str, kind: &str) -> Value {
    let stats = client.invoke(object, "getStats", json!({ "mediaType": "VIDEO" }));
    let entries = stats
        .as_object()
        .into_iter()
        .flat_map(|entries| entries.values());
    let mut of_it = entries.filter(|entry| entry["type"] == kind);
    of_it.next().cloned().unwrap_or_default()
}
