//! The environment names of existing installations.
//!
//! They set the same keys as our own names, so that an installation moves over with its `.env` as it is.

use std::net::Ipv6Addr;

use super::auth::MIN_JWT_SECRET;
use super::keys;
use super::raw::{Entry, Origin, RawValue};
use super::reader::{Reader, Variables};
use super::values::{MQTT_PORT, MQTTS_PORT};

/// Sets what the old names among these variables say.
pub(super) fn apply(reader: &mut Reader, variables: &Variables) {
    for (name, _) in keys::KURENTO_ONLY {
        if variables.contains_key(*name) {
            reader.found_what_only_kurento_uses(name);
        }
    }
    for (name, key) in [
        ("KURENTO_WS_URL", "kurento.servers"),
        ("TURN_SERVER_URL", "kurento.turn"),
        ("TURN_SERVER_USERNAME", "kurento.turn_username"),
        ("TURN_SERVER_PASSWORD", "kurento.turn_password"),
        ("AUTH_ENABLED", "auth.enabled"),
        ("LOCAL_IP", "network.local_ip"),
        ("EXTERNAL_IP", "network.external_ip"),
        ("EMQX_LIVESTREAM_CLIENT_ID", "mqtt.client_id"),
        ("EMQX_CA_CERT", "mqtt.ca"),
        ("EMQX_CLIENT_CERT", "mqtt.cert"),
        ("EMQX_CLIENT_KEY", "mqtt.key"),
    ] {
        if let Some(entry) = variables.get(name) {
            reader.set(key, entry.value.clone(), entry.origin.clone());
        }
    }
    local_network(reader, variables);
    log_level(reader, variables);
    broker(reader, variables);
    listen(
        reader,
        variables,
        "http.listen",
        ("API_SERVER_HOST", "API_SERVER_PORT"),
        8080,
    );
    listen(
        reader,
        variables,
        "signaling.listen",
        ("SIGNALING_SERVER_HOST", "SIGNALING_SERVER_PORT"),
        8765,
    );
    ports(reader, variables);
    stun(reader, variables);
    tls(reader, variables);
    jwt_secret(reader, variables);
}

/// One that could be guessed is left alone rather than refused: the old service asked nobody for it.
fn jwt_secret(reader: &mut Reader, variables: &Variables) {
    let Some((secret, origin)) = text(variables, "JWT_SECRET_KEY") else {
        return;
    };
    if secret.len() < MIN_JWT_SECRET {
        reader.note(
            "JWT_SECRET_KEY",
            format!("not used: it has fewer than {MIN_JWT_SECRET} characters, and whoever guesses it would be administrator"),
        );
        return;
    }
    let value = RawValue::Untyped(secret.to_owned());
    reader.set("auth.jwt_secret", value, origin.clone());
}

fn text<'a>(variables: &'a Variables, name: &str) -> Option<(&'a str, &'a Origin)> {
    match variables.get(name) {
        Some(Entry {
            value: RawValue::Untyped(text),
            origin,
        }) => Some((text.trim(), origin)),
        Some(_) | None => None,
    }
}

/// `LOG_LEVEL` says the level; `DEBUG=true` does where it is silent.
fn log_level(reader: &mut Reader, variables: &Variables) {
    if let Some((level, origin)) = text(variables, "LOG_LEVEL") {
        reader.set(
            "log.level",
            RawValue::Untyped(level.to_owned()),
            origin.clone(),
        );
    } else if let Some((debug, origin)) = text(variables, "DEBUG")
        && matches!(
            debug.to_ascii_lowercase().as_str(),
            "true" | "1" | "yes" | "on"
        )
    {
        reader.set(
            "log.level",
            RawValue::Untyped("debug".to_owned()),
            origin.clone(),
        );
    }
}

/// `LOCAL_NETWORK_PREFIX` is the beginning of an address (`192.168.1.`), or several, separated by commas.
fn local_network(reader: &mut Reader, variables: &Variables) {
    let Some((prefixes, origin)) = text(variables, "LOCAL_NETWORK_PREFIX") else {
        return;
    };
    let networks: Vec<String> = prefixes
        .split(',')
        .map(|prefix| prefix_to_network(prefix.trim()))
        .collect();
    reader.set(
        "network.local_networks",
        RawValue::Untyped(networks.join(",")),
        origin.clone(),
    );
}

/// What is no prefix of one to three numbers stays as it is, for the key's own rules to judge.
fn prefix_to_network(prefix: &str) -> String {
    let numbers: Vec<&str> = prefix.trim_end_matches('.').split('.').collect();
    let are_numbers = numbers.iter().all(|number| number.parse::<u8>().is_ok());
    if !are_numbers || numbers.len() > 3 {
        return prefix.to_owned();
    }
    let bits = 8 * numbers.len();
    let padded: Vec<&str> = numbers.into_iter().chain(["0"; 3]).take(4).collect();
    format!("{}/{bits}", padded.join("."))
}

