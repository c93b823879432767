//! What a WebRtcEndpoint is reached by: its sockets, ICE and DTLS.

use std::time::Instant;

use apiary_wire::sdp::{Document, MediaSection, Setup};
use str0m::crypto::Fingerprint;
use str0m::media::MediaKind;
use str0m::rtp::Ssrc;
use str0m::{Candidate, IceCreds, Rtc};
use tokio::net::UdpSocket;

use super::formats::Formats;
use super::no_socket;
use crate::fault::RpcFault;
use crate::media::{Medium, Peer, PeerTrack, udp};
use crate::options::Options;
use crate::sdp::{self, Candidates};

/// Sockets and credentials, which offer and answer name.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) candidates: Candidates,
    cname: String,
    ice: IceCreds,
    fingerprint: String,
    /// Nobody reads it: it keeps a port from being anybody's.
    _silent: UdpSocket,
    /// Until the task has them.
    own: Option<(Rtc, UdpSocket)>,
    pub(super) number: u64,
}

/// Which description was this side's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Offerer,
    Answerer,
}

impl Transport {
    pub(super) fn open(
        options: &Options,
        number: u64,
        formats: &Formats,
    ) -> Result<Self, RpcFault> {
        let bind = || udp(options.address, 0).map_err(|error| no_socket(&error));
        let (socket, silent) = (bind()?, bind()?);
        let port = |socket: &UdpSocket| {
            let address = socket.local_addr().map_err(|error| no_socket(&error))?;
            Ok::<_, RpcFault>(address.port())
        };
        let mut rtc = formats.config().build(Instant::now());
        let address = (options.address, port(&socket)?).into();
        if let Ok(candidate) = Candidate::host(address, "udp") {
            rtc.add_local_candidate(candidate);
        }
        let ice = rtc.direct_api().local_ice_credentials();
        let fingerprint = rtc.direct_api().local_dtls_fingerprint().to_string();
        Ok(Self {
            candidates: Candidates {
                address: options.advertised(),
                port: port(&socket)?,
                silent_port: port(&silent)?,
            },
            cname: sdp::cname(),
            ice,
            fingerprint,
            _silent: silent,
            own: Some((rtc, socket)),
            number,
        })
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ice-ufrag", self.ice.ufrag.clone()),
            ("ice-pwd", self.ice.pass.clone()),
            ("fingerprint", self.fingerprint.clone()),
        ]
    }

    pub(super) fn own(&self, ssrc: Ssrc) -> sdp::Own<'_> {
        sdp::Own {
            // As a place for one that is not known yet.
            port: 1,
            rtcp: "9 IN IP4 0.0.0.0".to_owned(),
            ssrc: *ssrc,
            cname: &self.cname,
            rtcp_mux: true,
            transport: self.attributes(),
        }
    }

    pub(super) fn data_channel_offer(&self) -> MediaSection {
        let formats = ["webrtc-datachannel"];
        let mut offer = MediaSection::new("application", 1, "UDP/DTLS/SCTP", formats);
        offer
            .push_attribute("setup", "actpass")
            .push_attribute("sctp-port", 5_000)
            .push_attribute("mid", "application0");
        for (name, value) in self.attributes() {
            offer.push_attribute(name, value);
        }
        offer
    }

    /// The offer with what gathering has found.
    pub(super) fn complete(&self, offer: &mut Document) {
        let (address, port) = (self.candidates.address, self.candidates.silent_port);
        let mut completed = Document::new();
        for line in offer.lines().iter().filter(|line| line.kind() != 'c') {
            completed.push_line(line.kind(), line.value());
        }
        for media in offer.media() {
            let mut section =
                MediaSection::new(media.kind_name(), port, media.proto(), media.formats());
            section.push_line('c', format_args!("IN IP4 {address}"));
            for line in media.lines() {
                section.push_line(line.kind(), line.value());
            }
            section.set_attribute("rtcp", format_args!("{port} IN IP4 {address}"));
            for candidate in self.candidates.all() {
                section.push_line('a', candidate);
            }
            completed.push_media(section);
        }
        *offer = completed;
    }

    /// Makes the peer ready for the other side, if that has said who it is.
    pub(super) fn connect(
        &mut self,
        remote: &Document,
        tracks: Vec<PeerTrack>,
        role: Role,
    ) -> Option<Peer> {
        let media = remote.media().iter().find(|media| media.port() != 0)?;
        let ice = IceCreds {
            ufrag: remote.ice_ufrag_of(media)?.to_owned(),
            pass: remote.ice_pwd_of(media)?.to_owned(),
        };
        let print = remote.fingerprint_of(media)?;
        let is_client = match (role, remote.setup_of(media)) {
            (Role::Answerer, Some(Setup::Active)) => false,
            (Role::Answerer, _) => true,
            (Role::Offerer, setup) => setup == Some(Setup::Passive),
        };
        let (mut rtc, socket) = self.own.take()?;
        let mut api = rtc.direct_api();
        api.set_ice_controlling(role == Role::Offerer);
        api.set_remote_ice_credentials(ice);
        api.set_remote_fingerprint(Fingerprint {
            hash_func: print.hash,
            bytes: print.bytes,
        });
        api.start_dtls(is_client).ok()?;
        for track in &tracks {
            let kind = match track.medium {
                Medium::Audio => MediaKind::Audio,
                Medium::Video => MediaKind::Video,
            };
            api.declare_media(track.mid, kind);
            api.declare_stream_tx(track.ssrc, None, track.mid, None);
        }
        for candidate in media.candidates() {
            let line = format!("candidate:{candidate}");
            if let Ok(candidate) = Candidate::from_sdp_string(&line) {
                rtc.add_remote_candidate(candidate);
            }
        }
        Some(Peer {
            rtc,
            socket,
            tracks,
            candidate: self.candidates.served(),
            number: self.number,
        })
    }
}
