//! One run of the camera: from a taken `stream/play` to its end.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use apiary_wire::rtcp::{self, RtcpPacket, RtcpWriter};
use apiary_wire::rtp::RtpPacket;
use apiary_wire::sdp::CameraSdpRules;
use apiary_wire::sdp::camera::{H264, H264_CLOCK_RATE, OPUS, PCMU};
use apiary_wire::{Bitrate, PayloadType, Ssrc, StreamId};
use bytes::Bytes;
use rand::rngs::SmallRng;

use super::history::History;
use super::rules::FIRST_REPORT;
use super::track::{Track, TrackFormat, TrackOrigin, TrackSender};
use super::{Destination, FirmwareConfig, Output, WallClock, random_start};
use crate::audio::AudioCodec;
use crate::misbehaviour::Misbehaviour;
use crate::state::{Beat, Feedback, Sent, StopReason, StreamState};
use crate::video::VideoFrame;

/// A payload type that the cameras' SDP does not have.
const UNUSED_TYPE: u8 = 111;

/// What `stream/play` commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SendPlan {
    pub(crate) stream: StreamId,
    pub(crate) video: Destination,
    pub(crate) audio: Destination,
    video_ssrc: Ssrc,
    audio_ssrc: Ssrc,
    cname: String,
    /// Whether the firmware listens to RTCP: only with `a=direction:passive`.
    heeds_rtcp: bool,
    codec: AudioCodec,
}

impl SendPlan {
    /// Reads the SDP of a `stream/play` as the firmware does, or says why it would not take it.
    pub(super) fn read(stream: StreamId, sdp: &str, codec: AudioCodec) -> Result<Self, String> {
        let accepted = CameraSdpRules::accept(sdp).map_err(|refusal| refusal.to_string())?;
        let address = |port| SocketAddr::new(IpAddr::V4(accepted.address), port);
        Ok(Self {
            stream,
            video: Destination {
                rtp: address(accepted.video_port),
                rtcp: address(accepted.video_rtcp_port),
            },
            audio: Destination {
                rtp: address(accepted.audio_port),
                rtcp: address(accepted.audio_rtcp_port),
            },
            video_ssrc: accepted.video_ssrc,
            audio_ssrc: accepted.audio_ssrc,
            cname: accepted.cname,
            heeds_rtcp: accepted.passive,
            codec,
        })
    }
}

/// A stream that is being sent.
#[derive(Debug)]
pub(super) struct Run {
    plan: SendPlan,
    config: FirmwareConfig,
    video: TrackSender,
    audio: TrackSender,
    history: History,
    bitrate: Bitrate,
    sent: Sent,
    feedback: Feedback,
    idr: IdrPolicy,
    next_report: Instant,
    next_adjustment: Instant,
}

/// When IDRs are due.
#[derive(Debug)]
struct IdrPolicy {
    /// When the last one was ordered.
    ordered: Instant,
    /// Whether PLI or FIR asks for a further one.
    asked: bool,
    /// The number of the last FIR, whose repetitions do not count (RFC 5104 §4.3.1.1).
    last_fir: Option<u8>,
}

impl Run {
    pub(super) fn new(
        now: Instant,
        plan: &SendPlan,
        config: &FirmwareConfig,
        rng: &mut SmallRng,
    ) -> Self {
        let unused_type = PayloadType::new(UNUSED_TYPE).expect("111 is a payload type");
        let near_wrap = config.misbehaviour.contains(&Misbehaviour::StartsNearWrap);
        let wrong_ssrc = config.misbehaviour.contains(&Misbehaviour::WrongSsrc);
        let wrong_type = config
            .misbehaviour
            .contains(&Misbehaviour::WrongPayloadType);
        let mut track = |ssrc: Ssrc, payload_type, clock_rate| {
            let (sequence, timestamp) = random_start(rng, near_wrap, clock_rate);
            let format = TrackFormat {
                ssrc: if wrong_ssrc { Ssrc(!ssrc.0) } else { ssrc },
                payload_type: if wrong_type {
                    unused_type
                } else {
                    payload_type
                },
                clock_rate,
            };
            let origin = TrackOrigin {
                sequence,
                timestamp,
                at: now,
            };
            TrackSender::new(format, origin)
        };
        Self {
            video: track(plan.video_ssrc, H264, H264_CLOCK_RATE),
            audio: track(
                plan.audio_ssrc,
                plan.codec.payload_type(),
                plan.codec.clock_rate(),
            ),
            history: History::new(config.rules.history),
            bitrate: config.rules.clamp(config.rules.start_bitrate),
            sent: Sent::default(),
            feedback: Feedback {
                remb: Beat::starting(now),
                keepalive: Beat::starting(now),
                ..Feedback::default()
            },
            idr: IdrPolicy {
                ordered: now,
                asked: false,
                last_fir: None,
            },
            next_report: now + FIRST_REPORT,
            next_adjustment: now + config.rules.bitrate_interval,
            plan: plan.clone(),
            config: config.clone(),
        }
    }

