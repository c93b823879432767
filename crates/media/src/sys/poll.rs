//! Waiting for sockets, for other threads and for time, all at once.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Events one wait reports at most; the rest comes with the next.
const EVENTS: usize = 64;

/// A level-triggered epoll(7) for readable descriptors, each known by a token.
pub(crate) struct Poller {
    epoll: Epoll,
    events: [libc::epoll_event; EVENTS],
    tokens: [u64; EVENTS],
    count: usize,
    timeouts: Timeouts,
}

/// How finely the kernel can wait.
#[derive(Clone, Copy)]
enum Timeouts {
    /// `epoll_pwait2(2)`, Linux 5.11.
    Nanoseconds,
    /// `epoll_wait(2)`.
    Milliseconds,
}

/// `struct __kernel_timespec`, 64 bits everywhere.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

impl Poller {
    /// A poller that waits for nothing yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: [libc::epoll_event { events: 0, u64: 0 }; EVENTS],
            tokens: [0; EVENTS],
            count: 0,
            timeouts: Timeouts::Nanoseconds,
        })
    }

    /// From now on `token` is reported while `fd` has something to read or an error.
    pub(crate) fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self
            .epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// From now on `token` is reported once each time something comes to `fd`: whoever is told reads until nothing is
    /// left. The kernel then looks at the descriptor once for each time instead of twice, as it does for [`Self::add`].
    pub(crate) fn add_edge(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        Ok(self.epoll.add(fd, EpollEvent::new(flags, token))?)
    }

    /// From now on `token` is reported once when `fd` has something to read or an error, and again after a
    /// [`Self::rearm`].
    pub(crate) fn add_once(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, once(token))?)
    }

    /// Has `fd`, which was [added for once](Self::add_once), reported again; at once if something waits there.
    pub(crate) fn rearm(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut once(token))?)
    }

    /// Forgets `fd`, which must still be open.
    #[cfg(test)]
    pub(crate) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits until something is ready or `timeout` is over (`None`: for ever); [`Self::tokens`] then says what. A signal
    /// ends the wait with nothing ready.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.count = 0;
        let ready = match self.timeouts {
            Timeouts::Nanoseconds => match self.wait_nanoseconds(timeout) {
                // Older kernels, and sandboxes that do not know the call.
                Err(Errno::ENOSYS | Errno::EPERM) => {
                    self.timeouts = Timeouts::Milliseconds;
                    self.wait_milliseconds(timeout)
                }
                other => other,
            },
            Timeouts::Milliseconds => self.wait_milliseconds(timeout),
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for (token, event) in self.tokens.iter_mut().zip(&self.events[..ready]) {
            *token = event.u64;
        }
        self.count = ready;
        Ok(())
    }

    /// What the last wait found ready.
    pub(crate) fn tokens(&self) -> &[u64] {
        &self.tokens[..self.count]
    }

    fn wait_nanoseconds(&mut self, timeout: Option<Duration>) -> nix::Result<usize> {
        let timeout = timeout.map(|timeout| KernelTimespec {
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(timeout.subsec_nanos()),
        });
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the events' pointer and number belong together, the timeout is null or lives until after the call,
        // and without a signal mask its size does not count.
        let ready = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.0.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS as libc::c_int,
                timeout,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        Errno::result(ready).map(|ready| ready as usize)
    }

    fn wait_milliseconds(&mut self, timeout: Option<Duration>) -> nix::Result<usize> {
        // Rounded up: waking before the time would only mean to wait again.
        let timeout = timeout.map_or(-1, |timeout| {
            let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
            libc::c_int::try_from(milliseconds).unwrap_or(libc::c_int::MAX)
        });
        // SAFETY: the events' pointer and number belong together.
        let ready = unsafe {
            libc::epoll_wait(
                self.epoll.0.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS as libc::c_int,
                timeout,
            )
        };
        Errno::result(ready).map(|ready| ready as usize)
    }
}

fn once(token: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, token)
}

/// Ends a [`Poller`]'s wait from any thread. Wakes before the wait count, and many count as one.
#[derive(Clone)]
pub(crate) struct Waker {
    event: Arc<EventFd>,
}

