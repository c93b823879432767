//! The floor of this machine, which all CPU figures are compared with.

use std::time::Duration;

use crate::error::BenchError;
use crate::floor::{Cost, Way, measure};
use crate::report::{Part, Row};

use super::Setup;

const DESTINATIONS: [usize; 2] = [200, 400];
const WAYS: [Way; 3] = [Way::Single, Way::Bursts, Way::BurstsMerged];
const MEASURED: Duration = Duration::from_millis(1500);
/// A way is measured so often, and the least taken: whatever else runs meanwhile can only add to it.
const TIMES: u32 = 3;

/// Measures each way with each number of destinations.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let cpus = setup.cpus;
    let length = MEASURED / TIMES;
    let measured = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        for destinations in DESTINATIONS {
            for way in WAYS {
                let costs = (0..TIMES)
                    .map(|_| measure(way, destinations, cpus, length))
                    .collect::<Result<Vec<_>, _>>()?;
                all.extend(costs.into_iter().min_by(|a, b| cpu(a).total_cmp(&cpu(b))));
            }
        }
        Ok::<_, BenchError>(all)
    });
    let costs = measured.await.map_err(|_| BenchError::Panicked)??;
    let bursts = costs.iter().filter(|cost| cost.way == Way::Bursts);
    let floor = bursts.map(cpu).min_by(f64::total_cmp);
    let rows = costs.iter().map(row).collect();
    let mut part = Part::new("floor", rows, &costs)?;
    part.floor = floor;
    Ok(part)
}

fn cpu(cost: &Cost) -> f64 {
    cost.cpu_seconds_per_million_packets
}

fn row(cost: &Cost) -> Row {
    let way = match cost.way {
        Way::Single => "seal + sendmmsg",
        Way::Bursts => "+ GSO bursts of 7",
        Way::BurstsMerged => "+ receivers with GRO",
    };
    let row = Row::cpu(
        format!("floor: {way}, {} destinations", cost.destinations),
        cpu(cost),
    );
    let dropped = cost.dropped;
    Row {
        measured: match dropped {
            0 => row.measured,
            _ => format!("{} ({dropped} dropped)", row.measured),
        },
        ..row
    }
}
