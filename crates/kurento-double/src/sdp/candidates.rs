//! The candidates that a WebRtcEndpoint gathers: one that is served, and those that a real server has beside it.

use std::net::Ipv4Addr;

/// At a link-local address that no interface of the test has; nobody listens there.
const LINK_LOCAL: &str = "fe80::7c42:7eff:fe87:66f3";
const UDP_PRIORITY: u32 = 2_015_363_327;
const TCP_ACTIVE_PRIORITY: u32 = 1_015_021_823;
const TCP_PASSIVE_PRIORITY: u32 = 1_010_827_519;
/// From one address of a server to the next.
const ADDRESS_STEP: u32 = 256;

/// Where the candidates are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidates {
    pub(crate) address: Ipv4Addr,
    /// The port that is served.
    pub(crate) port: u16,
    /// A port that is taken and silent, for everything else.
    pub(crate) silent_port: u16,
}

impl Candidates {
    /// The one that is served.
    pub(crate) fn served(&self) -> String {
        self.of_component(1).swap_remove(0)
    }

    /// All of them, without `a=`.
    pub(crate) fn all(&self) -> Vec<String> {
        [self.of_component(1), self.of_component(2)].concat()
    }

    fn of_component(&self, component: u32) -> Vec<String> {
        let own = self.address.to_string();
        let served = if component == 1 {
            self.port
        } else {
            self.silent_port
        };
        let mut candidates = Vec::new();
        for (at, address, udp_port) in [(0, own.as_str(), served), (1, LINK_LOCAL, self.port)] {
            let first = 3 * at + 1;
            let priority = |base: u32| base + ADDRESS_STEP * at + 1 - component;
            let (udp, active, passive) = (
                priority(UDP_PRIORITY),
                priority(TCP_ACTIVE_PRIORITY),
                priority(TCP_PASSIVE_PRIORITY),
            );
            let [second, third] = [first + 1, first + 2];
            let silent = self.silent_port;
            candidates.extend([
                format!("candidate:{first} {component} UDP {udp} {address} {udp_port} typ host"),
                format!(
                    "candidate:{second} {component} TCP {active} {address} 9 typ host tcptype active"
                ),
                format!(
                    "candidate:{third} {component} TCP {passive} {address} {silent} typ host tcptype passive"
                ),
            ]);
        }
        candidates
    }
}
