//! The REST API: cameras, streams, viewers, health.
//!
//! The fields that existing installations rely on are in [`model`]; more may be added, none dropped.

mod cameras;
mod handlers;
mod media_servers;
pub(super) mod model;

pub(super) use handlers::{__path_health, __path_livestream_health, health, livestream_health};

pub(super) use media_servers::{__path_drain, __path_undrain, drain, undrain};

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::HttpState;

/// All but health, which differs between the two places where these routes are.
pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(cameras::cameras))
        .routes(routes!(cameras::camera, cameras::change_camera))
        .routes(routes!(cameras::camera_events))
        .routes(routes!(handlers::streams))
        .routes(routes!(handlers::stream_of_camera))
        .routes(routes!(handlers::start))
        .routes(routes!(handlers::stop))
        .routes(routes!(handlers::stream_stats))
        .routes(routes!(handlers::viewers))
        .routes(routes!(handlers::camera_viewers))
}
