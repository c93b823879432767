//! The section `[kurento]`: the pool of Kurento Media Servers, and what the files that `apiary kurento-files` writes for
//! them hold.
//!
//! Values, their rules, and the rules between the keys of the section. How a server is spoken to does not belong here.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::raw::RawValue;
use super::reader::Reader;
use super::values::{self, Parsed, Rejection, host_and_port, reject, seconds, text};
use super::{Config, Engine};
use crate::reason::{Code, Reason};
use crate::secret::Secret;

/// Where a Kurento server listens without TLS.
const KURENTO_PORT: u16 = 8888;
/// Where a Kurento server listens with TLS.
const KURENTO_TLS_PORT: u16 = 8433;
/// Where a Kurento server takes JSON-RPC.
const KURENTO_PATH: &str = "/kurento";
/// The default port of STUN and TURN (RFC 8489, RFC 8656).
const STUN_PORT: u16 = 3478;
/// The default port of TURN over TLS (RFC 8656).
const TURNS_PORT: u16 = 5349;
/// The longest name that Linux gives a network interface (`IFNAMSIZ` without its end).
const MAX_INTERFACE_NAME: usize = 15;

/// `[kurento]`
#[derive(Clone, Debug)]
pub struct KurentoConfig {
    /// The pool; no two are the same server, and there is one at least with the engine `kurento`.
    pub servers: Vec<KurentoUrl>,
    /// Those of `servers` that get no new streams.
    pub drain: Vec<KurentoUrl>,
    /// Where cameras are told to send to for the servers of a host. Each host is one of `servers`' and stands here once.
    pub advertised: Vec<(String, Ipv4Addr)>,
    /// What the names of our pipelines begin with.
    pub pipeline_prefix: String,
    /// How long a server may take for an answer.
    pub request_timeout: Duration,
    /// How often a server is asked whether it is there.
    pub ping_interval: Duration,
    /// How long a server may be unreachable before its streams move to another.
    pub failover_after: Duration,
    /// The certificate authority (PEM) of the `wss://` servers; without it the system's count.
    pub ca: Option<PathBuf>,
    /// How the servers find their way to viewers.
    pub ice: KurentoIce,
}

/// `[kurento]`, the part that goes into the servers' own files.
#[derive(Clone, Debug, Default)]
pub struct KurentoIce {
    /// Network interfaces to gather candidates on; none: all.
    pub interfaces: Vec<String>,
    /// The STUN server.
    pub stun: Option<HostPort>,
    /// The TURN server.
    pub turn: Option<KurentoTurn>,
}

/// A TURN server and the login there.
#[derive(Clone, Debug)]
pub struct KurentoTurn {
    /// Where it is.
    pub server: HostPort,
    /// How it is spoken to.
    pub transport: TurnTransport,
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// How a TURN server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl fmt::Display for TurnTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Host name or address, an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where a Kurento server is: `ws://host[:port][/path]` or `wss://…`. Prints as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KurentoUrl {
    /// As it was written.
    pub text: String,
    /// `wss://`
    pub tls: bool,
    /// Host name or address in small letters, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path, with its `/`.
    pub path: String,
}

impl KurentoUrl {
    /// Whether both name the same server, however they are written.
    pub fn is_same_server(&self, other: &Self) -> bool {
        (&self.host, self.port, &self.path) == (&other.host, other.port, &other.path)
    }

    /// `host:port`, for the `Host` header and for connecting.
    pub fn authority(&self) -> HostPort {
        HostPort {
            host: self.host.clone(),
            port: self.port,
        }
    }
}

impl fmt::Display for KurentoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text names no Kurento server, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct KurentoUrlError {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl FromStr for KurentoUrl {
    type Err = KurentoUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        server(&RawValue::Text(text.to_owned()))
            .map_err(|Rejection { problem, remedy }| KurentoUrlError { problem, remedy })
    }
}

fn default_server() -> KurentoUrl {
    KurentoUrl {
        text: format!("ws://127.0.0.1:{KURENTO_PORT}{KURENTO_PATH}"),
        tls: false,
        host: "127.0.0.1".to_owned(),
        port: KURENTO_PORT,
        path: KURENTO_PATH.to_owned(),
    }
}

