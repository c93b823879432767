//! `apiary import`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use apiary_store::{RegisteredCamera, RegistryError, StoreError, Write, read_registry};
use clap::Args;
use jiff::Timestamp;

use super::new_file::{self, NewFileError};
use super::output::{complain, say, with_causes};
use super::{runtime, serve};
use crate::config::{Config, ConfigErrors, Environment, ImportedSettings};
use crate::import::merge;
use crate::logging::printable;
use crate::{app, mqtt};

/// What the older installation calls its files.
const REGISTRY: &str = "camera_events.db";
const DOT_ENV: &str = ".env";
/// Cameras in one transaction.
const BATCH: usize = 500;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Directory of the older installation, with its camera_events.db and .env
    #[arg(value_name = "DIR", default_value = ".")]
    from: PathBuf,
    /// Its camera_events.db, where that is elsewhere
    #[arg(long, value_name = "FILE")]
    cameras: Option<PathBuf>,
    /// Its .env, where that is elsewhere
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// Write the settings into this new file instead of printing them
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    #[command(flatten)]
    settings: serve::Options,
}

/// Why it does not go on.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error("{} has neither {REGISTRY} nor {DOT_ENV}: give the directory of the older installation, or name them with --cameras and --env", .0.display())]
    Nothing(PathBuf),
    #[error("{} cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("nothing was imported: {0}")]
    Settings(ConfigErrors),
    #[error("the cameras need to know the database: {0}")]
    Config(ConfigErrors),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NewFile(#[from] NewFileError),
}

pub(super) fn run(options: Options) -> ExitCode {
    mqtt::tls::install_crypto_provider();
    runtime::run(|stop| async move {
        match stop.run_until_cancelled(work(&options)).await {
            Some(Ok(())) => ExitCode::SUCCESS,
            Some(Err(error)) => {
                complain(with_causes(&error));
                ExitCode::FAILURE
            }
            None => {
                complain("stopped before it was done; it may be repeated");
                ExitCode::FAILURE
            }
        }
    })
}

/// Reads everything before it writes anything.
async fn work(options: &Options) -> Result<(), ImportError> {
    let found = |named: &Option<PathBuf>, usual: &str| {
        let usual = options.from.join(usual);
        named.clone().or_else(|| usual.exists().then_some(usual))
    };
    let registry = found(&options.cameras, REGISTRY);
    let env = found(&options.env, DOT_ENV);
    if registry.is_none() && env.is_none() {
        return Err(ImportError::Nothing(options.from.clone()));
    }
    let settings = env.as_deref().map(read_settings).transpose()?;
    if let Some(path) = &registry {
        let cameras = read_registry(path).await?;
        import_cameras(path, &cameras, &options.settings).await?;
    }
    match (&env, settings) {
        (Some(path), Some(settings)) => give(path, &settings, options.write.as_deref()),
        (Some(_) | None, _) => Ok(()),
    }
}

fn read_settings(path: &Path) -> Result<ImportedSettings, ImportError> {
    let text = fs::read_to_string(path).map_err(|source| ImportError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    ImportedSettings::read(path, &text).map_err(ImportError::Settings)
}

/// Into the database that the settings of Apiary name; no program may have it, since that would not notice.
async fn import_cameras(
    path: &Path,
    cameras: &[RegisteredCamera],
    options: &serve::Options,
) -> Result<(), ImportError> {
    let environment = Environment::from_process();
    let file = options.file(&environment);
    let config = Config::load(file.as_deref(), &environment).map_err(ImportError::Config)?;
    let (store, _) = app::open_store(&config).await?;
    let known = store.cameras().await?;
    let merged = merge(cameras, known, Timestamp::now());
    for rows in merged.rows.chunks(BATCH) {
        let writes: Vec<Write> = rows.iter().cloned().map(Write::Camera).collect();
        store.apply(&writes).await?;
    }
    store.close().await;
    complain(format_args!(
        "{}: {} cameras taken, {} known already",
        path.display(),
        merged.rows.len(),
        merged.unchanged
    ));
    for left in &merged.left {
        complain(format_args!("  left: {}", printable(left)));
    }
    Ok(())
}

/// The settings go where they were wanted, and what is to be said about them to whoever watches.
fn give(path: &Path, settings: &ImportedSettings, to: Option<&Path>) -> Result<(), ImportError> {
    let head = format!(
        "# From {}, by `apiary import`.\n\n",
        printable(&path.display().to_string())
    );
    let text = |secrets| format!("{head}{}", settings.toml(secrets));
    match to {
        Some(file) => {
            let outcome = new_file::write(file, &text(true))?;
            complain(format_args!("{}: {outcome}", file.display()));
        }
        None => {
            say(text(false).trim_end());
            if settings.has_secrets() {
                complain("secrets are not shown; --write FILE writes them too");
            }
        }
    }
    complain(format_args!(
        "{}: {} names taken, {} left",
        path.display(),
        settings.taken.len(),
        settings.left.len()
    ));
    for (name, key) in &settings.taken {
        complain(format_args!("  taken: {name} as {key}"));
    }
    for left in &settings.left {
        complain(format_args!("  left: {}", printable(&left.to_string())));
    }
    for note in &settings.notes {
        complain(format_args!("  note: {}", printable(&note.to_string())));
    }
    Ok(())
}
