//! The whole program in this process, with simulated cameras that connect to its own broker over MQTT, and, where Kurento
//! moves the pictures, doubles as its servers. [`page`] watches without a browser.

#![allow(dead_code)] // each test file uses its part

pub(crate) mod page;
pub(crate) mod viewer;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use apiary::app::{self, AppError, Controls, Ready};
use apiary::config::{Config, DemoPorts, Engine, KurentoUrl};
use apiary::operation::{Reloader, Reloads, ServiceManager};
use apiary_kurento_double::{KurentoDouble, Options};
use apiary_sim::{Broker, CameraConfig, CameraHandle, Simulator, SimulatorConfig, VideoSource};
use apiary_wire::camera::Command;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Whatever a test waits for must come within this time. Generous: the machine encodes, sends and decodes all of it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at something that does not say when it changes.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits for something, or fails the test.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not so in time"))
}

/// Looks until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    within(what, async {
        while !is_so() {
            sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

/// What moves the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// The built-in engine.
    BuiltIn,
    /// So many Kurento servers.
    ByKurento(usize),
}

/// What a test wants.
pub(crate) struct Plan {
    pub(crate) moved: Moved,
    pub(crate) cameras: Vec<CameraConfig>,
    /// Where servers and cameras are.
    pub(crate) address: Ipv4Addr,
    pub(crate) change: fn(&mut Config),
}

impl Plan {
    /// For a browser: on `127.0.0.1`, with cameras whose pictures move.
    pub(crate) fn to_look_at(moved: Moved, cameras: u32) -> Self {
        // Small and slow enough that three of them are encoded and decoded beside the compilers of a busy machine.
        let source = VideoSource::LiveTestCard {
            width: 640,
            height: 360,
            fps: 15,
        };
        let camera = |number| CameraConfig {
            source,
            ..CameraConfig::numbered(number)
        };
        Self {
            moved,
            cameras: (1..=cameras).map(camera).collect(),
            address: Ipv4Addr::LOCALHOST,
            change: |_| {},
        }
    }

    /// With the built-in engine, at an address of its own, and one camera that costs next to nothing.
    pub(crate) fn alone() -> Self {
        let address = own_address();
        Self {
            moved: Moved::BuiltIn,
            cameras: vec![cheap(1, address)],
            address,
            change: |config| {
                let own = config.network.local_ip.into();
                config.ingest.bind = own;
                config.media.bind = own;
            },
        }
    }

    /// For everything else: at an address of its own, with one camera that costs next to nothing.
    pub(crate) fn with_servers(servers: usize) -> Self {
        let address = own_address();
        Self {
            moved: Moved::ByKurento(servers),
            cameras: vec![cheap(1, address)],
            address,
            change: |_| {},
        }
    }
}

/// A camera that costs next to nothing.
pub(crate) fn cheap(number: u32, address: Ipv4Addr) -> CameraConfig {
    CameraConfig {
        source: VideoSource::Replay,
        bind: address.into(),
        ..CameraConfig::numbered(number)
    }
}

/// A loopback address that no other test has, so that its ports are all its own.
pub(crate) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let second = 50 + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
    Ipv4Addr::new(127, second, high, low)
}

/// Ports for the cameras' RTP with the built-in engine. Browser tests take turns, so a fixed block is free.
const INGEST: std::ops::RangeInclusive<u16> = 25_006..=25_045;

pub(crate) struct Program {
    pub(crate) servers: Vec<KurentoDouble>,
    pub(crate) address: Ipv4Addr,
    run: Mutex<Option<Run>>,
    simulator: Simulator,
    http: SocketAddr,
    client: reqwest::Client,
    _dir: tempfile::TempDir,
}

/// One run of the program.
struct Run {
    config: Config,
    ready: Ready,
    /// What is read when it is to read its settings again.
    written: Arc<std::sync::Mutex<Config>>,
    reloader: Reloader,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), AppError>>,
}