/// Reads the section.
pub(super) fn load(reader: &mut Reader, engine: Engine) -> KurentoConfig {
    let mut section = Section { reader, engine };
    let servers = section
        .read("kurento.servers", servers)
        .unwrap_or_else(|| vec![default_server()]);
    let drain = section
        .read("kurento.drain", |value| drain(value, &servers))
        .unwrap_or_default();
    KurentoConfig {
        drain,
        advertised: section
            .read("kurento.advertised", advertised)
            .unwrap_or_default(),
        pipeline_prefix: section
            .read("kurento.pipeline_prefix", values::name_prefix)
            .unwrap_or_else(|| "apiary".to_owned()),
        request_timeout: section.duration("kurento.request_timeout_s", 1..=60, 5),
        ping_interval: section.duration("kurento.ping_interval_s", 1..=240, 2),
        failover_after: section.duration("kurento.failover_after_s", 1..=60, 4),
        ca: section.read("kurento.ca", values::readable_file),
        ice: ice(&mut section),
        servers,
    }
}

fn ice(section: &mut Section<'_>) -> KurentoIce {
    let stun = section.read("kurento.stun", stun);
    let turn = section.read("kurento.turn", turn);
    let username = section.read("kurento.turn_username", text);
    let password = section.read("kurento.turn_password", turn_password);
    KurentoIce {
        interfaces: section
            .read("kurento.interfaces", |value| values::list(value, interface))
            .unwrap_or_default(),
        stun,
        turn: turn.zip(username.zip(password)).map(
            |((server, transport), (username, password))| KurentoTurn {
                server,
                transport,
                username,
                password,
            },
        ),
    }
}

/// The section being read. What an old installation's variable says is not judged where nothing uses it: with the
/// built-in engine that installation starts unchanged.
struct Section<'a> {
    reader: &'a mut Reader,
    engine: Engine,
}

impl Section<'_> {
    fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&RawValue) -> Parsed<T>,
    ) -> Option<T> {
        if is_unused(self.reader, self.engine, key) {
            self.reader.read_unjudged(key, parse)
        } else {
            self.reader.read(key, parse)
        }
    }

    fn duration(
        &mut self,
        key: &'static str,
        bounds: std::ops::RangeInclusive<i64>,
        default_s: u64,
    ) -> Duration {
        self.read(key, seconds(bounds))
            .unwrap_or(Duration::from_secs(default_s))
    }
}

fn is_unused(reader: &Reader, engine: Engine, key: &str) -> bool {
    engine != Engine::Kurento && reader.is_from_old_variable(key)
}

/// The rules between keys; see `validate`.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    if config.media.engine == Engine::Kurento {
        pool(&config.kurento, reader);
    } else {
        reader.note_what_only_kurento_uses();
    }
    advertised_hosts(&config.kurento, reader);
    certificate_authority(&config.kurento, reader);
    turn_login(config.media.engine, reader);
}

fn pool(kurento: &KurentoConfig, reader: &mut Reader) {
    if kurento.servers.is_empty() {
        reader.refuse(
            "kurento.servers",
            Rejection {
                problem: "the list is empty, and media.engine is \"kurento\"".to_owned(),
                remedy: "name a server, or use media.engine = \"sfu\", which needs none".to_owned(),
            },
        );
    } else if kurento.drain.len() == kurento.servers.len() {
        let text = "it names every server: no stream can start until one is taken out of it";
        reader.note("kurento.drain", Reason::new(Code::AllDrained, text));
    }
}

fn advertised_hosts(kurento: &KurentoConfig, reader: &mut Reader) {
    if reader.has_failed("kurento.servers") {
        return;
    }
    let is_known = |host: &str| kurento.servers.iter().any(|server| server.host == host);
    if let Some((host, _)) = kurento.advertised.iter().find(|(host, _)| !is_known(host)) {
        reader.refuse(
            "kurento.advertised",
            Rejection {
                problem: format!("no server of kurento.servers is at `{host}`"),
                remedy: "write the host as it stands there, or remove it".to_owned(),
            },
        );
    }
}

fn certificate_authority(kurento: &KurentoConfig, reader: &mut Reader) {
    let has_use = kurento.servers.iter().any(|server| server.tls);
    if reader.is_set("kurento.ca")
        && !has_use
        && !reader.has_failed("kurento.ca")
        && !reader.has_failed("kurento.servers")
    {
        reader.refuse(
            "kurento.ca",
            Rejection {
                problem: "it has no use: no server of kurento.servers is wss://".to_owned(),
                remedy: "write wss:// there, or leave it out".to_owned(),
            },
        );
    }
}

