//! Very many viewers and streams that come and go: whatever each of them left behind would add up here.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::audience::Place;
use crate::error::BenchError;
use crate::process::{ProcessSample, descriptors};
use crate::report::{Part, Row};

use super::{Setup, Stage};

const JOINS: u32 = 100_000;
const CYCLES: u32 = 10_000;
/// With --quick, so much less of both.
const QUICK_SHARE: u32 = 50;
/// What is made once and kept is there after so many of each, before the first look.
const WARM_UP: u32 = 1_000;
/// Looks, in percent of all.
const LOOKS: [u32; 3] = [10, 50, 100];
/// Viewers that come and go at the same time.
const AT_A_TIME: usize = 16;
/// Each so-many'th closes its page without ending its session.
const CLOSES_ITS_PAGE: u32 = 4;
const CAMERAS: usize = 8;
/// Until nobody is left of those who have gone.
const GONE_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How much more memory there may be at the end than after a tenth, in percent. The allocator's own needs vary by a few.
const FLAT_PERCENT: f64 = 5.0;
/// How many connections of the API may be open beside those of the first look: clients keep theirs for a while.
const KEPT_CONNECTIONS: u64 = 2 * AT_A_TIME as u64;

/// What the server holds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Look {
    /// Joins, or cycles of cameras, before it.
    after: u32,
    seconds: f64,
    resident_bytes: u64,
    descriptors: u64,
    threads: u64,
    tasks: u64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
struct Endurance {
    joins: Vec<Look>,
    cycles: Vec<Look>,
}

/// Lets viewers come and go, and then has cameras start and stop.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let share = if setup.options.quick { QUICK_SHARE } else { 1 };
    let mut stage = Stage::open(setup, setup.options.load.workers, CAMERAS).await?;
    stage.warm_up(setup).await?;

    visit(&mut stage, WARM_UP / share).await?;
    let start = Instant::now();
    let mut joins = vec![look(&stage, 0, start).await?];
    for (done, count) in steps(JOINS / share) {
        visit(&mut stage, count).await?;
        joins.push(look(&stage, done, start).await?);
    }

    stop_all(&stage).await?;
    cycle(&stage, WARM_UP / share).await?;
    let start = Instant::now();
    let mut cycles = vec![look(&stage, 0, start).await?];
    for (done, count) in steps(CYCLES / share) {
        cycle(&stage, count).await?;
        cycles.push(look(&stage, done, start).await?);
    }
    stage.end().await;

    let endurance = Endurance { joins, cycles };
    let rows = [
        rows("joins", &endurance.joins),
        rows("cycles of cameras", &endurance.cycles),
    ];
    Part::new(
        "endurance",
        rows.into_iter().flatten().collect(),
        &endurance,
    )
}

/// How many are done at each look, and how many that is more than before.
fn steps(all: u32) -> impl Iterator<Item = (u32, u32)> {
    let mut before = 0;
    LOOKS.into_iter().map(move |percent| {
        let done = all * percent / 100;
        (done, done - std::mem::replace(&mut before, done))
    })
}

/// Viewers come, see a packet, and go.
async fn visit(stage: &mut Stage, count: u32) -> Result<(), BenchError> {
    let mut visits = JoinSet::new();
    for number in 0..count {
        if visits.len() == AT_A_TIME {
            finished(visits.join_next().await)?;
        }
        let ticket = stage.audience.ticket(Place {
            stream: number as usize % CAMERAS,
            ..Place::default()
        });
        if number % CLOSES_ITS_PAGE == 0 {
            visits.spawn(ticket.visit_and_close());
        } else {
            visits.spawn(async { ticket.visit().await.map(drop) });
        }
    }
    while let Some(done) = visits.join_next().await {
        finished(Some(done))?;
    }
    Ok(())
}

/// Each camera starts, sends, and stops, until it was so many times in all.
async fn cycle(stage: &Stage, count: u32) -> Result<(), BenchError> {
    let (cameras, _) = stage.cameras()?;
    let mut cycling = JoinSet::new();
    for camera in cameras.ids() {
        let (_, rest) = stage.cameras()?;
        cycling.spawn(async move {
            for _ in 0..count / CAMERAS as u32 {
                rest.start_all([camera].into_iter()).await?;
                rest.until_active(camera).await?;
                rest.stop(camera).await?;
            }
            Ok(())
        });
    }
    while let Some(done) = cycling.join_next().await {
        finished(Some(done))?;
    }
    Ok(())
}

