//! Viewers that join a running stream while many watch it, and leave again as soon as they see a picture.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::audience::{JoinTimes, Place};
use crate::distribution::Distribution;
use crate::error::BenchError;
use crate::report::{Part, Row};
use crate::viewer::Opens;

use super::window::{between, starved};
use super::{Setup, Stage};

/// Those who watch on.
const WATCHING: usize = 400;
const JOINS: u32 = 200;
const QUICK_JOINS: u32 = 40;
const INTERVAL: Duration = Duration::from_millis(50);

/// Times from before the offer was posted, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Times {
    pub(super) answered_ms: Option<Distribution>,
    pub(super) keys_ms: Option<Distribution>,
    pub(super) first_packet_ms: Option<Distribution>,
    /// The first IDR with all its packets, opened: what a decoder could show.
    pub(super) first_idr_ms: Option<Distribution>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
struct Joins {
    watching: usize,
    joins_per_second: f64,
    #[serde(flatten)]
    times: Times,
    /// Packets that those who watched on lost, and how many of these at their own sockets.
    lost_by_watching: u64,
    /// Those who watched and got nothing at all meanwhile.
    starved: usize,
    overflowed: u64,
}

/// Lets the audience in, and then joins at a steady pace.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let options = &setup.options;
    let (mut stage, members) =
        Stage::open_watched(setup, setup.options.load.workers, 1, WATCHING).await?;
    let before = stage.audience.count().await?;
    let count = if options.quick { QUICK_JOINS } else { JOINS };
    let times = join_at_a_pace(&mut stage, count).await?;
    let after = stage.audience.count_those_of(&before).await?;
    if setup.binary.is_none() {
        for member in members {
            stage.audience.leave(member).await?;
        }
    }
    stage.end().await;
    let joins = Joins {
        watching: WATCHING,
        joins_per_second: 1.0 / INTERVAL.as_secs_f64(),
        times: Times::of(&times),
        starved: starved(&before, &after),
        lost_by_watching: between(&before, &after, |counts| counts.lost),
        overflowed: between(&before, &after, |counts| counts.overflowed),
    };
    Part::new("joins", joins.rows(), &joins)
}

async fn join_at_a_pace(stage: &mut Stage, count: u32) -> Result<Vec<JoinTimes>, BenchError> {
    let start = tokio::time::Instant::now();
    let mut visits = JoinSet::new();
    for number in 0..count {
        // A few milliseconds early or late, so that joins share no beat with the pictures.
        let shift = Duration::from_millis(u64::from(number * 7 % 20));
        tokio::time::sleep_until(start + INTERVAL * number + shift).await;
        let place = Place {
            opens: Opens::UntilFirstIdr,
            ..Place::default()
        };
        visits.spawn(stage.audience.ticket(place).visit());
    }
    let mut times = Vec::new();
    while let Some(visit) = visits.join_next().await {
        times.push(visit.map_err(|_| BenchError::Panicked)??);
    }
    Ok(times)
}

impl Times {
    pub(super) fn of(times: &[JoinTimes]) -> Self {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let of = |time: fn(&JoinTimes) -> Option<Duration>| {
            Distribution::of(times.iter().filter_map(time).map(milliseconds).collect())
        };
        Self {
            answered_ms: of(|times| Some(times.answered)),
            keys_ms: of(|times| Some(times.keys)),
            first_packet_ms: of(|times| Some(times.first_packet)),
            first_idr_ms: of(|times| times.first_idr),
        }
    }
}

impl Joins {
    fn rows(&self) -> Vec<Row> {
        let row = |what: &str, found: &Option<Distribution>, limits: [f64; 2]| {
            let found = found.as_ref()?;
            let [p50, p95] = limits;
            let row = Row::new(
                format!("{what}, 20 joins/s, {} viewers up", self.watching),
                format!("p50 {:.1} ms, p95 {:.1} ms", found.p50, found.p95),
            );
            Some(row.target(
                format!("p50 ≤ {p50} ms, p95 ≤ {p95} ms"),
                found.p50 <= p50 && found.p95 <= p95,
            ))
        };
        let mut rows: Vec<Row> = [
            row("offer → DTLS done", &self.times.keys_ms, [30.0, 100.0]),
            row(
                "offer → first IDR complete",
                &self.times.first_idr_ms,
                [30.0, 80.0],
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        rows.push(Row::new(
            "lost meanwhile by those who watched on",
            format!(
                "{} packets, {} at the viewers' sockets; {} of them got nothing",
                self.lost_by_watching, self.overflowed, self.starved
            ),
        ));
        rows
    }
}
