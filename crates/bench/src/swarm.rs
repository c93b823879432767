//! The thread that runs all viewers: one epoll, `recvmmsg` with the kernel's receive times, no task each.

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use tokio::sync::oneshot;

use crate::affinity;
use crate::error::BenchError;
use crate::viewer::{Arrival, LightViewer, Stamp, ViewerCounts};

/// Orders that wait at most; whoever gives more waits too.
const ORDERS: usize = 64;
/// Datagrams of one read.
const BATCH: usize = 64;
const MAX_DATAGRAM: usize = 2048;
/// Viewers that are ready at once at most; the others are ready the next time.
const EVENTS: usize = 256;
/// Timers are looked at this often, and more often while somebody connects.
const TICK: Duration = Duration::from_millis(10);
const CONNECTING_TICK: Duration = Duration::from_millis(1);
/// How long a viewer counts as connecting.
const CONNECTING: Duration = Duration::from_secs(2);
/// The event of the queue of orders.
const WAKE: u64 = u64::MAX;

/// Names a viewer in the swarm.
pub(crate) type ViewerKey = usize;

/// What all viewers have counted, and when pictures came.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) counts: HashMap<ViewerKey, ViewerCounts>,
    pub(crate) timelines: HashMap<ViewerKey, Vec<Arrival>>,
    pub(crate) stamps: Vec<Stamp>,
}

enum Order {
    Add(ViewerKey, Box<LightViewer>),
    Remove(ViewerKey, oneshot::Sender<()>),
    Count(oneshot::Sender<Census>),
}

/// Handle of the thread; it ends when this is dropped.
pub(crate) struct Swarm {
    orders: Option<SyncSender<Order>>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Swarm {
    /// Starts the thread, on one CPU if that is wanted.
    pub(crate) fn start(cpu: Option<usize>) -> Result<Self, BenchError> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let wake = EventFd::from_flags(flags).map_err(BenchError::sys("open an eventfd"))?;
        let wake = Arc::new(wake);
        let (orders, queue) = sync_channel(ORDERS);
        let waker = wake.clone();
        let thread = std::thread::Builder::new()
            .name("viewers".into())
            .spawn(move || {
                let run = || {
                    affinity::pin(cpu)?;
                    Reactor::new(queue, waker)?.run()
                };
                if let Err(error) = run() {
                    eprint_failure(&error);
                }
            })
            .map_err(BenchError::io("start the viewers' thread"))?;
        Ok(Self {
            orders: Some(orders),
            wake,
            thread: Some(thread),
        })
    }

    /// Runs a viewer from now on.
    pub(crate) fn add(&self, key: ViewerKey, viewer: LightViewer) -> Result<(), BenchError> {
        self.order(Order::Add(key, Box::new(viewer)))
    }

    /// Lets a viewer go: it says goodbye.
    pub(crate) async fn remove(&self, key: ViewerKey) -> Result<(), BenchError> {
        let (done, is_done) = oneshot::channel();
        self.order(Order::Remove(key, done))?;
        is_done.await.map_err(|_| BenchError::SwarmEnded)
    }

    /// What has been counted; arrivals and stamps since the last call.
    pub(crate) async fn count(&self) -> Result<Census, BenchError> {
        let (reply, census) = oneshot::channel();
        self.order(Order::Count(reply))?;
        census.await.map_err(|_| BenchError::SwarmEnded)
    }