/// Kurento takes a TURN server only together with a login.
fn turn_login(engine: Engine, reader: &mut Reader) {
    let keys = [
        "kurento.turn",
        "kurento.turn_username",
        "kurento.turn_password",
    ];
    let Some(set) = keys.into_iter().find(|key| reader.is_set(key)) else {
        return;
    };
    let missing = keys.into_iter().find(|key| !reader.is_set(key));
    let has_failed = keys.into_iter().any(|key| reader.has_failed(key));
    if let Some(missing) = missing
        && !has_failed
        && !is_unused(reader, engine, set)
    {
        reader.refuse(
            set,
            Rejection {
                problem: format!("{missing} is missing"),
                remedy: "set it too: Kurento takes a TURN server with its login only".to_owned(),
            },
        );
    }
}

/// One or more servers, each once.
fn servers(value: &RawValue) -> Parsed<Vec<KurentoUrl>> {
    let servers = values::list(value, server)?;
    for (i, server) in servers.iter().enumerate() {
        if let Some(same) = servers[..i]
            .iter()
            .find(|other| other.is_same_server(server))
        {
            let problem = if same.text == server.text {
                format!("{server} stands in it twice")
            } else {
                format!("{same} and {server} are the same server")
            };
            return reject(problem, "remove one");
        }
    }
    Ok(servers)
}

/// `ws://host[:port][/path]` or `wss://…`
fn server(value: &RawValue) -> Parsed<KurentoUrl> {
    const HINT: &str = "write ws://HOST:8888/kurento, or wss://HOST:8433/kurento";
    let text = text(value)?;
    let (tls, rest) = match text.split_once("://") {
        Some(("ws", rest)) => (false, rest),
        Some(("wss", rest)) => (true, rest),
        Some((scheme, _)) => {
            return reject(
                format!("`{}://` is not spoken", scheme.escape_debug()),
                HINT,
            );
        }
        None => return reject(format!("`{}` is no address", text.escape_debug()), HINT),
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    if rest.contains(['?', '#']) {
        return reject("a query or fragment does not belong into it", HINT);
    }
    if authority.contains('@') {
        return reject(
            "a login does not belong into it, and Kurento asks for none",
            "remove what stands before the @; who may reach a server is a matter of the firewall",
        );
    }
    if !path.chars().all(|c| c.is_ascii_graphic()) {
        return reject("its path holds a character that no path has", HINT);
    }
    let default = if tls { KURENTO_TLS_PORT } else { KURENTO_PORT };
    let (host, port) = host_and_port(authority, default, HINT)?;
    let path = match path {
        "" | "/" => KURENTO_PATH,
        path => path,
    };
    Ok(KurentoUrl {
        tls,
        host: host.to_ascii_lowercase(),
        port,
        path: path.to_owned(),
        text,
    })
}

/// Servers out of the pool, as they are written there.
fn drain(value: &RawValue, servers: &[KurentoUrl]) -> Parsed<Vec<KurentoUrl>> {
    let mut drained: Vec<KurentoUrl> = Vec::new();
    for url in values::list(value, server)? {
        let Some(server) = servers.iter().find(|server| server.is_same_server(&url)) else {
            return reject(
                format!("{url} is not in kurento.servers"),
                "write one that stands there, or remove it",
            );
        };
        if !drained.contains(server) {
            drained.push(server.clone());
        }
    }
    Ok(drained)
}

/// `host=ipv4`, each host once.
fn advertised(value: &RawValue) -> Parsed<Vec<(String, Ipv4Addr)>> {
    let pairs = values::list(value, host_and_address)?;
    for (i, (host, _)) in pairs.iter().enumerate() {
        if pairs[..i].iter().any(|(other, _)| other == host) {
            return reject(format!("`{host}` stands in it twice"), "remove one");
        }
    }
    Ok(pairs)
}

fn host_and_address(value: &RawValue) -> Parsed<(String, Ipv4Addr)> {
    let text = text(value)?;
    let Some((host, address)) = text.split_once('=') else {
        return reject(
            format!("`{}` is no HOST=ADDRESS", text.escape_debug()),
            "write the server's host and the IPv4 address for cameras, as in kms1.example=192.168.1.11",
        );
    };
    let address = values::own_ipv4(&RawValue::Text(address.to_owned()))?;
    let host = host.trim().trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_ascii_lowercase(), address))
}

