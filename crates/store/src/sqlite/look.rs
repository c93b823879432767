//! The file as others see it than the program that has it: its version, its rows. Nothing is changed.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::{BUSY_TIMEOUT, MIGRATIONS, SqliteStore, file_error};
use crate::copy::CopyError;
use crate::error::{FileProblem, Place, StoreError};
use crate::{export, migrations};

impl SqliteStore {
    /// Whether the database at `path` is of the version that the program makes; an older one is brought up to date at the
    /// next start. Works while a program has it.
    ///
    /// # Errors
    /// [`CopyError`]; each text says what to do.
    pub async fn is_current(path: &Path) -> Result<bool, CopyError> {
        let mut database = existing(path).await?;
        let found = version(&mut database, path).await?;
        not_newer(path, found)?;
        Ok(found == migrations::latest(&MIGRATIONS))
    }

    /// Gives each row of the database at `path` to `line` as a JSON object; secrets are left out. Works while a program has
    /// it, and shows one moment.
    ///
    /// # Errors
    /// [`CopyError`]; each text says what to do.
    pub async fn export(path: &Path, line: export::Line<'_>) -> Result<(), CopyError> {
        let mut database = existing(path).await?;
        let place = || Place::File(path.to_owned());
        migrations::must_be_latest(&MIGRATIONS, version(&mut database, path).await?, place)?;
        let mut moment = database.begin().await.map_err(export::unreadable)?;
        export::sqlite(&mut moment, line).await
    }
}

/// Opens a database that is there, to read it.
pub(super) async fn existing(path: &Path) -> Result<SqliteConnection, CopyError> {
    if path.exists() {
        Ok(open(path, true).await?)
    } else {
        Err(CopyError::NoDatabase(path.to_owned()))
    }
}

pub(super) async fn open(path: &Path, read_only: bool) -> Result<SqliteConnection, StoreError> {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(read_only)
        .busy_timeout(BUSY_TIMEOUT)
        .connect()
        .await
        .map_err(|source| file_error(path, FileProblem::of(&source), source))
}

/// The version of our schema there.
pub(super) async fn version(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<i64, StoreError> {
    let found: Result<Option<i64>, _> =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(connection)
            .await;
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(file_error(path, FileProblem::ForeignSchema, "it is empty")),
        Err(source) => {
            // It has no such table.
            let is_sqlite = FileProblem::of(&source) == FileProblem::Other;
            let problem = if is_sqlite {
                FileProblem::ForeignSchema
            } else {
                FileProblem::of(&source)
            };
            Err(file_error(path, problem, source))
        }
    }
}

/// Refuses what only a later version of the program understands.
pub(super) fn not_newer(path: &Path, found: i64) -> Result<(), StoreError> {
    let known = migrations::latest(&MIGRATIONS);
    if found <= known {
        return Ok(());
    }
    Err(StoreError::Newer {
        place: Place::File(path.to_owned()),
        found,
        known,
    })
}
