//! MQTT over TLS in front of the embedded broker: takes the TLS off and passes the bytes on.
//!
//! `mqtt5` can speak TLS itself, but makes one handshake at a time: a camera that loses its Wi-Fi in the middle of one would
//! keep all others out for ever. Here each connection has a task of its own, a bound on its handshake, and there is a
//! bound on how many there are.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::explain;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file descriptors, mostly), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct TlsListener {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl TlsListener {
    /// Listens; connections beyond `max_clients` are closed at once.
    pub(super) fn start(
        listener: TcpListener,
        config: ServerConfig,
        broker: SocketAddr,
        max_clients: usize,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let slots = Arc::new(Semaphore::new(max_clients));
        let front = Front {
            listener,
            acceptor,
            broker,
            slots,
        };
        let task = tokio::spawn(front.run(stop.clone()));
        Ok(Self {
            address,
            stop,
            task,
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and all its connections.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task of the TLS listener failed");
        }
    }
}

struct Front {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    broker: SocketAddr,
    slots: Arc<Semaphore>,
}

impl Front {
    async fn run(self, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&self.slots).try_acquire_owned() {
                    Ok(slot) => {
                        let connection = serve(self.acceptor.clone(), stream, peer, self.broker);
                        connections.spawn(async move {
                            connection.await;
                            drop(slot);
                        });
                    }
                    Err(_) => {
                        tracing::warn!(%peer, "closed an MQTT connection: mqtt.max_clients is reached")
                    }
                },
                Err(error) => {
                    tracing::error!(%error, "cannot accept MQTT connections over TLS");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        connections.shutdown().await;
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr, broker: SocketAddr) {
    let mut client = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            let reason = explain::handshake(&error);
            tracing::warn!(%peer, reason, "refused an MQTT connection");
            return;
        }
        Err(_) => {
            tracing::debug!(%peer, "closed an MQTT connection that did not finish its TLS handshake");
            return;
        }
    };
    match TcpStream::connect(broker).await {
        Ok(mut broker) => {
            // Either side's end is the other's; how it ended does not matter.
            _ = broker.set_nodelay(true);
            _ = copy_bidirectional(&mut client, &mut broker).await;
        }
        Err(error) => tracing::error!(%error, "the embedded MQTT broker takes no connection"),
    }
}
