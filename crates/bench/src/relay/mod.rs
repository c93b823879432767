//! A lossy path in user space: datagrams pass through sockets of this program, which loses some of them on purpose.
//!
//! A *lane* is one way to the server: whoever sends to its front is forwarded from its back, and what comes to the back
//! goes to whoever spoke to the front last. A viewer needs one lane, a camera four (RTP and RTCP of two media).

mod link;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::Serialize;

use crate::affinity;
use crate::error::BenchError;

use link::Link;
pub(crate) use link::{Faults, LinkCounts, NO_FAULTS};

const MAX_DATAGRAM: usize = 2048;
/// What a socket of the relay holds while its thread is not on the CPU; the kernel may grant less.
const BUFFER: usize = 4 << 20;
/// How soon the thread sees that it is to end, and how fresh the counts are.
const LOOK_UP: Duration = Duration::from_millis(50);
/// Datagrams of one socket in a row.
const READS_PER_TURN: usize = 64;

/// A way through the relay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane {
    /// Where the far end sends to; port 0 takes any.
    pub(crate) front: SocketAddr,
    /// From where the server sees it come; port 0 takes any.
    pub(crate) back: SocketAddr,
    /// The server's socket.
    pub(crate) server: SocketAddr,
}

impl Lane {
    /// For a viewer of the server's media socket.
    pub(crate) fn of_viewer(server: SocketAddr) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            front: any,
            back: any,
            server,
        }
    }

    /// For each of the ports that a camera is told to send to: `front` is the address that the server advertises,
    /// `server` the one that it listens at. The back has the same port numbers on an address of its own, so that RTCP
    /// stays the neighbour of its RTP.
    pub(crate) fn of_camera(
        front: IpAddr,
        back: IpAddr,
        server: IpAddr,
        ports: impl Iterator<Item = u16>,
    ) -> Vec<Self> {
        ports
            .map(|port| Self {
                front: (front, port).into(),
                back: (back, port).into(),
                server: (server, port).into(),
            })
            .collect()
    }
}

/// What is done in each direction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Path {
    pub(crate) to_server: Faults,
    pub(crate) from_server: Faults,
}

/// What was done, all lanes together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PathCounts {
    pub(crate) to_server: LinkCounts,
    pub(crate) from_server: LinkCounts,
    /// Datagrams that a socket of the relay did not take: losses that were not meant.
    pub(crate) unsent: u64,
}

/// A running relay; it ends when this is dropped.
pub(crate) struct Relay {
    fronts: Vec<SocketAddr>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ending: AtomicBool,
    counts: Mutex<PathCounts>,
}

impl Relay {
    /// Opens the lanes' sockets and starts the thread, on one CPU if that is wanted.
    pub(crate) fn start(
        lanes: &[Lane],
        path: Path,
        seed: u64,
        cpu: Option<usize>,
    ) -> Result<Self, BenchError> {
        let lanes = (seed..)
            .step_by(2)
            .zip(lanes)
            .map(|(seed, lane)| Ends::open(*lane, path, seed))
            .collect::<Result<Vec<_>, _>>()?;
        let fronts = lanes
            .iter()
            .map(|ends| ends.front.local_addr())
            .collect::<Result<_, _>>()
            .map_err(BenchError::io("ask for a relay's address"))?;
        let shared = Arc::new(Shared::default());
        let mut forwarder = Forwarder::new(lanes, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || {
                // Unpinned it still works, and the measurement says where things ran.
                let _ = affinity::pin(cpu);
                forwarder.run();
            })
            .map_err(BenchError::io("start the relay's thread"))?;
        Ok(Self {
            fronts,
            shared,
            thread: Some(thread),
        })
    }

    /// Where to send instead of to the server, one address for each lane.
    pub(crate) fn fronts(&self) -> &[SocketAddr] {
        &self.fronts
    }

