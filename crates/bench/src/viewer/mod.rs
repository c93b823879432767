//! One viewer: ICE and DTLS as a browser does them, and packets that are counted by their clear header.
//! Those of the sample open everything as well. Sockets are read elsewhere, many at a time.

mod gaps;
mod header;
mod offer;
mod picture;
mod reporter;
mod srtp;
mod transport;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use apiary_wire::Ssrc;
use apiary_wire::demux::{Protocol, classify};
use dimpl::SrtpProfile;
use tokio::sync::oneshot;

use crate::error::BenchError;

use gaps::Gaps;
use header::ClearHeader;
pub(crate) use offer::Answer;
pub(crate) use picture::Stamp;
use picture::{Pictures, Progress};
use reporter::Reporter;
use srtp::SrtpOpener;
pub(crate) use transport::{Identity, Seat};
use transport::{Transport, TransportEvent};

/// When a picture reached a viewer, in nanoseconds since 1970 by the kernel's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) timestamp: u32,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

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
}

/// How a viewer behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// It opens what it receives.
    pub(crate) sampled: bool,
    /// Time between two of its RTCP reports; `None`: it sends none.
    pub(crate) report_interval: Option<Duration>,
}

/// The milestones somebody waits for.
#[derive(Default)]
pub(crate) struct Milestones {
    /// The first RTP packet.
    pub(crate) first_packet: Option<oneshot::Sender<Instant>>,
    /// The first whole IDR; only in the sample.
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
    tracks: HashMap<u32, Gaps>,
    octets: u64,
    arrivals: Vec<Arrival>,
    milestones: Milestones,
}

/// What a viewer of the sample has more.
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
            tracks: HashMap::new(),
            octets: 0,
            arrivals: Vec::new(),
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

    /// Takes a datagram; `at_ns` is when the kernel received it.
    pub(crate) fn handle_datagram(&mut self, source: SocketAddr, datagram: &[u8], at_ns: u64) {
        self.octets += datagram.len() as u64;
        match classify(datagram) {
            Protocol::Rtp => self.on_rtp(datagram, at_ns),
            Protocol::Stun => self.transport.handle_stun(source, datagram),
            Protocol::Dtls => self.transport.handle_dtls(datagram),
            Protocol::Rtcp | Protocol::Unknown => return,
        }
        self.take_events();
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.transport.next_timeout().is_some_and(|at| at <= now) {
            self.transport.handle_timeout(now);
            self.take_events();
        }
        let received = self
            .tracks
            .iter()
            .map(|(ssrc, gaps)| (Ssrc(*ssrc), gaps.highest_extended()));
        let report = self
            .reporter
            .as_mut()
            .and_then(|reporter| reporter.poll(now, received));
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
            packets: self.tracks.values().map(Gaps::received).sum(),
            octets: self.octets,
            lost: self.tracks.values().map(Gaps::lost).sum(),
            pictures: opener.map_or(0, |opener| opener.pictures.complete()),
            broken: opener.map_or(0, |opener| opener.pictures.broken() + opener.unopened),
        }
    }

    /// Arrivals and stamps since the last call.
    pub(crate) fn take_timeline(&mut self) -> (Vec<Arrival>, Vec<Stamp>) {
        let stamps = self
            .opener
            .as_mut()
            .map_or_else(Vec::new, |opener| opener.pictures.take_stamps());
        (std::mem::take(&mut self.arrivals), stamps)
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
        if self.habits.sampled {
            self.opener = Some(Box::new(Opener {
                srtp,
                pictures: Pictures::default(),
                unopened: 0,
            }));
        }
        // Any SSRC will do that is not the server's; the port differs between viewers.
        let ssrc = Ssrc(u32::from(self.transport.local().port()));
        self.reporter = self
            .habits
            .report_interval
            .map(|interval| Reporter::new(sealer, ssrc, interval, Instant::now()));
    }

    fn on_rtp(&mut self, packet: &[u8], at_ns: u64) {
        let Some(header) = ClearHeader::parse(packet) else {
            return;
        };
        if let Some(waiting) = self.milestones.first_packet.take() {
            // Whoever waited may have given up.
            let _ = waiting.send(Instant::now());
        }
        self.tracks
            .entry(header.ssrc)
            .and_modify(|gaps| gaps.on_packet(header.sequence_number))
            .or_insert_with(|| Gaps::new(header.sequence_number));
        if header.payload_type != self.video_payload_type {
            return;
        }
        match self.arrivals.last_mut() {
            Some(last) if last.timestamp == header.timestamp => last.last_ns = at_ns,
            Some(_) | None => self.arrivals.push(Arrival {
                timestamp: header.timestamp,
                first_ns: at_ns,
                last_ns: at_ns,
            }),
        }
        self.open(&header, packet);
    }

    fn open(&mut self, header: &ClearHeader, packet: &[u8]) {
        let Some(opener) = &mut self.opener else {
            return;
        };
        let Some(payload) = opener.srtp.open(header, packet) else {
            opener.unopened += 1;
            return;
        };
        let progress = opener.pictures.push(header, &payload);
        if progress == (Progress::Picture { idr: true })
            && let Some(waiting) = self.milestones.first_idr.take()
        {
            let _ = waiting.send(Instant::now());
        }
    }

    fn fail(&mut self, reason: String) {
        if let Some(waiting) = self.milestones.failed.take() {
            let _ = waiting.send(reason);
        }
    }
}
