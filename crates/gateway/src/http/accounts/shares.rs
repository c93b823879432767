//! Share links: one camera, for a time, for whoever has the link.

use apiary_store::{Role, ShareRow};
use apiary_wire::id::CameraId;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::moment;
use super::{Visitor, actor, must_be_logged_in};
use crate::auth::NewShare;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::{PathParameters, RequiredJson};
use crate::http::identity::Asker;
use crate::http::rest::model::time;
use crate::http::state::HttpState;

/// A share link.
#[derive(Serialize, ToSchema)]
pub(super) struct ShareEntry {
    id: String,
    camera_id: String,
    /// For whom, in the words of who shares.
    label: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// The link without scheme and host. What stands behind `#` is the secret; a browser sends it nowhere by itself.
    path: String,
}

impl ShareEntry {
    fn new(http: &HttpState, row: ShareRow) -> Self {
        Self {
            path: format!("/share#{}", http.accounts.secret_of(&row)),
            id: row.share.to_string(),
            camera_id: row.camera.to_string(),
            label: row.label,
            created_at: time(row.created_at),
            expires_at: time(row.expires_at),
        }
    }
}

/// Share links, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct ShareList {
    shares: Vec<ShareEntry>,
}

/// A share link to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareToMake {
    /// 32 hexadecimal digits in either case.
    camera_id: String,
    /// For whom, at most 100 characters.
    label: String,
    /// When it ends by itself, ISO 8601.
    expires_at: String,
}

/// One's own share links; for administrators those of all.
#[utoipa::path(get, path = "/api/shares", tag = "accounts", operation_id = "shares",
    responses((status = 200, body = ShareList)))]
pub(super) async fn list(
    State(http): State<HttpState>,
    Asker(asker): Asker,
) -> Result<Json<ShareList>, ApiError> {
    must_be_logged_in(&asker)?;
    let of = if asker.is_at_least(Role::Admin) {
        None
    } else {
        asker.who.user()
    };
    let shares = http.accounts.shares(of).into_iter();
    Ok(Json(ShareList {
        shares: shares.map(|row| ShareEntry::new(&http, row)).collect(),
    }))
}

/// Shares a camera; takes a login.
#[utoipa::path(post, path = "/api/shares", tag = "accounts", operation_id = "create_share",
    request_body = ShareToMake,
    responses(
        (status = 201, description = "made", body = ShareEntry),
        (status = 400, description = "a camera id, label or end that is not taken", body = ErrorBody),
        (status = 404, description = "no such camera", body = ErrorBody),
        (status = 409, description = "there are too many", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 503, description = "the database cannot be written", body = ErrorBody),
    ))]
pub(super) async fn create(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    visitor: Visitor,
    RequiredJson(wanted): RequiredJson<ShareToMake>,
) -> Result<(StatusCode, Json<ShareEntry>), ApiError> {
    must_be_logged_in(&asker)?;
    let camera: CameraId = wanted.camera_id.parse()?;
    // One that nobody heard of could come to exist later, shared before anybody meant it.
    if !asker.may_watch(camera) || http.supervisor.camera(camera).is_none() {
        return Err(ApiError::no_camera());
    }
    let new = NewShare {
        camera,
        label: wanted.label,
        expires_at: moment("expires_at", &wanted.expires_at)?,
    };
    let actor = actor(&asker, visitor.info.ip);
    let row = http.accounts.create_share(actor, new).await?;
    Ok((StatusCode::CREATED, Json(ShareEntry::new(&http, row))))
}

/// Ends a share link, and what is watched with it.
#[utoipa::path(delete, path = "/api/shares/{share_id}", tag = "accounts", operation_id = "remove_share",
    params(("share_id" = String, Path, description = "from the list")),
    responses(
        (status = 204, description = "it has ended"),
        (status = 404, description = "no such link", body = ErrorBody),
        (status = 503, description = "the database cannot be written: it has ended until the program starts again", body = ErrorBody),
    ))]
pub(super) async fn remove(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    visitor: Visitor,
    path: PathParameters,
) -> Result<StatusCode, ApiError> {
    let share = path.id("share_id", "share link")?;
    let actor = actor(&asker, visitor.info.ip);
    http.accounts.remove_share(actor, share).await?;
    Ok(StatusCode::NO_CONTENT)
}
