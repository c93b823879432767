//! One viewer: ICE and DTLS as a browser does them, and packets that are counted by their clear header.
//! Those of the sample open everything as well. Sockets are read elsewhere, many at a time.

mod gaps;
pub(crate) mod guest;
mod header;
mod latency;
mod ledger;
pub(crate) mod mender;
mod nack;
mod offer;
mod picture;
mod reorder;
mod reporter;
mod srtp;
mod tracks;
mod transport;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use apiary_wire::Ssrc;
use apiary_wire::demux::{Protocol, classify};
use dimpl::SrtpProfile;
use tokio::sync::oneshot;

use crate::error::BenchError;
use crate::sys;

pub(crate) use header::ClearHeader;
pub(crate) use latency::{Delays, Sighting, Sightings};
pub(crate) use offer::Answer;
use picture::{Pictures, Progress};
use reporter::Reporter;
use srtp::SrtpOpener;
use tracks::Tracks;
pub(crate) use transport::{Identity, Seat};
use transport::{Transport, TransportEvent};

/// What a viewer has counted so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ViewerCounts {
    /// RTP packets, each counted once.
    pub(crate) packets: u64,
    /// Bytes of UDP payload of everything.
    pub(crate) octets: u64,
    /// RTP packets that did not come.
    pub(crate) lost: u64,
    /// Whole pictures, of those who open packets.
    pub(crate) pictures: u64,
    /// Packets that could not be opened or used, of those who try.
    pub(crate) broken: u64,
    /// Datagrams that its own socket had no room for: lost by this program, not by the server.
    pub(crate) overflowed: u64,
}

/// Which packets a viewer opens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Opens {
    /// It counts by the clear header.
    #[default]
    Nothing,
    /// All until it has a whole IDR.
    UntilFirstIdr,
    /// All, and checks that pictures are complete.
    Everything,
}

/// How a viewer behaves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Habits {
    /// The stream it watches, by its place in the list of cameras.
    pub(crate) stream: usize,
    /// What it opens.
    pub(crate) opens: Opens,
    /// It notes when packets come.
    pub(crate) timed: bool,
    /// Time between two of its RTCP reports; `None`: it sends none.
    pub(crate) report_interval: Option<Duration>,
}

/// The milestones somebody waits for.
#[derive(Default)]
pub(crate) struct Milestones {
    /// DTLS is through.
    pub(crate) keys: Option<oneshot::Sender<Instant>>,
    /// The first RTP packet.
    pub(crate) first_packet: Option<oneshot::Sender<Instant>>,
    /// The first whole IDR; only of those who open packets.
    pub(crate) first_idr: Option<oneshot::Sender<Instant>>,
    /// Something broke before the keys were there.
    pub(crate) failed: Option<oneshot::Sender<String>>,
}

/// A viewer that watches, or is about to.
pub(crate) struct LightViewer {
    transport: Transport,
    habits: Habits,
    video_payload_type: u8,
    opener: Option<Box<Opener>>,
    reporter: Option<Reporter>,
    tracks: Tracks,
    octets: u64,
    /// RTP time of the picture that comes in.
    picture: Option<u32>,
    milestones: Milestones,
}

/// What a viewer has more that opens packets.
struct Opener {
    srtp: SrtpOpener,
    pictures: Pictures,
    unopened: u64,
}

impl LightViewer {
    /// A viewer with its answer.
    pub(crate) fn new(
        seat: Seat,
        answer: &Answer,
        identity: &Identity,
        habits: Habits,
        milestones: Milestones,
    ) -> Result<Self, BenchError> {
        Ok(Self {
            transport: Transport::new(seat, answer, identity)?,
            habits,
            video_payload_type: answer.video_payload_type,
            opener: None,
            reporter: None,
            tracks: Tracks::default(),
            octets: 0,
            picture: None,
            milestones,
        })
    }

    /// Its socket, to wait on and to read from.
    pub(crate) fn socket(&self) -> &UdpSocket {
        self.transport.socket()
    }

