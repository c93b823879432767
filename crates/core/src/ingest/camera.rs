//! Everything that is received from one camera, and all that goes back to it, as one object.
//!
//! The caller feeds datagrams with [`CameraIngest::handle_rtp`] and [`CameraIngest::handle_rtcp`], and after
//! each batch and at [`CameraIngest::poll_timeout`] drains [`CameraIngest::poll_transmit`] and
//! [`CameraIngest::poll_event`]. Only wiring between the parts belongs here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apiary_wire::id::ViewerId;
use apiary_wire::rtcp::{RtcpPacket, parse_compound};
use apiary_wire::rtp::RtpPacket;
use apiary_wire::units::{Bitrate, Ssrc};

use super::bandwidth::{BandwidthPolicy, BitrateBounds, ViewerPolicy, ViewerReport};
use super::event::IngestEvent;
use super::feedback::{CameraFeedback, FeedbackConfig, RembHistory};
use super::loss::MissingList;
use super::rate::{Rate, RateMeter};
use super::statistics::SenderClock;
use super::track::{Counters, Dropped, TrackConfig, TrackKind, TrackReceiver};

/// Without a packet of the picture for this long the stream counts as silent.
pub const SILENT_AFTER: Duration = Duration::from_secs(2);
/// Events that wait to be polled at most; the oldest is lost then.
const MAX_EVENTS: usize = 16;

/// All that an ingest needs to know.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// What was handed out for the picture.
    pub video: TrackConfig,
    /// What was handed out for the sound.
    pub audio: TrackConfig,
    /// Who speaks to the camera.
    pub feedback: FeedbackConfig,
    /// Bounds of the REMB.
    pub bounds: BitrateBounds,
    /// Whose limit counts when viewers differ.
    pub policy: ViewerPolicy,
}

/// A packet that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its track.
    pub track: TrackKind,
    /// Its sequence number, extended so that it never wraps and only grows, also over jumps and rearming.
    pub ext_seq: u64,
    /// The first of its track since construction or rearming.
    pub first: bool,
}

/// RTCP from the camera, by what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtcpCounters {
    /// Datagrams of the camera.
    pub received: u64,
    /// Datagrams from elsewhere, or before any RTP.
    pub wrong_source: u64,
    /// Datagrams from the right address that speak for no SSRC that was handed out.
    pub foreign_ssrc: u64,
    /// Datagrams that are malformed somewhere; what stands before is used.
    pub malformed: u64,
}

/// A track in [`IngestStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackStats {
    /// Packets by what became of them.
    pub counters: Counters,
    /// Packets missing, for good or still awaited.
    pub lost: u64,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// Where it comes from.
    pub source: Option<SocketAddr>,
}

/// A look at an ingest. Counters go on over rearming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestStats {
    /// The picture.
    pub video: TrackStats,
    /// The sound.
    pub audio: TrackStats,
    /// Both tracks over the last second.
    pub bitrate: Bitrate,
    /// Frames of the picture in the last second.
    pub frames_per_second: u32,
    /// Datagrams at the RTP ports that are no RTP.
    pub malformed: u64,
    /// RTCP from the camera.
    pub rtcp: RtcpCounters,
    /// What the camera is asked to send.
    pub target: Bitrate,
    /// What it has been told so far.
    pub remb: RembHistory,
    /// Key frames asked for, repetitions included.
    pub key_frame_requests: u64,
}

/// The receiving side of one camera's stream.
#[derive(Clone, Debug)]
pub struct CameraIngest {
    video: TrackReceiver,
    audio: TrackReceiver,
    feedback: CameraFeedback,
    bandwidth: BandwidthPolicy,
    rate: RateMeter,
    picture: Picture,
    foreign: ForeignSsrcs,
    /// [`IngestEvent::KeyFrameNeeded`] was said and no key frame has come since.
    picture_lost: bool,
    rtcp_seen: bool,
    rtcp: RtcpCounters,
    malformed: u64,
    events: VecDeque<IngestEvent>,
}

/// Whether the picture flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picture {
    Awaited,
    Flowing,
    Silent,
}

/// Decides whether a foreign SSRC is worth a word.
#[derive(Clone, Copy, Debug, Default)]
struct ForeignSsrcs {
    reported: bool,
    /// What the camera sent with before rearming, and may do for a moment longer.
    retired: Option<[Ssrc; 2]>,
}

impl ForeignSsrcs {
    fn is_news(&mut self, ssrc: Ssrc) -> bool {
        let known = self.retired.is_some_and(|retired| retired.contains(&ssrc));
        !known && !std::mem::replace(&mut self.reported, true)
    }
}

impl CameraIngest {
    /// An ingest that waits for its camera.
    #[must_use]
    pub fn new(config: IngestConfig) -> Self {
        Self {
            video: TrackReceiver::new(config.video),
            audio: TrackReceiver::new(config.audio),
            feedback: CameraFeedback::new(config.feedback),
            bandwidth: BandwidthPolicy::new(config.bounds, config.policy),
            rate: RateMeter::default(),
            picture: Picture::Awaited,
            foreign: ForeignSsrcs::default(),
            picture_lost: false,
            rtcp_seen: false,
            rtcp: RtcpCounters::default(),
            malformed: 0,
            events: VecDeque::with_capacity(MAX_EVENTS),
        }
    }

