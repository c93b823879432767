//! The MQTT broker inside this program: who may connect, and what each may say and hear, over `mqtt5`.
//!
//! The way of a connection: `front` accepts it, within the bounds of `waiting`; `stream` reads its first packet;
//! `admission` asks `access` who it is and what it may do; `hub` passes messages on. It keeps nothing on disk, and
//! everything it keeps in memory is bounded.

mod access;
mod admission;
mod certificate;
mod front;
mod hub;
mod refusals;
mod stream;
mod waiting;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::access::Policy;
use self::admission::Door;
use self::front::Front;
use self::hub::Hub;
pub use self::refusals::{Refusals, Refused};
use self::waiting::WaitingRoom;
use super::tls::{self, TlsFileError};
use crate::config::MqttConfig;

/// How often expired sessions are cleared away.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);

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

/// What is to be known of the running broker.
#[derive(Clone, Debug)]
pub struct BrokerFacts {
    /// Where it listens for plain MQTT, with the port really taken.
    pub address: SocketAddr,
    /// Where it listens for MQTT over TLS.
    pub tls_address: Option<SocketAddr>,
    /// Who was refused lately.
    pub refusals: Arc<Refusals>,
}

/// The running broker.
#[derive(Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    refusals: Arc<Refusals>,
    policy: watch::Sender<Arc<Policy>>,
    tls: Option<watch::Sender<Arc<ServerConfig>>>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts it on `mqtt.listen`, and on `mqtt.listen_tls` where set. Ports may be 0; see [`Self::address`]. Whoever gives
    /// `config.credentials` may do everything.
    ///
    /// # Errors
    /// When it cannot listen, or the certificates cannot be used.
    pub async fn start(config: &MqttConfig) -> Result<Self, BrokerStartError> {
        let embedded = &config.embedded;
        let (plain, address) = listen("mqtt.listen", embedded.listen).await?;
        let mut listeners = vec![(plain, None)];
        let mut tls_address = None;
        let mut tls = None;
        if let Some(wanted) = embedded.listen_tls {
            let server = watch::Sender::new(Arc::new(tls::server_config(&config.tls)?));
            let (listener, address) = listen("mqtt.listen_tls", wanted).await?;
            listeners.push((listener, Some(server.subscribe())));
            tls_address = Some(address);
            tls = Some(server);
        }
        let policy = watch::Sender::new(Arc::new(Policy::new(config)));
        let refusals = Arc::new(Refusals::default());
        let stop = CancellationToken::new();
        let front = Arc::new(Front {
            hub: Hub::new(),
            door: Door {
                policy: policy.subscribe(),
                slots: Arc::new(Semaphore::new(embedded.max_clients)),
                refusals: Arc::clone(&refusals),
            },
            waiting: Arc::new(WaitingRoom::default()),
            stop: stop.clone(),
        });
        let mut tasks = vec![tokio::spawn(tidy(Arc::clone(&front)))];
        for (listener, tls) in listeners {
            tasks.push(tokio::spawn(Arc::clone(&front).listen(listener, tls)));
        }
        tracing::info!(listen = %address, tls = tls_address.map(tracing::field::display), "the embedded MQTT broker listens");
        Ok(Self {
            address,
            tls_address,
            refusals,
            policy,
            tls,
            stop,
            tasks,
        })
    }

    /// Where it listens for plain MQTT, with the port really taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for MQTT over TLS.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// What is to be known of it.
    pub fn facts(&self) -> BrokerFacts {
        BrokerFacts {
            address: self.address,
            tls_address: self.tls_address,
            refusals: Arc::clone(&self.refusals),
        }
    }

    /// Takes over `mqtt.extra_clients`, `mqtt.revoked` and the certificate files. Who may no longer be connected is
    /// disconnected, and forgotten; the login of the program's own client stays.
    ///
    /// # Errors
    /// When the certificates cannot be used; those that it has stay.
    pub fn reload(&self, config: &MqttConfig) -> Result<(), TlsFileError> {
        self.policy
            .send_modify(|policy| *policy = Arc::new(policy.reloaded(config)));
        if let Some(current) = &self.tls {
            current.send_replace(Arc::new(tls::server_config(&config.tls)?));
        }
        Ok(())
    }

    /// Closes all connections and the listeners.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the embedded MQTT broker failed");
            }
        }
    }
}

async fn listen(
    key: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), BrokerStartError> {
    let refused = |error| BrokerStartError::listen(key, address, &error);
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

/// Clears away what expired, and what those left who were revoked. At the end it tells all connections.
async fn tidy(front: Arc<Front>) {
    let mut policy = front.door.policy.clone();
    let mut expired = interval(CLEANUP_INTERVAL);
    expired.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = front.stop.cancelled() => return front.hub.shut_down(),
            _ = expired.tick() => front.hub.sweep().await,
            Ok(()) = policy.changed() => {
                let current = Arc::clone(&policy.borrow_and_update());
                front.hub.forget_cameras(current.revoked_cameras()).await;
            }
        }
    }
}
