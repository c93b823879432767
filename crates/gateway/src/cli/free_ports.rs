//! Free ports on loopback for the demo, the usual ones where they are.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;

/// Where the search goes on when the usual ports are taken; far from the ports that systems hand out by themselves.
const FALLBACK_BASES: RangeInclusive<u16> = 10_000..=29_000;
/// Distance between two attempts.
const STEP: u16 = 1000;

/// The preferred port where it is free, else 0, which takes any.
pub(super) fn tcp(preferred: u16) -> u16 {
    if preferred != 0 && TcpListener::bind((Ipv4Addr::LOCALHOST, preferred)).is_ok() {
        preferred
    } else {
        0
    }
}

/// The beginning of `count` free UDP ports in a row: the preferred one where they are free, else another, else
/// `None`.
pub(super) fn udp(preferred: u16, count: u16) -> Option<u16> {
    let others = FALLBACK_BASES
        .step_by(usize::from(STEP))
        .map(|base| base + preferred % STEP / 2 * 2);
    std::iter::once(preferred).chain(others).find(|first| {
        let last = first.saturating_add(count - 1);
        let sockets: Result<Vec<_>, _> = (*first..=last)
            .map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)))
            .collect();
        sockets.is_ok_and(|sockets| sockets.len() == usize::from(count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(tcp(taken.local_addr().unwrap().port()), 0);

        let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let found = udp(port, 1).unwrap();
        assert_ne!(found, port);
        assert_eq!(udp(found, 1), Some(found));
    }

    #[test]
    fn even_ports_stay_even() {
        let _taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 45_006));
        assert!(udp(45_006, 4).is_none_or(|first| first.is_multiple_of(2)));
    }
}
