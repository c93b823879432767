//! Many datagrams with one system call.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use super::address::RawAddress;

/// Datagrams one call takes at most.
pub(crate) const BATCH: usize = 64;
/// The largest datagram taken, in octets: more than any Ethernet frame without jumbo frames carries.
const DATAGRAM: usize = 2048;

/// Buffers for one `recvmmsg(2)`, and what the last one brought.
pub(crate) struct ReceiveBatch {
    buffers: Box<[[u8; DATAGRAM]]>,
    accepted: [Accepted; BATCH],
    dropped: u64,
}

#[derive(Clone, Copy)]
struct Accepted {
    source: SocketAddr,
    buffer: usize,
    len: usize,
}

impl ReceiveBatch {
    /// Allocates all that receiving will ever need.
    pub(crate) fn new() -> Self {
        let nothing = Accepted {
            source: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            buffer: 0,
            len: 0,
        };
        Self {
            buffers: vec![[0; DATAGRAM]; BATCH].into_boxed_slice(),
            accepted: [nothing; BATCH],
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
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut addresses = [RawAddress::UNSPECIFIED; BATCH];
        // SAFETY: iovec and mmsghdr are plain data for which zero is valid (null pointers, lengths of 0).
        let (mut slices, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        for (index, message) in messages.iter_mut().enumerate() {
            let buffer = &mut self.buffers[index];
            slices[index].iov_base = buffer.as_mut_ptr().cast();
            slices[index].iov_len = buffer.len();
            message.msg_hdr.msg_iov = &raw mut slices[index];
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_name = (&raw mut addresses[index]).cast();
            message.msg_hdr.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
        }
        // SAFETY: every header points to a slice, a buffer and an address of its own with their true lengths, all of
        // which outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_TRUNC) as _,
                ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return if is_passing(&error) {
                Ok(0)
            } else {
                Err(error)
            };
        };
        Ok(self.accept(&messages[..received], &addresses))
    }

    /// One datagram of the last [`Self::receive`]: its source, and its octets to work on in place.
    ///
    /// # Panics
    /// If `index` is not less than what `receive` returned last and not less than [`BATCH`].
    pub(crate) fn datagram(&mut self, index: usize) -> (SocketAddr, &mut [u8]) {
        let Accepted {
            source,
            buffer,
            len,
        } = self.accepted[index];
        (source, &mut self.buffers[buffer][..len])
    }

    /// How many datagrams were too long for a buffer since this was last asked.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        mem::take(&mut self.dropped)
    }

    fn accept(&mut self, messages: &[libc::mmsghdr], addresses: &[RawAddress; BATCH]) -> usize {
        let mut count = 0;
        for (buffer, message) in messages.iter().enumerate() {
            let truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            match addresses[buffer].decode() {
                Some(source) if !truncated => {
                    let len = message.msg_len as usize;
                    self.accepted[count] = Accepted {
                        source,
                        buffer,
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
        assert_eq!(ReceiveBatch::new().receive(&receiver).unwrap(), 0);
    }
}
