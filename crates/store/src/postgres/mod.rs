//! The database on a PostgreSQL server.
//!
//! - One running program a database: each connection holds an advisory lock in common, which a program that starts wants
//!   alone. A second one would take the first one's open sessions for those of a crash.
//! - Nothing waits without an end: the server ends statements and waits for locks, and we end what the server does not.

mod problem;
mod prune;
mod read;
mod target;
mod write;

use std::sync::LazyLock;
use std::time::Duration;

use apiary_wire::id::CameraId;
use async_trait::async_trait;
use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Postgres};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::Store;
use crate::accounts::{self, AccountStore, AccountTables, AccountWrite, AuditRow};
use crate::copy::CopyError;
use crate::error::{Place, StoreError};
use crate::export::{self, Line};
use crate::migrations;
use crate::retention::{Pruned, Retention};
use crate::rows::{
    CameraEvent, CameraRow, EventFilter, EventId, InterruptedSession, StreamSession, ViewerSession,
    Write,
};

pub(crate) use problem::{is_passing, sqlstate};
pub(crate) use write::without_nul;

pub use problem::ServerProblem;
pub use target::{PostgresTarget, TargetError};

/// The table of the migrations has our name, since databases on servers are shared with other programs.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations/postgres");
    migrations.dangerous_set_table_name("apiary_migrations");
    migrations
});

/// The advisory lock of a database that is in use.
const LOCK: i64 = i64::from_be_bytes(*b"\0\0apiary");
/// How long a start, and a new connection beside it, wait for that lock: the server may not have noticed yet that the last
/// run is gone.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a statement waits for a free connection, and for a server that is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// The server ends a statement after this time.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// We end a transaction after this time, if the server did not.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// A database on a PostgreSQL server, used by this process alone.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    limits: Limits,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The server ends a statement after this time.
    pub statement: Duration,
    /// We end a transaction after this time, if the server did not; and the server, when it hears no more of it.
    pub transaction: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement: STATEMENT_TIMEOUT,
            transaction: TRANSACTION_TIMEOUT,
        }
    }
}

/// What a look at a database found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// PostgreSQL's version.
    pub version: String,
    /// The version of our schema there; `None` where nothing was made yet.
    pub schema: Option<i64>,
}

impl PostgresStore {
    /// Connects with at most `pool_size` connections and brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Server`], [`StoreError::InUse`], [`StoreError::Newer`]; each text says what to do.
    pub async fn open(target: &PostgresTarget, pool_size: u32) -> Result<Self, StoreError> {
        Self::open_with_limits(target, pool_size, Limits::default()).await
    }

    /// [`PostgresStore::open`] with other limits than the usual ones.
    ///
    /// # Errors
    /// As there.
    pub async fn open_with_limits(
        target: &PostgresTarget,
        pool_size: u32,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let mut first = connect(target).await?;
        take(&mut first, target).await?;
        migrate(&mut first, target).await?;
        share(&mut first)
            .await
            .map_err(|source| StoreError::server(target, source))?;
        let pool = PgPoolOptions::new()
            .max_connections(pool_size)
            // One stays and holds the lock.
            .min_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| Box::pin(prepare(connection, limits)))
            .connect_with(target.options())
            .await
            .map_err(|source| StoreError::server(target, source))?;
        // The server frees what it held, however that goes.
        let _ = timeout(CONNECT_TIMEOUT, first.close()).await;
        Ok(Self { pool, limits })
    }

    /// Looks whether the database could be opened, and changes nothing.
    ///
    /// # Errors
    /// As [`PostgresStore::open`], but that it is in use does not matter.
    pub async fn examine(target: &PostgresTarget) -> Result<ServerFacts, StoreError> {
        let failed = |source| StoreError::server(target, source);
        let mut connection = connect(target).await?;
        let schema = schema_version(&mut connection, target).await?;
        let (version, may_create): (String, bool) = sqlx::query_as(
            "SELECT current_setting('server_version'), \
             coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
        let _ = timeout(CONNECT_TIMEOUT, connection.close()).await;
        if !may_create {
            return Err(StoreError::Server {
                server: target.to_string(),
                problem: ServerProblem::NoPrivilege,
                source: "there is no schema in which it may create tables".into(),
            });
        }
        Ok(ServerFacts { version, schema })
    }

    /// Gives each row of the database to `line` as a JSON object; secrets are left out. Works while a program has it, and
    /// shows one moment.
    ///
    /// # Errors
    /// [`CopyError`]; each text says what to do.
    pub async fn export(target: &PostgresTarget, line: Line<'_>) -> Result<(), CopyError> {
        let failed = |source| StoreError::server(target, source);
        let mut connection = connect(target).await?;
        // Who takes the lines takes the time.
        let unlimited = Limits {
            statement: Duration::ZERO,
            transaction: Duration::ZERO,
        };
        set(&mut connection, unlimited).await.map_err(failed)?;
        let found = schema_version(&mut connection, target).await?;
        let place = || Place::Server(target.to_string());
        migrations::must_be_latest(&MIGRATIONS, found.unwrap_or_default(), place)?;
        let mut moment = connection
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(failed)?;
        export::postgres(&mut moment, line).await
    }

    async fn connection(
        &self,
        operation: &'static str,
    ) -> Result<PoolConnection<Postgres>, StoreError> {
        self.pool
            .acquire()
            .await
            .map_err(|source| StoreError::Query { operation, source })
    }

    /// The outcome of what was done on a connection; one on which it took too long is closed, since nobody knows what
    /// the server still does with it.
    fn settle<T>(
        connection: PoolConnection<Postgres>,
        operation: &'static str,
        done: Result<Result<T, StoreError>, Elapsed>,
    ) -> Result<T, StoreError> {
        done.unwrap_or_else(|elapsed| {
            drop(connection.detach());
            Err(StoreError::Query {
                operation,
                source: sqlx::Error::Io(elapsed.into()),
            })
        })
    }
}

