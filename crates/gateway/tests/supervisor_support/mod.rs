//! A real supervisor between stand-ins for the engine, the cameras and the database. The clock is tokio's, stopped.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

/// What a viewer asks for.
pub(crate) fn offer(sdp: &str) -> ViewerOffer {
    ViewerOffer {
        sdp: sdp.to_owned(),
        candidates: CandidateDelivery::InAnswer,
        may_talk: false,
    }
}

pub(crate) mod cameras;
pub(crate) mod engine;
pub(crate) mod house;
pub(crate) mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use apiary::config::{Config, DemoPorts};
use apiary::supervisor::{
    JoinError, JoinedStream, StartError, StartOptions, StreamSnapshot, Supervisor, SupervisorEvent,
    SupervisorParts, ViewerOffer, ViewerOrigin,
};
use apiary_core::lifecycle::{Health, Phase};
use apiary_media::engine::CandidateDelivery;
use apiary_store::{Store, StoreWriter, WriterTask};
use apiary_wire::id::{CameraId, ViewerId};
use tokio::sync::broadcast::Receiver;

use cameras::FakeCameras;
use engine::FakeEngine;
use store::MemoryStore;

/// Whatever a test waits for must come within this time, which costs nothing on a stopped clock.
const DEADLINE: Duration = Duration::from_secs(120);

/// Waits for an event, or fails the test.
pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen in time"),
    }
}

pub(crate) fn camera(number: u16) -> CameraId {
    let mut bytes = [0xab; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    CameraId::from_bytes(bytes)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn config() -> Config {
    let ports = DemoPorts {
        http: 0,
        signaling: 0,
        udp: 8189,
        ingest: 5006..=5999,
    };
    Config::demo("/nonexistent".into(), ports, 1)
}

pub(crate) struct Rig {
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) cameras: Arc<FakeCameras>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) supervisor: Supervisor,
    pub(crate) writer: StoreWriter,
    events: Receiver<SupervisorEvent>,
    task: WriterTask,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(config(), Arc::default(), FakeCameras::new()).await
    }

    pub(crate) async fn with(
        config: Config,
        store: Arc<MemoryStore>,
        cameras: FakeCameras,
    ) -> Self {
        let engine = Arc::new(FakeEngine::default());
        let cameras = Arc::new(cameras);
        let (writer, task) = StoreWriter::spawn(Arc::clone(&store) as Arc<dyn Store>);
        let supervisor = Supervisor::start_up(SupervisorParts {
            config: Arc::new(config),
            engine: Arc::clone(&engine) as _,
            commands: Arc::clone(&cameras) as _,
            store: Arc::clone(&store) as _,
            writer: writer.clone(),
        })
        .await
        .unwrap();
        Self {
            events: supervisor.events(),
            engine,
            cameras,
            store,
            supervisor,
            writer,
            task,
        }
    }

    pub(crate) async fn start(&self, camera: CameraId) -> Result<StreamSnapshot, StartError> {
        let started = self.supervisor.start(camera, StartOptions::default());
        within("the start", started).await
    }

    /// A stream whose RTP flows.
    pub(crate) async fn active(&mut self, camera: CameraId) -> StreamSnapshot {
        self.start(camera).await.unwrap();
        self.engine.rtp_started(camera);
        self.until(camera, |stream| stream.phase == Phase::Active)
            .await
    }

    pub(crate) async fn join(&self, camera: CameraId) -> Result<JoinedStream, JoinError> {
        let joined = self
            .supervisor
            .join(camera, offer("offer"), ViewerOrigin::default());
        within("the join", joined).await
    }

    /// Waits until the camera's last stream, as the pages are told, is such.
    pub(crate) async fn until(
        &mut self,
        camera: CameraId,
        is_such: impl Fn(&StreamSnapshot) -> bool,
    ) -> StreamSnapshot {
        let (supervisor, events) = (&self.supervisor, &mut self.events);
        within("the stream's state", async {
            loop {
                if let Some(stream) = supervisor.stream(camera)
                    && is_such(&stream)
                {
                    return stream;
                }
                // Each change comes with an event, whatever it is.
                let _ = events.recv().await;
            }
        })
        .await
    }

    pub(crate) async fn until_health(&mut self, camera: CameraId, health: Health) {
        self.until(camera, |stream| stream.health == health).await;
    }

    /// Waits for a viewer's end and gives its reason.
    pub(crate) async fn until_gone(&mut self, who: ViewerId) -> (String, bool) {
        let events = &mut self.events;
        within("the viewer's end", async {
            loop {
                if let Ok(SupervisorEvent::ViewerGone {
                    viewer,
                    reason,
                    retry,
                    ..
                }) = events.recv().await
                    && viewer == who
                {
                    return (reason.text, retry);
                }
            }
        })
        .await
    }

    /// Waits for the end of so many viewers and gives their reasons.
    pub(crate) async fn all_gone(&mut self, count: usize) -> HashMap<ViewerId, String> {
        let events = &mut self.events;
        within("the viewers' end", async {
            let mut gone = HashMap::new();
            while gone.len() < count {
                if let Ok(SupervisorEvent::ViewerGone { viewer, reason, .. }) = events.recv().await
                {
                    gone.insert(viewer, reason.text);
                }
            }
            gone
        })
        .await
    }

    pub(crate) fn phase(&self, camera: CameraId) -> Option<Phase> {
        self.supervisor.stream(camera).map(|stream| stream.phase)
    }

    pub(crate) async fn end(self) {
        self.supervisor.shutdown().await;
        self.task.shutdown(secs(1)).await;
    }
}
