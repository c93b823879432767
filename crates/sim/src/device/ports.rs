//! A streaming camera's sockets: per medium a pair of neighbouring ports, RTP and RTCP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::firmware::{Destination, SendPlan, Track};

/// Neighbouring free ports are searched so many times before giving up.
const PAIR_ATTEMPTS: u32 = 64;
/// Room for a large IDR at once, in bytes; the kernel may grant less.
const SEND_BUFFER: usize = 1 << 20;

/// The open sockets of one stream.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) video: PortPair,
    pub(super) audio: PortPair,
    rtcp_on_rtp_port: bool,
}

/// RTP and RTCP of one medium.
#[derive(Debug)]
pub(super) struct PortPair {
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    to: Destination,
}

impl Ports {
    /// Opens ports for `plan` on `bind`, or, where that is unspecified, on the address that faces the
    /// receiver.
    /// RTCP is heard on the RTCP ports, or, with `rtcp_on_rtp_port`, on the RTP ports alone.
    pub(super) fn open(bind: IpAddr, plan: &SendPlan, rtcp_on_rtp_port: bool) -> io::Result<Self> {
        Ok(Self {
            video: PortPair::open(bind, plan.video)?,
            audio: PortPair::open(bind, plan.audio)?,
            rtcp_on_rtp_port,
        })
    }

    /// The sockets that hear something: RTCP of both media, and voices where the sound is sent from. One may be there twice.
    pub(super) fn receivers(&self) -> [&UdpSocket; 3] {
        let [video, audio] = [&self.video, &self.audio].map(|pair| {
            if self.rtcp_on_rtp_port {
                &pair.rtp
            } else {
                &pair.rtcp
            }
        });
        [video, audio, &self.audio.rtp]
    }

    pub(super) fn pair(&self, track: Track) -> &PortPair {
        match track {
            Track::Video => &self.video,
            Track::Audio => &self.audio,
        }
    }
}

impl PortPair {
    fn open(bind: IpAddr, to: Destination) -> io::Result<Self> {
        let local = if bind.is_unspecified() {
            local_address_towards(to.rtp)?
        } else {
            bind
        };
        let (rtp, rtcp) = neighbours(local)?;
        rtp.set_nonblocking(true)?;
        rtcp.set_nonblocking(true)?;
        // A smaller buffer only means that more is lost under load.
        let _ = socket2::SockRef::from(&rtp).set_send_buffer_size(SEND_BUFFER);
        Ok(Self { rtp, rtcp, to })
    }

    pub(super) fn send_rtp(&self, packet: &[u8]) {
        send(&self.rtp, self.to.rtp, packet);
    }

    pub(super) fn send_rtcp(&self, compound: &[u8]) {
        send(&self.rtcp, self.to.rtcp, compound);
    }

    /// Sends an RTP packet from a socket that is not the camera's.
    pub(super) fn send_rtp_from(&self, intruder: &UdpSocket, packet: &[u8]) {
        send(intruder, self.to.rtp, packet);
    }
}

/// The own address from which packets to `peer` leave. Nothing is sent for this.
pub(crate) fn local_address_towards(peer: SocketAddr) -> io::Result<IpAddr> {
    let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    probe.connect(peer)?;
    Ok(probe.local_addr()?.ip())
}

/// Two sockets on neighbouring ports.
fn neighbours(local: IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    let mut last_error = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PAIR_ATTEMPTS {
        let rtp = UdpSocket::bind((local, 0))?;
        let Some(above) = rtp.local_addr()?.port().checked_add(1) else {
            continue;
        };
        match UdpSocket::bind((local, above)) {
            Ok(rtcp) => return Ok((rtp, rtcp)),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

/// Sends or loses: nobody tells a camera that its packets go nowhere.
fn send(socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) {
    if let Err(error) = socket.send_to(datagram, to) {
        tracing::trace!(%to, %error, "a simulated camera's datagram is lost");
    }
}
