//! Taking media servers out of service and back, for the engine that has such.

use apiary_media::kurento::{DrainError, Kurento};
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::RequiredJson;
use crate::http::state::HttpState;

/// Which server, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainRequest {
    /// The server's URL as in `media_servers` of `/health`.
    url: String,
    /// Streams with viewers move too, at once. Without it they stay until their last viewer left.
    #[serde(default)]
    now: bool,
}

/// Which server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UndrainRequest {
    /// The server's URL as in `media_servers` of `/health`.
    url: String,
}

/// Gives a media server no new streams, and moves those it has to others. Until the program restarts or reads its configuration
/// again; `kurento.drain` is for longer.
#[utoipa::path(post, path = "/media-servers/drain", tag = "streams", operation_id = "drain_media_server",
    request_body = DrainRequest,
    responses(
        (status = 204, description = "it is being drained"),
        (status = 400, description = "the body is not understood", body = ErrorBody),
        (status = 404, description = "no such media server, or an engine without any", body = ErrorBody),
        (status = 409, description = "no other server could take its streams", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
    ))]
pub(crate) async fn drain(
    State(http): State<HttpState>,
    RequiredJson(wanted): RequiredJson<DrainRequest>,
) -> Result<StatusCode, ApiError> {
    pool(&http)?.drain(&wanted.url, wanted.now)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a media server new streams again.
#[utoipa::path(post, path = "/media-servers/undrain", tag = "streams", operation_id = "undrain_media_server",
    request_body = UndrainRequest,
    responses(
        (status = 204, description = "it takes streams"),
        (status = 400, description = "the body is not understood", body = ErrorBody),
        (status = 404, description = "no such media server, or an engine without any", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
    ))]
pub(crate) async fn undrain(
    State(http): State<HttpState>,
    RequiredJson(wanted): RequiredJson<UndrainRequest>,
) -> Result<StatusCode, ApiError> {
    pool(&http)?.undrain(&wanted.url)?;
    Ok(StatusCode::NO_CONTENT)
}

fn pool(http: &HttpState) -> Result<&Kurento, ApiError> {
    http.kurento.as_deref().ok_or_else(|| {
        ApiError::not_found(
            "the built-in media engine has no media servers; media.engine is \"sfu\"",
        )
    })
}

impl From<DrainError> for ApiError {
    fn from(error: DrainError) -> Self {
        let status = match error {
            DrainError::Unknown { .. } => StatusCode::NOT_FOUND,
            DrainError::NoOther { .. } => StatusCode::CONFLICT,
        };
        Self::plain(status, error)
    }
}
