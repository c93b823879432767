//! A viewer's session against a browser's half made of the same protocols, in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiary_core::viewer::offer::{IceCredentials, read_offer};
use apiary_core::viewer::session::{
    CONSENT_TIMEOUT, SETUP_TIMEOUT, Session, SessionConfig, SessionEnd, SessionEvent,
};
use aws_lc_rs::digest::{SHA256, digest};
use dimpl::{Dtls, DtlsCertificate, Output};
use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceCreds, Protocol};

const SERVER: &str = "192.0.2.1:8189";
const AT_HOME: &str = "198.51.100.7:50000";
const ON_THE_ROAD: &str = "203.0.113.9:60000";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn credentials(side: &str) -> IceCredentials {
    IceCredentials {
        ufrag: format!("{side}ufrag"),
        pwd: format!("{side}0123456789abcdef0123456789"),
    }
}

fn creds(ice: IceCredentials) -> IceCreds {
    IceCreds {
        ufrag: ice.ufrag,
        pass: ice.pwd,
    }
}

fn certificate() -> DtlsCertificate {
    dimpl::certificate::generate_self_signed_certificate().unwrap()
}

/// An offer for sound alone, with the fingerprint of `certificate`.
fn offer(certificate: &DtlsCertificate) -> String {
    let octets: Vec<String> = digest(&SHA256, &certificate.certificate)
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    let ice = credentials("browser");
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n\
         a=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
         a=fingerprint:sha-256 {}\r\na=setup:actpass\r\n",
        ice.ufrag,
        ice.pwd,
        octets.join(":")
    )
}

/// The browser's half and the session under test.
struct Pair {
    now: Instant,
    session: Session,
    ice: IceAgent,
    dtls: Dtls,
    events: Vec<SessionEvent>,
}

impl Pair {
    /// `offered` is whose fingerprint the offer has, `used` what DTLS shows.
    fn new(offered: &DtlsCertificate, used: DtlsCertificate) -> Self {
        let now = Instant::now();
        let offer = read_offer(&offer(offered)).unwrap();
        let config = |cookie| {
            Arc::new(
                dimpl::Config::builder()
                    .use_server_cookie(cookie)
                    .build()
                    .unwrap(),
            )
        };
        let session = Session::new(
            now,
            SessionConfig {
                local: address(SERVER),
                local_ice: credentials("server"),
                remote_ice: offer.ice,
                fingerprint: offer.fingerprint,
                certificate: certificate(),
                dtls: config(false),
                takes_voice: true,
            },
        );
        let mut dtls = Dtls::new_12(config(true), used, now);
        dtls.set_active(true);
        let mut pair = Self {
            now,
            session,
            ice: agent(AT_HOME, now),
            dtls,
            events: Vec::new(),
        };
        pair.dtls.handle_timeout(now).unwrap();
        pair
    }

    fn connected() -> Self {
        let certificate = certificate();
        let mut pair = Self::new(&certificate.clone(), certificate);
        pair.run(Duration::from_secs(3));
        assert!(
            pair.events.contains(&SessionEvent::Connected),
            "{:?}",
            pair.events
        );
        pair
    }

    /// Both sides for a while, in steps of 20 ms.
    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.now += Duration::from_millis(20);
            self.ice.handle_timeout(self.now);
            while let Some(check) = self.ice.poll_transmit() {
                let message = StunMessage::parse(&check.contents).unwrap();
                self.session.handle_stun(self.now, check.source, message);
            }
            self.dtls.handle_timeout(self.now).unwrap();
            self.send_dtls();
            self.step_session();
        }
    }

    fn send_dtls(&mut self) {
        let mut buffer = [0; 2048];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => {
                    self.session.handle_dtls(self.now, address(AT_HOME), packet)
                }
                Output::Timeout(_) => return,
                _ => {}
            }
        }
    }

    /// The session's timers, what it sends and what it tells.
    fn step_session(&mut self) {
        self.session.handle_timeout(self.now);
        while let Some((destination, datagram)) = self.session.poll_transmit() {
            match StunMessage::parse(&datagram) {
                Ok(message) => {
                    let packet = StunPacket {
                        proto: Protocol::Udp,
                        source: address(SERVER),
                        destination,
                        message,
                    };
                    self.ice.handle_packet(self.now, packet);
                }
                Err(_) => drop(self.dtls.handle_packet(&datagram)),
            }
        }
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
    }

    fn destination(&self) -> Option<SocketAddr> {
        self.session.outgoing().map(|(destination, _)| destination)
    }

    fn gone(&self) -> Option<&SessionEnd> {
        self.events.iter().find_map(|event| match event {
            SessionEvent::Gone(end) => Some(end),
            _ => None,
        })
    }
}

