//! Many datagrams with one system call.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use super::address::RawAddress;

/// Datagrams one call takes at most.
pub(crate) const BATCH: usize = 32;
/// The largest datagram taken, in octets: more than any Ethernet frame without jumbo frames carries.
const DATAGRAM: usize = 2048;

/// Buffers for one `recvmmsg(2)`, and what the last one brought.
pub struct ReceiveBatch {
    parts: Box<[MessageParts; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
    accepted: [Accepted; BATCH],
    exhausted: bool,
    dropped: u64,
}

#[derive(Clone, Copy)]
struct MessageParts {
    address: RawAddress,
    slice: libc::iovec,
    buffer: [u8; DATAGRAM],
}

#[derive(Clone, Copy)]
struct Accepted {
    source: SocketAddr,
    message: usize,
    len: usize,
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiveBatch {
    /// Allocates all that receiving will ever need.
    pub fn new() -> Self {
        // SAFETY: iovec and mmsghdr are plain data for which zero is valid (null pointers, lengths of 0).
        let (slice, header): (libc::iovec, libc::mmsghdr) = unsafe { mem::zeroed() };
        let parts = MessageParts {
            address: RawAddress::UNSPECIFIED,
            slice,
            buffer: [0; DATAGRAM],
        };
        let nothing = Accepted {
            source: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            message: 0,
            len: 0,
        };
        Self {
            parts: Box::new([parts; BATCH]),
            headers: Box::new([header; BATCH]),
            accepted: [nothing; BATCH],
            exhausted: true,
            dropped: 0,
        }
    }

    /// Takes what waits in the socket, at most [`BATCH`] datagrams, and says how many [`Self::datagram`] has now.
    ///
    /// 0 where nothing waits, where all was too long, and for errors that a peer causes (ICMP); a level-triggered
    /// poller comes back for the rest.
    ///
    /// # Errors
    /// Those of the socket itself, which no later call heals.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        for (header, parts) in self.headers.iter_mut().zip(self.parts.iter_mut()) {
            parts.slice.iov_base = parts.buffer.as_mut_ptr().cast();
            parts.slice.iov_len = DATAGRAM;
            header.msg_hdr.msg_iov = &raw mut parts.slice;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut parts.address).cast();
            header.msg_hdr.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
        }
        // SAFETY: every header was just pointed to an address, a slice and a buffer of its own with their true lengths,
        // all of which outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_TRUNC) as _,
                ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            // Any other error is reported before what waits behind it.
            self.exhausted = error.kind() == io::ErrorKind::WouldBlock || !is_passing(&error);
            return if is_passing(&error) {
                Ok(0)
            } else {
                Err(error)
            };
        };
        self.exhausted = received < BATCH;
        Ok(self.accept(received))
    }

    /// Whether the last [`Self::receive`] took all that waited then.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// One datagram of the last [`Self::receive`]: its source, and its octets to work on in place.
    ///
    /// # Panics
    /// If `index` is not less than what `receive` returned last and not less than [`BATCH`].
    pub fn datagram(&mut self, index: usize) -> (SocketAddr, &mut [u8]) {
        let Accepted {
            source,
            message,
            len,
        } = self.accepted[index];
        (source, &mut self.parts[message].buffer[..len])
    }

    /// How many datagrams were too long for a buffer since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        mem::take(&mut self.dropped)
    }

    fn accept(&mut self, received: usize) -> usize {
        let mut count = 0;
        let messages = self.headers.iter().zip(self.parts.iter());
        for (message, (header, parts)) in messages.take(received).enumerate() {
            let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            match parts.address.decode() {
                Some(source) if !truncated => {
                    let len = header.msg_len as usize;
                    self.accepted[count] = Accepted {
                        source,
                        message,
                        len,
                    };
                    count += 1;
                }
                Some(_) | None => self.dropped += 1,
            }
        }
        count
    }
}

/// Whether the next call may well succeed: nothing there, interrupted, or an earlier send's ICMP answer.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EAGAIN
                | libc::EINTR
                | libc::ECONNREFUSED
                | libc::ECONNRESET
                | libc::EHOSTUNREACH
                | libc::EHOSTDOWN
                | libc::ENETUNREACH
                | libc::ENETDOWN
                | libc::ENOBUFS
                | libc::ENOMEM
                | libc::EMSGSIZE
                | libc::EPROTO
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::bind_udp;

    fn pair() -> (UdpSocket, UdpSocket) {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let receiver = bind_udp(local, 1 << 20, 1 << 16).unwrap();
        let sender = UdpSocket::bind(local).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (receiver, sender)
    }

    #[test]
    fn an_empty_socket_gives_nothing() {
        let (receiver, _sender) = pair();
        assert_eq!(ReceiveBatch::new().receive(&receiver).unwrap(), 0);
    }

    #[test]
    fn datagrams_come_in_order_with_their_source_and_no_more_than_a_batch_at_once() {
        let (receiver, sender) = pair();
        for number in 0..BATCH + 3 {
            sender.send(&vec![number as u8; number + 1]).unwrap();
        }
        let mut batch = ReceiveBatch::new();
        let mut number = 0;
        for expected in [BATCH, 3, 0] {
            assert_eq!(batch.receive(&receiver).unwrap(), expected);
            assert_eq!(batch.is_exhausted(), expected < BATCH);
            for index in 0..expected {
                let (source, octets) = batch.datagram(index);
                assert_eq!(source, sender.local_addr().unwrap());
                assert_eq!(octets, vec![number as u8; number + 1]);
                number += 1;
            }
        }
    }

    #[test]
    fn a_datagram_that_does_not_fit_is_counted_and_hides_no_other() {
        let (receiver, sender) = pair();
        for len in [10, DATAGRAM + 1, DATAGRAM, 20] {
            sender.send(&vec![1; len]).unwrap();
        }
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(&receiver).unwrap(), 3);
        let lengths = [0, 1, 2].map(|index| batch.datagram(index).1.len());
        assert_eq!(lengths, [10, DATAGRAM, 20]);
        assert_eq!(batch.take_dropped(), 1);
        assert_eq!(batch.take_dropped(), 0);
    }

    #[test]
    fn a_peer_that_is_gone_does_not_break_the_socket() {
        let (receiver, sender) = pair();
        let gone = sender.local_addr().unwrap();
        // Connected, so that the ICMP answer is reported here.
        receiver.connect(gone).unwrap();
        drop(sender);
        receiver.send(b"anyone?").unwrap();
        let mut batch = ReceiveBatch::new();
        assert_eq!(batch.receive(&receiver).unwrap(), 0);
        assert!(!batch.is_exhausted(), "something may wait behind the error");
        assert_eq!(batch.receive(&receiver).unwrap(), 0);
        assert!(batch.is_exhausted());
    }
}
