//! The API's description: golden, complete, and true of the router.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::collections::BTreeMap;
use std::path::Path;

use apiary::http::openapi::document_of_routes;
use serde_json::Value;

mod http_support;
use http_support::{CAMERA, Gateway};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[test]
fn the_document_is_the_one_in_docs() {
    let document = serde_json::to_string_pretty(&document_of_routes()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &document).unwrap();
    }
    let golden = std::fs::read_to_string(Path::new(GOLDEN)).unwrap_or_default();
    assert!(
        golden == document,
        "docs/openapi.json is not what the code says. If the change of the API is meant, run\n\
         UPDATE_GOLDEN=1 cargo test -p apiary --test http_openapi\n\
         and commit the file"
    );
}

/// The whole public surface. A route that is added or lost shows here, and is described in docs/api.md.
const SURFACE: &[(&str, &str)] = &[
    ("/", "GET"),
    ("/account", "GET"),
    ("/admin", "GET"),
    ("/api/audit", "GET"),
    ("/api/auth/login", "POST"),
    ("/api/auth/logout", "POST"),
    ("/api/auth/me", "GET"),
    ("/api/auth/oidc/callback", "GET"),
    ("/api/auth/oidc/login", "GET"),
    ("/api/auth/password", "POST"),
    ("/api/auth/sessions", "GET"),
    ("/api/auth/sessions/{session_id}", "DELETE"),
    ("/api/auth/setup", "POST"),
    ("/api/auth/share", "POST"),
    ("/api/ice-servers", "GET"),
    ("/api/push", "GET"),
    ("/api/push/subscriptions", "POST"),
    ("/api/push/subscriptions/{subscription_id}", "DELETE,PATCH"),
    ("/api/push/subscriptions/{subscription_id}/test", "POST"),
    ("/api/shares", "GET,POST"),
    ("/api/shares/{share_id}", "DELETE"),
    ("/api/tokens", "GET,POST"),
    ("/api/tokens/{token_id}", "DELETE"),
    ("/api/users", "GET,POST"),
    ("/api/users/{user_id}", "DELETE,PATCH"),
    ("/api/webhooks/test", "POST"),
    ("/api/config", "GET"),
    ("/api/events", "GET"),
    ("/api/events/stream", "GET"),
    ("/api/log", "GET"),
    ("/api/reload", "POST"),
    ("/api/setup", "GET"),
    ("/api/system", "GET"),
    ("/assets/{file}", "GET"),
    ("/cameras", "GET"),
    ("/cameras/{camera_id}", "GET,PATCH"),
    ("/cameras/{camera_id}/events", "GET"),
    ("/cameras/{camera_id}/mode", "PUT"),
    ("/cameras/{camera_id}/poster.mp4", "GET"),
    ("/cameras/{camera_id}/reboot", "POST"),
    ("/cameras/{camera_id}/settings", "PUT"),
    ("/cameras/{camera_id}/sound", "DELETE,POST"),
    ("/events", "GET"),
    ("/health", "GET"),
    ("/health/live", "GET"),
    ("/health/ready", "GET"),
    ("/livestream/viewer", "GET"),
    ("/login", "GET"),
    ("/manifest.webmanifest", "GET"),
    ("/media-servers/drain", "POST"),
    ("/media-servers/undrain", "POST"),
    ("/metrics", "GET"),
    ("/offline.html", "GET"),
    ("/openapi.json", "GET"),
    ("/setup", "GET"),
    ("/welcome", "GET"),
    ("/share", "GET"),
    ("/streams", "GET"),
    ("/streams/{camera_id}", "GET"),
    ("/streams/{camera_id}/start", "POST"),
    ("/streams/{camera_id}/stats", "GET"),
    ("/streams/{camera_id}/stop", "POST"),
    ("/sw.js", "GET"),
    ("/viewer", "GET"),
    ("/viewers", "GET"),
    ("/viewers/{camera_id}", "GET"),
    ("/whep/{camera_id}", "GET,OPTIONS,POST"),
    ("/whep/{camera_id}/{session}", "DELETE,GET,OPTIONS,PATCH"),
    ("/ws", "GET"),
];
/// Those that are also below `/api/livestream`.
const PROXIED: [&str; 16] = [
    "/cameras",
    "/cameras/{camera_id}",
    "/cameras/{camera_id}/events",
    "/cameras/{camera_id}/mode",
    "/cameras/{camera_id}/poster.mp4",
    "/cameras/{camera_id}/reboot",
    "/cameras/{camera_id}/settings",
    "/cameras/{camera_id}/sound",
    "/health",
    "/streams",
    "/streams/{camera_id}",
    "/streams/{camera_id}/start",
    "/streams/{camera_id}/stats",
    "/streams/{camera_id}/stop",
    "/viewers",
    "/viewers/{camera_id}",
];

fn surface() -> BTreeMap<String, String> {
    let proxied = SURFACE
        .iter()
        .filter(|(path, _)| PROXIED.contains(path))
        .map(|(path, methods)| (format!("/api/livestream{path}"), (*methods).to_owned()));
    let direct = SURFACE
        .iter()
        .map(|(path, methods)| ((*path).to_owned(), (*methods).to_owned()));
    direct.chain(proxied).collect()
}

#[test]
fn the_document_describes_the_whole_surface_and_nothing_else() {
    let document = serde_json::to_value(document_of_routes()).unwrap();
    let described: BTreeMap<String, String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| {
            let mut methods: Vec<String> = item
                .as_object()
                .unwrap()
                .keys()
                .map(|method| method.to_uppercase())
                .collect();
            methods.sort();
            (path.clone(), methods.join(","))
        })
        .collect();
    assert_eq!(described, surface());
}

#[test]
fn operations_are_named_once_and_answers_are_described() {
    let document = serde_json::to_value(document_of_routes()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut names = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            let name = operation["operationId"]
                .as_str()
                .unwrap_or_else(|| panic!("{place} has no name"));
            assert!(names.insert(name.to_owned()), "{place}: {name} is taken");
            assert!(
                !operation["responses"].as_object().unwrap().is_empty(),
                "{place} answers nothing"
            );
            let wanted = path.matches('{').count();
            let in_path = |parameter: &&Value| parameter["in"] == "path";
            let described = operation["parameters"]
                .as_array()
                .map_or(0, |all| all.iter().filter(in_path).count());
            assert_eq!(described, wanted, "{place}: parameters of the path");
        }
    }
}

/// A 405 names what the router takes at a path; that must be what the document says.
#[tokio::test]
async fn the_router_takes_exactly_the_methods_of_the_document() {
    let gateway = Gateway::start().await;
    for (path, methods) in surface() {
        let url = path
            .replace("{camera_id}", CAMERA)
            .replace("{file}", "app.css")
            .replace("{session}", "x");
        let response = gateway.request("TRACE", &url).send().await.unwrap();
        assert_eq!(response.status(), 405, "{path}");
        let mut allowed: Vec<&str> = response.headers()["allow"]
            .to_str()
            .unwrap()
            .split(',')
            .collect();
        allowed.retain(|method| *method != "HEAD");
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), methods, "{path}");
    }
    gateway.stop().await;
}
