//! Sockets at the double's own address.

use std::io;
use std::net::Ipv4Addr;

use tokio::net::UdpSocket;

/// How often a pair is looked for before that is given up.
const TRIES: usize = 200;

/// Two sockets: RTP on an even port, RTCP on the next one.
#[derive(Debug)]
pub(crate) struct PortPair {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    pub(crate) port: u16,
}

impl PortPair {
    pub(crate) fn bind(address: Ipv4Addr) -> io::Result<Self> {
        let mut refused = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..TRIES {
            let rtp = udp(address, 0)?;
            let port = rtp.local_addr()?.port();
            if port % 2 == 1 {
                continue;
            }
            match udp(address, port + 1) {
                Ok(rtcp) => return Ok(Self { rtp, rtcp, port }),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// One socket. Only within the runtime.
pub(crate) fn udp(address: Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((address, port))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}
