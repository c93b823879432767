//! Cameras that nobody watches: what it costs to take packets in.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::BenchError;
use crate::process::ProcessSample;
use crate::report::{Part, Row};

use super::streams::{CAMERAS, STREAMING_WITHIN};
use super::{Setup, Stage};

const CPU_TARGET: f64 = 1.5;
/// The idle server is looked at for so long.
const IDLE: Duration = Duration::from_secs(4);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
struct Ingest {
    cameras: usize,
    seconds: f64,
    /// Packets that the cameras sent meanwhile.
    sent: u64,
    /// Packets that the server missed or refused since the streams began.
    lost: u64,
    dropped: u64,
    cpu_percent: f64,
    cpu_seconds_per_million_packets: f64,
    /// CPU of the server with all cameras connected and none streaming; nothing is subtracted for it.
    idle_cpu_percent: f64,
}

/// Looks at the idle server, starts all cameras and measures.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let options = &setup.options;
    let stage = Stage::open(setup, options.load.workers, CAMERAS).await?;
    let (cameras, rest) = stage.cameras()?;
    let (idle, idle_time, _) = spent(&stage, options.at_most_quick(IDLE)).await?;
    rest.start_all(cameras.ids()).await?;
    cameras
        .wait_for_all(STREAMING_WITHIN, |state| state.is_streaming())
        .await?;
    tokio::time::sleep(options.settle()).await;
    let (cpu, elapsed, sent) = spent(&stage, options.duration()).await?;
    let counts = rest.count_all(cameras.ids()).await?;
    stage.end().await;

    let ingest = Ingest {
        cameras: CAMERAS,
        seconds: elapsed.as_secs_f64(),
        sent,
        lost: counts.lost,
        dropped: counts.dropped,
        cpu_percent: cpu.as_secs_f64() * 100.0 / elapsed.as_secs_f64(),
        cpu_seconds_per_million_packets: cpu.as_secs_f64() * 1e6 / sent.max(1) as f64,
        idle_cpu_percent: idle.as_secs_f64() * 100.0 / idle_time.as_secs_f64(),
    };
    let cost = ingest.cpu_seconds_per_million_packets;
    let rows = vec![
        Row::cpu(
            format!("CPU per million packets, ingest only, {CAMERAS} cameras"),
            cost,
        )
        .target(format!("≤ {CPU_TARGET} s"), cost <= CPU_TARGET),
        Row::new(
            "lost or refused at ingest",
            format!(
                "{} and {} of {} packets",
                counts.lost, counts.dropped, counts.packets
            ),
        ),
        Row::new(
            format!("CPU of the server, {CAMERAS} idle cameras"),
            format!("{:.1} %", ingest.idle_cpu_percent),
        ),
    ];
    Part::new("ingest", rows, &ingest)
}

/// What the server spends in that time, how long it was, and how many packets the cameras sent.
async fn spent(stage: &Stage, length: Duration) -> Result<(Duration, Duration, u64), BenchError> {
    let (cameras, _) = stage.cameras()?;
    let cpu = |sample: Option<ProcessSample>| sample.map(|sample| sample.cpu()).unwrap_or_default();
    let (start, sent, before) = (Instant::now(), cameras.sent_packets(), stage.sample()?);
    tokio::time::sleep(length).await;
    let (elapsed, sent_after, after) = (start.elapsed(), cameras.sent_packets(), stage.sample()?);
    Ok((
        cpu(after).saturating_sub(cpu(before)),
        elapsed,
        sent_after.saturating_sub(sent),
    ))
}
