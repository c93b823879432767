//! The RTCP that a camera gets: reports each second, requests when something is missing.
//!
//! The camera ends its stream about 30 s after the last REMB (camera-protocol.md, "Keeping the stream
//! alive"), so reports start with the first RTP packet and depend on nothing else: no sender report, no
//! viewer. Reduced-size RTCP (RFC 5506) is not negotiated, so each datagram is RR, SDES, then the rest.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apiary_wire::rtcp::RtcpWriter;
use apiary_wire::units::{Bitrate, Ssrc};

use super::destination::RtcpDestination;
use super::key_frame::{KeyFrameRequest, KeyFrameRequests};
use super::loss::MissingList;
use super::track::{TrackKind, TrackReceiver};

/// Time between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two reports when the target falls.
const EARLY_REPORT_INTERVAL: Duration = Duration::from_millis(200);
/// A fall below this share of the last REMB, in percent, is told at once.
const NOTABLE_FALL_PERCENT: u64 = 97;

/// Who speaks to the camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackConfig {
    /// Our SSRC in RTCP. Random, and none of the camera's.
    pub sender_ssrc: Ssrc,
    /// Our CNAME; 255 bytes of it are sent at most.
    pub cname: String,
}

/// The REMBs sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RembHistory {
    /// Value of the last one.
    pub last: Option<Bitrate>,
    /// How many.
    pub count: u64,
    /// Longest time between two.
    pub max_gap: Duration,
    sent: Option<Instant>,
}

impl RembHistory {
    fn on_sent(&mut self, now: Instant, value: Bitrate) {
        if let Some(before) = self.sent.replace(now) {
            self.max_gap = self.max_gap.max(now.saturating_duration_since(before));
        }
        self.last = Some(value);
        self.count += 1;
    }
}

/// Decides what goes to the camera over RTCP, when and where to.
#[derive(Clone, Debug)]
pub struct CameraFeedback {
    config: FeedbackConfig,
    video: TrackFeedback,
    audio: TrackFeedback,
    key_frames: KeyFrameRequests,
    remb: RembHistory,
}

#[derive(Clone, Debug, Default)]
struct TrackFeedback {
    destination: RtcpDestination,
    reports: ReportSchedule,
}

#[derive(Clone, Copy, Debug, Default)]
struct ReportSchedule {
    next: Option<Instant>,
    last: Option<Instant>,
}

impl ReportSchedule {
    /// Says whether a report is due, and if so sets the time of the next.
    fn take_due(&mut self, now: Instant) -> bool {
        let Some(due) = self.next.filter(|due| *due <= now) else {
            return false;
        };
        let next = due + REPORT_INTERVAL;
        // Keeps its beat when called a little late, and starts a new one after a pause.
        self.next = Some(if next > now {
            next
        } else {
            now + REPORT_INTERVAL
        });
        self.last = Some(now);
        true
    }

    fn hurry(&mut self, now: Instant) {
        let early = self
            .last
            .map_or(now, |last| now.max(last + EARLY_REPORT_INTERVAL));
        self.next = self.next.map(|next| next.min(early));
    }
}

impl CameraFeedback {
    /// Nothing is sent until RTP comes.
    #[must_use]
    pub fn new(config: FeedbackConfig) -> Self {
        Self {
            config,
            video: TrackFeedback::default(),
            audio: TrackFeedback::default(),
            key_frames: KeyFrameRequests::default(),
            remb: RembHistory::default(),
        }
    }

    /// Forgets where the camera is; the REMB history goes on.
    pub fn rearm(&mut self, config: FeedbackConfig) {
        self.config = config;
        self.video = TrackFeedback::default();
        self.audio = TrackFeedback::default();
        self.key_frames.on_key_frame();
    }

    /// The first RTP packet of a track came from `source`: its first report is due at once.
    pub fn on_rtp_source(&mut self, now: Instant, kind: TrackKind, source: SocketAddr) {
        let track = self.track(kind);
        track.destination.on_rtp_source(now, source);
        track.reports.next = Some(now);
    }

    /// The track's RTCP addresses.
    pub fn destination(&mut self, kind: TrackKind) -> &mut RtcpDestination {
        &mut self.track(kind).destination
    }

    /// The wish for a key frame.
    pub fn key_frames(&mut self) -> &mut KeyFrameRequests {
        &mut self.key_frames
    }

    /// Requests for a key frame sent.
    #[must_use]
    pub fn key_frame_requests(&self) -> u64 {
        self.key_frames.sent()
    }