    /// When [`LightViewer::handle_timeout`] wants to be called.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let report = self.reporter.as_ref().map(Reporter::next);
        let transport = self.transport.next_timeout();
        [report, transport].into_iter().flatten().min()
    }

    /// Whether receive times are wanted with its datagrams.
    pub(crate) fn is_timed(&self) -> bool {
        self.habits.timed
    }

    /// Takes a datagram; `at_ns` is when the kernel received it. Says whether
    /// [`LightViewer::next_timeout`] may have changed.
    pub(crate) fn handle_datagram(
        &mut self,
        source: SocketAddr,
        datagram: &[u8],
        at_ns: Option<u64>,
        sightings: &mut Sightings,
    ) -> bool {
        self.octets += datagram.len() as u64;
        match classify(datagram) {
            Protocol::Rtp => {
                self.on_rtp(datagram, at_ns, sightings);
                return false;
            }
            Protocol::Stun => self.transport.handle_stun(source, datagram),
            Protocol::Dtls => self.transport.handle_dtls(datagram),
            Protocol::Rtcp | Protocol::Unknown => return false,
        }
        self.take_events();
        true
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.transport.next_timeout().is_some_and(|at| at <= now) {
            self.transport.handle_timeout(now);
            self.take_events();
        }
        let report = self
            .reporter
            .as_mut()
            .and_then(|reporter| reporter.poll(now, self.tracks.highest()));
        if let Some(report) = report {
            self.transport.send(&report);
        }
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self) {
        self.transport.close();
    }

    /// What has been counted.
    pub(crate) fn counts(&self) -> ViewerCounts {
        let opener = self.opener.as_deref();
        ViewerCounts {
            packets: self.tracks.received(),
            octets: self.octets,
            lost: self.tracks.lost(),
            pictures: opener.map_or(0, |opener| opener.pictures.complete()),
            broken: opener.map_or(0, |opener| opener.pictures.broken() + opener.unopened),
            // Without an answer nothing is known to be lost here.
            overflowed: sys::socket_drops(self.socket()).unwrap_or(0),
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.transport.poll_event() {
            match event {
                TransportEvent::Keys(exported, profile) => self.on_keys(&exported, profile),
                TransportEvent::Failed(reason) => self.fail(reason),
            }
        }
    }

    fn on_keys(&mut self, exported: &[u8], profile: SrtpProfile) {
        let Some((srtp, sealer)) = srtp::session(exported, profile) else {
            self.fail(format!("SRTP profile {profile:?}"));
            return;
        };
        if self.habits.opens != Opens::Nothing {
            self.opener = Some(Box::new(Opener {
                srtp,
                pictures: Pictures::default(),
                unopened: 0,
            }));
        }
        let now = Instant::now();
        if let Some(waiting) = self.milestones.keys.take() {
            // Whoever waited may have given up.
            let _ = waiting.send(now);
        }
        // Any SSRC will do that is not the server's; the port differs between viewers.
        let port = self.transport.local().port();
        self.reporter = self
            .habits
            .report_interval
            .map(|interval| Reporter::new(sealer, Ssrc(u32::from(port)), interval, now));
    }

    fn on_rtp(&mut self, packet: &[u8], at_ns: Option<u64>, sightings: &mut Sightings) {
        let Some(header) = ClearHeader::parse(packet) else {
            return;
        };
        if let Some(waiting) = self.milestones.first_packet.take() {
            let _ = waiting.send(Instant::now());
        }
        self.tracks.on_packet(header.ssrc, header.sequence_number);
        if header.payload_type != self.video_payload_type {
            return;
        }
        let first = self.picture.replace(header.timestamp) != Some(header.timestamp);
        if let Some(at_ns) = at_ns {
            sightings.see(Sighting {
                stream: self.habits.stream,
                timestamp: header.timestamp,
                at_ns,
                first,
                last: header.marker,
            });
        }
        self.open(&header, packet, sightings);
    }

    fn open(&mut self, header: &ClearHeader, packet: &[u8], sightings: &mut Sightings) {
        let Some(opener) = &mut self.opener else {
            return;
        };
        let Some(payload) = opener.srtp.open(header, packet) else {
            opener.unopened += 1;
            return;
        };
        let found = opener.pictures.push(header, &payload);
        if let Some(stamp) = found.stamp {
            sightings.stamp(self.habits.stream, stamp);
        }
        if found.progress == (Progress::Picture { idr: true }) {
            if let Some(waiting) = self.milestones.first_idr.take() {
                let _ = waiting.send(Instant::now());
            }
            if self.habits.opens == Opens::UntilFirstIdr {
                self.opener = None;
            }
        }
    }

    fn fail(&mut self, reason: String) {
        if let Some(waiting) = self.milestones.failed.take() {
            let _ = waiting.send(reason);
        }
    }
}
