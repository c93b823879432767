//! The pages and their files, embedded into the program.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use utoipa_axum::routes;

use super::error::ApiError;
use super::extract::PathParameters;
use super::policy::Access::Public;
use super::policy::Routes;

#[derive(RustEmbed)]
#[folder = "../../web"]
struct Web;

/// Browsers keep files but ask each time whether they still hold, so that an update shows at once.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The pages. Whoever comes gets them: who may see what, their requests find out.
pub(super) fn routes() -> Routes {
    Routes::new()
        .add(Public, routes!(dashboard))
        .add(Public, routes!(viewer))
        .add(Public, routes!(livestream_viewer))
        .add(Public, routes!(login))
        .add(Public, routes!(setup))
        .add(Public, routes!(share))
        .add(Public, routes!(account))
        .add(Public, routes!(asset))
}

/// The dashboard.
#[utoipa::path(get, path = "/", tag = "pages", operation_id = "dashboard",
    responses((status = 200, description = "the dashboard", content_type = "text/html")))]
pub(super) async fn dashboard(headers: HeaderMap) -> Response {
    serve("index.html", &headers)
}

/// One camera, large.
#[utoipa::path(get, path = "/viewer", tag = "pages", operation_id = "viewer_page",
    params(("camera" = Option<String>, Query, description = "camera id, 32 hexadecimal digits")),
    responses((status = 200, description = "the viewer page", content_type = "text/html")))]
pub(super) async fn viewer(headers: HeaderMap) -> Response {
    serve("viewer.html", &headers)
}

/// The same under the address that existing pages link to.
#[utoipa::path(get, path = "/livestream/viewer", tag = "pages", operation_id = "livestream_viewer_page",
    params(("camera" = Option<String>, Query, description = "camera id, 32 hexadecimal digits")),
    responses((status = 200, description = "the viewer page", content_type = "text/html")))]
pub(super) async fn livestream_viewer(headers: HeaderMap) -> Response {
    serve("viewer.html", &headers)
}

/// Where people log in.
#[utoipa::path(get, path = "/login", tag = "pages", operation_id = "login_page",
    responses((status = 200, description = "the page to log in", content_type = "text/html")))]
pub(super) async fn login(headers: HeaderMap) -> Response {
    serve("login.html", &headers)
}

/// Where the first administrator is made; the console of the program shows the whole link.
#[utoipa::path(get, path = "/setup", tag = "pages", operation_id = "setup_page",
    responses((status = 200, description = "the set-up page", content_type = "text/html")))]
pub(super) async fn setup(headers: HeaderMap) -> Response {
    serve("setup.html", &headers)
}

/// Where share links lead; what they hold stands behind `#` and stays in the browser.
#[utoipa::path(get, path = "/share", tag = "pages", operation_id = "share_page",
    responses((status = 200, description = "the page that opens a share link", content_type = "text/html")))]
pub(super) async fn share(headers: HeaderMap) -> Response {
    serve("share.html", &headers)
}

/// One's account: password, logins, share links, tokens; for administrators the users too.
#[utoipa::path(get, path = "/account", tag = "pages", operation_id = "account_page",
    responses((status = 200, description = "the account page", content_type = "text/html")))]
pub(super) async fn account(headers: HeaderMap) -> Response {
    serve("account.html", &headers)
}

/// A file that the pages load.
#[utoipa::path(get, path = "/assets/{*file}", tag = "pages", operation_id = "asset",
    params(("file" = String, Path, description = "path below web/assets")),
    responses(
        (status = 200, description = "the file"),
        (status = 304, description = "the copy named by If-None-Match still holds"),
        (status = 404, description = "no such file", body = super::error::ErrorBody),
    ))]
pub(super) async fn asset(path: PathParameters, headers: HeaderMap) -> Response {
    serve(&format!("assets/{}", path.get("file")), &headers)
}

