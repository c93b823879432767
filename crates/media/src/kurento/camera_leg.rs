//! The camera's side of a stream on a media server: a pipeline with an endpoint for plain RTP.
//!
//! The order matters: the bandwidth before the offer, for later it has no effect and the server's first estimates are at times
//! 30 to 90 Mbit/s; then the offer that the camera would have made; then the answer, edited, is for the camera.

use std::net::Ipv4Addr;
use std::sync::Arc;

use apiary_wire::id::{CameraId, StreamId};
use apiary_wire::kurento::{EventName, ObjectId, Operation, Request};
use apiary_wire::sdp::kurento::{AnswerRefusal, CameraIdentity, KurentoCameraSdp, camera_sdp};
use apiary_wire::units::Bitrate;
use futures_util::future::try_join_all;

use super::client::CallError;
use super::server::Server;
use crate::engine::{BitrateBounds, IngestPorts, OpenedStream, StreamSpec};
use crate::random::{hex, random, ssrcs};

/// What is told to a camera, and where its packets are awaited.
#[derive(Clone, Debug)]
pub(super) struct CameraLeg {
    pub(super) pipeline: ObjectId,
    pub(super) endpoint: ObjectId,
    camera_sdp: String,
    address: Ipv4Addr,
    ports: IngestPorts,
}

/// Why a leg cannot be had on a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum LegError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Answer(#[from] AnswerRefusal),
    #[error("its address is not known; set kurento.advertised")]
    NoAddress,
}

impl LegError {
    /// Whether another server could do it.
    pub(super) fn is_about_the_server(&self) -> bool {
        match self {
            Self::Call(error) => error.is_about_the_server(),
            Self::Answer(_) | Self::NoAddress => false,
        }
    }
}

impl CameraLeg {
    /// How the engine's caller is told.
    pub(super) fn to_opened(&self) -> OpenedStream {
        OpenedStream {
            camera_sdp: self.camera_sdp.clone(),
            address: self.address,
            ingest: self.ports,
            pipeline_id: self.pipeline.to_string(),
            rtp_endpoint_id: self.endpoint.to_string(),
        }
    }
}

/// Releases an object when it is dropped: what was begun and came to nothing, even when it was not waited for to its end.
pub(super) struct Unfinished {
    server: Arc<Server>,
    object: Option<ObjectId>,
}

impl Unfinished {
    pub(super) fn new(server: &Arc<Server>, object: &ObjectId) -> Self {
        Self {
            server: Arc::clone(server),
            object: Some(object.clone()),
        }
    }

    /// It came to something.
    pub(super) fn finish(mut self) {
        self.object = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.server.release(object);
        }
    }
}

/// Makes the leg of a new stream.
pub(super) async fn open(
    server: &Arc<Server>,
    spec: &StreamSpec,
    prefix: &str,
) -> Result<CameraLeg, LegError> {
    let name = pipeline_name(prefix, spec.camera, spec.stream);
    let create = Request::CreatePipeline { name: name.clone() };
    let pipeline = server.client.create(create).await?;
    let unfinished = Unfinished::new(server, &pipeline);
    // Not all versions take the name when it is created, and by its name it is found when all else is forgotten.
    server
        .client
        .invoke(&pipeline, Operation::SetName(name))
        .await?;
    let leg = add_endpoint(server, pipeline, spec.advertised, spec.bitrate).await?;
    unfinished.finish();
    Ok(leg)
}

/// What our pipelines are called: `{prefix}/{camera}/{stream}`.
fn pipeline_name(prefix: &str, camera: CameraId, stream: StreamId) -> String {
    format!("{prefix}/{camera}/{stream}")
}

/// Makes another endpoint in the pipeline: an endpoint takes one offer in its life.
pub(super) async fn add_endpoint(
    server: &Arc<Server>,
    pipeline: ObjectId,
    advertised: Ipv4Addr,
    bitrate: BitrateBounds,
) -> Result<CameraLeg, LegError> {
    let client = &server.client;
    let create = Request::CreateRtpEndpoint {
        pipeline: pipeline.clone(),
    };
    let endpoint = client.create(create).await?;
    let unfinished = Unfinished::new(server, &endpoint);
    let (min, max) = (kbps(bitrate.min), kbps(bitrate.max));
    tokio::try_join!(
        async {
            // The maximum first: a minimum above it is taken for it.
            client
                .invoke(&endpoint, Operation::SetMaxVideoRecvBandwidth(max))
                .await?;
            client
                .invoke(&endpoint, Operation::SetMinVideoRecvBandwidth(min))
                .await
        },
        subscribe_all(server, &endpoint),
    )?;
    let identity = identity();
    let offer = identity.to_offer().to_string();
    let answer = client
        .invoke_for_text(&endpoint, Operation::ProcessOffer(offer))
        .await?;
    let advertised = server.advertised(advertised);
    let KurentoCameraSdp {
        text,
        server_address,
        video_port,
        audio_port,
    } = camera_sdp(&answer, &identity, advertised)?;
    let address = advertised.or(server_address).ok_or(LegError::NoAddress)?;
    unfinished.finish();
    Ok(CameraLeg {
        pipeline,
        endpoint,
        camera_sdp: text,
        address,
        ports: IngestPorts {
            video: video_port,
            audio: audio_port,
        },
    })
}

/// The server's counters tell most of what these do, only later.
async fn subscribe_all(server: &Server, endpoint: &ObjectId) -> Result<(), CallError> {
    let events = [
        EventName::MediaFlowInStateChanged,
        EventName::MediaFlowOutStateChanged,
        EventName::Error,
    ];
    let subscribing = events.map(|event| server.subscribe_if_known(endpoint, event));
    try_join_all(subscribing).await?;
    Ok(())
}

fn identity() -> CameraIdentity {
    let [video_ssrc, audio_ssrc] = ssrcs();
    CameraIdentity {
        audio_ssrc,
        video_ssrc,
        cname: hex(&random::<8>()),
    }
}

/// In kbit/s, rounded up: 0 would mean no limit.
pub(super) fn kbps(bitrate: Bitrate) -> u32 {
    u32::try_from(bitrate.as_bps().div_ceil(1000)).unwrap_or(u32::MAX)
}
