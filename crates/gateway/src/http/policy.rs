//! Who may use which route. A route is registered together with its [`Access`], and there is no other way to register one:
//! one without a policy does not build.
//!
//! A camera that somebody may not see and one that does not exist look the same: 404 with the same text.

use apiary_store::Role;
use apiary_wire::id::CameraId;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, OpenApi, Ref, ResponseBuilder};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::error::ApiError;
use super::identity::Caller;
use super::state::HttpState;
use crate::auth::Principal;
use crate::reason::Code;

/// Names of the ways to say who one is, in the OpenAPI document.
pub(super) const BEARER: &str = "bearer";
/// See [`BEARER`].
pub(super) const COOKIE: &str = "cookie";

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody: pages and their files, what says nothing about cameras, and the ways in.
    Public,
    /// Who is known, a guest with a share link included. Lists hold what the asker may see.
    Known,
    /// Users and their tokens, about their own things.
    User,
    /// Who may see the camera of the path, a guest included.
    Watch,
    /// Users who may see the camera of the path, with more about it than its picture.
    Inspect,
    /// Who may start, stop and command the camera of the path.
    Operate,
    /// Administrators.
    Admin,
}

impl Access {
    /// The word in the document's `x-access`.
    fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Known => "known",
            Self::User => "user",
            Self::Watch => "watch",
            Self::Inspect => "inspect",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Whether `asker` may use the route, about the camera of its path.
    fn judge(self, asker: Option<&Principal>, camera: Option<CameraId>) -> Result<(), ApiError> {
        if self == Self::Public {
            return Ok(());
        }
        let asker = asker.ok_or_else(ApiError::unknown_caller)?;
        if camera.is_some_and(|camera| !asker.may_watch(camera)) {
            return Err(ApiError::no_camera());
        }
        match self {
            Self::Public | Self::Known | Self::Watch => Ok(()),
            Self::User | Self::Inspect if asker.is_guest() => Err(ApiError::forbidden(
                Code::NeedsAccount,
                "this needs an account",
            )),
            Self::User | Self::Inspect => Ok(()),
            Self::Operate if asker.is_at_least(Role::Operator) => Ok(()),
            Self::Operate => {
                let text = "this needs the role operator";
                Err(ApiError::forbidden(Code::NeedsOperator, text))
            }
            Self::Admin if asker.is_at_least(Role::Admin) => Ok(()),
            Self::Admin => {
                let text = "this needs the role admin";
                Err(ApiError::forbidden(Code::NeedsAdmin, text))
            }
        }
    }
}

/// Routes, each with who may use it.
pub(super) struct Routes(OpenApiRouter<HttpState>);

impl Routes {
    pub(super) fn new() -> Self {
        Self(OpenApiRouter::new())
    }

    /// Routes of a document that says more than they do.
    pub(super) fn of(document: OpenApi) -> Self {
        Self(OpenApiRouter::with_openapi(document))
    }

    /// Adds what `routes!` made.
    #[must_use]
    pub(super) fn add(self, access: Access, routes: UtoipaMethodRouter<HttpState>) -> Self {
        let (schemas, mut paths, router) = routes;
        for item in paths.paths.values_mut() {
            operations(item).for_each(|operation| describe(operation, access));
        }
        let router = router.route_layer(middleware::from_fn_with_state(access, check));
        Self(self.0.routes((schemas, paths, router)))
    }

    #[must_use]
    pub(super) fn merge(self, other: Self) -> Self {
        Self(self.0.merge(other.0))
    }

    #[must_use]
    pub(super) fn nest(self, path: &str, other: Self) -> Self {
        Self(self.0.nest(path, other.0))
    }

    pub(super) fn into_router(self) -> OpenApiRouter<HttpState> {
        self.0
    }
}

/// The operations of a path.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.options,
        &mut item.head,
        &mut item.patch,
        &mut item.trace,
    ];
    all.into_iter().flatten()
}

