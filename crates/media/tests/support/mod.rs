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
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use apiary_kurento_double::{KurentoDouble, Options};
use apiary_media::engine::{
    BitrateBounds, CandidateDelivery, EngineError, EngineEvent, EngineHealth, JoinRequest,
    JoinedViewer, MediaEngine, OpenedStream, StreamSpec, StreamStats, ViewerGoneReason,
};
use apiary_media::kurento::{Kurento, KurentoConfig, ServerAddress, ServerSpec};
use apiary_media::sfu::{Sfu, SfuConfig};
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use apiary_wire::units::Bitrate;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

pub(crate) use camera::{Camera, Frame};
pub(crate) use viewer::{Viewer, offer};

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

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

/// Pictures come until the viewer has seen this one; key frames all of them, since not every engine remembers the last.
#[track_caller]
pub(crate) fn show(camera: &mut Camera, viewer: &mut Viewer, frame: &Frame) {
    let mut due = Instant::now();
    viewer.run_until("the picture", |viewer| {
        if Instant::now() >= due {
            camera.send(frame);
            camera.send_sound(b"a bit of sound");
            due = Instant::now() + Duration::from_millis(30);
        }
        viewer.frames.contains(frame)
    });
}

/// A media server of a pool.
pub(crate) fn spec_of(url: &str) -> ServerSpec {
    let authority = url.strip_prefix("ws://").unwrap();
    let (authority, path) = authority.split_once('/').unwrap();
    let (host, port) = authority.rsplit_once(':').unwrap();
    ServerSpec::new(ServerAddress {
        url: url.to_owned(),
        tls: false,
        host: host.to_owned(),
        port: port.parse().unwrap(),
        path: format!("/{path}"),
    })
}

/// An engine with a runtime for its control plane.
pub(crate) struct House {
    runtime: Runtime,
    pub(crate) engine: Arc<dyn MediaEngine>,
    pub(crate) address: Ipv4Addr,
    events: broadcast::Receiver<EngineEvent>,
    /// The pool, where that is the engine.
    pub(crate) kurento: Option<Arc<Kurento>>,
    /// Its servers.
    pub(crate) servers: Vec<KurentoDouble>,
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
            engine: Arc::new(sfu),
            address,
            kurento: None,
            servers: Vec::new(),
        }
    }

    /// With a pool of media servers, all of them connected.
    pub(crate) fn kurento(servers: usize) -> Self {
        let house = Self::kurento_with(servers, |_, _| {}, |_| {});
        house.wait_ready(servers);
        house
    }

    /// With a pool of media servers that are not waited for.
    pub(crate) fn kurento_with(
        servers: usize,
        server: impl Fn(usize, &mut Options),
        pool: impl FnOnce(&mut KurentoConfig),
    ) -> Self {
        let address = own_address();
        let servers: Vec<KurentoDouble> = (0..servers)
            .map(|number| {
                let mut options = Options::at(address);
                server(number, &mut options);
                KurentoDouble::start(options).unwrap()
            })
            .collect();
        let specs = servers.iter().map(|server| spec_of(&server.url()));
        let mut config = KurentoConfig {
            servers: specs.collect(),
            tls: None,
            pipeline_prefix: "apiary".to_owned(),
            request_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(2),
            failover_after: Duration::from_secs(4),
            max_viewers_per_stream: 0,
        };
        pool(&mut config);
        let runtime = Runtime::new().unwrap();
        let kurento = {
            let _inside = runtime.enter();
            Arc::new(Kurento::start(config))
        };
        Self {
            events: kurento.events(),
            engine: Arc::clone(&kurento) as Arc<dyn MediaEngine>,
            runtime,
            address,
            kurento: Some(kurento),
            servers,
        }
    }

    /// Once so many media servers are connected and take streams.
    pub(crate) fn wait_ready(&self, servers: usize) {
        self.wait_health(|health| {
            let ready = health.servers.iter();
            let ready = ready.filter(|server| server.connected);
            ready.count() == servers && health.trouble.is_none()
        });
    }

    /// Asks for the engine's health until it is as wanted.
    pub(crate) fn wait_health(&self, wanted: impl Fn(&EngineHealth) -> bool) -> EngineHealth {
        self.until("the health", || Some(self.engine.health()).filter(&wanted))
    }

    /// A camera sends pictures until there is something to be seen of it.
    #[track_caller]
    pub(crate) fn until_sending<T>(
        &self,
        camera: &mut Camera,
        mut look: impl FnMut(&mut Camera) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            camera.send(&Frame::idr(1));
            if let Some(found) = look(camera) {
                return found;
            }
            assert!(Instant::now() < deadline, "not in time");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Looks until there is something.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(2));
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
        self.ask(self.engine.open(self.spec(number)))
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
        self.try_join_with(camera, viewer, offer, CandidateDelivery::InAnswer)
            .map(|joined| joined.answer)
    }

    pub(crate) fn try_join_with(
        &self,
        camera: u8,
        viewer: u8,
        offer: &str,
        candidates: CandidateDelivery,
    ) -> Result<JoinedViewer, EngineError> {
        let request = JoinRequest {
            camera: camera_id(camera),
            viewer: viewer_id(viewer),
            offer: offer.to_owned(),
            candidates,
            may_talk: false,
        };
        self.ask(self.engine.join(request))
    }

    /// A viewer that is connected and offered to speak, whether it may or not.
    pub(crate) fn join_who_speaks(&self, camera: u8, number: u8, may_talk: bool) -> Viewer {
        let mut viewer = Viewer::who_speaks(self.address);
        let request = JoinRequest {
            camera: camera_id(camera),
            viewer: viewer_id(number),
            offer: viewer.offer().to_owned(),
            candidates: CandidateDelivery::InAnswer,
            may_talk,
        };
        let joined = self.ask(self.engine.join(request)).unwrap();
        viewer.accept(&joined.answer);
        viewer.connect();
        viewer
    }

    /// A viewer that has its answer and has not connected yet.
    pub(crate) fn join(&self, camera: u8, number: u8) -> Viewer {
        let mut viewer = Viewer::new(self.address);
        let answer = self.try_join(camera, number, viewer.offer()).unwrap();
        viewer.accept(&answer);
        viewer
    }

    /// A camera and a viewer who sees its picture.
    pub(crate) fn watched(&self, number: u8) -> (Camera, Viewer) {
        let mut camera = self.open(number);
        let mut viewer = self.join(number, number);
        viewer.connect();
        show(&mut camera, &mut viewer, &Frame::idr(number));
        (camera, viewer)
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
    pub(crate) fn wait_started(&mut self, number: u8) -> Option<SocketAddr> {
        self.wait_for(|event| match event {
            EngineEvent::RtpStarted { camera, source } if *camera == camera_id(number) => {
                Some(*source)
            }
            _ => None,
        })
    }

    pub(crate) fn stats(&self, camera: u8) -> StreamStats {
        self.ask(self.engine.stream_stats(camera_id(camera)))
            .unwrap()
    }

    /// RTP packets that the engine has sent to a viewer.
    pub(crate) fn sent_to(&self, viewer: u8) -> u64 {
        self.ask(self.engine.viewer_stats(viewer_id(viewer)))
            .unwrap()
            .packets
    }

    /// Once the engine has sent a viewer as many packets.
    pub(crate) fn wait_sent(&self, viewer: u8, packets: u64) {
        self.ask(async {
            loop {
                let stats = self.engine.viewer_stats(viewer_id(viewer)).await.unwrap();
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
                let stats = self.engine.stream_stats(camera_id(camera)).await.unwrap();
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
        self.runtime.block_on(self.engine.shutdown());
    }
}
