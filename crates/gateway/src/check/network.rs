//! Do the addresses that cameras and browsers are told make sense?

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use super::Report;
use crate::config::{Config, Engine};
use crate::reason::{Code, Reason};

/// Files that only containers have: Docker's and Podman's.
const CONTAINER_MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

pub(super) fn examine(config: &Config, report: &mut Report) {
    local(config.network.local_ip, is_in_container(), report);
    external(config, report);
    reach(config, report);
}

fn local(ip: Ipv4Addr, in_container: bool, report: &mut Report) {
    let subject = "network.local_ip";
    let said = |code, text: String| Reason::new(code, text).with("address", ip);
    if UdpSocket::bind((ip, 0)).is_err() {
        let text = format!(
            "{ip} is none of this machine's addresses: cameras would send elsewhere. Use one that `ip address` lists; \
             only in a container whose ports are forwarded is it right"
        );
        report.problem(subject, said(Code::AddressNotOurs, text));
    } else if ip.is_loopback() {
        let text = "media is for this machine only. For cameras on the network set network.local_ip to this machine's address";
        report.note(subject, said(Code::AddressLoopback, text.to_owned()));
    } else if in_container {
        let text = format!(
            "{ip} is the address of this container, which nothing outside of its machine may reach. Give the container the \
             machine's network, or set network.local_ip to the machine's own address and forward the ports"
        );
        report.note(subject, said(Code::AddressOfContainer, text));
    } else {
        let text = format!("cameras at home are told to send to {ip}");
        report.good(subject, said(Code::AddressGood, text));
    }
}

fn is_in_container() -> bool {
    CONTAINER_MARKS.iter().any(|mark| Path::new(mark).exists())
}

fn external(config: &Config, report: &mut Report) {
    let Some(external) = config.network.external_ip else {
        return;
    };
    let local = config.network.local_ip;
    let (first, last) = (config.ingest.ports.start(), config.ingest.ports.end());
    let cameras = format!("{first}-{last}");
    let (code, viewers, ports) = match config.media.engine {
        Engine::Sfu => {
            let udp = config.media.udp_port;
            let viewers = format!("{udp}-{}", usize::from(udp) + config.media.workers - 1);
            let ports = format!(
                "UDP {viewers} for viewers, and UDP {cameras} for cameras elsewhere, to {local}"
            );
            (Code::ExternalToForward, viewers, ports)
        }
        Engine::Kurento => {
            let ports = format!(
                "UDP {cameras}, for viewers and for cameras elsewhere, to the Kurento server"
            );
            (Code::ExternalToForwardToKurento, cameras.clone(), ports)
        }
    };
    let text =
        format!("cannot be tried from inside. The router of {external} must forward {ports}");
    let reason = Reason::new(code, text)
        .with("address", external)
        .with("viewers", viewers)
        .with("cameras", cameras)
        .with("local", local);
    report.note("network.external_ip", reason);
}

/// Media open to the network with a page that is not, or the reverse, is rarely meant.
fn reach(config: &Config, report: &mut Report) {
    let is_open = |ip: IpAddr| !ip.is_loopback();
    let page_open = config
        .http
        .listen
        .iter()
        .any(|address| is_open(address.ip()));
    if page_open && !is_open(config.media.bind) {
        let text = "others reach the page, but not the pictures; use 0.0.0.0, or leave it out";
        report.problem("media.bind", Reason::new(Code::MediaBoundHere, text));
    }
    // That they are off where others come is among the notes of the configuration.
    if config.auth.enabled {
        report.good("auth.enabled", "people have to log in");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(ip: Ipv4Addr, in_container: bool) -> Code {
        let mut report = Report::default();
        local(ip, in_container, &mut report);
        let [finding] = report.findings.as_slice() else {
            panic!("{report:?}");
        };
        finding.cause.clone().unwrap().code
    }

    #[test]
    fn addresses_are_told_apart() {
        let nobodys = Ipv4Addr::new(192, 0, 2, 77);
        assert_eq!(said_of(nobodys, true), Code::AddressNotOurs);
        assert_eq!(said_of(Ipv4Addr::LOCALHOST, true), Code::AddressLoopback);
        let ours = crate::config::primary_ipv4().unwrap_or(Ipv4Addr::UNSPECIFIED);
        assert_eq!(said_of(ours, true), Code::AddressOfContainer);
        assert_eq!(said_of(ours, false), Code::AddressGood);
    }
}
