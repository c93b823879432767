//! Where RTCP toward the camera goes, and from where its RTCP is taken (camera-protocol.md, "Starting a
//! stream" 3).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Without RTCP from the camera for this long, reports go to both places it may listen at, in turn.
const FALLBACK_AFTER: Duration = Duration::from_secs(5);
/// A camera whose RTCP comes from a new port (its NAT forgot the old one) is believed after this silence.
const RELATCH_AFTER: Duration = Duration::from_secs(10);

/// The RTCP address of one track of a camera.
///
/// The camera announces no address. Until its RTCP is heard, RTP source port + 1 is assumed, with the RTP
/// source port itself as fallback; from then on only what was heard counts.
#[derive(Clone, Debug, Default)]
pub struct RtcpDestination {
    rtp: Option<Latched>,
    rtcp: Option<Latched>,
    fallback: bool,
}

#[derive(Clone, Copy, Debug)]
struct Latched {
    address: SocketAddr,
    /// First heard for RTP, last heard for RTCP.
    heard: Instant,
}

impl RtcpDestination {
    /// The track's RTP source is known.
    pub fn on_rtp_source(&mut self, now: Instant, source: SocketAddr) {
        self.rtp = Some(Latched {
            address: source,
            heard: now,
        });
    }

    /// Whether RTCP from `source` may be the camera's: from the host of its RTP, and from the latched
    /// port once there is one.
    #[must_use]
    pub fn accepts(&self, now: Instant, source: SocketAddr) -> bool {
        let same_host = self.rtp.is_some_and(|rtp| rtp.address.ip() == source.ip());
        let same_port = self.rtcp.is_none_or(|rtcp| {
            rtcp.address == source || now.saturating_duration_since(rtcp.heard) >= RELATCH_AFTER
        });
        same_host && same_port
    }

    /// RTCP with the right SSRC came from an accepted address. Says whether it is the first.
    pub fn on_rtcp(&mut self, now: Instant, source: SocketAddr) -> bool {
        let heard = Latched {
            address: source,
            heard: now,
        };
        self.rtcp.replace(heard).is_none()
    }

    /// Where to send now. `None` before any RTP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        if let Some(rtcp) = self.rtcp {
            return Some(rtcp.address);
        }
        let mut address = self.rtp?.address;
        if !self.fallback {
            // Port 65535 has no successor; then the RTP port is all there is.
            let port = address.port();
            address.set_port(port.checked_add(1).unwrap_or(port));
        }
        Some(address)
    }

    /// A periodic report was sent: while no RTCP is heard, the next goes to the other candidate.
    pub fn on_report_sent(&mut self, now: Instant) {
        let unheard = self.rtcp.is_none()
            && self
                .rtp
                .is_some_and(|rtp| now.saturating_duration_since(rtp.heard) >= FALLBACK_AFTER);
        self.fallback = unheard && !self.fallback;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn port_plus_one_until_rtcp_is_heard() {
        let now = Instant::now();
        let mut destination = RtcpDestination::default();
        assert_eq!(destination.address(), None);
        destination.on_rtp_source(now, at("10.0.0.2:4000"));
        assert_eq!(destination.address(), Some(at("10.0.0.2:4001")));
        destination.on_report_sent(now + Duration::from_secs(1));
        assert_eq!(destination.address(), Some(at("10.0.0.2:4001")));
        assert!(destination.on_rtcp(now, at("10.0.0.2:7777")));
        assert!(!destination.on_rtcp(now, at("10.0.0.2:7777")));
        assert_eq!(destination.address(), Some(at("10.0.0.2:7777")));
    }

    #[test]
    fn both_candidates_in_turn_after_five_seconds_without_rtcp() {
        let now = Instant::now();
        let mut destination = RtcpDestination::default();
        destination.on_rtp_source(now, at("10.0.0.2:4000"));
        let ports: Vec<u16> = (0..8)
            .map(|second| {
                let port = destination.address().unwrap().port();
                destination.on_report_sent(now + Duration::from_secs(second));
                port
            })
            .collect();
        assert_eq!(ports, [4001, 4001, 4001, 4001, 4001, 4001, 4000, 4001]);
    }

    #[test]
    fn the_highest_port_has_no_successor() {
        let mut destination = RtcpDestination::default();
        destination.on_rtp_source(Instant::now(), at("10.0.0.2:65535"));
        assert_eq!(destination.address(), Some(at("10.0.0.2:65535")));
    }

    #[test]
    fn h28_rtcp_counts_only_from_the_host_of_the_rtp_and_one_port() {
        let now = Instant::now();
        let mut destination = RtcpDestination::default();
        assert!(!destination.accepts(now, at("10.0.0.2:4001")), "before RTP");
        destination.on_rtp_source(now, at("10.0.0.2:4000"));
        assert!(!destination.accepts(now, at("10.0.0.3:4001")));
        assert!(destination.accepts(now, at("10.0.0.2:4001")));
        destination.on_rtcp(now, at("10.0.0.2:4001"));
        assert!(!destination.accepts(now, at("10.0.0.2:5001")));
        let later = now + RELATCH_AFTER;
        assert!(destination.accepts(later, at("10.0.0.2:5001")));
        assert!(!destination.accepts(later, at("10.0.0.3:4001")));
    }
}
