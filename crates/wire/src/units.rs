//! Quantities that travel in packets, as types. Ids of things are in [`crate::id`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Synchronisation source of an RTP stream (RFC 3550 §3).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// RTP payload type, 0 to 127 (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct PayloadType(u8);

/// A number above 127 was given as a payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an RTP payload type: these go from 0 to 127")]
pub struct PayloadTypeError(pub u8);

impl PayloadType {
    /// `None` above 127.
    pub const fn new(value: u8) -> Option<Self> {
        if value <= 127 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// The low seven bits of the second byte of an RTP packet.
    pub(crate) const fn from_low_bits(byte: u8) -> Self {
        Self(byte & 0x7f)
    }

    /// The number, 0 to 127.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for PayloadType {
    type Error = PayloadTypeError;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        Self::new(value).ok_or(PayloadTypeError(value))
    }
}

impl From<PayloadType> for u8 {
    fn from(value: PayloadType) -> Self {
        value.0
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A rate in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bitrate(u64);

impl Bitrate {
    /// No bits at all.
    pub const ZERO: Self = Self(0);
    /// The largest rate that can be expressed.
    pub const MAX: Self = Self(u64::MAX);

    /// From bits per second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// From kilobits (1000 bits) per second; saturates.
    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps.saturating_mul(1000))
    }

    /// In bits per second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }

    /// In kilobits per second, rounded down.
    pub const fn as_kbps(self) -> u64 {
        self.0 / 1000
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kbit/s", self.as_kbps())
    }
}

/// Wall-clock time as in sender reports: seconds since 1900 in 32.32 fixed point (RFC 3550 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NtpTime(pub u64);

/// Seconds from 1900-01-01 to 1970-01-01.
const NTP_UNIX_OFFSET_S: u64 = 2_208_988_800;
/// Seconds in one NTP era, after which the 32 bits start again (the first ends in February 2036).
const NTP_ERA_S: u64 = 1 << 32;

impl NtpTime {
    /// From the time since 1970-01-01 UTC. The era is lost, as on the wire.
    pub fn from_unix(since_1970: Duration) -> Self {
        let seconds = since_1970.as_secs().wrapping_add(NTP_UNIX_OFFSET_S) % NTP_ERA_S;
        let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
        Self((seconds << 32) | fraction)
    }

    /// The time since 1970-01-01 UTC. Values with the top bit clear are taken as of the era from 2036 on
    /// (RFC 4330 §3).
    pub fn to_unix(self) -> Duration {
        let seconds = self.0 >> 32;
        let era = if seconds & (1 << 31) == 0 {
            NTP_ERA_S
        } else {
            0
        };
        // Within the first era the top bit means at least 1968; the two years before 1970 become 1970.
        let since_1970 = (seconds + era).saturating_sub(NTP_UNIX_OFFSET_S);
        let nanos = ((self.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
        Duration::from_secs(since_1970) + Duration::from_nanos(nanos)
    }

    /// The middle 32 bits, which report blocks carry as `LSR` (RFC 3550 §6.4.1).
    pub const fn middle_32(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// A span in units of 1/65536 s, as in `DLSR`; saturates after 18 hours (RFC 3550 §6.4.1).
    pub fn span_to_short(span: Duration) -> u32 {
        let units = (span.as_nanos() << 16) / 1_000_000_000;
        u32::try_from(units).unwrap_or(u32::MAX)
    }

    /// The inverse of [`NtpTime::span_to_short`].
    pub fn short_to_span(units: u32) -> Duration {
        Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn payload_types_end_at_127() {
        assert_eq!(PayloadType::new(127).map(PayloadType::get), Some(127));
        assert_eq!(PayloadType::new(128), None);
        assert_eq!(PayloadType::try_from(200), Err(PayloadTypeError(200)));
        assert!(serde_json::from_str::<PayloadType>("128").is_err());
    }

    #[test]
    fn bitrates_convert_and_clamp() {
        let rate = Bitrate::from_kbps(1600);
        assert_eq!(rate.as_bps(), 1_600_000);
        assert_eq!(rate.to_string(), "1600 kbit/s");
        assert_eq!(Bitrate::from_bps(1999).as_kbps(), 1);
        assert_eq!(Bitrate::from_kbps(u64::MAX), Bitrate::MAX);
        let bounds = (Bitrate::from_kbps(500), Bitrate::from_kbps(5000));
        assert_eq!(Bitrate::from_kbps(9000).clamp(bounds.0, bounds.1), bounds.1);
    }

    #[test]
    fn ntp_starts_in_1900_and_wraps_in_2036() {
        assert_eq!(NtpTime::from_unix(Duration::ZERO).0, 0x83aa_7e80_0000_0000);
        // 2036-02-07 06:28:16 UTC is the first second of era 1.
        let wrap = Duration::from_secs(2_085_978_496);
        assert_eq!(NtpTime::from_unix(wrap).0, 0);
        assert_eq!(NtpTime(0).to_unix(), wrap);
        let half = NtpTime::from_unix(Duration::from_millis(1500));
        assert_eq!(half.0 & 0xffff_ffff, 1 << 31);
        assert_eq!(half.middle_32(), 0x7e81_8000);
    }

    #[test]
    fn spans_saturate() {
        assert_eq!(NtpTime::span_to_short(Duration::from_secs(2)), 0x2_0000);
        assert_eq!(
            NtpTime::span_to_short(Duration::from_secs(100_000)),
            u32::MAX
        );
        assert_eq!(
            NtpTime::short_to_span(0x1_8000),
            Duration::from_millis(1500)
        );
    }

    proptest! {
        #[test]
        fn ntp_keeps_unix_time_to_the_nanosecond(s in 0u64..4_000_000_000, n in 0u32..1_000_000_000) {
            let time = Duration::new(s, n);
            let back = NtpTime::from_unix(time).to_unix();
            prop_assert!(time - back <= Duration::from_nanos(1), "{time:?} became {back:?}");
        }
    }
}
