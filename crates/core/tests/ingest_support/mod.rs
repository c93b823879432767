//! A camera and a lossy link in virtual time, against which an ingest is run.
//!
//! The camera does what camera-protocol.md says of a VBC01: IDR every two seconds and on PLI or FIR (once a
//! second at most), retransmission out of one second of history. Everything random comes from a seed.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apiary_core::ingest::{
    BitrateBounds, CameraIngest, FeedbackConfig, IngestConfig, IngestEvent, TrackConfig, TrackKind,
    ViewerPolicy,
};
use apiary_wire::id::ViewerId;
use apiary_wire::rtcp::{RtcpPacket, RtcpWriter, SenderInfo, parse_compound};
use apiary_wire::rtp::RtpPacket;
use apiary_wire::units::{Bitrate, NtpTime, PayloadType, Ssrc};
use smallvec::smallvec;

pub const VIDEO_SSRC: Ssrc = Ssrc(0x1111_1111);
pub const AUDIO_SSRC: Ssrc = Ssrc(0x2222_2222);
pub const OUR_SSRC: Ssrc = Ssrc(0x3333_3333);
pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
pub const BOUNDS: BitrateBounds = BitrateBounds {
    min: Bitrate::from_kbps(500),
    max: Bitrate::from_kbps(5000),
};

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub fn camera_rtp() -> SocketAddr {
    address("192.0.2.7:4000")
}

pub fn camera_rtcp() -> SocketAddr {
    address("192.0.2.7:4001")
}

pub fn camera_audio_rtp() -> SocketAddr {
    address("192.0.2.7:4002")
}

pub fn viewer(number: u8) -> ViewerId {
    format!("00000000-0000-4000-8000-0000000000{number:02x}")
        .parse()
        .expect("a UUID")
}

pub fn payload_type(number: u8) -> PayloadType {
    PayloadType::new(number).expect("at most 127")
}

pub fn config_with(video: Ssrc, audio: Ssrc) -> IngestConfig {
    IngestConfig {
        video: TrackConfig {
            kind: TrackKind::Video,
            ssrc: video,
            payload_types: smallvec![(payload_type(103), 90_000)],
        },
        audio: TrackConfig {
            kind: TrackKind::Audio,
            ssrc: audio,
            payload_types: smallvec![(payload_type(96), 48_000), (payload_type(0), 8_000)],
        },
        feedback: FeedbackConfig {
            sender_ssrc: OUR_SSRC,
            cname: "apiary@test".into(),
        },
        bounds: BOUNDS,
        policy: ViewerPolicy::Median,
    }
}

pub fn config() -> IngestConfig {
    config_with(VIDEO_SSRC, AUDIO_SSRC)
}

pub fn video_packet(sequence_number: u16, timestamp: u32) -> RtpPacket<'static> {
    RtpPacket {
        marker: true,
        payload_type: payload_type(103),
        sequence_number,
        timestamp,
        ssrc: VIDEO_SSRC,
        extension: None,
        payload: &[0x41; 1000],
    }
}

pub fn audio_packet(sequence_number: u16) -> RtpPacket<'static> {
    RtpPacket {
        marker: false,
        payload_type: payload_type(96),
        sequence_number,
        timestamp: u32::from(sequence_number) * 960,
        ssrc: AUDIO_SSRC,
        extension: None,
        payload: &[0xfc; 80],
    }
}