    /// Waits for the camera anew after it was told to play again: its old SSRCs and addresses do not
    /// count any more. Extended sequence numbers, counters and viewers' reports go on; bounds and policy
    /// stay as they are.
    pub fn rearm(&mut self, now: Instant, config: IngestConfig) {
        self.foreign = ForeignSsrcs {
            reported: false,
            retired: Some([self.video.config().ssrc, self.audio.config().ssrc]),
        };
        self.video.rearm(config.video);
        self.audio.rearm(config.audio);
        self.feedback.rearm(config.feedback);
        self.bandwidth.forget_upstream(now);
        self.picture = Picture::Awaited;
        self.picture_lost = false;
        self.rtcp_seen = false;
    }

    /// Takes an RTP packet that came to a track's RTP port.
    ///
    /// # Errors
    /// [`Dropped`] says why it does not count; it has been counted as that.
    pub fn handle_rtp(
        &mut self,
        now: Instant,
        track: TrackKind,
        source: SocketAddr,
        packet: &RtpPacket<'_>,
    ) -> Result<Accepted, Dropped> {
        let receiver = self.track_mut(track);
        let first = receiver.source().is_none();
        let ext_seq = receiver
            .handle_rtp(now, source, packet)
            .inspect_err(|dropped| self.on_dropped(*dropped))?;
        if first {
            self.feedback.on_rtp_source(now, track, source);
            self.rate.start(now);
        }
        self.rate.on_packet(track, packet);
        if track == TrackKind::Video {
            self.on_picture(now, source);
        }
        Ok(Accepted {
            track,
            ext_seq,
            first,
        })
    }

    /// A datagram came to an RTP port that is no RTP packet.
    pub fn on_malformed_rtp(&mut self) {
        self.malformed += 1;
    }

    /// Takes a datagram that came to a track's RTCP port.
    pub fn handle_rtcp(
        &mut self,
        now: Instant,
        track: TrackKind,
        source: SocketAddr,
        datagram: &[u8],
    ) {
        if !self.feedback.destination(track).accepts(now, source) {
            self.rtcp.wrong_source += 1;
            return;
        }
        if !self.take_compound(now, track, datagram) {
            return;
        }
        self.rtcp.received += 1;
        self.feedback.destination(track).on_rtcp(now, source);
        if !std::mem::replace(&mut self.rtcp_seen, true) {
            self.push_event(IngestEvent::RtcpSeen);
        }
    }

    /// Uses what a compound says; whether any of it speaks for the track's SSRC.
    fn take_compound(&mut self, now: Instant, track: TrackKind, datagram: &[u8]) -> bool {
        let receiver = self.track_mut(track);
        let ssrc = receiver.config().ssrc;
        let mut genuine = false;
        let mut malformed = datagram.is_empty();
        for packet in parse_compound(datagram) {
            match packet {
                Ok(RtcpPacket::SenderReport(report)) => {
                    genuine |= report.ssrc == ssrc;
                    // A report that cannot be used is no fault: it may just know no time.
                    let _ = receiver.handle_sender_report(now, &report);
                }
                Ok(RtcpPacket::ReceiverReport(report)) => genuine |= report.ssrc == ssrc,
                Ok(RtcpPacket::SourceDescription(description)) => {
                    genuine |= description.chunks().any(|chunk| chunk.ssrc == ssrc);
                }
                // Nothing a camera says in these changes what is done: it is gone when it is silent.
                Ok(
                    RtcpPacket::Goodbye(_)
                    | RtcpPacket::Nack(_)
                    | RtcpPacket::Pli(_)
                    | RtcpPacket::Fir(_)
                    | RtcpPacket::Remb(_)
                    | RtcpPacket::Other { .. },
                ) => {}
                Err(_) => malformed = true,
            }
        }
        self.rtcp.malformed += u64::from(malformed);
        self.rtcp.foreign_ssrc += u64::from(!malformed && !genuine);
        genuine
    }

    /// Somebody needs a key frame. Merged with other wishes, sent at most once a second.
    pub fn request_key_frame(&mut self, now: Instant) {
        self.feedback.key_frames().request(now);
    }

    /// A key frame begins with the packet of this extended sequence number.
    pub fn on_key_frame(&mut self, ext_seq: u64) {
        self.picture_lost = false;
        self.feedback.key_frames().on_key_frame();
        self.video.on_key_frame(ext_seq);
    }

    /// A viewer reported what it can take.
    pub fn set_viewer_report(&mut self, now: Instant, viewer: ViewerId, report: ViewerReport) {
        self.bandwidth.set_viewer_report(now, viewer, report);
    }

    /// A viewer is gone.
    pub fn remove_viewer(&mut self, now: Instant, viewer: ViewerId) {
        self.bandwidth.remove_viewer(now, viewer);
    }

