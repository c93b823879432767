//! Are the ports free, or taken by apiary itself?

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Report;
use crate::config::Config;
use crate::config::values::{BrokerTarget, PORTS_PER_STREAM};
use crate::http::redirect::HELLO;
use crate::reason::{Code, Reason};

/// How long a program on the HTTP port may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// As much of its answer as is looked at.
const MAX_ANSWER: u64 = 16 << 10;

/// Whether an apiary answers on the configured HTTP port.
pub(super) async fn is_running(config: &Config) -> bool {
    for address in &config.http.listen {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        let near = SocketAddr::new(ip, address.port());
        if let Ok(Ok(answer)) = timeout(PATIENCE, health(near)).await
            && (answer.contains("kurento_connected") || answer.contains(HELLO))
        {
            return true;
        }
    }
    false
}

/// What a `GET /health` answers.
async fn health(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

pub(super) fn tcp(config: &Config, running: bool, report: &mut Report) {
    let mut listeners: Vec<(&str, SocketAddr)> = Vec::new();
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
    for (key, address) in listeners {
        match TcpListener::bind(address) {
            Ok(_) => report.good(key, format!("{address} is free")),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && running => {
                report.good(
                    key,
                    format!("{address} is taken, by the running apiary it seems"),
                );
            }
            Err(error) => report.problem(key, refused(&error, "tcp", &address, address.port())),
        }
    }
}

/// Why `what`, an address with or without a port, cannot be listened on, and what to do.
fn refused(error: &io::Error, protocol: &str, what: &dyn fmt::Display, port: u16) -> Reason {
    let (code, advice) = if error.kind() == io::ErrorKind::AddrInUse {
        let flag = if protocol == "tcp" { 't' } else { 'u' };
        let advice = format!(
            "another program has the port; `ss -l{flag}np 'sport = :{port}'` says which: stop it or choose another port"
        );
        (Code::PortTaken, advice)
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        let advice = "this machine does not have that address; use one of its own (`ip address` lists them), or 0.0.0.0 for all";
        (Code::AddressNotHere, advice.to_owned())
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        let advice = "ports below 1024 need a permission; choose a higher one, or give the program CAP_NET_BIND_SERVICE";
        (Code::PortNotAllowed, advice.to_owned())
    } else {
        let advice = format!("{error}; choose another address");
        (Code::PortRefused, advice)
    };
    Reason::new(code, format_args!("{what}: {advice}")).with("address", what)
}

pub(super) fn udp(config: &Config, running: bool, report: &mut Report) {
    let media = &config.media;
    let workers = u16::try_from(media.workers).unwrap_or(u16::MAX);
    let last = media.udp_port.saturating_add(workers - 1);
    let taken = (media.udp_port..=last).find_map(|port| {
        UdpSocket::bind((media.bind, port))
            .err()
            .map(|error| (port, error))
    });
    match taken {
        None => report.good(
            "media.udp_port",
            format!("{} to {last} on {} are free", media.udp_port, media.bind),
        ),
        Some((_, error)) if error.kind() == io::ErrorKind::AddrInUse && running => {
            report.good("media.udp_port", "taken, by the running apiary it seems");
        }
        Some((port, error)) => {
            let what = format!("UDP {port} on {}", media.bind);
            report.problem("media.udp_port", refused(&error, "udp", &what, port));
        }
    }
    ingest(config, report);
}

/// Ports taken by others are skipped at run time, so what matters is how many are left.
fn ingest(config: &Config, report: &mut Report) {
    let (first, last) = (*config.ingest.ports.start(), *config.ingest.ports.end());
    let bind = config.ingest.bind;
    if let Err(error) = UdpSocket::bind((bind, 0)) {
        return report.problem("ingest.bind", refused(&error, "udp", &bind, 0));
    }
    let is_free = |port: u16| UdpSocket::bind((bind, port)).is_ok();
    let pairs = (first..=last)
        .step_by(2)
        .filter(|rtp| is_free(*rtp) && is_free(rtp.saturating_add(1)))
        .count();
    let cameras = pairs / usize::from(PORTS_PER_STREAM / 2);
    let said = |code, text: String| {
        Reason::new(code, text)
            .with("ports", format_args!("{first}-{last}"))
            .with("n", cameras)
    };
    if cameras == 0 {
        let text =
            format!("no two free pairs of UDP ports in {first}-{last}: choose another range");
        report.problem("ingest.ports", said(Code::NoIngestPorts, text));
    } else {
        let text = format!("{first}-{last} has room for {cameras} cameras that stream at once");
        report.good("ingest.ports", said(Code::IngestPorts, text));
    }
}
