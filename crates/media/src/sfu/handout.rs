//! What is handed out: SSRCs and names for a camera, SSRCs and credentials for a viewer.

use std::net::Ipv4Addr;

use apiary_core::ingest::{
    BitrateBounds, FeedbackConfig, IngestConfig, TrackConfig, TrackKind, ViewerPolicy,
};
use apiary_core::viewer::offer::IceCredentials;
use apiary_wire::sdp::{CameraSdp, camera};

use super::message::ViewerSsrcs;
use crate::engine::IngestPorts;
use crate::random::{hex, random, ssrcs};

/// Fresh ICE credentials: 32 bits that name the session, 128 that prove it (RFC 8445 §5.3).
pub(super) fn ice_credentials() -> IceCredentials {
    IceCredentials {
        ufrag: hex(&random::<4>()),
        pwd: hex(&random::<16>()),
    }
}

/// Fresh SSRCs for a viewer.
pub(super) fn viewer_ssrcs() -> ViewerSsrcs {
    let [video, rtx, audio] = ssrcs();
    ViewerSsrcs {
        video,
        rtx,
        audio,
        first_sequence: u16::from_be_bytes(random()) & 0x7fff,
    }
}

/// What the camera is told, and what its packets must then look like.
pub(super) struct CameraHandOut {
    pub(super) sdp: String,
    pub(super) ingest: IngestConfig,
}

/// Fresh SSRCs and a fresh CNAME for a run of a camera.
pub(super) fn camera(
    advertised: Ipv4Addr,
    ports: IngestPorts,
    bounds: BitrateBounds,
) -> CameraHandOut {
    let [video, audio, own] = ssrcs();
    let cname = hex(&random::<8>());
    let sdp = CameraSdp {
        session_id: u64::from(u32::from_be_bytes(random())),
        version: 1,
        address: advertised,
        audio_port: ports.audio,
        video_port: ports.video,
        audio_ssrc: audio,
        video_ssrc: video,
        cname: cname.clone(),
    };
    let track = |kind, ssrc, payload_types: &[_]| TrackConfig {
        kind,
        ssrc,
        payload_types: payload_types.iter().copied().collect(),
    };
    let ingest = IngestConfig {
        video: track(
            TrackKind::Video,
            video,
            &[(camera::H264, camera::H264_CLOCK_RATE)],
        ),
        audio: track(
            TrackKind::Audio,
            audio,
            &[
                (camera::OPUS, camera::OPUS_CLOCK_RATE),
                (camera::PCMU, camera::PCMU_CLOCK_RATE),
            ],
        ),
        feedback: FeedbackConfig {
            sender_ssrc: own,
            cname: "apiary".to_owned(),
        },
        bounds,
        policy: ViewerPolicy::Median,
    };
    CameraHandOut {
        sdp: sdp.to_string(),
        ingest,
    }
}
