//! The end of the log.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::QueryFields;
use crate::http::rest::time;
use crate::recent_log::{self, Record};

/// Which records are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Only what came behind the record with this `id`.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
}

/// A record of the log.
#[derive(Serialize, ToSchema)]
pub(super) struct LogRecord {
    /// 1, 2, … since the program started.
    id: u64,
    #[schema(format = DateTime)]
    at: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    level: String,
    text: String,
}

impl From<Record> for LogRecord {
    fn from(record: Record) -> Self {
        Self {
            id: record.number,
            at: time(record.at),
            level: record.level.as_str().to_ascii_lowercase(),
            text: record.text,
        }
    }
}

/// The end of the log, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct LogTail {
    records: Vec<LogRecord>,
}

/// The last 500 records of the log, as far as its level lets them through.
#[utoipa::path(get, path = "/api/log", tag = "operation", operation_id = "log",
    params(LogQuery),
    responses(
        (status = 200, body = LogTail),
        (status = 400, description = "a parameter that is not understood", body = ErrorBody),
    ))]
pub(super) async fn log(
    QueryFields(query): QueryFields<LogQuery>,
) -> Result<Json<LogTail>, ApiError> {
    let after = match query.after {
        Some(after) => after
            .parse()
            .map_err(|_| ApiError::bad_request("after is not the id of a record of the log"))?,
        None => 0,
    };
    let records = recent_log::after(after).into_iter();
    Ok(Json(LogTail {
        records: records.map(LogRecord::from).collect(),
    }))
}
