//! What sealing and sending cost on this machine with no server around them: one thread seals packets for many
//! destinations, each with a key of its own, and sends them over loopback to a thread that drains them. A server that
//! forwards media has to do at least this.

mod receiver;
mod sealer;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::affinity;
use crate::error::BenchError;
use crate::options::Cpus;
use crate::sys::{MAX_RUNS, Run, send_runs};

use receiver::Receiver;
use sealer::{PACKET, Sealer};

/// Packets of a picture for one destination: what arrives in one read.
const BURST: usize = 7;
/// Rounds that the receivers may be behind before the sender waits for them.
const ROUNDS_AHEAD: u64 = 2;
/// Receivers that take nothing for so long have lost the rest.
const STUCK: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_micros(200);

/// How packets are sent and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Way {
    /// `sendmmsg` of single packets.
    Single,
    /// `sendmmsg` of bursts that the kernel cuts into packets (GSO).
    Bursts,
    /// The same, to receivers that take a burst as one (GRO): most of what delivery on loopback costs is not paid.
    BurstsMerged,
}

/// What one way costs.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Cost {
    pub(crate) way: Way,
    pub(crate) destinations: usize,
    pub(crate) packets: u64,
    /// Packets for which a receiver had no room.
    pub(crate) dropped: u64,
    /// CPU time of the sending thread, waiting not counted.
    pub(crate) cpu_seconds_per_million_packets: f64,
    /// CPU time of the draining thread.
    pub(crate) drain_seconds_per_million_packets: f64,
}

/// Measures one way for about `length`; blocks.
pub(crate) fn measure(
    way: Way,
    destinations: usize,
    cpus: Cpus,
    length: Duration,
) -> Result<Cost, BenchError> {
    let receiver = Receiver::start(destinations, way == Way::BurstsMerged, cpus.bench)?;
    let sent = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            affinity::pin(cpus.server)?;
            Sender::new(way, receiver.addresses())?.send_for(length, &receiver)
        });
        sending.join().map_err(|_| BenchError::Panicked)?
    })?;
    let drained = receiver.stop()?;
    let per_million = |cpu: Duration, packets: u64| cpu.as_secs_f64() * 1e6 / packets.max(1) as f64;
    Ok(Cost {
        way,
        destinations,
        packets: sent.packets,
        dropped: drained.dropped,
        cpu_seconds_per_million_packets: per_million(sent.cpu, sent.packets),
        drain_seconds_per_million_packets: per_million(drained.cpu, drained.packets),
    })
}

struct Sent {
    packets: u64,
    cpu: Duration,
}

struct Sender {
    way: Way,
    socket: UdpSocket,
    destinations: Vec<(SocketAddrV4, Sealer)>,
    /// What one system call sends.
    buffer: Vec<u8>,
}

impl Sender {
    fn new(way: Way, addresses: &[SocketAddrV4]) -> Result<Self, BenchError> {
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .map_err(BenchError::io("open a socket to send from"))?;
        let destinations = addresses.iter().enumerate();
        Ok(Self {
            way,
            socket,
            destinations: destinations
                .map(|(index, address)| (*address, Sealer::new(index)))
                .collect(),
            buffer: Vec::with_capacity(MAX_RUNS * PACKET),
        })
    }

    fn send_for(mut self, length: Duration, receiver: &Receiver) -> Result<Sent, BenchError> {
        // The first rounds fill caches and find the routes.
        for _ in 0..3 {
            self.round()?;
        }
        let round = (self.destinations.len() * BURST) as u64;
        receiver.wait_until(3 * round);
        let mut sent = Sent {
            packets: 0,
            cpu: Duration::ZERO,
        };
        let end = Instant::now() + length;
        let mut expected = receiver.received();
        while Instant::now() < end {
            let before = thread_cpu()?;
            self.round()?;
            sent.cpu += thread_cpu()?.saturating_sub(before);
            sent.packets += round;
            expected += round;
            if !receiver.wait_until(expected.saturating_sub(ROUNDS_AHEAD * round)) {
                expected = receiver.received();
            }
        }
        receiver.wait_until(expected);
        Ok(sent)
    }

    /// One burst to each destination.
    fn round(&mut self) -> Result<(), BenchError> {
        for destinations in self.destinations.chunks_mut(MAX_RUNS / BURST) {
            self.buffer.clear();
            for (_, sealer) in destinations.iter_mut() {
                for _ in 0..BURST {
                    sealer.seal_into(&mut self.buffer);
                }
            }
            let per_run = match self.way {
                Way::Single => 1,
                Way::Bursts | Way::BurstsMerged => BURST,
            };
            let mut runs = [Run {
                destination: destinations[0].0,
                octets: &[],
                segment: PACKET as u16,
            }; MAX_RUNS];
            let mut count = 0;
            for (index, octets) in self.buffer.chunks_exact(per_run * PACKET).enumerate() {
                runs[index].destination = destinations[index * per_run / BURST].0;
                runs[index].octets = octets;
                count += 1;
            }
            let mut left = &runs[..count];
            while !left.is_empty() {
                let sent = send_runs(&self.socket, left)
                    .map_err(BenchError::io("send packets to measure the floor"))?;
                left = &left[sent..];
            }
        }
        Ok(())
    }
}

/// User and kernel time of this thread.
fn thread_cpu() -> Result<Duration, BenchError> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .map_err(BenchError::sys("read the CPU time of a thread"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_delivers_what_it_sends() {
        for way in [Way::Single, Way::Bursts, Way::BurstsMerged] {
            let length = Duration::from_millis(20);
            let cost = measure(way, 10, Cpus::default(), length).unwrap();
            assert!(cost.packets >= 70, "{cost:?}");
            assert_eq!(cost.dropped, 0, "{cost:?}");
            assert!(cost.cpu_seconds_per_million_packets > 0.0);
        }
    }
}
