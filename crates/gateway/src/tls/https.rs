//! What the HTTP side needs to speak HTTPS.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;

use super::acme::challenges;
use super::name::Name;
use super::resolver::Resolver;

/// The one protocol inside: WebSocket, as browsers open it, is an upgrade of HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";
/// Seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;

/// Cheap to clone.
#[derive(Clone)]
pub struct Https {
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
    awaited: Arc<[Name]>,
    hsts_days: u32,
    public_port: u16,
}

impl Https {
    /// Presents what the resolver holds. `hsts_days` is 0 where browsers must not remember; `public_port` is where they come;
    /// `awaited` are the names that an authority comes to look for.
    pub(super) fn new(
        resolver: Arc<Resolver>,
        hsts_days: u32,
        public_port: u16,
        awaited: &[Name],
    ) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has cipher suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&resolver) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        if !awaited.is_empty() {
            config.alpn_protocols.push(challenges::PROTOCOL.to_vec());
        }
        Self {
            config: Arc::new(config),
            resolver,
            awaited: awaited.into(),
            hsts_days,
            public_port,
        }
    }

    /// For a connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Whether it was an authority that came to look: the handshake was all it wants (RFC 8737 §3).
    pub fn is_over(connection: &ServerConnection) -> bool {
        connection.alpn_protocol() == Some(challenges::PROTOCOL)
    }

    /// What an authority is answered that asks for this path over HTTP; `None` where none does.
    pub fn challenge_answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(challenges::PATH)?;
        self.resolver.challenges().answer(token)
    }

    /// Until when the certificate is valid; `None` where there is none yet, since one by ACME may take its time.
    pub fn valid_until(&self) -> Option<Timestamp> {
        self.resolver.facts().map(|facts| facts.not_after)
    }

    /// Whether that host is ours: the certificate is for it, or the one that is asked for.
    pub fn answers_to(&self, host: &Name) -> bool {
        self.resolver.covers(host) || self.awaited.contains(host)
    }

    /// The port that browsers are sent to.
    pub fn public_port(&self) -> u16 {
        self.public_port
    }

    /// `Strict-Transport-Security` (RFC 6797), where browsers are to remember.
    pub fn strict_transport_security(&self) -> Option<String> {
        (self.hsts_days > 0).then(|| format!("max-age={}", u64::from(self.hsts_days) * DAY_S))
    }
}
