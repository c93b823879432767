//! The statements that write.

use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection};

use crate::accounts;
use crate::columns;
use crate::error::StoreError;
use crate::rows::{
    CameraEvent, CameraRow, InterruptedSession, SessionStatus, StreamSession, ViewerSession, Write,
};

/// Text whose order is the order in time.
pub(super) fn text(time: Timestamp) -> String {
    format!("{time:.6}")
}

pub(super) async fn apply(
    connection: &mut SqliteConnection,
    writes: &[Write],
) -> Result<(), StoreError> {
    let failed = |operation| move |source| StoreError::Query { operation, source };
    // IMMEDIATE: a transaction that begins as a reader cannot wait for its turn to write.
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
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
            Write::Audit(row) => accounts::sqlite::audit(&mut transaction, row)
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
    connection: &mut SqliteConnection,
    row: &StreamSession,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO stream_sessions (session_id, camera_id, pipeline_id, rtp_endpoint_id, webrtc_endpoint_id, \
         stream_id, status, created_at, updated_at, ended_at, error_message) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
         ON CONFLICT (session_id) DO UPDATE SET pipeline_id = ?3, rtp_endpoint_id = ?4, webrtc_endpoint_id = ?5, \
         stream_id = ?6, status = ?7, updated_at = ?9, ended_at = ?10, error_message = ?11",
    )
    .bind(&row.session_id)
    .bind(row.camera.to_string())
    .bind(&row.pipeline_id)
    .bind(&row.rtp_endpoint_id)
    .bind(&row.webrtc_endpoint_id)
    .bind(row.stream.to_string())
    .bind(row.status.as_str())
    .bind(text(row.created_at))
    .bind(text(row.updated_at))
    .bind(row.ended_at.map(text))
    .bind(&row.error_message)
    .execute(connection)
    .await
    .map(|_| ())
}

async fn viewer_session(
    connection: &mut SqliteConnection,
    row: &ViewerSession,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO viewer_sessions (viewer_id, stream_session_id, webrtc_endpoint_id, user_agent, ip_address, \
         connected_at, disconnected_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT (viewer_id) DO UPDATE SET stream_session_id = ?2, webrtc_endpoint_id = ?3, user_agent = ?4, \
         ip_address = ?5, connected_at = ?6, disconnected_at = ?7",
    )
    .bind(row.viewer.to_string())
    .bind(&row.session_id)
    .bind(&row.webrtc_endpoint_id)
    .bind(&row.user_agent)
    .bind(&row.ip_address)
    .bind(text(row.connected_at))
    .bind(row.disconnected_at.map(text))
    .execute(connection)
    .await
    .map(|_| ())
}

async fn camera(connection: &mut SqliteConnection, row: &CameraRow) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO cameras (camera_id, name, ip_address, firmware_version, hardware, serial_number, status, \
         connection_status, last_seen, created_at, updated_at, room, position, mode, settings, battery_percent, signal, \
         temperature) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18) \
         ON CONFLICT (camera_id) DO UPDATE SET name = ?2, ip_address = ?3, firmware_version = ?4, hardware = ?5, \
         serial_number = ?6, status = ?7, connection_status = ?8, last_seen = ?9, updated_at = ?11, room = ?12, \
         position = ?13, mode = ?14, settings = ?15, battery_percent = ?16, signal = ?17, temperature = ?18",
    )
    .bind(row.camera.to_string())
    .bind(&row.label.name)
    .bind(&row.ip_address)
    .bind(&row.firmware_version)
    .bind(&row.hardware)
    .bind(&row.serial_number)
    .bind(&row.report.status)
    .bind(row.connection.as_str())
    .bind(row.last_seen.map(text))
    .bind(text(row.created_at))
    .bind(text(row.updated_at))
    .bind(&row.label.room)
    .bind(row.label.position)
    .bind(&row.report.mode)
    .bind(&row.report.settings)
    .bind(row.report.battery_percent)
    .bind(row.report.signal)
    .bind(row.report.temperature)
    .execute(connection)
    .await
    .map(|_| ())
}

/// What happened does not change: the first row of a key stays.
async fn camera_event(
    connection: &mut SqliteConnection,
    row: &CameraEvent,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO camera_events (id, camera_id, kind, at, event_id, activity_type, confidence, detail, payload) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
    )
    .bind(row.id.to_string())
    .bind(row.camera.to_string())
    .bind(row.kind.as_str())
    .bind(text(row.at))
    .bind(&row.event_id)
    .bind(&row.activity_type)
    .bind(row.confidence)
    .bind(&row.detail)
    .bind(&row.payload)
    .execute(connection)
    .await
    .map(|_| ())
}

pub(super) async fn interrupt_open_sessions(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<InterruptedSession>, StoreError> {
    let failed = |source| StoreError::Query {
        operation: "close the sessions left open",
        source,
    };
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed)?;
    let open = sqlx::query(
        "UPDATE stream_sessions SET status = ?1, updated_at = ?2, ended_at = ?2 WHERE ended_at IS NULL \
         RETURNING session_id, camera_id, stream_id",
    )
    .bind(SessionStatus::Interrupted.as_str())
    .bind(text(now))
    .fetch_all(&mut *transaction)
    .await
    .map_err(failed)?;
    sqlx::query("UPDATE viewer_sessions SET disconnected_at = ?1 WHERE disconnected_at IS NULL")
        .bind(text(now))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    open.iter().map(columns::interrupted_session).collect()
}
