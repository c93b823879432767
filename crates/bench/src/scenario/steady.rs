//! Many viewers on one stream, left alone: what each packet costs, how late it is, what gets lost.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::audience::Member;
use crate::distribution::Distribution;
use crate::error::BenchError;
use crate::options::Options;
use crate::process::ProcessSample;
use crate::swarm::Census;
use crate::viewer::{Arrival, Stamp, ViewerCounts};

use super::Stage;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Steady {
    pub(crate) viewers: usize,
    pub(crate) seconds: f64,
    pub(crate) traffic: Traffic,
    pub(crate) pictures: SampledPictures,
    pub(crate) latency: Option<Latency>,
    pub(crate) server: Option<ServerCost>,
}

/// RTP that reached viewers.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Traffic {
    pub(crate) packets: u64,
    pub(crate) packets_per_second: f64,
    pub(crate) mbit_per_second: f64,
    /// Gaps in sequence numbers, before any retransmission.
    pub(crate) lost: u64,
    pub(crate) lost_percent: f64,
    /// Viewers that received nothing at all.
    pub(crate) starved: usize,
}

/// What those who opened their packets found.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SampledPictures {
    pub(crate) complete: u64,
    pub(crate) broken: u64,
}

/// From the camera's send to the viewer's socket, in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latency {
    /// Until the first packet of a picture.
    pub(crate) first_packet_us: Distribution,
    /// Until its last packet.
    pub(crate) whole_picture_us: Distribution,
}

/// What the server spent.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ServerCost {
    pub(crate) cpu_seconds: f64,
    pub(crate) user_seconds: f64,
    pub(crate) system_seconds: f64,
    pub(crate) cpu_percent: f64,
    pub(crate) cpu_seconds_per_million_packets: f64,
    pub(crate) kib_per_viewer: f64,
    pub(crate) resident_mib: f64,
    pub(crate) threads: u64,
}

/// Lets the audience in, waits, and measures. The audience stays.
pub(crate) async fn run(
    stage: &mut Stage,
    options: &Options,
) -> Result<(Steady, Vec<Member>), BenchError> {
    // The first viewer wakes the camera. It leaves, and the stream goes on: memory counts from there, with
    // the stream's own ring filled.
    let (first, _) = stage.audience.join(true).await?;
    tokio::time::sleep(options.settle()).await;
    stage.audience.leave(first).await?;
    let empty = stage.sample()?;
    let members = stage.audience.join_many(options).await?;
    tokio::time::sleep(options.settle()).await;

    let before = stage.audience.count().await?;
    let server_before = stage.sample()?;
    let start = Instant::now();
    tokio::time::sleep(options.duration()).await;
    let elapsed = start.elapsed();
    let server_after = stage.sample()?;
    let after = stage.audience.count().await?;

    let traffic = traffic(&before, &after, elapsed);
    let server = match (empty, server_before, server_after) {
        (Some(empty), Some(before), Some(after)) => Some(cost(
            [empty, before, after],
            traffic.packets,
            elapsed,
            options.viewers,
        )),
        _ => None,
    };
    let steady = Steady {
        viewers: members.len(),
        seconds: elapsed.as_secs_f64(),
        traffic,
        pictures: pictures(&before, &after),
        latency: latency(
            &after.timelines.into_values().collect::<Vec<_>>(),
            &after.stamps,
        ),
        server,
    };
    Ok((steady, members))
}

/// Sums what each viewer counted between two looks.
fn between(before: &Census, after: &Census, value: impl Fn(&ViewerCounts) -> u64) -> u64 {
    let sum = |(key, counts)| {
        let earlier = before.counts.get(key).map_or(0, &value);
        value(counts).saturating_sub(earlier)
    };
    after.counts.iter().map(sum).sum()
}

fn traffic(before: &Census, after: &Census, elapsed: Duration) -> Traffic {
    let packets = between(before, after, |counts| counts.packets);
    let octets = between(before, after, |counts| counts.octets);
    let lost = between(before, after, |counts| counts.lost);
    let expected = (packets + lost).max(1);
    let starved = after
        .counts
        .iter()
        .filter(|(key, counts)| before.counts.get(key).map_or(0, |c| c.packets) == counts.packets)
        .count();
    let seconds = elapsed.as_secs_f64();
    Traffic {
        packets,
        packets_per_second: packets as f64 / seconds,
        mbit_per_second: octets as f64 * 8.0 / seconds / 1e6,
        lost,
        lost_percent: lost as f64 * 100.0 / expected as f64,
        starved,
    }
}

