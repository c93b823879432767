//! The statements that write.

use std::borrow::Cow;

use jiff::Timestamp;
use sqlx::{Connection, PgConnection};

use crate::accounts;
use crate::columns;
use crate::error::StoreError;
use crate::rows::{
    CameraEvent, CameraRow, InterruptedSession, SessionStatus, StreamSession, ViewerSession, Write,
};

/// A time as text that PostgreSQL reads.
pub(super) fn text(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// PostgreSQL's text cannot hold U+0000; a replacement character stands there instead.
pub(crate) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn optional(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(without_nul)
}

pub(super) async fn apply(
    connection: &mut PgConnection,
    writes: &[Write],
) -> Result<(), StoreError> {
    let failed = |operation| move |source| StoreError::Query { operation, source };
    let mut transaction = connection
        .begin()
        .await
        .map_err(failed("begin a transaction"))?;
    for write in writes {
        match write {
            Write::StreamSession(row) => stream_session(&mut transaction, row)
                .await
                .map_err(failed("write a stream session"))?,
            Write::ViewerSession(row) => viewer_session(&mut transaction, row)
                .await
                .map_err(failed("write a viewer session"))?,
            Write::Camera(row) => camera(&mut transaction, row)
                .await
                .map_err(failed("write a camera"))?,
            Write::Audit(row) => accounts::postgres::audit(&mut transaction, row)
                .await
                .map_err(failed("write an audit entry"))?,
            Write::CameraEvent(row) => camera_event(&mut transaction, row)
                .await
                .map_err(failed("write an event of a camera"))?,
        }
    }
    transaction
        .commit()
        .await
        .map_err(failed("commit a transaction"))
}

async fn stream_session(
    connection: &mut PgConnection,
    row: &StreamSession,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO stream_sessions (session_id, camera_id, pipeline_id, rtp_endpoint_id, webrtc_endpoint_id, \
         stream_id, status, created_at, updated_at, ended_at, error_message) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::timestamptz, $9::text::timestamptz, $10::text::timestamptz, $11) \
         ON CONFLICT (session_id) DO UPDATE SET pipeline_id = excluded.pipeline_id, \
         rtp_endpoint_id = excluded.rtp_endpoint_id, webrtc_endpoint_id = excluded.webrtc_endpoint_id, \
         stream_id = excluded.stream_id, status = excluded.status, updated_at = excluded.updated_at, \
         ended_at = excluded.ended_at, error_message = excluded.error_message",
    )
    .bind(without_nul(&row.session_id))
    .bind(row.camera.to_string())
    .bind(optional(&row.pipeline_id))
    .bind(optional(&row.rtp_endpoint_id))
    .bind(optional(&row.webrtc_endpoint_id))
    .bind(row.stream.to_string())
    .bind(row.status.as_str())
    .bind(text(row.created_at))
    .bind(text(row.updated_at))
    .bind(row.ended_at.map(text))
    .bind(optional(&row.error_message))
    .execute(connection)
    .await
    .map(|_| ())
}

async fn viewer_session(
    connection: &mut PgConnection,
    row: &ViewerSession,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO viewer_sessions (viewer_id, stream_session_id, webrtc_endpoint_id, user_agent, ip_address, \
         connected_at, disconnected_at) VALUES ($1, $2, $3, $4, $5, $6::text::timestamptz, $7::text::timestamptz) \
         ON CONFLICT (viewer_id) DO UPDATE SET stream_session_id = excluded.stream_session_id, \
         webrtc_endpoint_id = excluded.webrtc_endpoint_id, user_agent = excluded.user_agent, \
         ip_address = excluded.ip_address, connected_at = excluded.connected_at, \
         disconnected_at = excluded.disconnected_at",
    )
    .bind(row.viewer.to_string())
    .bind(without_nul(&row.session_id))
    .bind(optional(&row.webrtc_endpoint_id))
    .bind(optional(&row.user_agent))
    .bind(optional(&row.ip_address))
    .bind(text(row.connected_at))
    .bind(row.disconnected_at.map(text))
    .execute(connection)
    .await
    .map(|_| ())
}

async fn camera(connection: &mut PgConnection, row: &CameraRow) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO cameras (camera_id, name, ip_address, firmware_version, hardware, serial_number, status, \
         connection_status, last_seen, created_at, updated_at, room, position, mode, settings, battery_percent, signal, \
         temperature) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::timestamptz, $10::text::timestamptz, $11::text::timestamptz, \
         $12, $13, $14, $15, $16, $17, $18) \
         ON CONFLICT (camera_id) DO UPDATE SET name = excluded.name, ip_address = excluded.ip_address, \
         firmware_version = excluded.firmware_version, hardware = excluded.hardware, \
         serial_number = excluded.serial_number, status = excluded.status, \
         connection_status = excluded.connection_status, last_seen = excluded.last_seen, \
         updated_at = excluded.updated_at, room = excluded.room, position = excluded.position, mode = excluded.mode, \
         settings = excluded.settings, battery_percent = excluded.battery_percent, signal = excluded.signal, \
         temperature = excluded.temperature",
    )
    .bind(row.camera.to_string())
    .bind(optional(&row.label.name))
    .bind(optional(&row.ip_address))
    .bind(optional(&row.firmware_version))
    .bind(optional(&row.hardware))
    .bind(optional(&row.serial_number))
    .bind(optional(&row.report.status))
    .bind(row.connection.as_str())
    .bind(row.last_seen.map(text))
    .bind(text(row.created_at))
    .bind(text(row.updated_at))
    .bind(optional(&row.label.room))
    .bind(row.label.position.map(i64::from))
    .bind(optional(&row.report.mode))
    .bind(optional(&row.report.settings))
    .bind(row.report.battery_percent)
    .bind(row.report.signal)
    .bind(row.report.temperature)
    .execute(connection)
    .await
    .map(|_| ())
}

/// What happened does not change: the first row of a key stays.
async fn camera_event(connection: &mut PgConnection, row: &CameraEvent) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO camera_events (id, camera_id, kind, at, event_id, activity_type, confidence, detail, payload) \
         VALUES ($1, $2, $3, $4::text::timestamptz, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
    )
    .bind(row.id.to_string())
    .bind(row.camera.to_string())
    .bind(row.kind.as_str())
    .bind(text(row.at))
    .bind(optional(&row.event_id))
    .bind(optional(&row.activity_type))
    .bind(row.confidence)
    .bind(optional(&row.detail))
    .bind(optional(&row.payload))
    .execute(connection)
    .await
    .map(|_| ())
}

pub(super) async fn interrupt_open_sessions(
    connection: &mut PgConnection,
    now: Timestamp,
) -> Result<Vec<InterruptedSession>, StoreError> {
    let failed = |source| StoreError::Query {
        operation: "close the sessions left open",
        source,
    };
    let mut transaction = connection.begin().await.map_err(failed)?;
    let open = sqlx::query(
        "UPDATE stream_sessions SET status = $1, updated_at = $2::text::timestamptz, ended_at = $2::text::timestamptz \
         WHERE ended_at IS NULL RETURNING session_id, camera_id, stream_id",
    )
    .bind(SessionStatus::Interrupted.as_str())
    .bind(text(now))
    .fetch_all(&mut *transaction)
    .await
    .map_err(failed)?;
    sqlx::query(
        "UPDATE viewer_sessions SET disconnected_at = $1::text::timestamptz WHERE disconnected_at IS NULL",
    )
    .bind(text(now))
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    open.iter().map(columns::interrupted_session).collect()
}
