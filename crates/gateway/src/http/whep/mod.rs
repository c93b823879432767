//! WHEP (draft-ietf-wish-whep), and RFC 9725 (WHIP) where it is silent: watching with any standard player.
//!
//! [`sessions`] holds the session URLs, [`fragment`] the SDP fragments of PATCH requests.

mod fragment;
mod handlers;
mod sessions;

pub(super) use handlers::{
    __path_change, __path_create, __path_endpoint, __path_endpoint_options, __path_remove,
    __path_resource, __path_resource_options, change, create, endpoint, endpoint_options, remove,
    resource, resource_options,
};
pub(super) use sessions::{WhepSessions, forget_gone_viewers};