    /// The camera's clock of a track, once a sender report came.
    #[must_use]
    pub fn clock(&self, track: TrackKind) -> Option<SenderClock> {
        self.track(track).clock()
    }

    /// When to call [`CameraIngest::poll_transmit`] and [`CameraIngest::poll_event`] again, if no packet
    /// comes before. `None`: not before a packet comes.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.silent_at(),
            self.rate.poll_timeout(),
            self.bandwidth.poll_timeout(),
            self.video.poll_timeout(),
            self.feedback.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The part of [`CameraIngest::poll_timeout`] that any packet may have moved to an earlier time: when to ask for what is
    /// missing. What else moves has an [event](CameraIngest::poll_event) or [`Accepted::first`] beside it. Cheap enough to be looked at after each read.
    #[must_use]
    pub fn repair_timeout(&self) -> Option<Instant> {
        self.video.poll_timeout()
    }

    /// Runs the timers and appends the next RTCP datagram for the camera to `out`. Says from which
    /// track's RTCP port and where to it goes; `None` when there is nothing (more) to send now.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<(TrackKind, SocketAddr)> {
        self.handle_timeout(now);
        let mut missing = MissingList::new();
        self.video.missing(now, &mut missing);
        self.check_picture_lost(now);
        let target = self.bandwidth.target();
        if let Some(address) =
            self.feedback
                .poll_video(now, &mut self.video, (&missing, target), out)
        {
            return Some((TrackKind::Video, address));
        }
        self.feedback
            .poll_audio(now, &mut self.audio, out)
            .map(|address| (TrackKind::Audio, address))
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<IngestEvent> {
        self.events.pop_front()
    }

    /// A look at everything that is counted.
    #[must_use]
    pub fn stats(&self) -> IngestStats {
        let Rate {
            bitrate,
            frames_per_second,
        } = self.rate.last();
        IngestStats {
            video: track_stats(&self.video),
            audio: track_stats(&self.audio),
            bitrate,
            frames_per_second,
            malformed: self.malformed,
            rtcp: self.rtcp,
            target: self.bandwidth.target(),
            remb: *self.feedback.remb(),
            key_frame_requests: self.feedback.key_frame_requests(),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.silent_at().is_some_and(|at| at <= now) {
            self.on_silent(now);
        }
        if self.rate.handle_timeout(now) {
            let loss = self.video.path_loss();
            self.bandwidth.on_upstream_loss(now, loss);
        }
        self.bandwidth.handle_timeout(now);
        self.feedback.on_target(now, self.bandwidth.target());
    }

    fn silent_at(&self) -> Option<Instant> {
        match self.picture {
            Picture::Flowing => self.video.last_packet().map(|last| last + SILENT_AFTER),
            Picture::Awaited | Picture::Silent => None,
        }
    }

    fn on_silent(&mut self, now: Instant) {
        let last = self.video.last_packet().unwrap_or(now);
        self.picture = Picture::Silent;
        self.push_event(IngestEvent::Silent {
            for_: now.saturating_duration_since(last),
        });
        // Wakes a camera that only lost its way, and whatever comes back starts with a whole picture.
        self.request_key_frame(now);
    }

    fn on_picture(&mut self, now: Instant, source: SocketAddr) {
        match self.picture {
            Picture::Awaited => self.push_event(IngestEvent::RtpStarted { source }),
            Picture::Silent => self.push_event(IngestEvent::Resumed),
            Picture::Flowing => {}
        }
        self.picture = Picture::Flowing;
        self.check_picture_lost(now);
    }

    fn check_picture_lost(&mut self, now: Instant) {
        if !self.video.take_key_frame_needed() {
            return;
        }
        self.request_key_frame(now);
        if !std::mem::replace(&mut self.picture_lost, true) {
            self.push_event(IngestEvent::KeyFrameNeeded);
        }
    }

    fn on_dropped(&mut self, dropped: Dropped) {
        match dropped {
            Dropped::WrongSsrc(ssrc) => {
                if self.foreign.is_news(ssrc) {
                    self.push_event(IngestEvent::ForeignSsrc { ssrc });
                }
            }
            Dropped::WrongPayloadType(_)
            | Dropped::WrongSource(_)
            | Dropped::Duplicate
            | Dropped::SequenceJump => {}
        }
    }

    fn push_event(&mut self, event: IngestEvent) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn track(&self, kind: TrackKind) -> &TrackReceiver {
        match kind {
            TrackKind::Video => &self.video,
            TrackKind::Audio => &self.audio,
        }
    }

    fn track_mut(&mut self, kind: TrackKind) -> &mut TrackReceiver {
        match kind {
            TrackKind::Video => &mut self.video,
            TrackKind::Audio => &mut self.audio,
        }
    }
}

fn track_stats(track: &TrackReceiver) -> TrackStats {
    TrackStats {
        counters: *track.counters(),
        lost: track.lost(),
        jitter: track.jitter(),
        source: track.source(),
    }
}
