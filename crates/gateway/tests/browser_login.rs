//! Logging in at an OpenID provider in Chromium: from the button over the provider's page, which is of another site, to the
//! cameras.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod http_support;
mod oidc_support;

use apiary::http::Bounds;
use browser_support::chromium::{Browser, Page};
use browser_support::{and_then_clean_up, take_turn};
use http_support::{CAMERA, Gateway};
use oidc_support::Provider;
use serde_json::{Value, json};

async fn log_in(page: &Page, server: &str) {
    page.open(&format!("{server}/")).await;
    page.until(
        "the button",
        "document.getElementById('provider').textContent === 'Log in with Hive & Home'",
    )
    .await;
    page.click("#provider").await;
    page.until("the provider", "document.title === 'Provider'")
        .await;
    page.click("#yes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_logs_in_at_a_provider_and_sees_the_cameras() {
    let _turn = take_turn();
    let provider = Provider::start().await;
    let settings = provider.settings();
    let bounds = Bounds::new(1024, 1024);
    let gateway = Gateway::start_by(bounds, None, |config| {
        config.auth.enabled = true;
        config.oidc = Some(settings);
    })
    .await;
    gateway.camera_says_hello(CAMERA).await;
    let server = format!("http://{}", gateway.http);
    let browser = Browser::start().await;
    let page = browser.page().await;
    let test = async {
        provider.person(json!({"sub": "1", "preferred_username": "<b>Maya</b>"}));
        log_in(&page, &server).await;
        let told = "document.getElementById('notice').textContent.includes('has no role here')";
        page.until("the refusal", told).await;
        let groups = json!({"sub": "1", "preferred_username": "<b>Maya</b>", "groups": ["bees"]});
        provider.person(groups);
        log_in(&page, &server).await;
        let camera = format!(
            "location.pathname === '/' && document.querySelector('[data-camera=\"{CAMERA}\"]')"
        );
        page.until(
            "the cameras",
            &format!("({camera}) !== null && ({camera}) !== false"),
        )
        .await;
        page.open(&format!("{server}/account")).await;
        page.until("the account", "document.getElementById('token-form')")
            .await;
        let form = "return document.getElementById('password-form')";
        assert_eq!(page.run(form).await, Value::Null, "no password is here");
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    gateway.stop().await;
}
