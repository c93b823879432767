//! `apiary serve`

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::output::{complain, say, with_causes};
use super::runtime;
use crate::app::{self, Controls, Ready};
use crate::config::keys::CONFIG_VARIABLE;
use crate::config::{Config, Environment};
use crate::logging::{self, LogLevel};
use crate::mqtt;
use crate::operation::{Reloader, Reloads, ServiceManager};
use crate::telemetry::Telemetry;

/// The file that is read where none is named.
const DEFAULT_FILE: &str = "apiary.toml";

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// Settings file (TOML) [default: apiary.toml in the working directory, if it exists]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
}

impl Options {
    /// The file to read: the named one, the one in the environment, or the default one where it exists.
    pub(super) fn file(&self, environment: &Environment) -> Option<PathBuf> {
        let named = environment
            .variables
            .get(CONFIG_VARIABLE)
            .filter(|path| !path.is_empty());
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
        self.config
            .clone()
            .or_else(|| named.map(PathBuf::from))
            .or_else(default)
    }
}

pub(super) fn run(options: &Options) -> ExitCode {
    let environment = Environment::from_process();
    let file = options.file(&environment);
    let config = match Config::load(file.as_deref(), &environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::FAILURE;
        }
    };
    let (log_level, telemetry) = match set_up_log(&config) {
        Ok(set_up) => set_up,
        Err(cause) => {
            complain(format_args!("cannot set up the log: {cause}"));
            return ExitCode::FAILURE;
        }
    };
    mqtt::tls::install_crypto_provider();
    let source = file.map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = source,
        "starting"
    );
    for note in &config.notes {
        tracing::warn!(setting = note.subject, "{}", note.text);
    }
    let service_manager = ServiceManager::of(&environment).unwrap_or_else(|error| {
        tracing::warn!("{error}");
        ServiceManager::default()
    });
    let local_ip = config.network.local_ip;
    let options = options.clone();
    let read = move || {
        let environment = Environment::from_process();
        Config::load(options.file(&environment).as_deref(), &environment)
    };
    let reloads = Reloads::reading(read, service_manager.clone());
    let reloader = reloads.reloader();
    runtime::run(|shutdown| async move {
        let (ready, is_ready) = oneshot::channel();
        // From here on a hangup no longer ends the program. One that comes while it starts waits until it has.
        let hangups = hangups();
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(async move {
            // Where it is gone, the program ends, and says why.
            if let Ok(ready) = is_ready.await {
                show_setup(&ready, local_ip);
                reload_on_hangup(reloader, hangups).await;
            }
        }));
        let controls = Controls {
            shutdown,
            reloads,
            service_manager,
            log_level,
        };
        let delivery = telemetry.as_ref().map(Telemetry::deliver).map(tokio::spawn);
        let code = match app::run(config, controls, ready).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!("{error}");
                ExitCode::FAILURE
            }
        };
        if let (Some(telemetry), Some(delivery)) = (telemetry, delivery) {
            telemetry.shutdown().await;
            delivery.abort();
        }
        code
    })
}

/// The log, and where `otlp.endpoint` names a collector, what sends it there.
fn set_up_log(config: &Config) -> Result<(LogLevel, Option<Telemetry>), String> {
    let telemetry = config.otlp.as_ref().map(Telemetry::new).transpose();
    let telemetry = telemetry.map_err(|error| with_causes(&error))?;
    let log_level = logging::init_with(&config.log, telemetry.as_ref());
    let log_level = log_level.map_err(|error| error.to_string())?;
    Ok((log_level, telemetry))
}

/// Shows the link that makes the first administrator, on the console alone: the log may go elsewhere.
fn show_setup(ready: &Ready, local_ip: Ipv4Addr) {
    let (Some(secret), Some(listener)) = (&ready.setup, ready.http.first()) else {
        return;
    };
    let mut address = *listener;
    if address.ip().is_unspecified() {
        address.set_ip(local_ip.into());
    }
    let scheme = if ready.https { "https" } else { "http" };
    say(format_args!(
        "There is no user yet. Make the first administrator here; the link works once:\n\n    {scheme}://{address}/setup#{}\n",
        secret.expose()
    ));
}

fn hangups() -> Option<Signal> {
    let hangups = signal(SignalKind::hangup());
    let warn = |error: &io::Error| tracing::warn!(%error, "SIGHUP cannot be watched for");
    hangups.inspect_err(warn).ok()
}

/// Has the configuration read again with each SIGHUP, without end.
async fn reload_on_hangup(reloader: Reloader, hangups: Option<Signal>) {
    let Some(mut hangups) = hangups else {
        return;
    };
    while hangups.recv().await.is_some() {
        // What came of it is in the log.
        let _ = reloader.reload().await;
    }
}
