//! The statements that read. Times come as the text that SQLite keeps, so that both are understood by the same code.

use apiary_wire::id::CameraId;
use sqlx::PgConnection;

use super::write::without_nul;
use crate::columns;
use crate::error::StoreError;
use crate::rows::{CameraRow, StreamSession, ViewerSession};

/// A column with a time, as text in UTC.
macro_rules! time {
    ($column:literal) => {
        concat!(
            "to_char(",
            $column,
            " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS ",
            $column
        )
    };
}

pub(super) async fn cameras(connection: &mut PgConnection) -> Result<Vec<CameraRow>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT camera_id, name, ip_address, firmware_version, hardware, serial_number, status, connection_status, ",
        time!("last_seen"),
        ", ",
        time!("created_at"),
        ", ",
        time!("updated_at"),
        " FROM cameras ORDER BY camera_id COLLATE \"C\"",
    ))
    .fetch_all(connection)
    .await
    .map_err(|source| StoreError::Query {
        operation: "read the cameras",
        source,
    })?;
    rows.iter().map(columns::camera).collect()
}

pub(super) async fn stream_sessions(
    connection: &mut PgConnection,
    camera: Option<CameraId>,
    limit: u32,
) -> Result<Vec<StreamSession>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT session_id, camera_id, pipeline_id, rtp_endpoint_id, webrtc_endpoint_id, stream_id, status, ",
        time!("created_at"),
        ", ",
        time!("updated_at"),
        ", ",
        time!("ended_at"),
        ", error_message FROM stream_sessions WHERE $1 IS NULL OR camera_id = $1 ",
        // With its table, since the bare name is the text.
        "ORDER BY stream_sessions.created_at DESC, session_id DESC LIMIT $2",
    ))
    .bind(camera.map(|camera| camera.to_string()))
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await
    .map_err(|source| StoreError::Query {
        operation: "read stream sessions",
        source,
    })?;
    rows.iter().map(columns::stream_session).collect()
}

pub(super) async fn viewer_sessions(
    connection: &mut PgConnection,
    session_id: &str,
) -> Result<Vec<ViewerSession>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT viewer_id, stream_session_id, webrtc_endpoint_id, user_agent, ip_address, ",
        time!("connected_at"),
        ", ",
        time!("disconnected_at"),
        " FROM viewer_sessions WHERE stream_session_id = $1 ",
        "ORDER BY viewer_sessions.connected_at, viewer_id",
    ))
    .bind(without_nul(session_id))
    .fetch_all(connection)
    .await
    .map_err(|source| StoreError::Query {
        operation: "read viewer sessions",
        source,
    })?;
    rows.iter().map(columns::viewer_session).collect()
}
