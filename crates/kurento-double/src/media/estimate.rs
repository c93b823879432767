//! Which bitrate an RtpEndpoint asks the camera for.

use std::time::{Duration, Instant};

/// Above this, each REMB is only a little higher than the one before.
const RAMP_END_BPS: f64 = 2_000_000.0;
const RAMP_FACTOR: f64 = 1.04;
const STEP_BPS: f64 = 50.0;
/// Over less, the first burst would pass for the rate.
const MEASURED_AT_LEAST: Duration = Duration::from_millis(250);
/// What a measuring window over the first IDR alone makes of it.
const WILD_BPS: f64 = 60_000_000.0;

/// The endpoint's own estimate.
#[derive(Debug)]
pub(crate) struct Estimate {
    wild: bool,
    cap_bps: Option<u64>,
    first_packet: Option<Instant>,
    bytes: u64,
    current_bps: Option<f64>,
}

impl Estimate {
    pub(crate) fn new(wild: bool, cap_bps: Option<u64>) -> Self {
        Self {
            wild,
            cap_bps,
            first_packet: None,
            bytes: 0,
            current_bps: None,
        }
    }

    pub(crate) fn packet(&mut self, now: Instant, len: usize) {
        self.first_packet.get_or_insert(now);
        self.bytes += len as u64;
    }

    /// The estimate for the next REMB; `None` before there was enough to measure.
    pub(crate) fn next_bps(&mut self, now: Instant) -> Option<u64> {
        let next = match self.current_bps {
            None if self.wild => WILD_BPS,
            None => self.measured(now)?,
            Some(bps) if bps < RAMP_END_BPS => (bps * RAMP_FACTOR).min(RAMP_END_BPS),
            Some(bps) => bps + STEP_BPS,
        };
        self.current_bps = Some(next);
        Some((next as u64).min(self.cap_bps.unwrap_or(u64::MAX)))
    }

    fn measured(&self, now: Instant) -> Option<f64> {
        let span = now.saturating_duration_since(self.first_packet?);
        let bits = self.bytes as f64 * 8.0;
        (span >= MEASURED_AT_LEAST).then(|| bits / span.as_secs_f64())
    }
}
