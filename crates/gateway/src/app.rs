//! The wiring of the program: every part is started, given what it needs, and ended in order.
//!
//! Each level below owns one thing: it starts it, runs what needs it, and ends it, whether that went well or not. So the
//! order of the ending is the order of the starting backwards: pages and streams, database writer, MQTT, engine, database.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apiary_store::{AccountStore, PostgresStore, SqliteStore, Store, StoreError, StoreWriter};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::auth::{Accounts, KeyServer, PublicKeys, PublicKeysError};
use crate::cli::with_causes;
use crate::config::{Config, KeysFrom, MqttConfig};
use crate::engine::{self, EngineStartError, StartedEngine};
use crate::http::{Bounds, HttpListeners, HttpParts, HttpServer};
use crate::logging::LogLevel;
use crate::metrics::MetricsListener;
use crate::mqtt::tls::TlsFileError;
use crate::mqtt::{EmbeddedBroker, Mqtt, MqttStartError};
use crate::oidc::OpenId;
use crate::operation::{Announcers, Operation, Reloaded, Reloads, ServiceManager};
use crate::push::{Push, PushStartError};
use crate::secret::Secret;
use crate::supervisor::{CameraCommands, Supervisor, SupervisorParts};
use crate::tls::{Tls, TlsStartError};
use crate::webhooks::Webhooks;

/// Name of the database inside `data.dir`.
pub const DATABASE: &str = "apiary.db";
/// Time for the last rows to be written.
const WRITER_PATIENCE: Duration = Duration::from_millis(500);
/// Time for the MQTT client, the broker, the engine and the database to end, each.
const PART_PATIENCE: Duration = Duration::from_millis(700);

/// Where the program listens once it runs.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    /// Pages, API, WHEP and signaling.
    pub http: Vec<SocketAddr>,
    /// Signaling alone.
    pub signaling: Vec<SocketAddr>,
    /// From HTTP to HTTPS.
    pub redirect: Vec<SocketAddr>,
    /// Whether the first two speak HTTPS.
    pub https: bool,
    /// The embedded broker, where there is one.
    pub broker: Option<SocketAddr>,
    /// Figures alone, where they have a listener of their own.
    pub metrics: Option<SocketAddr>,
    /// The secret of the link that makes the first administrator, while there is none.
    pub setup: Option<Secret>,
}

/// How the running program is told things.
pub struct Controls {
    /// Ends it.
    pub shutdown: CancellationToken,
    /// Has it take over settings as far as that can be done while it runs.
    pub reloads: Reloads,
    /// Told how the program does.
    pub service_manager: ServiceManager,
    /// The level of the log, as it is set up.
    pub log_level: LogLevel,
}

