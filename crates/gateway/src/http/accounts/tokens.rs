//! API tokens: for programs, which act for the user who made them and never do more.

use apiary_store::{ApiTokenRow, Role};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{RoleName, ids, moment, scope};
use super::{Visitor, actor, must_be_logged_in};
use crate::auth::NewToken;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::{PathParameters, RequiredJson};
use crate::http::identity::Asker;
use crate::http::rest::model::time;
use crate::http::state::HttpState;

/// A token, without the secret.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenEntry {
    id: String,
    name: String,
    /// `viewer`, `operator` or `admin`.
    role: &'static str,
    /// The cameras that it may see; `null` for all of its user's.
    cameras: Option<Vec<String>>,
    #[schema(format = DateTime)]
    created_at: String,
    /// `null` where it never ends by itself.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

impl From<ApiTokenRow> for TokenEntry {
    fn from(row: ApiTokenRow) -> Self {
        Self {
            id: row.token.to_string(),
            name: row.name,
            role: row.role.as_str(),
            cameras: ids(&row.cameras),
            created_at: time(row.created_at),
            expires_at: row.expires_at.map(time),
        }
    }
}

/// Tokens, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenList {
    tokens: Vec<TokenEntry>,
}

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenToMake {
    /// What it is for, at most 100 characters.
    name: String,
    role: RoleName,
    /// The cameras that it may see; all of its user's where it is left out.
    #[serde(default)]
    cameras: Option<Vec<String>>,
    /// When it ends by itself, ISO 8601; never where it is left out.
    #[serde(default)]
    expires_at: Option<String>,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeToken {
    #[serde(flatten)]
    entry: TokenEntry,
    /// The secret, for `Authorization: Bearer`. It is shown here and never again.
    token: String,
}

/// One's own tokens; for administrators those of all.
#[utoipa::path(get, path = "/api/tokens", tag = "accounts", operation_id = "tokens",
    responses((status = 200, body = TokenList)))]
pub(super) async fn list(State(http): State<HttpState>, Asker(asker): Asker) -> Json<TokenList> {
    let of = if asker.is_at_least(Role::Admin) {
        None
    } else {
        asker.who.user()
    };
    let tokens = http.accounts.tokens(of).into_iter();
    Json(TokenList {
        tokens: tokens.map(TokenEntry::from).collect(),
    })
}

/// Makes a token; takes a login.
#[utoipa::path(post, path = "/api/tokens", tag = "accounts", operation_id = "create_token",
    request_body = TokenToMake,
    responses(
        (status = 201, description = "made; the secret is shown this once", body = MadeToken),
        (status = 400, description = "a name, camera or end that is not taken", body = ErrorBody),
        (status = 409, description = "there are too many", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 503, description = "the database cannot be written", body = ErrorBody),
    ))]
pub(super) async fn create(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    visitor: Visitor,
    RequiredJson(wanted): RequiredJson<TokenToMake>,
) -> Result<(StatusCode, Json<MadeToken>), ApiError> {
    must_be_logged_in(&asker)?;
    let expires_at = wanted.expires_at.as_deref();
    let new = NewToken {
        name: wanted.name,
        role: wanted.role.into(),
        cameras: match wanted.cameras {
            None => asker.cameras.as_ref().clone(),
            some => scope(some)?,
        },
        expires_at: expires_at
            .map(|given| moment("expires_at", given))
            .transpose()?,
    };
    let actor = actor(&asker, visitor.info.ip);
    let (row, token) = http.accounts.create_token(actor, new).await?;
    let entry = TokenEntry::from(row);
    Ok((StatusCode::CREATED, Json(MadeToken { entry, token })))
}

/// Ends a token, and what is watched with it.
#[utoipa::path(delete, path = "/api/tokens/{token_id}", tag = "accounts", operation_id = "remove_token",
    params(("token_id" = String, Path, description = "from the list")),
    responses(
        (status = 204, description = "it has ended"),
        (status = 404, description = "no such token", body = ErrorBody),
        (status = 503, description = "the database cannot be written: it has ended until the program starts again", body = ErrorBody),
    ))]
pub(super) async fn remove(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    visitor: Visitor,
    path: PathParameters,
) -> Result<StatusCode, ApiError> {
    let token = path.id("token_id", "token")?;
    let actor = actor(&asker, visitor.info.ip);
    http.accounts.remove_token(actor, token).await?;
    Ok(StatusCode::NO_CONTENT)
}
