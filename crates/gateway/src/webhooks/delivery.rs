//! One attempt: an event, signed, on a connection of its own to an address that was judged.
//!
//! Redirects are not followed, no proxy is used, and of the answer only the head is read: nothing that a receiver says leads
//! anywhere.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::body::Body;
use futures_util::future::{Either, select};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use super::address::{self, AddressError, Lookup, SystemLookup};
use crate::config::values::IpNetwork;
use crate::config::{ReceiverUrl, WebhooksConfig};
use crate::mqtt::tls::{self, TlsFileError};

/// The whole attempt, from the lookup to the head of the answer.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest head of an answer.
const MAX_ANSWER: usize = 16 << 10;
/// What we call ourselves.
const AGENT: &str = concat!("apiary/", env!("CARGO_PKG_VERSION"));

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// There is no address to send to.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Address(#[from] AddressError),
    /// No connection.
    #[error("no connection: {0}; check host and port, and whether it runs")]
    Connect(#[source] io::Error),
    /// No TLS.
    #[error(
        "TLS fails: {0}; check the receiver's certificate, or webhooks.ca where its authority is your own"
    )]
    Tls(#[source] io::Error),
    /// No HTTP.
    #[error("it does not answer as HTTP demands: {0}")]
    Http(#[source] hyper::Error),
    /// Silence.
    #[error("it did not answer within {} s; it should take events first and work on them later", ATTEMPT_TIMEOUT.as_secs())]
    Silent,
    /// It sends us elsewhere.
    #[error(
        "it answers {0}, and redirects are not followed; write the new address into webhooks.urls"
    )]
    Redirect(StatusCode),
    /// It did not take it.
    #[error("it answers {0}, and not that it took the event (200 to 299); its log says why")]
    Status(StatusCode),
}

impl DeliveryError {
    /// The receiver understood it and does not want it; another attempt will hardly change that.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Status(status) => {
                let passing = [
                    StatusCode::REQUEST_TIMEOUT,
                    StatusCode::TOO_EARLY,
                    StatusCode::TOO_MANY_REQUESTS,
                ];
                status.is_client_error() && !passing.contains(status)
            }
            Self::Address(_)
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::Http(_)
            | Self::Silent
            | Self::Redirect(_) => false,
        }
    }
}

/// An event on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) body: String,
}

/// Sends events.
pub(super) struct Sender {
    key: hmac::Key,
    tls: Arc<ClientConfig>,
    allowed: Vec<IpNetwork>,
    names: Box<dyn Lookup>,
}

impl Sender {
    /// As the configuration says.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub(super) fn new(config: &WebhooksConfig) -> Result<Self, TlsFileError> {
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, config.secret.expose().as_bytes()),
            tls: Arc::new(tls::trusting("webhooks.ca", config.ca.as_deref())?),
            allowed: config.allow_private.clone(),
            names: Box::new(SystemLookup),
        })
    }

    /// Sends an event once; done when the receiver took it.
    ///
    /// # Errors
    /// When it did not, for whatever reason.
    pub(super) async fn send(
        &self,
        receiver: &ReceiverUrl,
        message: &Message,
    ) -> Result<StatusCode, DeliveryError> {
        let attempt = self.attempt(receiver.expose(), message);
        let status = timeout(ATTEMPT_TIMEOUT, attempt).await;
        let status = status.map_err(|_| DeliveryError::Silent)??;
        if status.is_success() {
            Ok(status)
        } else if status.is_redirection() {
            Err(DeliveryError::Redirect(status))
        } else {
            Err(DeliveryError::Status(status))
        }
    }

    async fn attempt(&self, url: &Url, message: &Message) -> Result<StatusCode, DeliveryError> {
        let addresses = address::resolve(url, &self.allowed, self.names.as_ref()).await?;
        let request = self.request(url, message);
        let stream = TcpStream::connect(&addresses[..]).await;
        let stream = stream.map_err(DeliveryError::Connect)?;
        if url.scheme() != "https" {
            return exchange(stream, request).await;
        }
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(server_name(url)?, stream).await;
        exchange(stream.map_err(DeliveryError::Tls)?, request).await
    }

    fn request(&self, url: &Url, message: &Message) -> Request<Body> {
        let timestamp = Timestamp::now().as_second();
        let signed = format!("{timestamp}.{}", message.body);
        let signature = hmac::sign(&self.key, signed.as_bytes());
        let signature: String = signature
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Request::post(&url[Position::BeforePath..Position::AfterQuery])
            .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header("apiary-event", &message.kind)
            .header("apiary-id", &message.id)
            .header("apiary-timestamp", timestamp)
            .header("apiary-signature", format!("sha256={signature}"))
            .body(Body::from(message.body.clone()))
            .expect("a URL that was parsed and our own texts make a request")
    }
}

fn server_name(url: &Url) -> Result<ServerName<'static>, DeliveryError> {
    let name = match url.host() {
        Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::from(address)),
        Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::from(address)),
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())
            .map_err(|error| DeliveryError::Tls(io::Error::other(error)))?,
        None => return Err(DeliveryError::Tls(io::ErrorKind::InvalidInput.into())),
    };
    Ok(name)
}

/// Sends the request and reads the head of the answer; the connection ends with that.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Body>,
) -> Result<StatusCode, DeliveryError> {
    let mut http = http1::Builder::new();
    let handshake = http
        .max_buf_size(MAX_ANSWER)
        .handshake(TokioIo::new(stream));
    let (mut requests, connection) = handshake.await.map_err(DeliveryError::Http)?;
    let answer = std::pin::pin!(requests.send_request(request));
    let answer = match select(answer, std::pin::pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // It may be over as soon as the answer is there.
        Either::Right((_, answer)) => answer.await,
    };
    Ok(answer.map_err(DeliveryError::Http)?.status())
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
