//! Reception statistics of one RTP source as RFC 3550 defines them: loss (A.3), jitter (A.8), and the
//! sender's clock from its reports (§6.4.1).
//!
//! Which packets count is decided before; what to do about loss is decided after.

use std::time::{Duration, Instant};

use apiary_wire::rtcp::ReportBlock;
use apiary_wire::units::{NtpTime, Ssrc};

/// Bounds of the 24-bit signed cumulative loss (RFC 3550 A.3).
const CUMULATIVE_LOST_MAX: i64 = 0x7f_ffff;
const CUMULATIVE_LOST_MIN: i64 = -0x80_0000;

/// The sender's wall clock beside its RTP clock, from its last sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderClock {
    /// The sender's time.
    pub ntp: NtpTime,
    /// The same moment on the track's RTP clock.
    pub rtp_time: u32,
    /// When the report came, on our clock.
    pub received: Instant,
}

impl SenderClock {
    /// The report's age in 1/65536 s, as a report block carries it (RFC 3550 §6.4.1).
    fn delay(&self, now: Instant) -> u32 {
        NtpTime::span_to_short(now.saturating_duration_since(self.received))
    }
}

/// Counts what was expected and what came, and measures how evenly it came.
#[derive(Clone, Debug, Default)]
pub struct ReceptionStatistics {
    run: Option<Run>,
    /// What runs that have ended (jumps) lost; not reported in RTCP, which starts anew with each run.
    lost_before: u64,
    jitter: Jitter,
}

/// One run of consecutive numbers, from a first packet or a jump on.
#[derive(Clone, Copy, Debug)]
struct Run {
    base: u64,
    highest: u64,
    received: u64,
    repaired: u64,
    report: Interval,
    rate: Interval,
}

/// State at the end of the last interval.
#[derive(Clone, Copy, Debug, Default)]
struct Interval {
    expected: u64,
    received: u64,
}

impl Interval {
    /// Ends the interval; the share that was lost in it.
    fn end(&mut self, expected: u64, received: u64) -> LossShare {
        let share = LossShare {
            expected: expected.saturating_sub(self.expected),
            lost: expected.saturating_sub(self.expected) as i64 - received as i64
                + self.received as i64,
        };
        *self = Self { expected, received };
        share
    }
}

struct LossShare {
    expected: u64,
    lost: i64,
}

impl LossShare {
    /// RFC 3550 A.3: lost / expected in 1/256, 0 when nothing is missing.
    fn fraction(&self) -> u8 {
        let Ok(lost) = u64::try_from(self.lost) else {
            return 0;
        };
        if self.expected == 0 {
            return 0;
        }
        u8::try_from((lost << 8) / self.expected).unwrap_or(u8::MAX)
    }
}

impl Run {
    fn new(extended: u64) -> Self {
        Self {
            base: extended,
            highest: extended,
            received: 1,
            repaired: 0,
            report: Interval::default(),
            rate: Interval::default(),
        }
    }

    fn expected(&self) -> u64 {
        self.highest - self.base + 1
    }

    fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }
}

impl ReceptionStatistics {
    /// A first packet, or the first after a jump: the counts start anew (RFC 3550 A.1, `init_seq`).
    pub fn start(&mut self, extended: u64) {
        self.end_run();
        self.run = Some(Run::new(extended));
    }

