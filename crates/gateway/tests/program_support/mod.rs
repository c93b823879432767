//! The whole program in this process, with simulated cameras that connect to its own broker over MQTT.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use apiary::app::{self, AppError, Controls, Ready};
use apiary::config::{Config, DemoPorts};
use apiary_sim::{Broker, CameraConfig, CameraHandle, Simulator, SimulatorConfig, VideoSource};
use serde_json::Value;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::DEADLINE;

/// Small and slow enough that three of them are encoded and decoded beside the compilers of a busy machine.
const TEST_CARD: VideoSource = VideoSource::LiveTestCard {
    width: 640,
    height: 360,
    fps: 15,
};
/// Ports for the cameras' RTP. Browser tests take turns, so a fixed block is free.
const INGEST: std::ops::RangeInclusive<u16> = 25_006..=25_045;

pub(crate) struct Program {
    server: Mutex<Option<Server>>,
    simulator: Simulator,
    http: SocketAddr,
    _dir: tempfile::TempDir,
}

/// One run of the program.
struct Server {
    config: Config,
    ready: Ready,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), AppError>>,
}

impl Server {
    async fn start(config: Config) -> Self {
        let shutdown = CancellationToken::new();
        let (report, ready) = oneshot::channel();
        let task = tokio::spawn(app::run(
            config.clone(),
            Controls::new(shutdown.clone()),
            report,
        ));
        match ready.await {
            Ok(ready) => Self {
                config,
                ready,
                shutdown,
                task,
            },
            Err(_) => panic!("the program did not start: {:?}", task.await),
        }
    }

    async fn stop(self) -> (Config, Ready) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("the program did not end").unwrap().unwrap();
        (self.config, self.ready)
    }
}

impl Program {
    pub(crate) async fn start(cameras: u32) -> Self {
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
        let server = Server::start(Config::demo(dir.path().to_owned(), ports, 1)).await;
        let broker = Broker::local(server.ready.broker.unwrap().port());
        let cameras = (1..=cameras).map(|number| CameraConfig {
            source: TEST_CARD,
            ..CameraConfig::numbered(number)
        });
        let simulator = Simulator::start(SimulatorConfig::new(broker, cameras.collect()))
            .await
            .unwrap();
        for camera in simulator.cameras() {
            camera
                .wait_for(DEADLINE, |camera| camera.connected)
                .await
                .unwrap();
        }
        Self {
            http: server.ready.http[0],
            server: Mutex::new(Some(server)),
            simulator,
            _dir: dir,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// The ids of all cameras, as many as the test expects.
    pub(crate) fn camera_ids<const N: usize>(&self) -> [String; N] {
        let ids: Vec<String> = self
            .simulator
            .cameras()
            .iter()
            .map(|camera| camera.id().to_string())
            .collect();
        ids.try_into().unwrap()
    }

    pub(crate) fn camera(&self, id: &str) -> CameraHandle {
        self.simulator.camera(id.parse().unwrap()).unwrap()
    }

    pub(crate) async fn viewer_count(&self) -> u64 {
        let viewers: Value = reqwest::get(self.url("/viewers"))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        viewers["count"].as_u64().unwrap()
    }

    pub(crate) async fn until_viewers(&self, count: u64) {
        let reached = async {
            while self.viewer_count().await != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, reached)
            .await
            .unwrap_or_else(|_| panic!("there are not {count} viewers in time"));
    }

    /// Ends the server and starts it on the same ports, as an update does. Cameras and pages live on.
    pub(crate) async fn restart_server(&self) {
        let mut server = self.server.lock().await;
        let (mut config, ready) = server.take().unwrap().stop().await;
        config.http.listen = ready.http;
        config.signaling.listen = ready.signaling;
        config.mqtt.embedded.listen = ready.broker.unwrap();
        *server = Some(Server::start(config).await);
    }

    pub(crate) async fn stop(self) {
        if let Some(server) = self.server.into_inner() {
            server.stop().await;
        }
        self.simulator.shutdown().await;
    }
}