fn pictures(before: &Census, after: &Census) -> SampledPictures {
    SampledPictures {
        complete: between(before, after, |counts| counts.pictures),
        broken: between(before, after, |counts| counts.broken),
    }
}

/// Compares arrivals at all viewers with the stamps that the sample found inside the pictures. RTP times
/// are the camera's for everybody, so a picture can be recognised without opening it.
fn latency(timelines: &[Vec<Arrival>], stamps: &[Stamp]) -> Option<Latency> {
    let sent: HashMap<u32, u64> = stamps
        .iter()
        .map(|stamp| (stamp.timestamp, stamp.sent_ns))
        .collect();
    let mut first = Vec::new();
    let mut whole = Vec::new();
    for arrival in timelines.iter().flatten() {
        let Some(sent_ns) = sent.get(&arrival.timestamp) else {
            continue;
        };
        first.push(microseconds(*sent_ns, arrival.first_ns));
        whole.push(microseconds(*sent_ns, arrival.last_ns));
    }
    Some(Latency {
        first_packet_us: Distribution::of(first)?,
        whole_picture_us: Distribution::of(whole)?,
    })
}

fn microseconds(from_ns: u64, to_ns: u64) -> f64 {
    (to_ns as f64 - from_ns as f64) / 1000.0
}

fn cost(
    [empty, before, after]: [ProcessSample; 3],
    packets: u64,
    elapsed: Duration,
    viewers: usize,
) -> ServerCost {
    const KIB: f64 = 1024.0;
    let cpu = after.cpu().saturating_sub(before.cpu()).as_secs_f64();
    let grown = after.resident_bytes.saturating_sub(empty.resident_bytes);
    ServerCost {
        cpu_seconds: cpu,
        user_seconds: after.user.saturating_sub(before.user).as_secs_f64(),
        system_seconds: after.system.saturating_sub(before.system).as_secs_f64(),
        cpu_percent: cpu * 100.0 / elapsed.as_secs_f64(),
        cpu_seconds_per_million_packets: cpu * 1e6 / packets.max(1) as f64,
        kib_per_viewer: grown as f64 / KIB / viewers.max(1) as f64,
        resident_mib: after.resident_bytes as f64 / KIB / KIB,
        threads: after.threads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_differences() {
        let census = |packets, lost| Census {
            counts: HashMap::from([(
                7,
                ViewerCounts {
                    packets,
                    lost,
                    octets: packets * 1000,
                    ..ViewerCounts::default()
                },
            )]),
            ..Census::default()
        };
        let traffic = traffic(&census(100, 5), &census(290, 15), Duration::from_secs(10));
        assert_eq!(
            (traffic.packets, traffic.lost, traffic.starved),
            (190, 10, 0)
        );
        assert_eq!(traffic.lost_percent, 5.0);
        let traffic = super::traffic(&census(1, 0), &census(1, 0), Duration::from_secs(1));
        assert_eq!(traffic.starved, 1);
    }

    #[test]
    fn latency_is_matched_by_rtp_time() {
        let arrival = |timestamp, first_ns, last_ns| Arrival {
            timestamp,
            first_ns,
            last_ns,
        };
        let stamps = [Stamp {
            timestamp: 9,
            sent_ns: 1_000_000,
        }];
        let timelines = [
            vec![arrival(9, 1_050_000, 1_200_000), arrival(10, 5, 5)],
            vec![arrival(9, 1_150_000, 1_400_000)],
        ];
        let latency = latency(&timelines, &stamps).unwrap();
        assert_eq!(latency.first_packet_us.count, 2);
        assert_eq!(latency.first_packet_us.p50, 50.0);
        assert_eq!(latency.whole_picture_us.max, 400.0);
        assert!(super::latency(&timelines, &[]).is_none());
    }
}
