//! A whole household but for its viewers: the embedded broker, the client of it, simulated cameras that obey their firmware,
//! RTP and RTCP on loopback, and the supervisor between them.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use apiary::config::values::{BrokerAddress, BrokerTarget};
use apiary::config::{Config, Credentials};
use apiary::mqtt::{BrokerState, EmbeddedBroker, Mqtt};
use apiary::secret::Secret;
use apiary::supervisor::{
    StartError, StartOptions, StreamSnapshot, Supervisor, SupervisorEvent, SupervisorParts,
};
use apiary_core::lifecycle::Phase;
use apiary_media::engine::MediaEngine;
use apiary_media::sfu::{Sfu, SfuConfig};
use apiary_sim::{Broker, CameraConfig, CameraHandle, Simulator, SimulatorConfig, VideoSource};
use apiary_store::{SqliteStore, Store, StoreWriter, WriterTask};
use apiary_wire::id::CameraId;
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

/// Whatever a test waits for must come within this time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen in time"),
    }
}

pub(crate) struct House {
    broker: Option<EmbeddedBroker>,
    mqtt: Mqtt,
    engine: Arc<dyn MediaEngine>,
    pub(crate) supervisor: Supervisor,
    events: Receiver<SupervisorEvent>,
    pub(crate) simulator: Simulator,
    writer: WriterTask,
    config: Config,
    _dir: tempfile::TempDir,
}

/// What a test wants to be different.
pub(crate) struct Wishes {
    pub(crate) cameras: Vec<CameraConfig>,
    pub(crate) ports: RangeInclusive<u16>,
    pub(crate) change: fn(&mut Config),
}

impl Wishes {
    /// Each test has its own range, so that they can run beside each other.
    pub(crate) fn new(ports: RangeInclusive<u16>) -> Self {
        Self {
            cameras: vec![cheap(1)],
            ports,
            change: |_| {},
        }
    }
}

/// A camera that costs next to nothing and is impatient: what takes 30 s with a real one takes 4 s.
pub(crate) fn cheap(number: u32) -> CameraConfig {
    let mut camera = CameraConfig::numbered(number);
    camera.source = VideoSource::Replay;
    camera.bind = Ipv4Addr::LOCALHOST.into();
    camera.rules.keepalive_timeout = Duration::from_secs(4);
    camera.rules.remb_timeout = Duration::from_secs(4);
    camera
}

fn start_engine(ports: RangeInclusive<u16>) -> Arc<dyn MediaEngine> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let config = SfuConfig {
        // With two, cameras live on different threads.
        workers: 2,
        udp_port: 0,
        bind: loopback,
        advertised: vec![loopback],
        ingest_bind: loopback,
        ingest_ports: ports,
        max_viewers_per_stream: 0,
    };
    Arc::new(Sfu::start(config).unwrap())
}

impl House {
    pub(crate) async fn new(wishes: Wishes) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = super::config();
        config.data.dir = dir.path().to_owned();
        config.mqtt.keepalive_interval = Duration::from_secs(1);
        // The broker knows its client by this, as `Mqtt::start` would have it.
        config.mqtt.credentials = Some(Credentials {
            username: "apiary".to_owned(),
            password: Some(Secret::new("of this test")),
        });
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
        let engine = start_engine(wishes.ports);
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
    pub(crate) async fn all_known(&self) {
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

    pub(crate) fn camera(&self) -> CameraHandle {
        self.simulator.cameras()[0].clone()
    }

    pub(crate) async fn start(&self, camera: CameraId) -> Result<StreamSnapshot, StartError> {
        self.supervisor.start(camera, StartOptions::default()).await
    }

    pub(crate) async fn active(&mut self) -> StreamSnapshot {
        let camera = self.camera().id();
        self.start(camera).await.unwrap();
        self.until(camera, |stream| stream.phase == Phase::Active)
            .await
    }

    pub(crate) async fn until(
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

    pub(crate) async fn broker_state(&self, is_such: impl Fn(&BrokerState) -> bool) {
        let mut state = self.mqtt.control.broker();
        within("the broker's state", state.wait_for(is_such))
            .await
            .unwrap();
    }

    pub(crate) async fn end_broker(&mut self) {
        self.broker.take().unwrap().stop().await;
        self.broker_state(|state| matches!(state, BrokerState::Unreachable { .. }))
            .await;
    }

    pub(crate) async fn restart_broker(&mut self) {
        self.broker = Some(EmbeddedBroker::start(&self.config.mqtt).await.unwrap());
        self.broker_state(|state| *state == BrokerState::Connected)
            .await;
    }

    pub(crate) async fn end(self) {
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

pub(crate) async fn streaming(camera: &CameraHandle) {
    camera
        .wait_for(DEADLINE, |state| state.is_streaming())
        .await
        .unwrap();
}
