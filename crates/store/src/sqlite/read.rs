//! The statements that read.

use apiary_wire::id::CameraId;
use sqlx::SqlitePool;

use crate::columns;
use crate::error::StoreError;
use crate::rows::{CameraRow, StreamSession, ViewerSession};

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