    pub(super) fn stream(&self) -> StreamId {
        self.plan.stream
    }

    pub(super) fn bitrate(&self) -> Bitrate {
        self.bitrate
    }

    pub(super) fn sent(&self) -> Sent {
        self.sent
    }

    /// Somebody talks to the camera.
    pub(super) fn on_voice(&mut self, datagram: &[u8]) {
        match RtpPacket::parse(datagram) {
            Ok(packet) if [OPUS, PCMU].contains(&packet.payload_type) => {
                self.feedback.heard += 1;
                self.feedback.heard_bytes += packet.payload.len() as u64;
            }
            Ok(_) | Err(_) => self.feedback.unheard += 1,
        }
    }

    /// The receiver's feedback, with the gaps up to `now` in it.
    pub(super) fn feedback_at(&self, now: Instant) -> Feedback {
        let mut feedback = self.feedback;
        feedback.remb.note_gap(now);
        feedback.keepalive.note_gap(now);
        feedback
    }

    pub(super) fn state(&self) -> StreamState {
        StreamState::Streaming {
            stream: self.plan.stream,
            bitrate: self.bitrate,
            video: self.plan.video.rtp,
            audio: self.plan.audio.rtp,
        }
    }

    pub(super) fn on_keepalive(&mut self, now: Instant, count: u64) {
        self.feedback.keepalive.hit(now);
        self.feedback.last_keepalive = Some(count);
    }

    pub(super) fn on_rtcp(
        &mut self,
        now: Instant,
        datagram: &[u8],
        outputs: &mut VecDeque<Output>,
    ) {
        if !self.plan.heeds_rtcp {
            return;
        }
        for packet in rtcp::parse_compound(datagram) {
            match packet {
                Ok(packet) => self.on_rtcp_packet(now, &packet, outputs),
                Err(_) => self.feedback.foreign += 1,
            }
        }
        self.order_idr_if_due(now, outputs);
    }

    fn on_rtcp_packet(
        &mut self,
        now: Instant,
        packet: &RtcpPacket<'_>,
        outputs: &mut VecDeque<Output>,
    ) {
        let video = self.plan.video_ssrc;
        let for_us = match packet {
            RtcpPacket::Remb(remb) if remb.ssrcs.contains(video) => {
                self.feedback.remb.hit(now);
                self.feedback.last_remb = Some(remb.bitrate);
                true
            }
            RtcpPacket::Nack(nack) if nack.media_ssrc == video => {
                self.feedback.nack.requests += 1;
                self.answer_nack(now, nack.sequence_numbers(), outputs);
                true
            }
            RtcpPacket::Pli(pli) if pli.media_ssrc == video => {
                self.feedback.plis += 1;
                self.idr.asked = true;
                true
            }
            RtcpPacket::Fir(fir) => match fir.entries().find(|entry| entry.ssrc == video) {
                Some(entry) => {
                    self.on_fir(entry.sequence);
                    true
                }
                None => false,
            },
            RtcpPacket::ReceiverReport(report) => {
                let about = |ssrc| report.reports.about(ssrc).is_some();
                if about(video) || about(self.plan.audio_ssrc) {
                    self.feedback.receiver_reports += 1;
                    true
                } else {
                    report.reports.is_empty()
                }
            }
            RtcpPacket::SenderReport(_)
            | RtcpPacket::SourceDescription(_)
            | RtcpPacket::Goodbye(_)
            | RtcpPacket::Other { .. } => true,
            RtcpPacket::Remb(_) | RtcpPacket::Nack(_) | RtcpPacket::Pli(_) => false,
        };
        if !for_us {
            self.feedback.foreign += 1;
        }
    }

    fn on_fir(&mut self, sequence: u8) {
        if self.idr.last_fir.replace(sequence) != Some(sequence) {
            self.feedback.firs += 1;
            self.idr.asked = true;
        }
    }

    fn answer_nack(
        &mut self,
        now: Instant,
        numbers: impl Iterator<Item = u16>,
        outputs: &mut VecDeque<Output>,
    ) {
        let ignored = self
            .config
            .misbehaviour
            .contains(&Misbehaviour::IgnoresNack);
        for sequence in numbers {
            self.feedback.nack.asked += 1;
            let Some((header, payload)) = self.history.find(now, sequence).filter(|_| !ignored)
            else {
                continue;
            };
            self.feedback.nack.answered += 1;
            self.sent.video_packets += 1;
            outputs.push_back(Output::Rtp {
                track: Track::Video,
                header,
                payload,
            });
        }
    }