/// Says in the document who may use it, and how others are refused.
fn describe(operation: &mut Operation, access: Access) {
    let extensions = operation.extensions.get_or_insert_default();
    extensions.insert("x-access".to_owned(), access.word().into());
    if access == Access::Public {
        operation.security = Some(Vec::new());
        return;
    }
    let ways = [BEARER, COOKIE].map(|way| SecurityRequirement::new::<_, [&str; 0], _>(way, []));
    operation.security = Some(ways.into());
    let mut refuse = |status: &str, why: &str| {
        let responses = &mut operation.responses.responses;
        responses
            .entry(status.to_owned())
            .or_insert_with(|| refusal(why).into());
    };
    refuse("401", "nobody known asks");
    match access {
        Access::Public | Access::Known => {}
        Access::Watch => refuse("404", "no such camera, or it is not for the one who asks"),
        Access::Inspect | Access::Operate => {
            refuse("403", "the one who asks may not do this");
            refuse("404", "no such camera, or it is not for the one who asks");
        }
        Access::User | Access::Admin => refuse("403", "the one who asks may not do this"),
    }
}

fn refusal(why: &str) -> utoipa::openapi::Response {
    let body = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    ResponseBuilder::new()
        .description(why)
        .content("application/json", body)
        .build()
}

/// A route that is in no document.
pub(super) fn only(access: Access, route: MethodRouter<HttpState>) -> MethodRouter<HttpState> {
    route.layer(middleware::from_fn_with_state(access, check))
}

/// Middleware of one route.
async fn check(
    State(access): State<Access>,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let camera = parameters.as_ref().ok().and_then(camera_of);
    let asker = request.extensions().get::<Caller>().and_then(Caller::known);
    match access.judge(asker, camera) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// The camera of the path. What is no camera id is refused by the route itself, to those who get there.
fn camera_of(parameters: &RawPathParams) -> Option<CameraId> {
    let (_, id) = parameters.iter().find(|(name, _)| *name == "camera_id")?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use apiary_store::{CameraScope, ShareId, TokenId, UserId};

    use super::*;
    use crate::auth::Who;

    const OWN: [u8; 16] = [1; 16];
    const FOREIGN: [u8; 16] = [2; 16];

    fn asker(role: Role, who: Who) -> Principal {
        let own = CameraScope::Only([CameraId::from_bytes(OWN)].into());
        Principal {
            who,
            name: Arc::from("somebody"),
            role,
            cameras: Arc::new(own),
        }
    }

    #[test]
    fn h01_each_access_lets_in_whom_it_names() {
        let user = |role| asker(role, Who::Token(UserId::random(), TokenId::random()));
        let guest = asker(Role::Viewer, Who::Share(ShareId::random()));
        let askers = [
            None,
            Some(guest),
            Some(user(Role::Viewer)),
            Some(user(Role::Operator)),
            Some(user(Role::Admin)),
        ];
        let own = Some(CameraId::from_bytes(OWN));
        let foreign = Some(CameraId::from_bytes(FOREIGN));
        let table = [
            (Access::Public, foreign, [200, 200, 200, 200, 200]),
            (Access::Known, None, [401, 200, 200, 200, 200]),
            (Access::User, None, [401, 403, 200, 200, 200]),
            (Access::Watch, own, [401, 200, 200, 200, 200]),
            (Access::Watch, foreign, [401, 404, 404, 404, 404]),
            (Access::Inspect, own, [401, 403, 200, 200, 200]),
            (Access::Inspect, foreign, [401, 404, 404, 404, 404]),
            (Access::Operate, own, [401, 403, 403, 200, 200]),
            (Access::Operate, foreign, [401, 404, 404, 404, 404]),
            (Access::Admin, None, [401, 403, 403, 403, 200]),
        ];
        for (access, camera, expected) in table {
            let judged =
                askers
                    .each_ref()
                    .map(|asker| match access.judge(asker.as_ref(), camera) {
                        Ok(()) => 200,
                        Err(error) => error.status.as_u16(),
                    });
            assert_eq!(judged, expected, "{access:?} {camera:?}");
        }
    }
}
