//! The camera's clock, as viewers are told it: what keeps sound and picture in step.

use std::time::{Duration, Instant};

use apiary_core::ingest::SenderClock;
use apiary_core::splice::Splice;
use apiary_core::viewer::media::ReportClock;
use apiary_wire::units::NtpTime;

/// Both tracks' RTP clocks against one wall clock, at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamClocks {
    at: Instant,
    ntp: NtpTime,
    video: Option<TrackClock>,
    audio: Option<TrackClock>,
}

#[derive(Clone, Copy, Debug)]
struct TrackClock {
    rtp_time: u32,
    rate: u32,
}

/// What is known of one track's clock.
pub(super) struct TrackTiming<'a> {
    /// The camera's last sender report.
    pub(super) report: Option<SenderClock>,
    pub(super) splice: &'a Splice,
    /// RTP clock rate in Hz.
    pub(super) rate: u32,
}

impl StreamClocks {
    /// Clocks of which nothing is known yet.
    pub(super) fn unknown(now: Instant) -> Self {
        Self {
            at: now,
            ntp: NtpTime(0),
            video: None,
            audio: None,
        }
    }

    /// The clocks at `now`: the camera's wall clock from its reports, and without any `wall`, our own.
    pub(super) fn read(
        now: Instant,
        wall: NtpTime,
        video: &TrackTiming<'_>,
        audio: &TrackTiming<'_>,
    ) -> Self {
        let ntp = video.report.or(audio.report).map_or(wall, |report| {
            after(report.ntp, now.saturating_duration_since(report.received))
        });
        Self {
            at: now,
            ntp,
            video: video.at(now, ntp),
            audio: audio.at(now, ntp),
        }
    }

    /// When they were read.
    pub(super) fn read_at(&self) -> Instant {
        self.at
    }

    /// What sender reports say at `now`, picture first.
    pub(super) fn report(&self, now: Instant) -> [Option<ReportClock>; 2] {
        let passed = now.saturating_duration_since(self.at);
        [self.video, self.audio].map(|clock| {
            let clock = clock?;
            Some(ReportClock {
                ntp: after(self.ntp, passed),
                rtp_time: clock.rtp_time.wrapping_add(ticks(passed, clock.rate)),
            })
        })
    }

    /// The wall clock that viewers echo.
    pub(super) fn ntp(&self, now: Instant) -> NtpTime {
        after(self.ntp, now.saturating_duration_since(self.at))
    }
}

impl TrackTiming<'_> {
    /// By the camera's report, which does not depend on how long it travelled; before any, by the newest packet.
    fn at(&self, now: Instant, ntp: NtpTime) -> Option<TrackClock> {
        let rtp_time = match self.report {
            Some(report) => {
                let passed = i128::from(ntp.0.wrapping_sub(report.ntp.0) as i64);
                let ticks = (passed * i128::from(self.rate)) >> 32;
                report
                    .rtp_time
                    .wrapping_add(ticks as u32)
                    .wrapping_add(self.splice.timestamp_offset())
            }
            None => {
                let (timestamp, arrived) = self.splice.newest()?;
                timestamp.wrapping_add(ticks(now.saturating_duration_since(arrived), self.rate))
            }
        };
        Some(TrackClock {
            rtp_time,
            rate: self.rate,
        })
    }
}

fn ticks(span: Duration, rate: u32) -> u32 {
    (span.as_micros() * u128::from(rate) / 1_000_000) as u32
}

fn after(ntp: NtpTime, span: Duration) -> NtpTime {
    let fraction = (u128::from(span.subsec_nanos()) << 32) / 1_000_000_000;
    NtpTime(ntp.0.wrapping_add((span.as_secs() << 32) + fraction as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_and_picture_share_one_wall_clock_however_late_their_reports_come() {
        let start = Instant::now();
        let ntp = NtpTime(1_000 << 32);
        let mut video_splice = Splice::new(90_000);
        let mut audio_splice = Splice::new(48_000);
        video_splice.map(start, 1, 0);
        audio_splice.map(start, 1, 0);
        let report = |rtp_time, late_ms| {
            Some(SenderClock {
                ntp,
                rtp_time,
                received: start + Duration::from_millis(late_ms),
            })
        };
        let video = TrackTiming {
            report: report(90_000, 0),
            splice: &video_splice,
            rate: 90_000,
        };
        let audio = TrackTiming {
            report: report(48_000, 400),
            splice: &audio_splice,
            rate: 48_000,
        };
        let now = start + Duration::from_secs(1);
        let clocks = StreamClocks::read(now, NtpTime(0), &video, &audio);
        let [picture, sound] = clocks
            .report(now + Duration::from_secs(1))
            .map(Option::unwrap);
        assert_eq!(picture.ntp, NtpTime(1_002 << 32));
        assert_eq!(picture.rtp_time, 90_000 * 3);
        assert_eq!(sound.ntp, picture.ntp);
        assert_eq!(sound.rtp_time, 48_000 * 3);
    }
}
