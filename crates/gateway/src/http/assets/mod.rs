//! The pages and their files, embedded into the program.
//!
//! Pages name files as `/assets/…`. They are sent with `/assets/{digest}/…` in its place, one digest over all that there is: what has
//! such an address never changes, so browsers keep it and do not ask again, and an update shows at once since the page names other
//! addresses. Modules import each other relatively, so the digest carries on. Without a digest, files are asked for anew each time.

mod encoding;
mod file;
mod page;
#[cfg(test)]
mod tests;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use utoipa_axum::routes;

use super::error::{ApiError, ErrorBody};
use super::extract::PathParameters;
use super::policy::Access::Public;
use super::policy::Routes;
use super::state::HttpState;

use page::View;

pub(super) use file::Assets;

/// The pages. Whoever comes gets them: who may see what, their requests find out.
pub(super) fn routes() -> Routes {
    Routes::new()
        .add(Public, routes!(dashboard))
        .add(Public, routes!(viewer))
        .add(Public, routes!(livestream_viewer))
        .add(Public, routes!(events))
        .add(Public, routes!(admin))
        .add(Public, routes!(login))
        .add(Public, routes!(setup))
        .add(Public, routes!(welcome))
        .add(Public, routes!(share))
        .add(Public, routes!(account))
        .add(Public, routes!(offline))
        .add(Public, routes!(manifest))
        .add(Public, routes!(service_worker))
        .add(Public, routes!(asset))
}

/// All cameras.
#[utoipa::path(get, path = "/", tag = "pages", operation_id = "dashboard",
    responses((status = 200, description = "the dashboard", content_type = "text/html")))]
pub(super) async fn dashboard(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.page(View::Wall, &headers).await
}

/// One camera, large.
#[utoipa::path(get, path = "/viewer", tag = "pages", operation_id = "viewer_page",
    params(("camera" = Option<String>, Query, description = "camera id, 32 hexadecimal digits")),
    responses((status = 200, description = "the viewer page", content_type = "text/html")))]
pub(super) async fn viewer(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.page(View::Camera, &headers).await
}

/// The same under the address that existing pages link to.
#[utoipa::path(get, path = "/livestream/viewer", tag = "pages", operation_id = "livestream_viewer_page",
    params(("camera" = Option<String>, Query, description = "camera id, 32 hexadecimal digits")),
    responses((status = 200, description = "the viewer page", content_type = "text/html")))]
pub(super) async fn livestream_viewer(
    State(http): State<HttpState>,
    headers: HeaderMap,
) -> Response {
    http.assets.page(View::Camera, &headers).await
}

/// What happened.
#[utoipa::path(get, path = "/events", tag = "pages", operation_id = "events_page",
    responses((status = 200, description = "the page of events", content_type = "text/html")))]
pub(super) async fn events(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.page(View::Events, &headers).await
}

/// For those who run the program.
#[utoipa::path(get, path = "/admin", tag = "pages", operation_id = "admin_page",
    responses((status = 200, description = "the page for administrators", content_type = "text/html")))]
pub(super) async fn admin(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.page(View::Admin, &headers).await
}

/// Where people log in.
#[utoipa::path(get, path = "/login", tag = "pages", operation_id = "login_page",
    responses((status = 200, description = "the page to log in", content_type = "text/html")))]
pub(super) async fn login(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.page(View::Gate, &headers).await
}

/// Where the first administrator is made; the console of the program shows the whole link.
#[utoipa::path(get, path = "/setup", tag = "pages", operation_id = "setup_page",
    responses((status = 200, description = "the set-up page", content_type = "text/html")))]
pub(super) async fn setup(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.page(View::Gate, &headers).await
}

/// The set-up assistant, for administrators: from the addresses to a first camera's picture.
#[utoipa::path(get, path = "/welcome", tag = "pages", operation_id = "welcome_page",
    responses((status = 200, description = "the set-up assistant", content_type = "text/html")))]
pub(super) async fn welcome(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.page(View::Welcome, &headers).await
}

/// Where share links lead; what they hold stands behind `#` and stays in the browser.
#[utoipa::path(get, path = "/share", tag = "pages", operation_id = "share_page",
    responses((status = 200, description = "the page that opens a share link", content_type = "text/html")))]
pub(super) async fn share(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.page(View::Gate, &headers).await
}

/// One's account: password, logins, share links, tokens; for administrators the users too.
#[utoipa::path(get, path = "/account", tag = "pages", operation_id = "account_page",
    responses((status = 200, description = "the account page", content_type = "text/html")))]
pub(super) async fn account(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.page(View::Account, &headers).await
}

/// What an installed app shows while the server cannot be reached.
#[utoipa::path(get, path = "/offline.html", tag = "pages", operation_id = "offline_page",
    responses(
        (status = 200, description = "the page", content_type = "text/html"),
        (status = 404, description = "no such file", body = ErrorBody),
    ))]
pub(super) async fn offline(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    // As it is: the service worker keeps the files that it names under these addresses.
    http.assets.file("offline.html", &headers).await
}

/// What browsers need to know to install the pages as an app.
#[utoipa::path(get, path = "/manifest.webmanifest", tag = "pages", operation_id = "manifest",
    responses(
        (status = 200, description = "the manifest", content_type = "application/manifest+json"),
        (status = 404, description = "no such file", body = ErrorBody),
    ))]
pub(super) async fn manifest(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.file("manifest.webmanifest", &headers).await
}

/// What browsers run for all pages; it must be at the top to be responsible for all of them.
#[utoipa::path(get, path = "/sw.js", tag = "pages", operation_id = "service_worker",
    responses(
        (status = 200, description = "the service worker", content_type = "text/javascript"),
        (status = 404, description = "no such file", body = ErrorBody),
    ))]
pub(super) async fn service_worker(State(http): State<HttpState>, headers: HeaderMap) -> Response {
    http.assets.file("sw.js", &headers).await
}

/// A file that the pages load, with or without the digest over all files before its path.
#[utoipa::path(get, path = "/assets/{*file}", tag = "pages", operation_id = "asset",
    params(("file" = String, Path, description = "path below web/assets")),
    responses(
        (status = 200, description = "the file"),
        (status = 304, description = "the copy named by If-None-Match still holds"),
        (status = 404, description = "no such file", body = ErrorBody),
    ))]
pub(super) async fn asset(
    State(http): State<HttpState>,
    path: PathParameters,
    headers: HeaderMap,
) -> Response {
    http.assets.asset(path.get("file"), &headers).await
}

fn no_file(path: &str) -> Response {
    ApiError::not_found(format!("there is no file {path:?}")).into_response()
}
