//! The serving loop: takes connections, bounds how many there are and how long each may dawdle, and speaks HTTP/1.1 on them.
//!
//! A stranger who is slow, or many, costs a bounded amount of memory and keeps nobody else waiting. What is answered
//! belongs to the routes; this knows connections only.

mod admission;
mod body;
mod connection;
mod refusal;
mod secure;
mod stall;
mod trouble;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use nix::sys::resource::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub(super) use admission::site_of;
pub(super) use body::BodyTooSlow;
pub(super) use secure::Secured;

use admission::Admission;
use connection::Server;
use refusal::Refusals;
use secure::Taken;
use stall::StallGuard;
use trouble::Trouble;

/// Time for the whole head of a request; also how long a connection is kept for the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the whole body: 256 KiB at a tenth of what the slowest mobile networks do.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may take nothing of an answer.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Of the descriptors that the process may have, connections get so many quarters; streams and files need the others.
const QUARTERS_OF_DESCRIPTORS: usize = 3;

/// What a request came in over; each request carries it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Whether it is encrypted.
    pub tls: bool,
}

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address (of IPv6: one /64), loopback excepted.
    pub max_connections_per_address: usize,
    /// Time for the head of a request.
    pub head_timeout: Duration,
    /// Time for its body.
    pub body_timeout: Duration,
    /// Time in which a client takes something of what is sent to it.
    pub stall_timeout: Duration,
}

impl Bounds {
    /// With the times that are right for the internet.
    pub fn new(max_connections: usize, max_connections_per_address: usize) -> Self {
        Self {
            max_connections,
            max_connections_per_address,
            head_timeout: HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
        }
    }

    /// No more connections than the process has descriptors for, so that the next one can be told so, and streams that run
    /// get theirs.
    #[must_use]
    pub fn within_descriptors(mut self) -> Self {
        let Ok((soft, _hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return self;
        };
        let descriptors = usize::try_from(soft).unwrap_or(usize::MAX);
        let most = (descriptors / 4).saturating_mul(QUARTERS_OF_DESCRIPTORS);
        if most < self.max_connections {
            tracing::warn!(
                "http.max_connections = {} needs more file descriptors than this process may have ({descriptors}, `ulimit -n`): \
                 {most} connections are taken at once",
                self.max_connections
            );
            self.max_connections = most;
        }
        self
    }
}

/// What all listeners share.
#[derive(Clone)]
pub(super) struct Serving {
    bounds: Bounds,
    admission: Arc<Admission>,
    refusals: Arc<Refusals>,
    shutdown: CancellationToken,
}

impl Serving {
    pub(super) fn new(bounds: Bounds, shutdown: CancellationToken) -> Self {
        let admission = Admission::new(bounds.max_connections, bounds.max_connections_per_address);
        Self {
            bounds,
            admission: Arc::new(admission),
            refusals: Arc::new(Refusals::default()),
            shutdown,
        }
    }

    /// Serves a listener until the shutdown, and then its connections until each is through with its request.
    pub(super) async fn run(self, listener: TcpListener, router: Router, secured: Option<Secured>) {
        let server = Server::new(router, self.bounds, self.shutdown.clone());
        let port = Port { server, secured };
        let mut connections = JoinSet::new();
        let mut trouble = Trouble::default();
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    note_panic(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer, &port, &mut connections),
                Err(error) => trouble.cannot_accept(&error).await,
            }
        }
        drop(listener);
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    }

    fn take(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        port: &Port,
        connections: &mut JoinSet<()>,
    ) {
        let permit = match self.admission.admit(peer.ip()) {
            Ok(permit) => permit,
            Err(full) => {
                let speaks_tls = port.secured.is_some();
                return self.refusals.refuse(stream, full, speaks_tls, connections);
            }
        };
        let Ok(local) = stream.local_addr() else {
            return; // it is gone already
        };
        // Signaling messages are small and waited for; only speed is lost where it cannot be set.
        _ = stream.set_nodelay(true);
        let connection = Connection {
            peer,
            local,
            tls: false,
        };
        // The permit goes with the stream, which a WebSocket keeps longer than the task that took it.
        let stream = StallGuard::new(stream, self.bounds.stall_timeout, permit);
        let server = port.server.clone();
        match port.secured.clone() {
            None => connections.spawn(async move { server.serve(stream, connection).await }),
            Some(secured) => {
                let taken = Taken { stream, connection };
                let bounds = self.bounds;
                connections.spawn(async move { secured.serve(taken, server, bounds).await })
            }
        };
    }
}

/// What one listener serves.
struct Port {
    server: Server,
    secured: Option<Secured>,
}

fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of an HTTP connection failed; others are not affected");
    }
}