    /// What was done so far; up to [`LOOK_UP`] old.
    pub(crate) fn counts(&self) -> PathCounts {
        *self
            .shared
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A lane's sockets, and what happens between them.
struct Ends {
    front: UdpSocket,
    back: UdpSocket,
    server: SocketAddr,
    /// Who spoke to the front last.
    far: Option<SocketAddr>,
    to_server: Link,
    from_server: Link,
}

impl Ends {
    /// Takes `seed` and the next one: the directions lose different packets.
    fn open(lane: Lane, path: Path, seed: u64) -> Result<Self, BenchError> {
        let open = |address: SocketAddr| {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            let options = socket2::SockRef::from(&socket);
            options.set_recv_buffer_size(BUFFER)?;
            options.set_send_buffer_size(BUFFER)?;
            Ok(socket)
        };
        let failed = || BenchError::io("open a socket of the relay");
        Ok(Self {
            front: open(lane.front).map_err(failed())?,
            back: open(lane.back).map_err(failed())?,
            server: lane.server,
            far: None,
            to_server: Link::new(path.to_server, seed),
            from_server: Link::new(path.from_server, seed + 1),
        })
    }
}

/// What the thread owns.
struct Forwarder {
    epoll: Epoll,
    lanes: Vec<Ends>,
    unsent: u64,
    shared: Arc<Shared>,
}

impl Forwarder {
    fn new(lanes: Vec<Ends>, shared: Arc<Shared>) -> Result<Self, BenchError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(BenchError::sys("open an epoll"))?;
        for (index, ends) in lanes.iter().enumerate() {
            for (socket, token) in [(&ends.front, 2 * index), (&ends.back, 2 * index + 1)] {
                let event = EpollEvent::new(EpollFlags::EPOLLIN, token as u64);
                epoll
                    .add(socket, event)
                    .map_err(BenchError::sys("watch a socket of the relay"))?;
            }
        }
        Ok(Self {
            epoll,
            lanes,
            unsent: 0,
            shared,
        })
    }

    fn run(&mut self) {
        let mut events = [EpollEvent::empty(); 32];
        let wait = EpollTimeout::try_from(LOOK_UP).unwrap_or(EpollTimeout::ZERO);
        while !self.shared.ending.load(Ordering::Relaxed) {
            let ready = match self.epoll.wait(&mut events, wait) {
                Ok(count) => count,
                Err(nix::Error::EINTR) => 0,
                Err(_) => return,
            };
            for event in &events[..ready] {
                let token = event.data() as usize;
                self.forward(token / 2, token.is_multiple_of(2));
            }
            *self
                .shared
                .counts
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = self.counts();
        }
    }

    fn counts(&self) -> PathCounts {
        let mut counts = PathCounts {
            unsent: self.unsent,
            ..PathCounts::default()
        };
        for ends in &self.lanes {
            counts.to_server.add(&ends.to_server.counts());
            counts.from_server.add(&ends.from_server.counts());
        }
        counts
    }

    fn forward(&mut self, lane: usize, from_front: bool) {
        let ends = &mut self.lanes[lane];
        let (link, socket) = match from_front {
            true => (&mut ends.to_server, &ends.front),
            false => (&mut ends.from_server, &ends.back),
        };
        let mut buffer = [0; MAX_DATAGRAM];
        for _ in 0..READS_PER_TURN {
            // Nothing more, or an answer to an earlier send (ICMP), which the relay does not pass on.
            let Ok((len, source)) = socket.recv_from(&mut buffer) else {
                return;
            };
            let (out, destination) = if from_front {
                ends.far = Some(source);
                (&ends.back, Some(ends.server))
            } else {
                (&ends.front, ends.far)
            };
            let Some(destination) = destination else {
                continue;
            };
            link.pass(&buffer[..len], |datagram| {
                if out.send_to(datagram, destination).is_err() {
                    self.unsent += 1;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    }

    fn rtp(number: u16) -> [u8; 20] {
        let mut packet = [0; 20];
        packet[0] = 0x80;
        packet[1] = 96;
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        packet
    }

    #[test]
    fn passes_both_ways_and_loses_only_where_it_shall() {
        let server = socket();
        let viewer = socket();
        let lane = Lane::of_viewer(server.local_addr().unwrap());
        let path = Path {
            from_server: Faults {
                loss: 1.0,
                ..Faults::default()
            },
            ..Path::default()
        };
        let relay = Relay::start(&[lane], path, 1, None).unwrap();
        let mut buffer = [0; 100];

        viewer.send_to(&rtp(1), relay.fronts()[0]).unwrap();
        let (len, back) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..len], rtp(1));
        assert_ne!(back, viewer.local_addr().unwrap());

        // RTP is lost on the way back, STUN is not.
        server.send_to(&rtp(2), back).unwrap();
        server.send_to(&[0; 20], back).unwrap();
        let (len, front) = viewer.recv_from(&mut buffer).unwrap();
        assert_eq!((len, front), (20, relay.fronts()[0]));
        assert_eq!(buffer[..len], [0; 20]);

        let start = std::time::Instant::now();
        while relay.counts().from_server.passed == 0 {
            assert!(start.elapsed() < DEADLINE, "no counts");
            std::thread::yield_now();
        }
        let counts = relay.counts();
        assert_eq!(counts.to_server.rtp, 1);
        assert_eq!(counts.from_server.rtp_dropped, 1);
        assert_eq!(counts.unsent, 0);
    }

    #[test]
    fn what_is_held_back_leaves_on_its_own_lane() {
        let server = socket();
        let viewers = [socket(), socket()];
        let lane = Lane::of_viewer(server.local_addr().unwrap());
        let path = Path {
            from_server: Faults {
                reordered: 0.5,
                ..Faults::default()
            },
            ..Path::default()
        };
        let relay = Relay::start(&[lane, lane], path, 1, None).unwrap();
        let mut buffer = [0; 100];
        let backs: Vec<_> = viewers
            .iter()
            .zip(relay.fronts())
            .map(|(viewer, front)| {
                viewer.send_to(&[0; 20], front).unwrap();
                server.recv_from(&mut buffer).unwrap().1
            })
            .collect();
        for number in 0..200 {
            server.send_to(&rtp(number), backs[0]).unwrap();
            server.send_to(&rtp(1000 + number), backs[1]).unwrap();
        }
        for (first, viewer) in [0u16, 1000].into_iter().zip(&viewers) {
            // Some at the end may stay behind.
            for _ in 0..180 {
                let len = viewer.recv(&mut buffer).unwrap();
                let number = u16::from_be_bytes([buffer[2], buffer[3]]);
                assert_eq!(len, 20);
                assert!((first..first + 200).contains(&number), "{number}");
            }
        }
    }

    #[test]
    fn a_cameras_lanes_keep_its_ports() {
        let address = |last| IpAddr::from([127, 0, 0, last]);
        let lanes = Lane::of_camera(address(2), address(3), address(1), 24_000..24_004);
        assert_eq!(lanes.len(), 4);
        assert_eq!(lanes[3].front, (address(2), 24_003).into());
        assert_eq!(lanes[3].back, (address(3), 24_003).into());
        assert_eq!(lanes[3].server, (address(1), 24_003).into());
    }
}
