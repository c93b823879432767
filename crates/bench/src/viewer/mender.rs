//! A viewer that mends what the path loses, as a browser does: it asks for missing packets, takes retransmissions
//! (RFC 4588) and holds back what comes behind a gap. Without sockets and clocks.

use std::time::{Duration, Instant};

use apiary_wire::rtcp::{ReportBlock, RtcpWriter};
use apiary_wire::sdp::camera::H264_CLOCK_RATE;
use apiary_wire::{Bitrate, Ssrc};

use super::header::ClearHeader;
use super::ledger::Ledger;
use super::nack::{NackCounts, NackList};
use super::offer::{Answer, RtxSource};
use super::picture::{Pictures, Progress};
use super::reorder::{Packet, Released, Reorder};
use super::srtp::SrtpOpener;

/// RTP time from one picture to the next at the 30 a second of the simulated camera.
const PICTURE_TICKS: u32 = H264_CLOCK_RATE / 30;
/// From one report to the next, as Chromium.
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// More than any camera sends: loss alone shall tell the server of this path.
const REMB: Bitrate = Bitrate::from_kbps(20_000);

/// What such a viewer has seen of the picture's track.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MenderCounts {
    /// Packets as they were first sent.
    pub(crate) packets: u64,
    /// Retransmissions that could be opened and used.
    pub(crate) retransmissions: u64,
    pub(crate) nacks: NackCounts,
    /// Packets that were given up.
    pub(crate) given_up: u64,
    /// Pictures that ended, whole or not.
    pub(crate) pictures: u64,
    /// Pictures that were whole, and nothing before them back to their IDR was missing.
    pub(crate) complete: u64,
    /// Packets that were not authentic or made no sense.
    pub(crate) unusable: u64,
    /// The longest time between two pictures that could be shown.
    pub(crate) longest_freeze: Duration,
}

/// The viewer's state.
pub(crate) struct Mender {
    video_payload_type: u8,
    rtx: Option<RtxSource>,
    /// Whether it asks for what is missing; without, it only waits.
    asks: bool,
    own_ssrc: Ssrc,
    video: Option<Track>,
    reorder: Reorder,
    pictures: Pictures,
    ledger: Ledger,
    retransmissions: u64,
    unusable: u64,
    next_report: Instant,
}

/// Reception of the picture's SSRC.
struct Track {
    ssrc: u32,
    /// Extended sequence number of the newest packet, one cycle up so that none is below zero.
    highest: u64,
    first: u64,
    received: u64,
    missing: NackList,
    /// Expected and received at the last report.
    reported: (u64, u64),
}

impl Mender {
    /// A viewer with its answer; it speaks as `own_ssrc`.
    pub(crate) fn new(now: Instant, answer: &Answer, asks: bool, own_ssrc: Ssrc) -> Self {
        Self {
            video_payload_type: answer.video_payload_type,
            rtx: answer.rtx,
            asks,
            own_ssrc,
            video: None,
            reorder: Reorder::default(),
            pictures: Pictures::default(),
            ledger: Ledger::new(PICTURE_TICKS),
            retransmissions: 0,
            unusable: 0,
            next_report: now + REPORT_EVERY,
        }
    }

    /// Takes an SRTP packet.
    pub(crate) fn handle_rtp(&mut self, now: Instant, opener: &mut SrtpOpener, packet: &[u8]) {
        let Some(header) = ClearHeader::parse(packet) else {
            self.unusable += 1;
            return;
        };
        let is_video = header.payload_type == self.video_payload_type;
        let rtx = self
            .rtx
            .filter(|rtx| rtx.ssrc == header.ssrc && rtx.payload_type == header.payload_type);
        if !is_video && rtx.is_none() {
            return;
        }
        let Some(payload) = opener.open(&header, packet) else {
            self.unusable += 1;
            return;
        };
        match rtx {
            None => self.on_original(now, header, payload),
            Some(rtx) => self.on_retransmission(now, rtx, header, &payload),
        }
        self.release(now);
    }

    fn on_original(&mut self, now: Instant, header: ClearHeader, payload: Vec<u8>) {
        let track = self
            .video
            .get_or_insert_with(|| Track::new(header.ssrc, header.sequence_number));
        let Some(number) = track.extend(header.sequence_number) else {
            self.unusable += 1;
            return;
        };
        track.received += 1;
        track.highest = track.highest.max(number);
        self.take(now, number, header, payload);
    }

    /// RFC 4588 §4: the original's sequence number, then its payload.
    fn on_retransmission(
        &mut self,
        now: Instant,
        rtx: RtxSource,
        header: ClearHeader,
        payload: &[u8],
    ) {
        let (Some(track), Some((original, payload))) =
            (&self.video, payload.split_first_chunk::<2>())
        else {
            self.unusable += 1;
            return;
        };
        let original = u16::from_be_bytes(*original);
        let Some(number) = track.extend(original) else {
            self.unusable += 1;
            return;
        };
        self.retransmissions += 1;
        let header = ClearHeader {
            payload_type: self.video_payload_type,
            sequence_number: original,
            ssrc: rtx.original_ssrc,
            ..header
        };
        self.take(now, number, header, payload.to_vec());
    }

