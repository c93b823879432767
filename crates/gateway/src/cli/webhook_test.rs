//! `apiary webhook-test`

use std::process::ExitCode;

use super::output::{complain, say};
use super::{runtime, serve};
use crate::config::{Config, Environment};
use crate::mqtt;
use crate::webhooks::{Trial, Webhooks};

/// Reads the same settings as `serve` would.
pub(super) fn run(options: &serve::Options) -> ExitCode {
    let environment = Environment::from_process();
    let file = options.file(&environment);
    let config = match Config::load(file.as_deref(), &environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::FAILURE;
        }
    };
    mqtt::tls::install_crypto_provider();
    runtime::run(|stop| async move {
        let trials = tokio::select! {
            trials = try_all(&config) => trials,
            () = stop.cancelled() => return ExitCode::FAILURE,
        };
        match trials {
            Ok(trials) => report(&trials),
            Err(error) => {
                complain(error);
                ExitCode::FAILURE
            }
        }
    })
}

async fn try_all(config: &Config) -> Result<Vec<Trial>, String> {
    let webhooks = Webhooks::new(config).map_err(|error| error.to_string())?;
    webhooks.try_all().await.map_err(|error| error.to_string())
}

fn report(trials: &[Trial]) -> ExitCode {
    for Trial { receiver, outcome } in trials {
        match outcome {
            Ok(status) => say(format_args!("{receiver}: taken ({})", status.as_u16())),
            Err(error) => complain(format_args!("{receiver}: {error}")),
        }
    }
    match trials.iter().all(|trial| trial.outcome.is_ok()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
