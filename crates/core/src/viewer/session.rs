//! One viewer's WebRTC session without any I/O: ICE, DTLS, SRTP and what RTCP says.
//!
//! The agent is ICE-lite: it answers checks and sends to the address that the browser nominated. DTLS is taken only
//! from addresses whose checks were authentic, and keys count only when the certificate has the fingerprint of the
//! offer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiary_wire::rtcp::{RtcpPacket, parse_compound};
use apiary_wire::rtp::RtpPacket;
use apiary_wire::units::{Bitrate, NtpTime, Ssrc};
use dimpl::{Dtls, DtlsCertificate, Output};
use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceCreds, Protocol};
use smallvec::SmallVec;

use super::offer::{Fingerprint, IceCredentials};
use crate::srtp::{
    KeyingMaterial, SrtcpReceiver, SrtcpSender, SrtpProfile, SrtpReceiver, SrtpSender,
};

/// A viewer whose last STUN and RTCP are older than this is gone (RFC 7675 allows 30 s).
pub const CONSENT_TIMEOUT: Duration = Duration::from_millis(8_500);

/// A viewer without keys after this time never connects.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(20);

/// Addresses of one viewer from which anything but STUN is taken; more are not believed.
const MAX_PATHS: usize = 16;

/// NACKed sequence numbers kept from one datagram (h20).
const MAX_NACKS: usize = 256;

/// What a session starts from.
pub struct SessionConfig {
    /// Our address on the worker's socket, the base of all our candidates.
    pub local: SocketAddr,
    /// Our ICE credentials.
    pub local_ice: IceCredentials,
    /// The offer's ICE credentials.
    pub remote_ice: IceCredentials,
    /// The fingerprint that the viewer's certificate must have.
    pub fingerprint: Fingerprint,
    /// Our certificate.
    pub certificate: DtlsCertificate,
    /// Our DTLS settings.
    pub dtls: Arc<dimpl::Config>,
    /// Whether the viewer's own RTP is to be opened: it may talk to its camera.
    pub takes_voice: bool,
}

/// What a session tells its owner.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// This address passed an authentic check: what comes from it is the viewer's.
    PathValidated(SocketAddr),
    /// Keys are agreed.
    Connected,
    /// The viewer cannot decode (PLI or FIR).
    KeyFrameWanted,
    /// The viewer's bandwidth estimate.
    Remb(Bitrate),
    /// A reception report.
    Report {
        /// The track it is about.
        ssrc: Ssrc,
        /// Of 256 packets, how many were lost since the last report.
        fraction_lost: u8,
        /// Round trip, when a sender report of ours was echoed.
        round_trip: Option<Duration>,
    },
    /// These sequence numbers of this SSRC are missing.
    Nack(Ssrc, SmallVec<[u16; 16]>),
    /// The session is over.
    Gone(SessionEnd),
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// DTLS close_notify.
    Left,
    /// Silence beyond [`CONSENT_TIMEOUT`].
    Expired,
    /// No keys within [`SETUP_TIMEOUT`].
    NeverConnected,
    /// The handshake or the keys failed.
    Failed(String),
}

#[expect(
    clippy::large_enum_variant,
    reason = "a session spends its life in `Up`, whose keys the packet path reads"
)]
enum State {
    /// DTLS has not finished; `verified` once the certificate was right.
    Connecting {
        verified: bool,
    },
    Up(Keys),
    Gone,
}

struct Keys {
    srtp: SrtpSender,
    srtcp_out: SrtcpSender,
    srtcp_in: SrtcpReceiver,
    /// Only few viewers talk; the others do not pay for the keys.
    srtp_in: Option<Box<SrtpReceiver>>,
}

/// A viewer's session.
pub struct Session {
    local: SocketAddr,
    ice: IceAgent,
    dtls: Dtls,
    fingerprint: Fingerprint,
    takes_voice: bool,
    state: State,
    /// Where to send: the last nominated address, before that the first that was checked.
    destination: Option<SocketAddr>,
    paths: SmallVec<[SocketAddr; 2]>,
    dtls_timeout: Option<Instant>,
    created: Instant,
    heard: Instant,
    outbox: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<SessionEvent>,
}

