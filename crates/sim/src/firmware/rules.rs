//! The firmware's numbers: what was observed on cameras or is assumed of them, each in one place.

use std::time::Duration;

use apiary_wire::Bitrate;

/// The firmware's timings and limits. The defaults are a VBC01's; tests shorten some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirmwareRules {
    /// A stream ends this long after its last keepalive (*assumed* of the camera). Default 30 s.
    pub keepalive_timeout: Duration,
    /// A stream ends this long after the last REMB for its video SSRC. Default 30 s.
    pub remb_timeout: Duration,
    /// How often the encoder takes over what REMB says. Default 5 s.
    pub bitrate_interval: Duration,
    /// The lowest bitrate REMB can bring it to. Default 500 kbit/s.
    pub min_bitrate: Bitrate,
    /// The highest one. Default 5000 kbit/s.
    pub max_bitrate: Bitrate,
    /// What a stream starts with. Default 5000 kbit/s.
    pub start_bitrate: Bitrate,
    /// From one IDR to the next where none is asked for. Default 2 s; cameras have 2 to 4 s.
    pub idr_interval: Duration,
    /// The least time between two IDRs sent for PLI or FIR. Default 1 s.
    pub idr_min_gap: Duration,
    /// How long a packet can be had again by NACK (*assumed*). Default 1 s.
    pub history: Duration,
    /// From one sender report to the next. Default 1 s.
    pub report_interval: Duration,
}

/// From the start of a stream to its first sender report.
pub(super) const FIRST_REPORT: Duration = Duration::from_millis(200);

impl Default for FirmwareRules {
    fn default() -> Self {
        Self {
            keepalive_timeout: Duration::from_secs(30),
            remb_timeout: Duration::from_secs(30),
            bitrate_interval: Duration::from_secs(5),
            min_bitrate: Bitrate::from_kbps(500),
            max_bitrate: Bitrate::from_kbps(5000),
            start_bitrate: Bitrate::from_kbps(5000),
            idr_interval: Duration::from_secs(2),
            idr_min_gap: Duration::from_secs(1),
            history: Duration::from_secs(1),
            report_interval: Duration::from_secs(1),
        }
    }
}

impl FirmwareRules {
    /// `bitrate` within what the encoder can do.
    pub(super) fn clamp(&self, bitrate: Bitrate) -> Bitrate {
        bitrate.min(self.max_bitrate).max(self.min_bitrate)
    }
}
