//! What a viewer is sent: picture and sound from the rings, start pictures, retransmissions and reports.

use std::time::{Duration, Instant};

use apiary_wire::rtcp::RtcpWriter;
use apiary_wire::units::{NtpTime, PayloadType};

use super::track::{PacketSink, RtxSender, TrackSender};
use crate::ring::{Codec, PacketRing};
use crate::srtp::SrtpSender;

/// How fast the pictures between the start picture and the present are sent: 50 Mbit/s. Browsers lose nothing at that
/// pace, and half of all bursts of over 1,000 packets without it (measured with Chromium).
const CATCH_UP_OCTETS_PER_MS: u64 = 6_250;

/// Longest time whose octets one catch-up step may send at once.
const CATCH_UP_STEP_MS: u64 = 20;

/// A viewer that asks for a key frame within this time of its start lost the start picture itself.
const START_PERIOD: Duration = Duration::from_secs(3);

/// How often such a viewer gets the ring's picture again; later requests go to the camera, which limits them (h20).
const EARLY_RESTARTS: u8 = 3;

/// Octets a second that retransmissions to one viewer may take, and the burst they may come in (h20).
const RETRANSMIT_OCTETS_PER_S: u64 = 500_000;
const RETRANSMIT_BURST: u64 = 256 * 1024;

/// A track's clock, as it goes to viewers in sender reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportClock {
    /// A moment on the camera's wall clock.
    pub ntp: NtpTime,
    /// The same moment on the track's RTP clock, as viewers see it.
    pub rtp_time: u32,
}

/// How the picture reaches a viewer.
pub struct VideoOut {
    track: TrackSender,
    payload_type: PayloadType,
    rtx: Option<RtxSender>,
    flow: Flow,
    budget: Budget,
    early_restarts: u8,
    /// Retransmissions, NACKed packets that were gone, skips to a later picture.
    pub counts: VideoCounts,
}

/// What happened to a viewer's picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoCounts {
    /// Packets sent again.
    pub retransmitted: u64,
    /// NACKed packets that the ring no longer held, or that exceeded the budget.
    pub unanswered: u64,
    /// Times the viewer fell out of the ring and was moved to the next picture it can start with.
    pub skipped: u64,
}

/// Where a viewer stands in the ring.
#[derive(Clone, Copy)]
enum Flow {
    /// For an IDR.
    Waiting,
    /// Behind, from the start picture on.
    CatchingUp {
        next: u64,
        paced_at: Instant,
        started: Instant,
    },
    /// At the head.
    Live { next: u64, started: Instant },
}

/// A token bucket in octets.
struct Budget {
    octets: u64,
    filled: Option<Instant>,
}

impl Budget {
    fn take(&mut self, now: Instant, octets: usize) -> bool {
        let passed = self
            .filled
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.filled = Some(now);
        let gained = passed.as_micros() as u64 * RETRANSMIT_OCTETS_PER_S / 1_000_000;
        self.octets = (self.octets + gained).min(RETRANSMIT_BURST);
        let affordable = self.octets >= octets as u64;
        if affordable {
            self.octets -= octets as u64;
        }
        affordable
    }
}

impl VideoOut {
    /// A picture that waits for its first IDR.
    pub fn new(track: TrackSender, payload_type: PayloadType, rtx: Option<RtxSender>) -> Self {
        Self {
            track,
            payload_type,
            rtx,
            flow: Flow::Waiting,
            early_restarts: EARLY_RESTARTS,
            budget: Budget {
                octets: RETRANSMIT_BURST,
                filled: None,
            },
            counts: VideoCounts::default(),
        }
    }

    /// Whether the viewer waits for an IDR that the ring does not hold.
    pub fn is_waiting(&self) -> bool {
        matches!(self.flow, Flow::Waiting)
    }

