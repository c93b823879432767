//! The way out for what is sent to addresses that others named: one request on a connection of its own, to an address that
//! was judged.
//!
//! Redirects are not followed, no proxy is used, and of the answer only the head is read: nothing that is said there leads
//! anywhere.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::{Either, select};
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper::http::{request, response};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use super::address::{self, AddressError, Lookup, SystemLookup};
use crate::config::values::IpNetwork;
use crate::mqtt::tls::{self, TlsFileError};

/// The whole attempt, from the lookup to the head of the answer.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest head of an answer.
const MAX_ANSWER: usize = 16 << 10;
/// What we call ourselves.
const AGENT: &str = concat!("apiary/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    /// There is no address to send to.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    /// No TLS.
    #[error("TLS fails: {0}")]
    Tls(#[source] io::Error),
    /// No HTTP.
    #[error("it does not answer as HTTP demands: {0}")]
    Http(#[source] hyper::Error),
    /// Silence.
    #[error("it did not answer within {} s", ATTEMPT_TIMEOUT.as_secs())]
    Silent,
}

/// Sends requests.
pub(crate) struct Door {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) allowed: Vec<IpNetwork>,
    pub(super) names: Box<dyn Lookup>,
}

impl Door {
    /// Trusts the authorities in the file that `ca_key` names, or those of the system; lets through to the internet and to
    /// these networks.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub(crate) fn new(
        ca_key: &'static str,
        ca: Option<&Path>,
        allowed: &[IpNetwork],
    ) -> Result<Self, TlsFileError> {
        Ok(Self {
            tls: Arc::new(tls::trusting(ca_key, ca)?),
            allowed: allowed.to_vec(),
            names: Box::new(SystemLookup),
        })
    }

    /// Sends a request that [`post`] began.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn send(
        &self,
        url: &Url,
        request: Request<Body>,
    ) -> Result<response::Parts, DoorError> {
        let answer = timeout(ATTEMPT_TIMEOUT, self.attempt(url, request)).await;
        answer.unwrap_or(Err(DoorError::Silent))
    }

    async fn attempt(
        &self,
        url: &Url,
        request: Request<Body>,
    ) -> Result<response::Parts, DoorError> {
        let addresses = address::resolve(url, &self.allowed, self.names.as_ref()).await?;
        let stream = TcpStream::connect(&addresses[..]).await;
        let stream = stream.map_err(DoorError::Connect)?;
        if url.scheme() != "https" {
            return exchange(stream, request).await;
        }
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(server_name(url)?, stream).await;
        exchange(stream.map_err(DoorError::Tls)?, request).await
    }
}

/// A request to that address.
pub(crate) fn post(url: &Url) -> request::Builder {
    Request::post(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, AGENT)
}

fn server_name(url: &Url) -> Result<ServerName<'static>, DoorError> {
    let name = match url.host() {
        Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::from(address)),
        Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::from(address)),
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
            .map_err(|error| DoorError::Tls(io::Error::other(error)))?,
        None => return Err(DoorError::Tls(io::ErrorKind::InvalidInput.into())),
    };
    Ok(name)
}

/// Sends the request and reads the head of the answer; the connection ends with that.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Body>,
) -> Result<response::Parts, DoorError> {
    let mut http = http1::Builder::new();
    let handshake = http
        .max_buf_size(MAX_ANSWER)
        .handshake(TokioIo::new(stream));
    let (mut requests, connection) = handshake.await.map_err(DoorError::Http)?;
    let answer = std::pin::pin!(requests.send_request(request));
    let answer = match select(answer, std::pin::pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // It may be over as soon as the answer is there.
        Either::Right((_, answer)) => answer.await,
    };
    Ok(answer.map_err(DoorError::Http)?.into_parts().0)
}

/// Whether the answer says that the same request may be taken another time.
pub(crate) fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || [
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::TOO_EARLY,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&status)
}