impl Run {
    async fn start(config: Config) -> Self {
        let shutdown = CancellationToken::new();
        let written = Arc::new(std::sync::Mutex::new(config.clone()));
        let read = Arc::clone(&written);
        let read = move || Ok(read.lock().unwrap().clone());
        let reloads = Reloads::reading(read, ServiceManager::default());
        let reloader = reloads.reloader();
        let (report, ready) = oneshot::channel();
        let controls = Controls {
            reloads,
            ..Controls::new(shutdown.clone())
        };
        let task = tokio::spawn(app::run(config.clone(), controls, report));
        match ready.await {
            Ok(ready) => Self {
                config,
                ready,
                written,
                reloader,
                shutdown,
                task,
            },
            Err(_) => panic!("the program did not start: {:?}", task.await),
        }
    }

    async fn stop(self) -> (Config, Ready) {
        self.shutdown.cancel();
        within("the program's end", self.task)
            .await
            .unwrap()
            .unwrap();
        (self.config, self.ready)
    }
}

pub(crate) fn url(server: &KurentoDouble) -> KurentoUrl {
    server.url().parse().unwrap()
}

impl Program {
    /// Everything is there: cameras have said hello, and servers answer.
    pub(crate) async fn start(plan: Plan) -> Self {
        let program = Self::start_alone(plan).await;
        if !program.servers.is_empty() {
            program.until_healthy().await;
        }
        program
    }

    /// As [`Program::start`], without waiting for media servers.
    pub(crate) async fn start_alone(plan: Plan) -> Self {
        let count = match plan.moved {
            Moved::BuiltIn => 0,
            Moved::ByKurento(servers) => servers,
        };
        let server = |_| KurentoDouble::start(Options::at(plan.address)).unwrap();
        let servers = (0..count).map(server).collect();
        Self::start_with(plan, servers).await
    }

