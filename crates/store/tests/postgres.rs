//! PostgreSQL: what every store does, and what only a server can do to us. The server is a real one.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod postgres_support;
mod suite;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use apiary_store::{
    CopyError, Limits, Line, PostgresStore, PostgresTarget, ServerProblem, Store, StoreError,
    StoreWriter, Write,
};
use postgres_support::{Cluster, Database, Fault, OWNER, PASSWORD_IN_URL, run};
use sqlx::Connection as _;
use suite::{Home, camera_row, stream_session};
use tokio::net::{TcpListener, TcpSocket};

/// Connections of one store.
const POOL: u32 = 2;

struct Server(Database<'static>);

impl Home for Server {
    type Store = PostgresStore;

    async fn open(&self) -> Result<PostgresStore, StoreError> {
        open(&self.0.url()).await
    }

    async fn export(&self, line: Line<'_>) -> Result<(), CopyError> {
        PostgresStore::export(&target(&self.0.url()), line).await
    }

    async fn schema(&self) -> Vec<String> {
        let sql = "SELECT format('%s.%s %s%s', table_name, column_name, data_type, \
                   CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END) COLLATE \"C\" \
                   FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'apiary_migrations' \
                   UNION ALL SELECT indexdef FROM pg_indexes \
                   WHERE schemaname = 'public' AND tablename <> 'apiary_migrations' \
                   UNION ALL SELECT format('-- %s %s', version, encode(checksum, 'hex')) FROM apiary_migrations ORDER BY 1";
        let mut raw = self.0.raw().await;
        sqlx::query_scalar(sql).fetch_all(&mut raw).await.unwrap()
    }

    fn golden(&self) -> &'static str {
        "postgres.txt"
    }

    async fn make_old(&self) {
        let mut owner = self.0.raw().await;
        run(&mut owner, &format!("SET ROLE {OWNER}")).await;
        let mut migrations = sqlx::migrate!("./migrations/postgres");
        migrations.dangerous_set_table_name("apiary_migrations");
        migrations.run_to(1, &mut owner).await.unwrap();
        owner.close().await.unwrap();
    }

    async fn change(&self, sql: &'static str) {
        run(&mut self.0.raw().await, sql).await;
    }
}

async fn fresh() -> Database<'static> {
    Cluster::shared().database().await
}

suite::suite!(async { Server(fresh().await) });

fn target(url: &str) -> PostgresTarget {
    PostgresTarget::parse(url).unwrap()
}

async fn open(url: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(&target(url), POOL).await
}

async fn open_impatiently(url: &str) -> PostgresStore {
    let limits = Limits {
        statement: Duration::from_millis(300),
        transaction: Duration::from_millis(800),
    };
    PostgresStore::open_with_limits(&target(url), POOL, limits)
        .await
        .unwrap()
}

async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(suite::DEADLINE, test)
        .await
        .expect("in time")
}