    fn order(&self, order: Order) -> Result<(), BenchError> {
        let orders = self.orders.as_ref().ok_or(BenchError::SwarmEnded)?;
        orders.send(order).map_err(|_| BenchError::SwarmEnded)?;
        self.wake
            .write(1)
            .map(drop)
            .map_err(BenchError::sys("wake the viewers' thread"))
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.orders = None;
        // The thread looks at its queue each tick even if this fails.
        let _ = self.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[allow(clippy::print_stderr, reason = "this is a command-line program")]
fn eprint_failure(error: &BenchError) {
    eprintln!("viewers: {}", crate::error::describe(error));
}

struct Reactor {
    epoll: Epoll,
    queue: Receiver<Order>,
    wake: Arc<EventFd>,
    viewers: HashMap<ViewerKey, LightViewer>,
    reader: BatchReader,
    last_added: Option<Instant>,
}

impl Reactor {
    fn new(queue: Receiver<Order>, wake: Arc<EventFd>) -> Result<Self, BenchError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(BenchError::sys("open an epoll"))?;
        epoll
            .add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))
            .map_err(BenchError::sys("watch the queue of orders"))?;
        Ok(Self {
            epoll,
            queue,
            wake,
            viewers: HashMap::new(),
            reader: BatchReader::new(),
            last_added: None,
        })
    }

    fn run(&mut self) -> Result<(), BenchError> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut next_tick = Instant::now();
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            let wait = EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::ZERO);
            let count = match self.epoll.wait(&mut events, wait) {
                Ok(count) => count,
                Err(nix::Error::EINTR) => 0,
                Err(errno) => return Err(BenchError::sys("wait for packets")(errno)),
            };
            for event in &events[..count] {
                self.on_ready(event.data())?;
            }
            if !self.take_orders()? {
                return Ok(());
            }
            let now = Instant::now();
            if now >= next_tick {
                self.on_tick(now);
                next_tick = now + self.tick(now);
            }
        }
    }

    fn tick(&self, now: Instant) -> Duration {
        let connecting = self
            .last_added
            .is_some_and(|added| now - added < CONNECTING);
        if connecting { CONNECTING_TICK } else { TICK }
    }

    fn on_tick(&mut self, now: Instant) {
        for viewer in self.viewers.values_mut() {
            if viewer.next_timeout().is_some_and(|next| next <= now) {
                viewer.handle_timeout(now);
            }
        }
    }

    fn on_ready(&mut self, data: u64) -> Result<(), BenchError> {
        if data == WAKE {
            // Only the wake-up counts; the orders are in the queue.
            let _ = self.wake.read();
            return Ok(());
        }
        let key = data as ViewerKey;
        match self.viewers.get_mut(&key) {
            Some(viewer) => self.reader.read_all(viewer),
            None => Ok(()),
        }
    }

    /// Says whether there will be more.
    fn take_orders(&mut self) -> Result<bool, BenchError> {
        loop {
            match self.queue.try_recv() {
                Ok(Order::Add(key, viewer)) => self.add(key, *viewer)?,
                Ok(Order::Remove(key, done)) => {
                    if let Some(mut viewer) = self.viewers.remove(&key) {
                        viewer.close();
                    }
                    let _ = done.send(());
                }
                Ok(Order::Count(reply)) => {
                    let _ = reply.send(self.census());
                }
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    fn add(&mut self, key: ViewerKey, mut viewer: LightViewer) -> Result<(), BenchError> {
        setsockopt(viewer.socket(), sockopt::ReceiveTimestampns, &true)
            .map_err(BenchError::sys("have the kernel note receive times"))?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, key as u64);
        self.epoll
            .add(viewer.socket(), event)
            .map_err(BenchError::sys("watch a viewer's socket"))?;
        let now = Instant::now();
        viewer.handle_timeout(now);
        self.last_added = Some(now);
        self.viewers.insert(key, viewer);
        Ok(())
    }

    fn census(&mut self) -> Census {
        let mut census = Census::default();
        for (key, viewer) in &mut self.viewers {
            let (arrivals, stamps) = viewer.take_timeline();
            census.counts.insert(*key, viewer.counts());
            census.timelines.insert(*key, arrivals);
            census.stamps.extend(stamps);
        }
        census
    }
}

/// Reads many datagrams at a time, with the time at which the kernel received each.
struct BatchReader {
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; MAX_DATAGRAM]>,
}

struct Received {
    len: usize,
    at_ns: u64,
    source: Option<SocketAddr>,
}

impl BatchReader {
    fn new() -> Self {
        let control = nix::cmsg_space!(TimeSpec);
        Self {
            headers: MultiHeaders::preallocate(BATCH, Some(control)),
            buffers: vec![[0; MAX_DATAGRAM]; BATCH],
        }
    }

    fn read_all(&mut self, viewer: &mut LightViewer) -> Result<(), BenchError> {
        loop {
            let received = match self.read(viewer.socket().as_raw_fd()) {
                Ok(received) => received,
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(()),
                // The server has closed its port; the viewer's counts tell.
                Err(nix::Error::ECONNREFUSED) => return Ok(()),
                Err(errno) => return Err(BenchError::sys("receive packets")(errno)),
            };
            for (datagram, buffer) in received.iter().zip(&self.buffers) {
                if let Some(source) = datagram.source {
                    viewer.handle_datagram(source, &buffer[..datagram.len], datagram.at_ns);
                }
            }
            if received.len() < BATCH {
                return Ok(());
            }
        }
    }

    fn read(&mut self, socket: std::os::fd::RawFd) -> nix::Result<Vec<Received>> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let results = recvmmsg(socket, &mut self.headers, slices.iter_mut(), flags, None)?;
        results
            .map(|message| {
                let mut at_ns = None;
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmTimestampns(time) = control {
                        at_ns = Some(nanoseconds(time));
                    }
                }
                let source = message
                    .address
                    .map(|address| SocketAddr::new(address.ip().into(), address.port()));
                Ok(Received {
                    len: message.bytes,
                    at_ns: at_ns.unwrap_or_else(unix_now_ns),
                    source,
                })
            })
            .collect()
    }
}

fn nanoseconds(time: TimeSpec) -> u64 {
    u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
}

fn unix_now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
