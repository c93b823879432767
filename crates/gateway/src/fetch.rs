//! Asking servers that the settings name for something short: the keys of an identity provider, and a login there.
//!
//! One connection a request, bounded in time and size. Redirects are not followed and no proxy is used, so that what was
//! configured is what is asked. Certificates are always checked; without TLS only this machine itself is asked.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use crate::mqtt::tls::{self, TlsFileError};

/// Most octets of an answer.
const MAX_ANSWER: usize = 1 << 20;
/// Longest head of an answer.
const MAX_HEAD: usize = 16 << 10;
/// One request, from the lookup to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What we call ourselves.
const AGENT: &str = concat!("apiary/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It would be asked in the clear.
    #[error("{0} is no https:// address, and another machine is not asked without TLS")]
    Address(String),
    /// No connection.
    #[error("there is no connection: {0}")]
    Connect(#[source] io::Error),
    /// No TLS.
    #[error("TLS fails: {0}; where its authority is your own, name that in {key}", key = .1)]
    Tls(#[source] io::Error, &'static str),
    /// No HTTP.
    #[error("it does not answer as HTTP demands: {0}")]
    Http(#[source] hyper::Error),
    /// Too much, or cut off.
    #[error("its answer is cut off, or longer than {} KiB", MAX_ANSWER >> 10)]
    Answer(#[source] axum::Error),
    /// Silence.
    #[error("it did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// It sends us elsewhere.
    #[error("it answers {0}, and redirects are not followed; write the address that it leads to")]
    Redirect(StatusCode),
    /// It has nothing.
    #[error("it answers {0}")]
    Status(StatusCode),
}

/// What came, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// How it went.
    pub status: StatusCode,
    /// What it holds.
    pub body: Bytes,
}

/// Asks; cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    connector: TlsConnector,
    ca_key: &'static str,
    patience: Duration,
}

impl Fetcher {
    /// Trusts the authorities in the file that `ca_key` names, or those of the system.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn new(ca_key: &'static str, ca: Option<&Path>) -> Result<Self, TlsFileError> {
        let config = tls::trusting(ca_key, ca)?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            ca_key,
            patience: PATIENCE,
        })
    }

    /// What is at that address.
    ///
    /// # Errors
    /// When there is nothing, for whatever reason.
    pub async fn get(&self, url: &Url) -> Result<Bytes, FetchError> {
        let answer = self.send(url, Request::new(Body::empty())).await?;
        if answer.status == StatusCode::OK {
            Ok(answer.body)
        } else {
            Err(FetchError::Status(answer.status))
        }
    }

    /// Sends a request there; where it goes and for which host, is written into it.
    ///
    /// # Errors
    /// When there is no answer, or one that leads elsewhere.
    pub async fn send(&self, url: &Url, request: Request<Body>) -> Result<Answer, FetchError> {
        let answer = timeout(self.patience, self.attempt(url, request)).await;
        let answer = answer.unwrap_or(Err(FetchError::Silent(self.patience)))?;
        if answer.status.is_redirection() {
            return Err(FetchError::Redirect(answer.status));
        }
        Ok(answer)
    }

    async fn attempt(&self, url: &Url, mut request: Request<Body>) -> Result<Answer, FetchError> {
        let refused = || FetchError::Address(url.origin().ascii_serialization());
        if !may_be_asked(url) {
            return Err(refused());
        }
        let written = write_address(url, &mut request);
        let (host, port) = written.and(addressed(url)).ok_or_else(refused)?;
        let stream = TcpStream::connect((&*host, port)).await;
        let stream = stream.map_err(FetchError::Connect)?;
        if url.scheme() != "https" {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(host).map_err(|_| refused())?;
        let failed = |error| FetchError::Tls(error, self.ca_key);
        let stream = self.connector.connect(name, stream).await.map_err(failed)?;
        exchange(stream, request).await
    }

    #[cfg(test)]
    fn of_little_patience() -> Self {
        let mut fetcher = Self::new("auth.jwks_ca", None).unwrap();
        fetcher.patience = Duration::from_millis(50);
        fetcher
    }
}

/// Whether nobody on the way can read or change what is asked there.
pub(crate) fn may_be_asked(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_here(url),
        _ => false,
    }
}

/// Whether it is this machine.
pub(crate) fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Host, without the brackets of IPv6, and port.
fn addressed(url: &Url) -> Option<(String, u16)> {
    let host = match url.host()? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => IpAddr::from(ip).to_string(),
        Host::Ipv6(ip) => IpAddr::from(ip).to_string(),
    };
    Some((host, url.port_or_known_default()?))
}

/// In origin form (RFC 9112 §3.2.1), for one exchange.
fn write_address(url: &Url, request: &mut Request<Body>) -> Option<()> {
    let path = &url[Position::BeforePath..Position::AfterQuery];
    *request.uri_mut() = path.parse::<Uri>().ok()?;
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(host).ok()?);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Some(())
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Body>,
) -> Result<Answer, FetchError> {
    let mut http = http1::Builder::new();
    let shaken = http.max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream));
    let (mut sender, connection) = shaken.await.map_err(FetchError::Http)?;
    let exchange = async move {
        let answer = sender.send_request(request).await;
        let (head, body) = answer.map_err(FetchError::Http)?.into_parts();
        let body = to_bytes(Body::new(body), MAX_ANSWER).await;
        Ok(Answer {
            status: head.status,
            body: body.map_err(FetchError::Answer)?,
        })
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // How the connection ends does not matter; what came by it does.
        _ = connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that says this to whoever asks; its address.
    async fn saying(text: String) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/a?b=c", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                _ = stream.read(&mut head).await;
                _ = stream.write_all(text.as_bytes()).await;
                _ = stream.shutdown().await;
            }
        });
        Url::parse(&url).unwrap()
    }

    async fn asked(text: &str) -> Result<Bytes, FetchError> {
        let fetcher = Fetcher::new("auth.jwks_ca", None).unwrap();
        fetcher.get(&saying(text.to_owned()).await).await
    }

    #[tokio::test]
    async fn answers_come_whole_or_not_at_all() {
        let body = asked("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        assert_eq!(body.unwrap(), "hi");
        let cut = asked("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi").await;
        assert!(matches!(cut, Err(FetchError::Answer(_))), "{cut:?}");
        let long = "x".repeat(MAX_ANSWER + 1);
        let long = asked(&format!("HTTP/1.1 200 OK\r\n\r\n{long}")).await;
        assert!(matches!(long, Err(FetchError::Answer(_))));
        let nonsense = asked("220 mail.example ready\r\n").await;
        assert!(matches!(nonsense, Err(FetchError::Http(_))), "{nonsense:?}");
        let none = asked("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(none, Err(FetchError::Status(_))), "{none:?}");
    }

    #[tokio::test]
    async fn h10_nobody_is_sent_elsewhere() {
        let there = saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi".to_owned()).await;
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {there}\r\ncontent-length: 0\r\n\r\n");
        let sent = asked(&head).await.unwrap_err();
        assert!(sent.to_string().contains("not followed"), "{sent}");
        let fetcher = Fetcher::new("auth.jwks_ca", None).unwrap();
        for url in [
            "http://192.0.2.1/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
        ] {
            let refused = fetcher.get(&Url::parse(url).unwrap()).await;
            assert!(matches!(refused, Err(FetchError::Address(_))), "{url}");
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let fetcher = Fetcher::of_little_patience();
        let given_up = fetcher.get(&Url::parse(&url).unwrap()).await;
        assert!(matches!(given_up, Err(FetchError::Silent(_))));
    }
}