fn serve(path: &str, headers: &HeaderMap) -> Response {
    // Unclean paths are names of no file here; the debug build reads the disk, where they would be more.
    let clean = path
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.'));
    let file = if clean { Web::get(path) } else { None };
    let Some(file) = file else {
        return ApiError::not_found(format!("there is no file {path:?}")).into_response();
    };
    let tag = entity_tag(&file);
    let holds = headers.get_all(header::IF_NONE_MATCH).iter().any(|given| {
        given
            .as_bytes()
            .split(|&b| b == b',')
            .any(|one| one.trim_ascii() == tag.as_bytes())
    });
    let fixed = [(header::ETAG, tag), (header::CACHE_CONTROL, REVALIDATE)];
    if holds {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    let content_type = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static(content_type(path)),
    )];
    (fixed, content_type, file.data).into_response()
}

fn entity_tag(file: &EmbeddedFile) -> HeaderValue {
    let digest = file.metadata.sha256_hash();
    let hex: String = digest
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    HeaderValue::try_from(format!("\"{hex}\""))
        .expect("hexadecimal digits and quotes stand in any header")
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some(_) | None => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> String {
        String::from_utf8(Web::get(path).unwrap().data.into_owned()).unwrap()
    }

    /// Every quoted address in the file that names one of our files.
    fn referenced(page: &str) -> Vec<String> {
        page.split(['"', '\''])
            .filter(|part| part.starts_with("/assets/") || part.starts_with("./"))
            .map(|part| part.split('#').next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn every_file_that_pages_and_modules_name_exists() {
        let mut seen = 0;
        for path in Web::iter().filter(|path| path.ends_with(".html") || path.ends_with(".js")) {
            for reference in referenced(&text(&path)) {
                let target = match reference.strip_prefix("./") {
                    Some(module) => format!("assets/js/{module}"),
                    None => reference.trim_start_matches('/').to_owned(),
                };
                assert!(
                    Web::get(&target).is_some(),
                    "{path} names {reference}, which does not exist"
                );
                seen += 1;
            }
        }
        assert!(seen > 10, "only {seen} references were found");
    }

    #[test]
    fn h05_pages_hold_no_inline_script_and_nothing_foreign() {
        for path in Web::iter() {
            let text = text(&path);
            for (number, line) in text.lines().enumerate() {
                let place = format!("{path}:{}: {line}", number + 1);
                assert!(
                    !line.contains("<script") || line.contains("src=\"/assets/"),
                    "inline script: {place}"
                );
                assert!(
                    !line.contains(" style=\"") && !line.contains("javascript:"),
                    "{place}"
                );
                assert!(
                    !line.contains(" onclick=") && !line.contains(" onload="),
                    "{place}"
                );
                let foreign = line.contains("https://") || line.contains("http://");
                assert!(
                    !foreign || line.contains("http://www.w3.org/2000/svg"),
                    "foreign address: {place}"
                );
            }
        }
    }

    #[test]
    fn h06_modules_never_set_markup() {
        for path in Web::iter().filter(|path| path.ends_with(".js")) {
            let text = text(&path);
            for sink in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
            ] {
                assert!(!text.contains(sink), "{path} uses {sink}");
            }
        }
    }

    #[test]
    fn files_have_types_that_browsers_run() {
        let response = serve("assets/js/player.js", &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/javascript; charset=utf-8"
        );
        for path in Web::iter() {
            assert_ne!(content_type(&path), "application/octet-stream", "{path}");
        }
    }

    #[test]
    fn a_copy_that_still_holds_is_not_sent_again() {
        let first = serve("index.html", &HeaderMap::new());
        let tag = first.headers()[header::ETAG].clone();
        let ask = |given: HeaderValue| {
            serve(
                "index.html",
                &HeaderMap::from_iter([(header::IF_NONE_MATCH, given)]),
            )
        };
        assert_eq!(ask(tag.clone()).status(), StatusCode::NOT_MODIFIED);
        let listed = format!("\"other\", {}", tag.to_str().unwrap());
        assert_eq!(
            ask(listed.parse().unwrap()).status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(
            ask(HeaderValue::from_static("\"other\"")).status(),
            StatusCode::OK
        );
    }

    #[test]
    fn h11_paths_never_leave_the_embedded_folder() {
        for path in [
            "../Cargo.toml",
            "assets/../index.html",
            "assets//etc/passwd",
            "/etc/passwd",
            "assets/",
            "",
            "assets/.",
            "assets/nothing.js",
        ] {
            assert_eq!(
                serve(path, &HeaderMap::new()).status(),
                StatusCode::NOT_FOUND,
                "{path:?}"
            );
        }
    }
}
