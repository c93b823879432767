//! Users, for administrators.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{RoleName, UserEntry, scope};
use super::{Visitor, actor};
use crate::auth::{NewUser, UserChange};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::{PathParameters, RequiredJson, given};
use crate::http::identity::Asker;
use crate::http::state::HttpState;
use crate::secret::Secret;

/// Users, by name.
#[derive(Serialize, ToSchema)]
pub(super) struct UserList {
    users: Vec<UserEntry>,
}

/// A user to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserToMake {
    /// Letters, digits and `.-_@+`, at most 64; capitals do not count.
    name: String,
    /// At least eight characters.
    password: String,
    role: RoleName,
    /// The cameras that the user may see; all where it is left out. An administrator sees all.
    #[serde(default)]
    cameras: Option<Vec<String>>,
}

/// What is to change of a user; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserToChange {
    #[serde(default)]
    role: Option<RoleName>,
    /// `null` for all.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    cameras: Option<Option<Vec<String>>>,
    /// A new one; all logins of the user end.
    #[serde(default)]
    password: Option<String>,
}

/// All users.
#[utoipa::path(get, path = "/api/users", tag = "accounts", operation_id = "users",
    responses((status = 200, body = UserList)))]
pub(super) async fn list(State(http): State<HttpState>) -> Json<UserList> {
    let users = http.accounts.users();
    Json(UserList {
        users: users.iter().map(UserEntry::from).collect(),
    })
}

/// Makes a user.
#[utoipa::path(post, path = "/api/users", tag = "accounts", operation_id = "create_user",
    request_body = UserToMake,
    responses(
        (status = 201, description = "made", body = UserEntry),
        (status = 400, description = "a name, password, role or camera that is not taken", body = ErrorBody),
        (status = 409, description = "the name is taken, or there are too many users", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 503, description = "the database cannot be written", body = ErrorBody),
    ))]
pub(super) async fn create(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    visitor: Visitor,
    RequiredJson(wanted): RequiredJson<UserToMake>,
) -> Result<(StatusCode, Json<UserEntry>), ApiError> {
    let new = NewUser {
        name: wanted.name,
        password: Secret::new(wanted.password),
        role: wanted.role.into(),
        cameras: scope(wanted.cameras)?,
    };
    let actor = actor(&asker, visitor.info.ip);
    let row = http.accounts.create_user(actor, new).await?;
    Ok((StatusCode::CREATED, Json(UserEntry::from(&row))))
}

/// Changes a user. What the user may no longer see ends at once.
#[utoipa::path(patch, path = "/api/users/{user_id}", tag = "accounts", operation_id = "change_user",
    params(("user_id" = String, Path, description = "from the list")),
    request_body = UserToChange,
    responses(
        (status = 200, description = "the user as it is now", body = UserEntry),
        (status = 400, description = "a password, role or camera that is not taken", body = ErrorBody),
        (status = 404, description = "no such user", body = ErrorBody),
        (status = 409, description = "nobody would be administrator", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 503, description = "the database cannot be written", body = ErrorBody),
    ))]
pub(super) async fn change(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    visitor: Visitor,
    path: PathParameters,
    RequiredJson(wanted): RequiredJson<UserToChange>,
) -> Result<Json<UserEntry>, ApiError> {
    let user = path.id("user_id", "user")?;
    let change = UserChange {
        role: wanted.role.map(Into::into),
        cameras: wanted.cameras.map(scope).transpose()?,
        password: wanted.password.map(Secret::new),
    };
    let actor = actor(&asker, visitor.info.ip);
    let row = http.accounts.change_user(actor, user, change).await?;
    Ok(Json(UserEntry::from(&row)))
}

/// Removes a user with all logins, tokens and share links.
#[utoipa::path(delete, path = "/api/users/{user_id}", tag = "accounts", operation_id = "remove_user",
    params(("user_id" = String, Path, description = "from the list")),
    responses(
        (status = 204, description = "removed"),
        (status = 404, description = "no such user", body = ErrorBody),
        (status = 409, description = "nobody would be administrator", body = ErrorBody),
        (status = 503, description = "the database cannot be written: removed until the program starts again", body = ErrorBody),
    ))]
pub(super) async fn remove(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    visitor: Visitor,
    path: PathParameters,
) -> Result<StatusCode, ApiError> {
    let user = path.id("user_id", "user")?;
    let actor = actor(&asker, visitor.info.ip);
    http.accounts.remove_user(actor, user).await?;
    Ok(StatusCode::NO_CONTENT)
}
