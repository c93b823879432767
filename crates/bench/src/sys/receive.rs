//! Many datagrams with one system call, with the time at which the kernel received each.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

/// Datagrams that one call takes at most: more than a burst of one picture has, and few enough for their buffers to
/// stay in the nearest cache.
pub(crate) const BATCH: usize = 16;
/// The largest datagram that comes over a network without jumbo frames, with room to spare.
pub(crate) const MAX_DATAGRAM: usize = 2048;

/// Room for one control message with a `timespec`; aligned as control messages are.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 64]);

/// Buffers for one `recvmmsg(2)`, and what the last one brought.
pub(crate) struct ReceiveBatch {
    buffers: Box<[u8]>,
    datagram: usize,
    received: [Received; BATCH],
}

#[derive(Clone, Copy)]
struct Received {
    source: SocketAddr,
    len: usize,
    at_ns: Option<u64>,
}

impl ReceiveBatch {
    /// Allocates all that receiving datagrams of this length will ever need.
    pub(crate) fn new(datagram: usize) -> Self {
        let nothing = Received {
            source: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            len: 0,
            at_ns: None,
        };
        Self {
            buffers: vec![0; BATCH * datagram].into_boxed_slice(),
            datagram,
            received: [nothing; BATCH],
        }
    }

    /// Takes what waits in an IPv4 socket, at most [`BATCH`] datagrams, and says how many there are. Receive times are
    /// asked for only with `times`, as they cost.
    ///
    /// # Errors
    /// Those of `recvmmsg(2)`, `WouldBlock` where nothing waits.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, times: bool) -> io::Result<usize> {
        // SAFETY: all three are plain data for which zero is valid (null pointers, lengths of 0).
        let (mut addresses, mut slices, mut messages): (
            [libc::sockaddr_in; BATCH],
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
        ) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        let mut controls = mem::MaybeUninit::<[Control; BATCH]>::uninit();
        let control = controls.as_mut_ptr().cast::<Control>();
        for (index, buffer) in self.buffers.chunks_exact_mut(self.datagram).enumerate() {
            slices[index].iov_base = buffer.as_mut_ptr().cast();
            slices[index].iov_len = buffer.len();
            let header = &mut messages[index].msg_hdr;
            header.msg_iov = &raw mut slices[index];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut addresses[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            if times {
                header.msg_control = control.wrapping_add(index).cast();
                header.msg_controllen = size_of::<Control>() as _;
            }
        }
        // SAFETY: every header points to a slice of `buffers`, an address and perhaps a control buffer of its own with
        // their true lengths, all of which outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for index in 0..count {
            let message = &messages[index];
            self.received[index] = Received {
                source: decode(&addresses[index]),
                len: message.msg_len as usize,
                at_ns: receive_time(&message.msg_hdr),
            };
        }
        Ok(count)
    }

    /// A datagram of the last [`Self::receive`]: where it came from, its octets, and when the kernel received it, in
    /// nanoseconds since 1970.
    ///
    /// # Panics
    /// If `index` is not less than [`BATCH`].
    pub(crate) fn datagram(&self, index: usize) -> (SocketAddr, &[u8], Option<u64>) {
        let Received { source, len, at_ns } = self.received[index];
        let start = index * self.datagram;
        (source, &self.buffers[start..start + len], at_ns)
    }
}

fn decode(address: &libc::sockaddr_in) -> SocketAddr {
    let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
    (ip, u16::from_be(address.sin_port)).into()
}

fn receive_time(header: &libc::msghdr) -> Option<u64> {
    // SAFETY: the kernel has set the control buffer's length to what it wrote; where there is no buffer it is 0.
    let control = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    if control.cmsg_level != libc::SOL_SOCKET || control.cmsg_type != libc::SCM_TIMESTAMPNS {
        return None;
    }
    // SAFETY: a control message of this type carries one timespec, which may not be aligned.
    let time = unsafe { ptr::read_unaligned(libc::CMSG_DATA(control).cast::<libc::timespec>()) };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    Some(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::sys::note_receive_times;

    fn now_ns() -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    }

    #[test]
    fn datagrams_come_in_order_with_source_and_time() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        note_receive_times(&receiver).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let before = now_ns();
        for number in 0..BATCH + 3 {
            sender.send(&vec![number as u8; number + 1]).unwrap();
        }
        let mut batch = ReceiveBatch::new(MAX_DATAGRAM);
        let mut number = 0;
        for expected in [BATCH, 3] {
            assert_eq!(batch.receive(&receiver, true).unwrap(), expected);
            // The first packets after it was switched on may get their time only when they are read.
            let after = now_ns();
            for index in 0..expected {
                let (source, octets, at_ns) = batch.datagram(index);
                assert_eq!(source, sender.local_addr().unwrap());
                assert_eq!(octets, vec![number as u8; number + 1]);
                assert!((before..=after).contains(&at_ns.unwrap()));
                number += 1;
            }
        }
        let nothing = batch.receive(&receiver, true).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        sender.send(b"untimed").unwrap();
        assert_eq!(batch.receive(&receiver, false).unwrap(), 1);
        assert_eq!(batch.datagram(0).2, None);
    }
}
