//! The configuration of `apiary demo`: everything on loopback, nothing kept.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::values::{BrokerTarget, IpNetwork};
use super::{Config, Environment};

/// The ports the demo found free.
#[derive(Clone, Debug)]
pub struct DemoPorts {
    /// TCP port of pages and API.
    pub http: u16,
    /// TCP port of signaling.
    pub signaling: u16,
    /// UDP port of the first worker.
    pub udp: u16,
    /// UDP ports for the cameras, whole pairs.
    pub ingest: RangeInclusive<u16>,
}

impl Config {
    /// The demo's configuration: defaults, without any file or variable, on these ports, with its data in `dir`. The
    /// embedded broker takes a free port.
    pub fn demo(dir: PathBuf, ports: DemoPorts, workers: usize) -> Self {
        let mut config = Self::load(None, &Environment::default())
            .expect("the defaults are a valid configuration");
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        config.http.listen = vec![loopback(ports.http)];
        config.signaling.listen = vec![loopback(ports.signaling)];
        config.mqtt.broker = BrokerTarget::Embedded;
        config.mqtt.embedded.listen = loopback(0);
        config.network.local_ip = Ipv4Addr::LOCALHOST;
        config.network.local_networks = IpNetwork::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8)
            .into_iter()
            .collect();
        config.media.workers = workers;
        config.media.udp_port = ports.udp;
        config.ingest.ports = ports.ingest;
        config.data.dir = dir;
        config
    }
}