    /// The sender stops, or goes on from elsewhere: nothing to report until the next packet.
    pub fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.lost_before += run.lost().max(0) as u64;
        }
        self.jitter.transit = None;
    }

    /// A packet above all before it.
    pub fn advance(&mut self, extended: u64) {
        if let Some(run) = &mut self.run {
            run.highest = run.highest.max(extended);
            run.received += 1;
        }
    }

    /// A packet that came late. `repaired`: because it was asked for again.
    pub fn fill(&mut self, extended: u64, repaired: bool) {
        if let Some(run) = &mut self.run {
            // Sent before the packet that happened to come first.
            run.base = run.base.min(extended);
            run.received += 1;
            run.repaired += u64::from(repaired);
        }
    }

    /// Measures jitter with a packet in order (RFC 3550 A.8).
    ///
    /// Late packets are left out: a retransmission says nothing about the path's evenness.
    pub fn measure_jitter(&mut self, now: Instant, rtp_time: u32, clock_rate: u32) {
        self.jitter.measure(now, rtp_time, clock_rate);
    }

    /// Packets missing for good or still awaited, over all runs.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let current = self.run.map_or(0, |run| run.lost().max(0) as u64);
        self.lost_before + current
    }

    /// Interarrival jitter in units of the RTP clock.
    #[must_use]
    pub fn jitter(&self) -> u32 {
        self.jitter.value()
    }

    /// A report block for `ssrc`; ends the interval of the fraction lost. `None` before any packet.
    pub fn report_block(
        &mut self,
        now: Instant,
        ssrc: Ssrc,
        clock: Option<&SenderClock>,
    ) -> Option<ReportBlock> {
        let jitter = self.jitter.value();
        let run = self.run.as_mut()?;
        let share = run.report.end(run.expected(), run.received);
        let cumulative = run.lost().clamp(CUMULATIVE_LOST_MIN, CUMULATIVE_LOST_MAX);
        Some(ReportBlock {
            ssrc,
            fraction_lost: share.fraction(),
            cumulative_lost: cumulative as i32,
            // The cycle count of RFC 3550 starts at 0; ours starts at 1.
            highest_sequence: run.highest.wrapping_sub(1 << 16) as u32,
            jitter,
            last_sr: clock.map_or(0, |clock| clock.ntp.middle_32()),
            delay_since_last_sr: clock.map_or(0, |clock| clock.delay(now)),
        })
    }

    /// Fraction lost on the path since the last call, in 1/256. Repaired packets count as lost here:
    /// this is about the path, not about the picture.
    pub fn path_loss(&mut self) -> u8 {
        let Some(run) = &mut self.run else {
            return 0;
        };
        let direct = run.received - run.repaired;
        run.rate.end(run.expected(), direct).fraction()
    }
}

/// RFC 3550 A.8 with its integer arithmetic: `scaled` is 16 times the jitter.
#[derive(Clone, Debug, Default)]
struct Jitter {
    scaled: u32,
    transit: Option<Transit>,
    epoch: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Transit {
    value: u32,
    clock_rate: u32,
}

impl Jitter {
    fn measure(&mut self, now: Instant, rtp_time: u32, clock_rate: u32) {
        let epoch = *self.epoch.get_or_insert(now);
        let arrival = ticks(now.saturating_duration_since(epoch), clock_rate);
        let value = arrival.wrapping_sub(rtp_time);
        let before = self.transit.replace(Transit { value, clock_rate });
        match before {
            Some(before) if before.clock_rate == clock_rate => {
                let difference = value
                    .wrapping_sub(before.value)
                    .cast_signed()
                    .unsigned_abs();
                let decay = (self.scaled.saturating_add(8)) >> 4;
                self.scaled = self.scaled.saturating_add(difference) - decay;
            }
            // Another codec's clock cannot be compared.
            Some(_) | None => {}
        }
    }

