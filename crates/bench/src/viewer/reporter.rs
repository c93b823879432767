//! The RTCP that a viewer sends: receiver report, CNAME and REMB, as often as a browser does.

use std::time::{Duration, Instant};

use apiary_wire::rtcp::{ReportBlock, RtcpWriter};
use apiary_wire::{Bitrate, Ssrc};

use super::srtp::SrtcpSealer;

/// Until the first report: spread over the interval by a multiplication with the golden ratio (Knuth's hash), so that
/// viewers who joined together do not report together.
fn first_pause(ssrc: Ssrc, interval: Duration) -> Duration {
    let share = ssrc.0.wrapping_mul(0x9E37_79B9);
    interval.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

/// More than any camera sends: these viewers slow nobody down.
const REMB: Bitrate = Bitrate::from_kbps(20_000);

/// Sends reports from when the keys are there.
pub(crate) struct Reporter {
    sealer: SrtcpSealer,
    ssrc: Ssrc,
    interval: Duration,
    next: Instant,
}

impl Reporter {
    /// Reports each `interval`, as `ssrc`.
    pub(crate) fn new(sealer: SrtcpSealer, ssrc: Ssrc, interval: Duration, now: Instant) -> Self {
        Self {
            sealer,
            ssrc,
            interval,
            next: now + first_pause(ssrc, interval),
        }
    }

    /// When the next report is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// The report about `received` (SSRC and highest extended sequence number), if one is due.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        received: impl Iterator<Item = (Ssrc, u32)>,
    ) -> Option<Vec<u8>> {
        if self.next > now {
            return None;
        }
        self.next = (self.next + self.interval).max(now);
        let blocks: Vec<ReportBlock> = received
            .map(|(ssrc, highest_sequence)| ReportBlock {
                ssrc,
                fraction_lost: 0,
                cumulative_lost: 0,
                highest_sequence,
                jitter: 0,
                last_sr: 0,
                delay_since_last_sr: 0,
            })
            .collect();
        let media: Vec<Ssrc> = blocks.iter().map(|block| block.ssrc).collect();
        let mut compound = Vec::with_capacity(256);
        RtcpWriter::new(&mut compound)
            .receiver_report(self.ssrc, &blocks)
            .sdes_cname(self.ssrc, "bench")
            .remb(self.ssrc, REMB, &media);
        self.sealer.seal(&mut compound)?;
        Some(compound)
    }
}