/// `EMQX_BROKER_HOST` and `_PORT` name an external broker; with certificates, or on the port for it, over TLS.
fn broker(reader: &mut Reader, variables: &Variables) {
    let host = text(variables, "EMQX_BROKER_HOST");
    let port = text(variables, "EMQX_BROKER_PORT");
    let Some((_, origin)) = host.or(port) else {
        return;
    };
    let host = host.map_or("localhost", |(host, _)| host);
    let with_certificates = ["EMQX_CA_CERT", "EMQX_CLIENT_CERT"]
        .iter()
        .any(|name| variables.contains_key(*name));
    let tls = match port {
        Some((port, _)) => {
            port == MQTTS_PORT.to_string() || (with_certificates && port != MQTT_PORT.to_string())
        }
        None => with_certificates,
    };
    let scheme = if tls { "mqtts" } else { "mqtt" };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let url = match port {
        Some((port, _)) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    };
    reader.set("mqtt.broker", RawValue::Untyped(url), origin.clone());
}

/// `STUN_SERVER` and `STUN_PORT`; a port alone names no server.
fn stun(reader: &mut Reader, variables: &Variables) {
    let Some((host, origin)) = text(variables, "STUN_SERVER") else {
        return;
    };
    let server = match text(variables, "STUN_PORT") {
        Some((port, _)) if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]:{port}"),
        Some((port, _)) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    reader.set("kurento.stun", RawValue::Untyped(server), origin.clone());
}

/// `TLS_ENABLED` with `TLS_CERT_PATH` and `TLS_KEY_PATH` was the service's; `DASHBOARD_SSL_…` was the dashboard's, which
/// spoke HTTPS where both were set. Here one port serves both.
fn tls(reader: &mut Reader, variables: &Variables) {
    let of_service = ("TLS_CERT_PATH", "TLS_KEY_PATH");
    let of_dashboard = ("DASHBOARD_SSL_CERT_FILE", "DASHBOARD_SSL_KEY_FILE");
    let has = |names: (&str, &str)| [names.0, names.1].map(|name| variables.contains_key(name));
    let enabled = text(variables, "TLS_ENABLED");
    let files = match enabled.map(|(enabled, _)| enabled.to_ascii_lowercase()) {
        Some(off) if ["false", "0", "no", "off"].contains(&off.as_str()) => "off",
        Some(on) if ["true", "1", "yes", "on"].contains(&on.as_str()) => "files",
        // Neither: the key's own rules refuse it.
        Some(_) => enabled.map_or("", |(text, _)| text),
        None if has(of_dashboard) == [true, true] => "files",
        None => {
            if has(of_service).contains(&true) {
                reader.note(
                    "TLS_CERT_PATH",
                    "not used: it counts with TLS_ENABLED=true only",
                );
            }
            return;
        }
    };
    let names = if has(of_service).contains(&true) && enabled.is_some() {
        of_service
    } else {
        of_dashboard
    };
    let origin = |name: &str| variables.get(name).map(|entry| entry.origin.clone());
    let mode_from = origin("TLS_ENABLED").or_else(|| origin(names.0));
    if let Some(origin) = mode_from {
        reader.set("tls.mode", RawValue::Untyped(files.to_owned()), origin);
    }
    if files == "off" {
        return;
    }
    for (key, name) in [("tls.cert", names.0), ("tls.key", names.1)] {
        if let Some(entry) = variables.get(name) {
            reader.set(key, entry.value.clone(), entry.origin.clone());
        }
    }
}

fn listen(
    reader: &mut Reader,
    variables: &Variables,
    key: &'static str,
    names: (&str, &str),
    default_port: u16,
) {
    let host = text(variables, names.0);
    let port = text(variables, names.1);
    let Some((_, origin)) = host.or(port) else {
        return;
    };
    let host = host.map_or("127.0.0.1", |(host, _)| host);
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let port = port.map_or_else(|| default_port.to_string(), |(port, _)| port.to_owned());
    reader.set(
        key,
        RawValue::Untyped(format!("{host}:{port}")),
        origin.clone(),
    );
}

/// `KMS_MIN_PORT` and `KMS_MAX_PORT` bound the ports that an installation's firewall lets cameras reach. They were never
/// meant as pairs, so the range is narrowed to whole ones.
fn ports(reader: &mut Reader, variables: &Variables) {
    let (first, last) = (
        text(variables, "KMS_MIN_PORT"),
        text(variables, "KMS_MAX_PORT"),
    );
    let (Some((first, origin)), Some((last, _))) = (first, last) else {
        if let Some(name) = [("KMS_MIN_PORT", first), ("KMS_MAX_PORT", last)]
            .iter()
            .find(|(_, v)| v.is_some())
        {
            reader.note(
                name.0,
                "ignored: KMS_MIN_PORT and KMS_MAX_PORT count together only; see ingest.ports",
            );
        }
        return;
    };
    let range = match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => {
            let even = first.saturating_add(first % 2);
            let odd = if last % 2 == 0 {
                last.saturating_sub(1)
            } else {
                last
            };
            format!("{even}-{odd}")
        }
        (Ok(_) | Err(_), _) => format!("{first}-{last}"),
    };
    reader.set("ingest.ports", RawValue::Untyped(range), origin.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_become_networks() {
        for (prefix, network) in [
            ("192.168.1.", "192.168.1.0/24"),
            ("192.168", "192.168.0.0/16"),
            ("10.", "10.0.0.0/8"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(prefix_to_network(prefix), network);
        }
    }
}
