//! Why the database cannot be used, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use sqlx::error::DatabaseError as _;
use sqlx::sqlite::SqliteError;

use crate::postgres::{self, PostgresTarget, ServerProblem};

/// A database that cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be used.
    #[error("the database {} {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: FileProblem,
        /// What the system or SQLite said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database on a server cannot be used.
    #[error("the database {server} {problem}")]
    Server {
        /// Its URL without the password.
        server: String,
        /// What is wrong with it and what to do.
        problem: ServerProblem,
        /// What the system or PostgreSQL said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has it.
    #[error(
        "the database {place} is in use by another running apiary; stop that one, or give this one its own {}",
        place.setting()
    )]
    InUse {
        /// Which one.
        place: Place,
    },
    /// A later version of the program has written it.
    #[error(
        "the database {place} was written by a newer version of apiary (its schema is {found}, this version knows up to \
         {known}); install that version again, or restore the backup made before it ran, or give this one an empty {}",
        place.setting()
    )]
    Newer {
        /// Which one.
        place: Place,
        /// Its schema version.
        found: i64,
        /// Our schema version.
        known: i64,
    },
    /// An earlier version of the program has written it.
    #[error(
        "the database {place} was written by an older version of apiary; start `apiary serve` once, which brings it up to date"
    )]
    Older {
        /// Which one.
        place: Place,
    },
    /// A statement failed.
    #[error("the database could not {operation}")]
    Query {
        /// What was being done.
        operation: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A row holds what the program cannot have written.
    #[error(
        "{table}.{column} holds {found:?}, which cannot be understood; correct or delete that row"
    )]
    BadRow {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What it holds, shortened.
        found: String,
        /// Why it is refused.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// On a server; the URL without the password.
    Server(String),
}

impl Place {
    /// What gives the program another one.
    fn setting(&self) -> &'static str {
        match self {
            Self::File(_) => "data.dir",
            Self::Server(_) => "database (database.url)",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => f.write_str(server),
        }
    }
}

/// What is wrong with a database file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileProblem {
    /// Its directory cannot be made.
    #[error("cannot be created: make its directory (data.dir) and let this user write there")]
    Directory,
    /// It cannot be opened.
    #[error(
        "cannot be opened: check that data.dir is a directory that this user may read and write"
    )]
    CannotOpen,
    /// It, or its directory, cannot be written.
    #[error("cannot be written: give this user write access to it and its directory (data.dir)")]
    ReadOnly,
    /// It is something else, or broken.
    #[error(
        "is damaged or is no SQLite database: restore it from a backup, or move it away to begin with an empty one"
    )]
    Damaged,
    /// No room is left.
    #[error("cannot be written, the disk is full: free some space")]
    DiskFull,
    /// The schema inside is not one that this program made.
    #[error(
        "has a schema that this program did not make: restore a backup, or move it away to begin with an empty one"
    )]
    ForeignSchema,
    /// Something else.
    #[error("cannot be used")]
    Other,
}

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>) that have a remedy of their own.
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const IOERR: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const NOTADB: i32 = 26;
}

/// The primary result code, if SQLite gave one: the low byte of the extended code.
fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    let error = error.as_database_error()?;
    let code: i32 = error
        .try_downcast_ref::<SqliteError>()?
        .code()?
        .parse()
        .ok()?;
    Some(code & 0xff)
}

impl FileProblem {
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match sqlite_code(error) {
            Some(code::READONLY) => Self::ReadOnly,
            Some(code::CORRUPT | code::NOTADB) => Self::Damaged,
            Some(code::FULL) => Self::DiskFull,
            Some(code::CANTOPEN) => Self::CannotOpen,
            Some(_) | None => Self::Other,
        }
    }
}

impl StoreError {
    /// The same write may succeed later: the disk was full, the file locked, the database away.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Query { source, .. } => is_passing(source),
            Self::File { .. }
            | Self::Server { .. }
            | Self::InUse { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::BadRow { .. } => false,
        }
    }

    /// With its causes, each after a colon: what the database said is what helps, and not all shapes of a log show causes.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let next = error.to_string();
            // Some repeat their cause in their own text.
            if !text.contains(&next) {
                text = format!("{text}: {next}");
            }
            cause = error.source();
        }
        text
    }

    pub(crate) fn server(target: &PostgresTarget, source: sqlx::Error) -> Self {
        Self::Server {
            server: target.to_string(),
            problem: ServerProblem::of(&source),
            source: source.into(),
        }
    }
}

fn is_passing(error: &sqlx::Error) -> bool {
    if let Some(found) = sqlite_code(error) {
        return matches!(
            found,
            code::BUSY | code::LOCKED | code::READONLY | code::IOERR | code::FULL | code::CANTOPEN
        );
    }
    if let Some(found) = postgres::sqlstate(error) {
        return postgres::is_passing(found);
    }
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::ConnectOptions;
    use sqlx::sqlite::SqliteConnectOptions;

    async fn provoke(read_only: bool, prepare: &'static str, sql: &'static str) -> sqlx::Error {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let options = SqliteConnectOptions::new().filename(&path);
        let mut connection = options
            .clone()
            .create_if_missing(true)
            .connect()
            .await
            .unwrap();
        sqlx::raw_sql("CREATE TABLE t (x TEXT)")
            .execute(&mut connection)
            .await
            .unwrap();
        let mut connection = options.read_only(read_only).connect().await.unwrap();
        sqlx::raw_sql(prepare)
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::raw_sql(sql)
            .execute(&mut connection)
            .await
            .unwrap_err()
    }

    fn is_passing(source: sqlx::Error) -> bool {
        StoreError::Query {
            operation: "write",
            source,
        }
        .is_passing()
    }

    #[tokio::test]
    async fn a_read_only_file_is_told_apart() {
        let error = provoke(true, "", "INSERT INTO t VALUES ('x')").await;
        assert_eq!(FileProblem::of(&error), FileProblem::ReadOnly, "{error}");
        assert!(FileProblem::ReadOnly.to_string().contains("write access"));
        assert!(is_passing(error));
    }

    #[tokio::test]
    async fn f05_a_full_disk_is_told_apart_and_passes() {
        let error = provoke(
            false,
            "PRAGMA max_page_count = 3",
            "INSERT INTO t VALUES (hex(zeroblob(100000)))",
        )
        .await;
        assert_eq!(FileProblem::of(&error), FileProblem::DiskFull, "{error}");
        assert!(is_passing(error));
    }

    #[tokio::test]
    async fn a_wrong_statement_does_not_pass() {
        assert!(!is_passing(
            provoke(false, "", "INSERT INTO nothing VALUES (1)").await
        ));
    }
}
