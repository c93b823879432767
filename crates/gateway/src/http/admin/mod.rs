//! For those who run the program: how it and what is around it stand, its settings, and the end of its log.

mod finding;
mod log;
mod settings;
mod setup;
mod system;

use utoipa_axum::routes;

use super::policy::Access::Admin;
use super::policy::Routes;

pub(super) use system::Doctor;

pub(super) fn routes() -> Routes {
    Routes::new()
        .add(Admin, routes!(system::system))
        .add(Admin, routes!(setup::setup))
        .add(Admin, routes!(settings::settings))
        .add(Admin, routes!(log::log))
}
