//! The one thread that runs the media half of all simulated cameras: it waits for RTCP, orders,
//! encoded pictures and timers. What it does for one camera does not depend on how many there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Device, Order};
use crate::video::LiveEvent;

/// Orders that wait for the thread; when there are more, the newest is refused.
const MAX_WAITING_ORDERS: usize = 4096;
/// Encoded pictures that wait for the thread; when there are more, the newest is dropped.
const MAX_WAITING_PICTURES: usize = 256;
const MAX_EVENTS: usize = 256;
/// The epoll token of the waker; cameras have their index.
const WAKER: u64 = u64::MAX;

/// Sends orders and pictures to the thread.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    orders: SyncSender<Message>,
    pictures: SyncSender<(usize, LiveEvent)>,
    waker: Arc<EventFd>,
}

#[derive(Debug)]
enum Message {
    Order(usize, Order),
    Quit,
}

/// An order could not be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("the simulator's media thread has too much to do")]
    Busy,
    #[error("the simulator's media thread has ended")]
    Ended,
}

impl Handle {
    /// Gives an order to the camera at `index`.
    pub(crate) fn order(&self, index: usize, order: Order) -> Result<(), OrderError> {
        self.send(Message::Order(index, order))
    }

    /// Passes on what the encoder of the camera at `index` made; false where it was dropped.
    pub(crate) fn picture(&self, index: usize, event: LiveEvent) -> bool {
        let taken = self.pictures.try_send((index, event)).is_ok();
        self.wake();
        taken
    }

    fn send(&self, message: Message) -> Result<(), OrderError> {
        let result = self.orders.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => OrderError::Busy,
            TrySendError::Disconnected(_) => OrderError::Ended,
        });
        self.wake();
        result
    }

    fn wake(&self) {
        // It only fails when the counter is full, and then the thread is being woken anyhow.
        let _ = self.waker.write(1);
    }
}

/// Owns the thread.
#[derive(Debug)]
pub(crate) struct Reactor {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// A reactor whose thread does not run yet, so that cameras can be made with its handle.
pub(crate) struct Unstarted {
    handle: Handle,
    orders: Receiver<Message>,
    pictures: Receiver<(usize, LiveEvent)>,
    epoll: Epoll,
}

impl Reactor {
    /// Prepares a reactor.
    pub(crate) fn prepare() -> io::Result<Unstarted> {
        let waker = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&waker, EpollEvent::new(EpollFlags::EPOLLIN, WAKER))?;
        let (order_sender, orders) = sync_channel(MAX_WAITING_ORDERS);
        let (picture_sender, pictures) = sync_channel(MAX_WAITING_PICTURES);
        Ok(Unstarted {
            handle: Handle {
                orders: order_sender,
                pictures: picture_sender,
                waker: Arc::new(waker),
            },
            orders,
            pictures,
            epoll,
        })
    }
}

impl Unstarted {
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts the thread with its cameras, whose index is their place in the list.
    pub(crate) fn start(self, devices: Vec<Device>) -> io::Result<Reactor> {
        let handle = self.handle.clone();
        let worker = Worker {
            scheduled: vec![None; devices.len()],
            devices,
            timers: BinaryHeap::new(),
            unstarted: self,
        };
        let thread = std::thread::Builder::new()
            .name("sim-media".to_owned())
            .spawn(move || worker.work())?;
        Ok(Reactor {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for Reactor {
    /// Ends the thread; all cameras fall silent and their encoders end.
    fn drop(&mut self) {
        while self.handle.send(Message::Quit) == Err(OrderError::Busy) {
            std::thread::yield_now();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the simulator's media thread panicked");
        }
    }
}

struct Worker {
    devices: Vec<Device>,
    unstarted: Unstarted,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The valid entry of each camera in `timers`; others there are outdated.
    scheduled: Vec<Option<Instant>>,
}

impl Worker {
    fn work(mut self) {
        let mut events = [EpollEvent::empty(); MAX_EVENTS];
        loop {
            let count = match self.unstarted.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => {
                    tracing::error!(%error, "the simulator's media thread cannot wait for its sockets");
                    return;
                }
            };
            let now = Instant::now();
            for event in &events[..count] {
                self.on_event(now, event.data());
            }
            if self.take_messages(now) {
                return;
            }
            self.run_timers(now);
        }
    }

    fn on_event(&mut self, now: Instant, token: u64) {
        if token == WAKER {
            // Empties the counter; the queues are looked at in every round.
            let _ = self.unstarted.handle.waker.read();
        } else if let Ok(index) = usize::try_from(token) {
            self.with_device(index, |device| device.on_readable(now));
        }
    }

    /// Takes orders and pictures; true when the thread is to end.
    fn take_messages(&mut self, now: Instant) -> bool {
        while let Ok(message) = self.unstarted.orders.try_recv() {
            match message {
                Message::Order(index, order) => {
                    self.with_device(index, |device| device.on_order(now, order));
                }
                Message::Quit => return true,
            }
        }
        while let Ok((index, event)) = self.unstarted.pictures.try_recv() {
            self.with_device(index, |device| device.on_live(now, event));
        }
        false
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, index))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            if self.scheduled[index] == Some(at) {
                self.scheduled[index] = None;
                self.with_device(index, |device| device.on_timeout(now));
            }
        }
    }

    /// Lets a camera do something that may change its ports, and looks when it wants to run next.
    fn with_device(&mut self, index: usize, act: impl FnOnce(&mut Device) -> bool) {
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        if act(device)
            && let Err(error) = listen(&self.unstarted.epoll, device, index)
        {
            tracing::error!(%error, "a simulated camera cannot listen to RTCP");
        }
        let deadline = device.deadline();
        if let Some(at) = deadline.filter(|_| deadline != self.scheduled[index]) {
            self.timers.push(Reverse((at, index)));
        }
        self.scheduled[index] = deadline;
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(Reverse((at, _))) = self.timers.peek() else {
            return EpollTimeout::NONE;
        };
        // Rounded up: waking too early would only spin.
        let micros = at.saturating_duration_since(Instant::now()).as_micros();
        EpollTimeout::try_from(micros.div_ceil(1000)).unwrap_or(EpollTimeout::MAX)
    }
}

/// Has the sockets of a camera that opened new ones watched; closed ones are forgotten by the kernel.
fn listen(epoll: &Epoll, device: &Device, index: usize) -> io::Result<()> {
    let Some(ports) = device.ports() else {
        return Ok(());
    };
    for socket in ports.receivers() {
        match epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64)) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
