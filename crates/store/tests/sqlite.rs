//! The embedded database: what is written comes back, and what cannot be used is refused with a remedy.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod suite;

use std::path::PathBuf;

use apiary_store::{CopyError, FileProblem, Line, SqliteStore, Store, StoreError, Write};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use suite::Home;

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/yet/there/apiary.db");
    Place { _dir: dir, path }
}

impl Home for Place {
    type Store = SqliteStore;

    async fn open(&self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(&self.path).await
    }

    async fn export(&self, line: Line<'_>) -> Result<(), CopyError> {
        SqliteStore::export(&self.path, line).await
    }

    async fn schema(&self) -> Vec<String> {
        let options = SqliteConnectOptions::new().filename(&self.path);
        let mut raw = options.connect().await.unwrap();
        let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' \
                   UNION ALL SELECT '-- ' || version || ' ' || lower(hex(checksum)) FROM _sqlx_migrations ORDER BY 1";
        sqlx::query_scalar(sql).fetch_all(&mut raw).await.unwrap()
    }

    fn golden(&self) -> &'static str {
        "sqlite.sql"
    }

    async fn make_old(&self) {
        std::fs::create_dir_all(self.path.parent().unwrap()).unwrap();
        let options = SqliteConnectOptions::new().filename(&self.path);
        let mut raw = options.create_if_missing(true).connect().await.unwrap();
        let migrations = sqlx::migrate!("./migrations/sqlite");
        migrations.run_to(1, &mut raw).await.unwrap();
        raw.close().await.unwrap();
    }

    async fn change(&self, sql: &'static str) {
        let mut raw = SqliteConnectOptions::new()
            .filename(&self.path)
            .connect()
            .await
            .unwrap();
        sqlx::raw_sql(sql).execute(&mut raw).await.unwrap();
        raw.close().await.unwrap();
    }
}

suite::suite!(async { place() });

/// The error with all its causes.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let place = place();
    drop(SqliteStore::open(&place.path).await.unwrap());
    place
        .change(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', 1, x'00', 1)",
        )
        .await;
    let error = SqliteStore::open(&place.path).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 9999, .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("newer version") && text.contains("apiary.db") && text.contains("9999"),
        "{text}"
    );
}

fn problem(error: &StoreError) -> FileProblem {
    match error {
        StoreError::File { problem, .. } => *problem,
        StoreError::Server { .. }
        | StoreError::InUse { .. }
        | StoreError::Newer { .. }
        | StoreError::Older { .. }
        | StoreError::Query { .. }
        | StoreError::BadRow { .. } => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("apiary.db");
    std::fs::write(&path, "this is a letter, not a database. ".repeat(300)).unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(problem(&error), FileProblem::Damaged, "{}", chain(&error));
    assert!(error.to_string().contains("backup"), "{error}");
}

#[tokio::test]
async fn a_database_cut_in_half_is_refused_with_a_remedy() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.unwrap();
    store.close().await;
    drop(store);
    let file = std::fs::File::options()
        .write(true)
        .open(&place.path)
        .unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 2).unwrap();
    let error = SqliteStore::open(&place.path).await.unwrap_err();
    assert_eq!(problem(&error), FileProblem::Damaged, "{}", chain(&error));
}

#[tokio::test]
async fn a_foreign_schema_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("apiary.db");
    let mut raw = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE cameras (something TEXT)")
        .execute(&mut raw)
        .await
        .unwrap();
    raw.close().await.unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(
        problem(&error),
        FileProblem::ForeignSchema,
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_place_that_is_no_directory_is_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data"), "a file").unwrap();
    let error = SqliteStore::open(&dir.path().join("data/apiary.db"))
        .await
        .unwrap_err();
    assert_eq!(problem(&error), FileProblem::Directory);
    assert!(error.to_string().contains("data.dir"), "{error}");

    let error = SqliteStore::open(dir.path()).await.unwrap_err();
    assert_eq!(
        problem(&error),
        FileProblem::CannotOpen,
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_zero_in_a_text_comes_back() {
    let place = place();
    let store = place.open().await.unwrap();
    let mut row = suite::camera_row(1);
    row.label.name = Some("a\0b".to_owned());
    store.apply(&[Write::Camera(row.clone())]).await.unwrap();
    assert_eq!(store.cameras().await.unwrap(), [row]);
}

#[tokio::test]
async fn who_finds_the_file_in_use_is_told_of_the_directory() {
    let place = place();
    let _first = place.open().await.unwrap();
    let error = place.open().await.unwrap_err();
    assert!(error.to_string().contains("data.dir"), "{error}");
}

#[tokio::test]
async fn a_backup_of_an_older_version_is_brought_up_to_date_at_the_next_start() {
    let (older, place) = (place(), place());
    older.make_old().await;
    older.change(suite::OLD_ROWS).await;
    assert!(!SqliteStore::is_current(&older.path).await.unwrap());
    let kept = SqliteStore::restore(&place.path, &older.path, suite::at(0));
    assert_eq!(kept.await.unwrap(), None);
    let store = place.open().await.unwrap();
    let cameras = store.cameras().await.unwrap();
    assert_eq!(cameras[0].label.name.as_deref(), Some("Porch"));
    assert!(SqliteStore::is_current(&place.path).await.unwrap());
}
