//! The REST API: cameras, streams, viewers, health.
//!
//! The fields that existing installations rely on are in [`model`]; more may be added, none dropped.

mod cameras;
mod commands;
mod events;
mod handlers;
mod media_servers;
pub(super) mod model;
mod poster;

pub(super) use cameras::CameraEntry;
pub(super) use events::{__path_all_events, EventEntry, all_events};
pub(super) use handlers::{
    __path_health, __path_livestream_health, QUESTIONS_AT_ONCE, health, livestream_health,
};

pub(super) use model::time;

pub(super) use media_servers::{__path_drain, __path_undrain, drain, undrain};

use utoipa_axum::routes;

use super::policy::Access::{Inspect, Known, Operate, User, Watch};
use super::policy::Routes;

/// All but health, which differs between the two places where these routes are.
pub(super) fn routes() -> Routes {
    Routes::new()
        .add(Known, routes!(cameras::cameras))
        .add(Inspect, routes!(cameras::camera))
        .add(Operate, routes!(cameras::change_camera))
        .add(Operate, routes!(commands::set_mode))
        .add(Operate, routes!(commands::change_settings))
        .add(Operate, routes!(commands::reboot))
        .add(Operate, routes!(commands::play_sound, commands::stop_sound))
        .add(Inspect, routes!(events::camera_events))
        .add(Watch, routes!(poster::poster))
        .add(Known, routes!(handlers::streams))
        .add(Inspect, routes!(handlers::stream_of_camera))
        .add(Operate, routes!(handlers::start))
        .add(Operate, routes!(handlers::stop))
        .add(Inspect, routes!(handlers::stream_stats))
        .add(User, routes!(handlers::viewers))
        .add(Inspect, routes!(handlers::camera_viewers))
}
