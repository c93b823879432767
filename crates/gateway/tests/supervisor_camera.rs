//! The supervisor with everything real around it: the embedded broker, the client of it, simulated cameras that obey their
//! firmware, RTP and RTCP on loopback. No viewers: those are the engine's own tests' and the browser's.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod supervisor_support;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use apiary::config::Config;
use apiary::config::values::{BrokerAddress, BrokerTarget};
use apiary::mqtt::{BrokerState, EmbeddedBroker, Mqtt};
use apiary::supervisor::{
    StartError, StartOptions, StreamSnapshot, Supervisor, SupervisorEvent, SupervisorParts,
};
use apiary_core::lifecycle::{Health, Phase};
use apiary_media::engine::{EngineError, MediaEngine};
use apiary_sim::{
    Broker, CameraConfig, CameraHandle, Misbehaviour, Simulator, SimulatorConfig, StopReason,
    VideoSource,
};
use apiary_store::{SqliteStore, Store, StoreWriter, WriterTask};
use apiary_wire::camera::Command;
use apiary_wire::id::CameraId;
use supervisor_support::wire_engine::WireEngine;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

/// Whatever a test waits for must come within this time.
const DEADLINE: Duration = Duration::from_secs(40);

async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen in time"),
    }
}

struct House {
    broker: Option<EmbeddedBroker>,
    mqtt: Mqtt,
    engine: Arc<dyn MediaEngine>,
    supervisor: Supervisor,
    events: Receiver<SupervisorEvent>,
    simulator: Simulator,
    writer: WriterTask,
    config: Config,
    _dir: tempfile::TempDir,
}

/// What a test wants to be different.
struct Wishes {
    cameras: Vec<CameraConfig>,
    ports: RangeInclusive<u16>,
    change: fn(&mut Config),
}

impl Wishes {
    /// Each test has its own range, so that they can run beside each other.
    fn new(ports: RangeInclusive<u16>) -> Self {
        Self {
            cameras: vec![cheap(1)],
            ports,
            change: |_| {},
        }
    }
}

/// A camera that costs next to nothing and is impatient: what takes 30 s with a real one takes 4 s.
fn cheap(number: u32) -> CameraConfig {
    let mut camera = CameraConfig::numbered(number);
    camera.source = VideoSource::Replay;
    camera.bind = std::net::Ipv4Addr::LOCALHOST.into();
    camera.rules.keepalive_timeout = Duration::from_secs(4);
    camera.rules.remb_timeout = Duration::from_secs(4);
    camera
}

