//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::scenario::Scenario;
use crate::swarm::Rhythm;

/// What is measured with --quick lasts at most so many seconds.
const QUICK_SECONDS: u64 = 4;

/// Measures what a server does to the packets of cameras on their way to many viewers.
///
/// Without --server it starts the `apiary` that was built beside it, a fresh one for each scenario, with an embedded
/// broker, a throw-away data directory and simulated cameras, all on loopback.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench", version)]
pub(crate) struct Options {
    /// Only these scenarios, in the order of the table.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub(crate) only: Vec<Scenario>,

    /// Measure everything for a short time only: to see that it works, not for numbers to show.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Where to write the results as JSON.
    #[arg(long, default_value = "target/bench.json", value_name = "FILE")]
    pub(crate) json: PathBuf,

    /// Where to write the plots.
    #[arg(long, default_value = "target/bench", value_name = "DIRECTORY")]
    pub(crate) plots: PathBuf,

    #[command(flatten)]
    pub(crate) load: Load,

    #[command(flatten)]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) pinning: Pinning,
}

/// How much of what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Load {
    /// Viewers of one stream that are left alone; several numbers are measured one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [200, 400], value_name = "COUNT")]
    pub(crate) viewers: Vec<usize>,

    /// How many of them decrypt everything and check that pictures are complete.
    #[arg(long, default_value_t = 10, value_name = "COUNT")]
    pub(crate) sample: usize,

    /// How many of them note when packets come.
    #[arg(long, default_value_t = 64, value_name = "COUNT")]
    pub(crate) timed: usize,

    /// Seconds that are measured.
    #[arg(long, default_value_t = 12, value_name = "SECONDS")]
    duration: u64,

    /// Seconds to wait before measuring, once everybody watches.
    #[arg(long, default_value_t = 2, value_name = "SECONDS")]
    settle: u64,

    /// Milliseconds between two RTCP reports of a viewer, REMB included; browsers take 200, 0 sends none.
    #[arg(long, default_value_t = 200, value_name = "MS")]
    report_interval: u64,

    /// Microseconds for which the viewers' thread sleeps between two looks for packets, so that the server is not
    /// charged for waking it; 0 has it woken by each packet.
    #[arg(long, default_value_t = 500, value_name = "US")]
    nap: u64,

    /// Media workers of the server, where the scenario does not ask for others.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    pub(crate) workers: usize,
}

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// The server to start, instead of the one beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,

    /// Measure a server that runs already, by the WHEP URL of a camera: http://HOST:PORT/whep/CAMERA. Only the floor,
    /// `steady` and `joins` can be measured then.
    #[arg(long, value_name = "URL", conflicts_with = "binary")]
    pub(crate) server: Option<String>,

    /// The process of that server, if CPU time and memory shall be read from /proc.
    #[arg(long, requires = "server")]
    pub(crate) pid: Option<u32>,
}

/// Which CPUs are used.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Pinning {
    /// CPU for the server alone. Default 0 where there are two.
    #[arg(long, value_name = "CPU")]
    server_cpu: Option<usize>,

    /// CPU for viewers and cameras. Default 1 where there are two.
    #[arg(long, value_name = "CPU")]
    bench_cpu: Option<usize>,

    /// Let the system choose. Numbers are only comparable when server and viewers do not share a CPU.
    #[arg(long, conflicts_with_all = ["server_cpu", "bench_cpu"])]
    no_pin: bool,
}

/// The CPUs that were chosen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpus {
    pub(crate) server: Option<usize>,
    pub(crate) bench: Option<usize>,
}

impl Options {
    /// The measured time.
    pub(crate) fn duration(&self) -> Duration {
        self.at_most_quick(Duration::from_secs(self.load.duration.max(1)))
    }

    /// `usual`, or less where it has to be quick.
    pub(crate) fn at_most_quick(&self, usual: Duration) -> Duration {
        if self.quick {
            usual.min(Duration::from_secs(QUICK_SECONDS))
        } else {
            usual
        }
    }

    /// The time before it.
    pub(crate) fn settle(&self) -> Duration {
        Duration::from_secs(self.load.settle)
    }

    /// The time between two reports of a viewer, if it sends any.
    pub(crate) fn report_interval(&self) -> Option<Duration> {
        let interval = self.load.report_interval;
        (interval > 0).then(|| Duration::from_millis(interval))
    }

    /// How the viewers' thread runs on this CPU.
    pub(crate) fn rhythm(&self, cpu: Option<usize>) -> Rhythm {
        Rhythm {
            cpu,
            nap: Duration::from_micros(self.load.nap),
        }
    }
}

impl Pinning {
    /// The CPUs to use on a machine with so many.
    pub(crate) fn cpus(&self, cores: usize) -> Cpus {
        if self.no_pin {
            return Cpus::default();
        }
        let pinned = cores >= 2;
        Cpus {
            server: self.server_cpu.or(pinned.then_some(0)),
            bench: self.bench_cpu.or(pinned.then_some(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_by_default_where_it_makes_sense() {
        let cpus = |arguments: &[&str], cores| {
            let arguments = [&["bench"], arguments].concat();
            let cpus = Options::parse_from(arguments).pinning.cpus(cores);
            (cpus.server, cpus.bench)
        };
        assert_eq!(cpus(&[], 2), (Some(0), Some(1)));
        assert_eq!(cpus(&[], 1), (None, None));
        assert_eq!(cpus(&["--no-pin"], 2), (None, None));
        assert_eq!(cpus(&["--server-cpu", "3"], 4), (Some(3), Some(1)));
    }

    #[test]
    fn names_scenarios() {
        let options = Options::parse_from(["bench", "--only", "joins,steady", "--quick"]);
        assert_eq!(options.only, [Scenario::Joins, Scenario::Steady]);
        assert_eq!(options.duration(), Duration::from_secs(QUICK_SECONDS));
        assert_eq!(options.load.viewers, [200, 400]);
    }
}
