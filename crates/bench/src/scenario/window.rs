//! A stretch of time in which nothing is changed: what packets cost, how late they are, what gets lost.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::distribution::Distribution;
use crate::error::BenchError;
use crate::process::{self, ProcessSample};
use crate::swarm::Census;
use crate::viewer::{Delays, ViewerCounts};

use super::Stage;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Window {
    pub(crate) viewers: usize,
    pub(crate) seconds: f64,
    pub(crate) traffic: Traffic,
    pub(crate) pictures: SampledPictures,
    pub(crate) latency: Option<Latency>,
    pub(crate) server: Option<ServerCost>,
    /// CPU of this program, viewers and cameras together.
    pub(crate) bench_cpu_percent: f64,
    /// What others had of the server's own CPU, where it has one: interrupts, the kernel's threads, other programs, and
    /// what the host took away.
    pub(crate) others_percent: Option<f64>,
}

/// RTP that reached viewers.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Traffic {
    pub(crate) packets: u64,
    pub(crate) packets_per_second: f64,
    pub(crate) mbit_per_second: f64,
    /// Gaps in sequence numbers, before any retransmission.
    pub(crate) lost: u64,
    /// Datagrams that came and for which the viewers' sockets had no room: this program was too slow.
    pub(crate) overflowed: u64,
    /// Gaps that this program has not made itself, of all packets that should have come.
    pub(crate) server_lost_percent: f64,
    /// Viewers that received nothing at all.
    pub(crate) starved: usize,
}

/// What those who opened their packets found.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SampledPictures {
    pub(crate) complete: u64,
    pub(crate) broken: u64,
}

/// From the camera's stamp to the viewer's socket, in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latency {
    /// Until the first packet of a picture.
    pub(crate) first_packet_us: Distribution,
    /// Until each of its packets.
    pub(crate) each_packet_us: Distribution,
    /// Until the last packet.
    pub(crate) whole_picture_us: Distribution,
    /// Packets whose picture had no stamp.
    pub(crate) unmatched: u64,
}

/// What the server spent.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ServerCost {
    pub(crate) cpu_seconds: f64,
    pub(crate) user_seconds: f64,
    pub(crate) system_seconds: f64,
    pub(crate) cpu_percent: f64,
    pub(crate) cpu_seconds_per_million_packets: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) threads: u64,
}

/// A look at everything.
struct Look {
    at: Instant,
    census: Census,
    server: Option<ProcessSample>,
    bench: ProcessSample,
    /// Time for which the server's CPU was busy, where it has one of its own.
    busy: Option<Duration>,
}

impl Look {
    async fn take(stage: &Stage) -> Result<Self, BenchError> {
        Ok(Self {
            census: stage.audience.count().await?,
            server: stage.sample()?,
            bench: ProcessSample::read(std::process::id())?,
            busy: stage.server_cpu.map(process::busy).transpose()?,
            at: Instant::now(),
        })
    }
}

/// Measures for that long.
pub(crate) async fn measure(stage: &Stage, length: Duration) -> Result<Window, BenchError> {
    let before = Look::take(stage).await?;
    tokio::time::sleep(length).await;
    let after = Look::take(stage).await?;
    let elapsed = after.at - before.at;
    let traffic = traffic(&before.census, &after.census, elapsed);
    let server = before
        .server
        .zip(after.server)
        .map(|(before, after)| cost(&before, &after, traffic.packets, elapsed));
    let busy = before.busy.zip(after.busy);
    let others = busy.zip(server).map(|((before, after), server)| {
        let busy = after.saturating_sub(before).as_secs_f64();
        // Both count in steps; a little less than nothing is nothing.
        (busy - server.cpu_seconds).max(0.0) * 100.0 / elapsed.as_secs_f64()
    });
    let bench = after.bench.cpu().saturating_sub(before.bench.cpu());
    Ok(Window {
        viewers: after.census.counts.len(),
        seconds: elapsed.as_secs_f64(),
        traffic,
        pictures: SampledPictures {
            complete: between(&before.census, &after.census, |counts| counts.pictures),
            broken: between(&before.census, &after.census, |counts| counts.broken),
        },
        latency: latency(&after.census.delays),
        server,
        others_percent: others,
        bench_cpu_percent: bench.as_secs_f64() * 100.0 / elapsed.as_secs_f64(),
    })
}

/// Sums what each viewer counted between two looks.
pub(crate) fn between(
    before: &Census,
    after: &Census,
    value: impl Fn(&ViewerCounts) -> u64,
) -> u64 {
    let sum = |(key, counts)| {
        let earlier = before.counts.get(key).map_or(0, &value);
        value(counts).saturating_sub(earlier)
    };
    after.counts.iter().map(sum).sum()
}

/// How many got no packet between two looks: a gap in the numbers would not show it.
pub(crate) fn starved(before: &Census, after: &Census) -> usize {
    after
        .counts
        .iter()
        .filter(|(key, counts)| before.counts.get(key).map_or(0, |c| c.packets) == counts.packets)
        .count()
}

fn traffic(before: &Census, after: &Census, elapsed: Duration) -> Traffic {
    let packets = between(before, after, |counts| counts.packets);
    let octets = between(before, after, |counts| counts.octets);
    let lost = between(before, after, |counts| counts.lost);
    let overflowed = between(before, after, |counts| counts.overflowed);
    let expected = (packets + lost).max(1);
    let seconds = elapsed.as_secs_f64();
    Traffic {
        packets,
        packets_per_second: packets as f64 / seconds,
        mbit_per_second: octets as f64 * 8.0 / seconds / 1e6,
        lost,
        overflowed,
        server_lost_percent: lost.saturating_sub(overflowed) as f64 * 100.0 / expected as f64,
        starved: starved(before, after),
    }
}

fn latency(delays: &Delays) -> Option<Latency> {
    Some(Latency {
        first_packet_us: delays.first_packet_us()?,
        each_packet_us: delays.each_packet_us()?,
        whole_picture_us: delays.whole_picture_us()?,
        unmatched: delays.unmatched(),
    })
}

fn cost(
    before: &ProcessSample,
    after: &ProcessSample,
    packets: u64,
    elapsed: Duration,
) -> ServerCost {
    let cpu = after.cpu().saturating_sub(before.cpu()).as_secs_f64();
    ServerCost {
        cpu_seconds: cpu,
        user_seconds: after.user.saturating_sub(before.user).as_secs_f64(),
        system_seconds: after.system.saturating_sub(before.system).as_secs_f64(),
        cpu_percent: cpu * 100.0 / elapsed.as_secs_f64(),
        cpu_seconds_per_million_packets: cpu * 1e6 / packets.max(1) as f64,
        resident_bytes: after.resident_bytes,
        threads: after.threads,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn counts_are_differences_and_own_losses_are_told_apart() {
        let census = |packets, lost, overflowed| Census {
            counts: HashMap::from([(
                7,
                ViewerCounts {
                    packets,
                    lost,
                    overflowed,
                    octets: packets * 1000,
                    ..ViewerCounts::default()
                },
            )]),
            ..Census::default()
        };
        let seconds = Duration::from_secs(10);
        let traffic = traffic(&census(100, 5, 1), &census(290, 15, 7), seconds);
        assert_eq!((traffic.packets, traffic.lost), (190, 10));
        assert_eq!((traffic.overflowed, traffic.starved), (6, 0));
        assert_eq!(traffic.server_lost_percent, 2.0);
        let traffic = super::traffic(&census(1, 0, 0), &census(1, 0, 0), seconds);
        assert_eq!(traffic.starved, 1);
    }
}
