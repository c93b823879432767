//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures what a server does to the packets of one camera on their way to many viewers.
///
/// Without --server it starts the `apiary` that was built beside it, with an embedded broker, a throw-away
/// data directory and one simulated camera, all on loopback.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench", version)]
pub(crate) struct Options {
    /// Viewers on the stream.
    #[arg(long, default_value_t = 100)]
    pub(crate) viewers: usize,

    /// How many of them decrypt everything and check that pictures are complete.
    #[arg(long, default_value_t = 10)]
    pub(crate) sample: usize,

    /// Seconds that are measured.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub(crate) duration: u64,

    /// Seconds to wait before measuring, once everybody watches.
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    pub(crate) settle: u64,

    /// Joins that are timed after that, one after the other, while the others watch on.
    #[arg(long, default_value_t = 20)]
    pub(crate) joins: usize,

    /// Milliseconds between two RTCP reports of a viewer, REMB included; browsers take 200, 0 sends none.
    #[arg(long, default_value_t = 200, value_name = "MS")]
    pub(crate) report_interval: u64,

    /// Media workers of the server; its default is one per core.
    #[arg(long)]
    pub(crate) workers: Option<usize>,

    /// Where to write the results as JSON.
    #[arg(long, default_value = "target/bench.json", value_name = "FILE")]
    pub(crate) json: PathBuf,

    #[command(flatten)]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) pinning: Pinning,
}

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// The server to start, instead of the one beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,

    /// Measure a server that runs already, by the WHEP URL of a camera: http://HOST:PORT/whep/CAMERA.
    #[arg(long, value_name = "URL", conflicts_with_all = ["binary", "workers"])]
    pub(crate) server: Option<String>,

    /// The process of that server, if CPU time and memory shall be read from /proc.
    #[arg(long, requires = "server")]
    pub(crate) pid: Option<u32>,
}

/// Which CPUs are used.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Pinning {
    /// CPU for the server alone. Numbers are only comparable when both are pinned.
    #[arg(long, value_name = "CPU")]
    pub(crate) server_cpu: Option<usize>,

    /// CPU for viewers and camera.
    #[arg(long, value_name = "CPU")]
    pub(crate) bench_cpu: Option<usize>,
}

impl Options {
    /// The measured time.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.duration.max(1))
    }

    /// The time before it.
    pub(crate) fn settle(&self) -> Duration {
        Duration::from_secs(self.settle)
    }

    /// The time between two reports of a viewer, if it sends any.
    pub(crate) fn report_interval(&self) -> Option<Duration> {
        (self.report_interval > 0).then(|| Duration::from_millis(self.report_interval))
    }

    /// Whether the `number`th viewer decrypts: the sample is spread evenly, as the server may serve
    /// viewers in the order in which they came.
    pub(crate) fn is_sampled(&self, number: usize) -> bool {
        let sample = self.sample.clamp(1, self.viewers.max(1));
        let viewers = self.viewers.max(1);
        (number * sample) / viewers != ((number + 1) * sample) / viewers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_its_size_and_is_spread() {
        for (viewers, sample) in [(100, 10), (7, 3), (5, 50), (1, 1), (3, 0)] {
            let viewers_text = viewers.to_string();
            let sample_text = sample.to_string();
            let arguments = [
                "bench",
                "--viewers",
                &viewers_text,
                "--sample",
                &sample_text,
            ];
            let options = Options::parse_from(arguments);
            let sampled: Vec<_> = (0..viewers).filter(|n| options.is_sampled(*n)).collect();
            assert_eq!(
                sampled.len(),
                sample.clamp(1, viewers),
                "{viewers}/{sample}"
            );
            if viewers == 100 {
                assert_eq!(sampled[..2], [9, 19]);
            }
        }
    }
}