impl Session {
    /// A session that waits for the viewer's first check.
    pub fn new(now: Instant, config: SessionConfig) -> Self {
        let creds = |ice: IceCredentials| IceCreds {
            ufrag: ice.ufrag,
            pass: ice.pwd,
        };
        let mut ice = IceAgent::new(creds(config.local_ice));
        ice.set_ice_lite(true);
        ice.set_controlling(false);
        ice.set_max_candidate_pairs(MAX_PATHS);
        ice.set_remote_credentials(creds(config.remote_ice));
        if let Ok(candidate) = Candidate::host(config.local, Protocol::Udp) {
            ice.add_local_candidate(candidate);
        }
        ice.handle_timeout(now);
        Self {
            local: config.local,
            ice,
            dtls: Dtls::new_12(config.dtls, config.certificate, now),
            fingerprint: config.fingerprint,
            takes_voice: config.takes_voice,
            state: State::Connecting { verified: false },
            destination: None,
            paths: SmallVec::new(),
            dtls_timeout: None,
            created: now,
            heard: now,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes a STUN message; it may come from anywhere, and nothing happens unless it is authentic.
    pub fn handle_stun(&mut self, now: Instant, source: SocketAddr, message: StunMessage<'_>) {
        let nominated = message.use_candidate();
        let known = self.paths.contains(&source);
        if !known && self.paths.len() == MAX_PATHS {
            return;
        }
        let packet = StunPacket {
            proto: Protocol::Udp,
            source,
            destination: self.local,
            message,
        };
        if !self.ice.handle_packet(now, packet) {
            return;
        }
        self.heard = now;
        self.ice.handle_timeout(now);
        if !known {
            self.paths.push(source);
            self.events.push_back(SessionEvent::PathValidated(source));
        }
        if nominated || self.destination.is_none() {
            self.destination = Some(source);
        }
        self.drain_ice();
    }

    fn drain_ice(&mut self) {
        while let Some(event) = self.ice.poll_event() {
            match event {
                // The nomination is followed check by check, which is faster than the agent's pair list.
                IceAgentEvent::NominatedSend { .. }
                | IceAgentEvent::IceRestart(_)
                | IceAgentEvent::IceConnectionStateChange(_)
                | IceAgentEvent::DiscoveredRecv { .. } => {}
            }
        }
        while let Some(reply) = self.ice.poll_transmit() {
            self.outbox
                .push_back((reply.destination, reply.contents.to_vec()));
        }
    }

    /// Takes a DTLS datagram from a validated path.
    pub fn handle_dtls(&mut self, now: Instant, source: SocketAddr, datagram: &[u8]) {
        if !self.paths.contains(&source) || matches!(self.state, State::Gone) {
            return;
        }
        let taken = self
            .dtls
            .handle_timeout(now)
            .and_then(|()| self.dtls.handle_packet(datagram));
        if let Err(error) = taken {
            self.end(SessionEnd::Failed(format!("DTLS: {error}")));
            return;
        }
        self.drain_dtls(source);
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`Output` is foreign and non-exhaustive"
    )]
    fn drain_dtls(&mut self, destination: SocketAddr) {
        let mut buffer = [0; 2048];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => self.outbox.push_back((destination, packet.to_vec())),
                Output::Timeout(at) => {
                    self.dtls_timeout = Some(at);
                    return;
                }
                Output::PeerCert(der) => {
                    if self.fingerprint.matches(der) {
                        self.state = State::Connecting { verified: true };
                    } else {
                        let why = "the certificate has not the fingerprint of the offer";
                        return self.end(SessionEnd::Failed(why.to_owned()));
                    }
                }
                Output::KeyingMaterial(material, profile) => self.take_keys(&material, profile),
                Output::CloseNotify => return self.end(SessionEnd::Left),
                Output::BufferTooSmall { needed } => {
                    let why = format!("DTLS wants to send {needed} octets at once");
                    return self.end(SessionEnd::Failed(why));
                }
                // Nobody has anything to say over the data channel; keys tell that the handshake is done.
                _ => {}
            }
        }
    }

    fn take_keys(&mut self, material: &[u8], profile: dimpl::SrtpProfile) {
        let profile = match profile {
            dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
            dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
            dimpl::SrtpProfile::AES128_CM_SHA1_80 => SrtpProfile::AesCm128HmacSha1_80,
            other => return self.end(SessionEnd::Failed(format!("SRTP profile {other:?}"))),
        };
        if !matches!(self.state, State::Connecting { verified: true }) {
            return self.end(SessionEnd::Failed("keys without a certificate".to_owned()));
        }
        match KeyingMaterial::split(profile, material) {
            Ok(material) => {
                let srtp_in = self
                    .takes_voice
                    .then(|| Box::new(material.server_rtp_receiver()));
                let (srtp, srtcp_out, srtcp_in) = material.into_server_contexts();
                self.state = State::Up(Keys {
                    srtp,
                    srtcp_out,
                    srtcp_in,
                    srtp_in,
                });
                self.events.push_back(SessionEvent::Connected);
            }
            Err(error) => self.end(SessionEnd::Failed(error.to_string())),
        }
    }

    /// Takes an SRTCP datagram from a validated path; it is opened in place.
    pub fn handle_rtcp(&mut self, now: Instant, ntp: NtpTime, datagram: &mut [u8]) {
        let State::Up(keys) = &mut self.state else {
            return;
        };
        let Some(compound) = keys.srtcp_in.open(datagram) else {
            return;
        };
        self.heard = now;
        for packet in parse_compound(compound).map_while(Result::ok) {
            on_rtcp(packet, ntp, &mut self.events);
        }
    }

    /// Opens an SRTP datagram from a validated path in place. Gives the extended sequence number and the packet; `None` where the
    /// viewer's voice is not taken, before the keys, and for what is not authentic or was seen before.
    pub fn open_voice<'a>(
        &mut self,
        now: Instant,
        datagram: &'a mut [u8],
    ) -> Option<(u64, RtpPacket<'a>)> {
        let State::Up(keys) = &mut self.state else {
            return None;
        };
        let (ext_seq, clear) = keys.srtp_in.as_mut()?.open(datagram)?;
        self.heard = now;
        Some((ext_seq, RtpPacket::parse(clear).ok()?))
    }

    /// Restarts ICE: new credentials on both sides, everything else goes on.
    pub fn restart_ice(&mut self, now: Instant, local: IceCredentials, remote: IceCredentials) {
        let creds = |ice: IceCredentials| IceCreds {
            ufrag: ice.ufrag,
            pass: ice.pwd,
        };
        self.ice.ice_restart(creds(local), true);
        self.ice.set_remote_credentials(creds(remote));
        self.ice.handle_timeout(now);
        self.heard = now;
        self.drain_ice();
    }

    /// When [`Self::handle_timeout`] is needed at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let end = match self.state {
            State::Connecting { .. } => self.created + SETUP_TIMEOUT,
            State::Up(_) => self.heard + CONSENT_TIMEOUT,
            State::Gone => return None,
        };
        // Before there is a path, DTLS has nobody to send anything to.
        let handshake = self.dtls_timeout.filter(|_| self.destination.is_some());
        Some(handshake.map_or(end, |at| at.min(end)))
    }

    /// Whether keys are still being agreed.
    pub fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting { .. })
    }

    /// Does what the time asks for.
    pub fn handle_timeout(&mut self, now: Instant) {
        let silent = now.saturating_duration_since(self.heard);
        match self.state {
            State::Gone => return,
            State::Connecting { .. }
                if now.saturating_duration_since(self.created) > SETUP_TIMEOUT =>
            {
                return self.end(SessionEnd::NeverConnected);
            }
            State::Up(_) if silent > CONSENT_TIMEOUT => return self.end(SessionEnd::Expired),
            State::Connecting { .. } | State::Up(_) => {}
        }
        self.ice.handle_timeout(now);
        self.drain_ice();
        if self.dtls_timeout.is_some_and(|at| now >= at) {
            self.dtls_timeout = None;
            if let Err(error) = self.dtls.handle_timeout(now) {
                return self.end(SessionEnd::Failed(format!("DTLS: {error}")));
            }
            if let Some(destination) = self.destination {
                self.drain_dtls(destination);
            }
        }
    }

    /// Says goodbye: a close_notify is left in the outbox.
    pub fn close(&mut self) {
        if self.dtls.close().is_ok()
            && let Some(destination) = self.destination
        {
            self.drain_dtls(destination);
        }
        self.state = State::Gone;
    }

    fn end(&mut self, end: SessionEnd) {
        if !matches!(self.state, State::Gone) {
            self.state = State::Gone;
            self.events.push_back(SessionEvent::Gone(end));
        }
    }

    /// Appends the protected form of an RTCP compound to `out`; nothing without keys.
    pub fn protect_rtcp(&mut self, compound: &[u8], out: &mut Vec<u8>) {
        if let State::Up(keys) = &mut self.state {
            keys.srtcp_out.protect(compound, out);
        }
    }

    /// What seals RTP for this viewer, and where to send it; `None` before the keys and after the end.
    pub fn outgoing(&self) -> Option<(SocketAddr, &SrtpSender)> {
        match &self.state {
            State::Up(keys) => Some((self.destination?, &keys.srtp)),
            State::Connecting { .. } | State::Gone => None,
        }
    }

    /// The next STUN or DTLS datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.outbox.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }
}

