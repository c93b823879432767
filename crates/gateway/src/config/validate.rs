//! The rules between keys. A rule is silent about a key whose own value was refused already.

use std::net::{IpAddr, SocketAddr};

use super::reader::Reader;
use super::values::{BrokerTarget, Rejection, seconds};
use super::{Config, Engine, Verify, kurento, mqtt_access, tls};
use crate::reason::{Code, Reason};

/// Bounds within which the cameras' encoders follow (camera-protocol.md), in kbit/s.
const CAMERA_BITRATE_KBPS: std::ops::RangeInclusive<u64> = 500..=5000;

/// Checks all rules; what breaks one is remembered in the reader.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    tcp_ports(config, reader);
    udp_ports(config, reader);
    bitrates(config, reader);
    stream_times(config, reader);
    camera_keepalive(config, reader);
    certificates(config, reader);
    external_only(config, reader);
    addresses(config, reader);
    kurento::check(config, reader);
    mqtt_access::check(config, reader);
    tls::check(config, reader);
}

fn refuse(
    reader: &mut Reader,
    key: &'static str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) {
    if !reader.has_failed(key) {
        reader.refuse(
            key,
            Rejection {
                problem: problem.into(),
                remedy: remedy.into(),
            },
        );
    }
}

/// Two keys that contradict each other: told at the first, or at the second where only that was set by somebody.
fn contradict(
    reader: &mut Reader,
    keys: (&'static str, &'static str),
    problem: impl Into<String>,
    remedy: impl Into<String>,
) {
    let (key, other) = keys;
    if reader.has_failed(key) || reader.has_failed(other) {
        return;
    }
    let blamed = if reader.is_set(other) && !reader.is_set(key) {
        other
    } else {
        key
    };
    refuse(reader, blamed, problem, remedy);
}

