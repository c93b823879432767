//! The HTTP side over a real supervisor and a real database. Only the far ends stand in: an engine that remembers what it was
//! told, and cameras that do nothing by themselves. (The browser tests run the whole program.)

#![allow(dead_code)] // each test file uses its part

pub(crate) mod engine;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiary::auth::{Accounts, Principal};
use apiary::config::{Config, Environment, TurnConfig};
use apiary::engine::StartedEngine;
use apiary::http::{Bounds, HttpListeners, HttpParts, HttpServer};
use apiary::mqtt::{BrokerState, ControlError, ControlEvent};
use apiary::oidc::OpenId;
use apiary::operation::{Announcers, Operation, Reloads};
use apiary::push::{Counts as PushCounts, Push, PushTask};
use apiary::supervisor::{CameraCommands, Supervisor, SupervisorParts};
use apiary::tls::Https;
use apiary::webhooks::Webhooks;
use apiary_media::engine::EngineEvent;
use apiary_store::{SqliteStore, Store, StoreWriter, SubscriptionRow, WriterTask};
use apiary_wire::camera::{CameraMessage, Command};
use apiary_wire::id::CameraId;
use async_trait::async_trait;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(crate) use engine::FakeEngine;

pub(crate) const CAMERA: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";
pub(crate) const OTHER_CAMERA: &str = "0123456789ABCDEF0123456789ABCDEF";
/// What Chromium 156 offers for one received picture and sound, before it gathered candidates.
pub(crate) const OFFER: &str = include_str!("chromium_156_offer.sdp");
/// What the stand-in engine answers.
pub(crate) const ANSWER: &str = include_str!("answer.sdp");

/// Whatever a test waits for must come within this time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Waits for an event, or fails the test.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in time"))
}

/// The HTTP side on ports of its own.
pub(crate) struct Gateway {
    pub(crate) http: SocketAddr,
    pub(crate) signaling: SocketAddr,
    /// Sends to HTTPS, where that is spoken.
    pub(crate) redirect: SocketAddr,
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) supervisor: Supervisor,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) accounts: Arc<Accounts>,
    cameras: Arc<QuietCameras>,
    client: reqwest::Client,
    server: HttpServer,
    writer: WriterTask,
    push: Push,
    notifying: PushTask,
    watching: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// A TURN and a STUN server that browsers are told of.
