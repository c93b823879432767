//! The way to the server: a socket, ICE that finds it, DTLS that agrees on keys.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, KeyingMaterial, Output, SrtpProfile};
use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceCreds};

use crate::error::BenchError;
use crate::sys;

use super::offer::{Answer, OfferParts, offer};

/// Enough for a burst of a whole group of pictures; the kernel may grant less.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Time between two ICE checks while connecting.
const ICE_PACE: Duration = Duration::from_millis(5);
const DTLS_BUFFER: usize = 2048;

/// What all viewers share: making a certificate for each would only measure this program.
#[derive(Clone)]
pub(crate) struct Identity {
    certificate: DtlsCertificate,
    fingerprint: String,
    config: Arc<Config>,
}

impl Identity {
    /// A fresh self-signed certificate.
    pub(crate) fn generate() -> Result<Self, BenchError> {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| BenchError::Answer(format!("no certificate: {error}")))?;
        Ok(Self {
            fingerprint: format!("sha-256 {}", certificate.fingerprint_str()),
            certificate,
            config: Arc::new(Config::default()),
        })
    }
}

/// A viewer that has not offered yet.
pub(crate) struct Seat {
    socket: UdpSocket,
    local: SocketAddr,
    credentials: IceCreds,
}

impl Seat {
    /// Takes a port on loopback.
    pub(crate) fn take() -> Result<Self, BenchError> {
        let failed = || BenchError::io("open a viewer's socket");
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(failed())?;
        socket.set_nonblocking(true).map_err(failed())?;
        sys::enlarge_receive_buffer(&socket, RECEIVE_BUFFER).map_err(failed())?;
        let local = socket.local_addr().map_err(failed())?;
        Ok(Self {
            socket,
            local,
            credentials: IceCreds::new(),
        })
    }

    /// What to post.
    pub(crate) fn offer(&self, identity: &Identity) -> String {
        offer(&OfferParts {
            credentials: &self.credentials,
            fingerprint: &identity.fingerprint,
            local: self.local,
        })
    }
}

/// What the transport has come to.
pub(super) enum TransportEvent {
    /// DTLS is through: the exported keys.
    Keys(KeyingMaterial, SrtpProfile),
    /// It will never be.
    Failed(String),
}

/// Socket, ICE and DTLS of one viewer.
pub(super) struct Transport {
    socket: UdpSocket,
    local: SocketAddr,
    ice: IceAgent,
    dtls: Dtls,
    /// Whether DTLS has.
    has_begun: bool,
    /// Where ICE says to send.
    remote: Option<SocketAddr>,
    /// The hash of the certificate that the answer announced.
    fingerprint: Vec<u8>,
    events: VecDeque<TransportEvent>,
    next: Option<Instant>,
}

