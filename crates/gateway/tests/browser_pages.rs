//! The pages in Chromium without any media: what they show of states and failures, and what hostile texts do to them.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod http_support;

use apiary_media::engine::EngineError;
use browser_support::chromium::{Browser, Page};
use browser_support::{and_then_clean_up, take_turn};
use http_support::{CAMERA, Gateway, OTHER_CAMERA};
use serde_json::json;

async fn with_pages<F: Future<Output = ()>>(test: impl FnOnce(Page) -> F) {
    let browser = Browser::start().await;
    let page = browser.page().await;
    and_then_clean_up(test(page.clone()), async { page.clone().close().await }).await;
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h06_markup_from_cameras_is_shown_and_never_run() {
    let _turn = take_turn();
    let gateway = Gateway::start().await;
    let hostile =
        "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>\"'>&lt;b&gt;";
    let hello = json!({"status": "connected", "ipAddress": hostile, "clientId": hostile,
        "device": {"softwareVersion": hostile, "hardwareVersion": hostile, "serialNumber": hostile}});
    gateway.camera_says(CAMERA, &hello.to_string()).await;
    gateway
        .engine
        .refuse_open(EngineError::Offer(hostile.to_owned()));
    with_pages(|page| async move {
        page.open_quiet_dashboard(&format!("http://{}", gateway.http)).await;
        page.until("the text", "document.querySelector('.facts').textContent.includes('onerror')").await;
        page.click(".start").await;
        page.until("the error", "document.querySelector('.problem').textContent.includes('onerror')").await;
        for path in [format!("/viewer?camera={}", "%3Cimg%20src=x%20onerror=window.hacked=1%3E"), format!("/viewer?camera={CAMERA}#<script>window.hacked=1</script>")] {
            page.open(&format!("http://{}{path}", gateway.http)).await;
            page.until("the page", "document.getElementById('name')").await;
            assert_eq!(page.run("return document.querySelectorAll('main img, script:not([src])').length + (window.hacked ?? 0)").await, 0);
        }
        gateway.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h05_inline_script_does_not_run_in_pages() {
    let _turn = take_turn();
    let gateway = Gateway::start().await;
    with_pages(|page| async move {
        page.open(&format!("http://{}/", gateway.http)).await;
        let script = "const element = document.createElement('script');
            element.textContent = 'window.inline = 1';
            document.body.append(element);
            const image = new Image();
            image.setAttribute('onerror', 'window.inline = 1');
            image.src = 'data:,';
            document.body.append(image);
            return window.inline ?? 0;";
        assert_eq!(page.run(script).await, 0);
        gateway.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_says_how_cameras_stand_and_what_went_wrong() {
    let _turn = take_turn();
    let gateway = Gateway::start().await;
    with_pages(|page| async move {
        page.open(&format!("http://{}/", gateway.http)).await;
        page.until("the empty page", "document.getElementById('empty')").await;
        gateway.camera_says_hello(CAMERA).await;
        gateway.camera_says(OTHER_CAMERA, r#"{"status":"disconnected"}"#).await;
        let pill = |camera: &str, text: &str| format!("document.querySelector('[data-camera=\"{camera}\"] .pill-text').textContent === '{text}'");
        page.until("the offline camera", &format!("document.querySelector('[data-camera=\"{OTHER_CAMERA}\"] .pill-text').textContent.startsWith('Offline since ')")).await;
        // Shown live at once, so started on demand; this engine's answer leads nowhere.
        page.until("the start", &pill(CAMERA, "Starting")).await;
        gateway.rtp_started(CAMERA).await;
        page.until("live", &pill(CAMERA, "Live")).await;
        page.click(&format!("[data-camera=\"{CAMERA}\"] .stop")).await;
        page.until("the stop", &pill(CAMERA, "Asleep")).await;
        gateway.engine.until("everybody left", |engine| engine.viewers().is_empty()).await;
        gateway.engine.refuse_open(EngineError::PortsExhausted { range: 5006..=5009 });
        page.click(&format!("[data-camera=\"{CAMERA}\"] .start")).await;
        let reason = format!("document.querySelector('[data-camera=\"{CAMERA}\"] .problem').textContent.includes('ingest.ports')");
        page.until("the reason", &reason).await;
        let notice = |text: &str| format!("document.getElementById('notice').textContent.includes('{text}')");
        gateway.engine.set_trouble(Some("no media server can take streams"));
        page.until("the trouble", &notice("Pictures cannot be shown: no media server can take streams.")).await;
        gateway.engine.set_trouble(None);
        page.until("its end", &format!("!{}", notice("Pictures"))).await;
        gateway.stop().await;
        page.until("the lost server", "document.getElementById('notice').textContent.includes('cannot be reached')").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewer_page_refuses_what_is_no_camera() {
    let _turn = take_turn();
    let gateway = Gateway::start().await;
    with_pages(|page| async move {
        for query in ["", "?camera=", "?camera=123", "?camera=../../etc/passwd"] {
            page.open(&format!("http://{}/viewer{query}", gateway.http)).await;
            page.until("the hint", "document.getElementById('veil-text').textContent.includes('32 hexadecimal digits')").await;
        }
        assert!(gateway.engine.viewers().is_empty());
        gateway.stop().await;
    })
    .await;
}

/// Follows a link that this page's script asks the API for.
async fn fetched(page: &Page, path: &str, field: &str) -> String {
    let script = format!(
        "fetch('{path}').then((answer) => answer.json()).then((answer) => window.fetched = answer.{field}); return 0;"
    );
    page.run(&script).await;
    let value = page.until("the answer", "window.fetched").await;
    value.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_household_sets_up_shares_a_camera_and_ends_that() {
    let _turn = take_turn();
    let gateway = Gateway::start_closed().await;
    gateway.camera_says_hello(CAMERA).await;
    gateway.camera_says_hello(OTHER_CAMERA).await;
    let secret = gateway.accounts.open_setup().unwrap();
    let server = format!("http://{}", gateway.http);
    let (owner, neighbour) = (Browser::start().await, Browser::start().await);
    let (home, guest) = (owner.page().await, neighbour.page().await);
    let test = async {
        home.open(&format!("{server}/viewer?camera={CAMERA}")).await;
        home.until("the login", "location.pathname === '/login' && document.getElementById('notice').textContent.includes('console')").await;
        home.open(&format!("{server}/setup#{}", secret.expose()))
            .await;
        home.until("no secret in the address", "location.hash === ''")
            .await;
        home.fill(&[
            ("#name", "Queen"),
            ("#password", "honey and wax"),
            ("#again", "honey and wax"),
        ])
        .await;
        home.run("localStorage.setItem('apiary.live-pictures', 'off')")
            .await;
        home.screenshot("setup").await;
        home.click("#submit").await;
        home.until("the assistant", "location.pathname === '/welcome'")
            .await;
        home.click("#later").await;
        home.until(
            "the dashboard",
            "document.querySelectorAll('.tile').length === 2",
        )
        .await;
        home.until(
            "one's name",
            "document.getElementById('account').textContent.trim() === 'queen'",
        )
        .await;

        home.click("#account").await;
        let hostile = "<img src=x onerror=window.hacked=1>";
        home.fill(&[("#share-label", hostile)]).await;
        home.click("#share-form .button").await;
        home.until(
            "the link",
            "document.querySelector('#shares .row-title').textContent.includes('onerror')",
        )
        .await;
        assert_eq!(
            home.run("return document.querySelectorAll('main img').length + (window.hacked ?? 0)")
                .await,
            0
        );
        home.fill(&[("#token-name", "automation")]).await;
        home.click("#token-form .button").await;
        home.until(
            "the token",
            "document.getElementById('token-secret').textContent.startsWith('apt_')",
        )
        .await;
        home.screenshot("account").await;
        home.click("a[href='/admin']").await;
        home.fill(&[("#user-name", "drone"), ("#user-password", "honey and wax")])
            .await;
        home.click("#user-form .button").await;
        home.until(
            "the user",
            "document.querySelectorAll('#users li').length === 2",
        )
        .await;
        home.click("#webhooks-test").await;
        home.until(
            "there are none",
            "document.getElementById('toast').textContent.includes('webhooks.urls')",
        )
        .await;
        let report = r#"{"receivers": [
            {"receiver": "https://one.example/…", "delivered": true, "status": 204, "error": null},
            {"receiver": "<img src=x onerror=window.hacked=1>", "delivered": false, "status": null, "error": "as programs read it",
             "cause": {"code": "receiver_unreachable", "values": {"why": "the door is shut"}}}
        ]}"#;
        let answer_once = format!(
            "const real = fetch; window.fetch = async () => {{ window.fetch = real; return new Response(`{report}`); }}"
        );
        home.run(&answer_once).await;
        home.click("#webhooks-test").await;
        home.until(
            "what came of it",
            "document.getElementById('webhooks').innerText.includes('took it (204)') \
             && document.getElementById('webhooks').innerText.includes('no connection (the door is shut)')",
        )
        .await;
        assert_eq!(
            home.run("return document.querySelectorAll('main img').length + (window.hacked ?? 0)")
                .await,
            0
        );
        home.screenshot("admin").await;
        let link = fetched(&home, "/api/shares", "shares[0].path").await;

        guest.open(&format!("{server}{link}")).await;
        guest
            .until(
                "the viewer page",
                "location.pathname === '/viewer' && document.body.dataset.role === 'viewer'",
            )
            .await;
        gateway
            .engine
            .until("the guest watches", |engine| engine.viewers().len() == 1)
            .await;
        guest
            .until("nothing to stop", "!document.getElementById('toggle')")
            .await;
        home.click("#account").await;
        home.click("#shares li .end").await;
        gateway
            .engine
            .until("the guest is gone", |engine| engine.viewers().is_empty())
            .await;
        guest
            .until(
                "why",
                "document.getElementById('veil-text').textContent.includes('right to watch')",
            )
            .await;
        guest.screenshot("share-ended").await;
        // They have no account, so that a login would lead nowhere.
        guest.click("#again").await;
        guest
            .until(
                "the same",
                "document.getElementById('veil-text').textContent.includes('share link has ended')",
            )
            .await;
        guest.open(&format!("{server}{link}")).await;
        guest
            .until(
                "an ended link",
                "document.getElementById('notice').textContent.includes('has ended')",
            )
            .await;

        home.click("#log-out").await;
        home.until("the login", "location.pathname === '/login'")
            .await;
        home.fill(&[("#name", "drone"), ("#password", "wrong password")])
            .await;
        home.click("#submit").await;
        home.until("the refusal", "document.getElementById('notice').textContent.includes('name or the password is wrong')").await;
        home.screenshot("login").await;
        home.fill(&[("#name", "drone"), ("#password", "honey and wax")])
            .await;
        home.click("#submit").await;
        home.until(
            "the dashboard",
            "document.querySelectorAll('.tile').length === 2",
        )
        .await;
        home.until(
            "nothing to start",
            "getComputedStyle(document.querySelector('.start')).display === 'none'",
        )
        .await;
        // Pages notice by themselves that they are logged out.
        home.run("fetch('/api/auth/logout', { method: 'POST' }); return 0;")
            .await;
        home.until("the login", "location.pathname === '/login'")
            .await;
    };
    let pages = [home.clone(), guest.clone()];
    and_then_clean_up(test, async {
        for page in pages {
            page.close().await;
        }
    })
    .await;
    owner.stop().await;
    neighbour.stop().await;
    gateway.stop().await;
}
