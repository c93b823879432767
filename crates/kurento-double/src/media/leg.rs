//! The media of one RtpEndpoint: RTP in, RTCP back, and packets on to the viewers.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::{Duration, Instant};

use apiary_wire::demux::{Protocol, classify};
use apiary_wire::h264;
use apiary_wire::rtcp::{RtcpPacket, RtcpWriter, parse_compound};
use apiary_wire::rtp::RtpPacket;
use apiary_wire::units::{Bitrate, PayloadType, Ssrc};
use serde_json::json;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::MissedTickBehavior;

use super::estimate::Estimate;
use super::facts::SharedFacts;
use super::flow::Flow;
use super::ports::PortPair;
use super::reception::Reception;
use super::wiring::{Codec, Forwarded, Medium, Sink};
use crate::server::Voice;

/// Real ones are 0.25 to 0.85 s apart, 0.5 s on the average.
const RTCP_INTERVAL: Duration = Duration::from_millis(500);
const MAX_DATAGRAM: usize = 2_048;

#[derive(Debug)]
pub(crate) enum LegOrder {
    Negotiated(Box<Leg>),
    AddSink(Sink),
    RemoveSink(String),
    /// How much a viewer lets be asked for.
    Ceiling {
        viewer: String,
        bps: u64,
    },
    /// A viewer can be shown nothing before the next IDR.
    KeyFrame,
    Close,
}

/// What was negotiated.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) sections: Vec<Section>,
    pub(crate) cname: String,
    pub(crate) cap_bps: Option<u64>,
}

/// One media section of it.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) medium: Medium,
    pub(crate) ports: PortPair,
    pub(crate) payload_types: Vec<PayloadType>,
    pub(crate) codec: Option<Codec>,
    pub(crate) clock_rate: u32,
    pub(crate) own_ssrc: Ssrc,
    /// The `a=ssrc` of the offer.
    pub(crate) offered_ssrc: Option<Ssrc>,
    /// Where RTCP goes; with `a=direction:active` not known before a report has come.
    pub(crate) rtcp_to: Option<SocketAddr>,
    pub(crate) remb: bool,
    pub(crate) key_frames: KeyFrames,
}

/// How a key frame is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFrames {
    Fir,
    Pli,
    Never,
}

/// A section at work.
struct Line {
    section: Section,
    reception: Option<Reception>,
    flow: Flow,
    last_timestamp: Option<u32>,
    /// An IDR is wanted.
    wants_idr: bool,
    fir_sequence: u8,
}

struct Running {
    lines: Vec<Line>,
    cname: String,
    estimate: Estimate,
    sinks: Vec<Sink>,
    ceilings: BTreeMap<String, u64>,
    voice: Voice,
    facts: SharedFacts,
    wild: bool,
}

pub(crate) async fn run(
    mut orders: UnboundedReceiver<LegOrder>,
    voice: Voice,
    facts: SharedFacts,
    wild: bool,
) {
    let mut running = Running {
        lines: Vec::new(),
        cname: String::new(),
        estimate: Estimate::new(wild, None),
        sinks: Vec::new(),
        ceilings: BTreeMap::new(),
        voice,
        facts,
        wild,
    };
    let mut rtcp = tokio::time::interval(RTCP_INTERVAL);
    rtcp.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = [0; MAX_DATAGRAM];
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None | Some(LegOrder::Close) => return,
                Some(order) => running.obey(order),
            },
            (at, len, from) = receive(&running.lines, &mut buffer) => {
                running.datagram(at, &buffer[..len], from);
            }
            _ = rtcp.tick(), if !running.lines.is_empty() => running.tick(),
        }
    }
}

/// The next datagram on any of the sockets, with the number of its section.
async fn receive(lines: &[Line], buffer: &mut [u8]) -> (usize, usize, SocketAddr) {
    poll_fn(|context| {
        for (at, line) in lines.iter().enumerate() {
            for socket in [&line.section.ports.rtp, &line.section.ports.rtcp] {
                let mut read = ReadBuf::new(buffer);
                while let Poll::Ready(received) = socket.poll_recv_from(context, &mut read) {
                    // An error tells of what was sent before, and the next datagram may be there already.
                    if let Ok(from) = received {
                        return Poll::Ready((at, read.filled().len(), from));
                    }
                }
            }
        }
        Poll::Pending
    })
    .await
}