impl House {
    async fn new(wishes: Wishes) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = supervisor_support::config();
        config.data.dir = dir.path().to_owned();
        config.mqtt.keepalive_interval = Duration::from_secs(1);
        (wishes.change)(&mut config);
        let broker = EmbeddedBroker::start(&config.mqtt).await.unwrap();
        let address = broker.address();
        config.mqtt.embedded.listen = address;
        // For its client the broker is another program's, so that a test can end it alone.
        let mut outside = config.clone();
        outside.mqtt.broker = BrokerTarget::External(BrokerAddress {
            host: address.ip().to_string(),
            port: address.port(),
            tls: false,
        });
        let mqtt = Mqtt::start(&outside.mqtt).await.unwrap();
        let engine: Arc<dyn MediaEngine> = Arc::new(WireEngine::new(wishes.ports));
        let store: Arc<dyn Store> = Arc::new(
            SqliteStore::open(&dir.path().join("apiary.db"))
                .await
                .unwrap(),
        );
        let (rows, writer) = StoreWriter::spawn(Arc::clone(&store));
        let supervisor = Supervisor::start_up(SupervisorParts {
            config: Arc::new(outside),
            engine: Arc::clone(&engine),
            commands: Arc::new(mqtt.control.clone()),
            store,
            writer: rows,
        })
        .await
        .unwrap();
        let cameras = SimulatorConfig {
            reconnect_first: Duration::from_millis(100),
            reconnect_max: Duration::from_millis(500),
            ..SimulatorConfig::new(Broker::local(address.port()), wishes.cameras)
        };
        let house = Self {
            broker: Some(broker),
            mqtt,
            engine,
            events: supervisor.events(),
            supervisor,
            simulator: Simulator::start(cameras).await.unwrap(),
            writer,
            config,
            _dir: dir,
        };
        house.all_known().await;
        house
    }

    /// Every camera has said hello, and the supervisor heard it.
    async fn all_known(&self) {
        let mut events = self.supervisor.events();
        within("the cameras' hello", async {
            loop {
                let known = self.supervisor.cameras();
                let online = known.iter().filter(|camera| camera.online == Some(true));
                if online.count() == self.simulator.cameras().len() {
                    return;
                }
                let _ = timeout(Duration::from_millis(500), events.recv()).await;
            }
        })
        .await;
    }

    fn camera(&self) -> CameraHandle {
        self.simulator.cameras()[0].clone()
    }

    async fn start(&self, camera: CameraId) -> Result<StreamSnapshot, StartError> {
        self.supervisor.start(camera, StartOptions::default()).await
    }

    async fn active(&mut self) -> StreamSnapshot {
        let camera = self.camera().id();
        self.start(camera).await.unwrap();
        self.until(camera, |stream| stream.phase == Phase::Active)
            .await
    }

    async fn until(
        &mut self,
        camera: CameraId,
        is_such: impl Fn(&StreamSnapshot) -> bool,
    ) -> StreamSnapshot {
        let (supervisor, events) = (&self.supervisor, &mut self.events);
        let reached = timeout(DEADLINE, async {
            loop {
                if let Some(stream) = supervisor.stream(camera)
                    && is_such(&stream)
                {
                    return stream;
                }
                let _ = timeout(Duration::from_millis(500), events.recv()).await;
            }
        });
        match reached.await {
            Ok(stream) => stream,
            Err(_) => panic!(
                "not in time: {:#?}\n{:#?}",
                supervisor.stream(camera),
                self.camera().state()
            ),
        }
    }

    async fn broker_state(&self, is_such: impl Fn(&BrokerState) -> bool) {
        let mut state = self.mqtt.control.broker();
        within("the broker's state", state.wait_for(is_such))
            .await
            .unwrap();
    }

    async fn end_broker(&mut self) {
        self.broker.take().unwrap().stop().await;
        self.broker_state(|state| matches!(state, BrokerState::Unreachable { .. }))
            .await;
    }

    async fn restart_broker(&mut self) {
        self.broker = Some(EmbeddedBroker::start(&self.config.mqtt).await.unwrap());
        self.broker_state(|state| *state == BrokerState::Connected)
            .await;
    }

    async fn end(self) {
        self.supervisor.shutdown().await;
        self.engine.shutdown().await;
        self.writer.shutdown(Duration::from_secs(1)).await;
        self.mqtt.shutdown().await;
        self.simulator.shutdown().await;
        if let Some(broker) = self.broker {
            broker.stop().await;
        }
    }
}

