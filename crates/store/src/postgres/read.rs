//! The statements that read. Times come as the text that SQLite keeps, so that both are understood by the same code.

use apiary_wire::id::CameraId;
use sqlx::{PgConnection, QueryBuilder};

use super::write::without_nul;
use crate::columns;
use crate::error::StoreError;
use crate::rows::{CameraEvent, CameraRow, EventFilter, EventId, StreamSession, ViewerSession};

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
        "SELECT camera_id, name, room, position, ip_address, firmware_version, hardware, serial_number, status, mode, \
         settings, battery_percent, signal, temperature, connection_status, ",
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

pub(super) async fn camera_events(
    connection: &mut PgConnection,
    filter: EventFilter,
    limit: u32,
    before: Option<EventId>,
) -> Result<Vec<CameraEvent>, StoreError> {
    // Only the conditions that there are, so that an index serves them.
    let mut query = QueryBuilder::new(concat!(
        "SELECT id, camera_id, kind, ",
        time!("at"),
        ", event_id, activity_type, confidence, detail, payload FROM camera_events WHERE TRUE",
    ));
    match filter.camera_ids().as_deref() {
        None => {}
        // In this form the index gives the order too.
        Some([camera]) => drop(query.push(" AND camera_id = ").push_bind(camera.clone())),
        Some(cameras) => drop(
            query
                .push(" AND camera_id = ANY(")
                .push_bind(cameras.to_vec())
                .push(")"),
        ),
    }
    if let Some(kind) = filter.kind {
        query.push(" AND kind = ").push_bind(kind.as_str());
    }
    if let Some(activity_type) = filter.activity_type {
        let activity_type = without_nul(&activity_type).into_owned();
        query.push(" AND activity_type = ").push_bind(activity_type);
    }
    if let Some(id) = before {
        query.push(" AND id < ").push_bind(id.to_string());
    }
    query
        .push(" ORDER BY id DESC LIMIT ")
        .push_bind(i64::from(limit));
    let rows = query
        .build()
        .fetch_all(connection)
        .await
        .map_err(|source| StoreError::Query {
            operation: "read the events of cameras",
            source,
        })?;
    rows.iter().map(columns::camera_event).collect()
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
