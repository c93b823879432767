use std::collections::BTreeSet;

use axum::body::to_bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::file::{Assets, Kind, Web, read};
use super::page::{self, Language, View, resolve};

/// The first visit of `/` may take no more than this on its way.
const FIRST_VISIT: usize = 150 * 1024;

fn text(path: &str) -> String {
    let file = read(path).unwrap_or_else(|| panic!("{path} does not exist"));
    String::from_utf8(file.into_owned()).unwrap()
}

/// Files of ours that are text; what is vendored is as it is.
fn own_texts() -> impl Iterator<Item = String> {
    Web::iter()
        .map(|path| path.into_owned())
        .filter(|path| Kind::of(path).shrinks() && !path.contains("/vendor/"))
}

fn with(name: header::HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::try_from(value).unwrap())])
}

async fn body(response: Response) -> Vec<u8> {
    assert_eq!(response.status(), StatusCode::OK);
    to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap()
        .to_vec()
}

/// Whatever stands in quotes and names one of our files.
fn named(path: &str) -> BTreeSet<String> {
    text(path)
        .split(['"', '\''])
        .filter_map(|part| resolve(path, part))
        .collect()
}

/// The page of a view as a browser with this language gets it.
fn made(view: View, language: Language) -> String {
    String::from_utf8(page::made(view, language).unwrap()).unwrap()
}

/// What a page loads by itself.
fn loaded_at_once(page: &str) -> BTreeSet<String> {
    page.split('"')
        .filter_map(|part| resolve(page::APP, part))
        // Icons are shown by the browser around the page, where it shows any.
        .filter(|path| !path.ends_with(".png"))
        .collect()
}

#[tokio::test]
async fn the_first_visit_is_small() {
    let assets = Assets::fixed();
    let encodings = with(header::ACCEPT_ENCODING, "gzip, deflate, br");
    for (view, language) in [
        (View::Wall, Language::English),
        (View::Camera, Language::German),
    ] {
        let mut octets = body(assets.page(view, &encodings).await).await.len();
        let all = loaded_at_once(&made(view, language));
        for path in &all {
            octets += body(assets.file(path, &encodings).await).await.len();
        }
        assert!(all.len() > 20, "only {all:?} were found");
        assert!(
            octets < FIRST_VISIT,
            "the first visit of {view:?} takes {octets} octets: {all:?}"
        );
    }
}

#[test]
fn pages_name_ahead_what_their_view_imports_and_nothing_else() {
    for view in View::ALL {
        let named = loaded_at_once(&made(view, Language::English));
        for path in named.iter().filter(|path| path.ends_with(".js")) {
            for import in static_imports(path) {
                assert!(
                    named.contains(&import),
                    "{view:?}: {path} loads {import} later"
                );
            }
        }
        let has = |module: &str| named.contains(&format!("assets/js/{module}"));
        assert!(has("main.js") && has("views/app.js"), "{view:?}");
        assert_eq!(has("views/wall.js"), view == View::Wall, "{view:?}");
        assert_eq!(has("parts/commands.js"), view == View::Camera, "{view:?}");
        assert_eq!(has("views/camera.js"), view == View::Camera, "{view:?}");
        assert_eq!(has("views/gate.js"), view == View::Gate, "{view:?}");
    }
}

/// What a module imports before it runs, found by another way than the page is made.
fn static_imports(path: &str) -> BTreeSet<String> {
    let text = text(path);
    let starts = [" from '", " from \"", "import '", "import \""];
    starts
        .iter()
        .flat_map(|start| text.split(start).skip(1))
        .filter_map(|rest| resolve(path, rest.split(['"', '\'']).next()?))
        .collect()
}

#[tokio::test]
async fn pages_name_the_catalogue_of_the_readers_language() {
    let assets = Assets::fixed();
    for (wanted, named, other) in [
        ("de-DE,de;q=0.9,en;q=0.8", "de.js", "en.js"),
        ("fr, DE;q=0.5", "de.js", "en.js"),
        ("en-GB,de;q=0.5", "en.js", "de.js"),
        ("fr", "en.js", "de.js"),
        ("é, *", "en.js", "de.js"),
        ("", "en.js", "de.js"),
    ] {
        let page = assets
            .page(View::Wall, &with(header::ACCEPT_LANGUAGE, wanted))
            .await;
        assert_eq!(
            page.headers()[header::VARY],
            "Accept-Encoding, Accept-Language"
        );
        let page = String::from_utf8(body(page).await).unwrap();
        assert!(
            page.contains(&format!("/js/i18n/{named}\"")),
            "{wanted}: {page}"
        );
        assert!(
            !page.contains(&format!("/js/i18n/{other}\"")),
            "{wanted}: {page}"
        );
    }
}

