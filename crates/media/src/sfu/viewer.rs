//! One viewer on its worker: the session and what it is sent, between the rings and the send batch.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiary_core::ingest::ViewerReport;
use apiary_core::viewer::media::{AudioOut, VideoOut, write_sender_reports};
use apiary_core::viewer::offer::HeaderExtensions;
use apiary_core::viewer::session::{Session, SessionEvent};
use apiary_core::viewer::track::{PacketSink, RtxSender, TrackSender};
use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::rtp::{HeaderTemplate, write_one_byte_extensions};
use apiary_wire::units::{Bitrate, PayloadType, Ssrc};

use super::message::NewViewer;
use super::stream::Stream;
use super::talk::Voice;
use super::timers::Timer;
use super::wheel::TimerWheel;
use crate::engine::ViewerStats;
use crate::sys::SendBatch;

/// Sender reports go out this often: a little more than each second, as their turn may come a little late.
const REPORT_EVERY: Duration = Duration::from_millis(950);
/// A viewer without a picture asks for a key frame this often; the ingest merges and limits what all ask for.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Reports that change nothing for the worse are passed on this often.
const PASS_ON_EVERY: Duration = Duration::from_millis(400);

/// A viewer.
pub(super) struct Viewer {
    pub(super) id: ViewerId,
    pub(super) camera: CameraId,
    pub(super) session: Session,
    pub(super) ufrag: String,
    /// Addresses under which the worker finds it.
    pub(super) paths: Vec<SocketAddr>,
    media: Outgoing,
    /// While it may talk.
    pub(super) voice: Option<Voice>,
    /// What its voice is sent as, if it may be.
    voice_type: Option<PayloadType>,
    cname: Arc<str>,
    counts: Counts,
    last_report: Option<Instant>,
    pub(super) passed_on: PassedOn,
    /// When its timer wakes it, if it is set.
    pub(super) wakes_at: Option<Instant>,
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
    /// Skips to a later picture that were told.
    skipped: u64,
    remb: Option<Bitrate>,
    fraction_lost: u8,
    round_trip: Option<Duration>,
}

/// What of a viewer's reports the ingest knows.
#[derive(Default)]
pub(super) struct PassedOn {
    remb: Option<(Instant, Bitrate)>,
    loss: Option<Instant>,
}

impl PassedOn {
    /// Whether the ingest should hear of a report: at once when it tells that less can be taken, and otherwise, browsers
    /// reporting five times a second, only now and then.
    pub(super) fn is_news(&mut self, now: Instant, report: ViewerReport) -> bool {
        let is_old = |at: Instant| now >= at + PASS_ON_EVERY;
        let remb = report
            .remb
            .filter(|&remb| self.remb.is_none_or(|(at, last)| remb < last || is_old(at)));
        let loss = report
            .fraction_lost
            .filter(|&lost| lost > 0 || self.loss.is_none_or(is_old));
        if let Some(remb) = remb {
            self.remb = Some((now, remb));
        }
        if loss.is_some() {
            self.loss = Some(now);
        }
        remb.is_some() || loss.is_some()
    }
}

/// Where reports are written before they are sent; one for all viewers of a worker.
#[derive(Default)]
pub(super) struct ReportScratch {
    clear: Vec<u8>,
    protected: Vec<u8>,
}

/// Puts packets for one address into the batch and counts them.
struct To<'a> {
    batch: &'a mut SendBatch,
    destination: SocketAddr,
    packets: u64,
    octets: u64,
}

impl PacketSink for To<'_> {
    fn packet(&mut self, len: usize) -> &mut [u8] {
        self.packets += 1;
        self.octets += len as u64;
        self.batch.packet(self.destination, len)
    }
}

/// What the packets of a track begin with. A mid that does not fit is simply not sent: SSRC and payload type tell the
/// tracks apart.
fn header(ssrc: Ssrc, extensions: &HeaderExtensions) -> HeaderTemplate {
    let plain = HeaderTemplate::new(ssrc);
    let Some((id, mid)) = &extensions.mid else {
        return plain;
    };
    let mut block = Vec::new();
    match write_one_byte_extensions(&[(*id, mid.as_bytes())], &mut block) {
        Ok(_) => plain.with_extension(&block).unwrap_or(plain),
        Err(_) => plain,
    }
}

