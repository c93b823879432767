//! The configuration: one tree of validated values, read at the start, and as a whole again when that is asked for.
//!
//! Sources, each overriding the one before: defaults, the TOML file, `.env` in the working directory, the environment.
//! Every key is listed in [`keys`] and described in `docs/config.md`; unknown keys, bad values and contradictions are
//! refused, all at once. Nothing reads the environment or the file later. What a key means for a part of the program
//! belongs to that part; only values and their rules belong here.

mod auth;
mod demo;
mod dotenv;
mod environment;
mod error;
mod file;
mod import;
pub mod keys;
mod kurento;
mod legacy;
pub mod live;
mod load;
mod metrics;
mod mqtt_access;
mod network;
mod oidc;
mod otlp;
mod push;
mod raw;
mod reader;
mod retention;
mod tls;
mod turn;
mod validate;
pub mod values;
mod web_address;
mod webhooks;
pub mod written;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use apiary_store::{PostgresTarget, Retention};
use apiary_wire::units::Bitrate;

pub use auth::{AuthConfig, JwtConfig, KeysFrom};
pub use demo::DemoPorts;
pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors, Note};
pub use import::ImportedSettings;
pub use kurento::{
    HostPort, KurentoConfig, KurentoIce, KurentoTurn, KurentoUrl, KurentoUrlError, TurnTransport,
};
pub use live::Changes;
pub use metrics::MetricsConfig;
pub use mqtt_access::{ExtraClient, MqttAccess};
pub use network::primary_ipv4;
pub use oidc::{CALLBACK_PATH, OidcConfig};
pub use otlp::OtlpConfig;
pub use push::PushConfig;
pub use raw::Origin;
pub use tls::{AcmeChallenge, AcmeConfig, CertificateSource, ExternalAccount, TlsConfig};
pub use turn::{DEFAULT_LIFETIME, IceUrl, Relays, TurnConfig};
use values::{BrokerTarget, IpNetwork};
pub use webhooks::{EventKind, ReceiverUrl, WebhooksConfig};
pub use written::Written;

use crate::secret::Secret;

/// Everything that can be set, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Pages, REST API, WHEP, and signaling at `/ws`.
    pub http: HttpConfig,
    /// Accounts.
    pub auth: AuthConfig,
    /// The signaling port of existing pages.
    pub signaling: SignalingConfig,
    /// The certificate for both.
    pub tls: TlsConfig,
    /// The broker, embedded or not, and how cameras are commanded over it.
    pub mqtt: MqttConfig,
    /// The addresses cameras and browsers are told.
    pub network: NetworkConfig,
    /// The media engine.
    pub media: MediaConfig,
    /// Where cameras' RTP is received.
    pub ingest: IngestConfig,
    /// The pool of Kurento servers, for the engine of that name.
    pub kurento: KurentoConfig,
    /// The life of a stream.
    pub stream: StreamConfig,
    /// The database on a server, where one is used.
    pub database: DatabaseConfig,
    /// Where things are kept.
    pub data: DataConfig,
    /// How long history is kept.
    pub retention: Retention,
    /// What is logged and how.
    pub log: LogConfig,
    /// Where Prometheus may read figures.
    pub metrics: MetricsConfig,
    /// The STUN and TURN servers that browsers are told of, where there are any.
    pub turn: Option<TurnConfig>,
    /// Who is told what happens, where anybody is.
    pub webhooks: Option<WebhooksConfig>,
    /// Notifications in browsers.
    pub push: PushConfig,
    /// The provider at which people may log in, where there is one.
    pub oidc: Option<OidcConfig>,
    /// Where traces and logs are sent, where they are.
    pub otlp: Option<OtlpConfig>,
    /// What was written, to tell at a reload what has changed.
    pub written: Written,
    /// What the person who runs this should know, but what does not stop the start.
    pub notes: Vec<Note>,
}

/// `[http]`
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Addresses to listen on; port 0 takes any free port.
    pub listen: Vec<SocketAddr>,
    /// Origins (`scheme://host[:port]`) of foreign pages that may call the API from a browser.
    pub cors_origins: Vec<String>,
    /// Requests of one user, or one address of somebody unknown, a second; 0: no limit.
    pub requests_per_second: u32,
    /// Joins, likewise.
    pub joins_per_second: u32,
    /// Host names by which browsers reach this server, beside addresses and this machine's own names.
    pub hosts: Vec<String>,
    /// Proxies whose word about a client's address and scheme is believed.
    pub trusted_proxies: Vec<IpNetwork>,
    /// Most connections at once; those of the signaling port count too.
    pub max_connections: usize,
    /// Most of them from one address (of IPv6: one /64), loopback excepted.
    pub max_connections_per_address: usize,
}

/// `[signaling]`
#[derive(Clone, Debug)]
pub struct SignalingConfig {
    /// Addresses to listen on; port 0 takes any free port.
    pub listen: Vec<SocketAddr>,
}

