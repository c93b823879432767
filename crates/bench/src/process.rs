//! CPU time and memory of a process, from /proc (proc(5)).

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
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

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: u32) -> Result<u64, BenchError> {
    let failed = |error: std::io::Error| BenchError::Process {
        pid,
        reason: error.to_string(),
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map_err(failed)?;
    Ok(open.count() as u64)
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

/// Time that a CPU has spent on anything since the machine started, that which the host took away included.
pub(crate) fn busy(cpu: usize) -> Result<Duration, BenchError> {
    busy_time(&format!("cpu{cpu}"))
}

fn busy_time(name: &str) -> Result<Duration, BenchError> {
    let stat = std::fs::read_to_string("/proc/stat")
        .map_err(BenchError::io("read what the CPUs have done"))?;
    let ticks_per_second = positive(sysconf(SysconfVar::CLK_TCK)).unwrap_or(100);
    let ticks = busy_ticks(&stat, name).ok_or_else(|| BenchError::Io {
        operation: "find the CPU in /proc/stat",
        source: std::io::ErrorKind::NotFound.into(),
    })?;
    Ok(Duration::from_micros(ticks * 1_000_000 / ticks_per_second))
}

/// The ticks of one CPU, or with "cpu" those of all.
fn busy_ticks(stat: &str, name: &str) -> Option<u64> {
    let mut fields = stat
        .lines()
        .map(str::split_ascii_whitespace)
        .find_map(|mut fields| (fields.next()? == name).then_some(fields))?
        .map_while(|field| field.parse::<u64>().ok());
    // user, nice, system; then idle and iowait; then irq, softirq, steal. What guests have is in user already.
    let working: u64 = fields.by_ref().take(3).sum();
    Some(working + fields.skip(2).take(3).sum::<u64>())
}

fn positive(value: nix::Result<Option<i64>>) -> Option<u64> {
    value.ok().flatten().and_then(|value| value.try_into().ok())
}

/// What this program, and servers that it started and that have ended, have used so far, and the machine in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    at: Instant,
    all: Duration,
    own: Duration,
}

impl Usage {
    /// Now.
    pub(crate) fn now() -> Result<Self, BenchError> {
        let used = |who| {
            let usage = getrusage(who).map_err(BenchError::sys("read what was used so far"))?;
            let [user, system] = [usage.user_time(), usage.system_time()];
            let micros = user.num_microseconds() + system.num_microseconds();
            Ok::<_, BenchError>(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
        };
        Ok(Self {
            own: used(UsageWho::RUSAGE_SELF)? + used(UsageWho::RUSAGE_CHILDREN)?,
            all: busy_time("cpu")?,
            at: Instant::now(),
        })
    }

    /// What others have used since then, in percent of one CPU.
    pub(crate) fn others_percent(&self) -> Result<f64, BenchError> {
        let now = Self::now()?;
        let seconds = |later: Duration, earlier| later.saturating_sub(earlier).as_secs_f64();
        let others = seconds(now.all, self.all) - seconds(now.own, self.own);
        // One counts in steps; a little less than nothing is nothing.
        Ok(others.max(0.0) * 100.0 / (now.at - self.at).as_secs_f64())
    }
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
    fn everything_but_waiting_is_busy() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 9 9 9 9 9 9 9 9 9 9\ncpu1 1 2 4 800 900 8 16 32 64 128\n";
        assert_eq!(busy_ticks(stat, "cpu1"), Some(63));
        assert_eq!(busy_ticks(stat, "cpu2"), None);
        assert!(busy(0).unwrap() > Duration::ZERO);
    }

    #[test]
    fn reads_threads_by_name() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("a (named) one".into())
            .spawn(move || stopped.recv())
            .unwrap();
        // The name is set by the new thread itself, before it runs what it was given.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let threads = threads(std::process::id()).unwrap();
            if threads.iter().any(|(name, _)| name == "a (named) one") {
                break;
            }
            assert!(Instant::now() < deadline, "{threads:?}");
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
