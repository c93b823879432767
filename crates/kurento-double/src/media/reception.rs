//! How well one source arrives (RFC 3550 appendix A), for receiver reports and statistics.

use std::time::Instant;

use apiary_wire::rtcp::ReportBlock;
use apiary_wire::units::{NtpTime, Ssrc};

use super::facts::Inbound;

#[derive(Debug)]
pub(crate) struct Reception {
    pub(crate) ssrc: Ssrc,
    clock_rate: f64,
    first_sequence: u64,
    highest_sequence: u64,
    received: u64,
    /// Expected and received at the last report.
    reported: (u64, u64),
    transit: Option<f64>,
    /// As reported last.
    fraction_lost: f64,
    jitter: f64,
    started: Instant,
    last_report: Option<(NtpTime, Instant)>,
}

impl Reception {
    pub(crate) fn new(ssrc: Ssrc, clock_rate: u32, sequence: u16, now: Instant) -> Self {
        // One cycle ahead, so that what was overtaken at the start has a number too.
        let first = u64::from(sequence) + (1 << 16);
        Self {
            ssrc,
            clock_rate: f64::from(clock_rate),
            first_sequence: first,
            highest_sequence: first,
            received: 0,
            reported: (0, 0),
            transit: None,
            fraction_lost: 0.0,
            jitter: 0.0,
            started: now,
            last_report: None,
        }
    }

    pub(crate) fn packet(&mut self, sequence: u16, timestamp: u32, now: Instant) {
        let ahead = sequence.wrapping_sub(self.highest_sequence as u16);
        if ahead < 0x8000 {
            self.highest_sequence += u64::from(ahead);
        }
        self.received += 1;
        let arrival = now.duration_since(self.started).as_secs_f64() * self.clock_rate;
        let transit = arrival - f64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit - before).abs();
            // A timestamp that wraps is no jitter.
            if difference < self.clock_rate {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
    }

    pub(crate) fn sender_report(&mut self, ntp: NtpTime, now: Instant) {
        self.last_report = Some((ntp, now));
    }

    fn expected(&self) -> u64 {
        self.highest_sequence - self.first_sequence + 1
    }

    fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    /// Puts what it knows into the statistics.
    pub(crate) fn note(&self, inbound: &mut Inbound) {
        inbound.lost = self.lost();
        inbound.fraction_lost = self.fraction_lost;
        inbound.jitter = self.jitter / self.clock_rate;
    }

    pub(crate) fn report(&mut self, now: Instant) -> ReportBlock {
        let (expected, received) = (self.expected(), self.received);
        let (expected_then, received_then) =
            std::mem::replace(&mut self.reported, (expected, received));
        let missed = (expected - expected_then).saturating_sub(received - received_then);
        let fraction = match expected - expected_then {
            0 => 0,
            expected => (missed * 256 / expected).min(255),
        };
        self.fraction_lost = fraction as f64 / 256.0;
        let (last_sr, delay) = match self.last_report {
            Some((ntp, at)) => (ntp.middle_32(), NtpTime::span_to_short(now - at)),
            None => (0, 0),
        };
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction as u8,
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: self.highest_sequence as u32,
            jitter: self.jitter as u32,
            last_sr,
            delay_since_last_sr: delay,
        }
    }
}
