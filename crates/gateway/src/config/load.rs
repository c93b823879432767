//! From sources to the tree: reads each key with its default and its bounds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiary_wire::units::Bitrate;

use super::environment::Environment;
use super::error::ConfigErrors;
use super::reader::Reader;
use super::values::{self, BrokerTarget, IpNetwork, integer, seconds};
use super::{
    Config, Credentials, DataConfig, DatabaseConfig, EmbeddedBrokerConfig, Engine, HttpConfig,
    IngestConfig, LogConfig, LogFormat, MediaConfig, MqttConfig, NetworkConfig, SignalingConfig,
    StreamConfig, TlsFiles, Verify, Written, auth, kurento, metrics, mqtt_access, network, oidc,
    otlp, push, retention, tls, turn, validate, webhooks,
};
use crate::secret::Secret;

/// Most worker threads that may be asked for.
const MAX_WORKERS: i64 = 64;

/// Where a loopback address is the default.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Config {
    /// Reads the file (if any), `.env` and the environment.
    ///
    /// # Errors
    /// Everything that is wrong, at once: see [`ConfigErrors`].
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigErrors> {
        Self::from_reader(Reader::collect(file, environment))
    }

    pub(super) fn from_reader(mut reader: Reader) -> Result<Self, ConfigErrors> {
        let media = media(&mut reader);
        let mut config = Self {
            http: http(&mut reader),
            auth: auth::load(&mut reader),
            signaling: signaling(&mut reader),
            tls: tls::load(&mut reader),
            mqtt: mqtt(&mut reader),
            network: networks(&mut reader),
            ingest: ingest(&mut reader),
            kurento: kurento::load(&mut reader, media.engine),
            media,
            stream: stream(&mut reader),
            database: DatabaseConfig {
                target: reader.read("database.url", values::database),
                pool_size: number(&mut reader, "database.pool_size", 1..=64, 4),
            },
            data: DataConfig {
                dir: reader
                    .read("data.dir", values::directory)
                    .unwrap_or_else(|| PathBuf::from("apiary-data")),
            },
            retention: retention::load(&mut reader),
            log: LogConfig {
                level: reader
                    .read("log.level", values::log_level)
                    .unwrap_or(tracing::Level::INFO),
                format: reader
                    .read("log.format", values::log_format)
                    .unwrap_or(LogFormat::Human),
            },
            metrics: metrics::load(&mut reader),
            turn: turn::load(&mut reader),
            webhooks: webhooks::load(&mut reader),
            push: push::load(&mut reader),
            oidc: oidc::load(&mut reader),
            otlp: otlp::load(&mut reader),
            written: Written::of(reader.entries()),
            notes: Vec::new(),
        };
        config.open_media_to_the_network(&reader);
        auth::decide(&mut config, &mut reader);
        oidc::check(&config, &mut reader);
        validate::check(&config, &mut reader);
        config.notes = reader.notes;
        if reader.errors.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors(reader.errors))
        }
    }

    /// Media sockets are on loopback unless something says that others are to reach this machine: an address of its own
    /// that is not loopback, or a page, API or broker that listens to the network. Then they are open, and cameras are
    /// told the address that this machine has.
    fn open_media_to_the_network(&mut self, reader: &Reader) {
        let own = [Some(self.network.local_ip), self.network.external_ip];
        let listens = self
            .http
            .listen
            .iter()
            .chain(&self.signaling.listen)
            .chain([&self.mqtt.embedded.listen]);
        let open = own.into_iter().flatten().any(|ip| !ip.is_loopback())
            || listens
                .chain(&self.mqtt.embedded.listen_tls)
                .any(|address| !address.ip().is_loopback());
        let bind = if open {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            LOOPBACK
        };
        if !reader.is_set("media.bind") {
            self.media.bind = bind;
        }
        if !reader.is_set("ingest.bind") {
            self.ingest.bind = bind;
        }
        if reader.is_set("network.local_ip") {
            return;
        }
        self.network.local_ip = match self.media.bind {
            IpAddr::V4(bind) if !bind.is_unspecified() => bind,
            IpAddr::V4(_) | IpAddr::V6(_) => network::primary_ipv4().unwrap_or(Ipv4Addr::LOCALHOST),
        };
    }
}

fn http(reader: &mut Reader) -> HttpConfig {
    let origins = |value: &_| values::list(value, values::origin);
    HttpConfig {
        listen: reader
            .read("http.listen", values::socket_addresses)
            .unwrap_or_else(|| vec![loopback(8080)]),
        cors_origins: reader
            .read("http.cors_origins", origins)
            .unwrap_or_else(|| {
                ["http://localhost:5000", "http://127.0.0.1:5000"]
                    .map(str::to_owned)
                    .to_vec()
            }),
        requests_per_second: number(reader, "http.requests_per_second", 0..=100_000, 50),
        joins_per_second: number(reader, "http.joins_per_second", 0..=10_000, 5),
        hosts: reader
            .read("http.hosts", |value| values::list(value, values::host_name))
            .unwrap_or_default(),
        trusted_proxies: reader
            .read("http.trusted_proxies", |value| {
                values::list(value, values::network)
            })
            .unwrap_or_default(),
        max_connections: number(reader, "http.max_connections", 16..=1_000_000, 8192),
        max_connections_per_address: number(
            reader,
            "http.max_connections_per_address",
            4..=1_000_000,
            256,
        ),
    }
}

