//! The OpenAPI 3.1 document, made from the routes themselves.

use axum::Json;
use axum::response::IntoResponse;
use utoipa::OpenApi as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr};

use super::identity::LOGIN_COOKIE;
use super::policy::{BEARER, COOKIE, operations};
use super::server::documented_routes;

/// The part of the document that no route brings along.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Apiary",
        description = "Live video from cameras in a browser. Every address below /api/livestream is the same as the one without that prefix.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "streams", description = "Cameras, their streams and who watches them"),
        (name = "whep", description = "WebRTC-HTTP egress (draft-ietf-wish-whep), for any standard player"),
        (name = "signaling", description = "WebRTC signaling over a WebSocket; docs/api.md describes its messages"),
        (name = "accounts", description = "Logging in and out, users, API tokens, share links, the audit log"),
        (name = "notifications", description = "Devices that are notified by Web Push"),
        (name = "operation", description = "For those who run the program: whether it is alive and ready, and its figures"),
        (name = "pages", description = "What people open in a browser"),
    )
)]
struct Base;

pub(super) fn base() -> OpenApi {
    let mut document = Base::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("an API token, or what a share link holds"));
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    let cookie = ApiKeyValue::with_description(
        LOGIN_COOKIE,
        "of a login, with `__Host-` before its name over HTTPS; whoever acts with it must send `Origin`",
    );
    components.add_security_scheme(COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    document
}

/// The whole document.
pub fn document_of_routes() -> OpenApi {
    let mut document = documented_routes().into_openapi();
    // The router's way to write a parameter that spans slashes is none of OpenAPI's.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths
        .into_iter()
        .map(|(path, item)| (path.replace("{*", "{"), item))
        .collect();
    for item in document.paths.paths.values_mut() {
        operations(item).for_each(describe_camera_id);
    }
    for (path, item) in &mut document.paths.paths {
        if path.starts_with("/api/livestream/") {
            // The same handler serves two addresses; ids of operations must differ.
            operations(item).for_each(rename_nested);
        }
    }
    document
}

/// What a camera id looks like, said once for all routes.
fn describe_camera_id(operation: &mut Operation) {
    let parameters = operation.parameters.iter_mut().flatten();
    let own = parameters.filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    });
    for parameter in own.filter(|parameter| parameter.name == "camera_id") {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9A-Fa-f]{32}$"));
        parameter.schema = Some(schema.into());
    }
}

fn rename_nested(operation: &mut Operation) {
    if let Some(id) = &mut operation.operation_id {
        id.insert_str(0, "livestream_");
    }
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "pages", operation_id = "openapi",
    responses((status = 200, description = "the OpenAPI 3.1 document", content_type = "application/json")))]
pub(super) async fn document() -> impl IntoResponse {
    Json(document_of_routes())
}
