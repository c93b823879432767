//! The types of values, and how each is read from what was written.
//!
//! Rules for one value alone live here; rules between keys live in `validate`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use apiary_store::{PostgresTarget, TargetError};

use super::raw::RawValue;
use super::{Engine, LogFormat, Verify};
use crate::tls::private_file;

/// The default MQTT port.
pub const MQTT_PORT: u16 = 1883;
/// The default port of MQTT over TLS.
pub const MQTTS_PORT: u16 = 8883;
/// Ports that one camera's stream takes: RTP and RTCP for picture and sound.
pub const PORTS_PER_STREAM: u16 = 4;

/// Which broker the cameras are commanded over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerTarget {
    /// The one inside this program.
    Embedded,
    /// Another one.
    External(BrokerAddress),
}

/// Where an external broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `mqtts://`
    pub tls: bool,
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    prefix: u8,
}

impl IpNetwork {
    /// The network with that address (whose host bits are cleared) and prefix length; `None` if the length is too great.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::from((u32::from(v4) & mask).to_be_bytes())
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::from((u128::from(v6) & mask).to_be_bytes())
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Self { address, prefix })
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Self::new(address, self.prefix) == Some(*self)
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why a value is not taken, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) problem: String,
    pub(super) remedy: String,
}

pub(super) type Parsed<T> = Result<T, Rejection>;

pub(super) fn reject<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Parsed<T> {
    Err(Rejection {
        problem: problem.into(),
        remedy: remedy.into(),
    })
}

/// A text that is not empty.
pub(super) fn text(value: &RawValue) -> Parsed<String> {
    match value {
        RawValue::Text(text) | RawValue::Untyped(text) if text.trim().is_empty() => {
            reject("it is empty", "give a value or leave the key out")
        }
        RawValue::Text(text) | RawValue::Untyped(text) if text.chars().any(char::is_control) => {
            reject("it holds a control character", "remove it")
        }
        RawValue::Text(text) | RawValue::Untyped(text) => Ok(text.trim().to_owned()),
        RawValue::Integer(_)
        | RawValue::Boolean(_)
        | RawValue::List(_)
        | RawValue::Other { .. } => reject(
            format!("expected text, found {}", value.kind()),
            "put it in quotes",
        ),
    }
}

/// A whole number within bounds, both inclusive.
pub(super) fn integer(bounds: RangeInclusive<i64>) -> impl Fn(&RawValue) -> Parsed<i64> {
    move |value| {
        let (low, high) = (bounds.start(), bounds.end());
        let remedy = format!("give a whole number from {low} to {high}");
        let number = match value {
            RawValue::Integer(number) => *number,
            RawValue::Untyped(text) => match text.trim().parse() {
                Ok(number) => number,
                Err(_) => return reject("it is no whole number", remedy),
            },
            RawValue::Text(_) => {
                return reject(
                    "expected a number, found text",
                    format!("{remedy}, without quotes"),
                );
            }
            RawValue::Boolean(_) | RawValue::List(_) | RawValue::Other { .. } => {
                return reject(
                    format!("expected a whole number, found {}", value.kind()),
                    remedy,
                );
            }
        };
        if bounds.contains(&number) {
            Ok(number)
        } else {
            reject("it is out of range", remedy)
        }
    }
}

/// `true` or `false`; in a variable also 1/0, yes/no and on/off.
pub(super) fn boolean(value: &RawValue) -> Parsed<bool> {
    let text = match value {
        RawValue::Boolean(value) => return Ok(*value),
        RawValue::Untyped(text) => text.trim().to_ascii_lowercase(),
        RawValue::Text(_) | RawValue::Integer(_) | RawValue::List(_) | RawValue::Other { .. } => {
            String::new()
        }
    };
    match text.as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => reject("it is neither true nor false", "write true or false"),
    }
}

/// A host name as it stands in the address bar, in small letters and without a port.
pub(super) fn host_name(value: &RawValue) -> Parsed<String> {
    let name = text(value)?.to_ascii_lowercase();
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_');
    if name.is_empty() || !name.chars().all(fits) {
        return reject(
            format!("{name:?} is no host name"),
            "write the name as in the address bar, without http:// and port: cams.example.org",
        );
    }
    Ok(name)
}

/// A whole number of seconds within bounds.
pub(super) fn seconds(bounds: RangeInclusive<i64>) -> impl Fn(&RawValue) -> Parsed<Duration> {
    let integer = integer(bounds);
    move |value| integer(value).map(|seconds| Duration::from_secs(seconds.unsigned_abs()))
}