/// Turns one RTCP packet into events.
fn on_rtcp(packet: RtcpPacket<'_>, ntp: NtpTime, events: &mut VecDeque<SessionEvent>) {
    match packet {
        RtcpPacket::ReceiverReport(report) => {
            for block in report.reports.iter() {
                let round_trip = (block.last_sr != 0).then(|| {
                    let units = ntp
                        .middle_32()
                        .wrapping_sub(block.last_sr)
                        .wrapping_sub(block.delay_since_last_sr);
                    NtpTime::short_to_span(units)
                });
                events.push_back(SessionEvent::Report {
                    ssrc: block.ssrc,
                    fraction_lost: block.fraction_lost,
                    round_trip: round_trip.filter(|span| *span < Duration::from_secs(60)),
                });
            }
        }
        RtcpPacket::Pli(_) | RtcpPacket::Fir(_) => events.push_back(SessionEvent::KeyFrameWanted),
        RtcpPacket::Nack(nack) => {
            let missing = nack.sequence_numbers().take(MAX_NACKS).collect();
            events.push_back(SessionEvent::Nack(nack.media_ssrc, missing));
        }
        RtcpPacket::Remb(remb) => events.push_back(SessionEvent::Remb(remb.bitrate)),
        RtcpPacket::SenderReport(_)
        | RtcpPacket::SourceDescription(_)
        | RtcpPacket::Goodbye(_)
        | RtcpPacket::Other { .. } => {}
    }
}
