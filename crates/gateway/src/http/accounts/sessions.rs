//! Logins: where somebody is logged in, and how to end that.

use apiary_store::Role;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Visitor, actor};
use crate::auth::Who;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::PathParameters;
use crate::http::identity::Asker;
use crate::http::rest::model::time;
use crate::http::state::HttpState;

/// A browser that is logged in.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionEntry {
    id: String,
    /// Name of the user.
    user: String,
    user_agent: Option<String>,
    ip_address: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// The one that asks.
    current: bool,
}

/// Logins, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionList {
    sessions: Vec<SessionEntry>,
}

/// One's own logins; for administrators those of all.
#[utoipa::path(get, path = "/api/auth/sessions", tag = "accounts", operation_id = "sessions",
    responses((status = 200, body = SessionList)))]
pub(super) async fn list(State(http): State<HttpState>, Asker(asker): Asker) -> Json<SessionList> {
    let of = if asker.is_at_least(Role::Admin) {
        None
    } else {
        asker.who.user()
    };
    let logins = http.accounts.logins(of).into_iter();
    let sessions = logins.map(|(row, user)| SessionEntry {
        current: asker.who == Who::Login(row.user, row.login),
        id: row.login.to_string(),
        user,
        user_agent: row.user_agent,
        ip_address: row.ip_address,
        created_at: time(row.created_at),
        expires_at: time(row.expires_at),
    });
    Json(SessionList {
        sessions: sessions.collect(),
    })
}

/// Ends a login, and what is watched with it.
#[utoipa::path(delete, path = "/api/auth/sessions/{session_id}", tag = "accounts", operation_id = "end_session",
    params(("session_id" = String, Path, description = "from the list")),
    responses(
        (status = 204, description = "it has ended"),
        (status = 404, description = "no such login", body = ErrorBody),
        (status = 503, description = "the database cannot be written: it has ended until the program starts again", body = ErrorBody),
    ))]
pub(super) async fn end(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    visitor: Visitor,
    path: PathParameters,
) -> Result<StatusCode, ApiError> {
    let login = path.id("session_id", "session")?;
    let actor = actor(&asker, visitor.info.ip);
    http.accounts.end_login(actor, login).await?;
    Ok(StatusCode::NO_CONTENT)
}
