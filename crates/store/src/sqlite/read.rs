//! The statements that read, and the way from a row to a typed value.

use std::error::Error;
use std::str::FromStr;

use apiary_wire::id::CameraId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

use crate::error::StoreError;
use crate::rows::{CameraRow, InterruptedSession, StreamSession, ViewerSession};

/// How much of a value that is not understood an error repeats.
const SHOWN_CHARS: usize = 60;

pub(super) async fn cameras(pool: &SqlitePool) -> Result<Vec<CameraRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM cameras ORDER BY camera_id")
        .fetch_all(pool)
        .await
        .map_err(|source| StoreError::Query {
            operation: "read the cameras",
            source,
        })?;
    rows.iter().map(camera).collect()
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
    rows.iter().map(stream_session).collect()
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
    rows.iter().map(viewer_session).collect()
}

/// A row of one table, read by column.
struct Columns<'a> {
    table: &'static str,
    row: &'a SqliteRow,
}

impl Columns<'_> {
    fn optional_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.row
            .try_get(column)
            .map_err(|source| StoreError::Query {
                operation: "read a column",
                source,
            })
    }

    fn optional<T>(&self, column: &'static str) -> Result<Option<T>, StoreError>
    where
        T: FromStr,
        T::Err: Error + Send + Sync + 'static,
    {
        self.optional_text(column)?
            .map(|text| self.parse(column, &text))
            .transpose()
    }

    fn required<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: FromStr,
        T::Err: Error + Send + Sync + 'static,
    {
        let text = self.optional_text(column)?.unwrap_or_default();
        self.parse(column, &text)
    }

    fn parse<T>(&self, column: &'static str, text: &str) -> Result<T, StoreError>
    where
        T: FromStr,
        T::Err: Error + Send + Sync + 'static,
    {
        text.parse().map_err(|source| StoreError::BadRow {
            table: self.table,
            column,
            found: text.chars().take(SHOWN_CHARS).collect(),
            source: Box::new(source),
        })
    }
}

fn camera(row: &SqliteRow) -> Result<CameraRow, StoreError> {
    let columns = Columns {
        table: "cameras",
        row,
    };
    Ok(CameraRow {
        camera: columns.required("camera_id")?,
        name: columns.optional_text("name")?,
        ip_address: columns.optional_text("ip_address")?,
        firmware_version: columns.optional_text("firmware_version")?,
        hardware: columns.optional_text("hardware")?,
        serial_number: columns.optional_text("serial_number")?,
        status: columns.optional_text("status")?,
        connection: columns.required("connection_status")?,
        last_seen: columns.optional("last_seen")?,
        created_at: columns.required("created_at")?,
        updated_at: columns.required("updated_at")?,
    })
}

fn stream_session(row: &SqliteRow) -> Result<StreamSession, StoreError> {
    let columns = Columns {
        table: "stream_sessions",
        row,
    };
    Ok(StreamSession {
        session_id: columns.required("session_id")?,
        camera: columns.required("camera_id")?,
        stream: columns.required("stream_id")?,
        pipeline_id: columns.optional_text("pipeline_id")?,
        rtp_endpoint_id: columns.optional_text("rtp_endpoint_id")?,
        webrtc_endpoint_id: columns.optional_text("webrtc_endpoint_id")?,
        status: columns.required("status")?,
        created_at: columns.required("created_at")?,
        updated_at: columns.required("updated_at")?,
        ended_at: columns.optional("ended_at")?,
        error_message: columns.optional_text("error_message")?,
    })
}

fn viewer_session(row: &SqliteRow) -> Result<ViewerSession, StoreError> {
    let columns = Columns {
        table: "viewer_sessions",
        row,
    };
    Ok(ViewerSession {
        viewer: columns.required("viewer_id")?,
        session_id: columns.required("stream_session_id")?,
        webrtc_endpoint_id: columns.optional_text("webrtc_endpoint_id")?,
        user_agent: columns.optional_text("user_agent")?,
        ip_address: columns.optional_text("ip_address")?,
        connected_at: columns.required("connected_at")?,
        disconnected_at: columns.optional("disconnected_at")?,
    })
}

pub(super) fn interrupted_session(row: &SqliteRow) -> Result<InterruptedSession, StoreError> {
    let columns = Columns {
        table: "stream_sessions",
        row,
    };
    Ok(InterruptedSession {
        session_id: columns.required("session_id")?,
        camera: columns.required("camera_id")?,
        stream: columns.required("stream_id")?,
    })
}
