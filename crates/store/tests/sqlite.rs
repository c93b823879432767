//! The embedded database: what is written comes back, and what cannot be used is refused with a remedy.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::PathBuf;

use apiary_store::{
    CameraRow, ConnectionState, FileProblem, SessionStatus, SqliteStore, Store, StoreError,
    StreamSession, ViewerSession, Write,
};
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use uuid::Uuid;

fn at(second: i64) -> Timestamp {
    Timestamp::new(1_700_000_000 + second, 0).unwrap()
}

fn camera(number: u8) -> CameraId {
    CameraId::from_bytes([number; 16])
}

fn stream_session(number: u8) -> StreamSession {
    let (camera, stream) = (camera(number), StreamId(Uuid::from_bytes([number; 16])));
    StreamSession {
        session_id: format!("stream-{}-{}", camera.short(), stream.short()),
        camera,
        stream,
        pipeline_id: Some("pipeline".to_owned()),
        rtp_endpoint_id: Some("rtp".to_owned()),
        webrtc_endpoint_id: None,
        status: SessionStatus::Starting,
        created_at: at(i64::from(number)),
        updated_at: at(i64::from(number)),
        ended_at: None,
        error_message: None,
    }
}

fn viewer_session(number: u8, session_id: &str) -> ViewerSession {
    ViewerSession {
        viewer: ViewerId(Uuid::from_bytes([number; 16])),
        session_id: session_id.to_owned(),
        webrtc_endpoint_id: Some("webrtc".to_owned()),
        user_agent: Some("Mozilla/5.0".to_owned()),
        ip_address: Some("192.0.2.7".to_owned()),
        connected_at: at(i64::from(number)),
        disconnected_at: None,
    }
}

fn camera_row(number: u8) -> CameraRow {
    CameraRow {
        camera: camera(number),
        name: Some("Porch".to_owned()),
        ip_address: Some("192.168.1.20".to_owned()),
        firmware_version: Some("V2_0_00_126".to_owned()),
        hardware: Some("VBC01".to_owned()),
        serial_number: None,
        status: None,
        connection: ConnectionState::Connected,
        last_seen: Some(at(7)),
        created_at: at(1),
        updated_at: at(7),
    }
}

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/yet/there/apiary.db");
    Place { _dir: dir, path }
}

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
async fn rows_come_back_after_reopening() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.unwrap();
    let mut session = stream_session(1);
    let mut viewer = viewer_session(9, &session.session_id);
    let mut row = camera_row(1);
    store
        .apply(&[
            Write::StreamSession(session.clone()),
            Write::ViewerSession(viewer.clone()),
            Write::Camera(row.clone()),
        ])
        .await
        .unwrap();
    session.stream = StreamId(Uuid::from_bytes([77; 16]));
    session.status = SessionStatus::Error;
    session.error_message = Some("no RTP".to_owned());
    session.ended_at = Some(at(100));
    session.updated_at = at(100);
    viewer.disconnected_at = Some(at(100));
    row.connection = ConnectionState::Disconnected;
    row.name = None;
    store
        .apply(&[
            Write::StreamSession(session.clone()),
            Write::ViewerSession(viewer.clone()),
            Write::Camera(row.clone()),
            Write::StreamSession(stream_session(2)),
        ])
        .await
        .unwrap();
    store.close().await;
    drop(store);

    let store = SqliteStore::open(&place.path).await.unwrap();
    assert_eq!(
        store.stream_sessions(None, 10).await.unwrap(),
        [stream_session(2), session.clone()],
        "newest first"
    );
    assert_eq!(
        store.stream_sessions(Some(camera(1)), 10).await.unwrap(),
        [session.clone()]
    );
    assert_eq!(store.stream_sessions(None, 1).await.unwrap().len(), 1);
    assert_eq!(
        store.viewer_sessions(&session.session_id).await.unwrap(),
        [viewer]
    );
    assert_eq!(store.cameras().await.unwrap(), [row]);
}