impl Running {
    fn obey(&mut self, order: LegOrder) {
        match order {
            LegOrder::Negotiated(leg) => {
                self.cname = leg.cname;
                self.estimate = Estimate::new(self.wild, leg.cap_bps);
                self.lines = leg.sections.into_iter().map(Line::new).collect();
            }
            LegOrder::AddSink(sink) => {
                self.sinks.retain(|known| known.id != sink.id);
                self.sinks.push(sink);
            }
            LegOrder::RemoveSink(id) => {
                self.sinks.retain(|known| known.id != id);
                self.ceilings.remove(&id);
            }
            LegOrder::Ceiling { viewer, bps } => {
                self.ceilings.insert(viewer, bps);
            }
            LegOrder::KeyFrame => {
                let video = |line: &&mut Line| line.section.medium == Medium::Video;
                if let Some(line) = self.lines.iter_mut().find(video) {
                    line.wants_idr = line.section.codec == Some(Codec::H264);
                }
            }
            LegOrder::Close => {}
        }
    }

    fn datagram(&mut self, at: usize, datagram: &[u8], from: SocketAddr) {
        match classify(datagram) {
            Protocol::Rtp => {
                if let Ok(packet) = RtpPacket::parse(datagram) {
                    self.rtp(at, &packet, datagram.len());
                }
            }
            // On whichever of the two ports it comes.
            Protocol::Rtcp => self.lines[at].rtcp(datagram, from),
            Protocol::Stun | Protocol::Dtls | Protocol::Unknown => {}
        }
    }

    fn rtp(&mut self, at: usize, packet: &RtpPacket<'_>, len: usize) {
        let line = &mut self.lines[at];
        let section = &line.section;
        if !section.payload_types.contains(&packet.payload_type) {
            return;
        }
        let (medium, codec) = (section.medium, section.codec);
        let now = Instant::now();
        line.receive(packet, now);
        let mut facts = self.facts.lock();
        let inbound = facts.inbound(medium, packet.ssrc.0);
        inbound.packets += 1;
        inbound.bytes += len as u64;
        if let Some(reception) = &line.reception {
            reception.note(inbound);
        }
        let first_media = !std::mem::replace(&mut facts.media_connected, true);
        if !facts.flowing_out.contains(&medium) {
            facts.flowing_out.push(medium);
        }
        drop(facts);
        if first_media {
            let data = json!({ "oldState": "DISCONNECTED", "newState": "CONNECTED" });
            self.voice.emit("MediaStateChanged", data);
        }
        line.flow.packet(now, &self.voice);
        line.ask_for_idr(packet, &self.facts, &self.cname);
        if medium == Medium::Video {
            self.estimate.packet(now, len);
        }
        let forwarded = Forwarded {
            medium,
            codec,
            ssrc: packet.ssrc.0,
            marker: packet.marker,
            sequence_number: packet.sequence_number,
            timestamp: packet.timestamp,
            payload: packet.payload.into(),
        };
        for sink in self
            .sinks
            .iter()
            .filter(|sink| sink.media.contains(&medium))
        {
            // One that is gone is removed by an order.
            let _ = sink
                .mailbox
                .send(super::PeerOrder::Media(forwarded.clone()));
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for line in &mut self.lines {
            if line.flow.check(now, &self.voice) {
                let medium = line.section.medium;
                self.facts
                    .lock()
                    .flowing_out
                    .retain(|flowing| *flowing != medium);
            }
            let Some(to) = line.section.rtcp_to else {
                continue;
            };
            let mut out = Vec::new();
            line.write_report(&mut out, &self.cname, now);
            if let Some(about) = line.remb_target()
                && let Some(own) = self.estimate.next_bps(now)
            {
                let bps = self.ceilings.values().copied().fold(own, u64::min);
                let sender = line.section.own_ssrc;
                RtcpWriter::new(&mut out).remb(sender, Bitrate::from_bps(bps), &[about]);
                line.note_remb(bps, &self.facts);
            }
            line.send(&out, to);
        }
    }
}

impl Line {
    fn new(section: Section) -> Self {
        Self {
            flow: Flow::out(section.medium),
            section,
            reception: None,
            last_timestamp: None,
            wants_idr: false,
            fir_sequence: 0,
        }
    }