#[test]
fn strangers_get_no_bar() {
    let [wall, gate] = [View::Wall, View::Gate].map(|view| made(view, Language::English));
    assert!(wall.contains("<header class=\"bar\">"), "{wall}");
    assert!(
        !gate.contains("<header") && gate.contains("<apiary-app></apiary-app>"),
        "{gate}"
    );
    assert!(gate.ends_with("</html>\n"), "{gate}");
}

#[test]
fn every_file_that_pages_and_modules_name_exists() {
    let mut seen = 0;
    for path in own_texts().filter(|path| path.ends_with(".html") || path.ends_with(".js")) {
        for target in named(&path) {
            assert!(
                Web::get(&target).is_some(),
                "{path} names {target}, which does not exist"
            );
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} references were found");
}

#[test]
fn h05_pages_hold_no_inline_script_and_nothing_foreign() {
    for path in own_texts() {
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
    for path in own_texts().filter(|path| path.ends_with(".js")) {
        let text = text(&path);
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "unsafeHTML",
        ] {
            assert!(!text.contains(sink), "{path} uses {sink}");
        }
    }
}

#[tokio::test]
async fn files_have_types_that_browsers_run() {
    let script = Web::iter().find(|path| path.ends_with(".js")).unwrap();
    let response = Assets::fixed().file(&script, &HeaderMap::new()).await;
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/javascript; charset=utf-8"
    );
    for path in Web::iter() {
        assert_ne!(Kind::of(&path), Kind::Other, "{path}");
    }
}

#[tokio::test]
async fn what_has_the_digest_in_its_address_is_kept_for_ever() {
    let assets = Assets::fixed();
    let page = body(assets.page(View::Wall, &HeaderMap::new()).await).await;
    let page = String::from_utf8(page).unwrap();
    let addresses: Vec<&str> = page
        .split('"')
        .filter_map(|part| part.strip_prefix("/assets/"))
        .collect();
    assert!(addresses.len() > 1);
    let keep = |response: &Response| response.headers()[header::CACHE_CONTROL].clone();
    for address in addresses {
        let address = address.split('#').next().unwrap();
        let (digest, path) = address.split_once('/').unwrap();
        let response = assets.asset(address, &HeaderMap::new()).await;
        assert_eq!(response.status(), StatusCode::OK, "{address}");
        assert_eq!(keep(&response), "public, max-age=31536000, immutable");
        // Without it, and with that of another version, it is there too.
        for other in [
            path.to_owned(),
            format!("{}/{path}", "0".repeat(digest.len())),
        ] {
            let response = assets.asset(&other, &HeaderMap::new()).await;
            assert_eq!(response.status(), StatusCode::OK, "{other}");
            assert_eq!(keep(&response), "no-cache", "{other}");
        }
        // Where files may change, no address is for ever.
        let changing = Assets::changing().asset(address, &HeaderMap::new()).await;
        assert_eq!(keep(&changing), "no-cache");
    }
    let page = assets.page(View::Wall, &HeaderMap::new()).await;
    assert_eq!(keep(&page), "no-cache");
    let changing = Assets::changing();
    let plain = body(changing.page(View::Wall, &HeaderMap::new()).await).await;
    assert_eq!(
        String::from_utf8(plain).unwrap(),
        made(View::Wall, Language::English)
    );
}

#[tokio::test]
async fn a_copy_that_still_holds_is_not_sent_again_however_it_is_encoded() {
    let assets = Assets::fixed();
    let mut tags = BTreeSet::new();
    for encodings in ["", "gzip", "br"] {
        let headers = with(header::ACCEPT_ENCODING, encodings);
        let first = assets.page(View::Wall, &headers).await;
        assert_eq!(
            first.headers()[header::VARY],
            "Accept-Encoding, Accept-Language"
        );
        let encoding = first.headers().get(header::CONTENT_ENCODING);
        assert_eq!(
            encoding.map_or("", |found| found.to_str().unwrap()),
            encodings
        );
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        for (given, status) in [
            (tag.clone(), StatusCode::NOT_MODIFIED),
            (format!("\"other\", W/{tag}"), StatusCode::NOT_MODIFIED),
            ("\"other\"".to_owned(), StatusCode::OK),
        ] {
            let headers = with(header::IF_NONE_MATCH, &given);
            let answer = assets.page(View::Wall, &headers).await;
            assert_eq!(answer.status(), status, "{given}");
        }
        assert!(tags.insert(tag), "each encoding has a tag of its own");
    }
}

#[tokio::test]
async fn h11_paths_never_leave_the_embedded_folder() {
    let assets = Assets::fixed();
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
        for response in [
            assets.file(path, &HeaderMap::new()).await,
            assets.asset(path, &HeaderMap::new()).await,
        ] {
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path:?}");
        }
    }
    let digest = "0".repeat(16);
    let outside = format!("{digest}/../index.html");
    let outside = assets.asset(&outside, &HeaderMap::new()).await;
    assert_eq!(outside.status(), StatusCode::NOT_FOUND);
}