    /// As [`Program::start_alone`], with these media servers.
    pub(crate) async fn start_with(plan: Plan, servers: Vec<KurentoDouble>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Free a moment ago; the engine has to be told a port.
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let ports = DemoPorts {
            http: 0,
            signaling: 0,
            udp,
            ingest: INGEST,
        };
        let mut config = Config::demo(dir.path().to_owned(), ports, 1);
        config.network.local_ip = plan.address;
        if !servers.is_empty() {
            config.media.engine = Engine::Kurento;
            config.kurento.servers = servers.iter().map(url).collect();
            // What is lost is given up soon, and a busy machine is given time all the same.
            config.kurento.request_timeout = Duration::from_secs(3);
            config.kurento.ping_interval = Duration::from_millis(500);
            config.kurento.failover_after = Duration::from_secs(3);
        }
        (plan.change)(&mut config);
        let run = Run::start(config).await;
        let broker = Broker::local(run.ready.broker.unwrap().port());
        let simulator = Simulator::start(SimulatorConfig::new(broker, plan.cameras))
            .await
            .unwrap();
        for camera in simulator.cameras() {
            let connected = camera.wait_for(DEADLINE, |camera| camera.connected);
            connected.await.unwrap();
        }
        Self {
            servers,
            address: plan.address,
            http: run.ready.http[0],
            run: Mutex::new(Some(run)),
            simulator,
            client: reqwest::Client::new(),
            _dir: dir,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// Where figures have a listener of their own.
    pub(crate) async fn metrics_address(&self) -> Option<SocketAddr> {
        let run = self.run.lock().await;
        run.as_ref().and_then(|run| run.ready.metrics)
    }

    /// Of the link that makes the first administrator.
    pub(crate) async fn setup_secret(&self) -> Option<String> {
        let run = self.run.lock().await;
        let secret = run.as_ref()?.ready.setup.as_ref()?;
        Some(secret.expose().to_owned())
    }

    pub(crate) fn signaling(&self) -> String {
        format!("ws://{}/ws", self.http)
    }

    // ---- cameras ----

    /// The ids of all cameras, as many as the test expects.
    pub(crate) fn camera_ids<const N: usize>(&self) -> [String; N] {
        let cameras = self.simulator.cameras().iter();
        let ids: Vec<String> = cameras.map(|camera| camera.id().to_string()).collect();
        ids.try_into().unwrap()
    }

    pub(crate) fn camera(&self, id: &str) -> CameraHandle {
        self.simulator.camera(id.parse().unwrap()).unwrap()
    }

    pub(crate) fn cameras(&self) -> &[CameraHandle] {
        self.simulator.cameras()
    }

    pub(crate) fn first(&self) -> CameraHandle {
        self.cameras()[0].clone()
    }

    // ---- the API ----

    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.request("GET", path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    /// Status and body, `null` where there is none.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.request("POST", path).json(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    pub(crate) async fn start_stream(&self, camera: &CameraHandle, body: &Value) -> (u16, Value) {
        self.post(&format!("/streams/{}/start", camera.id()), body)
            .await
    }

    pub(crate) async fn stop_stream(&self, camera: &CameraHandle) -> (u16, Value) {
        self.post(&format!("/streams/{}/stop", camera.id()), &json!(null))
            .await
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().unwrap();
        self.client
            .request(method, self.url(path))
            .timeout(DEADLINE)
    }

    /// Joins over WHEP.
    pub(crate) async fn offer(&self, camera: &CameraHandle, offer: &str) -> Response {
        let request = self.request("POST", &format!("/whep/{}", camera.id()));
        let request = request.header("content-type", "application/sdp");
        request.body(offer.to_owned()).send().await.unwrap()
    }

    /// Asks for the health until it is as wanted.
    pub(crate) async fn until_health(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut health = Value::Null;
        let reached = async {
            loop {
                health = self.get("/health").await;
                if wanted(&health) {
                    return;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        let reached = timeout(DEADLINE, reached).await;
        assert!(reached.is_ok(), "{what}: not so in time: {health:#}");
        health
    }

    /// Every server takes streams.
    pub(crate) async fn until_healthy(&self) {
        self.until_health("all are connected", |health| {
            let servers = health["media_servers"].as_array().unwrap();
            let is_ready =
                |server: &Value| server["state"] == "connected" && server["version"].is_string();
            health["status"] == "healthy" && servers.iter().all(is_ready)
        })
        .await;
    }

    pub(crate) async fn viewer_count(&self) -> u64 {
        self.get("/viewers").await["count"].as_u64().unwrap()
    }

    pub(crate) async fn until_viewers(&self, count: u64) {
        let reached = async {
            while self.viewer_count().await != count {
                sleep(LOOK_AGAIN).await;
            }
        };
        within(&format!("{count} viewers"), reached).await;
    }

    /// The camera's stream is active.
    pub(crate) async fn until_active(&self, camera: &CameraHandle) -> Value {
        let camera = camera.id().to_string();
        let reached = async {
            loop {
                let streams = self.get("/streams").await;
                let streams = streams["streams"].as_array().unwrap().clone();
                let is_it = |stream: &&Value| {
                    stream["camera_id"] == camera.as_str() && stream["state"] == "active"
                };
                if let Some(stream) = streams.iter().find(is_it) {
                    return stream.clone();
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        within("the stream is active", reached).await
    }

    // ---- the program itself ----

    /// Has the running program read its settings again, which are changed so.
    pub(crate) async fn reload(&self, change: impl FnOnce(&mut Config)) {
        let mut run = self.run.lock().await;
        let run = run.as_mut().unwrap();
        change(&mut run.config);
        *run.written.lock().unwrap() = run.config.clone();
        run.reloader.reload().await.unwrap();
    }

    /// Ends the program and starts it on the same ports, as an update does. Cameras and pages live on.
    pub(crate) async fn restart(&self) {
        self.restart_after(std::future::ready(())).await;
    }

    /// As [`Program::restart`], with something that happens while it is away.
    pub(crate) async fn restart_after(&self, meanwhile: impl Future<Output = ()>) {
        let mut run = self.run.lock().await;
        let (mut config, ready) = run.take().unwrap().stop().await;
        meanwhile.await;
        config.http.listen = ready.http;
        config.signaling.listen = ready.signaling;
        config.mqtt.embedded.listen = ready.broker.unwrap();
        *run = Some(Run::start(config).await);
    }

    pub(crate) async fn stop(self) {
        if let Some(run) = self.run.into_inner() {
            run.stop().await;
        }
        self.simulator.shutdown().await;
        for server in &self.servers {
            let mut pipelines = server.pipelines().into_iter();
            let left = pipelines.find(|pipeline| pipeline.name.starts_with("apiary/"));
            assert_eq!(left, None, "nothing is left at the end");
        }
    }
}

/// How often a camera was told to play.
pub(crate) fn plays(camera: &CameraHandle) -> usize {
    let commands = camera.commands();
    let is_play = |had: &&apiary_sim::ReceivedCommand| matches!(had.command, Command::Play { .. });
    commands.iter().filter(is_play).count()
}
