//! Many viewers that join within a moment, while a few watch.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::audience::{JoinTimes, Place};
use crate::error::BenchError;
use crate::report::{Part, Row};
use crate::viewer::Opens;

use super::joins::Times;
use super::window::{between, starved};
use super::{Setup, Stage};

const WATCHING: usize = 50;
const JOINING: u32 = 400;
const WITHIN: Duration = Duration::from_secs(2);
const UP_TARGET: Duration = Duration::from_secs(5);
/// Watched on afterwards, so that losses at the end show as gaps.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
struct Storm {
    watching: usize,
    joining: u32,
    /// From the first offer until all had their first IDR.
    all_up_seconds: f64,
    #[serde(flatten)]
    times: Times,
    lost_by_watching: u64,
    /// Those who watched and got nothing at all meanwhile.
    starved: usize,
    overflowed: u64,
}

/// Lets a few in, and then the many.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let (mut stage, _) =
        Stage::open_watched(setup, setup.options.load.workers, 1, WATCHING).await?;
    let before = stage.audience.count().await?;
    let start = Instant::now();
    let times = join_all(&mut stage).await?;
    let all_up = start.elapsed();
    tokio::time::sleep(AFTERWARDS).await;
    let after = stage.audience.count_those_of(&before).await?;
    stage.end().await;
    let storm = Storm {
        watching: WATCHING,
        joining: JOINING,
        all_up_seconds: all_up.as_secs_f64(),
        times: Times::of(&times),
        starved: starved(&before, &after),
        lost_by_watching: between(&before, &after, |counts| counts.lost),
        overflowed: between(&before, &after, |counts| counts.overflowed),
    };
    let rows = vec![
        Row::new(
            format!("{JOINING} joins within {} s: all up", WITHIN.as_secs()),
            format!("{:.2} s", storm.all_up_seconds),
        )
        .target(format!("≤ {} s", UP_TARGET.as_secs()), all_up <= UP_TARGET),
        Row::new(
            format!("lost meanwhile by {WATCHING} who watched"),
            format!(
                "{} packets, {} at the viewers' sockets",
                storm.lost_by_watching, storm.overflowed
            ),
        )
        .target(
            "0",
            storm.lost_by_watching == storm.overflowed && storm.starved == 0,
        ),
    ];
    Part::new("storm", rows, &storm)
}

async fn join_all(stage: &mut Stage) -> Result<Vec<JoinTimes>, BenchError> {
    let start = tokio::time::Instant::now();
    let mut joining = JoinSet::new();
    for number in 0..JOINING {
        tokio::time::sleep_until(start + WITHIN * number / JOINING).await;
        let place = Place {
            opens: Opens::UntilFirstIdr,
            ..Place::default()
        };
        joining.spawn(stage.audience.ticket(place).join());
    }
    let mut times = Vec::new();
    while let Some(joined) = joining.join_next().await {
        let (_, found) = joined.map_err(|_| BenchError::Panicked)??;
        times.push(found);
    }
    Ok(times)
}