    pub(super) fn send_video(
        &mut self,
        now: Instant,
        captured: Instant,
        frame: &VideoFrame,
        stamp: Option<Bytes>,
        outputs: &mut VecDeque<Output>,
    ) {
        self.sent.frames += 1;
        if frame.idr {
            self.sent.idrs += 1;
            self.idr.ordered = now;
        }
        let (parameter_sets, slices) = frame.packets.split_at(frame.slices_at);
        let payloads = parameter_sets.iter().chain(&stamp).chain(slices);
        let last = frame.packets.len() + usize::from(stamp.is_some()) - 1;
        for (index, payload) in payloads.enumerate() {
            let header = self
                .video
                .next_header(captured, payload.len(), index == last);
            self.sent.video_packets += 1;
            self.sent.payload_bytes += payload.len() as u64;
            self.history.push(now, header, payload.clone());
            outputs.push_back(Output::Rtp {
                track: Track::Video,
                header,
                payload: payload.clone(),
            });
        }
    }

    pub(super) fn send_audio(
        &mut self,
        captured: Instant,
        payload: Bytes,
        outputs: &mut VecDeque<Output>,
    ) {
        // RFC 3551 §4.1: the marker stands at the start of a talkspurt; this one never pauses.
        let first = self.sent.audio_packets == 0;
        let header = self.audio.next_header(captured, payload.len(), first);
        self.sent.audio_packets += 1;
        self.sent.payload_bytes += payload.len() as u64;
        outputs.push_back(Output::Rtp {
            track: Track::Audio,
            header,
            payload,
        });
    }

    /// Why the stream has to end now, if it has to.
    pub(super) fn expired(&self, now: Instant) -> Option<StopReason> {
        if now >= self.remb_deadline() {
            Some(StopReason::NoRemb)
        } else if now >= self.keepalive_deadline() {
            Some(StopReason::NoKeepalive)
        } else {
            None
        }
    }

    pub(super) fn on_timeout(&mut self, now: Instant, outputs: &mut VecDeque<Output>) {
        if now >= self.next_report {
            self.next_report = now + self.config.rules.report_interval;
            self.send_reports(now, outputs);
        }
        if now >= self.next_adjustment {
            self.next_adjustment = now + self.config.rules.bitrate_interval;
            self.adjust_bitrate(outputs);
        }
        self.order_idr_if_due(now, outputs);
    }

    pub(super) fn next_timeout(&self) -> Instant {
        [
            self.next_report,
            self.next_adjustment,
            self.idr_due(),
            self.remb_deadline(),
            self.keepalive_deadline(),
        ]
        .into_iter()
        .min()
        .expect("the list is not empty")
    }

    fn send_reports(&mut self, now: Instant, outputs: &mut VecDeque<Output>) {
        if self
            .config
            .misbehaviour
            .contains(&Misbehaviour::NoSenderReports)
        {
            return;
        }
        let clock: &WallClock = &self.config.clock;
        for (track, sender) in [(Track::Video, &self.video), (Track::Audio, &self.audio)] {
            let Some(info) = sender.report(now, clock) else {
                continue;
            };
            let mut compound = Vec::new();
            RtcpWriter::new(&mut compound)
                .sender_report(info, &[])
                .sdes_cname(sender.ssrc(), &self.plan.cname);
            self.sent.sender_reports += 1;
            outputs.push_back(Output::Rtcp { track, compound });
        }
    }

    fn adjust_bitrate(&mut self, outputs: &mut VecDeque<Output>) {
        let Some(remb) = self.feedback.last_remb else {
            return;
        };
        let target = self.config.rules.clamp(remb);
        let deaf = self
            .config
            .misbehaviour
            .contains(&Misbehaviour::IgnoresRemb);
        if target != self.bitrate && !deaf {
            tracing::debug!(kbps = target.as_kbps(), "the encoder follows REMB");
            self.bitrate = target;
            outputs.push_back(Output::Bitrate(target));
        }
    }

    fn order_idr_if_due(&mut self, now: Instant, outputs: &mut VecDeque<Output>) {
        if now >= self.idr_due() {
            self.idr.ordered = now;
            self.idr.asked = false;
            outputs.push_back(Output::KeyFrame);
        }
    }

    fn idr_due(&self) -> Instant {
        let rules = &self.config.rules;
        let deaf = self.config.misbehaviour.contains(&Misbehaviour::IgnoresPli);
        if self.idr.asked && !deaf {
            self.idr.ordered + rules.idr_min_gap
        } else {
            self.idr.ordered + rules.idr_interval
        }
    }

    fn remb_deadline(&self) -> Instant {
        deadline(&self.feedback.remb, self.config.rules.remb_timeout)
    }

    fn keepalive_deadline(&self) -> Instant {
        deadline(
            &self.feedback.keepalive,
            self.config.rules.keepalive_timeout,
        )
    }
}

fn deadline(beat: &Beat, timeout: std::time::Duration) -> Instant {
    beat.last().expect("counted from the start of the run") + timeout
}