async fn stop_all(stage: &Stage) -> Result<(), BenchError> {
    let (cameras, rest) = stage.cameras()?;
    for camera in cameras.ids() {
        rest.stop(camera).await?;
    }
    Ok(())
}

fn finished(
    done: Option<Result<Result<(), BenchError>, tokio::task::JoinError>>,
) -> Result<(), BenchError> {
    match done {
        Some(Ok(done)) => done,
        Some(Err(_)) => Err(BenchError::Panicked),
        None => Ok(()),
    }
}

/// Waits until nobody watches any more, and looks.
async fn look(stage: &Stage, after: u32, start: Instant) -> Result<Look, BenchError> {
    let seconds = start.elapsed().as_secs_f64();
    let (_, rest) = stage.cameras()?;
    let deadline = Instant::now() + GONE_WITHIN;
    while rest.figure("apiary_viewers").await? > 0 {
        if Instant::now() >= deadline {
            return Err(BenchError::Timeout {
                what: "the end of the last viewer",
                within: GONE_WITHIN,
            });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let pid = stage.pid.unwrap_or_default();
    let sample = ProcessSample::read(pid)?;
    let look = Look {
        after,
        seconds,
        resident_bytes: sample.resident_bytes,
        descriptors: descriptors(pid)?,
        threads: sample.threads,
        tasks: rest.figure("apiary_tasks").await?,
    };
    eprintln!("  {look:?}");
    Ok(look)
}

fn rows(what: &str, looks: &[Look]) -> Vec<Row> {
    let [first, tenth, .., last] = looks else {
        return Vec::new();
    };
    let all = |figure: fn(&Look) -> String| {
        let figures: Vec<String> = looks.iter().map(figure).collect();
        figures.join(", ")
    };
    let grown = last.resident_bytes as f64 / tenth.resident_bytes as f64 * 100.0 - 100.0;
    let after = all(|look| look.after.to_string());
    vec![
        Row::new(
            format!("memory after {after} {what}, MiB"),
            all(|look| format!("{:.1}", look.resident_bytes as f64 / f64::from(1 << 20))),
        )
        .target(
            format!("from the second on ≤ {FLAT_PERCENT} % more"),
            grown <= FLAT_PERCENT,
        ),
        Row::new(
            "descriptors, likewise",
            all(|look| look.descriptors.to_string()),
        )
        .target(
            "as before, but for clients' connections",
            last.descriptors <= first.descriptors + KEPT_CONNECTIONS,
        ),
        Row::new("threads, likewise", all(|look| look.threads.to_string()))
            .target("none after the second", last.threads <= tenth.threads),
        Row::new("tasks, likewise", all(|look| look.tasks.to_string())).target(
            "as before, but for clients' connections",
            last.tasks <= first.tasks + KEPT_CONNECTIONS,
        ),
        Row::new(
            format!("{what} a second"),
            format!("{:.0}", f64::from(last.after) / last.seconds),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up() {
        let steps: Vec<_> = steps(1000).collect();
        assert_eq!(steps, [(100, 100), (500, 400), (1000, 500)]);
    }

    #[test]
    fn what_grows_is_a_miss() {
        let look = |after, resident_bytes, tasks| Look {
            after,
            seconds: 1.0,
            resident_bytes,
            descriptors: 9,
            threads: 4,
            tasks,
        };
        let hits = |looks: &[Look]| {
            let rows = rows("joins", looks);
            rows.iter().filter_map(|row| row.hit).collect::<Vec<_>>()
        };
        let start = [look(0, 900, 5), look(10, 1000, 5)];
        let flat = [&start[..], &[look(100, 1040, 6)]].concat();
        assert_eq!(hits(&flat), [true; 4]);
        let grown = [&start[..], &[look(100, 1100, 500)]].concat();
        assert_eq!(hits(&grown), [false, true, true, false]);
    }
}