#[tokio::test]
async fn sessions_left_open_are_interrupted_once() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.unwrap();
    let open = stream_session(1);
    let mut ended = stream_session(2);
    ended.status = SessionStatus::Stopped;
    ended.ended_at = Some(at(50));
    let viewer = viewer_session(9, &open.session_id);
    store
        .apply(&[
            Write::StreamSession(open.clone()),
            Write::StreamSession(ended.clone()),
            Write::ViewerSession(viewer),
        ])
        .await
        .unwrap();
    drop(store); // no close: a crash
    let store = SqliteStore::open(&place.path).await.unwrap();
    let interrupted = store.interrupt_open_sessions(at(500)).await.unwrap();
    assert_eq!(interrupted.len(), 1);
    assert_eq!(
        (interrupted[0].camera, interrupted[0].stream),
        (open.camera, open.stream)
    );
    let sessions = store.stream_sessions(None, 10).await.unwrap();
    assert_eq!(sessions[0], ended);
    assert_eq!(sessions[1].status, SessionStatus::Interrupted);
    assert_eq!(sessions[1].ended_at, Some(at(500)));
    let viewers = store.viewer_sessions(&open.session_id).await.unwrap();
    assert_eq!(viewers[0].disconnected_at, Some(at(500)));
    assert_eq!(
        store.interrupt_open_sessions(at(600)).await.unwrap(),
        [],
        "only once"
    );
}

#[tokio::test]
async fn a_failing_row_takes_its_whole_transaction_back() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.unwrap();
    let mut raw = SqliteConnectOptions::new()
        .filename(&place.path)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("DROP TABLE cameras")
        .execute(&mut raw)
        .await
        .unwrap();
    let error = store
        .apply(&[
            Write::StreamSession(stream_session(1)),
            Write::Camera(camera_row(1)),
        ])
        .await
        .unwrap_err();
    assert!(!error.is_passing(), "{error}");
    assert_eq!(store.stream_sessions(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn sql_metacharacters_are_only_text() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.unwrap();
    let nasty = "'; DROP TABLE cameras; -- \" ? ?1 :x \0 %_ \u{1f41d} \r\n";
    let mut row = camera_row(1);
    row.name = Some(nasty.to_owned());
    row.firmware_version = Some(nasty.to_owned());
    let mut session = stream_session(1);
    session.session_id = nasty.to_owned();
    session.error_message = Some(nasty.to_owned());
    let mut viewer = viewer_session(1, nasty);
    viewer.user_agent = Some(nasty.to_owned());
    store
        .apply(&[
            Write::Camera(row.clone()),
            Write::StreamSession(session.clone()),
            Write::ViewerSession(viewer.clone()),
        ])
        .await
        .unwrap();
    assert_eq!(store.cameras().await.unwrap(), [row]);
    assert_eq!(store.stream_sessions(None, 10).await.unwrap(), [session]);
    assert_eq!(store.viewer_sessions(nasty).await.unwrap(), [viewer]);
    assert_eq!(store.viewer_sessions("' OR 1=1 --").await.unwrap(), []);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let place = place();
    drop(SqliteStore::open(&place.path).await.unwrap());
    let mut raw = SqliteConnectOptions::new()
        .filename(&place.path)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', 1, x'00', 1)",
    )
    .execute(&mut raw)
    .await
    .unwrap();
    raw.close().await.unwrap();
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

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_is_gone() {
    let place = place();
    let first = SqliteStore::open(&place.path).await.unwrap();
    let error = SqliteStore::open(&place.path).await.unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("data.dir"), "{error}");
    drop(first);
    SqliteStore::open(&place.path).await.unwrap();
}

fn problem(error: &StoreError) -> FileProblem {
    match error {
        StoreError::File { problem, .. } => *problem,
        StoreError::InUse { .. }
        | StoreError::Newer { .. }
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
async fn a_row_that_cannot_be_understood_is_named() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.unwrap();
    store.apply(&[Write::Camera(camera_row(1))]).await.unwrap();
    let mut raw = SqliteConnectOptions::new()
        .filename(&place.path)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("UPDATE cameras SET last_seen = 'yesterday'")
        .execute(&mut raw)
        .await
        .unwrap();
    let error = store.cameras().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cameras.last_seen holds \"yesterday\""),
        "{error}"
    );
}

#[tokio::test]
async fn times_sort_as_text_with_and_without_fractions() {
    let place = place();
    let store = SqliteStore::open(&place.path).await.unwrap();
    let mut early = stream_session(1);
    early.created_at = Timestamp::new(1_700_000_000, 0).unwrap();
    let mut late = stream_session(2);
    late.created_at = Timestamp::new(1_700_000_000, 1_000).unwrap();
    store
        .apply(&[
            Write::StreamSession(late.clone()),
            Write::StreamSession(early.clone()),
        ])
        .await
        .unwrap();
    assert_eq!(store.stream_sessions(None, 2).await.unwrap(), [late, early]);
}
