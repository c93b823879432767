//! The program with its database on a PostgreSQL server: it keeps its rows there, and the doctor looks at it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

#[path = "../../store/tests/postgres_support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with tests that need more of it"
)]
mod postgres_support;

use std::time::Duration;

use apiary::app::{self, AppError, Controls};
use apiary::check::{Severity, examine};
use apiary::config::Config;
use apiary_store::{
    PostgresStore, PostgresTarget, SessionStatus, Store, StoreError, StreamSession, Write,
};
use apiary_wire::id::{CameraId, StreamId};
use jiff::Timestamp;
use postgres_support::{Cluster, Database};
use sources::environment;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Whatever a test waits for must come within this time.
const DEADLINE: Duration = Duration::from_secs(60);

/// Settings with that database, and a data directory that cannot be made.
fn variables(url: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("APIARY_HTTP_LISTEN", "127.0.0.1:0"),
        ("APIARY_SIGNALING_LISTEN", "127.0.0.1:0"),
        ("APIARY_MQTT_LISTEN", "127.0.0.1:0"),
        ("APIARY_DATA_DIR", "/proc/apiary"),
        ("APIARY_DATABASE_URL", url),
    ]
}

fn config(url: &str) -> Config {
    let mut config = Config::load(None, &environment(None, &variables(url))).unwrap();
    config.media.udp_port = 0;
    config.media.workers = 1;
    config
}

/// What the doctor says about the database: the worst, and all of it.
async fn checked(url: &str) -> (Severity, String) {
    apiary::mqtt::tls::install_crypto_provider();
    let report = examine(None, &environment(None, &variables(url))).await;
    let about: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.subject == "database.url")
        .collect();
    let worst = about.iter().map(|finding| finding.severity).max().unwrap();
    let text: Vec<String> = about.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    assert!(!text.contains("hunter2"), "{text}");
    let about_files = report.findings.iter().any(|f| f.subject == "data.dir");
    assert!(!about_files, "nothing is kept there: {report:#?}");
    (worst, text)
}

async fn open(database: &Database<'_>) -> PostgresStore {
    let target = PostgresTarget::parse(&database.url()).unwrap();
    PostgresStore::open(&target, 1).await.unwrap()
}

#[tokio::test]
async fn the_doctor_looks_at_the_server() {
    let test = async {
        let database = Cluster::shared().database().await;
        let (severity, text) = checked(&database.url()).await;
        assert_eq!(severity, Severity::Good, "{text}");
        assert!(
            text.contains("PostgreSQL ") && text.contains("is empty"),
            "{text}"
        );
        open(&database).await.close().await;
        let (severity, text) = checked(&database.url()).await;
        assert_eq!(severity, Severity::Good, "{text}");
        assert!(text.contains("has our tables"), "{text}");

        let elsewhere = database.url().replace(database.name(), "honey");
        let (severity, text) = checked(&elsewhere).await;
        assert_eq!(severity, Severity::Problem);
        assert!(
            text.contains("honey") && text.contains("CREATE DATABASE"),
            "{text}"
        );
    };
    timeout(DEADLINE, test).await.unwrap();
}

#[tokio::test]
async fn the_doctor_names_an_open_way_to_another_machine() {
    // A name that no machine has (RFC 6761).
    let test = checked("postgres://bee:hunter2@db.invalid/hive");
    let (severity, text) = timeout(DEADLINE, test).await.unwrap();
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("cannot be reached"), "{text}");
    assert!(text.contains("sslmode=verify-full"), "{text}");
}

#[tokio::test]
async fn sessions_that_a_crash_left_open_on_the_server_are_closed() {
    let test = async {
        let database = Cluster::shared().database().await;
        let before = open(&database).await;
        let session = StreamSession {
            session_id: "stream-1".to_owned(),
            camera: CameraId::from_bytes([1; 16]),
            stream: StreamId(Uuid::from_bytes([1; 16])),
            pipeline_id: None,
            rtp_endpoint_id: None,
            webrtc_endpoint_id: None,
            status: SessionStatus::Active,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            ended_at: None,
            error_message: None,
        };
        before
            .apply(&[Write::StreamSession(session)])
            .await
            .unwrap();
        drop(before);

        let stop = CancellationToken::new();
        let (ready, is_ready) = oneshot::channel();
        let controls = Controls::new(stop.clone());
        let program = tokio::spawn(app::run(config(&database.url()), controls, ready));
        is_ready.await.unwrap();

        let (second, _) = oneshot::channel();
        let controls = Controls::new(CancellationToken::new());
        let refused = app::run(config(&database.url()), controls, second).await;
        let error = refused.unwrap_err();
        assert!(
            matches!(error, AppError::Store(StoreError::InUse { .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains("database.url"), "{error}");

        stop.cancel();
        program.await.unwrap().unwrap();
        let after = open(&database).await;
        let sessions = after.stream_sessions(None, 10).await.unwrap();
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions[0].status, SessionStatus::Interrupted);
    };
    timeout(DEADLINE, test).await.unwrap();
}