/// `HOST:PORT` of a STUN server.
fn stun(value: &RawValue) -> Parsed<HostPort> {
    const HINT: &str = "write HOST:PORT, as in 192.0.2.10:3478";
    let text = text(value)?;
    let text = text.strip_prefix("stun:").unwrap_or(&text);
    let (host, port) = host_and_port(text, STUN_PORT, HINT)?;
    Ok(HostPort { host, port })
}

/// `turn:HOST:PORT[?transport=udp|tcp|tls]`, or `turns:` for TLS.
fn turn(value: &RawValue) -> Parsed<(HostPort, TurnTransport)> {
    const HINT: &str = "write turn:HOST:PORT, or turn:HOST:PORT?transport=tcp";
    let text = text(value)?;
    let (default, rest) = match text.split_once(':') {
        Some(("turn", rest)) => (TurnTransport::Udp, rest),
        Some(("turns", rest)) => (TurnTransport::Tls, rest),
        Some(_) | None => return reject("it does not begin with turn:", HINT),
    };
    let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
    if authority.contains('@') {
        return reject(
            "a login does not belong into it",
            "use kurento.turn_username and kurento.turn_password",
        );
    }
    let transport = match (query, default) {
        ("", default) => default,
        ("transport=udp", TurnTransport::Udp) => TurnTransport::Udp,
        ("transport=tcp", TurnTransport::Udp) => TurnTransport::Tcp,
        ("transport=tls", _) | ("transport=tcp", TurnTransport::Tls) => TurnTransport::Tls,
        (query, _) => {
            return reject(
                format!("`?{}` is not known", query.escape_debug()),
                "write ?transport=udp, ?transport=tcp or ?transport=tls",
            );
        }
    };
    let port = if transport == TurnTransport::Tls {
        TURNS_PORT
    } else {
        STUN_PORT
    };
    let (host, port) = host_and_port(authority, port, HINT)?;
    Ok((HostPort { host, port }, transport))
}

/// Kurento takes user name and password apart at the last colon (`turnURL`).
fn turn_password(value: &RawValue) -> Parsed<Secret> {
    let password = text(value)?;
    if password.contains(':') {
        return reject(
            "Kurento takes no password with a colon",
            "give the TURN server another one",
        );
    }
    Ok(Secret::new(password))
}

fn interface(value: &RawValue) -> Parsed<String> {
    let name = text(value)?;
    if name.len() > MAX_INTERFACE_NAME
        || !name
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ','))
    {
        return reject(
            format!(
                "`{}` is no name of a network interface",
                name.escape_debug()
            ),
            "write one that `ip link` lists, as eth0",
        );
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> KurentoUrl {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_left_out_of_an_address_has_a_default() {
        for (text, tls, host, port, path) in [
            (
                "ws://127.0.0.1:8888/kurento",
                false,
                "127.0.0.1",
                8888,
                "/kurento",
            ),
            (
                "ws://KMS-1.example",
                false,
                "kms-1.example",
                8888,
                "/kurento",
            ),
            ("wss://kms/", true, "kms", 8433, "/kurento"),
            ("wss://[fd00::1]:443/a/b", true, "fd00::1", 443, "/a/b"),
        ] {
            let url = url(text);
            assert_eq!(
                (url.tls, url.host.as_str(), url.port, url.path.as_str()),
                (tls, host, port, path)
            );
            assert_eq!(url.to_string(), text, "it prints as it was written");
        }
        assert_eq!(default_server(), url("ws://127.0.0.1:8888/kurento"));
        assert_eq!(url("ws://[::1]").authority().to_string(), "[::1]:8888");
    }

    #[test]
    fn the_same_server_is_known_however_it_is_written() {
        assert!(url("ws://kms").is_same_server(&url("ws://KMS:8888/kurento")));
        assert!(!url("ws://kms").is_same_server(&url("ws://kms:8889")));
        assert!(!url("ws://kms/a").is_same_server(&url("ws://kms/b")));
    }

    #[test]
    fn turn_servers_have_a_transport() {
        let parsed = |text: &str| turn(&RawValue::Text(text.to_owned())).unwrap();
        for (text, server, transport) in [
            ("turn:t", "t:3478", TurnTransport::Udp),
            ("turn:t:99?transport=tcp", "t:99", TurnTransport::Tcp),
            ("turn:t?transport=tls", "t:5349", TurnTransport::Tls),
            ("turns:[fd00::1]", "[fd00::1]:5349", TurnTransport::Tls),
        ] {
            let (found, by) = parsed(text);
            assert_eq!((found.to_string().as_str(), by), (server, transport));
        }
    }
}
