//! The embedded database: one SQLite file in WAL mode.

mod backup;
mod look;
mod prune;
mod read;
mod write;

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiary_wire::id::CameraId;
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool};

use crate::Store;
use crate::accounts::{self, AccountStore, AccountTables, AccountWrite, AuditRow};
use crate::error::{FileProblem, Place, StoreError};
use crate::migrations;
use crate::retention::{Pruned, Retention};
use crate::rows::{
    CameraEvent, CameraRow, EventFilter, EventId, InterruptedSession, StreamSession, ViewerSession,
    Write,
};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// Of the file: hashes of passwords are in it.
const MODE: u32 = 0o600;
/// What the name of the file with our lock ends in.
const LOCK: &str = ".lock";
/// One writer and a few readers.
const CONNECTIONS: u32 = 4;
/// How long a statement waits for another connection's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A SQLite file, held by this process alone.
#[derive(Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
    /// Held for its lock: a second process would take our open sessions for those of a crash.
    _lock: File,
}

impl SqliteStore {
    /// Opens the file, making it and its directory where missing, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::File`], [`StoreError::InUse`], [`StoreError::Newer`]; each text says what to do.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        make_private(path);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Survives a crash of this process; a crash of the machine may take the last transactions.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await
            .map_err(|source| file_error(path, FileProblem::of(&source), source))?;
        migrate(path, &pool).await?;
        Ok(Self { pool, _lock: lock })
    }

    async fn connection(
        &self,
        operation: &'static str,
    ) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.pool
            .acquire()
            .await
            .map_err(|source| StoreError::Query { operation, source })
    }
}

/// Does something on a connection of the pool. One on which it failed is closed: where the disk is full SQLite ends the
/// transaction by itself, and the driver would believe for ever that it is within one.
macro_rules! on_connection {
    ($store:expr, $operation:literal, |$connection:ident| $work:expr) => {{
        let mut lease = $store.connection($operation).await?;
        let done = {
            let $connection = &mut *lease;
            $work.await
        };
        if done.is_err() {
            lease.close_on_drop();
        }
        done
    }};
}

/// Takes the lock beside the file; the system frees it with the process, however that ends.
fn lock(path: &Path) -> Result<File, StoreError> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .map_err(|source| file_error(path, FileProblem::Directory, source))?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(beside(path, LOCK))
        .map_err(|source| file_error(path, FileProblem::CannotOpen, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            place: Place::File(path.to_owned()),
        }),
        Err(TryLockError::Error(source)) => Err(file_error(path, FileProblem::CannotOpen, source)),
    }
}

/// A file beside another, with more to its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes an empty file for its owner alone where there is none, since SQLite would let others read it; what goes wrong is
/// said by SQLite, which meets it next.
fn make_private(path: &Path) {
    let _ = File::options()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
}

async fn migrate(path: &Path, pool: &SqlitePool) -> Result<(), StoreError> {
    let known = migrations::latest(&MIGRATIONS);
    migrations::run(&MIGRATIONS, pool)
        .await
        .map_err(|error| migration_error(path, known, error))
}

fn migration_error(path: &Path, known: i64, error: MigrateError) -> StoreError {
    if let MigrateError::VersionMissing(found) = error
        && found > known
    {
        return StoreError::Newer {
            place: Place::File(path.to_owned()),
            found,
            known,
        };
    }
    let problem = if let MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) =
        &error
        && FileProblem::of(source) != FileProblem::Other
    {
        FileProblem::of(source)
    } else {
        // A table of that name, a changed migration: somebody else's file.
        FileProblem::ForeignSchema
    };
    file_error(path, problem, error)
}

fn file_error(
    path: &Path,
    problem: FileProblem,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::File {
        path: path.to_owned(),
        problem,
        source: source.into(),
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        on_connection!(self, "write", |connection| write::apply(connection, writes))
    }

    async fn interrupt_open_sessions(
        &self,
        now: Timestamp,
    ) -> Result<Vec<InterruptedSession>, StoreError> {
        on_connection!(self, "close the sessions left open", |connection| {
            write::interrupt_open_sessions(connection, now)
        })
    }

    async fn cameras(&self) -> Result<Vec<CameraRow>, StoreError> {
        read::cameras(&self.pool).await
    }

    async fn camera_events(
        &self,
        filter: EventFilter,
        limit: u32,
        before: Option<EventId>,
    ) -> Result<Vec<CameraEvent>, StoreError> {
        read::camera_events(&self.pool, filter, limit, before).await
    }

    async fn stream_sessions(
        &self,
        camera: Option<CameraId>,
        limit: u32,
    ) -> Result<Vec<StreamSession>, StoreError> {
        read::stream_sessions(&self.pool, camera, limit).await
    }

    async fn viewer_sessions(&self, session_id: &str) -> Result<Vec<ViewerSession>, StoreError> {
        read::viewer_sessions(&self.pool, session_id).await
    }

    async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        on_connection!(self, "delete old rows", |connection| prune::prune(
            connection, retention, now
        ))
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn account_tables(&self) -> Result<AccountTables, StoreError> {
        on_connection!(self, "read the accounts", |connection| {
            accounts::sqlite::tables(connection)
        })
    }

    async fn apply_accounts(&self, writes: &[AccountWrite]) -> Result<(), StoreError> {
        on_connection!(self, "write accounts", |connection| {
            accounts::sqlite::apply(connection, writes)
        })
    }

    async fn audit_log(
        &self,
        action: Option<&str>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        on_connection!(self, "read the audit log", |connection| {
            accounts::sqlite::audit_log(connection, action, before, limit)
        })
    }

    async fn server_key(&self, name: &'static str, proposed: &str) -> Result<String, StoreError> {
        on_connection!(self, "keep a key", |connection| {
            accounts::sqlite::server_key(connection, name, proposed)
        })
    }
}
