//! Where it was measured.

use serde::Serialize;

use crate::options::Cpus;

/// This machine, as far as it says what it is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) server_cpu: Option<usize>,
    pub(crate) bench_cpu: Option<usize>,
}

impl Machine {
    /// Describes it.
    pub(crate) fn describe(cores: usize, cpus: Cpus) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, model)| model);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: model.to_owned(),
            cores,
            kernel: kernel.trim().to_owned(),
            server_cpu: cpus.server,
            bench_cpu: cpus.bench,
        }
    }
}
