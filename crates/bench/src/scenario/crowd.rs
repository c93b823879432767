//! Many viewers who must not notice what is done to the server beside them.

use std::time::Duration;

use serde::Serialize;

use crate::error::BenchError;
use crate::report::Row;

use super::window::{Window, measure};
use super::{Setup, Stage};

/// Those who watch.
pub(super) const VIEWERS: usize = 200;
/// How long each state of things is measured.
const MEASURED: Duration = Duration::from_secs(6);
/// From a change of things to the measurement.
const SETTLE: Duration = Duration::from_secs(1);
/// How much later the slowest hundredth of packets may be than without a disturbance.
const P99_MARGIN_US: f64 = 1000.0;

/// How the crowd did for a while.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Wellbeing {
    pub(super) seconds: f64,
    pub(super) packets: u64,
    pub(super) lost: u64,
    /// Of those, what came and found no room in the viewers' own sockets.
    pub(super) overflowed: u64,
    pub(super) starved: usize,
    /// From the camera's stamp until the packet was there, each packet.
    pub(super) latency_p50_us: f64,
    pub(super) latency_p99_us: f64,
    pub(super) server_cpu_percent: f64,
    pub(super) server_resident_mib: f64,
    /// Of this program, the attack included: near 100 the rig measures itself.
    pub(super) bench_cpu_percent: f64,
}

impl Wellbeing {
    fn of(window: &Window) -> Self {
        let latency = window.latency.as_ref().map(|found| found.each_packet_us);
        Self {
            seconds: window.seconds,
            packets: window.traffic.packets,
            lost: window.traffic.lost,
            overflowed: window.traffic.overflowed,
            starved: window.traffic.starved,
            latency_p50_us: latency.map_or(f64::NAN, |found| found.p50),
            latency_p99_us: latency.map_or(f64::NAN, |found| found.p99),
            server_cpu_percent: window.server.map_or(f64::NAN, |cost| cost.cpu_percent),
            server_resident_mib: window.server.map_or(f64::NAN, |cost| {
                cost.resident_bytes as f64 / f64::from(1 << 20)
            }),
            bench_cpu_percent: window.bench_cpu_percent,
        }
    }

    /// Packets that the server lost.
    pub(super) fn lost_by_server(&self) -> u64 {
        self.lost.saturating_sub(self.overflowed)
    }

    /// Whether nobody lost a packet and everybody saw something.
    pub(super) fn is_unharmed(&self) -> bool {
        self.lost_by_server() == 0 && self.starved == 0
    }

    /// The slower of the two without a disturbance counts: what they differ by is noise.
    fn is_as_quick_as(&self, before: &Self, after: &Self) -> bool {
        self.latency_p99_us <= before.latency_p99_us.max(after.latency_p99_us) + P99_MARGIN_US
    }

    /// What changed, in a line.
    fn beside(&self, before: &Self) -> String {
        format!(
            "{}; p50 {:.0} → {:.0} µs, p99 {:.0} → {:.0} µs; server CPU {:.0} → {:.0} %",
            self.losses(),
            before.latency_p50_us,
            self.latency_p50_us,
            before.latency_p99_us,
            self.latency_p99_us,
            before.server_cpu_percent,
            self.server_cpu_percent,
        )
    }

    fn losses(&self) -> String {
        format!(
            "{} of {} lost ({} at the viewers' sockets)",
            self.lost,
            self.packets + self.lost,
            self.overflowed
        )
    }

    /// A row that wants no packet lost.
    pub(super) fn unharmed_row(&self, figure: String, before: &Self) -> Row {
        Row::new(figure, self.beside(before)).target("0 lost", self.is_unharmed())
    }

    /// A row that wants no packet lost, and none later than before and after the disturbance.
    pub(super) fn unchanged_row(&self, figure: String, [before, after]: [&Self; 2]) -> Row {
        let measured = format!(
            "{}; p50 {:.0} → {:.0} → {:.0} µs, p99 {:.0} → {:.0} → {:.0} µs; server CPU {:.0} → {:.0} → {:.0} %",
            self.losses(),
            before.latency_p50_us,
            self.latency_p50_us,
            after.latency_p50_us,
            before.latency_p99_us,
            self.latency_p99_us,
            after.latency_p99_us,
            before.server_cpu_percent,
            self.server_cpu_percent,
            after.server_cpu_percent,
        );
        let target = format!("0 lost, p99 + ≤ {:.0} ms", P99_MARGIN_US / 1000.0);
        let unchanged = self.is_unharmed() && self.is_as_quick_as(before, after);
        Row::new(figure, measured).target(target, unchanged)
    }
}

/// A server whose first camera the crowd watches; there are `cameras` in all.
pub(super) async fn gather(setup: &Setup, cameras: usize) -> Result<Stage, BenchError> {
    let workers = setup.options.load.workers;
    let (stage, _) = Stage::open_watched(setup, workers, cameras, VIEWERS).await?;
    Ok(stage)
}

/// For how long it is observed.
pub(super) fn observed(setup: &Setup) -> Duration {
    setup.options.at_most_quick(MEASURED)
}

/// How the crowd does from now on.
pub(super) async fn observe(setup: &Setup, stage: &Stage) -> Result<Wellbeing, BenchError> {
    let window = measure(stage, observed(setup)).await?;
    Ok(Wellbeing::of(&window))
}

/// The same, once things have settled.
pub(super) async fn observe_later(setup: &Setup, stage: &Stage) -> Result<Wellbeing, BenchError> {
    tokio::time::sleep(SETTLE).await;
    observe(setup, stage).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_losses_are_not_the_servers_and_slowness_is_a_change() {
        let calm = Wellbeing {
            seconds: 6.0,
            packets: 1000,
            lost: 0,
            overflowed: 0,
            starved: 0,
            latency_p50_us: 300.0,
            latency_p99_us: 900.0,
            server_cpu_percent: 10.0,
            server_resident_mib: 30.0,
            bench_cpu_percent: 20.0,
        };
        let clumsy = Wellbeing {
            lost: 3,
            overflowed: 3,
            ..calm
        };
        assert!(clumsy.is_unharmed());
        let slow = Wellbeing {
            latency_p99_us: 2000.0,
            ..calm
        };
        assert_eq!(slow.unharmed_row("x".into(), &calm).hit, Some(true));
        let unchanged = |before, after| slow.unchanged_row("x".into(), [before, after]).hit;
        assert_eq!(unchanged(&calm, &calm), Some(false));
        assert_eq!(unchanged(&calm, &slow), Some(true));
        let robbed = Wellbeing {
            lost: 4,
            overflowed: 3,
            ..calm
        };
        assert_eq!(robbed.unharmed_row("x".into(), &calm).hit, Some(false));
    }
}
