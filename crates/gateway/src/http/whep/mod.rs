//! WHEP (draft-ietf-wish-whep), and RFC 9725 (WHIP) where it is silent: watching with any standard player.
//!
//! [`sessions`] holds the session URLs, [`fragment`] the SDP fragments of PATCH requests.

mod fragment;
mod handlers;
mod sessions;

pub(super) use sessions::{WhepSessions, forget_gone_viewers};

use utoipa_axum::routes;

use super::policy::Access::{Public, Watch};
use super::policy::Routes;

pub(super) fn routes() -> Routes {
    Routes::new()
        .add(Watch, routes!(handlers::create, handlers::endpoint))
        .add(Public, routes!(handlers::endpoint_options))
        .add(
            Watch,
            routes!(handlers::change, handlers::remove, handlers::resource),
        )
        .add(Public, routes!(handlers::resource_options))
}
