//! What every [`Store`] does, whatever database is behind it. A database takes part by being a [`Home`] and calling
//! [`suite!`].

mod accounts;
mod export;
mod retention;
mod schema;

use std::time::Duration;

use apiary_store::{
    AccountStore, CameraEvent, CameraLabel, CameraReport, CameraRow, ConnectionState, CopyError,
    EventFilter, EventId, EventKind, Line, SessionStatus, Store, StoreError, StreamSession,
    ViewerSession, Write,
};
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use jiff::Timestamp;
use uuid::Uuid;

/// One test's database.
#[allow(async_fn_in_trait, reason = "only these tests use it")]
pub(crate) trait Home {
    type Store: Store + AccountStore + std::fmt::Debug;

    /// Opens it, making it where it is missing.
    async fn open(&self) -> Result<Self::Store, StoreError>;

    /// Its rows as JSON lines.
    async fn export(&self, line: Line<'_>) -> Result<(), CopyError>;

    /// Its tables and indexes in words, in an order that stays, and the migrations with their checksums.
    async fn schema(&self) -> Vec<String>;

    /// The file that holds [`Home::schema`].
    fn golden(&self) -> &'static str;

    /// Makes it as the first version of the program did.
    async fn make_old(&self);

    /// Runs a statement past the store.
    async fn change(&self, sql: &'static str);
}

/// No test takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(100);

/// Makes a test of each case, with a fresh home for each.
macro_rules! suite {
    ($home:expr) => {
        suite::suite!($home;
            rows_come_back_after_reopening
            sessions_left_open_are_interrupted_once
            a_failing_row_takes_its_whole_transaction_back
            sql_metacharacters_are_only_text
            a_row_that_cannot_be_understood_is_named
            times_sort_with_and_without_fractions
            a_second_process_is_refused_until_the_first_is_gone
            long_texts_come_back_or_are_refused_alone
            a_row_twice_is_one_row
            accounts_come_back_after_reopening
            subscriptions_last_longer_than_their_logins_and_not_than_their_users
            who_goes_takes_logins_tokens_and_shares_along
            account_writes_are_done_together_or_not_at_all
            the_audit_log_is_read_from_its_end
            a_server_key_stays_the_first_one
            events_come_newest_first_and_page_by_page
            what_was_kept_for_long_enough_goes_and_nothing_else
            old_rows_go_in_small_batches
            an_export_has_every_row_and_no_secret
            an_export_of_an_older_schema_is_refused
            an_older_database_is_brought_up_to_date_and_keeps_its_rows
            the_schema_is_the_golden_one
        );
    };
    ($home:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let case = async { suite::$case($home.await).await };
                tokio::time::timeout(suite::DEADLINE, case).await.expect("in time");
            }
        )*
    };
}
pub(crate) use suite;

pub(crate) use accounts::*;
pub(crate) use export::*;
pub(crate) use retention::*;
pub(crate) use schema::*;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::new(1_700_000_000 + second, 0).unwrap()
}

pub(crate) fn camera(number: u8) -> CameraId {
    CameraId::from_bytes([number; 16])
}