    /// When [`send`](Self::send) must be called next although no packet came.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.flow {
            Flow::CatchingUp { paced_at, .. } => Some(paced_at + Duration::from_millis(1)),
            Flow::Waiting | Flow::Live { .. } => None,
        }
    }

    /// The viewer cannot decode: gives `true` when the camera must be asked for a key frame, and otherwise starts over
    /// with the ring's picture.
    pub fn on_key_frame_wanted(&mut self, now: Instant) -> bool {
        let started = match self.flow {
            Flow::Waiting => return true,
            Flow::CatchingUp { started, .. } | Flow::Live { started, .. } => started,
        };
        if now.saturating_duration_since(started) < START_PERIOD && self.early_restarts > 0 {
            self.early_restarts -= 1;
            self.flow = Flow::Waiting;
            return false;
        }
        true
    }

    /// The viewer's path is new: it starts over with the ring's picture.
    pub fn restart(&mut self) {
        self.early_restarts = EARLY_RESTARTS;
        self.flow = Flow::Waiting;
    }

    /// Sends what is due: the start picture, the next step toward the present, or what is new.
    pub fn send(
        &mut self,
        now: Instant,
        srtp: &SrtpSender,
        ring: &PacketRing,
        out: &mut impl PacketSink,
    ) {
        match self.flow {
            Flow::Waiting => self.start(now, srtp, ring, out),
            Flow::CatchingUp {
                next,
                paced_at,
                started,
            } => {
                let passed = now.saturating_duration_since(paced_at).as_millis() as u64;
                if passed == 0 {
                    return;
                }
                let octets = passed.min(CATCH_UP_STEP_MS) * CATCH_UP_OCTETS_PER_MS;
                // What is left of the last millisecond counts the next time.
                let until = paced_at + Duration::from_millis(passed);
                self.advance(next, octets, srtp, ring, out)
                    .settle(self, ring, until, started);
            }
            Flow::Live { next, started } => {
                if next == ring.head() {
                    return;
                }
                self.advance(next, u64::MAX, srtp, ring, out)
                    .settle(self, ring, now, started);
            }
        }
    }

    /// Sends a packet that filled a gap behind the viewer.
    pub fn send_repaired(
        &mut self,
        index: u64,
        srtp: &SrtpSender,
        ring: &PacketRing,
        out: &mut impl PacketSink,
    ) {
        let behind = match self.flow {
            Flow::Waiting => false,
            Flow::CatchingUp { next, .. } | Flow::Live { next, .. } => index < next,
        };
        if behind {
            self.seal(index, srtp, ring, out);
        }
    }

    /// The whole first picture at once, its parameter sets a second time: nothing else tells of a lost first packet.
    fn start(
        &mut self,
        now: Instant,
        srtp: &SrtpSender,
        ring: &PacketRing,
        out: &mut impl PacketSink,
    ) {
        let Some(start) = ring.picture_start() else {
            return;
        };
        self.track.jump(start);
        let end = ring.picture_end(start);
        for index in (start..end).chain(start..end.min(start + 2)) {
            self.seal(index, srtp, ring, out);
        }
        self.flow = Flow::CatchingUp {
            next: end,
            paced_at: now,
            started: now,
        };
        if end == ring.head() {
            self.flow = Flow::Live {
                next: end,
                started: now,
            };
        }
    }

    /// Sends from `next` on until `octets` are used up; tells where it came to.
    fn advance(
        &mut self,
        next: u64,
        octets: u64,
        srtp: &SrtpSender,
        ring: &PacketRing,
        out: &mut impl PacketSink,
    ) -> Progress {
        if next < ring.first() {
            return Progress::Lost;
        }
        let mut used = 0;
        for index in next..ring.head() {
            if used >= octets {
                return Progress::At(index);
            }
            used += self.seal(index, srtp, ring, out) as u64;
        }
        Progress::At(ring.head())
    }

    /// Seals one packet, if it is there; gives its payload octets.
    fn seal(
        &mut self,
        index: u64,
        srtp: &SrtpSender,
        ring: &PacketRing,
        out: &mut impl PacketSink,
    ) -> usize {
        let Some(packet) = ring.get(index) else {
            return 0;
        };
        let sent = self.track.seal(srtp, self.payload_type, index, packet, out);
        if sent { packet.payload.len() } else { 0 }
    }

    /// Sends a NACKed packet again.
    pub fn retransmit(
        &mut self,
        now: Instant,
        sequence_number: u16,
        srtp: &SrtpSender,
        ring: &PacketRing,
        out: &mut impl PacketSink,
    ) {
        let found = self
            .track
            .index_of(sequence_number)
            .and_then(|index| Some((index, ring.get(index)?)));
        let Some((index, packet)) = found else {
            self.counts.unanswered += 1;
            return;
        };
        if !self.budget.take(now, packet.payload.len()) {
            self.counts.unanswered += 1;
            return;
        }
        self.counts.retransmitted += 1;
        match &mut self.rtx {
            Some(rtx) => rtx.seal(srtp, sequence_number, packet, out),
            None => {
                self.seal(index, srtp, ring, out);
            }
        }
    }

    /// The outgoing track.
    pub fn track(&self) -> &TrackSender {
        &self.track
    }
}

