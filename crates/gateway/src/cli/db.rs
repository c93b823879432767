//! `apiary db`

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use apiary_store::{CopyError, PostgresStore, PostgresTarget, SqliteStore};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::new_file::{self, NewFileError};
use super::output::{complain, say, with_causes};
use super::{runtime, serve};
use crate::config::{Config, Environment};
use crate::{app, mqtt};

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    #[command(subcommand)]
    task: Task,
    #[command(flatten)]
    settings: serve::Options,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Copy the database into a file, also while the gateway runs
    Backup {
        /// Where to
        file: PathBuf,
        /// Replace a file of that name
        #[arg(long)]
        overwrite: bool,
    },
    /// Put a backup in the place of the database, which is kept beside it; the gateway must not run
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// Write cameras, history and accounts as JSON lines, without passwords and secrets, also while the gateway runs
    Export {
        /// A new file for it [default: standard output]
        file: Option<PathBuf>,
    },
}

/// Why it does not go on.
#[derive(Debug, thiserror::Error)]
enum DbError {
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(
        "the database {server} is on a server, and PostgreSQL's own tool does that (it asks for the password, or takes it from \
         ~/.pgpass):\n  {command}"
    )]
    OnServer { server: String, command: String },
    #[error(transparent)]
    NewFile(#[from] NewFileError),
}

pub(super) fn run(options: Options) -> ExitCode {
    let environment = Environment::from_process();
    let file = options.settings.file(&environment);
    let config = match Config::load(file.as_deref(), &environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::FAILURE;
        }
    };
    mqtt::tls::install_crypto_provider();
    runtime::run(|stop| async move {
        match stop.run_until_cancelled(work(&config, &options.task)).await {
            Some(Ok(())) => ExitCode::SUCCESS,
            Some(Err(error)) => {
                complain(with_causes(&error));
                ExitCode::FAILURE
            }
            None => {
                complain("stopped before it was done");
                ExitCode::FAILURE
            }
        }
    })
}

async fn work(config: &Config, task: &Task) -> Result<(), DbError> {
    let database = app::database(config);
    let server = config.database.target.as_ref();
    match task {
        Task::Backup { file, overwrite } => match server {
            None => back_up(&database, file, *overwrite).await,
            Some(target) => Err(on_server(target, |url| {
                format!(
                    "pg_dump --format=custom --file '{}' '{url}'",
                    file.display()
                )
            })),
        },
        Task::Restore { file } => match server {
            None => restore(&database, file).await,
            Some(target) => Err(on_server(target, |url| {
                let options = "--clean --if-exists --no-owner --single-transaction";
                let file = file.display();
                format!("pg_restore {options} --dbname '{url}' '{file}'\nStop apiary before that.")
            })),
        },
        Task::Export { file } => export(&database, server, file.as_deref()).await,
    }
}

fn on_server(target: &PostgresTarget, command: impl FnOnce(&str) -> String) -> DbError {
    let server = target.to_string();
    DbError::OnServer {
        command: command(&server),
        server,
    }
}

async fn back_up(database: &Path, file: &Path, overwrite: bool) -> Result<(), DbError> {
    SqliteStore::back_up(database, file, overwrite).await?;
    say(format_args!(
        "{} is a copy of {}, which only you may read: hashes of passwords are in it",
        file.display(),
        database.display()
    ));
    Ok(())
}

async fn restore(database: &Path, file: &Path) -> Result<(), DbError> {
    let kept = SqliteStore::restore(database, file, Timestamp::now()).await?;
    say(format_args!(
        "{} is as {} now",
        database.display(),
        file.display()
    ));
    if let Some(kept) = kept {
        say(format_args!("what was there is kept: {}", kept.display()));
    }
    say(
        "Everybody has to log in again. Passwords, API tokens and share links are those of the backup: change and revoke anew \
         what was changed and revoked since.",
    );
    Ok(())
}

async fn export(
    database: &Path,
    server: Option<&PostgresTarget>,
    file: Option<&Path>,
) -> Result<(), DbError> {
    let mut out: Box<dyn Write + Send> = match file {
        Some(path) => Box::new(new_file::create(path)?),
        None => Box::new(io::stdout()),
    };
    let mut out = BufWriter::new(&mut out);
    let mut line = |row: &str| writeln!(out, "{row}");
    let exported = match server {
        Some(target) => PostgresStore::export(target, &mut line).await,
        None => SqliteStore::export(database, &mut line).await,
    };
    let done = exported.and_then(|()| out.flush().map_err(CopyError::Output));
    match done {
        // Who reads may have read enough, as `head` has.
        Err(CopyError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => {
            if let Some(path) = file {
                // It is ours, and of no use.
                let _ = std::fs::remove_file(path);
            }
            Err(error.into())
        }
        Ok(()) => Ok(()),
    }
}
