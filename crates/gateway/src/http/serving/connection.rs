//! One connection: HTTP/1.1 on whatever stream it is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::body::TimedBody;
use super::{Bounds, Connection};

/// Most header fields of a request.
const MAX_HEADERS: usize = 64;
/// Most octets of a request's head, and of what is read ahead.
const MAX_HEAD: usize = 32 * 1024;

/// Serves connections with the routes of one listener.
#[derive(Clone)]
pub(super) struct Server {
    router: Router,
    bounds: Bounds,
    shutdown: CancellationToken,
}

impl Server {
    pub(super) fn new(router: Router, bounds: Bounds, shutdown: CancellationToken) -> Self {
        Self {
            router,
            bounds,
            shutdown,
        }
    }

    /// The same with other routes.
    pub(super) fn with_router(self, router: Router) -> Self {
        Self { router, ..self }
    }

    /// Until the client is through, or the program ends: then a request that is being answered is the last.
    pub(super) async fn serve<S>(self, stream: S, connection: Connection)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| self.answer(request, connection));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.head_timeout)
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut served = pin!(served);
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            let peer = connection.peer;
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "an HTTP connection ended early");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: Connection,
    ) -> Result<Response, Infallible> {
        let time = self.bounds.body_timeout;
        let mut request = request.map(|body| Body::new(TimedBody::new(body, time)));
        let extensions = request.extensions_mut();
        extensions.insert(connection);
        extensions.insert(ConnectInfo::<SocketAddr>(connection.peer));
        self.router.clone().call(request).await
    }
}