async fn streaming(camera: &CameraHandle) {
    camera
        .wait_for(DEADLINE, |state| state.is_streaming())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_camera_without_viewers_is_kept_alive_far_beyond_its_patience() {
    let mut house = House::new(Wishes::new(42_000..=42_003)).await;
    let camera = house.camera();
    house.active().await;
    // Three times the patience of its firmware, for keepalives over MQTT and for REMB over RTCP.
    let state = camera
        .wait_for(DEADLINE, |state| {
            state.feedback.keepalive.count >= 12 && state.feedback.remb.count >= 12
        })
        .await
        .unwrap();
    assert!(state.is_streaming());
    assert!(state.feedback.remb.max_gap < Duration::from_secs(2));
    assert!(state.feedback.keepalive.max_gap < Duration::from_secs(2));
    let counts: Vec<u64> = camera
        .commands()
        .iter()
        .filter_map(|received| match received.command {
            Command::KeepAlive { count, .. } => Some(count),
            Command::Play { .. }
            | Command::Stop { .. }
            | Command::SetMode(_)
            | Command::Reboot
            | Command::UpdateSettings(_)
            | Command::PlaySound { .. }
            | Command::StopSound => None,
        })
        .collect();
    assert!(counts.iter().copied().eq(0..counts.len() as u64));
    let stopped = house.supervisor.stop(camera.id()).await.unwrap();
    assert_eq!(stopped.phase, Phase::Stopped);
    let state = camera
        .wait_for(DEADLINE, |state| !state.is_streaming())
        .await
        .unwrap();
    assert_eq!(state.stop_reason(), Some(StopReason::Commanded));
    house.end().await;
}

#[tokio::test]
async fn f01_a_camera_that_is_killed_comes_back_from_other_ports() {
    let mut house = House::new(Wishes::new(42_010..=42_013)).await;
    let camera = house.camera();
    let mut last = house.active().await;
    for _ in 0..3 {
        camera.kill().await.unwrap();
        house
            .until(camera.id(), |stream| stream.health == Health::Stalled)
            .await;
        camera.restart(None).await.unwrap();
        let back = house
            .until(camera.id(), |stream| {
                stream.health == Health::Good && stream.stream != last.stream
            })
            .await;
        assert_eq!(back.phase, Phase::Active);
        assert_eq!(back.session_id, last.session_id);
        streaming(&camera).await;
        last = back;
    }
    house.end().await;
}

#[tokio::test]
async fn f01_a_camera_that_restarts_faster_than_silence_shows_comes_back() {
    let mut house = House::new(Wishes::new(42_020..=42_023)).await;
    let camera = house.camera();
    let first = house.active().await;
    camera.restart(None).await.unwrap();
    let back = house
        .until(camera.id(), |stream| {
            stream.health == Health::Good && stream.stream != first.stream
        })
        .await;
    assert_eq!(back.phase, Phase::Active);
    streaming(&camera).await;
    house.end().await;
}

#[tokio::test]
async fn a_camera_behind_a_nat_that_rebinds_comes_back() {
    let mut house = House::new(Wishes::new(42_030..=42_033)).await;
    let camera = house.camera();
    let first = house.active().await;
    camera.move_ports().unwrap();
    house
        .until(camera.id(), |stream| {
            stream.health == Health::Good && stream.stream != first.stream
        })
        .await;
    house.end().await;
}

#[tokio::test]
async fn f09_a_broker_that_is_away_during_a_stream_stops_nothing() {
    let mut house = House::new(Wishes {
        // Patient in what comes over the broker, so that it still sends when that is back.
        cameras: vec![{
            let mut camera = cheap(1);
            camera.rules.keepalive_timeout = Duration::from_secs(30);
            camera
        }],
        ..Wishes::new(42_040..=42_043)
    })
    .await;
    let camera = house.camera();
    let stream = house.active().await;
    house.end_broker().await;
    house
        .until(camera.id(), |stream| stream.health == Health::Degraded)
        .await;
    assert!(camera.state().is_streaming(), "REMB goes on");
    house.restart_broker().await;
    let healed = house
        .until(camera.id(), |stream| stream.health == Health::Good)
        .await;
    assert_eq!(
        (healed.phase, healed.stream),
        (Phase::Active, stream.stream)
    );
    assert_eq!(healed.session_id, stream.session_id);
    house.end().await;
}

#[tokio::test]
async fn f09_a_broker_that_is_away_at_the_start_is_waited_for() {
    let mut house = House::new(Wishes::new(42_050..=42_053)).await;
    let camera = house.camera();
    house.end_broker().await;
    house.start(camera.id()).await.unwrap();
    house
        .until(camera.id(), |stream| stream.keepalive.errors > 1)
        .await;
    assert_eq!(
        house.supervisor.stream(camera.id()).unwrap().phase,
        Phase::Starting
    );
    house.restart_broker().await;
    house
        .until(camera.id(), |stream| stream.phase == Phase::Active)
        .await;
    streaming(&camera).await;
    house.end().await;
}

#[tokio::test]
async fn f09_a_broker_that_stays_away_is_named() {
    let mut house = House::new(Wishes {
        change: |config| config.stream.start_timeout = Duration::from_secs(3),
        ..Wishes::new(42_060..=42_063)
    })
    .await;
    let camera = house.camera();
    house.end_broker().await;
    house.start(camera.id()).await.unwrap();
    let failed = house
        .until(camera.id(), |stream| stream.phase == Phase::Error)
        .await;
    let text = failed.error.unwrap();
    assert!(text.contains("MQTT broker"), "{text}");
    house.restart_broker().await;
    house.all_known().await;
    house.active().await;
    house.end().await;
}

#[tokio::test]
async fn start_failures_of_real_cameras_name_their_cause() {
    let mut wrong_ssrc = cheap(1);
    wrong_ssrc.misbehaviour = vec![Misbehaviour::WrongSsrc];
    let mut mute = cheap(2);
    mute.misbehaviour = vec![Misbehaviour::NeverAnswersPlay];
    let mut house = House::new(Wishes {
        cameras: vec![wrong_ssrc, mute, cheap(3)],
        change: |config| config.stream.start_timeout = Duration::from_secs(3),
        ..Wishes::new(42_070..=42_081)
    })
    .await;
    let cameras: Vec<CameraHandle> = house.simulator.cameras().to_vec();
    cameras[2].kill().await.unwrap();
    let mut events = house.supervisor.events();
    within("the last will", async {
        while house
            .supervisor
            .cameras()
            .iter()
            .all(|camera| camera.online != Some(false))
        {
            let _ = timeout(Duration::from_millis(500), events.recv()).await;
        }
    })
    .await;
    for (camera, cause) in cameras
        .iter()
        .zip(["SSRC", "no RTP arrived at 127.0.0.1:", "offline"])
    {
        house.start(camera.id()).await.unwrap();
        let failed = house
            .until(camera.id(), |stream| stream.phase == Phase::Error)
            .await;
        let text = failed.error.unwrap();
        assert!(text.contains(cause), "{text}");
    }
    assert!(house.supervisor.streams().is_empty());
    house.end().await;
}

#[tokio::test]
async fn a_used_up_port_range_is_named_and_recovers() {
    let mut house = House::new(Wishes {
        cameras: vec![cheap(1), cheap(2)],
        ..Wishes::new(42_090..=42_093)
    })
    .await;
    let second = house.simulator.cameras()[1].id();
    let first = house.active().await.camera;
    let refused = house.start(second).await.unwrap_err();
    assert!(matches!(
        refused,
        StartError::Engine(EngineError::PortsExhausted { .. })
    ));
    house.supervisor.stop(first).await.unwrap();
    house.start(second).await.unwrap();
    house
        .until(second, |stream| stream.phase == Phase::Active)
        .await;
    house.end().await;
}

#[tokio::test]
async fn shutdown_stops_the_cameras() {
    let mut house = House::new(Wishes {
        cameras: (1..=5).map(cheap).collect(),
        ..Wishes::new(42_100..=42_119)
    })
    .await;
    let cameras: Vec<CameraHandle> = house.simulator.cameras().to_vec();
    for camera in &cameras {
        house.start(camera.id()).await.unwrap();
    }
    for camera in &cameras {
        house
            .until(camera.id(), |stream| stream.phase == Phase::Active)
            .await;
    }
    house.supervisor.shutdown().await;
    for camera in &cameras {
        let state = camera
            .wait_for(DEADLINE, |state| !state.is_streaming())
            .await
            .unwrap();
        assert_eq!(state.stop_reason(), Some(StopReason::Commanded));
    }
    house.end().await;
}
