//! Puts the routes together and serves them on the program's listeners.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, OriginalUri};
use axum::http::{Method, StatusCode};
use axum::{Router, middleware};
use tokio::task::JoinSet;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use super::extract::MAX_BODY;
use super::guard::{self, Guard};
use super::policy::Access::{Admin, Known, Public, User};
use super::policy::{self, Routes};
use super::redirect::{self, Target};
use super::serving::{Secured, Serving};
use super::state::{HttpListeners, HttpParts, HttpState, MAX_SOCKETS};
use super::{
    accounts, admin, assets, ice_servers, live, openapi, operation, push, rest, signaling, trace,
    views, webhooks, whep,
};
use crate::tls::Https;

/// How long open requests and sockets may take to end.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(1500);

/// The running HTTP side. Ends with [`HttpServer::shutdown`], not by being dropped.
pub struct HttpServer {
    state: HttpState,
    tasks: JoinSet<()>,
}

impl HttpServer {
    /// Serves pages, API, WHEP and signaling, over TLS where there is a certificate.
    pub fn start(parts: HttpParts, listeners: HttpListeners) -> Self {
        let bounds = parts.bounds;
        let state = HttpState::new(parts);
        let serving = Serving::new(bounds, state.shutdown.clone());
        let mut tasks = JoinSet::new();
        let secured = state.https.clone().map(|https| Secured {
            plain: redirect_router(state.clone(), https.clone(), Target::SamePort),
            https,
        });
        let mut ports = vec![
            (listeners.http, router(state.clone()), secured.clone()),
            (
                listeners.signaling,
                signaling_router(state.clone()),
                secured,
            ),
        ];
        if let Some(https) = state.https.clone() {
            let router = redirect_router(state.clone(), https, Target::Public);
            ports.push((listeners.redirect, router, None));
        }
        for (listeners, router, secured) in ports {
            for listener in listeners {
                tasks.spawn(
                    serving
                        .clone()
                        .run(listener, router.clone(), secured.clone()),
                );
            }
        }
        tasks.spawn(whep::forget_gone_viewers(state.clone()));
        tasks.spawn(views::end_without_right(state.clone()));
        tasks.spawn(live::keep(state.clone()));
        Self { state, tasks }
    }

    /// Takes no more requests, tells open sockets, waits a moment for what is under way, and ends.
    pub async fn shutdown(mut self) {
        self.state.shutdown.cancel();
        let all_sockets = u32::try_from(MAX_SOCKETS).unwrap_or(u32::MAX);
        let ended = tokio::time::timeout(SHUTDOWN_GRACE, async {
            // All permits are back once the last socket is closed.
            let _closed = self.state.sockets.acquire_many(all_sockets).await;
            while self.tasks.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            tracing::warn!("some HTTP connections did not end in time and are cut");
            self.tasks.shutdown().await;
        }
    }
}

/// Every route with its description and who may use it.
pub(super) fn documented_routes() -> OpenApiRouter<HttpState> {
    let routes = Routes::of(openapi::base())
        .merge(rest::routes())
        .add(Public, routes!(rest::health))
        .nest(
            "/api/livestream",
            rest::routes().add(Public, routes!(rest::livestream_health)),
        )
        .add(User, routes!(rest::all_events))
        .add(Known, routes!(live::stream))
        .add(Admin, routes!(rest::drain))
        .add(Admin, routes!(rest::undrain))
        .merge(operation::routes())
        .merge(admin::routes())
        .add(Admin, routes!(webhooks::test))
        .merge(accounts::routes())
        .merge(push::routes())
        .add(Known, routes!(ice_servers::ice_servers))
        .merge(whep::routes())
        .add(Known, routes!(signaling::upgrade))
        .add(Public, routes!(openapi::document))
        .merge(assets::routes());
    routes.into_router()
}

/// Pages, API, WHEP, and signaling at `/ws`.
pub fn router(state: HttpState) -> Router {
    let (router, _document) = documented_routes().split_for_parts();
    guarded(router.fallback(no_such_route), state)
}

/// Signaling at any path, as existing pages expect it on its own port.
pub fn signaling_router(state: HttpState) -> Router {
    let upgrade = policy::only(Known, axum::routing::any(signaling::upgrade));
    guarded(Router::new().fallback(upgrade), state)
}

/// The way to HTTPS.
fn redirect_router(state: HttpState, https: Https, target: Target) -> Router {
    guarded(redirect::router(https, target), state)
}

fn guarded(router: Router<HttpState>, state: HttpState) -> Router {
    let guard = Arc::new(Guard::new(&state));
    router
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(guard, guard::pass))
        .layer(middleware::from_fn(trace::pass))
        .with_state(state)
}

async fn no_such_route(uri: OriginalUri) -> ApiError {
    let path: String = uri.path().chars().take(80).collect();
    ApiError::not_found(format!(
        "there is nothing at {path}; /openapi.json lists what there is"
    ))
}

async fn method_not_allowed(method: Method, uri: OriginalUri) -> ApiError {
    let path: String = uri.path().chars().take(80).collect();
    let message = format!("{path} does not take {method}; the Allow header says what it takes");
    ApiError::plain(StatusCode::METHOD_NOT_ALLOWED, message)
}
