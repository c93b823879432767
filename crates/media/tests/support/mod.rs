//! What the engine's tests share: an engine on loopback, a camera and an independent viewer.
//!
//! Everything that is waited for has a deadline; nothing waits for time to pass.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses the part that it needs of what all share"
)]
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails, and waits for what it names"
)]

mod camera;
mod viewer;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use apiary_media::engine::{
    BitrateBounds, CandidateDelivery, EngineError, EngineEvent, JoinRequest, MediaEngine,
    OpenedStream, StreamSpec, StreamStats, ViewerGoneReason,
};
use apiary_media::sfu::{Sfu, SfuConfig};
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use apiary_wire::units::Bitrate;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

pub(crate) use camera::{Camera, Frame};
pub(crate) use viewer::{Viewer, offer};

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Every test's engine has an address of its own, so that fixed ports collide with nobody's.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(
        127,
        150 + NEXT.fetch_add(1, Ordering::Relaxed) % 100,
        high,
        low,
    )
}

pub(crate) fn camera_id(number: u8) -> CameraId {
    CameraId::from_bytes([number; 16])
}

pub(crate) fn stream_id(number: u8) -> StreamId {
    format!("00000000-0000-4000-8000-0000000000{number:02x}")
        .parse()
        .unwrap()
}

pub(crate) fn viewer_id(number: u8) -> ViewerId {
    format!("00000000-0000-4000-9000-0000000000{number:02x}")
        .parse()
        .unwrap()
}

/// An engine with a runtime for its control plane.
pub(crate) struct House {
    runtime: Runtime,
    pub(crate) sfu: Sfu,
    pub(crate) address: Ipv4Addr,
    events: broadcast::Receiver<EngineEvent>,
}

impl House {
    pub(crate) fn new(workers: usize) -> Self {
        Self::with(workers, 10, 0)
    }

    /// With ports for `cameras`, and a limit of viewers per stream (0: none).
    pub(crate) fn with(workers: usize, cameras: u16, max_viewers_per_stream: u32) -> Self {
        let address = own_address();
        let sfu = Sfu::start(SfuConfig {
            workers,
            udp_port: 0,
            bind: IpAddr::V4(address),
            advertised: vec![IpAddr::V4(address)],
            ingest_bind: IpAddr::V4(address),
            ingest_ports: 5_006..=5_005 + 4 * cameras,
            max_viewers_per_stream,
        })
        .unwrap();
        Self {
            runtime: Runtime::new().unwrap(),
            events: sfu.events(),
            sfu,
            address,
        }
    }

    /// What the engine's control plane answers.
    pub(crate) fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        self.runtime
            .block_on(async { tokio::time::timeout(DEADLINE, question).await })
            .expect("the engine answers in time")
    }

    pub(crate) fn spec(&self, number: u8) -> StreamSpec {
        StreamSpec {
            camera: camera_id(number),
            stream: stream_id(number),
            advertised: self.address,
            bitrate: BitrateBounds {
                min: Bitrate::from_kbps(500),
                max: Bitrate::from_kbps(5_000),
            },
        }
    }

    pub(crate) fn try_open(&self, number: u8) -> Result<OpenedStream, EngineError> {
        self.ask(self.sfu.open(self.spec(number)))
    }

    /// Opens a stream and has a camera for it that has sent nothing yet.
    pub(crate) fn open(&self, number: u8) -> Camera {
        let opened = self.try_open(number).unwrap();
        Camera::new(self.address, &opened)
    }

    pub(crate) fn try_join(
        &self,
        camera: u8,
        viewer: u8,
        offer: &str,
    ) -> Result<String, EngineError> {
        let request = JoinRequest {
            camera: camera_id(camera),
            viewer: viewer_id(viewer),
            offer: offer.to_owned(),
            candidates: CandidateDelivery::InAnswer,
        };
        self.ask(self.sfu.join(request)).map(|joined| joined.answer)
    }

    /// A viewer that has its answer and has not connected yet.
    pub(crate) fn join(&self, camera: u8, number: u8) -> Viewer {
        let mut viewer = Viewer::new(self.address);
        let answer = self.try_join(camera, number, viewer.offer()).unwrap();
        viewer.accept(&answer);
        viewer
    }

    /// The first event from now on of which `pick` gives something.
    pub(crate) fn wait_for<T>(&mut self, mut pick: impl FnMut(&EngineEvent) -> Option<T>) -> T {
        let events = &mut self.events;
        let wait = async {
            loop {
                if let Some(found) = pick(&events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        self.runtime
            .block_on(async { tokio::time::timeout(DEADLINE, wait).await })
            .expect("the event comes in time")
    }

    /// Why this viewer is gone, once it is.
    pub(crate) fn wait_gone(&mut self, number: u8) -> ViewerGoneReason {
        self.wait_for(|event| match event {
            EngineEvent::ViewerGone { viewer, reason, .. } if *viewer == viewer_id(number) => {
                Some(reason.clone())
            }
            _ => None,
        })
    }

    /// Once the camera's picture is flowing.
    pub(crate) fn wait_started(&mut self, number: u8) -> SocketAddr {
        self.wait_for(|event| match event {
            EngineEvent::RtpStarted { camera, source } if *camera == camera_id(number) => {
                Some(source.unwrap())
            }
            _ => None,
        })
    }

    pub(crate) fn stats(&self, camera: u8) -> StreamStats {
        self.ask(self.sfu.stream_stats(camera_id(camera))).unwrap()
    }

    /// RTP packets that the engine has sent to a viewer.
    pub(crate) fn sent_to(&self, viewer: u8) -> u64 {
        self.ask(self.sfu.viewer_stats(viewer_id(viewer)))
            .unwrap()
            .packets
    }

    /// Once the engine has sent a viewer as many packets.
    pub(crate) fn wait_sent(&self, viewer: u8, packets: u64) {
        self.ask(async {
            loop {
                let stats = self.sfu.viewer_stats(viewer_id(viewer)).await.unwrap();
                if stats.packets >= packets {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
    }

    /// Once the engine has read all that the camera sent.
    pub(crate) fn wait_read(&self, camera: u8, sender: &Camera) -> StreamStats {
        self.wait_stats(camera, |stats| {
            stats.packets + stats.dropped >= sender.sent.get()
        })
    }

    /// Asks for the counters until they are as wanted.
    pub(crate) fn wait_stats(
        &self,
        camera: u8,
        wanted: impl Fn(&StreamStats) -> bool,
    ) -> StreamStats {
        self.ask(async {
            loop {
                let stats = self.sfu.stream_stats(camera_id(camera)).await.unwrap();
                if wanted(&stats) {
                    return stats;
                }
                tokio::task::yield_now().await;
            }
        })
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.runtime.block_on(self.sfu.shutdown());
    }
}
