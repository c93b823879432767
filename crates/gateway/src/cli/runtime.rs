//! The runtime, signals, and the time within which everything ends.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output::complain;

/// From the first signal to the end, whatever still hangs.
const END_WITHIN: Duration = Duration::from_millis(4500);
/// How long threads that block may hold up the end.
const THREADS_END_WITHIN: Duration = Duration::from_millis(300);
/// Exit code after a second signal (128 + SIGINT, as shells have it).
const EXIT_AT_ONCE: i32 = 130;

/// Runs a command to its end. The token it is given is cancelled by SIGTERM or SIGINT; from then on it has
/// [`END_WITHIN`].
pub(super) fn run<F>(command: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = match (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                complain(format_args!("cannot watch for signals: {error}"));
                return ExitCode::FAILURE;
            }
        };
        tokio::spawn(watch(signals, stop.clone()));
        tokio::select! {
            code = command(stop.clone()) => code,
            () = overdue(stop) => {
                complain("not everything ended in time; ending all the same");
                ExitCode::FAILURE
            }
        }
    });
    runtime.shutdown_timeout(THREADS_END_WITHIN);
    code
}

async fn watch((mut terminate, mut interrupt): (Signal, Signal), stop: CancellationToken) {
    let name = next(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = name, "stopping; the same again stops at once");
    stop.cancel();
    next(&mut terminate, &mut interrupt).await;
    std::process::exit(EXIT_AT_ONCE);
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

async fn overdue(stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(END_WITHIN).await;
}
