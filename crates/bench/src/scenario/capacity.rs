//! More and more viewers of one stream on one core, until packets get lost or the core is full.

use std::time::Duration;

use serde::Serialize;

use crate::audience::spread;
use crate::error::{BenchError, describe as describe_error};
use crate::report::plot::{Line, Plot};
use crate::report::{Part, Row};

use super::window::{self, Window};
use super::{Setup, Stage};

const STEP: usize = 500;
/// The step where the core is nearly full, so that the end is found more exactly.
const SMALL_STEP: usize = 250;
const NEARLY_FULL_PERCENT: f64 = 75.0;
/// No further, whatever the server can do.
const MOST: usize = 6000;
const TARGET: usize = 2000;
const MEASURED: Duration = Duration::from_secs(6);
/// Loss of the server's making that is too much.
const LOSS_PERCENT: f64 = 0.1;
/// A core is full from here on: nothing is left for a picture larger than usual.
const FULL_PERCENT: f64 = 97.0;

/// Why no more viewers were let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum End {
    Loss,
    ServerFull,
    JoinsFail,
    BenchFull,
    MostViewers,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
struct Capacity {
    /// Most viewers with less loss than is too much.
    viewers: usize,
    end: End,
    steps: Vec<Window>,
}

/// Lets more and more viewers in.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let options = &setup.options;
    let mut stage = Stage::open(setup, options.load.workers, 1).await?;
    stage.warm_up(setup).await?;
    let mut steps: Vec<Window> = Vec::new();
    let end = loop {
        let nearly_full = steps
            .last()
            .and_then(|step| step.server)
            .is_some_and(|server| server.cpu_percent >= NEARLY_FULL_PERCENT);
        let step = if nearly_full { SMALL_STEP } else { STEP };
        // The same share of each step decrypts and notes times, so that all are represented.
        let share = |of_all: usize| (of_all * step / TARGET).max(1);
        let places = spread(step, share(options.load.sample), share(options.load.timed));
        let joined = stage.audience.join_many(places).await;
        if let Err(error) = joined {
            eprintln!("capacity: no further viewers: {}", describe_error(&error));
            break End::JoinsFail;
        }
        tokio::time::sleep(options.settle()).await;
        let window = window::measure(&stage, options.at_most_quick(MEASURED)).await?;
        eprintln!("capacity: {}", describe(&window));
        let end = end_of(&window);
        steps.push(window);
        if let Some(end) = end {
            break end;
        }
    };
    stage.end().await;
    let viewers = steps
        .iter()
        .filter(|step| step.traffic.server_lost_percent < LOSS_PERCENT)
        .map(|step| step.viewers)
        .max();
    let capacity = Capacity {
        viewers: viewers.unwrap_or(0),
        end,
        steps,
    };
    let mut part = Part::new("capacity", capacity.rows(), &capacity)?;
    part.plots = capacity.plots();
    Ok(part)
}

fn end_of(window: &Window) -> Option<End> {
    let server_percent = window.server.map_or(0.0, |server| server.cpu_percent);
    if window.traffic.server_lost_percent >= LOSS_PERCENT {
        Some(End::Loss)
    } else if server_percent >= FULL_PERCENT {
        Some(End::ServerFull)
    } else if window.bench_cpu_percent >= FULL_PERCENT {
        Some(End::BenchFull)
    } else if window.viewers >= MOST {
        Some(End::MostViewers)
    } else {
        None
    }
}

fn describe(window: &Window) -> String {
    let server = window.server.map_or(0.0, |server| server.cpu_percent);
    let latency = window.latency.as_ref().map_or(String::new(), |latency| {
        let each = &latency.each_packet_us;
        format!(
            ", latency p50 {:.1} ms, p99 {:.1} ms",
            each.p50 / 1e3,
            each.p99 / 1e3
        )
    });
    format!(
        "{} viewers, server CPU {server:.0} %, bench CPU {:.0} %, lost {:.4} %{latency}",
        window.viewers, window.bench_cpu_percent, window.traffic.server_lost_percent
    )
}

impl Capacity {
    fn rows(&self) -> Vec<Row> {
        let end = match self.end {
            End::Loss => "then it loses packets",
            End::ServerFull => "then its core is full",
            End::JoinsFail => "then joins fail",
            End::BenchFull => "then the core of the viewers is full",
            End::MostViewers => "no more were tried",
        };
        let row = Row::new(
            format!("viewers on one core with < {LOSS_PERCENT} % loss"),
            format!("{}; {end}", self.viewers),
        )
        .target(format!("≥ {TARGET}"), self.viewers >= TARGET);
        let mut rows = vec![row];
        let best = self.steps.iter().find(|step| step.viewers == self.viewers);
        if let Some(best) = best {
            rows.push(Row::new("there", describe(best)));
        }
        rows
    }

    fn plots(&self) -> Vec<Plot> {
        let line = |name, value: fn(&Window) -> Option<f64>| Line {
            name,
            points: self
                .steps
                .iter()
                .filter_map(|step| Some((step.viewers as f64, value(step)?)))
                .collect(),
        };
        let plot = |name, title: &str, y, lines| Plot {
            name,
            title: format!("{title}, one stream, one core"),
            x: "viewers",
            y,
            lines,
        };
        vec![
            plot(
                "cpu-per-million-packets",
                "CPU per million packets",
                "seconds",
                vec![line("server, user and system", |step| {
                    Some(step.server?.cpu_seconds_per_million_packets)
                })],
            ),
            plot(
                "cpu",
                "CPU",
                "% of a core",
                vec![
                    line("server", |step| Some(step.server?.cpu_percent)),
                    line("viewers and camera", |step| Some(step.bench_cpu_percent)),
                ],
            ),
            plot(
                "latency",
                "Added latency of a packet",
                "ms",
                vec![
                    line("p50", |step| {
                        Some(step.latency.as_ref()?.each_packet_us.p50 / 1e3)
                    }),
                    line("p99", |step| {
                        Some(step.latency.as_ref()?.each_packet_us.p99 / 1e3)
                    }),
                ],
            ),
        ]
    }
}
