//! What all routes share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use apiary_media::engine::MediaEngine;
use apiary_media::kurento::Kurento;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::admin::Doctor;
use super::assets::Assets;
use super::host::HostPolicy;
use super::live::Live;
use super::origin::OriginPolicy;
use super::rate::RateLimits;
use super::serving::Bounds;
use super::views::Views;
use super::whep::WhepSessions;
use crate::auth::Accounts;
use crate::config::values::IpNetwork;
use crate::config::{HttpConfig, TurnConfig};
use crate::engine::StartedEngine;
use crate::mqtt::{BrokerFacts, BrokerState};
use crate::oidc::OpenId;
use crate::operation::Operation;
use crate::supervisor::Supervisor;
use crate::tls::Https;
use crate::turn::IceServers;

/// Most WebSockets open at once; one more is refused with 503.
pub(super) const MAX_SOCKETS: usize = 4096;

/// What the HTTP side is given by the program.
pub struct HttpParts {
    /// Drives streams and knows cameras and viewers.
    pub supervisor: Supervisor,
    /// Asked for statistics and health; its media servers can be drained.
    pub engine: StartedEngine,
    /// Whether cameras can be commanded.
    pub broker: watch::Receiver<BrokerState>,
    /// The embedded broker, where there is one.
    pub embedded: Option<BrokerFacts>,
    /// Who may do what.
    pub accounts: Arc<Accounts>,
    /// `[http]`
    pub config: HttpConfig,
    /// `[turn]`
    pub turn: Option<TurnConfig>,
    /// What connections may take.
    pub bounds: Bounds,
    /// Asked by those who run the program.
    pub operation: Operation,
    /// Where HTTPS is spoken.
    pub https: Option<Https>,
    /// Where people may log in too.
    pub oidc: Option<Arc<OpenId>>,
}

/// The sockets of the HTTP side.
#[derive(Debug, Default)]
pub struct HttpListeners {
    /// Pages, API, WHEP, and signaling at `/ws`.
    pub http: Vec<TcpListener>,
    /// Signaling alone, at any path.
    pub signaling: Vec<TcpListener>,
    /// From HTTP to HTTPS.
    pub redirect: Vec<TcpListener>,
}

/// The shared state of all routes; cheap to clone.
#[derive(Clone)]
pub struct HttpState(Arc<Inner>);

/// See [`HttpState`].
pub struct Inner {
    pub(super) supervisor: Supervisor,
    pub(super) engine: Arc<dyn MediaEngine>,
    pub(super) kurento: Option<Arc<Kurento>>,
    pub(super) broker: watch::Receiver<BrokerState>,
    pub(super) embedded: Option<BrokerFacts>,
    pub(super) origins: OriginPolicy,
    pub(super) hosts: HostPolicy,
    pub(super) trusted_proxies: Vec<IpNetwork>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) rates: RateLimits,
    pub(super) ice: IceServers,
    pub(super) whep: WhepSessions,
    pub(super) views: Views,
    pub(super) live: Live,
    pub(super) assets: Assets,
    pub(super) doctor: Doctor,
    pub(super) operation: Operation,
    /// One permit a socket: a bound while running, and all back when the last is closed.
    pub(super) sockets: Arc<Semaphore>,
    pub(super) shutdown: CancellationToken,
    pub(super) started: Instant,
    pub(super) https: Option<Https>,
    pub(super) oidc: Option<Arc<OpenId>>,
}

impl HttpState {
    /// Bundles what the program gives with what only the HTTP side knows.
    pub fn new(parts: HttpParts) -> Self {
        Self(Arc::new(Inner {
            supervisor: parts.supervisor,
            engine: parts.engine.engine,
            kurento: parts.engine.kurento,
            broker: parts.broker,
            embedded: parts.embedded,
            origins: OriginPolicy::new(&parts.config.cors_origins),
            hosts: HostPolicy::new(parts.config.hosts),
            trusted_proxies: parts.config.trusted_proxies,
            accounts: parts.accounts,
            rates: RateLimits::new(
                parts.config.requests_per_second,
                parts.config.joins_per_second,
            ),
            ice: IceServers::new(parts.turn),
            whep: WhepSessions::default(),
            views: Views::default(),
            live: Live::new(Arc::clone(&parts.operation.live_sockets)),
            assets: Assets::new(),
            doctor: Doctor::default(),
            operation: parts.operation,
            sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
            shutdown: CancellationToken::new(),
            started: Instant::now(),
            https: parts.https,
            oidc: parts.oidc,
        }))
    }
}

impl Deref for HttpState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    pub(super) fn broker_connected(&self) -> bool {
        matches!(*self.broker.borrow(), BrokerState::Connected)
    }
}
