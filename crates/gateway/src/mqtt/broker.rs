//! The MQTT broker inside this program: `mqtt5` on a TCP listener, with a TLS listener in front of it where configured.
//!
//! It keeps nothing on disk, and everything it keeps in memory is bounded. It is started again if it should fail.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mqtt5::broker::config::{BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::server::{BrokerShutdownHandle, MqttBroker};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::tls::{self, TlsFileError};
use super::{reachable, tls_listener::TlsListener};
use crate::config::MqttConfig;

/// Largest packet a client may send.
const MAX_PACKET: usize = 256 << 10;
/// Largest message that is kept for new subscribers.
const MAX_RETAINED_SIZE: usize = 64 << 10;
/// Most such messages; later ones are refused.
const MAX_RETAINED: usize = 10_000;
/// Most subscriptions of one client.
const MAX_SUBSCRIPTIONS: usize = 64;
/// Messages that may wait for a client, connected or not; then the oldest go.
const MAX_QUEUED: usize = 1000;
/// Bytes that may wait for a client.
const MAX_QUEUED_BYTES: usize = 1 << 20;
/// How long the session of a client that is gone is kept, for those that ask for it.
const SESSION_EXPIRY: Duration = Duration::from_secs(600);
/// How often expired sessions are cleared away.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);
/// How long the broker may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause before it is started again after a failure.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Why the embedded broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerStartError {
    /// The port is taken, or the address is not this machine's.
    #[error("{key} = {address}: the embedded MQTT broker cannot listen there: {cause}; {remedy}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A certificate file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The broker itself refused.
    #[error("the embedded MQTT broker cannot start: {0}")]
    Broker(String),
}

impl BrokerStartError {
    fn listen(key: &'static str, address: SocketAddr, error: &io::Error) -> Self {
        let remedy = if error.kind() == io::ErrorKind::AddrInUse {
            "another program (an MQTT broker?) has the port: stop it, choose another port, or use it by setting mqtt.broker to its address"
        } else if error.kind() == io::ErrorKind::AddrNotAvailable {
            "this machine does not have that address: use 127.0.0.1, 0.0.0.0 or one of its own"
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "choose a port above 1023, or allow the program to use lower ones"
        } else {
            "choose another address"
        };
        Self::Listen {
            key,
            address,
            cause: error.to_string(),
            remedy,
        }
    }
}

/// The running broker.
#[derive(Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
    tls: Option<TlsListener>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl EmbeddedBroker {
    /// Starts it on `mqtt.listen`, and on `mqtt.listen_tls` where set. Ports may be 0; see [`Self::address`].
    ///
    /// # Errors
    /// When it cannot listen, or the certificates cannot be used.
    pub async fn start(config: &MqttConfig) -> Result<Self, BrokerStartError> {
        let embedded = &config.embedded;
        let listen = embedded.listen;
        // `mqtt5` only says in a log which of its listeners failed and why.
        let probe = TcpListener::bind(listen).await;
        drop(probe.map_err(|error| BrokerStartError::listen("mqtt.listen", listen, &error))?);
        let tls = match embedded.listen_tls {
            Some(address) => {
                let server = tls::server_config(&config.tls)?;
                let bound = TcpListener::bind(address).await;
                let listener = bound.map_err(|error| {
                    BrokerStartError::listen("mqtt.listen_tls", address, &error)
                })?;
                Some((address, listener, server))
            }
            None => None,
        };
        let running = Running::start(listen, embedded.max_clients).await?;
        let address = running.address;
        let tls = match tls {
            Some((wanted, listener, server)) => {
                let started =
                    TlsListener::start(listener, server, reachable(address), embedded.max_clients);
                Some(
                    started.map_err(|error| {
                        BrokerStartError::listen("mqtt.listen_tls", wanted, &error)
                    })?,
                )
            }
            None => None,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep_running(running, embedded.max_clients, stop.clone()));
        let broker = Self {
            address,
            tls,
            stop,
            task,
        };
        tracing::info!(listen = %address, tls = broker.tls_address().map(tracing::field::display), "the embedded MQTT broker listens");
        Ok(broker)
    }

    /// Where it listens for plain MQTT, with the port really taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for MQTT over TLS.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(TlsListener::address)
    }

    /// Closes all connections and the listeners.
    pub async fn stop(self) {
        if let Some(tls) = self.tls {
            tls.stop().await;
        }
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the embedded MQTT broker's task failed");
        }
    }
}

/// One run of the broker.
struct Running {
    address: SocketAddr,
    shutdown: BrokerShutdownHandle,
    task: JoinHandle<mqtt5::error::Result<()>>,
}

impl Running {
    async fn start(listen: SocketAddr, max_clients: usize) -> Result<Self, BrokerStartError> {
        let refused = |error: mqtt5::error::MqttError| BrokerStartError::Broker(error.to_string());
        let mut broker = MqttBroker::with_config(settings(listen, max_clients))
            .await
            .map_err(refused)?;
        let address = broker
            .local_addr()
            .ok_or_else(|| BrokerStartError::Broker("it has no listener".to_owned()))?;
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move { broker.run().await });
        match timeout(PATIENCE, ready.wait_for(|ready| *ready)).await {
            Ok(Ok(_)) => Ok(Self {
                address,
                shutdown,
                task,
            }),
            Ok(Err(_)) | Err(_) => {
                task.abort();
                Err(BrokerStartError::Broker(
                    "it does not become ready".to_owned(),
                ))
            }
        }
    }
}

fn settings(listen: SocketAddr, max_clients: usize) -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackend::Memory)
        .with_cleanup_interval(CLEANUP_INTERVAL)
        .with_max_queued_messages_per_client(MAX_QUEUED)
        .with_max_queued_bytes_per_client(MAX_QUEUED_BYTES);
    BrokerConfig::new()
        .with_bind_address(listen)
        .with_max_clients(max_clients)
        .with_max_packet_size(MAX_PACKET)
        .with_maximum_qos(1)
        .with_session_expiry(SESSION_EXPIRY)
        .with_max_retained_messages(MAX_RETAINED)
        .with_max_retained_message_size(MAX_RETAINED_SIZE)
        .with_max_subscriptions_per_client(MAX_SUBSCRIPTIONS)
        .with_client_channel_capacity(MAX_QUEUED)
        .with_sys_topics_enabled(false)
        .with_storage(storage)
}

/// Waits for the end that was asked for, and starts the broker anew after any other.
async fn keep_running(mut running: Running, max_clients: usize, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return end(running).await,
            ended = &mut running.task => {
                tracing::error!(?ended, "the embedded MQTT broker ended by itself; starting it again");
            }
        }
        let address = running.address;
        running = loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(RESTART_PAUSE) => {}
            }
            match Running::start(address, max_clients).await {
                Ok(running) => break running,
                Err(error) => {
                    tracing::error!(%error, "cannot start the embedded MQTT broker again")
                }
            }
        };
    }
}

async fn end(mut running: Running) {
    running.shutdown.shutdown();
    if timeout(PATIENCE, &mut running.task).await.is_err() {
        running.task.abort();
        _ = running.task.await;
    }
}