    fn take(&mut self, now: Instant, number: u64, header: ClearHeader, payload: Vec<u8>) {
        if let Some(track) = &mut self.video {
            track.missing.on_packet(now, number);
        }
        let packet = Packet {
            header,
            payload,
            arrived: now,
        };
        self.reorder.push(number, packet);
    }

    /// Lets out of the jitter buffer what is due.
    fn release(&mut self, now: Instant) {
        while let Some(released) = self.reorder.pop(now) {
            let packet = match released {
                Released::Packet(packet) => packet,
                Released::Gap(_) => {
                    self.ledger.on_gap();
                    continue;
                }
            };
            let (timestamp, marker) = (packet.header.timestamp, packet.header.marker);
            self.ledger.on_packet(timestamp, marker);
            match self.pictures.push(&packet.header, &packet.payload).progress {
                Progress::Picture { .. } => self.ledger.on_shown(now),
                Progress::Nothing => {}
            }
        }
        if let (Some(track), Some(next)) = (&mut self.video, self.reorder.next()) {
            track.missing.forget_before(next);
        }
    }

    /// When [`Mender::poll`] has something to do.
    pub(crate) fn next_timeout(&self) -> Instant {
        let nack = self
            .video
            .as_ref()
            .filter(|_| self.asks)
            .and_then(|track| track.missing.next_timeout());
        [nack, self.reorder.next_timeout()]
            .into_iter()
            .flatten()
            .fold(self.next_report, Instant::min)
    }

    /// Does what is due; gives an RTCP compound to seal and send.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.release(now);
        let track = self.video.as_mut()?;
        let ssrc = Ssrc(track.ssrc);
        let due = match self.asks {
            true => track.missing.poll(now),
            false => Vec::new(),
        };
        let reports = now >= self.next_report;
        if due.is_empty() && !reports {
            return None;
        }
        let mut compound = Vec::new();
        let mut writer = RtcpWriter::new(&mut compound);
        if reports {
            self.next_report = (self.next_report + REPORT_EVERY).max(now);
            writer
                .receiver_report(self.own_ssrc, &[track.report()])
                .sdes_cname(self.own_ssrc, "bench")
                .remb(self.own_ssrc, REMB, &[ssrc]);
        } else {
            writer.receiver_report(self.own_ssrc, &[]);
        }
        writer.nack(self.own_ssrc, ssrc, due.into_iter());
        Some(compound)
    }

    /// What was seen so far.
    pub(crate) fn counts(&self) -> MenderCounts {
        let track = self.video.as_ref();
        MenderCounts {
            packets: track.map_or(0, |track| track.received),
            retransmissions: self.retransmissions,
            nacks: track.map_or_else(NackCounts::default, |track| track.missing.counts()),
            given_up: self.reorder.given_up(),
            pictures: self.ledger.ended(),
            complete: self.pictures.complete(),
            unusable: self.unusable + self.pictures.broken(),
            longest_freeze: self.ledger.longest_freeze(),
        }
    }

    /// Forgets the longest times so far, for a measurement that begins now.
    pub(crate) fn begin_measuring(&mut self) {
        self.ledger.begin_measuring();
        if let Some(track) = &mut self.video {
            track.missing.begin_measuring();
        }
    }
}

impl Track {
    fn new(ssrc: u32, sequence_number: u16) -> Self {
        let first = u64::from(sequence_number) + (1 << 16);
        Self {
            ssrc,
            highest: first,
            first,
            received: 0,
            missing: NackList::default(),
            reported: (0, 0),
        }
    }

    /// The number nearest to the highest.
    fn extend(&self, sequence_number: u16) -> Option<u64> {
        let ahead = sequence_number.wrapping_sub(self.highest as u16) as i16;
        self.highest.checked_add_signed(i64::from(ahead))
    }

    /// RFC 3550 §6.4.1; retransmissions have an SSRC of their own and do not hide a loss.
    fn report(&mut self) -> ReportBlock {
        let expected = self.highest - self.first + 1;
        let (expected_then, received_then) = self.reported;
        self.reported = (expected, self.received);
        let interval = expected - expected_then;
        let lost = interval.saturating_sub(self.received - received_then);
        let fraction = (lost * 256).checked_div(interval).unwrap_or(0).min(255);
        let cumulative = expected as i64 - self.received as i64;
        ReportBlock {
            ssrc: Ssrc(self.ssrc),
            fraction_lost: fraction as u8,
            cumulative_lost: i32::try_from(cumulative).unwrap_or(i32::MAX),
            highest_sequence: (self.highest - (1 << 16)) as u32,
            ..ReportBlock::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_what_the_path_lost() {
        let mut track = Track::new(9, 65_534);
        for number in [65_534u16, 65_535, 1, 2] {
            track.highest = track.extend(number).unwrap();
            track.received += 1;
        }
        let block = track.report();
        assert_eq!(block.cumulative_lost, 1);
        assert_eq!(block.fraction_lost, (256 / 5) as u8);
        assert_eq!(block.highest_sequence, 65_538);
        assert_eq!(track.report().fraction_lost, 0);
    }
}
