//! h12: the program never starts another one, so that nothing anybody sends can make it run a command. The kernel watches: a
//! filter (seccomp) ends the process at the first try.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

mod program_support;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

use program_support::viewer::{Noticed, Viewer};
use program_support::{Plan, Program};
use reqwest::StatusCode;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

/// Tells this program, started anew, what to do behind the filter.
const TASK: &str = "APIARY_TEST_BEHIND_FILTER";

/// Ends the process once it forks or executes anything. Threads are let through; `clone3`, whose arguments no filter can see, is
/// denied, and the C library falls back to `clone`.
fn forbid_processes() {
    let arch: TargetArch = std::env::consts::ARCH.try_into().unwrap();
    let apply = |rules: BTreeMap<i64, Vec<SeccompRule>>, denied: SeccompAction| {
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch).unwrap();
        let program: BpfProgram = filter.try_into().unwrap();
        apply_filter_all_threads(&program).unwrap();
    };
    let no_system = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    apply(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), no_system);
    let thread = u64::try_from(libc::CLONE_THREAD).unwrap();
    let no_thread = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(thread),
        0,
    );
    let no_thread = SeccompRule::new(vec![no_thread.unwrap()]).unwrap();
    let mut rules = BTreeMap::from([
        (libc::SYS_clone, vec![no_thread]),
        (libc::SYS_execve, Vec::new()),
        (libc::SYS_execveat, Vec::new()),
    ]);
    #[cfg(target_arch = "x86_64")]
    rules.extend([(libc::SYS_fork, Vec::new()), (libc::SYS_vfork, Vec::new())]);
    apply(rules, SeccompAction::KillProcess);
}

/// Starts this test anew, to do `task` behind the filter.
fn behind_filter(test: &str, task: &str) -> ExitStatus {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]).env(TASK, task);
    again.status().unwrap()
}

/// Start, a stream that is watched, stop, settings read again, and the end.
async fn live_through_a_day() {
    let program = Program::start(Plan::alone()).await;
    let camera = program.first();
    let mut viewer = Viewer::new(program.address).await;
    let answer = program.offer(&camera, viewer.offer()).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    viewer.accept(&answer.text().await.unwrap());
    viewer.until(Noticed::Picture, 3).await;
    assert_eq!(program.stop_stream(&camera).await.0, 200);
    program.stop().await;
}

#[test]
fn h12_the_program_starts_no_other() {
    const TEST: &str = "h12_the_program_starts_no_other";
    match std::env::var(TASK).as_deref() {
        Ok("start another") => {
            forbid_processes();
            let started = Command::new("true").spawn();
            panic!("the filter lets processes start: {started:?}");
        }
        Ok("live") => {
            forbid_processes();
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(live_through_a_day());
        }
        Ok(other) => panic!("{other}"),
        Err(_) => {
            let ended = behind_filter(TEST, "start another");
            assert_eq!(ended.signal(), Some(libc::SIGSYS), "{ended}");
            let ended = behind_filter(TEST, "live");
            assert!(ended.success(), "{ended}");
        }
    }
}
