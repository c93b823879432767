//! The program as a whole: it starts, serves, ends, and says what to do when it cannot.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod supervisor_support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use apiary::app::{self, AppError, Controls, Ready};
use apiary::config::Config;
use apiary_sim::{
    Broker, CameraConfig, CameraHandle, Simulator, SimulatorConfig, StopReason, VideoSource,
};
use apiary_store::{SessionStatus, SqliteStore, Store, StoreError, StreamSession, Write};
use apiary_wire::camera::Command;
use apiary_wire::id::StreamId;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Whatever a test waits for must come within this time.
const DEADLINE: Duration = Duration::from_secs(30);

fn config(dir: &tempfile::TempDir) -> Config {
    let mut config = supervisor_support::config();
    config.data.dir = dir.path().to_owned();
    config.media.bind = Ipv4Addr::LOCALHOST.into();
    config.media.udp_port = 0;
    config.ingest.bind = Ipv4Addr::LOCALHOST.into();
    config
}

/// Each program has its own ports for one camera, so that they can run beside each other.
fn config_with_ports(dir: &tempfile::TempDir, first: u16) -> Config {
    let mut config = config(dir);
    config.ingest.ports = first..=first + 3;
    config
}

/// Runs a program that cannot start and gives its reason.
async fn refused(config: Config) -> AppError {
    let (ready, _) = oneshot::channel();
    let ended = timeout(
        DEADLINE,
        app::run(config, Controls::new(CancellationToken::new()), ready),
    );
    ended.await.unwrap().unwrap_err()
}

async fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let (_held, address) = taken().await;
    let mut http = config(&dir);
    http.http.listen = vec![address];
    let text = refused(http).await.to_string();
    assert!(
        text.contains("http.listen") && text.contains(&address.to_string()),
        "{text}"
    );
    assert!(text.contains("another program"), "{text}");
    let mut signaling = config(&dir);
    signaling.signaling.listen = vec![address];
    let text = refused(signaling).await.to_string();
    assert!(text.contains("signaling.listen"), "{text}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    config.http.listen = vec!["192.0.2.1:0".parse().unwrap()];
    let text = refused(config).await.to_string();
    assert!(
        text.contains("192.0.2.1") && text.contains("does not have that address"),
        "{text}"
    );
}

#[tokio::test]
async fn a_data_directory_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    let _other = SqliteStore::open(&app::database(&config)).await.unwrap();
    let error = refused(config).await;
    assert!(
        matches!(error, AppError::Store(StoreError::InUse { .. })),
        "{error:?}"
    );
    assert!(error.to_string().contains("data.dir"), "{error}");
}

#[tokio::test]
async fn a_taken_broker_port_is_named_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let (_held, address) = taken().await;
    let mut config = config(&dir);
    config.mqtt.embedded.listen = address;
    let text = refused(config).await.to_string();
    assert!(text.contains("mqtt.listen"), "{text}");
}

struct Program {
    ready: Ready,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AppError>>,
}

impl Program {
    async fn start(config: Config) -> Self {
        let stop = CancellationToken::new();
        let (ready, is_ready) = oneshot::channel();
        let task = tokio::spawn(app::run(config, Controls::new(stop.clone()), ready));
        let ready = timeout(DEADLINE, is_ready).await.unwrap().unwrap();
        Self { ready, stop, task }
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

async fn cameras(ready: &Ready, number: u32) -> Simulator {
    let mut camera = CameraConfig::numbered(number);
    camera.source = VideoSource::Replay;
    camera.bind = Ipv4Addr::LOCALHOST.into();
    let broker = Broker::local(ready.broker.unwrap().port());
    Simulator::start(SimulatorConfig::new(broker, vec![camera]))
        .await
        .unwrap()
}

#[tokio::test]
async fn the_program_starts_a_camera_by_rest_and_ends_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_with_ports(&dir, 42_210);
    let database = app::database(&config);
    let program = Program::start(config).await;
    let simulator = cameras(&program.ready, 1).await;
    let camera = simulator.cameras()[0].clone();
    camera
        .wait_for(DEADLINE, |state| state.connected)
        .await
        .unwrap();
    let http = program.ready.http[0];
    let client = reqwest::Client::new();
    let started = client
        .post(format!("http://{http}/streams/{}/start", camera.id()))
        .send()
        .await
        .unwrap();
    assert_eq!(started.status(), 201);
    camera
        .wait_for(DEADLINE, |state| state.is_streaming())
        .await
        .unwrap();

    program.end().await;
    let state = camera
        .wait_for(DEADLINE, |state| !state.is_streaming())
        .await
        .unwrap();
    assert_eq!(state.stop_reason(), Some(StopReason::Commanded));
    TcpListener::bind(http).await.unwrap(); // free again
    let store = SqliteStore::open(&database).await.unwrap();
    let sessions = store.stream_sessions(None, 10).await.unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].status, SessionStatus::Stopped);
    let known = store.cameras().await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].hardware.as_deref(), Some("VBC01"));
    simulator.shutdown().await;
}

#[tokio::test]
async fn f04_what_a_crash_left_streaming_is_stopped_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    let config = config_with_ports(&dir, 42_220);
    let database = app::database(&config);
    let camera = CameraConfig::numbered(2).id;
    let left: StreamId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
    {
        let store = SqliteStore::open(&database).await.unwrap();
        let row = StreamSession {
            session_id: "stream-left".to_owned(),
            camera,
            stream: left,
            pipeline_id: None,
            rtp_endpoint_id: None,
            webrtc_endpoint_id: None,
            status: SessionStatus::Active,
            created_at: jiff::Timestamp::now(),
            updated_at: jiff::Timestamp::now(),
            ended_at: None,
            error_message: None,
        };
        store.apply(&[Write::StreamSession(row)]).await.unwrap();
    }
    let program = Program::start(config).await;
    let simulator = cameras(&program.ready, 2).await;
    let stop = Command::Stop { stream: left };
    let was_told = |camera: &CameraHandle| camera.commands().iter().any(|had| had.command == stop);
    let handle = simulator.cameras()[0].clone();
    handle
        .wait_for(DEADLINE, |state| state.commands > 0)
        .await
        .unwrap();
    assert!(was_told(&handle));
    program.end().await;
    simulator.shutdown().await;
    let store = SqliteStore::open(&database).await.unwrap();
    let sessions = store.stream_sessions(None, 1).await.unwrap();
    assert_eq!(sessions[0].status, SessionStatus::Interrupted);
    assert!(sessions[0].ended_at.is_some());
}