/// SR and SDES of a camera whose clock shows `seconds`.
pub fn sender_report(ssrc: Ssrc, seconds: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let info = SenderInfo {
        ssrc,
        ntp: NtpTime(seconds << 32),
        rtp_time: 9,
        packet_count: 1,
        octet_count: 1,
    };
    RtcpWriter::new(&mut out)
        .sender_report(info, &[])
        .sdes_cname(ssrc, "camera");
    out
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Seeded(pub u64);

impl Seeded {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// One RTCP datagram as the camera got it.
#[derive(Clone, Debug, Default)]
pub struct Feedback {
    pub from: Option<TrackKind>,
    pub remb: Option<(Bitrate, Vec<Ssrc>)>,
    pub nacked: Vec<u16>,
    pub plis: usize,
    pub firs: usize,
    pub report_blocks: usize,
}

/// Reads a datagram of the ingest strictly: it must begin with RR and SDES and be well formed throughout.
pub fn read_feedback(datagram: &[u8]) -> Feedback {
    let packets: Vec<_> = parse_compound(datagram)
        .collect::<Result<_, _>>()
        .expect("well formed");
    assert!(matches!(packets[0], RtcpPacket::ReceiverReport(_)));
    assert!(matches!(packets[1], RtcpPacket::SourceDescription(_)));
    let mut feedback = Feedback::default();
    for packet in packets {
        match packet {
            RtcpPacket::ReceiverReport(report) => {
                assert_eq!(report.ssrc, OUR_SSRC);
                feedback.report_blocks += report.reports.len();
            }
            RtcpPacket::SourceDescription(description) => {
                assert_eq!(description.cname(OUR_SSRC), Some(&b"apiary@test"[..]));
            }
            RtcpPacket::Remb(remb) => {
                feedback.remb = Some((remb.bitrate, remb.ssrcs.iter().collect()));
            }
            RtcpPacket::Nack(nack) => feedback.nacked.extend(nack.sequence_numbers()),
            RtcpPacket::Pli(_) => feedback.plis += 1,
            RtcpPacket::Fir(_) => feedback.firs += 1,
            RtcpPacket::SenderReport(_) | RtcpPacket::Goodbye(_) | RtcpPacket::Other { .. } => {
                panic!("a receiver does not send {packet:?}")
            }
        }
    }
    feedback
}

/// All that is due now, with its destination.
pub fn drain(ingest: &mut CameraIngest, now: Instant) -> Vec<(SocketAddr, Feedback)> {
    let mut sent = Vec::new();
    let mut out = Vec::new();
    while let Some((from, to)) = ingest.poll_transmit(now, &mut out) {
        let mut feedback = read_feedback(&out);
        feedback.from = Some(from);
        sent.push((to, feedback));
        out.clear();
        assert!(sent.len() < 20, "draining ends");
    }
    assert!(out.is_empty(), "nothing is written when nothing is sent");
    sent
}

pub fn events(ingest: &mut CameraIngest) -> Vec<IngestEvent> {
    std::iter::from_fn(|| ingest.poll_event()).collect()
}

/// What the link does to packets, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub loss: u64,
    pub reorder: u64,
    pub duplicate: u64,
    /// Packets lost in a row when one is lost.
    pub burst: u64,
}

/// What happened on the link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Injected {
    pub lost: u64,
    pub reordered: u64,
    pub duplicated: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    timestamp: u32,
    marker: bool,
    starts_idr: bool,
    at: Instant,
}

/// Camera, link and ingest.
pub struct World {
    pub now: Instant,
    pub start: Instant,
    pub ingest: CameraIngest,
    pub injected: Injected,
    pub feedback: Vec<(Instant, Feedback)>,
    pub events: Vec<(Instant, IngestEvent)>,
    /// Numbers that the camera sent first at which time, and which of them arrived.
    pub first_number: u64,
    pub next_number: u64,
    pub arrived: BTreeSet<u64>,
    pub idrs: Vec<Instant>,
    pub answers_nack: bool,
    pub answers_pli: bool,
    /// Frames from one IDR of the camera's own to the next.
    pub idr_every: u32,
    history: VecDeque<Sent>,
    in_flight: BTreeMap<(Instant, u64), Sent>,
    flights: u64,
    random: Seeded,
    faults: Faults,
    burst_left: u64,
    next_frame: Instant,
    frame: u32,
    idr_wanted: bool,
}

const FRAME: Duration = Duration::from_millis(33);
const ONE_WAY: Duration = Duration::from_millis(15);
/// Ten seconds before the wrap.
const FIRST_TIMESTAMP: u32 = u32::MAX - 900_000;
const SENDER_REPORT_EVERY: u32 = 60;

impl World {
    pub fn new(seed: u64, faults: Faults) -> Self {
        let now = Instant::now();
        let mut random = Seeded(seed);
        // Starts shortly before the wrap, so that each run passes it.
        let first_number = 0x1_0000 + 65_000 + random.below(500);
        Self {
            now,
            start: now,
            ingest: CameraIngest::new(config()),
            injected: Injected::default(),
            feedback: Vec::new(),
            events: Vec::new(),
            first_number,
            next_number: first_number,
            arrived: BTreeSet::new(),
            idrs: Vec::new(),
            answers_nack: true,
            answers_pli: true,
            idr_every: 60,
            history: VecDeque::new(),
            in_flight: BTreeMap::new(),
            flights: 0,
            random,
            faults,
            burst_left: 0,
            next_frame: now,
            frame: 0,
            idr_wanted: false,
        }
    }