fn signaling(reader: &mut Reader) -> SignalingConfig {
    SignalingConfig {
        listen: reader
            .read("signaling.listen", values::socket_addresses)
            .unwrap_or_else(|| vec![loopback(8765)]),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(LOOPBACK, port)
}

fn mqtt(reader: &mut Reader) -> MqttConfig {
    let password = reader.read("mqtt.password", values::text).map(Secret::new);
    let username = reader.read("mqtt.username", values::text);
    MqttConfig {
        broker: reader
            .read("mqtt.broker", values::broker)
            .unwrap_or(BrokerTarget::Embedded),
        embedded: EmbeddedBrokerConfig {
            listen: reader
                .read("mqtt.listen", values::socket_address)
                .unwrap_or_else(|| loopback(values::MQTT_PORT)),
            listen_tls: reader.read("mqtt.listen_tls", values::socket_address),
            max_clients: number(reader, "mqtt.max_clients", 1..=100_000, 1000),
        },
        tls: TlsFiles {
            ca: reader.read("mqtt.ca", values::readable_file),
            cert: reader.read("mqtt.cert", values::readable_file),
            key: reader.read("mqtt.key", values::private_file),
        },
        server_name: reader.read("mqtt.server_name", values::server_name),
        verify: reader
            .read("mqtt.verify", values::verify)
            .unwrap_or(Verify::Full),
        client_id: reader
            .read("mqtt.client_id", values::name_prefix)
            .unwrap_or_else(|| "livestream_service".to_owned()),
        access: mqtt_access::load(reader),
        credentials: username.map(|username| Credentials { username, password }),
        keepalive_interval: duration(reader, "mqtt.keepalive_interval_s", 1..=60, 4),
        ack_timeout: duration(reader, "mqtt.ack_timeout_s", 1..=60, 5),
    }
}

fn networks(reader: &mut Reader) -> NetworkConfig {
    let networks = |value: &_| values::list(value, values::network);
    NetworkConfig {
        local_ip: reader
            .read("network.local_ip", values::own_ipv4)
            .unwrap_or(Ipv4Addr::LOCALHOST),
        external_ip: reader.read("network.external_ip", values::own_ipv4),
        local_networks: reader
            .read("network.local_networks", networks)
            .unwrap_or_else(private_networks),
    }
}

/// Addresses that only a network of one's own has (RFC 1918, RFC 3927, RFC 4193, RFC 4291).
fn private_networks() -> Vec<IpNetwork> {
    let v4 = [
        ([10, 0, 0, 0], 8),
        ([172, 16, 0, 0], 12),
        ([192, 168, 0, 0], 16),
        ([169, 254, 0, 0], 16),
    ];
    let v6 = [
        ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
        ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    ];
    let v4 = v4.map(|(address, prefix)| IpNetwork::new(IpAddr::from(address), prefix));
    let v6 =
        v6.map(|(address, prefix): ([u16; 8], u8)| IpNetwork::new(IpAddr::from(address), prefix));
    v4.into_iter().chain(v6).flatten().collect()
}

fn media(reader: &mut Reader) -> MediaConfig {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    MediaConfig {
        engine: reader
            .read("media.engine", values::engine)
            .unwrap_or(Engine::Sfu),
        bind: reader
            .read("media.bind", values::bind_address)
            .unwrap_or(LOOPBACK),
        workers: number(
            reader,
            "media.workers",
            1..=MAX_WORKERS,
            cores.min(MAX_WORKERS.unsigned_abs() as usize),
        ),
        udp_port: number(reader, "media.udp_port", 1..=65_535, 8189),
        min_bitrate: bitrate(reader, "media.min_bitrate_kbps", 500),
        max_bitrate: bitrate(reader, "media.max_bitrate_kbps", 5000),
        max_viewers_per_stream: number(reader, "media.max_viewers_per_stream", 0..=1_000_000, 0),
        max_total_mbps: number(reader, "media.max_total_mbps", 0..=1_000_000, 0),
    }
}

fn ingest(reader: &mut Reader) -> IngestConfig {
    IngestConfig {
        bind: reader
            .read("ingest.bind", values::bind_address)
            .unwrap_or(LOOPBACK),
        ports: reader
            .read("ingest.ports", values::port_pairs)
            .unwrap_or(5006..=5999),
    }
}

fn stream(reader: &mut Reader) -> StreamConfig {
    StreamConfig {
        max_streams: number(reader, "stream.max_streams", 0..=100_000, 0),
        start_timeout: duration(reader, "stream.start_timeout_s", 1..=600, 30),
        idle_timeout: duration(reader, "stream.idle_timeout_s", 1..=604_800, 300),
        replay_timeout: duration(reader, "stream.replay_timeout_s", 3..=120, 6),
        replay_backoff_max: duration(reader, "stream.replay_backoff_max_s", 1..=3600, 30),
    }
}

fn duration(
    reader: &mut Reader,
    key: &'static str,
    bounds: std::ops::RangeInclusive<i64>,
    default_s: u64,
) -> Duration {
    reader
        .read(key, seconds(bounds))
        .unwrap_or(Duration::from_secs(default_s))
}

fn number<T: TryFrom<i64>>(
    reader: &mut Reader,
    key: &'static str,
    bounds: std::ops::RangeInclusive<i64>,
    default: T,
) -> T {
    reader
        .read(key, integer(bounds))
        .and_then(|number| T::try_from(number).ok())
        .unwrap_or(default)
}

fn bitrate(reader: &mut Reader, key: &'static str, default_kbps: u64) -> Bitrate {
    let kbps = reader
        .read(key, integer(50..=100_000))
        .map_or(default_kbps, i64::unsigned_abs);
    Bitrate::from_kbps(kbps)
}
