//! Do the addresses that cameras and browsers are told make sense?

use std::net::{IpAddr, UdpSocket};

use super::Report;
use crate::config::{Config, Engine};

pub(super) fn examine(config: &Config, report: &mut Report) {
    let local = config.network.local_ip;
    if UdpSocket::bind((local, 0)).is_err() {
        report.problem(
            "network.local_ip",
            format!(
                "{local} is none of this machine's addresses: cameras would send elsewhere. Use one that `ip address` lists; \
                 only in a container whose ports are forwarded is it right"
            ),
        );
    } else if local.is_loopback() {
        report.note(
            "network.local_ip",
            "media is for this machine only. For cameras on the network set network.local_ip to this machine's address",
        );
    } else {
        report.good(
            "network.local_ip",
            format!("cameras at home are told to send to {local}"),
        );
    }
    external(config, report);
    reach(config, report);
}

fn external(config: &Config, report: &mut Report) {
    let Some(external) = config.network.external_ip else {
        return;
    };
    let local = config.network.local_ip;
    let (first, last) = (config.ingest.ports.start(), config.ingest.ports.end());
    let ports = match config.media.engine {
        Engine::Sfu => {
            let udp = config.media.udp_port;
            let last_udp = usize::from(udp) + config.media.workers - 1;
            format!(
                "UDP {udp}-{last_udp} for viewers, and UDP {first}-{last} for cameras elsewhere, to {local}"
            )
        }
        Engine::Kurento => format!(
            "UDP {first}-{last}, for viewers and for cameras elsewhere, to the Kurento server"
        ),
    };
    report.note(
        "network.external_ip",
        format!("cannot be tried from inside. The router of {external} must forward {ports}"),
    );
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
        report.problem(
            "media.bind",
            "others reach the page, but not the pictures; use 0.0.0.0, or leave it out",
        );
    }
    // That they are off where others come is among the notes of the configuration.
    if config.auth.enabled {
        report.good("auth.enabled", "people have to log in");
    }
}
