//! Many datagrams to many destinations with one system call, as a server would send them that has nothing else to do.

use std::io;
use std::mem;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

/// Runs that one call takes at most.
pub(crate) const MAX_RUNS: usize = 64;

/// Datagrams for one destination: `octets` cut into pieces of `segment`, the last of which may be shorter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) destination: SocketAddrV4,
    pub(crate) octets: &'a [u8],
    pub(crate) segment: u16,
}

/// `struct cmsghdr` with a `UDP_SEGMENT` behind it, padded as the kernel wants it.
#[repr(C)]
#[derive(Clone, Copy)]
struct SegmentControl {
    header: libc::cmsghdr,
    segment: u16,
    padding: [u8; 6],
}

/// One `sendmmsg(2)` of at most [`MAX_RUNS`] runs; says how many of them left.
///
/// # Errors
/// Those of the first run.
pub(crate) fn send_runs(socket: &UdpSocket, runs: &[Run<'_>]) -> io::Result<usize> {
    // SAFETY: all are plain data for which zero is valid (null pointers, lengths of 0).
    let (mut addresses, mut slices, mut controls, mut messages): (
        [libc::sockaddr_in; MAX_RUNS],
        [libc::iovec; MAX_RUNS],
        [SegmentControl; MAX_RUNS],
        [libc::mmsghdr; MAX_RUNS],
    ) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed(), mem::zeroed()) };
    let count = runs.len().min(MAX_RUNS);
    for (index, run) in runs[..count].iter().enumerate() {
        addresses[index] = encode(run.destination);
        slices[index].iov_base = run.octets.as_ptr().cast_mut().cast();
        slices[index].iov_len = run.octets.len();
        let header = &mut messages[index].msg_hdr;
        header.msg_name = (&raw mut addresses[index]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        header.msg_iov = &raw mut slices[index];
        header.msg_iovlen = 1;
        if run.octets.len() > usize::from(run.segment) {
            let control = &mut controls[index];
            control.header.cmsg_level = libc::SOL_UDP;
            control.header.cmsg_type = libc::UDP_SEGMENT;
            control.header.cmsg_len =
                (mem::offset_of!(SegmentControl, segment) + size_of::<u16>()) as _;
            control.segment = run.segment;
            header.msg_control = (&raw mut *control).cast();
            header.msg_controllen = size_of::<SegmentControl>() as _;
        }
    }
    // SAFETY: every header points to an address, the octets of its run and perhaps a control message of its own with
    // their true lengths, all of which outlive the call; the kernel only reads what they point to.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            count as libc::c_uint,
            libc::MSG_NOSIGNAL as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn encode(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::sys::{MAX_DATAGRAM, ReceiveBatch};

    #[test]
    fn runs_arrive_as_their_datagrams() {
        let receivers = [0; 2].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let octets: Vec<u8> = (0..250).collect();
        let runs = [(0, 100), (1, 250)].map(|(index, segment)| {
            let SocketAddr::V4(destination) = receivers[index].local_addr().unwrap() else {
                unreachable!("it was bound to an IPv4 address");
            };
            Run {
                destination,
                octets: &octets,
                segment,
            }
        });
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(send_runs(&sender, &runs).unwrap(), 2);
        let mut batch = ReceiveBatch::new(MAX_DATAGRAM);
        for (receiver, expected) in receivers.iter().zip([&[100, 100, 50][..], &[250]]) {
            let count = batch.receive(receiver, false).unwrap();
            let received: Vec<&[u8]> = (0..count).map(|index| batch.datagram(index).1).collect();
            let lengths: Vec<usize> = received.iter().map(|datagram| datagram.len()).collect();
            assert_eq!(lengths, expected);
            assert_eq!(received.concat(), octets);
        }
    }
}
