//! `apiary kurento-ping`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::output::{complain, say};
use super::runtime;
use crate::config::KurentoUrl;
use crate::kurento_probe::{Probe, ProbeError};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two questions to a server that is about to start.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The server, as ws://127.0.0.1:8888/kurento
    #[arg(value_name = "URL")]
    url: KurentoUrl,
    /// Go on asking for so long while it does not answer
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    /// PEM file with the authority that signed the certificate of a wss:// server [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> ExitCode {
    let probe = match Probe::new(options.url.tls, options.ca.as_deref(), PATIENCE) {
        Ok(probe) => probe,
        Err(error) => {
            complain(error);
            return ExitCode::FAILURE;
        }
    };
    runtime::run(|stop| async move {
        let answer = tokio::select! {
            answer = ask(&probe, options) => answer,
            () = stop.cancelled() => return ExitCode::FAILURE,
        };
        match answer {
            Ok(()) => {
                say(format_args!("{} answers", options.url));
                ExitCode::SUCCESS
            }
            Err(error) => {
                complain(format_args!("{}: {error}", options.url));
                ExitCode::FAILURE
            }
        }
    })
}

async fn ask(probe: &Probe, options: &Options) -> Result<(), ProbeError> {
    let until = Instant::now() + Duration::from_secs(options.wait);
    loop {
        match probe.ask(&options.url).await {
            Err(_) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}
