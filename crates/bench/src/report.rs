//! The results, as a table for people and as JSON for comparisons.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::distribution::Distribution;
use crate::error::BenchError;
use crate::scenario::joins::Joins;
use crate::scenario::steady::{Latency, ServerCost, Steady};

/// Everything of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) steady: Steady,
    pub(crate) joins: Joins,
}

/// Where it was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) server_cpu: Option<usize>,
    pub(crate) bench_cpu: Option<usize>,
}

impl Machine {
    /// Describes this one as far as it says what it is.
    pub(crate) fn describe(server_cpu: Option<usize>, bench_cpu: Option<usize>) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, model)| model);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: model.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            server_cpu,
            bench_cpu,
        }
    }
}

impl Report {
    /// Writes the JSON file.
    pub(crate) fn write_json(&self, path: &Path) -> Result<(), BenchError> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| BenchError::io("write the results as JSON")(error.into()))?;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .map_err(BenchError::io("make a directory for the JSON file"))?;
        }
        std::fs::write(path, json + "\n").map_err(BenchError::io("write the JSON file"))
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::default();
        let machine = &self.machine;
        let place = |cpu: Option<usize>| cpu.map_or("any".to_owned(), |cpu| cpu.to_string());
        table.row(
            "machine",
            format!(
                "{}, {} cores, Linux {}",
                machine.cpu, machine.cores, machine.kernel
            ),
        );
        table.row(
            "CPUs",
            format!(
                "server {}, bench {}",
                place(machine.server_cpu),
                place(machine.bench_cpu)
            ),
        );
        self.traffic_rows(&mut table);
        if let Some(latency) = &self.steady.latency {
            latency_rows(&mut table, latency);
        }
        if let Some(server) = &self.steady.server {
            server_rows(&mut table, server);
        }
        let joins = &self.joins;
        table.times("join: answer", joins.answered_ms.as_ref(), "ms");
        table.times("join: first packet", joins.first_packet_ms.as_ref(), "ms");
        table.times(
            "join: first IDR complete",
            joins.first_idr_ms.as_ref(),
            "ms",
        );
        table.text
    }

    fn traffic_rows(&self, table: &mut Table) {
        let steady = &self.steady;
        let traffic = &steady.traffic;
        table.row("viewers", steady.viewers.to_string());
        table.row("measured", format!("{:.1} s", steady.seconds));
        table.row(
            "packets",
            format!(
                "{} ({:.0}/s, {:.1} Mbit/s)",
                traffic.packets, traffic.packets_per_second, traffic.mbit_per_second
            ),
        );
        table.row(
            "lost before RTX",
            format!("{} ({:.4} %)", traffic.lost, traffic.lost_percent),
        );
        if traffic.starved > 0 {
            table.row("viewers without a packet", traffic.starved.to_string());
        }
        table.row(
            "pictures of the sample",
            format!(
                "{} complete, {} packets unusable",
                steady.pictures.complete, steady.pictures.broken
            ),
        );
    }
}

fn latency_rows(table: &mut Table, latency: &Latency) {
    table.times(
        "added latency, first packet",
        Some(&latency.first_packet_us),
        "µs",
    );
    table.times(
        "added latency, whole picture",
        Some(&latency.whole_picture_us),
        "µs",
    );
}

fn server_rows(table: &mut Table, server: &ServerCost) {
    table.row(
        "server CPU",
        format!(
            "{:.2} s ({:.1} %; {:.2} user, {:.2} system)",
            server.cpu_seconds, server.cpu_percent, server.user_seconds, server.system_seconds
        ),
    );
    table.row(
        "CPU per million packets",
        format!("{:.3} s", server.cpu_seconds_per_million_packets),
    );
    table.row(
        "memory",
        format!(
            "{:.1} KiB per viewer, {:.1} MiB in all, {} threads",
            server.kib_per_viewer, server.resident_mib, server.threads
        ),
    );
}

#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn row(&mut self, name: &str, value: String) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{name:<30} {value}");
    }

    fn times(&mut self, name: &str, values: Option<&Distribution>, unit: &str) {
        let Some(values) = values else {
            return;
        };
        let Distribution {
            count,
            p50,
            p95,
            p99,
            max,
        } = values;
        self.row(
            name,
            format!("p50 {p50:.1}  p95 {p95:.1}  p99 {p99:.1}  max {max:.1} {unit}  (of {count})"),
        );
    }
}