    /// Runs until `end`, from event to event.
    pub fn run_until(&mut self, end: Instant) {
        while self.now < end {
            let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
            let timeout = self.ingest.poll_timeout().map(|at| at.max(self.now));
            let next = [Some(self.next_frame), arrival, timeout, Some(end)]
                .into_iter()
                .flatten()
                .min()
                .expect("there is an end");
            // A timer that does not move would hang a worker.
            self.now = next.max(self.now);
            if self.now >= self.next_frame {
                self.send_frame();
            }
            self.deliver();
            self.take_feedback();
        }
    }

    /// Packets that have not arrived. Of those sent before the first that did nobody can know.
    pub fn missing(&self) -> Vec<u64> {
        let first = self.arrived.first().copied().unwrap_or(self.next_number);
        (first..self.next_number)
            .filter(|number| !self.arrived.contains(number))
            .collect()
    }

    fn send_frame(&mut self) {
        let recent = self
            .idrs
            .last()
            .is_some_and(|last| self.now - *last < SECOND);
        let idr = self.frame.is_multiple_of(self.idr_every) || (self.idr_wanted && !recent);
        if idr {
            self.idr_wanted = false;
            self.idrs.push(self.now);
        }
        let packets = if idr { 30 } else { 5 };
        for index in 0..packets {
            let sent = Sent {
                number: self.next_number,
                timestamp: FIRST_TIMESTAMP.wrapping_add(self.frame * 3000),
                marker: index == packets - 1,
                starts_idr: idr && index == 0,
                at: self.now,
            };
            self.next_number += 1;
            self.history.push_back(sent);
            self.transmit(sent);
        }
        while self
            .history
            .front()
            .is_some_and(|sent| self.now - sent.at > SECOND)
        {
            self.history.pop_front();
        }
        self.frame += 1;
        if self.frame % SENDER_REPORT_EVERY == 1 {
            let report = sender_report(VIDEO_SSRC, u64::from(self.frame));
            self.ingest
                .handle_rtcp(self.now, TrackKind::Video, camera_rtcp(), &report);
        }
        self.next_frame = self.now + FRAME;
    }

    fn transmit(&mut self, sent: Sent) {
        if self.burst_left > 0 || self.random.chance(self.faults.loss) {
            self.burst_left = match self.burst_left {
                0 => self.faults.burst.saturating_sub(1),
                left => left - 1,
            };
            self.injected.lost += 1;
            return;
        }
        let mut at = self.now + ONE_WAY;
        if self.random.chance(self.faults.reorder) {
            self.injected.reordered += 1;
            at += Duration::from_micros(self.random.below(8000));
        }
        self.flights += 1;
        self.in_flight.insert((at, self.flights), sent);
        if self.random.chance(self.faults.duplicate) {
            self.injected.duplicated += 1;
            self.flights += 1;
            self.in_flight.insert((at + 2 * MS, self.flights), sent);
        }
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.in_flight.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let sent = entry.remove();
            let mut packet = video_packet(sent.number as u16, sent.timestamp);
            packet.marker = sent.marker;
            let result = self
                .ingest
                .handle_rtp(self.now, TrackKind::Video, camera_rtp(), &packet);
            if let Ok(accepted) = result {
                assert_eq!(accepted.ext_seq as u16, sent.number as u16);
                assert!(self.arrived.insert(sent.number), "delivered twice");
                if sent.starts_idr {
                    self.ingest.on_key_frame(accepted.ext_seq);
                }
            }
        }
    }

    fn take_feedback(&mut self) {
        for (to, feedback) in drain(&mut self.ingest, self.now) {
            assert_eq!(to, camera_rtcp());
            if self.answers_nack {
                for number in &feedback.nacked {
                    let found = self
                        .history
                        .iter()
                        .find(|sent| sent.number as u16 == *number)
                        .copied();
                    if let Some(sent) = found {
                        self.retransmit(sent);
                    }
                }
            }
            if self.answers_pli && feedback.plis + feedback.firs > 0 {
                self.idr_wanted = true;
            }
            self.feedback.push((self.now, feedback));
        }
        for event in events(&mut self.ingest) {
            self.events.push((self.now, event));
        }
    }

    /// The NACK's way there is taken into account here: the packet is back after a whole round trip.
    fn retransmit(&mut self, sent: Sent) {
        if self.random.chance(self.faults.loss) {
            self.injected.lost += 1;
            return;
        }
        self.flights += 1;
        self.in_flight
            .insert((self.now + 2 * ONE_WAY, self.flights), sent);
    }
}
