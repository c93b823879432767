//! `apiary check`

use std::process::ExitCode;

use super::output::say;
use super::{runtime, serve};
use crate::config::Environment;
use crate::{check, mqtt};

/// Reads the same settings as `serve` would.
pub(super) fn run(options: &serve::Options) -> ExitCode {
    let environment = Environment::from_process();
    let file = options.file(&environment);
    mqtt::tls::install_crypto_provider();
    runtime::run(|stop| async move {
        let report = tokio::select! {
            report = check::examine(file.as_deref(), &environment) => report,
            () = stop.cancelled() => return ExitCode::FAILURE,
        };
        for finding in &report.findings {
            say(finding);
        }
        match report.problems() {
            0 => {
                say("\nNothing is in the way of `apiary serve`.");
                ExitCode::SUCCESS
            }
            1 => {
                say("\nThere is a problem to mend.");
                ExitCode::FAILURE
            }
            problems => {
                say(format_args!("\nThere are {problems} problems to mend."));
                ExitCode::FAILURE
            }
        }
    })
}
