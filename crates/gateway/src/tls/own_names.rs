//! By which names and addresses this machine is reached, as far as it knows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::Name;
use crate::config::{Config, primary_ipv4};

/// Where Linux keeps the name of the machine.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The settings' addresses first; loopback is always among them.
pub fn own_names(config: Option<&Config>) -> Vec<Name> {
    let mut names = Vec::new();
    let host = std::fs::read_to_string(HOST_NAME).unwrap_or_default();
    names.extend(host.trim().parse::<Name>().ok());
    names.extend(["localhost".parse::<Name>()].into_iter().flatten());
    let mut addresses: Vec<IpAddr> = Vec::new();
    if let Some(config) = config {
        addresses.extend(config.candidate_addresses());
        let listening = config.http.listen.iter().chain(&config.signaling.listen);
        addresses.extend(listening.map(std::net::SocketAddr::ip));
    }
    addresses.extend(primary_ipv4().map(IpAddr::V4));
    addresses.push(Ipv4Addr::LOCALHOST.into());
    addresses.push(Ipv6Addr::LOCALHOST.into());
    for address in addresses {
        let name = Name::Ip(address.to_canonical());
        if !address.is_unspecified() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