pub(crate) fn stream_session(number: u8) -> StreamSession {
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

pub(crate) fn viewer_session(number: u8, session_id: &str) -> ViewerSession {
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

pub(crate) fn camera_row(number: u8) -> CameraRow {
    CameraRow {
        camera: camera(number),
        label: CameraLabel {
            name: Some("Porch".to_owned()),
            room: Some("Front".to_owned()),
            position: Some(3),
        },
        ip_address: Some("192.168.1.20".to_owned()),
        firmware_version: Some("V2_0_00_126".to_owned()),
        hardware: Some("VBC01".to_owned()),
        serial_number: None,
        report: CameraReport {
            status: None,
            mode: Some("ARMED".to_owned()),
            settings: Some(r#"{"mode":"ARMED"}"#.to_owned()),
            battery_percent: Some(71.5),
            signal: Some(-52.0),
            temperature: None,
        },
        connection: ConnectionState::Connected,
        last_seen: Some(at(7)),
        created_at: at(1),
        updated_at: at(7),
    }
}

pub(crate) fn event(number: u8, camera_number: u8, kind: EventKind) -> CameraEvent {
    let at = at(i64::from(number));
    let id = EventId::first_at(at).0.as_u128() + u128::from(number);
    CameraEvent {
        id: EventId(Uuid::from_u128(id)),
        camera: camera(camera_number),
        kind,
        at,
        event_id: Some("e-1".to_owned()),
        activity_type: Some("MOTION".to_owned()),
        confidence: Some(0.75),
        detail: None,
        payload: Some(r#"{"eventId":"e-1"}"#.to_owned()),
    }
}

pub(crate) async fn rows_come_back_after_reopening(home: impl Home) {
    let store = home.open().await.unwrap();
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
    row.label = CameraLabel::default();
    row.report = CameraReport {
        temperature: Some(41.5),
        ..CameraReport::default()
    };
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

    let store = home.open().await.unwrap();
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

pub(crate) async fn sessions_left_open_are_interrupted_once(home: impl Home) {
    let store = home.open().await.unwrap();
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
    let store = home.open().await.unwrap();
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

/// A row of each table, as the first version wrote it.
pub(crate) const OLD_ROWS: &str = "\
    INSERT INTO stream_sessions (session_id, camera_id, stream_id, status, created_at, updated_at) VALUES \
    ('s', '01010101010101010101010101010101', '01010101-0101-0101-0101-010101010101', 'starting', \
     '2023-11-14T22:13:21.000000Z', '2023-11-14T22:13:21.000000Z'); \
    INSERT INTO viewer_sessions (viewer_id, stream_session_id, connected_at) VALUES \
    ('09090909-0909-0909-0909-090909090909', 's', '2023-11-14T22:13:29.000000Z'); \
    INSERT INTO cameras (camera_id, name, connection_status, created_at, updated_at) VALUES \
    ('01010101010101010101010101010101', 'Porch', 'connected', '2023-11-14T22:13:21.000000Z', \
     '2023-11-14T22:13:21.000000Z')";

pub(crate) async fn an_older_database_is_brought_up_to_date_and_keeps_its_rows(home: impl Home) {
    home.make_old().await;
    home.change(OLD_ROWS).await;
    let store = home.open().await.unwrap();
    let row = CameraRow {
        label: CameraLabel {
            name: Some("Porch".to_owned()),
            ..CameraLabel::default()
        },
        connection: ConnectionState::Connected,
        ..CameraRow::new(camera(1), at(1))
    };
    assert_eq!(store.cameras().await.unwrap(), [row]);
    let sessions = store.stream_sessions(None, 9).await.unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].created_at, at(1));
    let viewers = store.viewer_sessions("s").await.unwrap();
    assert_eq!(viewers[0].connected_at, at(9));
    store.apply(&[Write::Camera(camera_row(1))]).await.unwrap();
    assert_eq!(store.cameras().await.unwrap()[0].label, camera_row(1).label);
}

pub(crate) async fn a_failing_row_takes_its_whole_transaction_back(home: impl Home) {
    let store = home.open().await.unwrap();
    home.change("DROP TABLE cameras").await;
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

pub(crate) async fn sql_metacharacters_are_only_text(home: impl Home) {
    let store = home.open().await.unwrap();
    let nasty = "'; DROP TABLE cameras; -- \" ? ?1 $1 :x %_ \\ \\' E'\\x27' \u{1f41d} \r\n";
    let mut row = camera_row(1);
    row.label.name = Some(nasty.to_owned());
    row.firmware_version = Some(nasty.to_owned());
    row.label.room = Some(nasty.to_owned());
    row.report = CameraReport {
        status: Some(nasty.to_owned()),
        mode: Some(nasty.to_owned()),
        settings: Some(nasty.to_owned()),
        ..CameraReport::default()
    };
    let mut happened = event(1, 1, EventKind::State);
    for text in [
        &mut happened.event_id,
        &mut happened.activity_type,
        &mut happened.detail,
        &mut happened.payload,
    ] {
        *text = Some(nasty.to_owned());
    }
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
            Write::CameraEvent(happened.clone()),
        ])
        .await
        .unwrap();
    assert_eq!(store.cameras().await.unwrap(), [row]);
    assert_eq!(
        events(&store, EventFilter::default(), 10, None).await,
        [happened]
    );
    assert_eq!(store.stream_sessions(None, 10).await.unwrap(), [session]);
    assert_eq!(store.viewer_sessions(nasty).await.unwrap(), [viewer]);
    assert_eq!(store.viewer_sessions("' OR 1=1 --").await.unwrap(), []);
}

pub(crate) async fn a_row_that_cannot_be_understood_is_named(home: impl Home) {
    let store = home.open().await.unwrap();
    store.apply(&[Write::Camera(camera_row(1))]).await.unwrap();
    home.change("UPDATE cameras SET connection_status = 'perhaps'")
        .await;
    let error = store.cameras().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cameras.connection_status holds \"perhaps\""),
        "{error}"
    );
}

pub(crate) async fn times_sort_with_and_without_fractions(home: impl Home) {
    let store = home.open().await.unwrap();
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

pub(crate) async fn a_second_process_is_refused_until_the_first_is_gone(home: impl Home) {
    let first = home.open().await.unwrap();
    let error = home.open().await.unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("its own"), "{error}");
    drop(first);
    home.open().await.unwrap();
}

pub(crate) async fn long_texts_come_back_or_are_refused_alone(home: impl Home) {
    let store = home.open().await.unwrap();
    let mut row = camera_row(1);
    row.label.name = Some("a long name ".repeat(100_000));
    store.apply(&[Write::Camera(row.clone())]).await.unwrap();
    assert_eq!(store.cameras().await.unwrap(), [row]);

    // A key, which a database may keep shorter: digits that do not repeat, so that no compression helps.
    let mut number = 1_u64;
    let digits = std::iter::repeat_with(|| {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{number:x}")
    });
    let mut session = stream_session(1);
    session.session_id = digits.take(5_000).collect();
    match store.apply(&[Write::StreamSession(session.clone())]).await {
        Ok(()) => assert_eq!(store.stream_sessions(None, 1).await.unwrap(), [session]),
        Err(error) => assert!(!error.is_passing(), "{error:?}"),
    }
    store
        .apply(&[Write::StreamSession(stream_session(2))])
        .await
        .unwrap();
}

pub(crate) async fn a_row_twice_is_one_row(home: impl Home) {
    let store = home.open().await.unwrap();
    let session = stream_session(1);
    let viewer = viewer_session(1, &session.session_id);
    let writes = [
        Write::StreamSession(session.clone()),
        Write::ViewerSession(viewer.clone()),
        Write::Camera(camera_row(1)),
        Write::CameraEvent(event(1, 1, EventKind::Connection)),
    ];
    store
        .apply(&[writes.clone(), writes.clone()].concat())
        .await
        .unwrap();
    store.apply(&writes).await.unwrap();
    assert_eq!(
        store.viewer_sessions(&session.session_id).await.unwrap(),
        [viewer]
    );
    assert_eq!(store.stream_sessions(None, 9).await.unwrap(), [session]);
    assert_eq!(store.cameras().await.unwrap(), [camera_row(1)]);
    let kept = events(&store, EventFilter::default(), 9, None).await;
    assert_eq!(kept, [event(1, 1, EventKind::Connection)]);
}

pub(crate) async fn events(
    store: &impl Store,
    filter: EventFilter,
    limit: u32,
    before: Option<EventId>,
) -> Vec<CameraEvent> {
    store.camera_events(filter, limit, before).await.unwrap()
}

pub(crate) async fn events_come_newest_first_and_page_by_page(home: impl Home) {
    let store = home.open().await.unwrap();
    let all: Vec<_> = (1..=6)
        .map(|number| {
            let kind = if number % 3 == 0 {
                EventKind::Status
            } else {
                EventKind::ActivityStart
            };
            event(number, 1 + number % 2, kind)
        })
        .collect();
    let writes: Vec<_> = all.iter().cloned().map(Write::CameraEvent).collect();
    store.apply(&writes).await.unwrap();
    let of = |numbers: &[usize]| -> Vec<_> {
        numbers
            .iter()
            .map(|number| all[number - 1].clone())
            .collect()
    };
    let any = EventFilter::default;
    let first = events(&store, any(), 4, None).await;
    assert_eq!(first, of(&[6, 5, 4, 3]));
    let second = events(&store, any(), 4, Some(first[3].id)).await;
    assert_eq!(second, of(&[2, 1]));
    assert_eq!(events(&store, any(), 4, Some(second[1].id)).await, []);
    let before_three = Some(EventId::first_at(at(3)));
    assert_eq!(events(&store, any(), 4, before_three).await, of(&[2, 1]));
    let of_cameras = |cameras: &[u8]| EventFilter {
        cameras: Some(cameras.iter().copied().map(camera).collect()),
        ..any()
    };
    let of_one = of_cameras(&[1]);
    assert_eq!(
        events(&store, of_one.clone(), 9, None).await,
        of(&[6, 4, 2])
    );
    let of_two = of_cameras(&[1, 2]);
    let both = events(&store, of_two, 9, None).await;
    assert_eq!(both, of(&[6, 5, 4, 3, 2, 1]));
    let of_others = of_cameras(&[8, 9]);
    assert_eq!(events(&store, of_others, 9, None).await, []);
    assert_eq!(events(&store, of_cameras(&[]), 9, None).await, []);
    let of_a_type = |activity_type: &str| EventFilter {
        activity_type: Some(activity_type.to_owned()),
        ..any()
    };
    let found = events(&store, of_a_type("MOTION"), 2, None).await;
    assert_eq!(found, of(&[6, 5]));
    assert_eq!(events(&store, of_a_type("x' OR '1'='1"), 9, None).await, []);
    let its_status = EventFilter {
        kind: Some(EventKind::Status),
        ..of_one
    };
    assert_eq!(events(&store, its_status, 9, None).await, of(&[6]));
    assert_eq!(events(&store, any(), 0, None).await, []);
}
