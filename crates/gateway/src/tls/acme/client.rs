//! The way to an authority: HTTPS, one connection a request, bounded in time and size.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{CONNECTION, HOST};
use axum::http::{HeaderValue, Request, Uri};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::AcmeError;
use crate::config::AcmeConfig;
use crate::mqtt::tls;

/// Most octets of an answer; a chain takes some thousands.
const MAX_ANSWER: usize = 1 << 20;
/// How long one request may take with its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of HTTPS, where the address names none.
const PORT: u16 = 443;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error("{0} is no https:// address")]
    Address(Uri),
    #[error("{host} cannot be reached: {source}")]
    Connect {
        host: String,
        source: std::io::Error,
    },
    #[error("{host}: {source}")]
    Http { host: String, source: hyper::Error },
    #[error("{host} gave an answer that is too long, or none: {source}")]
    Answer { host: String, source: axum::Error },
    #[error("{0} did not answer in time")]
    Late(String),
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    connector: TlsConnector,
    patience: Duration,
}

impl Client {
    /// Trusts what the settings say.
    ///
    /// # Errors
    /// When `tls.acme_ca` cannot be used.
    pub(super) fn new(settings: &AcmeConfig) -> Result<Self, AcmeError> {
        let config = tls::trusting("tls.acme_ca", settings.ca.as_deref())?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            patience: PATIENCE,
        })
    }

    async fn send(
        self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, ClientError> {
        let host = request.uri().to_string();
        let sending = self.exchange(request);
        timeout(self.patience, sending)
            .await
            .unwrap_or(Err(ClientError::Late(host)))
    }

    async fn exchange(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, ClientError> {
        let (host, stream) = self.connect(request.uri()).await?;
        let of = host.clone();
        let failed = move |source| ClientError::Http {
            host: of.clone(),
            source,
        };
        to_origin_form(&mut request);
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(&failed)?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(&failed)?;
            let (parts, body) = response.into_parts();
            let body = to_bytes(Body::new(body), MAX_ANSWER).await;
            let body = body.map_err(|source| ClientError::Answer { host, source })?;
            let body = Box::new(body);
            Ok(BytesResponse { parts, body })
        };
        // The connection ends with what it is for; how, does not matter then.
        let (answer, _) = tokio::join!(exchange, connection);
        answer
    }

    async fn connect(
        &self,
        uri: &Uri,
    ) -> Result<(String, tokio_rustls::client::TlsStream<TcpStream>), ClientError> {
        let address = || ClientError::Address(uri.clone());
        if uri.scheme_str() != Some("https") {
            return Err(address());
        }
        let host = uri.host().ok_or_else(address)?.to_owned();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| address())?;
        let unreachable = |source| ClientError::Connect {
            host: host.clone(),
            source,
        };
        let port = uri.port_u16().unwrap_or(PORT);
        let stream = TcpStream::connect((bare, port))
            .await
            .map_err(unreachable)?;
        let stream = self.connector.connect(name, stream).await;
        let stream = stream.map_err(unreachable)?;
        Ok((host, stream))
    }
}

/// As it is written to the server itself (RFC 9112 §3.2.1).
fn to_origin_form(request: &mut Request<BodyWrapper<Bytes>>) {
    let authority = request.uri().authority().map(ToString::to_string);
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
    let host = authority.and_then(|authority| HeaderValue::try_from(authority).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    let close = HeaderValue::from_static("close");
    request.headers_mut().insert(CONNECTION, close);
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let sending = self.clone().send(request);
        Box::pin(async move { sending.await.map_err(|error| Error::Other(Box::new(error))) })
    }
}

/// Asks for the directory, which every ACME server has (RFC 8555 §7.1.1).
pub(super) async fn probe(settings: &AcmeConfig) -> Result<(), AcmeError> {
    let asking = |cause: String| AcmeError::Asking {
        what: "the directory",
        cause,
    };
    let client = Client::new(settings)?;
    let request = Request::get(&settings.directory).body(BodyWrapper::default());
    let request = request.map_err(|error| asking(error.to_string()))?;
    let mut answer = client
        .send(request)
        .await
        .map_err(|error| asking(error.to_string()))?;
    let body = answer.body.into_bytes().await;
    let body = body.map_err(|error| asking(error.to_string()))?;
    let directory = serde_json::from_slice::<serde_json::Value>(&body);
    if directory.is_ok_and(|directory| directory["newOrder"].is_string()) {
        Ok(())
    } else {
        Err(asking("what is there is no ACME server".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn client() -> Client {
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
        Client {
            connector: TlsConnector::from(Arc::new(config)),
            patience: Duration::from_millis(50),
        }
    }

    async fn error_of(address: String) -> String {
        let request = Request::get(address).body(BodyWrapper::default()).unwrap();
        let answer = client().send(request).await;
        answer.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn who_does_not_answer_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}/a", silent.local_addr().unwrap());
        let asked = timeout(Duration::from_secs(10), error_of(address));
        let error = asked.await.unwrap();
        assert!(error.ends_with("/a did not answer in time"), "{error}");
    }

    #[tokio::test]
    async fn nothing_is_asked_without_tls() {
        for address in ["http://127.0.0.1:1/", "ftp://127.0.0.1/", "/directory"] {
            let error = error_of(address.to_owned()).await;
            assert!(error.contains("no https:// address"), "{error}");
        }
    }
}
