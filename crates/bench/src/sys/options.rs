//! What is set on sockets, threads and this process, and what sockets tell.

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Index of the drops in what `SO_MEMINFO` returns (linux/sock_diag.h, `SK_MEMINFO_DROPS`).
const MEMINFO_DROPS: usize = 8;
const MEMINFO_VARS: usize = 9;

/// Lets the socket hold `octets`; beyond the system's limit where we may, else as much as it grants.
pub(crate) fn enlarge_receive_buffer(socket: &UdpSocket, octets: usize) -> io::Result<()> {
    let octets = libc::c_int::try_from(octets).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, octets)
        .or_else(|_| set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, octets))
}

/// Has the kernel say with each datagram when it was received.
pub(crate) fn note_receive_times(socket: &UdpSocket) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Has runs of datagrams received merged (UDP GRO).
pub(crate) fn receive_merged(socket: &UdpSocket) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Datagrams that the socket had no room for since it was opened.
pub(crate) fn socket_drops(socket: &UdpSocket) -> io::Result<u64> {
    let mut variables = [0u32; MEMINFO_VARS];
    let mut len = size_of_val(&variables) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` octets to `variables`, which is that long, and the true length to `len`;
    // both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            variables.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(u64::from(variables[MEMINFO_DROPS]))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Allows this process and those it starts as many open files as the system does, `wanted` at most beyond that; says
/// how many.
pub(crate) fn raise_file_limit(wanted: u64) -> io::Result<u64> {
    // SAFETY: plain integers, for which zero is valid.
    let mut limit: libc::rlimit = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes one rlimit, which outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for maximum in [limit.rlim_max.max(wanted), limit.rlim_max] {
        let raised = libc::rlimit {
            rlim_cur: maximum,
            rlim_max: maximum,
        };
        // SAFETY: the kernel only reads one rlimit, which outlives the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            return Ok(maximum);
        }
    }
    Ok(limit.rlim_cur)
}

/// Has a thread run before all ordinary ones whenever it can (`SCHED_FIFO`), which needs a privilege.
pub(crate) fn run_at_once(thread: libc::pid_t) -> io::Result<()> {
    // SAFETY: plain integers, for which zero is valid.
    let mut parameters: libc::sched_param = unsafe { mem::zeroed() };
    parameters.sched_priority = 1;
    // SAFETY: the kernel only reads the parameters, which outlive the call.
    let result =
        unsafe { libc::sched_setscheduler(thread, libc::SCHED_FIFO, &raw const parameters) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn set(
    socket: &UdpSocket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option's value is an int that outlives the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_socket_counts_what_it_drops() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        set(&receiver, libc::SOL_SOCKET, libc::SO_RCVBUF, 1).unwrap();
        assert_eq!(socket_drops(&receiver).unwrap(), 0);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        for _ in 0..50 {
            sender.send(&[0; 1000]).unwrap();
        }
        let dropped = socket_drops(&receiver).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let mut buffer = [0; 1000];
        let received = std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).count() as u64;
        assert!(dropped > 0);
        assert_eq!(dropped + received, 50);
    }

    #[test]
    fn the_file_limit_is_never_lowered() {
        let limit = raise_file_limit(16).unwrap();
        assert!(limit >= 16);
        assert_eq!(raise_file_limit(16).unwrap(), limit);
    }
}
