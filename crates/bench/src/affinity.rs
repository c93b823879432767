//! Which CPU a thread runs on.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::error::BenchError;
use crate::sys;

const THIS_THREAD: Pid = Pid::from_raw(0);

/// Binds this thread, and what it starts from now on, to one CPU; without one nothing changes.
pub(crate) fn pin(cpu: Option<usize>) -> Result<(), BenchError> {
    let Some(cpu) = cpu else {
        return Ok(());
    };
    let mut set = CpuSet::new();
    set.set(cpu).map_err(BenchError::sys("use that CPU"))?;
    sched_setaffinity(THIS_THREAD, &set).map_err(BenchError::sys("bind a thread to its CPU"))
}

/// Runs `start` bound to `cpu`, so that a process started in it inherits the binding from its first
/// instruction on, and returns to the CPUs of before.
pub(crate) fn while_pinned<T>(
    cpu: Option<usize>,
    start: impl FnOnce() -> T,
) -> Result<T, BenchError> {
    let before = sched_getaffinity(THIS_THREAD).map_err(BenchError::sys("read the CPUs in use"))?;
    pin(cpu)?;
    let started = start();
    sched_setaffinity(THIS_THREAD, &before)
        .map_err(BenchError::sys("return to the CPUs of before"))?;
    Ok(started)
}

/// Has this process' threads of that name run as soon as they have something to do, before all others on their CPU.
pub(crate) fn prefer(thread: &str) -> Result<(), BenchError> {
    let failed = || BenchError::io("list the threads of this program");
    for task in std::fs::read_dir("/proc/self/task").map_err(failed())? {
        let path = task.map_err(failed())?.path();
        let Some(id) = path.file_name().and_then(|id| id.to_str()?.parse().ok()) else {
            continue;
        };
        // A thread may have ended since.
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim_end() == thread {
            sys::run_at_once(id).map_err(BenchError::io("prefer a thread"))?;
        }
    }
    Ok(())
}
