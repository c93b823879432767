//! One viewer on its worker: the session and what it is sent, between the rings and the send batch.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiary_core::viewer::media::{AudioOut, VideoOut, write_sender_reports};
use apiary_core::viewer::offer::HeaderExtensions;
use apiary_core::viewer::session::{Session, SessionEvent};
use apiary_core::viewer::track::{PacketSink, RtxSender, TrackSender};
use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::rtp::write_one_byte_extensions;
use apiary_wire::units::Bitrate;

use super::message::NewViewer;
use super::stream::Stream;
use crate::engine::ViewerStats;
use crate::sys::SendBatch;

/// A viewer.
pub(super) struct Viewer {
    pub(super) id: ViewerId,
    pub(super) camera: CameraId,
    pub(super) session: Session,
    pub(super) ufrag: String,
    /// Addresses under which the worker finds it.
    pub(super) paths: Vec<SocketAddr>,
    media: Outgoing,
    cname: Arc<str>,
    counts: Counts,
    last_report: Option<Instant>,
}

struct Outgoing {
    video: Option<VideoOut>,
    audio: Option<AudioOut>,
}

#[derive(Default)]
struct Counts {
    connected: bool,
    packets: u64,
    octets: u64,
    key_frame_requests: u64,
    remb: Option<Bitrate>,
    fraction_lost: u8,
    round_trip: Option<Duration>,
}

/// Puts packets for one address into the batch and counts them.
struct To<'a> {
    batch: &'a mut SendBatch,
    destination: SocketAddr,
    packets: u64,
    octets: u64,
}

impl PacketSink for To<'_> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self.batch.buffer()
    }

    fn commit(&mut self, start: usize) {
        let length = self.batch.buffer().len() - start;
        if length > 0 {
            self.packets += 1;
            self.octets += length as u64;
        }
        self.batch.commit(self.destination, start);
    }
}

fn extension_block(extensions: &HeaderExtensions) -> Vec<u8> {
    let mut block = Vec::new();
    if let Some((id, mid)) = &extensions.mid {
        // A mid that does not fit is simply not sent: SSRC and payload type tell the tracks apart.
        if write_one_byte_extensions(&[(*id, mid.as_bytes())], &mut block).is_err()
            || block.len() > 36
        {
            block.clear();
        }
    }
    block
}

impl Viewer {
    pub(super) fn new(now: Instant, new: NewViewer) -> Self {
        let first = new.ssrcs.first_sequence;
        let video = new.video.map(|video| {
            let block = extension_block(&video.extensions);
            let rtx = video
                .rtx
                .map(|payload_type| RtxSender::new(new.ssrcs.rtx, payload_type, first, &block));
            let track = TrackSender::new(new.ssrcs.video, first, &block);
            VideoOut::new(track, video.payload_type, rtx)
        });
        let audio = new.audio.map(|audio| {
            let block = extension_block(&audio.extensions);
            let track = TrackSender::new(new.ssrcs.audio, first, &block);
            AudioOut::new(track, audio.opus, audio.pcmu)
        });
        Self {
            id: new.viewer,
            camera: new.camera,
            ufrag: new.session.local_ice.ufrag.clone(),
            session: Session::new(now, new.session),
            paths: Vec::new(),
            media: Outgoing { video, audio },
            cname: new.cname,
            counts: Counts::default(),
            last_report: None,
        }
    }

    /// Sends what the rings hold and this viewer has not had.
    pub(super) fn send(&mut self, now: Instant, stream: &Stream, batch: &mut SendBatch) {
        let Some((destination, srtp)) = self.session.outgoing() else {
            return;
        };
        let mut to = To {
            batch,
            destination,
            packets: 0,
            octets: 0,
        };
        if let Some(video) = &mut self.media.video {
            for &index in &stream.repaired {
                video.send_repaired(index, srtp, &stream.video, &mut to);
            }
            video.send(now, srtp, &stream.video, &mut to);
        }
        if let Some(audio) = &mut self.media.audio {
            audio.send(srtp, &stream.audio, &mut to);
        }
        self.counts.packets += to.packets;
        self.counts.octets += to.octets;
    }