/// Does one thing on a connection of the pool, within the time that a transaction may take.
macro_rules! in_time {
    ($store:expr, $operation:literal, |$connection:ident| $work:expr) => {{
        let mut lease = $store.connection($operation).await?;
        let done = {
            let $connection = &mut *lease;
            timeout($store.limits.transaction, $work).await
        };
        PostgresStore::settle(lease, $operation, done)
    }};
}

/// A connection before the pool, for what comes first.
async fn connect(target: &PostgresTarget) -> Result<PgConnection, StoreError> {
    ensure_crypto_provider();
    let failed = |source| StoreError::server(target, source);
    let connecting = async {
        let mut connection = target.options().connect().await?;
        let limits = Limits {
            // Migrations take what they take.
            statement: Duration::ZERO,
            ..Limits::default()
        };
        set(&mut connection, limits).await?;
        Ok(connection)
    };
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(failed),
        Err(elapsed) => Err(failed(sqlx::Error::Io(elapsed.into()))),
    }
}

/// The driver's TLS takes the default algorithms of the process, and panics where none were chosen and more than one
/// library of them is linked: the program chooses at its start, a test or a tool might not.
fn ensure_crypto_provider() {
    if CryptoProvider::get_default().is_none() {
        // Fails only if another thread was faster.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

/// Sets what all connections have: limits on waiting, and that the server soon notices when this machine is gone, since
/// its locks must not outlive it for long. A statement timeout of zero is none.
async fn set(connection: &mut PgConnection, limits: Limits) -> Result<(), sqlx::Error> {
    let settings = [
        ("statement_timeout", limits.statement.as_millis()),
        ("lock_timeout", LOCK_TIMEOUT.as_millis()),
        (
            "idle_in_transaction_session_timeout",
            limits.transaction.as_millis(),
        ),
        ("tcp_keepalives_idle", 10),
        ("tcp_keepalives_interval", 5),
        ("tcp_keepalives_count", 3),
    ];
    for (name, value) in settings {
        sqlx::query("SELECT set_config($1, $2, false)")
            .bind(name)
            .bind(value.to_string())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Makes a new connection of the pool ready.
async fn prepare(connection: &mut PgConnection, limits: Limits) -> Result<(), sqlx::Error> {
    set(connection, limits).await?;
    sqlx::query("SELECT pg_advisory_lock_shared($1)")
        .bind(LOCK)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Takes the lock for this connection alone: nobody else has the database then.
async fn take(connection: &mut PgConnection, target: &PostgresTarget) -> Result<(), StoreError> {
    let taken = sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(connection)
        .await;
    match taken {
        Ok(_) => Ok(()),
        // lock_not_available
        Err(error) if sqlstate(&error) == Some("55P03") => Err(StoreError::InUse {
            place: Place::Server(target.to_string()),
        }),
        Err(source) => Err(StoreError::server(target, source)),
    }
}

/// From the lock alone to the lock in common, without a moment between.
async fn share(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for step in [
        "SELECT pg_advisory_lock_shared($1)",
        "SELECT pg_advisory_unlock($1)",
    ] {
        sqlx::query(step)
            .bind(LOCK)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The version of our schema there, if there is one.
async fn schema_version(
    connection: &mut PgConnection,
    target: &PostgresTarget,
) -> Result<Option<i64>, StoreError> {
    let failed = |source| StoreError::server(target, source);
    let known = migrations::latest(&MIGRATIONS);
    let (ours, foreign): (bool, Option<String>) = sqlx::query_as(
        "SELECT to_regclass('apiary_migrations') IS NOT NULL, \
         coalesce(to_regclass('stream_sessions'), to_regclass('viewer_sessions'), to_regclass('cameras'), \
         to_regclass('camera_events'))::text",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    let found: Option<i64> = if ours {
        sqlx::query_scalar("SELECT max(version) FROM apiary_migrations")
            .fetch_one(connection)
            .await
            .map_err(failed)?
    } else {
        None
    };
    match (found, foreign) {
        (Some(found), _) if found > known => Err(StoreError::Newer {
            place: Place::Server(target.to_string()),
            found,
            known,
        }),
        (None, Some(table)) => Err(StoreError::Server {
            server: target.to_string(),
            problem: ServerProblem::ForeignSchema,
            source: format!("there is a table {table}").into(),
        }),
        (found, _) => Ok(found),
    }
}

async fn migrate(connection: &mut PgConnection, target: &PostgresTarget) -> Result<(), StoreError> {
    schema_version(connection, target).await?;
    migrations::run(&MIGRATIONS, connection)
        .await
        .map_err(|error| {
            let problem = if let MigrateError::Execute(source)
            | MigrateError::ExecuteMigration(source, _) = &error
            {
                ServerProblem::of(source)
            } else {
                // A changed or missing migration: somebody else's.
                ServerProblem::ForeignSchema
            };
            StoreError::Server {
                server: target.to_string(),
                problem,
                source: error.into(),
            }
        })
}

#[async_trait]
impl Store for PostgresStore {
    async fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        in_time!(self, "write", |connection| write::apply(connection, writes))
    }

    async fn interrupt_open_sessions(
        &self,
        now: Timestamp,
    ) -> Result<Vec<InterruptedSession>, StoreError> {
        in_time!(self, "close the sessions left open", |connection| {
            write::interrupt_open_sessions(connection, now)
        })
    }

    async fn cameras(&self) -> Result<Vec<CameraRow>, StoreError> {
        in_time!(self, "read the cameras", |connection| read::cameras(
            connection
        ))
    }

    async fn camera_events(
        &self,
        filter: EventFilter,
        limit: u32,
        before: Option<EventId>,
    ) -> Result<Vec<CameraEvent>, StoreError> {
        in_time!(self, "read the events of cameras", |connection| {
            read::camera_events(connection, filter, limit, before)
        })
    }

    async fn stream_sessions(
        &self,
        camera: Option<CameraId>,
        limit: u32,
    ) -> Result<Vec<StreamSession>, StoreError> {
        in_time!(self, "read stream sessions", |connection| {
            read::stream_sessions(connection, camera, limit)
        })
    }

    async fn viewer_sessions(&self, session_id: &str) -> Result<Vec<ViewerSession>, StoreError> {
        in_time!(self, "read viewer sessions", |connection| {
            read::viewer_sessions(connection, session_id)
        })
    }

    async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<Pruned, StoreError> {
        in_time!(self, "delete old rows", |connection| prune::prune(
            connection, retention, now
        ))
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

#[async_trait]
impl AccountStore for PostgresStore {
    async fn account_tables(&self) -> Result<AccountTables, StoreError> {
        in_time!(self, "read the accounts", |connection| {
            accounts::postgres::tables(connection)
        })
    }

    async fn apply_accounts(&self, writes: &[AccountWrite]) -> Result<(), StoreError> {
        in_time!(self, "write accounts", |connection| {
            accounts::postgres::apply(connection, writes)
        })
    }

    async fn audit_log(
        &self,
        action: Option<&str>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        in_time!(self, "read the audit log", |connection| {
            accounts::postgres::audit_log(connection, action, before, limit)
        })
    }

    async fn server_key(&self, name: &'static str, proposed: &str) -> Result<String, StoreError> {
        in_time!(self, "keep a key", |connection| {
            accounts::postgres::server_key(connection, name, proposed)
        })
    }
}