    fn receive(&mut self, packet: &RtpPacket<'_>, now: Instant) {
        if self
            .reception
            .as_ref()
            .is_none_or(|known| known.ssrc != packet.ssrc)
        {
            let clock_rate = self.section.clock_rate;
            let sequence = packet.sequence_number;
            self.reception = Some(Reception::new(packet.ssrc, clock_rate, sequence, now));
        }
        if let Some(reception) = &mut self.reception {
            reception.packet(packet.sequence_number, packet.timestamp, now);
        }
    }

    fn rtcp(&mut self, datagram: &[u8], from: SocketAddr) {
        let Some(reception) = &mut self.reception else {
            return;
        };
        for packet in parse_compound(datagram).map_while(Result::ok) {
            let reporter = match packet {
                RtcpPacket::SenderReport(report) => {
                    if report.ssrc == reception.ssrc {
                        reception.sender_report(report.ntp, Instant::now());
                    }
                    report.ssrc
                }
                RtcpPacket::ReceiverReport(report) => report.ssrc,
                RtcpPacket::SourceDescription(_)
                | RtcpPacket::Goodbye(_)
                | RtcpPacket::Nack(_)
                | RtcpPacket::Pli(_)
                | RtcpPacket::Fir(_)
                | RtcpPacket::Remb(_)
                | RtcpPacket::Other { .. } => continue,
            };
            // Fixed once.
            if reporter == reception.ssrc && self.section.rtcp_to.is_none() {
                self.section.rtcp_to = Some(from);
            }
        }
    }

    /// As long as one is wanted: with each picture that is none.
    fn ask_for_idr(&mut self, packet: &RtpPacket<'_>, facts: &SharedFacts, cname: &str) {
        let new_picture = self.last_timestamp.replace(packet.timestamp) != Some(packet.timestamp);
        if !self.wants_idr {
            return;
        }
        let begins = h264::inspect(packet.payload).unwrap_or_default();
        if begins.starts_idr {
            self.wants_idr = false;
            return;
        }
        // An IDR is coming.
        if begins.has_sps || !new_picture {
            return;
        }
        let Some(to) = self.section.rtcp_to else {
            return;
        };
        let (own, media) = (self.section.own_ssrc, packet.ssrc);
        let mut out = Vec::new();
        let mut writer = RtcpWriter::new(&mut out);
        writer.receiver_report(own, &[]).sdes_cname(own, cname);
        let mut facts = facts.lock();
        let inbound = facts.inbound(self.section.medium, media.0);
        match self.section.key_frames {
            KeyFrames::Fir => {
                writer.fir(own, media, self.fir_sequence);
                self.fir_sequence = self.fir_sequence.wrapping_add(1);
                inbound.firs += 1;
            }
            KeyFrames::Pli => {
                writer.pli(own, media);
                inbound.plis += 1;
            }
            KeyFrames::Never => return,
        }
        drop(facts);
        self.send(&out, to);
    }

    fn write_report(&mut self, out: &mut Vec<u8>, cname: &str, now: Instant) {
        let own = self.section.own_ssrc;
        let report = self
            .reception
            .as_mut()
            .map(|reception| reception.report(now));
        RtcpWriter::new(out)
            .receiver_report(own, report.as_slice())
            .sdes_cname(own, cname);
    }

    /// Whom a REMB is about, if one is to be sent at all.
    fn remb_target(&self) -> Option<Ssrc> {
        self.reception.as_ref()?;
        self.section.offered_ssrc.filter(|_| self.section.remb)
    }

    fn note_remb(&self, bps: u64, facts: &SharedFacts) {
        if let Some(reception) = &self.reception {
            facts
                .lock()
                .inbound(self.section.medium, reception.ssrc.0)
                .remb = bps;
        }
    }

    fn send(&self, datagram: &[u8], to: SocketAddr) {
        let rtcp: &UdpSocket = &self.section.ports.rtcp;
        // What cannot be sent is lost, as it may be anywhere on its way.
        let _ = rtcp.try_send_to(datagram, to);
    }
}