/// How far a step through the ring came.
enum Progress {
    At(u64),
    /// The viewer's place is no longer in the ring.
    Lost,
}

impl Progress {
    fn settle(self, video: &mut VideoOut, ring: &PacketRing, now: Instant, started: Instant) {
        video.flow = match self {
            Self::At(next) if next == ring.head() => Flow::Live { next, started },
            Self::At(next) => Flow::CatchingUp {
                next,
                paced_at: now,
                started,
            },
            Self::Lost => {
                video.counts.skipped += 1;
                Flow::Waiting
            }
        };
    }
}

/// How the sound reaches a viewer: live only, in whichever of its codecs comes.
pub struct AudioOut {
    track: TrackSender,
    opus: Option<PayloadType>,
    pcmu: Option<PayloadType>,
    next: Option<u64>,
}

impl AudioOut {
    /// Sound in the codecs that the viewer takes.
    pub fn new(track: TrackSender, opus: Option<PayloadType>, pcmu: Option<PayloadType>) -> Self {
        Self {
            track,
            opus,
            pcmu,
            next: None,
        }
    }

    /// Sends what is new.
    pub fn send(&mut self, srtp: &SrtpSender, ring: &PacketRing, out: &mut impl PacketSink) {
        let newest = ring.head().saturating_sub(1);
        let from = match self.next {
            Some(next) if next >= ring.first() => next,
            Some(_) | None => {
                self.track.jump(newest);
                newest
            }
        };
        for index in from..ring.head() {
            let Some(packet) = ring.get(index) else {
                continue;
            };
            let payload_type = match packet.meta.codec {
                Codec::Opus => self.opus,
                Codec::Pcmu => self.pcmu,
                Codec::H264 => None,
            };
            let Some(payload_type) = payload_type else {
                continue;
            };
            self.track.seal(srtp, payload_type, index, packet, out);
        }
        self.next = Some(ring.head());
    }

    /// The outgoing track.
    pub fn track(&self) -> &TrackSender {
        &self.track
    }
}

/// Appends a compound with the sender reports of the tracks that have sent; `false` when there is nothing to report.
pub fn write_sender_reports(
    tracks: [(Option<&TrackSender>, Option<ReportClock>); 2],
    cname: &str,
    out: &mut Vec<u8>,
) -> bool {
    let before = out.len();
    for (track, clock) in tracks {
        let (Some(track), Some(clock)) = (track, clock) else {
            continue;
        };
        if track.has_sent() {
            RtcpWriter::new(out)
                .sender_report(track.sender_info(clock.ntp, clock.rtp_time), &[])
                .sdes_cname(track.ssrc(), cname);
        }
    }
    out.len() > before
}

#[cfg(test)]
mod tests;