    fn value(&self) -> u32 {
        self.scaled >> 4
    }
}

/// A duration on an RTP clock, modulo 2^32.
fn ticks(elapsed: Duration, clock_rate: u32) -> u32 {
    let whole = elapsed.as_secs().wrapping_mul(u64::from(clock_rate));
    let part = u64::from(elapsed.subsec_nanos()) * u64::from(clock_rate) / 1_000_000_000;
    whole.wrapping_add(part) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: Ssrc = Ssrc(0xcafe);
    const BASE: u64 = 0x1_0000;

    fn block(statistics: &mut ReceptionStatistics) -> ReportBlock {
        statistics.report_block(Instant::now(), SSRC, None).unwrap()
    }

    #[test]
    fn nothing_to_report_before_a_packet() {
        let mut statistics = ReceptionStatistics::default();
        assert!(
            statistics
                .report_block(Instant::now(), SSRC, None)
                .is_none()
        );
        assert_eq!(statistics.path_loss(), 0);
    }

    #[test]
    fn loss_is_counted_per_interval_and_in_all() {
        let mut statistics = ReceptionStatistics::default();
        statistics.start(BASE);
        for number in 1..100 {
            if number % 4 != 0 {
                statistics.advance(BASE + number);
            }
        }
        let first = block(&mut statistics);
        assert_eq!(first.cumulative_lost, 24);
        assert_eq!(first.fraction_lost, 61, "24 of 100 in 1/256");
        assert_eq!(first.highest_sequence, 99);
        statistics.advance(BASE + 100);
        let second = block(&mut statistics);
        assert_eq!((second.fraction_lost, second.cumulative_lost), (0, 24));
        assert_eq!(statistics.lost(), 24);
    }

    #[test]
    fn repairs_heal_the_report_but_not_the_path() {
        let mut statistics = ReceptionStatistics::default();
        statistics.start(BASE);
        statistics.advance(BASE + 3);
        statistics.fill(BASE + 1, true);
        statistics.fill(BASE + 2, false);
        assert_eq!(block(&mut statistics).fraction_lost, 0);
        assert_eq!(
            statistics.path_loss(),
            64,
            "one of four was lost on the way"
        );
        assert_eq!(statistics.path_loss(), 0, "a new interval");
    }

    #[test]
    fn what_came_before_the_first_packet_is_no_negative_loss() {
        let mut statistics = ReceptionStatistics::default();
        statistics.start(BASE + 1);
        statistics.fill(BASE, false);
        assert_eq!(block(&mut statistics).cumulative_lost, 0);
    }

    #[test]
    fn cumulative_loss_is_clamped_to_24_bits() {
        let mut statistics = ReceptionStatistics::default();
        statistics.start(BASE);
        statistics.advance(BASE + 0x100_0000);
        let block = block(&mut statistics);
        assert_eq!(block.cumulative_lost, 0x7f_ffff);
        assert_eq!(block.fraction_lost, 255);
    }

    #[test]
    fn a_jump_starts_the_report_anew_but_keeps_the_total() {
        let mut statistics = ReceptionStatistics::default();
        statistics.start(BASE);
        statistics.advance(BASE + 5);
        statistics.start(BASE + 40_000);
        assert_eq!(block(&mut statistics).cumulative_lost, 0);
        assert_eq!(statistics.lost(), 4);
    }

    #[test]
    fn an_even_stream_has_no_jitter_and_an_uneven_one_has() {
        let start = Instant::now();
        let mut even = ReceptionStatistics::default();
        let mut uneven = ReceptionStatistics::default();
        for frame in 0..300_u32 {
            let at = start + Duration::from_secs(1) * frame / 30;
            // Timestamps wrap on the way.
            let rtp_time = (u32::MAX - 100_000).wrapping_add(frame * 3000);
            even.measure_jitter(at, rtp_time, 90_000);
            let late = Duration::from_millis(u64::from(frame % 2) * 10);
            uneven.measure_jitter(at + late, rtp_time, 90_000);
        }
        assert!(even.jitter() <= 1, "{}", even.jitter());
        let expected = 880..=920;
        assert!(
            expected.contains(&uneven.jitter()),
            "10 ms: {}",
            uneven.jitter()
        );
    }

    #[test]
    fn a_change_of_clock_rate_is_no_jitter() {
        let start = Instant::now();
        let mut statistics = ReceptionStatistics::default();
        statistics.measure_jitter(start, 0, 48_000);
        statistics.measure_jitter(start + Duration::from_millis(20), 4_000_000, 8_000);
        assert_eq!(statistics.jitter(), 0);
    }

    #[test]
    fn the_report_tells_the_age_of_the_senders_report() {
        let received = Instant::now();
        let clock = SenderClock {
            ntp: NtpTime(0x1122_3344_5566_7788),
            rtp_time: 0,
            received,
        };
        let mut statistics = ReceptionStatistics::default();
        statistics.start(BASE);
        let block = statistics
            .report_block(received + Duration::from_millis(1500), SSRC, Some(&clock))
            .unwrap();
        assert_eq!(block.last_sr, 0x3344_5566);
        assert_eq!(block.delay_since_last_sr, 0x1_8000);
    }
}
