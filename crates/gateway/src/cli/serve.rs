//! `apiary serve`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::sync::oneshot;

use super::output::{complain, with_causes};
use super::runtime;
use crate::app;
use crate::config::keys::CONFIG_VARIABLE;
use crate::config::{Config, Environment};
use crate::{logging, mqtt};

/// The file that is read where none is named.
const DEFAULT_FILE: &str = "apiary.toml";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Settings file (TOML) [default: apiary.toml in the working directory, if it exists]
    #[arg(long, value_name = "FILE")]
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
    if let Err(error) = logging::init(&config.log) {
        complain(format_args!("cannot set up the log: {error}"));
        return ExitCode::FAILURE;
    }
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
    runtime::run(|stop| async {
        let (ready, _) = oneshot::channel();
        match app::run(config, stop, ready).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!("{error}");
                ExitCode::FAILURE
            }
        }
    })
}
