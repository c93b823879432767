//! A peer that the server has let in, in the hands of one thread that decides what it does: sockets are read only when
//! it likes, and anything can be sealed with its keys. Viewers that behave are many and live in the swarm instead.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use apiary_wire::Ssrc;
use apiary_wire::demux::{Protocol, classify};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::BenchError;

use super::offer::Answer;
use super::srtp::{self, SrtcpSealer, SrtpOpener};
use super::transport::{Identity, Seat, Transport, TransportEvent};

const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

/// An authenticated peer.
pub(crate) struct Guest {
    transport: Transport,
    sealer: SrtcpSealer,
    opener: SrtpOpener,
}

/// What a guest finds in its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// SRTP of this length.
    Rtp(usize),
    /// Anything else; STUN and DTLS have been dealt with.
    Other,
    /// Nothing waits.
    Nothing,
}

impl Guest {
    /// Goes through ICE and DTLS; blocks until there are keys.
    pub(crate) fn connect(
        seat: Seat,
        answer: &Answer,
        identity: &Identity,
    ) -> Result<Self, BenchError> {
        let mut transport = Transport::new(seat, answer, identity)?;
        let deadline = Instant::now() + CONNECTED_WITHIN;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(BenchError::Timeout {
                    what: "a guest's handshake",
                    within: CONNECTED_WITHIN,
                });
            }
            drive(&mut transport, now);
            while receive(&mut transport, &mut [0; 2048]) != Received::Nothing {}
            match transport.poll_event() {
                Some(TransportEvent::Keys(exported, profile)) => {
                    let (opener, sealer) = srtp::session(&exported, profile)
                        .ok_or_else(|| BenchError::Answer(format!("SRTP profile {profile:?}")))?;
                    return Ok(Self {
                        transport,
                        sealer,
                        opener,
                    });
                }
                Some(TransportEvent::Failed(reason)) => return Err(BenchError::Answer(reason)),
                None => {}
            }
            let next = transport.next_timeout().unwrap_or(deadline).min(deadline);
            wait(transport.socket(), next);
        }
    }

    /// The SSRC under which it speaks.
    pub(crate) fn ssrc(&self) -> Ssrc {
        Ssrc(u32::from(self.transport.local().port()))
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &UdpSocket {
        self.transport.socket()
    }

    /// What opens the packets it receives.
    pub(crate) fn opener(&mut self) -> &mut SrtpOpener {
        &mut self.opener
    }

    /// Keeps the connection up: sends ICE checks when they are due.
    pub(crate) fn drive(&mut self, now: Instant) {
        drive(&mut self.transport, now);
    }

    /// Takes one datagram from the socket without waiting.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        receive(&mut self.transport, buffer)
    }

    /// Waits until a datagram is there, or until `until`.
    pub(crate) fn wait(&self, until: Instant) {
        wait(self.transport.socket(), until);
    }

    /// Seals an RTCP compound, whatever is in it behind its first eight octets, and sends it.
    pub(crate) fn send_rtcp(&mut self, mut compound: Vec<u8>) {
        if self.sealer.seal(&mut compound).is_some() {
            self.transport.send(&compound);
        }
    }

    /// Sends octets as they are.
    pub(crate) fn send_raw(&self, datagram: &[u8]) {
        self.transport.send(datagram);
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self) {
        self.transport.close();
    }
}

fn drive(transport: &mut Transport, now: Instant) {
    if transport.next_timeout().is_some_and(|at| at <= now) {
        transport.handle_timeout(now);
    }
}

fn receive(transport: &mut Transport, buffer: &mut [u8]) -> Received {
    // An ICMP answer to an earlier send is no datagram; the next call finds what waits behind it.
    let Ok((len, source)) = transport.socket().recv_from(buffer) else {
        return Received::Nothing;
    };
    let datagram = &buffer[..len];
    match classify(datagram) {
        Protocol::Rtp => return Received::Rtp(len),
        Protocol::Stun => transport.handle_stun(source, datagram),
        Protocol::Dtls => transport.handle_dtls(datagram),
        Protocol::Rtcp | Protocol::Unknown => {}
    }
    Received::Other
}

fn wait(socket: &UdpSocket, until: Instant) {
    let left = until.saturating_duration_since(Instant::now());
    // Rounded up: a poll that returns too early would only be repeated.
    let left = left + Duration::from_micros(999);
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
    let mut sockets = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    // Interrupted or not, the caller looks at the clock and the socket.
    let _ = poll(&mut sockets, timeout);
}
