//! The audit log.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{AuditEntry, moment};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::QueryFields;
use crate::http::state::HttpState;

/// Entries in an answer where the request does not say how many.
const ENTRIES: u32 = 100;
/// Most entries in an answer.
const ENTRIES_LIMIT: u32 = 1000;

/// Which entries are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Most entries in the answer, 1 to 1000; 100 where it is left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Only what is older than this time (ISO 8601).
    #[param(format = DateTime)]
    before: Option<String>,
}

/// Entries, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditList {
    entries: Vec<AuditEntry>,
}

/// Who logged in or tried to, and who changed what.
#[utoipa::path(get, path = "/api/audit", tag = "accounts", operation_id = "audit_log",
    params(AuditQuery),
    responses(
        (status = 200, body = AuditList),
        (status = 400, description = "a parameter that is not understood", body = ErrorBody),
        (status = 503, description = "the database cannot be read", body = ErrorBody),
    ))]
pub(super) async fn list(
    State(http): State<HttpState>,
    QueryFields(query): QueryFields<AuditQuery>,
) -> Result<Json<AuditList>, ApiError> {
    let limit = limit(query.limit.as_deref())?;
    let before = query.before.as_deref();
    let before = before.map(|given| moment("before", given)).transpose()?;
    let before = before.unwrap_or(Timestamp::MAX);
    let rows = http.accounts.audit_log(before, limit).await?;
    Ok(Json(AuditList {
        entries: rows.into_iter().map(AuditEntry::from).collect(),
    }))
}

fn limit(given: Option<&str>) -> Result<u32, ApiError> {
    let Some(given) = given else {
        return Ok(ENTRIES);
    };
    let limit = given.parse().ok();
    limit
        .filter(|limit| (1..=ENTRIES_LIMIT).contains(limit))
        .ok_or_else(|| {
            let message = format!("limit is no whole number from 1 to {ENTRIES_LIMIT}");
            ApiError::bad_request(message)
        })
}