impl Transport {
    /// Ready to look for the server; the first `handle_timeout` begins.
    pub(super) fn new(
        seat: Seat,
        answer: &Answer,
        identity: &Identity,
    ) -> Result<Self, BenchError> {
        let unusable = |error: &dyn std::fmt::Display| BenchError::Answer(error.to_string());
        let now = Instant::now();
        let mut ice = IceAgent::new(seat.credentials);
        ice.set_controlling(true);
        ice.set_timing_advance(ICE_PACE);
        ice.set_remote_credentials(answer.credentials.clone());
        let host = Candidate::host(seat.local, "udp").map_err(|error| unusable(&error))?;
        ice.add_local_candidate(host);
        for candidate in &answer.candidates {
            let text = format!("candidate:{candidate}");
            let candidate = Candidate::from_sdp_string(&text).map_err(|error| unusable(&error))?;
            if candidate.proto() == is::Protocol::Udp && candidate.addr().ip().is_loopback() {
                ice.add_remote_candidate(candidate);
            }
        }
        let mut dtls = Dtls::new_12(identity.config.clone(), identity.certificate.clone(), now);
        dtls.set_active(true);
        Ok(Self {
            socket: seat.socket,
            local: seat.local,
            ice,
            dtls,
            has_begun: false,
            remote: None,
            fingerprint: answer.fingerprint.bytes.clone(),
            events: VecDeque::new(),
            next: Some(now),
        })
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    pub(super) fn handle_stun(&mut self, source: SocketAddr, datagram: &[u8]) {
        let Ok(message) = StunMessage::parse(datagram) else {
            return;
        };
        let packet = StunPacket {
            proto: is::Protocol::Udp,
            source,
            destination: self.local,
            message,
        };
        self.ice.handle_packet(Instant::now(), packet);
        self.drive();
    }

    /// What comes before DTLS has begun is meant for somebody who had this port before, and dimpl would not survive it.
    pub(super) fn handle_dtls(&mut self, datagram: &[u8]) {
        if !self.has_begun {
            return;
        }
        if let Err(error) = self.dtls.handle_packet(datagram) {
            self.fail(format!("DTLS: {error}"));
        }
        self.drive();
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.ice.handle_timeout(now);
        self.find_remote();
        // DTLS begins with its first timeout: not before there is somebody to talk to.
        if self.remote.is_some() {
            self.has_begun = true;
            if let Err(error) = self.dtls.handle_timeout(now) {
                self.fail(format!("DTLS: {error}"));
            }
        }
        self.drive();
    }

    /// Says goodbye as a page that is closed does.
    pub(super) fn close(&mut self) {
        // Nothing is lost if the session was never there.
        let _ = self.dtls.close();
        self.poll_dtls();
    }

    /// Sends to the server, once it is found. What does not fit into the socket is lost, as on any network.
    pub(super) fn send(&self, datagram: &[u8]) {
        if let Some(remote) = self.remote {
            let _ = self.socket.send_to(datagram, remote);
        }
    }

    /// Moves what ICE and DTLS have to say to the socket.
    fn drive(&mut self) {
        self.find_remote();
        while let Some(transmit) = self.ice.poll_transmit() {
            // A full buffer loses it, and ICE sends it again.
            let _ = self
                .socket
                .send_to(&transmit.contents, transmit.destination);
        }
        let dtls = self.remote.and_then(|_| self.poll_dtls());
        self.next = [self.ice.poll_timeout(), dtls].into_iter().flatten().min();
    }

    fn find_remote(&mut self) {
        while let Some(event) = self.ice.poll_event() {
            if let IceAgentEvent::NominatedSend { destination, .. } = event {
                self.remote = Some(destination);
            }
        }
    }

    /// When DTLS wants its timer.
    fn poll_dtls(&mut self) -> Option<Instant> {
        let mut buffer = [0; DTLS_BUFFER];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => {
                    if let Some(remote) = self.remote {
                        // A full buffer loses it, and DTLS sends it again.
                        let _ = self.socket.send_to(packet, remote);
                    }
                }
                Output::PeerCert(certificate) => {
                    let found = dimpl::certificate::calculate_fingerprint(certificate);
                    if found != self.fingerprint {
                        self.fail("the server's certificate is not the one it announced".into());
                        return None;
                    }
                }
                Output::KeyingMaterial(exported, profile) => {
                    self.events
                        .push_back(TransportEvent::Keys(exported, profile));
                }
                Output::Timeout(at) => return Some(at),
                Output::BufferTooSmall { needed } => {
                    self.fail(format!("a DTLS record of {needed} bytes"));
                    return None;
                }
                // The enum may grow; what is not known here changes nothing for a viewer.
                Output::Connected | Output::ApplicationData(_) | Output::CloseNotify | _ => {}
            }
        }
    }

    fn fail(&mut self, reason: String) {
        self.events.push_back(TransportEvent::Failed(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other end, as small as it gets: ICE-lite and passive DTLS.
    struct Peer {
        socket: UdpSocket,
        local: SocketAddr,
        ice: IceAgent,
        dtls: Dtls,
        viewer: SocketAddr,
        keys: Option<Vec<u8>>,
    }

    impl Peer {
        fn receive(&mut self) {
            let mut buffer = [0; 2048];
            while let Ok((len, source)) = self.socket.recv_from(&mut buffer) {
                let datagram = &buffer[..len];
                if datagram[0] < 4 {
                    let packet = StunPacket {
                        proto: is::Protocol::Udp,
                        source,
                        destination: self.local,
                        message: StunMessage::parse(datagram).unwrap(),
                    };
                    self.ice.handle_packet(Instant::now(), packet);
                } else {
                    self.dtls.handle_packet(datagram).unwrap();
                }
            }
            self.ice.handle_timeout(Instant::now());
            while let Some(transmit) = self.ice.poll_transmit() {
                self.socket
                    .send_to(&transmit.contents, transmit.destination)
                    .unwrap();
            }
            let mut out = [0; 2048];
            loop {
                match self.dtls.poll_output(&mut out) {
                    Output::Packet(packet) => {
                        self.socket.send_to(packet, self.viewer).unwrap();
                    }
                    Output::KeyingMaterial(keys, _) => self.keys = Some(keys.to_vec()),
                    Output::Timeout(_) => break,
                    Output::Connected
                    | Output::PeerCert(_)
                    | Output::BufferTooSmall { .. }
                    | Output::ApplicationData(_)
                    | Output::CloseNotify
                    | _ => {}
                }
            }
        }
    }

    #[test]
    fn finds_a_server_and_agrees_on_keys() {
        let ours = Identity::generate().unwrap();
        let theirs = Identity::generate().unwrap();
        let seat = Seat::take().unwrap();
        let viewer = seat.local;
        let seat_credentials = seat.credentials.clone();
        let answer_seat = Seat::take().unwrap();
        let answer = Answer::parse(&answer_seat.offer(&theirs)).unwrap();
        let now = Instant::now();
        let mut peer = Peer {
            local: answer_seat.local,
            socket: answer_seat.socket,
            ice: IceAgent::new(answer_seat.credentials),
            dtls: Dtls::new_12(theirs.config, theirs.certificate, now),
            viewer,
            keys: None,
        };
        peer.ice.set_ice_lite(true);
        peer.ice.set_remote_credentials(seat_credentials);
        let host = Candidate::host(peer.local, "udp").unwrap();
        peer.ice.add_local_candidate(host);
        peer.dtls.handle_timeout(now).unwrap();

        let mut transport = Transport::new(seat, &answer, &ours).unwrap();
        let deadline = now + Duration::from_secs(10);
        let keys = loop {
            assert!(Instant::now() < deadline, "no keys");
            peer.receive();
            let mut buffer = [0; 2048];
            while let Ok((len, source)) = transport.socket.recv_from(&mut buffer) {
                match buffer[0] {
                    0..4 => transport.handle_stun(source, &buffer[..len]),
                    _ => transport.handle_dtls(&buffer[..len]),
                }
            }
            if transport
                .next_timeout()
                .is_some_and(|at| at <= Instant::now())
            {
                transport.handle_timeout(Instant::now());
            }
            match transport.poll_event() {
                Some(TransportEvent::Keys(keys, _)) => break keys.to_vec(),
                Some(TransportEvent::Failed(reason)) => panic!("{reason}"),
                None => {}
            }
        };
        while peer.keys.is_none() {
            assert!(Instant::now() < deadline, "the peer has no keys");
            peer.receive();
        }
        assert_eq!(peer.keys, Some(keys));
    }
}
