//! The statements that read.

use apiary_wire::id::CameraId;
use sqlx::{QueryBuilder, SqlitePool};

use crate::columns;
use crate::error::StoreError;
use crate::rows::{CameraEvent, CameraRow, EventFilter, EventId, StreamSession, ViewerSession};

pub(super) async fn cameras(pool: &SqlitePool) -> Result<Vec<CameraRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM cameras ORDER BY camera_id")
        .fetch_all(pool)
        .await
        .map_err(|source| StoreError::Query {
            operation: "read the cameras",
            source,
        })?;
    rows.iter().map(columns::camera).collect()
}

pub(super) async fn camera_events(
    pool: &SqlitePool,
    filter: EventFilter,
    limit: u32,
    before: Option<EventId>,
) -> Result<Vec<CameraEvent>, StoreError> {
    // Only the conditions that there are, so that an index serves them.
    let mut query = QueryBuilder::new("SELECT * FROM camera_events WHERE TRUE");
    match filter.camera_ids().as_deref() {
        None => {}
        // In this form the index gives the order too.
        Some([camera]) => drop(query.push(" AND camera_id = ").push_bind(camera.clone())),
        // One parameter, however many there are.
        Some(cameras) => drop(
            query
                .push(" AND camera_id IN (SELECT value FROM json_each(")
                .push_bind(format!("[\"{}\"]", cameras.join("\",\"")))
                .push("))"),
        ),
    }
    if let Some(kind) = filter.kind {
        query.push(" AND kind = ").push_bind(kind.as_str());
    }
    if let Some(activity_type) = filter.activity_type {
        query.push(" AND activity_type = ").push_bind(activity_type);
    }
    if let Some(id) = before {
        query.push(" AND id < ").push_bind(id.to_string());
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
    let rows = query
        .build()
        .fetch_all(pool)
        .await
        .map_err(|source| StoreError::Query {
            operation: "read the events of cameras",
            source,
        })?;
    rows.iter().map(columns::camera_event).collect()
}

pub(super) async fn stream_sessions(
    pool: &SqlitePool,
    camera: Option<CameraId>,
    limit: u32,
) -> Result<Vec<StreamSession>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM stream_sessions WHERE ?1 IS NULL OR camera_id = ?1 ORDER BY created_at DESC, rowid DESC LIMIT ?2",
    )
    .bind(camera.map(|camera| camera.to_string()))
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(|source| StoreError::Query {
        operation: "read stream sessions",
        source,
    })?;
    rows.iter().map(columns::stream_session).collect()
}

pub(super) async fn viewer_sessions(
    pool: &SqlitePool,
    session_id: &str,
) -> Result<Vec<ViewerSession>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM viewer_sessions WHERE stream_session_id = ?1 ORDER BY connected_at, rowid",
    )
    .bind(session_id)
    .fetch_all(pool)
    .await
    .map_err(|source| StoreError::Query {
        operation: "read viewer sessions",
        source,
    })?;
    rows.iter().map(columns::viewer_session).collect()
}
