//! What those who run the program ask of it: whether it is alive and ready, and its figures.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::error::{ApiError, ErrorBody};
use super::policy::Access::{Admin, Public};
use super::policy::Routes;
use super::state::HttpState;
use crate::metrics::text;
use crate::operation::{Look, ReloadError, Reloaded, Report};

pub(super) fn routes() -> Routes {
    Routes::new()
        .add(Public, routes!(live))
        .add(Public, routes!(ready))
        .add(Admin, routes!(metrics))
        .add(Admin, routes!(reload))
}

/// Whether the program works at all.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    /// Nothing in it hangs.
    alive: bool,
}

/// Whether the program does its work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    /// All parts are up.
    ready: bool,
    /// The MQTT broker, over which cameras are told what to do.
    broker: Part,
    /// The media engine.
    engine: Part,
    /// The database. While it is down streams go on, and history may be lost.
    database: Part,
}

/// How a part does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Part {
    /// `up` or `down`.
    state: &'static str,
    /// Since when, RFC 3339.
    since: String,
}

impl From<&Look> for Part {
    fn from(look: &Look) -> Self {
        Self {
            state: if look.is_up() { "up" } else { "down" },
            since: look.since.to_string(),
        }
    }
}

impl From<&Report> for Ready {
    fn from(report: &Report) -> Self {
        Self {
            ready: report.is_ready(),
            broker: (&report.broker).into(),
            engine: (&report.engine).into(),
            database: (&report.database).into(),
        }
    }
}

/// Whether the program works at all: a broker or database that is away changes nothing here. For what starts a hung program
/// anew. What hangs is in the log.
#[utoipa::path(get, path = "/health/live", tag = "operation", operation_id = "live",
    responses(
        (status = 200, description = "it does", body = Alive),
        (status = 503, description = "part of it has hung for 10 seconds or more", body = Alive),
    ))]
pub(super) async fn live(State(http): State<HttpState>) -> impl IntoResponse {
    let alive = http.operation.liveness.trouble().is_none();
    let status = match alive {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(Alive { alive }))
}

/// Whether broker, engine and database are there, and since when. Why one is not is in the log, and for the first two in
/// `/health` and at each stream.
#[utoipa::path(get, path = "/health/ready", tag = "operation", operation_id = "ready",
    responses(
        (status = 200, description = "all are there", body = Ready),
        (status = 503, description = "one is not", body = Ready),
    ))]
pub(super) async fn ready(State(http): State<HttpState>) -> impl IntoResponse {
    let ready = Ready::from(&http.operation.readiness.look());
    let status = match ready.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(ready))
}

/// Figures for Prometheus. `metrics.listen` offers the same on a listener of its own.
#[utoipa::path(get, path = "/metrics", tag = "operation", operation_id = "metrics",
    responses((status = 200, description = "the text format, version 0.0.4", content_type = "text/plain")))]
pub(super) async fn metrics(State(http): State<HttpState>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, text::CONTENT_TYPE)];
    (headers, http.operation.metrics.text().await)
}

/// What became of the settings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReloadAnswer {
    /// Changed keys that count from now on.
    applied: Vec<&'static str>,
    /// Changed keys that count after a restart.
    needs_restart: Vec<&'static str>,
    /// What could not be taken over though it should, and why.
    failed: Vec<String>,
}

impl From<Reloaded> for ReloadAnswer {
    fn from(reloaded: Reloaded) -> Self {
        Self {
            applied: reloaded.changes.applied,
            needs_restart: reloaded.changes.needs_restart,
            failed: reloaded.failed,
        }
    }
}

impl From<ReloadError> for ApiError {
    fn from(error: ReloadError) -> Self {
        let status = match error {
            ReloadError::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ReloadError::Fixed => StatusCode::CONFLICT,
            ReloadError::Ending => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::plain(status, error)
    }
}

/// Reads the settings again, as SIGHUP does, and takes over what can be changed while the program runs.
#[utoipa::path(post, path = "/api/reload", tag = "operation", operation_id = "reload",
    responses(
        (status = 200, body = ReloadAnswer),
        (status = 409, description = "there are no settings to read again (`apiary demo`)", body = ErrorBody),
        (status = 422, description = "the settings are wrong; nothing is changed", body = ErrorBody),
        (status = 503, description = "the program is ending", body = ErrorBody),
    ))]
pub(super) async fn reload(State(http): State<HttpState>) -> Result<Json<ReloadAnswer>, ApiError> {
    let reloaded = http.operation.reloader.reload().await?;
    Ok(Json(reloaded.into()))
}