impl Controls {
    /// With settings that stay as they are, and started by no service manager.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self {
            shutdown,
            reloads: Reloads::none(),
            service_manager: ServiceManager::default(),
            log_level: LogLevel::default(),
        }
    }
}

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address cannot be listened on.
    #[error("{key}: cannot listen on {address}: {}", remedy(.source))]
    Listen {
        /// The key that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker or the client of it cannot start.
    #[error(transparent)]
    Mqtt(#[from] MqttStartError),
    /// The media engine cannot start.
    #[error(transparent)]
    Engine(#[from] EngineStartError),
    /// The certificate authority of somebody who is asked or told something cannot be used.
    #[error(transparent)]
    Authority(#[from] TlsFileError),
    /// Browsers cannot be notified.
    #[error(transparent)]
    Push(#[from] PushStartError),
    /// There are no keys of signed tokens.
    #[error(transparent)]
    PublicKeys(#[from] PublicKeysError),
    /// There is no certificate for HTTPS.
    #[error(transparent)]
    Tls(#[from] TlsStartError),
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "another program uses that port; stop it, or choose another port"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "this user may not use that port; choose one above 1023"
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        "this machine does not have that address; use one of its own, or 0.0.0.0 for all"
    } else {
        "the system refuses it"
    }
}

/// Runs the program until its shutdown, then ends it within 5 s. `ready` is told once everything listens.
///
/// # Errors
/// When a part cannot start; the text says which setting to change.
pub async fn run(
    config: Config,
    controls: Controls,
    ready: oneshot::Sender<Ready>,
) -> Result<(), AppError> {
    let listeners = Listeners::bind(&config).await?;
    let webhooks = Webhooks::new(&config)?;
    let oidc = config.oidc.as_ref().map(OpenId::new).transpose()?;
    let oidc = oidc.map(Arc::new);
    let tls = Tls::start(&config).await?;
    let (store, accounts) = open_store(&config).await?;
    let mut app = App {
        config: Arc::new(config),
        store: Arc::clone(&store),
        accounts,
        shutdown: controls.shutdown,
        reloads: controls.reloads,
        service_manager: controls.service_manager,
        log_level: controls.log_level,
        tls,
        webhooks,
        oidc,
        background: JoinSet::new(),
    };
    let ended = match engine::start(&app.config) {
        Ok(engine) => app.with_engine(engine, listeners, ready).await,
        Err(error) => Err(error.into()),
    };
    in_time("the database", store.close()).await;
    if let Some(tls) = app.tls {
        in_time("the certificate", tls.shutdown()).await;
    }
    ended
}

/// The database that the configuration names, on a server or in a file: its history and its accounts.
pub(crate) async fn open_store(
    config: &Config,
) -> Result<(Arc<dyn Store>, Arc<dyn AccountStore>), StoreError> {
    if let Some(target) = &config.database.target {
        let store = Arc::new(PostgresStore::open(target, config.database.pool_size).await?);
        return Ok((Arc::clone(&store) as _, store));
    }
    let store = Arc::new(SqliteStore::open(&database(config)).await?);
    Ok((Arc::clone(&store) as _, store))
}

/// The database file of a configuration that names no server.
pub fn database(config: &Config) -> PathBuf {
    config.data.dir.join(DATABASE)
}

/// What all levels need.
struct App {
    config: Arc<Config>,
    store: Arc<dyn Store>,
    accounts: Arc<dyn AccountStore>,
    shutdown: CancellationToken,
    reloads: Reloads,
    service_manager: ServiceManager,
    log_level: LogLevel,
    tls: Option<Tls>,
    webhooks: Webhooks,
    oidc: Option<Arc<OpenId>>,
    /// What has no end of its own; it ends with the program.
    background: JoinSet<()>,
}

impl App {
    async fn with_engine(
        &mut self,
        engine: StartedEngine,
        listeners: Listeners,
        ready: oneshot::Sender<Ready>,
    ) -> Result<(), AppError> {
        let ended = self.with_mqtt(engine.clone(), listeners, ready).await;
        in_time("the media engine", engine.engine.shutdown()).await;
        ended
    }

    async fn with_mqtt(
        &mut self,
        engine: StartedEngine,
        listeners: Listeners,
        ready: oneshot::Sender<Ready>,
    ) -> Result<(), AppError> {
        let mqtt_config: &MqttConfig = &self.config.mqtt;
        let mqtt = Mqtt::start(mqtt_config).await?;
        let ended = self
            .with_store_writer(&mqtt, engine, listeners, ready)
            .await;
        in_time("MQTT", mqtt.shutdown()).await;
        ended
    }

    async fn with_store_writer(
        &mut self,
        mqtt: &Mqtt,
        engine: StartedEngine,
        listeners: Listeners,
        ready: oneshot::Sender<Ready>,
    ) -> Result<(), AppError> {
        let (writer, task) =
            StoreWriter::spawn_with(Arc::clone(&self.store), self.config.retention);
        let commands: Arc<dyn CameraCommands> = Arc::new(mqtt.control.clone());
        let parts = SupervisorParts {
            config: Arc::clone(&self.config),
            engine: Arc::clone(&engine.engine),
            commands: Arc::clone(&commands),
            store: Arc::clone(&self.store),
            writer: writer.clone(),
        };
        let ended = match self.start_control(parts).await {
            Ok((supervisor, accounts, push)) => {
                let media = Arc::clone(&engine.engine);
                let webhooks = self.webhooks.clone();
                let reloader = self.reloads.reloader();
                let parts = HttpParts {
                    operation: Operation::new(
                        supervisor.clone(),
                        media,
                        commands,
                        writer,
                        Announcers { webhooks, push },
                        reloader,
                        self.tls.as_ref().map(Tls::https),
                    ),
                    supervisor,
                    engine,
                    broker: mqtt.control.broker(),
                    embedded: mqtt.broker.as_ref().map(EmbeddedBroker::facts),
                    accounts,
                    config: self.config.http.clone(),
                    turn: self.config.turn.clone(),
                    bounds: self.bounds(),
                    https: self.tls.as_ref().map(Tls::https),
                    oidc: self.oidc.clone(),
                };
                self.with_streams(mqtt, parts, listeners, ready).await;
                Ok(())
            }
            Err(error) => Err(error),
        };
        task.shutdown(WRITER_PATIENCE).await;
        ended
    }

    /// What decides: who may do what, what streams do, and who is notified of it.
    async fn start_control(
        &mut self,
        parts: SupervisorParts,
    ) -> Result<(Supervisor, Arc<Accounts>, Push), AppError> {
        let accounts = Accounts::open(
            Arc::clone(&self.accounts),
            parts.writer.clone(),
            &self.config.auth,
        )
        .await?;
        let accounts = Arc::new(accounts);
        self.keep_public_keys(&accounts).await?;
        let push = Push::open(&self.config.push, self.accounts.as_ref()).await?;
        let supervisor = Supervisor::start_up(parts).await?;
        Ok((supervisor, accounts, push))
    }

    /// Keys of a file must be there; a server may come later.
    async fn keep_public_keys(&mut self, accounts: &Accounts) -> Result<(), AppError> {
        let (jwt, keys) = (&self.config.auth.jwt, Arc::clone(accounts.public_keys()));
        match jwt.jwks.clone() {
            None => {}
            Some(KeysFrom::File(path)) => {
                let file = PublicKeys::take(keys, path).await?;
                self.background.spawn(file.keep());
            }
            Some(KeysFrom::Server(url)) => {
                let server = KeyServer::new(keys, url, jwt.jwks_ca.as_deref())?;
                self.background.spawn(server.keep());
            }
        }
        Ok(())
    }

    fn bounds(&self) -> Bounds {
        let http = &self.config.http;
        Bounds::new(http.max_connections, http.max_connections_per_address).within_descriptors()
    }

    async fn with_streams(
        &mut self,
        mqtt: &Mqtt,
        parts: HttpParts,
        listeners: Listeners,
        ready: oneshot::Sender<Ready>,
    ) {
        let addresses = Ready {
            setup: parts.accounts.open_setup(),
            ..listeners.addresses(mqtt, parts.https.is_some())
        };
        let supervisor = parts.supervisor.clone();
        let running = Running {
            mqtt,
            engine: parts.engine.clone(),
            supervisor: supervisor.clone(),
        };
        let operation = parts.operation.clone();
        let webhooks = self.webhooks.tell_of(&supervisor).await;
        let push = operation.push.tell_of(&supervisor, &parts.accounts);
        let metrics = listeners
            .metrics
            .map(|listener| MetricsListener::start(operation.metrics.clone(), listener));
        let server = HttpServer::start(parts, listeners.http);
        // A task of its own: that the one here hangs is what it must notice.
        let signs = self.service_manager.clone();
        let signs = tokio::spawn(signs.give_signs_of_life(operation.liveness.clone()));
        tokio::select! {
            () = self.serve(&running, addresses, ready) => {}
            () = operation.watch() => {} // has no end
        }
        signs.abort();
        if let Some(metrics) = metrics {
            metrics.shutdown().await;
        }
        // Pages are told by both: that the server goes, and that their stream does.
        tokio::join!(server.shutdown(), supervisor.shutdown());
        push.shutdown().await;
        // They are told that streams stopped.
        webhooks.shutdown().await;
    }

    async fn serve(
        &mut self,
        running: &Running<'_>,
        addresses: Ready,
        ready: oneshot::Sender<Ready>,
    ) {
        tracing::info!(
            http = ?addresses.http,
            signaling = ?addresses.signaling,
            redirect = ?addresses.redirect,
            https = addresses.https,
            broker = ?addresses.broker,
            metrics = ?addresses.metrics,
            "ready"
        );
        self.service_manager.ready();
        // Who started the program may not be interested.
        let _ = ready.send(addresses);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                Some(request) = self.reloads.next() => {
                    let reloaded = self.take_over(&request.config, running);
                    // Who asked may not be interested any more.
                    let _ = request.done.send(reloaded);
                }
            }
        }
        self.service_manager.stopping();
        tracing::info!("shutting down");
    }

    /// Passes to the parts what can be changed while they run.
    fn take_over(&mut self, new: &Config, running: &Running<'_>) -> Reloaded {
        let mut config = Config::clone(&self.config);
        let changes = config.take_over(new);
        self.config = Arc::new(config);
        self.log_level.set(self.config.log.level);
        running.supervisor.reload(Arc::clone(&self.config));
        running.engine.reload(&self.config);
        let broker = running.mqtt.reload(&self.config.mqtt);
        if let Some(tls) = &self.tls {
            drop(tls.reload());
        }
        let failed = broker.err().map(|error| with_causes(&error));
        Reloaded {
            changes,
            failed: failed.into_iter().collect(),
        }
    }
}

/// The parts that settings are passed on to.
struct Running<'a> {
    mqtt: &'a Mqtt,
    engine: StartedEngine,
    supervisor: Supervisor,
}

async fn in_time(what: &'static str, ending: impl Future<Output = ()>) {
    if timeout(PART_PATIENCE, ending).await.is_err() {
        tracing::warn!("{what} did not end in time");
    }
}

/// The sockets of the HTTP side, bound before anything else is started.
struct Listeners {
    http: HttpListeners,
    metrics: Option<TcpListener>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, AppError> {
        let http = HttpListeners {
            http: bind_all("http.listen", &config.http.listen).await?,
            signaling: bind_all("signaling.listen", &config.signaling.listen).await?,
            redirect: bind_all("tls.redirect_listen", &config.tls.redirect_listen).await?,
        };
        Ok(Self {
            http,
            metrics: bind_all("metrics.listen", config.metrics.listen.as_slice())
                .await?
                .pop(),
        })
    }

    fn addresses(&self, mqtt: &Mqtt, https: bool) -> Ready {
        let bound = |listeners: &[TcpListener]| {
            listeners
                .iter()
                .filter_map(|listener| listener.local_addr().ok())
                .collect()
        };
        Ready {
            http: bound(&self.http.http),
            signaling: bound(&self.http.signaling),
            redirect: bound(&self.http.redirect),
            https,
            broker: mqtt.broker.as_ref().map(|broker| broker.address()),
            setup: None,
            metrics: self
                .metrics
                .as_ref()
                .and_then(|listener| listener.local_addr().ok()),
        }
    }
}

async fn bind_all(
    key: &'static str,
    addresses: &[SocketAddr],
) -> Result<Vec<TcpListener>, AppError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| AppError::Listen {
                key,
                address: *address,
                source,
            })?;
        listeners.push(listener);
    }
    Ok(listeners)
}
