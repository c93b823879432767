//! A port that speaks HTTPS: the handshake, and those who come without one.

use std::io;
use std::time::Duration;

use axum::Router;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::Server;
use super::stall::StallGuard;
use super::{Bounds, Connection};
use crate::tls::Https;

/// The first octet of a TLS handshake (RFC 8446 §5.1); no HTTP request begins with it.
const HANDSHAKE: u8 = 0x16;

/// What a listener needs to speak HTTPS.
#[derive(Clone)]
pub(in crate::http) struct Secured {
    /// Certificate and protocols.
    pub(in crate::http) https: Https,
    /// Answers those who speak HTTP.
    pub(in crate::http) plain: Router,
}

/// A connection that was just taken.
pub(super) struct Taken {
    pub(super) stream: StallGuard<TcpStream>,
    pub(super) connection: Connection,
}

impl Secured {
    /// Serves HTTPS with `server`, or says where that is.
    pub(super) async fn serve(self, taken: Taken, server: Server, bounds: Bounds) {
        let Taken {
            stream,
            mut connection,
        } = taken;
        let peer = connection.peer;
        let first = first_octet(stream.get_ref(), bounds.head_timeout).await;
        if first.is_some_and(|first| first != HANDSHAKE) {
            return server
                .with_router(self.plain)
                .serve(stream, connection)
                .await;
        }
        let accepting = self.https.acceptor().accept(stream);
        match timeout(bounds.head_timeout, accepting).await {
            Ok(Ok(mut stream)) if Https::is_over(stream.get_ref().1) => {
                tracing::debug!(%peer, "an authority has looked");
                // Whether it waits for the end is its affair.
                _ = timeout(bounds.head_timeout, stream.shutdown()).await;
            }
            Ok(Ok(stream)) => {
                connection.tls = true;
                server.serve(stream, connection).await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
        }
    }
}

/// Without taking it away; `None` where nothing comes.
async fn first_octet(stream: &TcpStream, patience: Duration) -> Option<u8> {
    let mut first = [0; 1];
    let peeked: io::Result<usize> = timeout(patience, stream.peek(&mut first)).await.ok()?;
    matches!(peeked, Ok(1)).then_some(first[0])
}
