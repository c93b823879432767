//! Does a Kurento server answer? One question on a connection of its own, for `apiary check` and `apiary kurento-ping`.
//!
//! The client that streams are driven with lives in `apiary-media`; nothing here outlives the question.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

use crate::config::KurentoUrl;
use crate::mqtt::tls::{self, TlsFileError};

/// The question, outside of any session, so that the server keeps nothing of it.
const PING: &str = r#"{"id":1,"method":"ping","params":{"interval":240000},"jsonrpc":"2.0"}"#;
/// As much of an answer as is looked at.
const MAX_ANSWER: usize = 64 << 10;

/// Why a server does not answer as Kurento does, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Its certificate cannot be checked with what there is.
    #[error(transparent)]
    Authorities(#[from] TlsFileError),
    /// No connection.
    #[error("{}", connect_advice(.0))]
    Connect(#[source] io::Error),
    /// No TLS.
    #[error(
        "TLS fails: {0}; check kurento.ca and the name in the server's certificate, or write ws:// if it speaks no TLS there"
    )]
    Tls(#[source] io::Error),
    /// HTTP, but no WebSocket.
    #[error(
        "it answers HTTP {status} where Kurento answers 101; is it another program that listens there?"
    )]
    NoWebSocket {
        /// The status.
        status: u16,
    },
    /// Nothing that is known.
    #[error(
        "it does not speak WebSocket: {0}; is it another program that listens there, or does it want wss://?"
    )]
    Handshake(#[source] Box<WebSocketError>),
    /// What Kurento does with a path it does not know.
    #[error(
        "it takes the connection and closes it again; check the path `{path}`, which is /kurento unless Kurento was told another"
    )]
    Closed {
        /// The path.
        path: String,
    },
    /// WebSocket, but not Kurento.
    #[error("it answers, but not as Kurento does; is it another program that listens there?")]
    OtherAnswer,
    /// Silence.
    #[error("it does not answer within {} s; check address and firewall, and the server's log", .0.as_secs())]
    Silent(Duration),
}

fn connect_advice(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        "connection refused: nothing listens there; is Kurento running? (scripts/start-kurento.sh starts one)"
            .to_owned()
    } else {
        format!("no connection: {error}; check host and port")
    }
}

/// Asks servers whether they are there.
#[derive(Clone)]
pub struct Probe {
    tls: Option<Arc<ClientConfig>>,
    patience: Duration,
}

impl Probe {
    /// For servers of which some speak TLS or none does; `ca` is `kurento.ca`. Each question may take as long as `patience`.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub fn new(with_tls: bool, ca: Option<&Path>, patience: Duration) -> Result<Self, ProbeError> {
        let tls = match with_tls {
            true => Some(Arc::new(tls::trusting("kurento.ca", ca)?)),
            false => None,
        };
        Ok(Self { tls, patience })
    }

    /// Asks one server.
    ///
    /// # Errors
    /// When it does not answer as Kurento does.
    pub async fn ask(&self, url: &KurentoUrl) -> Result<(), ProbeError> {
        let question = self.question(url);
        timeout(self.patience, question)
            .await
            .unwrap_or(Err(ProbeError::Silent(self.patience)))
    }

    async fn question(&self, url: &KurentoUrl) -> Result<(), ProbeError> {
        let stream = TcpStream::connect((url.host.as_str(), url.port))
            .await
            .map_err(ProbeError::Connect)?;
        match &self.tls {
            Some(tls) if url.tls => {
                let name = ServerName::try_from(url.host.clone())
                    .map_err(|error| ProbeError::Tls(io::Error::other(error)))?;
                let connector = TlsConnector::from(Arc::clone(tls));
                let stream = connector
                    .connect(name, stream)
                    .await
                    .map_err(ProbeError::Tls)?;
                ping(url, stream).await
            }
            Some(_) | None => ping(url, stream).await,
        }
    }
}

async fn ping(
    url: &KurentoUrl,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<(), ProbeError> {
    let scheme = if url.tls { "wss" } else { "ws" };
    let address = format!("{scheme}://{}{}", url.authority(), url.path);
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_ANSWER))
        .max_frame_size(Some(MAX_ANSWER));
    let (mut socket, _) = client_async_with_config(address, stream, Some(limits))
        .await
        .map_err(|error| {
            if let WebSocketError::Http(answer) = &error {
                ProbeError::NoWebSocket {
                    status: answer.status().as_u16(),
                }
            } else {
                ProbeError::Handshake(Box::new(error))
            }
        })?;
    let closed = || ProbeError::Closed {
        path: url.path.clone(),
    };
    socket
        .send(Message::text(PING))
        .await
        .map_err(|_| closed())?;
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(answer))) if is_pong(&answer) => return Ok(()),
            Some(Ok(Message::Text(_) | Message::Binary(_))) => return Err(ProbeError::OtherAnswer),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(closed()),
        }
    }
}

fn is_pong(answer: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(answer)
        .is_ok_and(|answer| answer["result"]["value"] == "pong")
}