    /// Sends what a NACK asks for.
    pub(super) fn retransmit(
        &mut self,
        now: Instant,
        missing: &[u16],
        stream: &Stream,
        batch: &mut SendBatch,
    ) {
        let (Some((destination, srtp)), Some(video)) =
            (self.session.outgoing(), &mut self.media.video)
        else {
            return;
        };
        let mut to = To {
            batch,
            destination,
            packets: 0,
            octets: 0,
        };
        for &sequence_number in missing {
            video.retransmit(now, sequence_number, srtp, &stream.video, &mut to);
        }
        self.counts.packets += to.packets;
        self.counts.octets += to.octets;
    }

    /// Sends sender reports, each second and as soon as something was sent.
    pub(super) fn report(&mut self, now: Instant, stream: &Stream, batch: &mut SendBatch) {
        const EVERY: Duration = Duration::from_millis(950);
        let due = self
            .last_report
            .is_none_or(|last| now.saturating_duration_since(last) >= EVERY);
        let Some((destination, _)) = self.session.outgoing().filter(|_| due) else {
            return;
        };
        let [video_clock, audio_clock] = stream.clocks.report(now);
        let tracks = [
            (self.media.video.as_ref().map(VideoOut::track), video_clock),
            (self.media.audio.as_ref().map(AudioOut::track), audio_clock),
        ];
        let mut compound = Vec::new();
        if !write_sender_reports(tracks, &self.cname, &mut compound) {
            return;
        }
        self.last_report = Some(now);
        let start = batch.buffer().len();
        self.session.protect_rtcp(&compound, batch.buffer());
        batch.commit(destination, start);
    }

    /// Sends what the session has to say itself: STUN and DTLS.
    pub(super) fn flush_session(&mut self, batch: &mut SendBatch) {
        while let Some((destination, datagram)) = self.session.poll_transmit() {
            let start = batch.buffer().len();
            batch.buffer().extend_from_slice(&datagram);
            batch.commit(destination, start);
        }
    }

    /// Takes note of what the session tells, as far as it is this viewer's own matter.
    pub(super) fn note(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::Connected => self.counts.connected = true,
            SessionEvent::KeyFrameWanted => self.counts.key_frame_requests += 1,
            SessionEvent::Remb(bitrate) => self.counts.remb = Some(*bitrate),
            SessionEvent::Report {
                fraction_lost,
                round_trip,
                ..
            } => {
                self.counts.fraction_lost = *fraction_lost;
                self.counts.round_trip = round_trip.or(self.counts.round_trip);
            }
            SessionEvent::PathValidated(address) => self.paths.push(*address),
            SessionEvent::Nack(..) | SessionEvent::Gone(_) => {}
        }
    }

    /// Whether the camera must be asked for a key frame, now that the viewer cannot decode.
    pub(super) fn wants_key_frame(&mut self, now: Instant) -> bool {
        self.media
            .video
            .as_mut()
            .is_some_and(|video| video.on_key_frame_wanted(now))
    }

    /// Whether it waits for a picture to start with.
    pub(super) fn is_waiting(&self) -> bool {
        self.counts.connected && self.media.video.as_ref().is_some_and(VideoOut::is_waiting)
    }

    /// Whether it is behind the present and must be sent to although no packet comes.
    pub(super) fn is_catching_up(&self) -> bool {
        self.media
            .video
            .as_ref()
            .is_some_and(|video| video.poll_timeout().is_some())
    }

    /// Starts over with the ring's picture, as after an ICE restart.
    pub(super) fn restart_picture(&mut self) {
        if let Some(video) = &mut self.media.video {
            video.restart();
        }
    }

    pub(super) fn stats(&self) -> ViewerStats {
        let video = self
            .media
            .video
            .as_ref()
            .map(|video| video.counts)
            .unwrap_or_default();
        ViewerStats {
            packets: self.counts.packets,
            octets: self.counts.octets,
            retransmitted: video.retransmitted,
            unanswered_nacks: video.unanswered,
            key_frame_requests: self.counts.key_frame_requests,
            remb: self.counts.remb,
            fraction_lost: self.counts.fraction_lost,
            round_trip_ms: self.counts.round_trip.map(|span| span.as_millis() as u32),
            connected: self.counts.connected,
        }
    }
}
