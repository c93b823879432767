//! Drains what is sent to many sockets.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::affinity;
use crate::error::BenchError;
use crate::sys::{self, BATCH, MAX_DATAGRAM, ReceiveBatch};

use super::sealer::PACKET;
use super::{PAUSE, STUCK, thread_cpu};

/// As much as a viewer has.
const RECEIVE_BUFFER: usize = 4 << 20;
/// What a burst can be at most when it comes as one.
const MERGED: usize = 1 << 16;
/// The thread sleeps so long between two looks, as the viewers' thread does.
const NAP: Duration = Duration::from_micros(500);
const EVENTS: usize = 256;

/// The sockets and the thread that drains them.
pub(super) struct Receiver {
    addresses: Vec<SocketAddrV4>,
    progress: Arc<Progress>,
    thread: JoinHandle<Result<Drained, BenchError>>,
}

#[derive(Default)]
struct Progress {
    received: AtomicU64,
    stop: AtomicBool,
}

/// What came.
pub(super) struct Drained {
    pub(super) packets: u64,
    pub(super) dropped: u64,
    pub(super) cpu: Duration,
}

impl Receiver {
    /// Opens the sockets and starts the thread.
    pub(super) fn start(
        count: usize,
        merged: bool,
        cpu: Option<usize>,
    ) -> Result<Self, BenchError> {
        let failed = || BenchError::io("open a socket to receive with");
        let mut sockets = Vec::with_capacity(count);
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
            sys::enlarge_receive_buffer(&socket, RECEIVE_BUFFER).map_err(failed())?;
            if merged {
                sys::receive_merged(&socket).map_err(failed())?;
            }
            if let SocketAddr::V4(address) = socket.local_addr().map_err(failed())? {
                addresses.push(address);
            }
            sockets.push(socket);
        }
        let progress = Arc::new(Progress::default());
        let shared = progress.clone();
        let thread = std::thread::Builder::new()
            .name("floor".into())
            .spawn(move || {
                affinity::pin(cpu)?;
                drain(&sockets, merged, &shared)
            })
            .map_err(BenchError::io("start a thread to receive"))?;
        Ok(Self {
            addresses,
            progress,
            thread,
        })
    }

    pub(super) fn addresses(&self) -> &[SocketAddrV4] {
        &self.addresses
    }

    /// Packets so far.
    pub(super) fn received(&self) -> u64 {
        self.progress.received.load(Ordering::Relaxed)
    }

    /// Waits until so many have come; false when no more come.
    pub(super) fn wait_until(&self, packets: u64) -> bool {
        let mut last = (self.received(), Instant::now());
        loop {
            let received = self.received();
            if received >= packets {
                return true;
            }
            if received != last.0 {
                last = (received, Instant::now());
            } else if last.1.elapsed() > STUCK {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends the thread.
    pub(super) fn stop(self) -> Result<Drained, BenchError> {
        self.progress.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| BenchError::Panicked)?
    }
}

fn drain(sockets: &[UdpSocket], merged: bool, progress: &Progress) -> Result<Drained, BenchError> {
    let epoll =
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(BenchError::sys("open an epoll"))?;
    for (index, socket) in sockets.iter().enumerate() {
        epoll
            .add(socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))
            .map_err(BenchError::sys("watch a socket"))?;
    }
    let mut batch = ReceiveBatch::new(if merged { MERGED } else { MAX_DATAGRAM });
    let mut events = [EpollEvent::empty(); EVENTS];
    while !progress.stop.load(Ordering::Relaxed) {
        let count = match epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            Err(errno) => return Err(BenchError::sys("wait for packets")(errno)),
        };
        for event in &events[..count] {
            let packets = drain_one(&sockets[event.data() as usize], &mut batch);
            progress.received.fetch_add(packets, Ordering::Relaxed);
        }
        if count < EVENTS {
            std::thread::sleep(NAP);
        }
    }
    let drops = sockets.iter().map(sys::socket_drops);
    Ok(Drained {
        packets: progress.received.load(Ordering::Relaxed),
        dropped: drops
            .sum::<std::io::Result<u64>>()
            .map_err(BenchError::io("ask a socket for its drops"))?,
        cpu: thread_cpu()?,
    })
}

/// Packets that waited in a socket.
fn drain_one(socket: &UdpSocket, batch: &mut ReceiveBatch) -> u64 {
    let mut packets = 0;
    loop {
        // Nothing more; a true failure shows as packets that never come.
        let Ok(count) = batch.receive(socket, false) else {
            return packets;
        };
        for index in 0..count {
            let (_, octets, _) = batch.datagram(index);
            packets += octets.len().div_ceil(PACKET) as u64;
        }
        if count < BATCH {
            return packets;
        }
    }
}