/// A controlling agent that checks the server from this address.
fn agent(from: &str, now: Instant) -> IceAgent {
    let mut ice = IceAgent::new(creds(credentials("browser")));
    ice.set_controlling(true);
    ice.set_remote_credentials(creds(credentials("server")));
    ice.add_local_candidate(Candidate::host(address(from), Protocol::Udp).unwrap());
    ice.add_remote_candidate(Candidate::host(address(SERVER), Protocol::Udp).unwrap());
    ice.handle_timeout(now);
    ice
}

#[test]
fn a_viewer_that_goes_on_checking_stays() {
    let mut pair = Pair::connected();
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.gone(), None);
    assert_eq!(pair.destination(), Some(address(AT_HOME)));
}

#[test]
fn h25_sending_stops_within_ten_seconds_of_the_last_check() {
    let mut pair = Pair::connected();
    let silent_since = pair.now;
    while pair.gone().is_none() {
        pair.now += Duration::from_millis(200);
        pair.step_session();
        assert!(
            pair.now - silent_since <= Duration::from_secs(10),
            "still sending"
        );
    }
    assert_eq!(pair.gone(), Some(&SessionEnd::Expired));
    assert!(
        pair.now - silent_since >= CONSENT_TIMEOUT - Duration::from_secs(4),
        "too early"
    );
    assert_eq!(pair.destination(), None);
}

#[test]
fn f02_media_follows_the_viewer_to_its_new_address() {
    let mut pair = Pair::connected();
    pair.ice = agent(ON_THE_ROAD, pair.now);
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.destination(), Some(address(ON_THE_ROAD)));
    assert_eq!(pair.gone(), None);
}

#[test]
fn h24_a_check_without_our_password_moves_nothing() {
    let mut pair = Pair::connected();
    let mut forger = agent(ON_THE_ROAD, pair.now);
    let mut wrong = creds(credentials("server"));
    wrong.pass = "not-the-password-of-the-server".to_owned();
    forger.set_remote_credentials(wrong);
    while forger.poll_transmit().is_some() {} // what it prepared with the right one
    for _ in 0..100 {
        pair.now += Duration::from_millis(20);
        forger.handle_timeout(pair.now);
        while let Some(check) = forger.poll_transmit() {
            let message = StunMessage::parse(&check.contents).unwrap();
            pair.session.handle_stun(pair.now, check.source, message);
        }
        assert_eq!(pair.session.poll_transmit(), None, "no answer either");
    }
    assert_eq!(pair.destination(), Some(address(AT_HOME)));
}

#[test]
fn h16_another_certificate_than_the_offered_one_ends_the_session() {
    let mut pair = Pair::new(&certificate(), certificate());
    pair.run(Duration::from_secs(1));
    assert!(
        matches!(pair.gone(), Some(SessionEnd::Failed(_))),
        "{:?}",
        pair.events
    );
    assert_eq!(pair.destination(), None);
}

#[test]
fn who_never_connects_is_forgotten() {
    let certificate = certificate();
    let mut pair = Pair::new(&certificate.clone(), certificate);
    pair.now += SETUP_TIMEOUT + Duration::from_millis(1);
    pair.step_session();
    assert_eq!(pair.gone(), Some(&SessionEnd::NeverConnected));
}