    /// The REMBs sent so far.
    #[must_use]
    pub fn remb(&self) -> &RembHistory {
        &self.remb
    }

    /// The target is this now; a notable fall is told at once instead of with the next report.
    pub fn on_target(&mut self, now: Instant, target: Bitrate) {
        let last = self.remb.last.unwrap_or(Bitrate::ZERO).as_bps();
        if target.as_bps() < last / 100 * NOTABLE_FALL_PERCENT {
            self.video.reports.hurry(now);
        }
    }

    /// When [`CameraFeedback::poll_video`] or [`CameraFeedback::poll_audio`] has something to send.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Without a destination a key frame can be wanted, but not asked for.
        let key_frame = self
            .video
            .destination
            .address()
            .and_then(|_| self.key_frames.poll_timeout());
        [self.video.reports.next, self.audio.reports.next, key_frame]
            .into_iter()
            .flatten()
            .min()
    }

    /// Writes the next datagram about the picture: report with REMB, NACK for `missing`, key-frame
    /// request, or all of them in one. `None` when nothing is due.
    pub fn poll_video(
        &mut self,
        now: Instant,
        track: &mut TrackReceiver,
        (missing, target): (&MissingList, Bitrate),
        out: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let address = self.video.destination.address()?;
        let report_due = self.video.reports.take_due(now);
        let key_frame = self.key_frames.poll(now);
        if !report_due && key_frame.is_none() && missing.is_empty() {
            return None;
        }
        let (sender, media) = (self.config.sender_ssrc, track.config().ssrc);
        let mut writer = self.start_compound(now, track, out);
        if report_due {
            writer.remb(sender, target, &[media]);
        }
        writer.nack(sender, media, missing.iter().copied());
        match key_frame {
            Some(KeyFrameRequest::Pli) => {
                writer.pli(sender, media);
            }
            Some(KeyFrameRequest::Fir { sequence_number }) => {
                writer.fir(sender, media, sequence_number);
            }
            None => {}
        }
        if report_due {
            self.remb.on_sent(now, target);
            self.video.destination.on_report_sent(now);
        }
        Some(address)
    }

    /// Writes the next report about the sound. `None` when none is due.
    pub fn poll_audio(
        &mut self,
        now: Instant,
        track: &mut TrackReceiver,
        out: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let address = self.audio.destination.address()?;
        if !self.audio.reports.take_due(now) {
            return None;
        }
        self.start_compound(now, track, out);
        self.audio.destination.on_report_sent(now);
        Some(address)
    }

    /// RR and SDES, which each compound begins with (RFC 3550 §6.1).
    fn start_compound<'b>(
        &self,
        now: Instant,
        track: &mut TrackReceiver,
        out: &'b mut Vec<u8>,
    ) -> RtcpWriter<'b> {
        let sender = self.config.sender_ssrc;
        let block = track.report_block(now);
        let mut writer = RtcpWriter::new(out);
        writer.receiver_report(sender, block.as_slice());
        writer.sdes_cname(sender, &self.config.cname);
        writer
    }

    fn track(&mut self, kind: TrackKind) -> &mut TrackFeedback {
        match kind {
            TrackKind::Video => &mut self.video,
            TrackKind::Audio => &mut self.audio,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_keep_their_beat_when_polled_late() {
        let start = Instant::now();
        let mut schedule = ReportSchedule {
            next: Some(start),
            last: None,
        };
        assert!(schedule.take_due(start + Duration::from_millis(30)));
        assert_eq!(schedule.next, Some(start + REPORT_INTERVAL));
        assert!(!schedule.take_due(start + Duration::from_millis(999)));
        let late = start + Duration::from_secs(10);
        assert!(schedule.take_due(late));
        assert_eq!(
            schedule.next,
            Some(late + REPORT_INTERVAL),
            "no catching up"
        );
    }

    #[test]
    fn a_falling_target_is_told_early_but_not_too_often() {
        let start = Instant::now();
        let mut feedback = CameraFeedback::new(FeedbackConfig {
            sender_ssrc: Ssrc(1),
            cname: "apiary".into(),
        });
        feedback.video.reports.next = Some(start + REPORT_INTERVAL);
        feedback.video.reports.last = Some(start);
        feedback.remb.on_sent(start, Bitrate::from_kbps(1000));
        feedback.on_target(start, Bitrate::from_kbps(980));
        assert_eq!(feedback.poll_timeout(), Some(start + REPORT_INTERVAL));
        feedback.on_target(start, Bitrate::from_kbps(900));
        assert_eq!(feedback.poll_timeout(), Some(start + EARLY_REPORT_INTERVAL));
    }
}
