//! Two workers against one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::error::BenchError;
use crate::process;
use crate::report::{Part, Row};

use super::window::{self, Window};
use super::{Setup, Stage};

const VIEWERS: usize = 400;
const TARGET: f64 = 1.8;
/// How the server names its workers' threads.
const THREAD_PREFIX: &str = "sfu-";

/// What was measured with a number of workers.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    workers: usize,
    window: Window,
    /// CPU seconds of each worker's thread meanwhile.
    threads: BTreeMap<String, f64>,
}

/// Measures the same load with one worker and with two.
///
/// On one CPU, as the viewers need the other one where there are only two: what a packet costs more with two workers is
/// what sharing the work takes, and the rest follows. With two CPUs for the server the workers would besides compete
/// for caches and memory.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let one = measure(setup, 1).await?;
    let two = measure(setup, 2).await?;
    let cost = |measured: &Measured| {
        let server = measured.window.server;
        server.map_or(f64::NAN, |server| server.cpu_seconds_per_million_packets)
    };
    let scaling = 2.0 * cost(&one) / cost(&two);
    let split: Vec<_> = two
        .threads
        .iter()
        .map(|(name, seconds)| format!("{name} {seconds:.2} s"))
        .collect();
    let rows = vec![
        Row::cpu(
            format!("CPU per million packets, {VIEWERS} viewers, 1 worker"),
            cost(&one),
        ),
        Row::cpu(
            format!("CPU per million packets, {VIEWERS} viewers, 2 workers"),
            cost(&two),
        ),
        Row::new("split over the 2 workers", split.join(", ")),
        Row::new(
            "viewers with 2 workers against 1 (derived: 2 × cost with 1 / cost with 2)",
            format!("{scaling:.2} ×"),
        )
        .target(format!("≥ {TARGET} ×"), scaling >= TARGET),
    ];
    Part::new("workers", rows, &[one, two])
}

async fn measure(setup: &Setup, workers: usize) -> Result<Measured, BenchError> {
    let options = &setup.options;
    let (stage, _) = Stage::open_watched(setup, workers, 1, VIEWERS).await?;
    let before = threads(&stage)?;
    let window = window::measure(&stage, options.duration()).await?;
    let mut threads = threads(&stage)?;
    for (name, time) in &mut threads {
        *time = time.saturating_sub(before.get(name).copied().unwrap_or_default());
    }
    stage.end().await;
    Ok(Measured {
        workers,
        window,
        threads: threads
            .into_iter()
            .map(|(name, time)| (name, time.as_secs_f64()))
            .collect(),
    })
}

fn threads(stage: &Stage) -> Result<BTreeMap<String, Duration>, BenchError> {
    let Some(pid) = stage.pid else {
        return Ok(BTreeMap::new());
    };
    let mut threads: BTreeMap<_, _> = process::threads(pid)?.into_iter().collect();
    threads.retain(|name, _| name.starts_with(THREAD_PREFIX));
    Ok(threads)
}