pub(crate) fn turn() -> Option<TurnConfig> {
    let variables = [
        (
            "APIARY_TURN_URLS",
            "turn:turn.example:3479,turns:turn.example?transport=tcp,stun:stun.example",
        ),
        ("APIARY_TURN_SECRET", "canary-0123456789"),
    ];
    let environment = Environment {
        variables: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Environment::default()
    };
    Config::load(None, &environment).unwrap().turn
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_within(Bounds::new(1024, 1024)).await
    }

    /// With other bounds for connections.
    pub(crate) async fn start_within(bounds: Bounds) -> Self {
        Self::start_with(bounds, None).await
    }

    /// Over HTTPS, where that is given.
    pub(crate) async fn start_with(bounds: Bounds, https: Option<Https>) -> Self {
        Self::start_by(bounds, https, |_| {}).await
    }

    /// With accounts on.
    pub(crate) async fn start_closed() -> Self {
        let bounds = Bounds::new(1024, 1024);
        Self::start_by(bounds, None, |config| config.auth.enabled = true).await
    }

    /// With another configuration.
    pub(crate) async fn start_by(
        bounds: Bounds,
        https: Option<Https>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Arc::new(FakeEngine::default());
        let cameras = Arc::new(QuietCameras::default());
        let database = SqliteStore::open(&dir.path().join("test.db")).await;
        let database = Arc::new(database.unwrap());
        let store: Arc<dyn Store> = database.clone();
        let (writes, writer) = StoreWriter::spawn(Arc::clone(&store));
        let mut config = Config::load(None, &Environment::default()).unwrap();
        config.network.local_ip = Ipv4Addr::LOCALHOST;
        change(&mut config);
        let http_config = config.http.clone();
        let turn = config.turn.clone();
        let auth = config.auth.clone();
        let oidc = config.oidc.as_ref();
        let oidc = oidc.map(|oidc| Arc::new(OpenId::new(oidc).unwrap()));
        let push = Push::open(&config.push, database.as_ref()).await.unwrap();
        let accounts = Accounts::open(database, writes.clone(), &auth).await;
        let accounts = Arc::new(accounts.unwrap());
        let supervisor = Supervisor::start_up(SupervisorParts {
            config: Arc::new(config),
            engine: engine.clone(),
            commands: cameras.clone(),
            store: Arc::clone(&store),
            writer: writes.clone(),
        })
        .await
        .unwrap();
        let webhooks =
            Webhooks::new(&Config::load(None, &Environment::default()).unwrap()).unwrap();
        let operation = Operation::new(
            supervisor.clone(),
            engine.clone(),
            cameras.clone(),
            writes,
            Announcers {
                webhooks,
                push: push.clone(),
            },
            Reloads::none().reloader(),
            https.clone(),
        );
        let notifying = push.tell_of(&supervisor, &accounts);
        let watched = operation.clone();
        let parts = HttpParts {
            supervisor: supervisor.clone(),
            engine: StartedEngine {
                engine: engine.clone(),
                kurento: None,
            },
            broker: cameras.broker(),
            embedded: None,
            accounts: Arc::clone(&accounts),
            config: http_config,
            turn,
            bounds,
            operation,
            https,
            oidc,
        };
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let signaling = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let redirect = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self {
            http: http.local_addr().unwrap(),
            signaling: signaling.local_addr().unwrap(),
            engine,
            supervisor,
            store,
            accounts,
            cameras,
            client: reqwest::Client::new(),
            redirect: redirect.local_addr().unwrap(),
            server: HttpServer::start(
                parts,
                HttpListeners {
                    http: vec![http],
                    signaling: vec![signaling],
                    redirect: vec![redirect],
                },
            ),
            writer,
            push,
            notifying,
            watching: tokio::spawn(async move { watched.watch().await }),
            _dir: dir,
        }
    }

    pub(crate) async fn stop(self) {
        within("the shutdown", async {
            self.watching.abort();
            self.notifying.shutdown().await;
            self.supervisor.shutdown().await;
            self.server.shutdown().await;
            self.writer.shutdown(Duration::from_secs(1)).await;
        })
        .await;
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client
            .request(method, format!("http://{}{path}", self.http))
            .timeout(DEADLINE)
    }

    pub(crate) async fn get_json(&self, path: &str) -> Value {
        let response = self.request("GET", path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    pub(crate) async fn post_json(&self, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let request = self.request("POST", path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    pub(crate) async fn post_offer(&self, camera: &str, offer: &str) -> Response {
        self.request("POST", &format!("/whep/{camera}"))
            .header("content-type", "application/sdp")
            .body(offer.to_owned())
            .send()
            .await
            .unwrap()
    }

    /// The path of a new WHEP session.
    pub(crate) async fn join_by_whep(&self, camera: &str) -> String {
        let response = self.post_offer(camera, OFFER).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        response.headers()["location"].to_str().unwrap().to_owned()
    }

    /// The camera's first RTP comes, and the API shows it.
    pub(crate) async fn rtp_started(&self, camera: &str) {
        let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        self.engine.say(EngineEvent::RtpStarted {
            camera: id(camera),
            source: Some(source),
        });
        self.until("active", || {
            let stream = self.supervisor.stream(id(camera));
            stream.is_some_and(|stream| stream.phase.as_str() == "active")
        })
        .await;
    }

    /// What was counted about notifications.
    pub(crate) fn push_counts(&self) -> &PushCounts {
        self.push.counts()
    }

    /// Waits until those who are notified are so.
    pub(crate) async fn until_subscribed(
        &self,
        what: &str,
        is_so: impl Fn(&[SubscriptionRow]) -> bool,
    ) {
        let mut changes = self.accounts.changes();
        within(what, async {
            while !is_so(&self.accounts.subscriptions_of(&Principal::anybody())) {
                changes.changed().await.unwrap();
            }
        })
        .await;
    }

    /// What cameras were told so far.
    pub(crate) fn commanded(&self) -> Vec<(CameraId, Command)> {
        self.cameras.commanded.lock().unwrap().clone()
    }

    /// The broker takes no more commands.
    pub(crate) fn refuse_commands(&self, error: ControlError) {
        *self.cameras.refusal.lock().unwrap() = Some(error);
    }

    /// The way to the broker is so from now on.
    pub(crate) fn set_broker(&self, state: BrokerState) {
        self.cameras.broker.send_replace(state);
    }

    pub(crate) async fn camera_says_hello(&self, camera: &str) {
        self.camera_says(
            camera,
            r#"{"status":"connected","device":{"softwareVersion":"5.2.1"}}"#,
        )
        .await;
    }

    /// A connection message of a camera; done when the camera is known.
    pub(crate) async fn camera_says(&self, camera: &str, connection: &str) {
        let topic = format!("prod/device/connection/hive-cam/{camera}");
        let camera = self.camera_publishes(&topic, connection);
        self.until("known", || {
            self.supervisor
                .cameras()
                .iter()
                .any(|known| known.camera == camera)
        })
        .await;
    }

    /// Any message of a camera.
    pub(crate) fn camera_publishes(&self, topic: &str, payload: &str) -> CameraId {
        let raw = payload.as_bytes();
        let (camera, message) = CameraMessage::parse(topic, raw).unwrap();
        let said = ControlEvent::Camera {
            camera,
            message,
            raw: Arc::from(raw),
            retained: false,
        };
        self.cameras.events.send(said).unwrap();
        camera
    }

    /// Waits until something is so. Changes are announced by the supervisor's events.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let mut events = self.supervisor.events();
        within(what, async {
            while !holds() {
                let _ = events.recv().await;
            }
        })
        .await;
    }

    pub(crate) async fn socket(&self) -> Socket {
        Socket::open(&format!("ws://{}/ws", self.http), None)
            .await
            .unwrap()
    }
}

pub(crate) fn id(camera: &str) -> CameraId {
    camera.parse().unwrap()
}

/// A signaling socket as a page has it.
pub(crate) struct Socket(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn open(url: &str, origin: Option<&str>) -> Result<Self, Box<WsError>> {
        let mut request = url.into_client_request().unwrap();
        if let Some(origin) = origin {
            request
                .headers_mut()
                .insert("origin", origin.parse().unwrap());
        }
        let (socket, _) =
            within("the handshake", tokio_tungstenite::connect_async(request)).await?;
        Ok(Self(socket))
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.say_text(&message.to_string()).await;
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next JSON message, `None` once the socket is closed.
    pub(crate) async fn hear(&mut self) -> Option<Value> {
        within("a message", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return Some(serde_json::from_str(&text).unwrap());
                    }
                    Some(Ok(Message::Close(_))) | Some(Err(_)) | None => return None,
                    Some(Ok(
                        Message::Ping(_)
                        | Message::Pong(_)
                        | Message::Binary(_)
                        | Message::Frame(_),
                    )) => {}
                }
            }
        })
        .await
    }

    /// The next message of this type; others are passed over.
    pub(crate) async fn hear_type(&mut self, kind: &str) -> Value {
        loop {
            let message = self
                .hear()
                .await
                .unwrap_or_else(|| panic!("closed instead of {kind}"));
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The code with which the server closes.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        within("the close", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        })
        .await
    }
}

/// Cameras that take commands and do nothing.
struct QuietCameras {
    events: broadcast::Sender<ControlEvent>,
    broker: watch::Sender<BrokerState>,
    commanded: Mutex<Vec<(CameraId, Command)>>,
    refusal: Mutex<Option<ControlError>>,
}

impl Default for QuietCameras {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(64),
            broker: watch::Sender::new(BrokerState::Connected),
            commanded: Mutex::default(),
            refusal: Mutex::default(),
        }
    }
}

#[async_trait]
impl CameraCommands for QuietCameras {
    async fn send(&self, camera: CameraId, command: Command) -> Result<(), ControlError> {
        if let Some(refusal) = &*self.refusal.lock().unwrap() {
            return Err(refusal.clone());
        }
        self.commanded.lock().unwrap().push((camera, command));
        Ok(())
    }

    fn events(&self) -> broadcast::Receiver<ControlEvent> {
        self.events.subscribe()
    }

    fn broker(&self) -> watch::Receiver<BrokerState> {
        self.broker.subscribe()
    }
}