/// No two listeners on the same port of the same, or of all, addresses.
fn tcp_ports(config: &Config, reader: &mut Reader) {
    let mut listeners: Vec<(&'static str, SocketAddr)> = Vec::new();
    listeners.extend(
        config
            .http
            .listen
            .iter()
            .map(|address| ("http.listen", *address)),
    );
    listeners.extend(
        config
            .signaling
            .listen
            .iter()
            .map(|address| ("signaling.listen", *address)),
    );
    listeners.extend(
        config
            .metrics
            .listen
            .map(|address| ("metrics.listen", address)),
    );
    listeners.extend(
        config
            .tls
            .redirect_listen
            .iter()
            .map(|address| ("tls.redirect_listen", *address)),
    );
    if config.mqtt.broker == BrokerTarget::Embedded {
        listeners.push(("mqtt.listen", config.mqtt.embedded.listen));
        listeners.extend(
            config
                .mqtt
                .embedded
                .listen_tls
                .map(|address| ("mqtt.listen_tls", address)),
        );
    }
    for (i, (key, address)) in listeners.iter().enumerate() {
        for (other_key, other) in &listeners[..i] {
            if key != other_key && collide(*address, *other) {
                let problem = format!("{other_key} listens on {other}, and {key} on {address}");
                contradict(
                    reader,
                    (key, other_key),
                    problem,
                    "give each a port of its own",
                );
            }
        }
    }
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    // `[::]` takes the IPv4 port as well on Linux.
    let covers =
        |x: IpAddr, y: IpAddr| x.is_unspecified() && (same_family || (x.is_ipv6() && y.is_ipv4()));
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

/// The workers' ports must exist and lie outside the cameras'. Kurento has no workers of ours.
fn udp_ports(config: &Config, reader: &mut Reader) {
    if config.media.engine == Engine::Kurento {
        return;
    }
    let first = usize::from(config.media.udp_port);
    let last = first + config.media.workers - 1;
    if last > usize::from(u16::MAX) {
        let remedy = format!(
            "{} workers need udp_port at most {}",
            config.media.workers,
            65_536 - config.media.workers
        );
        return refuse(
            reader,
            "media.udp_port",
            format!("the last worker would get port {last}"),
            remedy,
        );
    }
    if reader.has_failed("media.workers") {
        return;
    }
    let ports = &config.ingest.ports;
    let (low, high) = (usize::from(*ports.start()), usize::from(*ports.end()));
    if low <= last && first <= high {
        let workers = config.media.workers;
        let problem = format!(
            "media.udp_port and its {workers} workers take {first}-{last}, which lies in ingest.ports {low}-{high}"
        );
        contradict(
            reader,
            ("ingest.ports", "media.udp_port"),
            problem,
            "choose ranges that do not overlap",
        );
    }
}

fn bitrates(config: &Config, reader: &mut Reader) {
    let (min, max) = (
        config.media.min_bitrate.as_kbps(),
        config.media.max_bitrate.as_kbps(),
    );
    if min > max {
        let keys = ("media.min_bitrate_kbps", "media.max_bitrate_kbps");
        let problem = format!("{} = {min} is above {} = {max}", keys.0, keys.1);
        contradict(
            reader,
            keys,
            problem,
            "raise the maximum or lower the minimum",
        );
    }
    for (key, kbps) in [
        ("media.min_bitrate_kbps", min),
        ("media.max_bitrate_kbps", max),
    ] {
        if !CAMERA_BITRATE_KBPS.contains(&kbps) {
            let text = format!(
                "{kbps} is outside 500 to 5000, beyond which the known cameras do not follow"
            );
            let reason = Reason::new(Code::BitrateBeyond, text);
            reader.note(key, reason.with("kbps", kbps));
        }
    }
}

fn stream_times(config: &Config, reader: &mut Reader) {
    let stream = &config.stream;
    if stream.replay_timeout > stream.replay_backoff_max {
        let keys = ("stream.replay_backoff_max_s", "stream.replay_timeout_s");
        let (most, first) = (
            stream.replay_backoff_max.as_secs(),
            stream.replay_timeout.as_secs(),
        );
        let problem = format!("{} = {most} is below {} = {first}", keys.0, keys.1);
        contradict(
            reader,
            keys,
            problem,
            "pauses grow from the latter up to the former: raise it",
        );
    }
}

/// A camera ends its stream when keepalives stay away (assumed: 30 s), so several must fit into that time.
fn camera_keepalive(config: &Config, reader: &mut Reader) {
    let timeout = reader.read("camera.keepalive_timeout_s", seconds(5..=3600));
    let timeout = timeout
        .unwrap_or(std::time::Duration::from_secs(30))
        .as_secs();
    let interval = config.mqtt.keepalive_interval.as_secs();
    if interval * 2 > timeout {
        let keys = ("mqtt.keepalive_interval_s", "camera.keepalive_timeout_s");
        let problem = format!(
            "a camera ends its stream after {timeout} s without a keepalive, and one is sent each {interval} s"
        );
        let remedy = format!(
            "set mqtt.keepalive_interval_s to at most {}, so that one may be lost",
            timeout / 2
        );
        contradict(reader, keys, problem, remedy);
    }
}

fn certificates(config: &Config, reader: &mut Reader) {
    for (key, other) in [("mqtt.cert", "mqtt.key"), ("mqtt.key", "mqtt.cert")] {
        if reader.is_set(key) && !reader.is_set(other) {
            refuse(
                reader,
                key,
                format!("{other} is missing"),
                format!("set {other} too: they belong together"),
            );
        }
    }
    let has_use = match &config.mqtt.broker {
        BrokerTarget::Embedded => {
            config.mqtt.embedded.listen_tls.is_some() || reader.has_failed("mqtt.listen_tls")
        }
        BrokerTarget::External(address) => address.tls,
    } || reader.has_failed("mqtt.broker");
    if has_use {
        return listen_tls(config, reader);
    }
    let remedy = match &config.mqtt.broker {
        BrokerTarget::Embedded => {
            "set mqtt.listen_tls for the embedded broker, or a broker mqtts://…; or leave it out"
        }
        BrokerTarget::External(_) => "write mqtts:// in mqtt.broker, or leave it out",
    };
    for key in ["mqtt.ca", "mqtt.cert", "mqtt.key"] {
        if reader.is_set(key) {
            refuse(
                reader,
                key,
                "it has no use: nothing here speaks TLS",
                remedy,
            );
        }
    }
}

/// The TLS listener takes clients with a certificate of the given authority only, so it needs all three files.
fn listen_tls(config: &Config, reader: &mut Reader) {
    if config.mqtt.broker != BrokerTarget::Embedded || config.mqtt.embedded.listen_tls.is_none() {
        return;
    }
    let missing: Vec<&str> = ["mqtt.ca", "mqtt.cert", "mqtt.key"]
        .into_iter()
        .filter(|key| !reader.is_set(key))
        .collect();
    if !missing.is_empty() {
        let problem = format!("TLS needs {}", missing.join(", "));
        let remedy = "set it: ca signs the cameras' certificates, cert and key are the broker's own; or leave listen_tls out";
        refuse(reader, "mqtt.listen_tls", problem, remedy);
    }
}

/// Keys that say something about an external broker, and those that say something about the embedded one.
fn external_only(config: &Config, reader: &mut Reader) {
    if reader.has_failed("mqtt.broker") {
        return;
    }
    match &config.mqtt.broker {
        BrokerTarget::Embedded => {
            for key in [
                "mqtt.server_name",
                "mqtt.verify",
                "mqtt.username",
                "mqtt.password",
            ] {
                if reader.is_set(key) {
                    let remedy = "set mqtt.broker to its address, or leave it out";
                    refuse(
                        reader,
                        key,
                        "it is about an external broker, and the broker is embedded",
                        remedy,
                    );
                }
            }
        }
        BrokerTarget::External(address) => {
            for key in ["mqtt.listen", "mqtt.listen_tls"] {
                if reader.is_set(key) {
                    let remedy = "set mqtt.broker to \"embedded\", or leave it out";
                    refuse(
                        reader,
                        key,
                        format!("it is about the embedded broker, and the broker is {address}"),
                        remedy,
                    );
                }
            }
            for key in ["mqtt.server_name", "mqtt.verify"] {
                if reader.is_set(key) && !address.tls {
                    refuse(
                        reader,
                        key,
                        "it is about a certificate, and mqtt:// has none",
                        "use mqtts://, or leave it out",
                    );
                }
            }
        }
    }
    if reader.is_set("mqtt.password") && !reader.is_set("mqtt.username") {
        refuse(
            reader,
            "mqtt.password",
            "mqtt.username is missing",
            "set it too",
        );
    }
    if reader.is_set("mqtt.server_name") && config.mqtt.verify == Verify::Chain {
        let remedy = "leave out mqtt.verify to have that name checked, or mqtt.server_name";
        refuse(
            reader,
            "mqtt.server_name",
            "mqtt.verify = \"chain\" checks no name",
            remedy,
        );
    } else if config.mqtt.verify == Verify::Chain {
        let text = "the broker's name is not checked: whoever has any certificate of the same authority can pose as the broker; \
             better set mqtt.server_name to a name that stands in its certificate";
        reader.note("mqtt.verify", Reason::new(Code::BrokerNameUnchecked, text));
    }
}

fn addresses(config: &Config, reader: &mut Reader) {
    for (key, bind) in [
        ("media.bind", config.media.bind),
        ("ingest.bind", config.ingest.bind),
    ] {
        let local = IpAddr::V4(config.network.local_ip);
        if bind.is_loopback() && !local.is_loopback() && reader.is_set("network.local_ip") {
            let problem = format!("nothing sent to network.local_ip = {local} arrives there");
            refuse(
                reader,
                key,
                problem,
                "use 0.0.0.0 or that address, or leave it out",
            );
        }
        if bind.is_ipv6() && !bind.is_unspecified() {
            refuse(
                reader,
                key,
                "cameras and network.local_ip are IPv4",
                "use an IPv4 address, or [::] as ::",
            );
        }
    }
    if let Some(external) = config.network.external_ip
        && config.is_at_home(IpAddr::V4(external))
    {
        let text =
            format!("{external} is an address of a home network; from outside nobody reaches it");
        let reason = Reason::new(Code::ExternalAtHome, text);
        reader.note("network.external_ip", reason.with("address", external));
    }
}
