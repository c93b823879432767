//! One viewer after the other joins a running stream: how long until the first whole picture.

use serde::Serialize;

use crate::distribution::Distribution;
use crate::error::BenchError;

use super::Stage;

/// Times from before the offer was posted, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Joins {
    pub(crate) answered_ms: Option<Distribution>,
    pub(crate) first_packet_ms: Option<Distribution>,
    /// The first IDR with all its packets, opened: what a decoder could show.
    pub(crate) first_idr_ms: Option<Distribution>,
}

/// Joins and leaves `count` times.
pub(crate) async fn run(stage: &mut Stage, count: usize) -> Result<Joins, BenchError> {
    let mut answered = Vec::with_capacity(count);
    let mut first_packet = Vec::with_capacity(count);
    let mut first_idr = Vec::with_capacity(count);
    for number in 0..count {
        let (member, times) = stage.audience.join(true).await?;
        answered.push(times.answered.as_secs_f64() * 1e3);
        first_packet.push(times.first_packet.as_secs_f64() * 1e3);
        first_idr.extend(times.first_idr.map(|time| time.as_secs_f64() * 1e3));
        stage.audience.leave(member).await?;
        // Steps that share no beat with the pictures, so that joins fall anywhere between two IDRs.
        tokio::time::sleep(std::time::Duration::from_millis(
            137 + number as u64 * 7 % 60,
        ))
        .await;
    }
    Ok(Joins {
        answered_ms: Distribution::of(answered),
        first_packet_ms: Distribution::of(first_packet),
        first_idr_ms: Distribution::of(first_idr),
    })
}