/// The refusal of a URL: its problem and its text with all causes, which never hold the password.
async fn refusal(url: &str) -> (ServerProblem, String) {
    let error = open(url).await.unwrap_err();
    let examined = PostgresStore::examine(&target(url)).await.unwrap_err();
    assert_eq!(examined.to_string(), error.to_string());
    assert!(!error.is_passing(), "{error}");
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    assert!(!text.contains("hunter2"), "{text}");
    match error {
        StoreError::Server { problem, .. } => (problem, text),
        StoreError::File { .. }
        | StoreError::InUse { .. }
        | StoreError::Newer { .. }
        | StoreError::Older { .. }
        | StoreError::Query { .. }
        | StoreError::BadRow { .. } => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn f09_a_server_that_is_not_there_is_refused_with_its_host_and_a_remedy() {
    in_time(async {
        // Bound, so that nobody else takes the port, and not listening.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let url = format!("postgres://bee:hunter2@127.0.0.1:{port}/hive");
        let (problem, text) = refusal(&url).await;
        assert_eq!(problem, ServerProblem::Unreachable, "{text}");
        assert!(
            text.contains(&format!("127.0.0.1:{port}")) && text.contains("database.url"),
            "{text}"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://bee:hunter2@127.0.0.1:{port}/hive");
    let (problem, text) = refusal(&url).await;
    assert_eq!(problem, ServerProblem::Silent, "{text}");
}

#[tokio::test]
async fn a_wrong_login_is_refused_with_a_remedy() {
    in_time(async {
        let database = fresh().await;
        for (user, password) in [(OWNER, "hunter2"), ("wasp", PASSWORD_IN_URL)] {
            let url = database.url().replace(
                &format!("{OWNER}:{PASSWORD_IN_URL}"),
                &format!("{user}:{password}"),
            );
            let (problem, text) = refusal(&url).await;
            assert_eq!(problem, ServerProblem::Login, "{text}");
            assert!(text.contains("correct them in database.url"), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_missing_is_refused_with_a_remedy() {
    in_time(async {
        let database = fresh().await;
        let url = database.url().replace(database.name(), "honey");
        let (problem, text) = refusal(&url).await;
        assert_eq!(problem, ServerProblem::NoDatabase, "{text}");
        assert!(text.contains("CREATE DATABASE"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn tls_that_the_server_does_not_speak_is_refused_with_a_remedy() {
    in_time(async {
        let database = fresh().await;
        let way = database.way().await;
        let url = format!("{}?sslmode=require", database.url_over(way.port()));
        let (problem, text) = refusal(&url).await;
        assert_eq!(problem, ServerProblem::Tls, "{text}");
        assert!(text.contains("sslmode"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn tls_is_used_and_its_certificate_checked_as_asked_for() {
    in_time(async {
        let issue = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (good, other) = (issue(), issue());
        let dir = tempfile::tempdir().unwrap();
        let (trusted, foreign) = (
            dir.path().join("trusted.crt"),
            dir.path().join("foreign.crt"),
        );
        std::fs::write(&trusted, good.cert.pem()).unwrap();
        std::fs::write(&foreign, other.cert.pem()).unwrap();

        let cluster = Cluster::start_with_tls(&good.cert.pem(), &good.signing_key.serialize_pem());
        let database = cluster.database_here().await;
        let url = database.url_over(cluster.port());
        let with_root = |mode: &str, root: &Path| {
            format!("{url}?sslmode={mode}&sslrootcert={}", root.display())
        };
        let elsewhere = |url: String| url.replace("@127.0.0.1", "@localhost");

        let store = open(&with_root("verify-full", &trusted)).await.unwrap();
        let sealed: bool = sqlx::query_scalar(
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE application_name = 'apiary'",
        )
        .fetch_one(&mut database.raw().await)
        .await
        .unwrap();
        assert!(sealed);
        store.close().await;
        for url in [
            with_root("verify-full", &foreign),
            with_root("verify-ca", &foreign),
            format!("{url}?sslmode=verify-full"),
            elsewhere(with_root("verify-full", &trusted)),
        ] {
            let (problem, text) = refusal(&url).await;
            assert_eq!(problem, ServerProblem::Tls, "{text}");
        }
        for url in [
            elsewhere(with_root("verify-ca", &trusted)),
            format!("{url}?sslmode=require"),
        ] {
            open(&url).await.unwrap().close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_user_who_may_not_make_tables_is_refused_with_a_remedy() {
    in_time(async {
        let database = fresh().await;
        let mut raw = database.raw().await;
        run(
            &mut raw,
            &format!(
                "ALTER DATABASE {} OWNER TO queen; CREATE SCHEMA IF NOT EXISTS public; \
                 REVOKE CREATE ON SCHEMA public FROM PUBLIC",
                database.name()
            ),
        )
        .await;
        let (problem, text) = refusal(&database.url()).await;
        assert_eq!(problem, ServerProblem::NoPrivilege, "{text}");
        assert!(text.contains("GRANT CREATE"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn tables_of_others_are_refused_and_left_alone() {
    in_time(async {
        let database = fresh().await;
        let mut raw = database.raw().await;
        run(&mut raw, "CREATE TABLE cameras (something TEXT)").await;
        let (problem, text) = refusal(&database.url()).await;
        assert_eq!(problem, ServerProblem::ForeignSchema, "{text}");
        let tables: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'",
        )
        .fetch_one(&mut raw)
        .await
        .unwrap();
        assert_eq!(tables, 1, "nothing was made beside it");
    })
    .await;
}

#[tokio::test]
async fn tables_of_others_under_other_names_do_not_matter() {
    in_time(async {
        let database = fresh().await;
        let mut raw = database.raw().await;
        run(
            &mut raw,
            "CREATE TABLE _sqlx_migrations (version BIGINT); INSERT INTO _sqlx_migrations VALUES (20300101)",
        )
        .await;
        open(&database.url()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    in_time(async {
        let database = fresh().await;
        drop(open(&database.url()).await.unwrap());
        run(
            &mut database.raw().await,
            "INSERT INTO apiary_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', true, '', 1)",
        )
        .await;
        for error in [
            open(&database.url()).await.unwrap_err(),
            PostgresStore::examine(&target(&database.url()))
                .await
                .unwrap_err(),
        ] {
            assert!(
                matches!(error, StoreError::Newer { found: 9999, .. }),
                "{error:?}"
            );
            let text = error.to_string();
            assert!(
                text.contains("newer version")
                    && text.contains(database.name())
                    && text.contains("database.url")
                    && !text.contains("hunter2"),
                "{text}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_changed_migration_is_refused() {
    in_time(async {
        let database = fresh().await;
        drop(open(&database.url()).await.unwrap());
        run(
            &mut database.raw().await,
            "UPDATE apiary_migrations SET checksum = 'another'",
        )
        .await;
        let error = open(&database.url()).await.unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Server {
                    problem: ServerProblem::ForeignSchema,
                    ..
                }
            ),
            "{error:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_look_changes_nothing_and_tells_versions() {
    in_time(async {
        let database = fresh().await;
        let target = target(&database.url());
        let facts = PostgresStore::examine(&target).await.unwrap();
        assert_eq!(facts.schema, None);
        assert!(facts.version.starts_with(char::is_numeric), "{facts:?}");
        let store = PostgresStore::open(&target, POOL).await.unwrap();
        let facts = PostgresStore::examine(&target).await.unwrap();
        assert!(facts.schema > Some(1), "also while it is in use: {facts:?}");
        drop(store);
    })
    .await;
}

#[tokio::test]
async fn of_two_that_start_at_once_one_runs_and_the_other_is_told() {
    in_time(async {
        let database = fresh().await;
        let url = database.url();
        let (one, other) = tokio::join!(open(&url), open(&url));
        let (store, error) = match (one, other) {
            (Ok(store), Err(error)) | (Err(error), Ok(store)) => (store, error),
            (one, other) => panic!("{one:?} {other:?}"),
        };
        assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
        assert!(error.to_string().contains("database.url"), "{error}");
        store.apply(&[Write::Camera(camera_row(1))]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_zero_in_a_text_is_replaced() {
    in_time(async {
        let database = fresh().await;
        let store = open(&database.url()).await.unwrap();
        let mut row = camera_row(1);
        row.label.name = Some("a\0b".to_owned());
        store.apply(&[Write::Camera(row.clone())]).await.unwrap();
        row.label.name = Some("a\u{fffd}b".to_owned());
        assert_eq!(store.cameras().await.unwrap(), [row]);
    })
    .await;
}

#[tokio::test]
async fn times_are_the_same_wherever_the_server_thinks_it_is() {
    in_time(async {
        let database = fresh().await;
        run(
            &mut database.raw().await,
            &format!(
                "ALTER DATABASE {} SET timezone = 'Pacific/Kiritimati'; ALTER DATABASE {0} SET datestyle = 'German, DMY'",
                database.name()
            ),
        )
        .await;
        let store = open(&database.url()).await.unwrap();
        store.apply(&[Write::Camera(camera_row(1))]).await.unwrap();
        assert_eq!(store.cameras().await.unwrap(), [camera_row(1)]);
        let is_so: bool = sqlx::query_scalar(
            "SELECT last_seen = to_timestamp(1700000007) FROM cameras",
        )
        .fetch_one(&mut database.raw().await)
        .await
        .unwrap();
        assert!(is_so);
    })
    .await;
}

#[tokio::test]
async fn a_time_that_is_none_is_named() {
    in_time(async {
        let database = fresh().await;
        let store = open(&database.url()).await.unwrap();
        store.apply(&[Write::Camera(camera_row(1))]).await.unwrap();
        run(
            &mut database.raw().await,
            "UPDATE cameras SET created_at = 'infinity'",
        )
        .await;
        let error = store.cameras().await.unwrap_err();
        assert!(error.to_string().contains("cameras.created_at"), "{error}");
    })
    .await;
}

fn two_writes() -> [Write; 2] {
    [
        Write::StreamSession(stream_session(1)),
        Write::Camera(camera_row(1)),
    ]
}

#[tokio::test]
async fn a_connection_that_is_cut_leaves_all_or_nothing() {
    in_time(async {
        for (fault, rows) in [
            (Fault::CutBefore("INSERT INTO cameras"), 0),
            (Fault::CutAfter("INSERT INTO cameras"), 0),
            (Fault::CutBefore("COMMIT"), 0),
        ] {
            let database = fresh().await;
            let way = database.way().await;
            let store = open(&database.url_over(way.port())).await.unwrap();
            way.next(fault);
            let error = store.apply(&two_writes()).await.unwrap_err();
            assert!(way.is_done(), "{fault:?}");
            assert!(error.is_passing(), "{fault:?}: {error:?}");
            let sessions = store.stream_sessions(None, 9).await.unwrap();
            assert_eq!(sessions.len(), rows, "{fault:?}");
            assert_eq!(store.cameras().await.unwrap().len(), rows, "{fault:?}");
            store.apply(&two_writes()).await.unwrap();
            assert_eq!(store.stream_sessions(None, 9).await.unwrap().len(), 1);
            assert_eq!(store.cameras().await.unwrap().len(), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_may_be_repeated() {
    in_time(async {
        let database = fresh().await;
        let way = database.way().await;
        let store = open(&database.url_over(way.port())).await.unwrap();
        way.next(Fault::CutAfter("COMMIT"));
        let error = store.apply(&two_writes()).await.unwrap_err();
        assert!(error.is_passing(), "{error:?}");
        store.apply(&two_writes()).await.unwrap();
        assert_eq!(store.stream_sessions(None, 9).await.unwrap().len(), 1);
        assert_eq!(store.cameras().await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_hangs_is_ended_by_the_server() {
    in_time(async {
        let database = fresh().await;
        let store = open_impatiently(&database.url()).await;
        let mut raw = database.raw().await;
        run(&mut raw, "BEGIN; LOCK TABLE cameras").await;
        let error = store.apply(&two_writes()).await.unwrap_err();
        assert!(error.is_passing(), "{error:?}");
        let StoreError::Query { source, .. } = &error else {
            panic!("{error:?}");
        };
        let code = source.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("57014"), "query_canceled");
        run(&mut raw, "ROLLBACK").await;
        assert_eq!(store.stream_sessions(None, 9).await.unwrap(), []);
        store.apply(&two_writes()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_server_that_falls_silent_is_not_waited_for() {
    in_time(async {
        let database = fresh().await;
        let way = database.way().await;
        let store = open_impatiently(&database.url_over(way.port())).await;
        way.next(Fault::Hang("INSERT INTO cameras"));
        let error = store.apply(&two_writes()).await.unwrap_err();
        assert!(way.is_done());
        assert!(error.is_passing(), "{error:?}");
        // The silent connection is not used again, and the server frees what it held once it hears no more of it.
        while let Err(error) = store.apply(&two_writes()).await {
            assert!(error.is_passing(), "{error:?}");
        }
        assert_eq!(store.stream_sessions(None, 9).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn f09_a_server_that_is_killed_is_a_passing_trouble() {
    in_time(async {
        let cluster = Cluster::start();
        let database = cluster.database_here().await;
        let store = open(&database.url()).await.unwrap();
        store.apply(&two_writes()).await.unwrap();
        cluster.kill();
        for error in [
            store.apply(&two_writes()).await.unwrap_err(),
            store.cameras().await.unwrap_err(),
        ] {
            assert!(error.is_passing(), "{error:?}");
        }
        let (problem, text) = refusal(&database.url()).await;
        assert_eq!(problem, ServerProblem::Unreachable, "{text}");
        cluster.bring_up();
        assert_eq!(store.cameras().await.unwrap(), [camera_row(1)]);
    })
    .await;
}

#[tokio::test]
async fn f09_what_is_written_while_the_server_starts_anew_is_there_afterwards() {
    in_time(async {
        let cluster = Cluster::start();
        let database = cluster.database_here().await;
        let store = Arc::new(open(&database.url()).await.unwrap());
        let (writer, task) = StoreWriter::spawn(Arc::clone(&store) as Arc<dyn Store>);
        let write = |range: std::ops::Range<u8>| {
            for number in range {
                writer.write(Write::StreamSession(stream_session(number)));
            }
        };
        write(0..50);
        writer.flush().await;
        write(50..100);
        cluster.kill();
        write(100..200);
        cluster.bring_up();
        write(200..250);
        writer.flush().await;
        assert_eq!((writer.dropped(), writer.refused()), (0, 0));
        let kept = store.stream_sessions(None, 1_000).await.unwrap();
        let expected: Vec<_> = (0..250).rev().map(stream_session).collect();
        assert_eq!(kept, expected);
        let error = open(&database.url()).await.unwrap_err();
        assert!(
            matches!(error, StoreError::InUse { .. }),
            "it is still ours: {error:?}"
        );
        task.shutdown(Duration::from_secs(5)).await;
    })
    .await;
}