impl Viewer {
    pub(super) fn new(now: Instant, new: NewViewer) -> Self {
        let first = new.ssrcs.first_sequence;
        let video = new.video.map(|video| {
            let rtx = video.rtx.map(|payload_type| {
                let header = header(new.ssrcs.rtx, &video.extensions);
                RtxSender::new(header, payload_type, first)
            });
            let track = TrackSender::new(header(new.ssrcs.video, &video.extensions), first);
            VideoOut::new(track, video.payload_type, rtx)
        });
        let voice_type = new.audio.as_ref().and_then(|audio| audio.opus);
        let audio = new.audio.map(|audio| {
            let track = TrackSender::new(header(new.ssrcs.audio, &audio.extensions), first);
            AudioOut::new(track, audio.opus, audio.pcmu)
        });
        Self {
            id: new.viewer,
            camera: new.camera,
            ufrag: new.session.local_ice.ufrag.clone(),
            session: Session::new(now, new.session),
            paths: Vec::new(),
            media: Outgoing { video, audio },
            voice: None,
            voice_type,
            cname: new.cname,
            counts: Counts::default(),
            last_report: None,
            passed_on: PassedOn::default(),
            wakes_at: None,
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

    /// Sends what a NACK asks for; gives the number of packets.
    pub(super) fn retransmit(
        &mut self,
        now: Instant,
        missing: &[u16],
        stream: &Stream,
        batch: &mut SendBatch,
    ) -> u64 {
        let (Some((destination, srtp)), Some(video)) =
            (self.session.outgoing(), &mut self.media.video)
        else {
            return 0;
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
        to.packets
    }

    /// Takes what it says; nothing unless it is its turn.
    pub(super) fn handle_voice(&mut self, now: Instant, datagram: &mut [u8]) {
        let Some(voice) = &mut self.voice else {
            return;
        };
        if let Some((ext_seq, packet)) = self.session.open_voice(now, datagram)
            && Some(packet.payload_type) == self.voice_type
        {
            voice.send(now, ext_seq, &packet);
        }
    }

    /// How often it was moved to a later picture since the last call.
    pub(super) fn take_skipped(&mut self) -> u64 {
        let skipped = self
            .media
            .video
            .as_ref()
            .map_or(0, |video| video.counts.skipped);
        skipped - std::mem::replace(&mut self.counts.skipped, skipped)
    }

    /// Sends sender reports, each second and as soon as something was sent.
    pub(super) fn report(
        &mut self,
        now: Instant,
        stream: &Stream,
        scratch: &mut ReportScratch,
        batch: &mut SendBatch,
    ) {
        let due = self
            .last_report
            .is_none_or(|last| now >= last + REPORT_EVERY);
        let Some((destination, _)) = self.session.outgoing().filter(|_| due) else {
            return;
        };
        let [video_clock, audio_clock] = stream.clocks.report(now);
        let tracks = [
            (self.media.video.as_ref().map(VideoOut::track), video_clock),
            (self.media.audio.as_ref().map(AudioOut::track), audio_clock),
        ];
        scratch.clear.clear();
        if !write_sender_reports(tracks, &self.cname, &mut scratch.clear) {
            return;
        }
        self.last_report = Some(now);
        scratch.protected.clear();
        self.session
            .protect_rtcp(&scratch.clear, &mut scratch.protected);
        batch
            .packet(destination, scratch.protected.len())
            .copy_from_slice(&scratch.protected);
    }

    /// When it needs a turn although nothing comes.
    pub(super) fn poll_timeout(&self, now: Instant) -> Instant {
        let regular = if self.is_waiting() {
            now + ASK_AGAIN
        } else {
            // One that is due and could not be sent, as nothing was yet, is tried again soon, but not all the time.
            let due = self.last_report.map_or(now, |last| last + REPORT_EVERY);
            due.max(now + ASK_AGAIN)
        };
        let video = self.media.video.as_ref().and_then(VideoOut::poll_timeout);
        [self.session.poll_timeout(), video]
            .into_iter()
            .flatten()
            .fold(regular, Instant::min)
    }

    /// Has the wheel wake the viewer, which has this key, in time.
    pub(super) fn set_timer(&mut self, now: Instant, key: usize, wheel: &mut TimerWheel<Timer>) {
        let at = self.poll_timeout(now);
        if self.wakes_at.is_none_or(|set| at < set) {
            self.wakes_at = Some(wheel.set(at, Timer::Viewer(key)).min(at));
        }
    }

    /// Sends what the session has to say itself: STUN and DTLS.
    pub(super) fn flush_session(&mut self, batch: &mut SendBatch) {
        while let Some((destination, datagram)) = self.session.poll_transmit() {
            batch
                .packet(destination, datagram.len())
                .copy_from_slice(&datagram);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn remb(kbps: u64) -> ViewerReport {
        ViewerReport {
            remb: Some(Bitrate::from_kbps(kbps)),
            fraction_lost: None,
        }
    }

    fn loss(fraction_lost: u8) -> ViewerReport {
        ViewerReport {
            remb: None,
            fraction_lost: Some(fraction_lost),
        }
    }

    #[test]
    fn a_limit_that_falls_is_news_at_once_and_one_that_rises_after_a_while() {
        let start = Instant::now();
        let soon = start + PASS_ON_EVERY / 2;
        let mut passed_on = PassedOn::default();
        assert!(passed_on.is_news(start, remb(2_000)));
        assert!(!passed_on.is_news(soon, remb(2_000)));
        assert!(!passed_on.is_news(soon, remb(3_000)));
        assert!(passed_on.is_news(soon, remb(1_900)));
        assert!(!passed_on.is_news(start + PASS_ON_EVERY, remb(3_000)));
        assert!(passed_on.is_news(soon + PASS_ON_EVERY, remb(3_000)));
    }

    #[test]
    fn loss_is_news_at_once_and_its_absence_after_a_while() {
        let start = Instant::now();
        let soon = start + PASS_ON_EVERY / 2;
        let mut passed_on = PassedOn::default();
        assert!(passed_on.is_news(start, loss(0)));
        assert!(!passed_on.is_news(soon, loss(0)));
        assert!(passed_on.is_news(soon, loss(1)));
        assert!(passed_on.is_news(soon, loss(1)));
        assert!(!passed_on.is_news(start + PASS_ON_EVERY, loss(0)));
        assert!(passed_on.is_news(soon + PASS_ON_EVERY, loss(0)));
    }
}
