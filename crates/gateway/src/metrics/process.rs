//! What the system says of this process (proc(5)), under the names that Prometheus' own clients use.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};

use super::text::Exposition;

pub(super) fn write(text: &mut Exposition) {
    if let Ok(cpu) = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID) {
        text.counter(
            "process_cpu_seconds_total",
            "CPU time used, user and system.",
        )
        .is(Duration::from(cpu).as_secs_f64());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, help, field) in [
        (
            "process_virtual_memory_bytes",
            "Address space in use.",
            "VmSize:",
        ),
        ("process_resident_memory_bytes", "Memory in use.", "VmRSS:"),
    ] {
        if let Some(octets) = octets(&status, field) {
            text.gauge(name, help).is(octets);
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // The directory that is being read is one of them.
        text.gauge("process_open_fds", "Open files and sockets.")
            .is(open.count().saturating_sub(1));
    }
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        text.gauge(
            "process_max_fds",
            "Most files and sockets that may be open.",
        )
        .is(limit);
    }
    if let Ok(threads) = std::fs::read_dir("/proc/self/task") {
        text.gauge("process_threads", "Threads.")
            .is(threads.count());
    }
}

/// A field of proc(5)'s `status`, which is in kB there.
fn octets(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_octets() {
        let status = "Name:\tapiary\nVmSize:\t  2048 kB\nVmRSS:\t   12 kB\n";
        assert_eq!(octets(status, "VmSize:"), Some(2 << 20));
        assert_eq!(octets(status, "VmRSS:"), Some(12 << 10));
        assert_eq!(octets(status, "VmSwap:"), None);
    }
}