/// One or more values: a list, a single one, or, in a variable, separated by commas.
pub(super) fn list<T>(value: &RawValue, item: impl Fn(&RawValue) -> Parsed<T>) -> Parsed<Vec<T>> {
    match value {
        RawValue::List(items) => items.iter().map(item).collect(),
        RawValue::Untyped(text) => text
            .split(',')
            .map(|part| item(&RawValue::Untyped(part.trim().to_owned())))
            .collect(),
        RawValue::Text(_)
        | RawValue::Integer(_)
        | RawValue::Boolean(_)
        | RawValue::Other { .. } => item(value).map(|one| vec![one]),
    }
}

/// `ADDRESS:PORT`
pub(super) fn socket_address(value: &RawValue) -> Parsed<SocketAddr> {
    let text = text(value)?;
    let local = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    match local.as_deref().unwrap_or(&text).parse() {
        Ok(address) => Ok(address),
        Err(_) if text.parse::<IpAddr>().is_ok() => reject(
            "the port is missing",
            format!("write {text}:8080, or [{text}]:8080 for IPv6"),
        ),
        Err(_) => reject(
            format!("`{}` is no address and port", text.escape_debug()),
            "write ADDRESS:PORT, for instance 127.0.0.1:8080, or 0.0.0.0:8080 for all networks",
        ),
    }
}

/// One or more `ADDRESS:PORT`.
pub(super) fn socket_addresses(value: &RawValue) -> Parsed<Vec<SocketAddr>> {
    let addresses = list(value, socket_address)?;
    if addresses.is_empty() {
        return reject("the list is empty", "give at least one ADDRESS:PORT");
    }
    for (i, address) in addresses.iter().enumerate() {
        if address.port() != 0 && addresses[..i].contains(address) {
            return reject(format!("{address} stands in it twice"), "remove one");
        }
    }
    Ok(addresses)
}

/// An address to bind to.
pub(super) fn bind_address(value: &RawValue) -> Parsed<IpAddr> {
    match text(value)?.parse() {
        Ok(address) => Ok(address),
        Err(_) => reject(
            "it is no IP address",
            "write 127.0.0.1 for this machine only, or 0.0.0.0 for all networks",
        ),
    }
}

/// An IPv4 address that others can send to.
pub(super) fn own_ipv4(value: &RawValue) -> Parsed<Ipv4Addr> {
    let text = text(value)?;
    let address = match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address,
        Ok(IpAddr::V6(_)) => {
            return reject(
                "it is an IPv6 address, and cameras know IPv4 only",
                "give this machine's IPv4 address",
            );
        }
        Err(_) => {
            return reject(
                "it is no IPv4 address",
                "give an address like 192.168.1.10, without a port",
            );
        }
    };
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        return reject(
            "nobody can send to it",
            "give the address that this machine has, or leave the key out",
        );
    }
    Ok(address)
}

/// A network in CIDR notation.
pub(super) fn network(value: &RawValue) -> Parsed<IpNetwork> {
    let text = text(value)?;
    let hint = "write a network like 192.168.0.0/16";
    let Some((address, prefix)) = text.split_once('/') else {
        return reject(
            format!(
                "`{}` is no network: the /LENGTH is missing",
                text.escape_debug()
            ),
            hint,
        );
    };
    let (Ok(address), Ok(prefix)) = (address.parse::<IpAddr>(), prefix.parse::<u8>()) else {
        return reject(format!("`{}` is no network", text.escape_debug()), hint);
    };
    match IpNetwork::new(address, prefix) {
        None => reject(
            format!("/{prefix} is too long"),
            "IPv4 has at most /32, IPv6 /128",
        ),
        Some(network) if network.address != address => reject(
            format!("{text} is one host, not a network"),
            format!("did you mean {network}?"),
        ),
        Some(network) => Ok(network),
    }
}

/// `embedded`, `mqtt://host:1883` or `mqtts://host:8883`.
pub(super) fn broker(value: &RawValue) -> Parsed<BrokerTarget> {
    const HINT: &str = "write \"embedded\", \"mqtt://host:1883\" or \"mqtts://host:8883\"";
    let text = text(value)?;
    if text == "embedded" {
        return Ok(BrokerTarget::Embedded);
    }
    let (tls, rest) = match text.split_once("://") {
        Some(("mqtt" | "tcp", rest)) => (false, rest),
        Some(("mqtts" | "ssl", rest)) => (true, rest),
        Some((scheme, _)) => {
            return reject(
                format!("`{}://` is not spoken", scheme.escape_debug()),
                HINT,
            );
        }
        None => return reject("it is neither `embedded` nor an address", HINT),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return reject(
            "a login does not belong into the address",
            "use mqtt.username and mqtt.password",
        );
    }
    if rest.contains(['/', '?', '#']) {
        return reject("a path does not belong into it", HINT);
    }
    let default = if tls { MQTTS_PORT } else { MQTT_PORT };
    let (host, port) = host_and_port(rest, default, "write mqtt://HOST:PORT")?;
    Ok(BrokerTarget::External(BrokerAddress { host, port, tls }))
}

