//! Many viewers on one stream, left alone.

use serde::Serialize;

use crate::audience::spread;
use crate::error::BenchError;
use crate::report::{Part, Row};

use super::window::{self, Latency, Window};
use super::{Setup, Stage};

/// CPU seconds per million packets, and as a multiple of the floor.
const CPU_TARGET: f64 = 1.6;
const FLOOR_LIMIT: f64 = 2.0;
const KIB_TARGET: f64 = 40.0;
/// From this many viewers on latency and memory have to be reached.
const LARGE: usize = 400;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
struct Steady {
    #[serde(flatten)]
    window: Window,
    /// Growth of the server's resident set from the running stream without viewers to all of them, where it is known.
    kib_per_viewer: Option<f64>,
}

/// Measures each size of the audience on a fresh server.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for viewers in &setup.options.load.viewers {
        let steady = measure(setup, (*viewers).max(1)).await?;
        rows.extend(steady.rows());
        all.push(steady);
    }
    Part::new("steady", rows, &all)
}

async fn measure(setup: &Setup, viewers: usize) -> Result<Steady, BenchError> {
    let options = &setup.options;
    let mut stage = Stage::open(setup, options.load.workers, 1).await?;
    stage.warm_up(setup).await?;
    let empty = stage.sample()?;
    let places = spread(viewers, options.load.sample, options.load.timed);
    let members = stage.audience.join_many(places).await?;
    tokio::time::sleep(options.settle()).await;
    let window = window::measure(&stage, options.duration()).await?;
    if setup.binary.is_none() {
        for member in members {
            stage.audience.leave(member).await?;
        }
    }
    stage.end().await;
    let kib_per_viewer = empty.zip(window.server).map(|(empty, server)| {
        let grown = server.resident_bytes.saturating_sub(empty.resident_bytes);
        grown as f64 / 1024.0 / viewers as f64
    });
    Ok(Steady {
        window,
        kib_per_viewer,
    })
}

impl Steady {
    fn rows(&self) -> Vec<Row> {
        let Window {
            viewers,
            traffic,
            pictures,
            ..
        } = &self.window;
        let mut rows = Vec::new();
        if let Some(server) = &self.window.server {
            let cpu = server.cpu_seconds_per_million_packets;
            let row = Row::cpu(format!("CPU per million packets, {viewers} viewers"), cpu).target(
                format!("≤ {CPU_TARGET} s, ≤ {FLOOR_LIMIT} × floor"),
                cpu <= CPU_TARGET,
            );
            rows.push(Row {
                floor_limit: Some(FLOOR_LIMIT),
                ..row
            });
        }
        let lost = format!(
            "{} of {} packets, {} at the viewers' sockets",
            traffic.lost,
            traffic.packets + traffic.lost,
            traffic.overflowed
        );
        rows.push(Row::new(format!("lost, {viewers} viewers"), lost));
        let checked = format!(
            "{} complete, {} unusable",
            pictures.complete, pictures.broken
        );
        rows.push(
            Row::new(
                format!("pictures of those who decrypt, {viewers} viewers"),
                checked,
            )
            .target(
                "all complete",
                pictures.complete > 0 && pictures.broken == 0 && traffic.starved == 0,
            ),
        );
        if let Some(latency) = &self.window.latency {
            rows.push(latency_row(*viewers, latency));
        }
        if let Some(kib) = self.kib_per_viewer {
            let row = Row::new(
                format!("memory per viewer, {viewers} viewers"),
                format!("{kib:.1} KiB"),
            );
            rows.push(row.target(format!("≤ {KIB_TARGET} KiB"), kib <= KIB_TARGET));
        }
        rows
    }
}

fn latency_row(viewers: usize, latency: &Latency) -> Row {
    let millis = |microseconds: f64| microseconds / 1000.0;
    let each = &latency.each_packet_us;
    let row = Row::new(
        format!("added latency of a packet, {viewers} viewers"),
        format!(
            "p50 {:.2} ms, p99 {:.2} ms (whole picture {:.2}, {:.2})",
            millis(each.p50),
            millis(each.p99),
            millis(latency.whole_picture_us.p50),
            millis(latency.whole_picture_us.p99)
        ),
    );
    if viewers < LARGE {
        return row;
    }
    row.target(
        "p50 ≤ 1 ms, p99 ≤ 5 ms",
        each.p50 <= 1000.0 && each.p99 <= 5000.0,
    )
}
