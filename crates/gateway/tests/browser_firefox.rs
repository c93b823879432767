//! The web app in Debian's Firefox, which plays no H.264: everything but the picture, and words in its place.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod http_support;
mod web_support;

use apiary::auth::{Actor, NewUser, Principal};
use apiary::secret::Secret;
use apiary_store::{CameraScope, Role};
use browser_support::chromium::Device;
use browser_support::firefox::Firefox;
use browser_support::{and_then_clean_up, take_turn};
use http_support::{CAMERA, Gateway, OTHER_CAMERA};
use serde_json::{Value, json};

const PASSWORD: &str = "honey and wax";

/// Two cameras and an administrator.
async fn house() -> Gateway {
    let gateway = Gateway::start_closed().await;
    gateway.camera_says_hello(CAMERA).await;
    gateway.camera_says_hello(OTHER_CAMERA).await;
    let queen = NewUser {
        name: "queen".to_owned(),
        password: Secret::new(PASSWORD),
        role: Role::Admin,
        cameras: CameraScope::All,
    };
    let (principal, ip) = (Principal::anybody(), None);
    let actor = Actor {
        principal: &principal,
        ip,
    };
    gateway.accounts.create_user(actor, queen).await.unwrap();
    gateway
}

/// What axe-core finds against WCAG 2.2 AA in the page as it stands.
async fn violations(page: &Firefox) -> Vec<Value> {
    let axe = web_support::packages().join("node_modules/axe-core/axe.min.js");
    page.load(&std::fs::read_to_string(axe).unwrap()).await;
    let script = "const runOnly = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
        const { violations, passes } = await axe.run(document, { runOnly });
        return {
          rules: passes.length,
          violations: violations.map(({ id, nodes }) => ({ id, html: nodes[0].html, why: nodes[0].failureSummary })),
        };";
    let found = page.run(script).await;
    let looked = found["rules"].as_u64().unwrap();
    assert!(looked > 10, "axe did not look: {found}");
    found["violations"].as_array().unwrap().clone()
}

async fn log_in(page: &Firefox) {
    page.until("the login", "document.getElementById('submit')")
        .await;
    let script = format!(
        "document.getElementById('name').value = 'queen';
         document.getElementById('password').value = '{PASSWORD}';
         document.getElementById('submit').click();"
    );
    page.run(&script).await;
}

async fn looks_through_the_app(device: Device, without_h264: &str) {
    let _turn = take_turn();
    let gateway = house().await;
    let server = format!("http://{}", gateway.http);
    let page = Firefox::start(device).await;
    let test = async {
        page.open(&format!("{server}/")).await;
        log_in(&page).await;
        page.until(
            "the wall",
            "document.querySelectorAll('.tile').length === 2",
        )
        .await;
        let language = if device.german { "de" } else { "en" };
        assert_eq!(
            page.run("return document.documentElement.lang").await,
            language
        );
        // Nothing is under way when the page is left, or Firefox has something to say of it.
        page.until(
            "why there is no picture",
            "[...document.querySelectorAll('.problem')].filter((problem) => problem.textContent.includes('H.264')).length === 2",
        )
        .await;
        gateway
            .camera_says(OTHER_CAMERA, r#"{"status":"disconnected"}"#)
            .await;
        let away = format!(
            "document.querySelector('[data-camera=\"{OTHER_CAMERA}\"] .pill-text').textContent.startsWith('Offline s')"
        );
        page.until("news", &away).await;
        let views = [
            (
                "wall",
                "/".to_owned(),
                format!(
                    "document.querySelector('[data-camera=\"{CAMERA}\"] .problem').textContent.includes('H.264')"
                ),
            ),
            (
                "camera",
                format!("/viewer?camera={CAMERA}"),
                format!(
                    "document.getElementById('veil-text').textContent.includes('{without_h264}') && document.getElementById('again')"
                ),
            ),
            (
                "events",
                "/events".to_owned(),
                "document.querySelectorAll('#events li').length >= 2".to_owned(),
            ),
            (
                "account",
                "/account".to_owned(),
                "document.getElementById('language')".to_owned(),
            ),
            (
                "admin",
                "/admin".to_owned(),
                "document.querySelector('#system dl')".to_owned(),
            ),
        ];
        for (name, path, there) in views {
            page.open(&format!("{server}{path}")).await;
            page.until(name, &format!("Boolean({there})")).await;
            page.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
                .await;
            page.screenshot(&format!("firefox-{name}-{}", device.name()))
                .await;
            let found = violations(&page).await;
            assert!(found.is_empty(), "{name} on {device:?}: {}", json!(found));
        }
        assert_eq!(page.console().await, Vec::<String>::new());
    };
    and_then_clean_up(test, async {}).await;
    page.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_on_a_desk_shows_all_but_the_picture_and_says_what_would() {
    looks_through_the_app(Device::default(), "OpenH264 Video Codec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_on_a_phone_in_the_dark_does_so_in_german() {
    let device = Device {
        phone: true,
        dark: true,
        german: true,
    };
    looks_through_the_app(device, "OpenH264-Videocodec").await;
}