/// `HOST[:PORT]`, an IPv6 address in brackets; `hint` says how the whole value is written.
pub(super) fn host_and_port(text: &str, default: u16, hint: &str) -> Parsed<(String, u16)> {
    let bad = || {
        reject(
            "it names no host",
            format!("{hint}, an IPv6 address in brackets"),
        )
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (
                host,
                port.strip_prefix(':').or(port.is_empty().then_some("")),
            ),
            Some(_) | None => return bad(),
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_host) {
        return bad();
    }
    let port = match port {
        Some("") if !text.ends_with(':') => default,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            Ok(_) | Err(_) => {
                return reject(
                    format!("`{}` is no port", port.escape_debug()),
                    "give a number from 1 to 65535",
                );
            }
        },
        None => return bad(),
    };
    Ok((host.to_owned(), port))
}

/// `FIRST-LAST`, whole pairs of an even and the next odd port.
pub(super) fn port_pairs(value: &RawValue) -> Parsed<RangeInclusive<u16>> {
    let text = text(value)?;
    let numbers = text.split_once('-').and_then(|(first, last)| {
        Some((
            first.trim().parse::<u16>().ok()?,
            last.trim().parse::<u16>().ok()?,
        ))
    });
    let Some((first, last)) = numbers else {
        return reject(
            "it is no range of ports",
            "write FIRST-LAST, for instance 5006-5999",
        );
    };
    if first > last {
        return reject(
            "it ends before it begins",
            format!("did you mean {last}-{first}?"),
        );
    }
    if first == 0 {
        return reject("0 is no port", "begin above 1023, for instance with 5006");
    }
    if first % 2 == 1 {
        return reject(
            "it begins with an odd port, and RTP wants an even one",
            format!("begin with {}", first - 1),
        );
    }
    if last % 2 == 0 {
        return reject(
            "it ends with an even port, whose pair is missing",
            format!("end with {}", last.saturating_add(1)),
        );
    }
    if last - first < PORTS_PER_STREAM - 1 {
        let enough = first.saturating_add(PORTS_PER_STREAM - 1);
        return reject(
            "it is too small for one camera, which takes 4 ports",
            format!("write at least {first}-{enough}"),
        );
    }
    Ok(first..=last)
}

/// `scheme://host[:port]`
pub(super) fn origin(value: &RawValue) -> Parsed<String> {
    let text = text(value)?;
    if text == "*" {
        return reject(
            "`*` would let every page on the web call the API",
            "list the origins of the pages that may",
        );
    }
    let host = match text.split_once("://") {
        Some(("http" | "https", host)) => host,
        Some(_) | None => return reject("it is no origin", "write one like http://localhost:5000"),
    };
    if let Some((bare, _)) = host.split_once('/') {
        return reject(
            "an origin has no path",
            format!("write {}", &text[..text.len() - host.len() + bare.len()]),
        );
    }
    if host.is_empty() || host.contains(['@', '?', '#', ' ', '*']) {
        return reject("it is no origin", "write one like http://localhost:5000");
    }
    Ok(text.to_ascii_lowercase())
}

/// The beginning of a name: an MQTT client id, or pipelines on a Kurento server.
pub(super) fn name_prefix(value: &RawValue) -> Parsed<String> {
    let text = text(value)?;
    if text.len() > 64 {
        return reject("it is longer than 64 characters", "shorten it");
    }
    if !text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        return reject(
            "it may hold letters, digits, `-`, `_` and `.` only",
            "remove the other characters",
        );
    }
    Ok(text)
}

/// The name in a certificate: a DNS name or an IP address.
pub(super) fn server_name(value: &RawValue) -> Parsed<String> {
    let text = text(value)?;
    match rustls::pki_types::ServerName::try_from(text.as_str()) {
        Ok(_) => Ok(text),
        Err(_) => reject(
            "it is neither a host name nor an IP address",
            "write the name that stands in the certificate",
        ),
    }
}

