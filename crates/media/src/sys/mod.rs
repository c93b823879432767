//! What the packet path asks of Linux directly: batches of datagrams in and out, and waiting for them.
//!
//! The only place of this crate with `unsafe`. Here belong system calls and the sockets' options; what a datagram
//! means does not.

#![allow(unsafe_code)]

mod address;
mod poll;
mod receive;
mod send;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

pub(crate) use poll::{Poller, Waker};
pub use receive::ReceiveBatch;
pub use send::{Flushed, SendBatch};

/// CPU time that the calling thread has used.
pub(crate) fn thread_cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .unwrap_or_default()
}

/// Binds a nonblocking UDP socket with buffers of the given sizes in octets.
///
/// Sizes beyond the system's limits (`net.core.rmem_max`, `wmem_max`) need `CAP_NET_ADMIN`; without it the kernel cuts
/// them down silently. The address is not shared with other sockets, so a taken port is an error.
///
/// # Errors
/// What the system says, above all [`io::ErrorKind::AddrInUse`].
pub fn bind_udp(
    address: SocketAddr,
    receive_buffer: usize,
    send_buffer: usize,
) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    if setsockopt(&socket, sockopt::RcvBufForce, &receive_buffer).is_err() {
        socket.set_recv_buffer_size(receive_buffer)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &send_buffer).is_err() {
        socket.set_send_buffer_size(send_buffer)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
