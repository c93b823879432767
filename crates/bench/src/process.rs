//! CPU time and memory of a process, from /proc (proc(5)).

use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use crate::error::BenchError;

/// A look at a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessSample {
    /// Time on CPUs in user mode since it started.
    pub(crate) user: Duration,
    /// The same in the kernel.
    pub(crate) system: Duration,
    /// Memory that is in RAM.
    pub(crate) resident_bytes: u64,
    /// Threads.
    pub(crate) threads: u64,
}

impl ProcessSample {
    /// Reads a process of this machine.
    pub(crate) fn read(pid: u32) -> Result<Self, BenchError> {
        let failed = |reason: String| BenchError::Process { pid, reason };
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_err(|error| failed(error.to_string()))?;
        let ticks_per_second = positive(sysconf(SysconfVar::CLK_TCK)).unwrap_or(100);
        let page = positive(sysconf(SysconfVar::PAGE_SIZE)).unwrap_or(4096);
        Self::parse(&text, ticks_per_second, page)
            .ok_or_else(|| failed(format!("unexpected content {text:?}")))
    }

    /// User and kernel time together.
    pub(crate) fn cpu(&self) -> Duration {
        self.user + self.system
    }

    fn parse(stat: &str, ticks_per_second: u64, page: u64) -> Option<Self> {
        // The name in parentheses may hold anything, spaces and parentheses too.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts from 1 and the state, field 3, is the first here.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let time = |ticks: u64| Duration::from_micros(ticks * 1_000_000 / ticks_per_second);
        Some(Self {
            user: time(field(14)?),
            system: time(field(15)?),
            threads: field(20)?,
            resident_bytes: field(24)? * page,
        })
    }
}

/// User and kernel time of each thread of a process since it started, by the thread's name.
pub(crate) fn threads(pid: u32) -> Result<Vec<(String, Duration)>, BenchError> {
    let failed = |error: std::io::Error| BenchError::Process {
        pid,
        reason: error.to_string(),
    };
    let ticks_per_second = positive(sysconf(SysconfVar::CLK_TCK)).unwrap_or(100);
    let mut threads = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).map_err(failed)? {
        // A thread may end between the listing and the look.
        let stat = std::fs::read_to_string(task.map_err(failed)?.path().join("stat"));
        let Ok(stat) = stat else { continue };
        let name = stat
            .split_once('(')
            .and_then(|(_, rest)| rest.rsplit_once(')'));
        let sample = ProcessSample::parse(&stat, ticks_per_second, 1);
        if let (Some((name, _)), Some(sample)) = (name, sample) {
            threads.push((name.to_owned(), sample.cpu()));
        }
    }
    Ok(threads)
}

fn positive(value: nix::Result<Option<i64>>) -> Option<u64> {
    value.ok().flatten().and_then(|value| value.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_of_proc_stat() {
        let line = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 9 0 1 2 100 18446744073709551615 1 1";
        let sample = ProcessSample::parse(line, 100, 4096).unwrap();
        assert_eq!(sample.user, Duration::from_millis(2500));
        assert_eq!(sample.system, Duration::from_millis(500));
        assert_eq!(sample.threads, 9);
        assert_eq!(sample.resident_bytes, 409_600);
    }

    #[test]
    fn reads_threads_by_name() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("a (named) one".into())
            .spawn(move || stopped.recv())
            .unwrap();
        // The name is set by the new thread itself, before it runs what it was given.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let threads = threads(std::process::id()).unwrap();
            if threads.iter().any(|(name, _)| name == "a (named) one") {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{threads:?}");
            std::thread::yield_now();
        }
        drop(stop);
        assert!(thread.join().unwrap().is_err());
    }

    #[test]
    fn reads_itself() {
        let sample = ProcessSample::read(std::process::id()).unwrap();
        assert!(sample.resident_bytes > 0 && sample.threads >= 1);
    }
}