/// A readable file.
pub(super) fn readable_file(value: &RawValue) -> Parsed<PathBuf> {
    let path = PathBuf::from(text(value)?);
    match std::fs::File::open(&path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_file() => Ok(path),
        Ok(_) => reject("it is no file", "give the path of a PEM file"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => reject(
            "there is no such file",
            "correct the path (it counts from the working directory)",
        ),
        Err(error) => reject(
            format!("it cannot be read: {error}"),
            "let the user that runs apiary read it",
        ),
    }
}

/// A readable file with a private key, which nobody else may read.
pub(super) fn private_file(value: &RawValue) -> Parsed<PathBuf> {
    let path = readable_file(value)?;
    match private_file::check(&path) {
        Ok(()) => Ok(path),
        Err(open) => reject(open.to_string(), format!("run: {}", open.command())),
    }
}

/// `postgres://USER:PASSWORD@HOST:PORT/NAME`
pub(super) fn database(value: &RawValue) -> Parsed<PostgresTarget> {
    let target = match PostgresTarget::parse(&text(value)?) {
        Ok(target) => target,
        Err(TargetError { problem, remedy }) => return reject(problem, remedy),
    };
    if let Some(path) = target.root_certificate() {
        let path = RawValue::Text(path.display().to_string());
        if let Err(Rejection { problem, remedy }) = readable_file(&path) {
            return reject(format!("its sslrootcert: {problem}"), remedy);
        }
    }
    Ok(target)
}

/// A directory, which may not exist yet.
pub(super) fn directory(value: &RawValue) -> Parsed<PathBuf> {
    let path = PathBuf::from(text(value)?);
    match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_dir() => reject("it is a file", "give a directory"),
        Ok(_) | Err(_) => Ok(path),
    }
}

/// The name of a media engine.
pub(super) fn engine(value: &RawValue) -> Parsed<Engine> {
    match text(value)?.as_str() {
        "sfu" => Ok(Engine::Sfu),
        "kurento" => Ok(Engine::Kurento),
        _ => reject("there is no such engine", "use \"sfu\" or \"kurento\""),
    }
}

/// How much of a certificate is checked.
pub(super) fn verify(value: &RawValue) -> Parsed<Verify> {
    match text(value)?.as_str() {
        "full" => Ok(Verify::Full),
        "chain" => Ok(Verify::Chain),
        "none" | "false" | "off" => reject(
            "an unchecked certificate protects nothing",
            "use \"full\", or \"chain\" to leave out the name",
        ),
        _ => reject(
            "there is no such check",
            "use \"full\", or \"chain\" to leave out the name",
        ),
    }
}

/// The least severity that is logged; Python's names are known too.
pub(super) fn log_level(value: &RawValue) -> Parsed<tracing::Level> {
    match text(value)?.to_ascii_lowercase().as_str() {
        "trace" => Ok(tracing::Level::TRACE),
        "debug" => Ok(tracing::Level::DEBUG),
        "info" => Ok(tracing::Level::INFO),
        "warn" | "warning" => Ok(tracing::Level::WARN),
        "error" | "critical" | "fatal" => Ok(tracing::Level::ERROR),
        _ => reject(
            "there is no such level",
            "use error, warn, info, debug or trace",
        ),
    }
}

/// The shape of a log line.
pub(super) fn log_format(value: &RawValue) -> Parsed<LogFormat> {
    match text(value)?.as_str() {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => reject("there is no such format", "use \"human\" or \"json\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_their_prefix_says() {
        let network = |text: &str| network(&RawValue::Text(text.to_owned())).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(network("192.168.0.0/16").contains(address("192.168.255.1")));
        assert!(!network("192.168.0.0/16").contains(address("192.169.0.1")));
        assert!(network("0.0.0.0/0").contains(address("8.8.8.8")));
        assert!(!network("0.0.0.0/0").contains(address("::1")));
        assert!(network("fc00::/7").contains(address("fd12::1")));
        assert!(network("10.1.2.3/32").contains(address("10.1.2.3")));
        assert!(!network("10.1.2.3/32").contains(address("10.1.2.2")));
    }

    #[test]
    fn broker_addresses_print_as_they_are_written() {
        for text in [
            "mqtt://broker.local:1884",
            "mqtts://[::1]:8883",
            "mqtt://10.0.0.1:1883",
        ] {
            let BrokerTarget::External(address) = broker(&RawValue::Text(text.to_owned())).unwrap()
            else {
                panic!("{text} is external");
            };
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn broker_ports_have_defaults() {
        let port = |text: &str| match broker(&RawValue::Text(text.to_owned())).unwrap() {
            BrokerTarget::External(address) => address.port,
            BrokerTarget::Embedded => panic!("{text} is external"),
        };
        assert_eq!(
            (port("mqtt://b"), port("mqtts://b"), port("mqtts://[::1]/")),
            (1883, 8883, 8883)
        );
    }
}
