//! The listeners of the embedded broker: accepts, takes off TLS, finds out whose certificate it is, and reads the first
//! packet, before the broker sees anything of a connection.
//!
//! Each connection has a task of its own and one deadline for all of that, so a camera that loses its Wi-Fi in the middle
//! of a handshake keeps nobody out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::access::Peer;
use super::admission::{Admission, Door};
use super::certificate;
use super::hub::Hub;
use super::stream::{Bytes, Connection, first_packet};
use super::waiting::WaitingRoom;
use crate::mqtt::explain;
use crate::reason::{Code, Reason};

/// From the connection to the whole of the first packet.
const OPENING_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file descriptors, mostly), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to end when the broker does.
const GOODBYE: Duration = Duration::from_millis(300);

/// TLS as it is set now; a reload may change it.
pub(super) type Tls = watch::Receiver<Arc<ServerConfig>>;

/// What all connections of all listeners share.
pub(super) struct Front {
    pub(super) hub: Hub,
    pub(super) door: Door,
    pub(super) waiting: Arc<WaitingRoom>,
    pub(super) stop: CancellationToken,
}

/// A connection whose first packet is there.
struct Opened {
    begin: Vec<u8>,
    stream: Box<dyn Bytes>,
    peer: Peer,
}

impl Front {
    /// Serves one listener until told to stop.
    pub(super) async fn listen(self: Arc<Self>, listener: TcpListener, tls: Option<Tls>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let acceptor = tls
                        .as_ref()
                        .map(|tls| TlsAcceptor::from(Arc::clone(&tls.borrow())));
                    let front = Arc::clone(&self);
                    connections.spawn(front.meet(stream, address, acceptor));
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept MQTT connections");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        if timeout(GOODBYE, ended).await.is_err() {
            connections.shutdown().await;
        }
    }

    async fn meet(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
    ) {
        let ticket = self.waiting.enter(address.ip());
        let opened = tokio::select! {
            () = self.stop.cancelled() => return,
            () = ticket.evicted() => {
                tracing::debug!(%address, "closed an idle MQTT connection to make room for another");
                return;
            }
            opened = timeout(OPENING_TIMEOUT, open(stream, tls)) => opened,
        };
        drop(ticket);
        match opened {
            Ok(Ok(opened)) => self.serve(opened, address).await,
            Ok(Err(reason)) => self.door.refusals.refuse(address, "", reason),
            Err(_) => {
                tracing::debug!(%address, "closed an MQTT connection that did not say in time who it is");
            }
        }
    }

    async fn serve(&self, opened: Opened, address: SocketAddr) {
        let mut policy = self.door.policy.clone();
        policy.mark_unchanged();
        let admission = Arc::new(Admission::new(self.door.clone(), opened.peer, address));
        let close = CancellationToken::new();
        let connection = Connection::new(opened.begin, opened.stream, address, close.clone());
        let served = self.hub.serve(connection, address, Arc::clone(&admission));
        tokio::pin!(served);
        let ended = loop {
            tokio::select! {
                ended = &mut served => break ended,
                Ok(()) = policy.changed(), if !close.is_cancelled() => {
                    if !admission.may_stay() {
                        tracing::warn!(%address, client = admission.client_id(), "closed an MQTT connection: its client was revoked");
                        close.cancel();
                    }
                }
            }
        };
        admission.leave();
        let client = admission.client_id();
        match ended {
            Ok(()) => tracing::debug!(%address, client, "an MQTT connection ended"),
            Err(error) => tracing::debug!(%address, client, %error, "an MQTT connection ended"),
        }
        if let Some(client) = client
            && !admission.may_stay()
        {
            self.hub.forget_session(client).await;
            let policy = Arc::clone(&self.door.policy.borrow());
            self.hub.forget_cameras(policy.revoked_cameras()).await;
        }
    }
}

/// From the accepted socket to the first packet, with the reason where it does not come to that.
async fn open(stream: TcpStream, tls: Option<TlsAcceptor>) -> Result<Opened, Reason> {
    // Without it the connection is only slower.
    _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return with_first_packet(stream, Peer::Plain).await;
    };
    let stream = tls.accept(stream).await;
    let stream = stream.map_err(|error| explain::handshake(&error))?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    // The handshake ends without one.
    let none = || Reason::new(Code::MqttNoCertificate, "it has no certificate");
    let certificate = certificates.first().ok_or_else(none)?;
    let unreadable = |error| Reason::new(Code::MqttRefused, error);
    let name = certificate::name(certificate).map_err(unreadable)?;
    with_first_packet(stream, Peer::Certified(name)).await
}

async fn with_first_packet(mut stream: impl Bytes + 'static, peer: Peer) -> Result<Opened, Reason> {
    let begin = first_packet(&mut stream).await;
    Ok(Opened {
        begin: begin.map_err(|error| Reason::new(Code::MqttNoHello, error))?,
        stream: Box::new(stream),
        peer,
    })
}
