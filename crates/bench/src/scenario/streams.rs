//! Many streams with a few viewers each.

use std::time::Duration;

use crate::audience::Place;
use crate::error::BenchError;
use crate::report::{Part, Row};
use crate::viewer::Opens;

use super::{Setup, Stage, window};

pub(super) const CAMERAS: usize = 200;
const VIEWERS_EACH: usize = 2;
/// One in so many streams has a viewer that decrypts and notes times.
const SAMPLED: usize = 20;
const CPU_TARGET: f64 = 2.5;
pub(super) const STREAMING_WITHIN: Duration = Duration::from_secs(20);

/// Starts all cameras, lets the viewers in, and measures.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let options = &setup.options;
    let mut stage = Stage::open(setup, options.load.workers, CAMERAS).await?;
    let (cameras, rest) = stage.cameras()?;
    rest.start_all(cameras.ids()).await?;
    cameras
        .wait_for_all(STREAMING_WITHIN, |state| state.is_streaming())
        .await?;
    let places = (0..VIEWERS_EACH).flat_map(|round| {
        (0..CAMERAS).map(move |stream| {
            let chosen = round == 0 && stream % SAMPLED == 0;
            Place {
                stream,
                opens: match chosen {
                    true => Opens::Everything,
                    false => Opens::Nothing,
                },
                timed: chosen,
            }
        })
    });
    stage.audience.join_many(places).await?;
    tokio::time::sleep(options.settle()).await;
    let window = window::measure(&stage, options.duration()).await?;
    stage.end().await;

    let mut rows = Vec::new();
    let name = format!("{CAMERAS} streams × {VIEWERS_EACH} viewers");
    if let Some(server) = &window.server {
        let cpu = server.cpu_seconds_per_million_packets;
        rows.push(
            Row::cpu(format!("CPU per million packets, {name}"), cpu)
                .target(format!("≤ {CPU_TARGET} s"), cpu <= CPU_TARGET),
        );
    }
    let traffic = &window.traffic;
    rows.push(Row::new(
        format!("lost, {name}"),
        format!(
            "{} of {} packets, {} at the viewers' sockets",
            traffic.lost,
            traffic.packets + traffic.lost,
            traffic.overflowed
        ),
    ));
    Part::new("streams", rows, &window)
}
