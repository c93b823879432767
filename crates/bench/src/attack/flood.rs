//! Floods of strangers: many sockets on addresses all over 127/8 stand for spoofed sources.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use crate::background::Stop;
use crate::error::BenchError;

use super::{Onslaught, Pace};

/// Sockets of strangers, and what watches them for answers.
pub(crate) struct Strangers {
    sockets: Vec<UdpSocket>,
    epoll: Epoll,
}

impl Strangers {
    /// So many, each at an address of its own.
    pub(crate) fn gather(count: usize, seed: u64) -> Result<Self, BenchError> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(BenchError::sys("open an epoll"))?;
        let mut sockets = Vec::with_capacity(count);
        for index in 0..count {
            // Not below 127.64: there things of the rig live.
            let address = Ipv4Addr::new(
                127,
                rng.random_range(64..=254),
                rng.random(),
                rng.random_range(1..=254),
            );
            let failed = || BenchError::io("open a stranger's socket");
            let socket = UdpSocket::bind((address, 0)).map_err(failed())?;
            socket.set_nonblocking(true).map_err(failed())?;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
            epoll
                .add(&socket, event)
                .map_err(BenchError::sys("watch a stranger's socket"))?;
            sockets.push(socket);
        }
        Ok(Self { sockets, epoll })
    }

    /// Floods `target` with what `next` makes until told to stop, a datagram from each in turn.
    pub(crate) fn flood(
        &self,
        target: SocketAddr,
        per_second: u64,
        mut next: impl FnMut(&mut Vec<u8>),
        stop: &Stop,
    ) -> Onslaught {
        let mut onslaught = Onslaught::default();
        let mut pace = Pace::new(per_second, Instant::now());
        let mut datagram = Vec::new();
        let mut sources = self.sockets.iter().cycle();
        while !stop.is_due() {
            let due = usize::try_from(pace.due(Instant::now())).unwrap_or(usize::MAX);
            for socket in sources.by_ref().take(due) {
                next(&mut datagram);
                match socket.send_to(&datagram, target) {
                    Ok(len) => {
                        onslaught.sent += 1;
                        onslaught.octets_sent += len as u64;
                    }
                    Err(_) => onslaught.refused += 1,
                }
            }
            onslaught.octets_received += self.hear();
            pace.wait();
        }
        onslaught.octets_received += self.hear();
        onslaught.seconds = pace.seconds();
        onslaught
    }

    /// Octets that came back.
    fn hear(&self) -> u64 {
        let mut events = [EpollEvent::empty(); 64];
        let mut octets = 0;
        let mut buffer = [0; 2048];
        // A failure means that nothing was heard.
        let count = self
            .epoll
            .wait(&mut events, EpollTimeout::ZERO)
            .unwrap_or(0);
        for event in &events[..count] {
            let socket = &self.sockets[event.data() as usize];
            while let Ok((len, _)) = socket.recv_from(&mut buffer) {
                octets += len as u64;
            }
        }
        octets
    }
}

/// RTP that looks like a camera's to somebody who does not know its SSRC.
pub(crate) struct RtpForger {
    rng: SmallRng,
    payload_type: u8,
    len: usize,
}

impl RtpForger {
    /// With this payload type; `len` octets behind the header.
    pub(crate) fn new(payload_type: u8, len: usize, seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            payload_type,
            len,
        }
    }

    /// The next packet: SSRC, sequence number and time are guesses.
    pub(crate) fn packet(&mut self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[0x80, self.payload_type]);
        out.resize(12, 0);
        self.rng.fill_bytes(&mut out[2..]);
        out.resize(12 + self.len, 0x41);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::Background;
    use crate::viewer::ClearHeader;
    use std::collections::HashSet;
    use std::time::Duration;

    #[test]
    fn forged_rtp_has_the_payload_type_and_guesses_the_rest() {
        let mut forger = RtpForger::new(103, 50, 1);
        let mut packet = Vec::new();
        let mut ssrcs = HashSet::new();
        for _ in 0..100 {
            forger.packet(&mut packet);
            let header = ClearHeader::parse(&packet).unwrap();
            assert_eq!((header.payload_type, header.len), (103, 12));
            assert_eq!(packet.len(), 62);
            ssrcs.insert(header.ssrc);
        }
        assert!(ssrcs.len() > 95);
    }

    #[test]
    fn strangers_flood_from_many_addresses_and_hear_answers() {
        let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
        victim
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let target = victim.local_addr().unwrap();
        let strangers = Strangers::gather(8, 1).unwrap();
        let flood = Background::start("flood", None, move |stop| {
            let next = |out: &mut Vec<u8>| {
                out.clear();
                out.extend_from_slice(b"abc");
            };
            Ok(strangers.flood(target, 2000, next, stop))
        })
        .unwrap();
        let mut sources = HashSet::new();
        let mut buffer = [0; 16];
        while sources.len() < 8 {
            let (len, source) = victim.recv_from(&mut buffer).unwrap();
            assert_eq!(len, 3);
            if sources.insert(source) {
                victim.send_to(b"12345", source).unwrap();
            }
        }
        let onslaught = flood.finish().unwrap();
        assert!(onslaught.sent >= 8);
        assert_eq!(onslaught.octets_sent, onslaught.sent * 3);
        assert_eq!(onslaught.octets_received, 8 * 5);
    }
}
