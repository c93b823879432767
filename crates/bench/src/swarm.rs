//! The thread that runs all viewers: one epoll and batched receives, no task each. It has to be far cheaper per packet
//! than any server, as it receives what the server sends.

mod timers;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use crate::affinity;
use crate::error::BenchError;
use crate::sys::{self, BATCH, MAX_DATAGRAM, ReceiveBatch};
use crate::viewer::{Delays, LightViewer, Sightings, ViewerCounts};

use timers::Timers;

/// Orders that wait at most; whoever gives more waits too.
const ORDERS: usize = 64;
/// Viewers that are ready at once at most; the others are ready the next time.
const EVENTS: usize = 256;
/// Nobody waits longer than this for sightings to be matched.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How long a viewer counts as connecting, for whom answers are not made to wait.
const CONNECTING: Duration = Duration::from_secs(1);
/// The event of the queue of orders.
const WAKE: u64 = u64::MAX;

/// Names a viewer in the swarm.
pub(crate) type ViewerKey = usize;

/// What all viewers have counted, and how late packets were since the last time.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) counts: HashMap<ViewerKey, ViewerCounts>,
    pub(crate) delays: Delays,
}

enum Order {
    Add(ViewerKey, Box<LightViewer>),
    Remove(ViewerKey, oneshot::Sender<()>),
    Count(oneshot::Sender<Census>),
}

/// How the thread runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rhythm {
    /// The one CPU it runs on, if it is bound.
    pub(crate) cpu: Option<usize>,
    /// How long it sleeps before it looks for packets again while nobody connects. On loopback the sender pays for
    /// waking a receiver; one that is not asleep in its poll costs the server nothing, like one on another machine.
    pub(crate) nap: Duration,
}

/// Handle of the thread; it ends when this is dropped.
pub(crate) struct Swarm {
    orders: Option<SyncSender<Order>>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Swarm {
    /// Starts the thread.
    pub(crate) fn start(rhythm: Rhythm) -> Result<Self, BenchError> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let wake = EventFd::from_flags(flags).map_err(BenchError::sys("open an eventfd"))?;
        let wake = Arc::new(wake);
        let (orders, queue) = sync_channel(ORDERS);
        let waker = wake.clone();
        let thread = std::thread::Builder::new()
            .name("viewers".into())
            .spawn(move || {
                let run = || {
                    affinity::pin(rhythm.cpu)?;
                    Reactor::new(queue, waker, rhythm.nap)?.run()
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

    /// What has been counted, and the delays since the last call.
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
    nap: Duration,
    /// By key; keys are not used twice.
    viewers: Vec<Option<Box<LightViewer>>>,
    timers: Timers,
    batch: ReceiveBatch,
    sightings: Sightings,
    last_added: Option<Instant>,
}

impl Reactor {
    fn new(queue: Receiver<Order>, wake: Arc<EventFd>, nap: Duration) -> Result<Self, BenchError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(BenchError::sys("open an epoll"))?;
        epoll
            .add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))
            .map_err(BenchError::sys("watch the queue of orders"))?;
        Ok(Self {
            epoll,
            queue,
            wake,
            nap,
            viewers: Vec::new(),
            timers: Timers::default(),
            batch: ReceiveBatch::new(MAX_DATAGRAM),
            sightings: Sightings::default(),
            last_added: None,
        })
    }

    fn run(&mut self) -> Result<(), BenchError> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut now = Instant::now();
        loop {
            let count = match self.epoll.wait(&mut events, self.wait(now)) {
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
            now = Instant::now();
            self.run_timers(now);
            self.sightings.settle();
            if count < EVENTS && !self.somebody_connects(now) && !self.nap.is_zero() {
                std::thread::sleep(self.nap);
                now = Instant::now();
            }
        }
    }

    fn wait(&self, now: Instant) -> EpollTimeout {
        let next = self.timers.next();
        let wait = next.map_or(LONGEST_WAIT, |at| at.saturating_duration_since(now));
        // Rounded up: waking too early would only spin.
        let millis = wait.min(LONGEST_WAIT).as_micros().div_ceil(1000);
        EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::ZERO)
    }

    fn somebody_connects(&self, now: Instant) -> bool {
        self.last_added
            .is_some_and(|added| now - added < CONNECTING)
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop_due(now) {
            if let Some(Some(viewer)) = self.viewers.get_mut(key) {
                viewer.handle_timeout(now);
                self.timers.set(key, viewer.next_timeout());
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
        let Some(Some(viewer)) = self.viewers.get_mut(key) else {
            return Ok(());
        };
        if read_all(viewer, &mut self.batch, &mut self.sightings)? {
            self.timers.set(key, viewer.next_timeout());
        }
        Ok(())
    }

    /// Says whether there will be more.
    fn take_orders(&mut self) -> Result<bool, BenchError> {
        loop {
            match self.queue.try_recv() {
                Ok(Order::Add(key, viewer)) => self.add(key, viewer)?,
                Ok(Order::Remove(key, done)) => {
                    if let Some(mut viewer) = self.viewers.get_mut(key).and_then(Option::take) {
                        viewer.close();
                    }
                    self.timers.set(key, None);
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

    fn add(&mut self, key: ViewerKey, mut viewer: Box<LightViewer>) -> Result<(), BenchError> {
        if viewer.is_timed() {
            sys::note_receive_times(viewer.socket())
                .map_err(BenchError::io("have the kernel note receive times"))?;
        }
        let event = EpollEvent::new(EpollFlags::EPOLLIN, key as u64);
        self.epoll
            .add(viewer.socket(), event)
            .map_err(BenchError::sys("watch a viewer's socket"))?;
        let now = Instant::now();
        viewer.handle_timeout(now);
        self.timers.set(key, viewer.next_timeout());
        self.last_added = Some(now);
        if self.viewers.len() <= key {
            self.viewers.resize_with(key + 1, || None);
        }
        self.viewers[key] = Some(viewer);
        Ok(())
    }

    fn census(&mut self) -> Census {
        let present = self.viewers.iter().enumerate();
        Census {
            counts: present
                .filter_map(|(key, viewer)| Some((key, viewer.as_ref()?.counts())))
                .collect(),
            delays: self.sightings.take_delays(),
        }
    }
}

/// Takes everything that waits for a viewer. Says whether its timers may have changed.
fn read_all(
    viewer: &mut LightViewer,
    batch: &mut ReceiveBatch,
    sightings: &mut Sightings,
) -> Result<bool, BenchError> {
    let mut changed = false;
    loop {
        let count = match batch.receive(viewer.socket(), viewer.is_timed()) {
            Ok(count) => count,
            Err(error) if is_passing(&error) => return Ok(changed),
            Err(error) => return Err(BenchError::io("receive packets")(error)),
        };
        for index in 0..count {
            let (source, datagram, at_ns) = batch.datagram(index);
            changed |= viewer.handle_datagram(source, datagram, at_ns, sightings);
        }
        if count < BATCH {
            return Ok(changed);
        }
    }
}

/// Nothing more; or the server has closed its port, which the viewer's counts tell.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused
    )
}