/// `[mqtt]`
#[derive(Clone, Debug)]
pub struct MqttConfig {
    /// Which broker the cameras are commanded over.
    pub broker: BrokerTarget,
    /// Where the embedded broker listens; unused with an external one.
    pub embedded: EmbeddedBrokerConfig,
    /// Certificate files. With the embedded broker they are the server's (for `listen_tls`; `ca` signs the clients'),
    /// with `mqtts://` the client's (`ca` signs the broker's).
    pub tls: TlsFiles,
    /// The name to check in an external broker's certificate instead of the host in its URL.
    pub server_name: Option<String>,
    /// How much of an external broker's certificate is checked.
    pub verify: Verify,
    /// Beginning of the MQTT client id; a random suffix follows, so that two instances never push each other out.
    pub client_id: String,
    /// Who may use the embedded broker besides cameras, and who may no longer.
    pub access: MqttAccess,
    /// Login at an external broker. With the embedded one, which asks nobody else for a login, that of our own client, made
    /// anew at each start.
    pub credentials: Option<Credentials>,
    /// Interval of the cameras' `stream/keepalive` messages (not MQTT's own keepalive).
    pub keepalive_interval: Duration,
    /// How long a published message may stay unacknowledged by the broker.
    pub ack_timeout: Duration,
}

/// `[mqtt]`, the part about the embedded broker.
#[derive(Clone, Debug)]
pub struct EmbeddedBrokerConfig {
    /// Plain MQTT; port 0 takes any free port.
    pub listen: SocketAddr,
    /// MQTT over TLS with client certificates, where wanted.
    pub listen_tls: Option<SocketAddr>,
    /// Most clients connected at once.
    pub max_clients: usize,
}

/// PEM files for TLS; readable when the configuration was read.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// The certificate authority that signs the other side's certificate.
    pub ca: Option<PathBuf>,
    /// Our own certificate chain.
    pub cert: Option<PathBuf>,
    /// Our own private key.
    pub key: Option<PathBuf>,
}

/// User name and password at a broker.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password, where one is set.
    pub password: Option<Secret>,
}

/// How an external broker's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Chain, dates and name.
    Full,
    /// Chain and dates only: anyone with any certificate of the same authority can pose as the broker.
    Chain,
}

/// `[network]`
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// What cameras are told when the viewer is at home, and a host candidate for browsers.
    pub local_ip: Ipv4Addr,
    /// What cameras are told otherwise, and a host candidate.
    pub external_ip: Option<Ipv4Addr>,
    /// Networks that count as home.
    pub local_networks: Vec<IpNetwork>,
}

/// `[media]`
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// The engine that moves the pictures.
    pub engine: Engine,
    /// Address of the viewers' UDP sockets.
    pub bind: IpAddr,
    /// Number of worker threads.
    pub workers: usize,
    /// Worker `i` serves its viewers on UDP port `udp_port + i`.
    pub udp_port: u16,
    /// The camera is never asked for less.
    pub min_bitrate: Bitrate,
    /// The camera is never asked for more.
    pub max_bitrate: Bitrate,
    /// Most viewers of one stream, 0 for no limit.
    pub max_viewers_per_stream: u32,
    /// What all viewers together may be sent, in Mbit/s; 0: no limit.
    pub max_total_mbps: u32,
}

/// The media engines that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Our own WebRTC fan-out.
    Sfu,
    /// A pool of Kurento Media Servers; see [`KurentoConfig`].
    Kurento,
}

/// `[ingest]`
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// Address of the sockets that receive cameras' RTP.
    pub bind: IpAddr,
    /// Their ports: whole pairs of RTP (even) and RTCP (odd), two pairs a camera.
    pub ports: RangeInclusive<u16>,
}

/// `[stream]`
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Cameras that may stream at once; 0: no limit.
    pub max_streams: u32,
    /// A stream without valid RTP after this time is an error.
    pub start_timeout: Duration,
    /// A stream without viewers is stopped after this time.
    pub idle_timeout: Duration,
    /// Silence after which the camera is told to play again with a fresh stream id.
    pub replay_timeout: Duration,
    /// Longest pause between two such attempts; they back off up to it.
    pub replay_backoff_max: Duration,
}

/// `[database]`
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// A database on a PostgreSQL server; without one, a file in `data.dir`.
    pub target: Option<PostgresTarget>,
    /// Most connections to that server.
    pub pool_size: u32,
}

/// `[data]`
#[derive(Clone, Debug)]
pub struct DataConfig {
    /// Directory of the database and everything else that outlives a run.
    pub dir: PathBuf,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Least severity that is logged.
    pub level: tracing::Level,
    /// Shape of a line.
    pub format: LogFormat,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// The addresses that browsers may reach the media sockets at: the local and the external one.
    pub fn candidate_addresses(&self) -> Vec<IpAddr> {
        let mut addresses = vec![IpAddr::V4(self.network.local_ip)];
        if let Some(external) = self.network.external_ip
            && external != self.network.local_ip
        {
            addresses.push(IpAddr::V4(external));
        }
        addresses
    }

    /// The address that a camera is told to send to, for a viewer who asks from `requester` (unknown: at home).
    pub fn advertised_address(&self, requester: Option<IpAddr>) -> Ipv4Addr {
        match (requester, self.network.external_ip) {
            (Some(requester), Some(external)) if !self.is_at_home(requester) => external,
            (_, Some(_) | None) => self.network.local_ip,
        }
    }

    /// Whether an address belongs to the home: loopback, or one of `network.local_networks`.
    pub fn is_at_home(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback()
            || self
                .network
                .local_networks
                .iter()
                .any(|network| network.contains(address))
    }
}