impl Waker {
    /// A waker of `poller`, which reports it as `token` until it is [drained](Self::drain).
    pub(crate) fn new(poller: &Poller, token: u64) -> io::Result<Self> {
        let event =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        poller.add(&event, token)?;
        Ok(Self {
            event: Arc::new(event),
        })
    }

    /// Wakes the poller. The only way to fail is a counter that is full, and then it is awake.
    pub(crate) fn wake(&self) {
        let _ = self.event.write(1);
    }

    /// Takes back all wakes so far. To be called before looking at what the waking threads left.
    pub(crate) fn drain(&self) {
        let _ = self.event.read();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::thread;

    const LONG: Option<Duration> = Some(Duration::from_secs(20));

    fn ready_socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        socket
    }

    #[test]
    fn a_readable_socket_is_reported_until_it_is_read_or_removed() {
        for timeouts in [Timeouts::Nanoseconds, Timeouts::Milliseconds] {
            let mut poller = Poller::new().unwrap();
            poller.timeouts = timeouts;
            let (first, second) = (ready_socket(), ready_socket());
            poller.add(&first, 7).unwrap();
            poller.add(&second, u64::MAX).unwrap();
            for _ in 0..2 {
                poller.wait(LONG).unwrap();
                let mut tokens = poller.tokens().to_vec();
                tokens.sort_unstable();
                assert_eq!(tokens, [7, u64::MAX]);
            }
            first.recv(&mut [0; 8]).unwrap();
            poller.wait(LONG).unwrap();
            assert_eq!(poller.tokens(), [u64::MAX]);
            poller.remove(&second).unwrap();
            poller.wait(Some(Duration::ZERO)).unwrap();
            assert!(poller.tokens().is_empty());
        }
    }

    #[test]
    fn what_is_added_by_edge_is_reported_once_each_time_something_comes() {
        let mut poller = Poller::new().unwrap();
        let socket = ready_socket();
        poller.add_edge(&socket, 7).unwrap();
        for _ in 0..2 {
            poller.wait(LONG).unwrap();
            assert_eq!(poller.tokens(), [7]);
            poller.wait(Some(Duration::ZERO)).unwrap();
            assert!(poller.tokens().is_empty());
            socket.send_to(b"y", socket.local_addr().unwrap()).unwrap();
        }
    }

    #[test]
    fn what_is_added_for_once_is_reported_once_until_it_is_armed_again() {
        let mut poller = Poller::new().unwrap();
        let socket = ready_socket();
        poller.add_once(&socket, 7).unwrap();
        for _ in 0..2 {
            poller.wait(LONG).unwrap();
            assert_eq!(poller.tokens(), [7]);
            poller.wait(Some(Duration::ZERO)).unwrap();
            assert!(poller.tokens().is_empty());
            poller.rearm(&socket, 7).unwrap();
        }
        socket.recv(&mut [0; 8]).unwrap();
        poller.wait(Some(Duration::ZERO)).unwrap();
        assert!(poller.tokens().is_empty());
    }

    #[test]
    fn a_wait_with_nothing_ready_ends_with_its_timeout() {
        let mut poller = Poller::new().unwrap();
        for timeouts in [Timeouts::Nanoseconds, Timeouts::Milliseconds] {
            poller.timeouts = timeouts;
            poller.wait(Some(Duration::from_micros(200))).unwrap();
            assert!(poller.tokens().is_empty());
        }
    }

    #[test]
    fn another_thread_ends_the_wait_and_many_wakes_are_one() {
        let mut poller = Poller::new().unwrap();
        let waker = Waker::new(&poller, 3).unwrap();
        let remote = waker.clone();
        let thread = thread::spawn(move || (0..5).for_each(|_| remote.wake()));
        poller.wait(None).unwrap();
        assert_eq!(poller.tokens(), [3]);
        thread.join().unwrap();
        waker.drain();
        poller.wait(Some(Duration::ZERO)).unwrap();
        assert!(poller.tokens().is_empty());
        waker.wake();
        poller.wait(LONG).unwrap();
        assert_eq!(poller.tokens(), [3]);
    }
}
