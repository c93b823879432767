//! Bad moments of the pages in Chromium, as far as no picture is needed for them: who looks reads what is wrong and what to do, and
//! what can mend itself does. (Those of the picture are in `browser_picture.rs`.)

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod http_support;

use apiary::auth::{Actor, NewUser, Principal, UserChange};
use apiary::secret::Secret;
use apiary_store::{CameraScope, Role};
use browser_support::chromium::{Browser, Page};
use browser_support::{and_then_clean_up, take_turn};
use http_support::{CAMERA, Gateway, OTHER_CAMERA, id};

const PASSWORD: &str = "honey and wax";
/// A camera that nobody ever heard of.
const NO_CAMERA: &str = "00000000000000000000000000000001";

async fn with_page<F: Future<Output = ()>>(test: impl FnOnce(Page) -> F) {
    let browser = Browser::start().await;
    let page = browser.page().await;
    and_then_clean_up(test(page.clone()), async { page.clone().close().await }).await;
    browser.stop().await;
}

/// Two cameras, and the user `drone`, who may see the first of them.
async fn closed_house() -> Gateway {
    let gateway = Gateway::start_closed().await;
    gateway.camera_says_hello(CAMERA).await;
    gateway.camera_says_hello(OTHER_CAMERA).await;
    let drone = NewUser {
        name: "drone".to_owned(),
        password: Secret::new(PASSWORD),
        role: Role::Viewer,
        cameras: CameraScope::Only([id(CAMERA)].into()),
    };
    let (principal, ip) = (Principal::anybody(), None);
    let actor = Actor {
        principal: &principal,
        ip,
    };
    gateway.accounts.create_user(actor, drone).await.unwrap();
    gateway
}

async fn log_in(page: &Page) {
    page.until("the login", "location.pathname === '/login'")
        .await;
    page.fill(&[("#name", "drone"), ("#password", PASSWORD)])
        .await;
    page.click("#submit").await;
}

/// Nobody is logged in any more, and the page has no part in it.
async fn end_all_logins(gateway: &Gateway) {
    let principal = Principal::anybody();
    for (login, _) in gateway.accounts.logins(None) {
        let actor = Actor {
            principal: &principal,
            ip: None,
        };
        gateway
            .accounts
            .end_login(actor, login.login)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_logged_in_any_more_logs_in_and_is_back() {
    let _turn = take_turn();
    let gateway = closed_house().await;
    let house = &gateway;
    with_page(|page| async move {
        for (path, there) in [
            ("/".to_owned(), "document.querySelector('.tile')"),
            (
                format!("/viewer?camera={CAMERA}"),
                "document.querySelector('#stage') && document.querySelector('.facts')",
            ),
            ("/events".to_owned(), "document.querySelector('#events li')"),
        ] {
            page.open(&format!("http://{}{path}", house.http)).await;
            page.until(
                "a page or the login",
                &format!("location.pathname === '/login' || {there}"),
            )
            .await;
            if page.run("return location.pathname").await == "/login" {
                assert_eq!(
                    page.run("return document.body.innerText.includes('has ended')")
                        .await,
                    false,
                    "there was no login yet"
                );
                log_in(&page).await;
            }
            page.until(
                "the page",
                &format!("location.pathname !== '/login' && {there}"),
            )
            .await;
            end_all_logins(house).await;
            page.until(
                "why one is at the login",
                "document.getElementById('notice')?.textContent.includes('Your login has ended')",
            )
            .await;
            page.screenshot("moment-login-ended").await;
            log_in(&page).await;
            page.until(
                "where one was",
                &format!("location.pathname + location.search === '{path}' && {there}"),
            )
            .await;
        }
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_one_may_not_see_looks_like_none_until_one_may() {
    let _turn = take_turn();
    let gateway = closed_house().await;
    let house = &gateway;
    with_page(|page| async move {
        page.open(&format!("http://{}/", house.http)).await;
        log_in(&page).await;
        page.until(
            "one camera",
            "document.querySelectorAll('.tile').length === 1",
        )
        .await;
        let mut shown = Vec::new();
        for camera in [NO_CAMERA, OTHER_CAMERA] {
            page.open(&format!("http://{}/viewer?camera={camera}", house.http))
                .await;
            page.until(
                "the refusal",
                "document.getElementById('veil-text')?.textContent.includes('not shared with you')",
            )
            .await;
            page.until(
                "a way on",
                "document.querySelector('#refusal a').pathname === '/'",
            )
            .await;
            let text = "return document.body.innerText + document.title";
            shown.push(page.run(text).await.to_string());
        }
        page.screenshot("moment-no-permission").await;
        assert_eq!(
            shown[0], shown[1],
            "whether a camera is there is nobody's business"
        );

        // It is shared now: the page goes on by itself.
        let users = house.accounts.users();
        let drone = users.iter().find(|user| user.name == "drone").unwrap();
        let (principal, ip) = (Principal::anybody(), None);
        let actor = Actor {
            principal: &principal,
            ip,
        };
        let change = UserChange {
            cameras: Some(CameraScope::All),
            ..UserChange::default()
        };
        house
            .accounts
            .change_user(actor, drone.user, change)
            .await
            .unwrap();
        page.until(
            "the camera",
            "document.getElementById('stage') && !document.getElementById('refusal')",
        )
        .await;
        house
            .engine
            .until("it is watched", |engine| engine.viewers().len() == 1)
            .await;
    })
    .await;
    gateway.stop().await;
}

/// A device whose clock is hours away.
fn clock_that_is_off(hours: i32) -> String {
    format!(
        "const Real = Date;
         window.Date = class extends Real {{
           constructor(...all) {{ if (all.length === 0) super(Real.now() + {hours} * 3600000); else super(...all); }}
           static now() {{ return Real.now() + {hours} * 3600000; }}
         }};
         window.RealDate = Real;"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_right_on_a_device_whose_clock_is_wrong() {
    let _turn = take_turn();
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    gateway
        .camera_says(CAMERA, r#"{"status":"disconnected"}"#)
        .await;
    for (hours, words) in [(30, "ahead of the server’s"), (-30, "behind the server’s")] {
        let house = &gateway;
        with_page(|page| async move {
            page.run_in_each_document(&clock_that_is_off(hours)).await;
            page.open(&format!("http://{}/", house.http)).await;
            // With the hour alone, which means today.
            page.until("since when it is away", r"/^Offline since \d\d:\d\d( [AP]M)?$/.test(document.querySelector('.pill-text').textContent)").await;
            let notice = format!("document.getElementById('notice').textContent.includes('{words}')");
            page.until("what is wrong", &notice).await;
            page.screenshot("moment-clock").await;
            page.click("a[href='/events']").await;
            page.until("today's events", "document.querySelector('#events').parentElement.textContent.includes('Today')").await;
            page.open(&format!("http://{}/viewer?camera={CAMERA}", house.http)).await;
            // What the camera did, then what the page does; both by the server's clock.
            let order = "(() => {
                const lines = [...document.querySelectorAll('#log time')].map((time) => RealDate.parse(time.dateTime));
                return lines.length > 2
                  && lines.every((at) => Math.abs(at - RealDate.now()) < 600000)
                  && document.querySelector('#log li').textContent.includes('Camera');
              })()";
            page.until("the journal", order).await;
        })
        .await;
    }
    gateway.stop().await;
}

/// How many pages are open at once.
const TABS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn thirty_tabs_of_one_browser_all_know_how_things_stand() {
    let _turn = take_turn();
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    let house = &gateway;
    with_page(|page| async move {
        page.open_quiet_dashboard(&format!("http://{}", house.http)).await;
        let mut tabs = Vec::new();
        for tab in 1..TABS {
            let path = if tab % 2 == 0 { "/" } else { "/events" };
            tabs.push(page.open_tab(&format!("http://{}{path}", house.http)).await);
        }
        house.camera_says(CAMERA, r#"{"status":"disconnected"}"#).await;
        for tab in &tabs {
            page.show_tab(tab).await;
            let told = "document.querySelector('.pill-text')?.textContent.startsWith('Offline since') \
                || document.querySelector('#events li .row-title')?.textContent === 'Camera disconnected'";
            page.until("the news", told).await;
            assert_eq!(page.run("return document.getElementById('notice').hidden").await, true);
        }
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_chosen_for_one_user_is_not_saved_for_another() {
    let _turn = take_turn();
    let gateway = closed_house().await;
    let (principal, ip) = (Principal::anybody(), None);
    for (name, role, cameras) in [
        ("queen", Role::Admin, CameraScope::All),
        ("scout", Role::Viewer, CameraScope::Only([].into())),
    ] {
        let new = NewUser {
            name: name.to_owned(),
            password: Secret::new(PASSWORD),
            role,
            cameras,
        };
        let actor = Actor {
            principal: &principal,
            ip,
        };
        gateway.accounts.create_user(actor, new).await.unwrap();
    }
    with_page(|page| async move {
        let server = format!("http://{}", gateway.http);
        page.open(&format!("{server}/login?next=/admin")).await;
        page.fill(&[("#name", "queen"), ("#password", PASSWORD)]).await;
        page.click("#submit").await;
        page.until("all users", "document.querySelectorAll('#users li').length === 3").await;
        page.run("localStorage.setItem('apiary.live-pictures', 'off')").await;
        let change = |name: &str| {
            format!("[...document.querySelectorAll('#users li')].find((row) => row.textContent.includes('{name}')).querySelector('.change').click()")
        };
        let users = async || {
            let ask = "fetch('/api/users').then((answer) => answer.json()).then(({ users }) => { window.users = users.map(({ name, role, cameras }) => [name, role, cameras?.length ?? 'all'].join(' ')).sort(); }); return 0;";
            page.run("window.users = null; return 0;").await;
            page.run(ask).await;
            page.until("the users", "window.users").await
        };
        let boxes = "[...document.querySelectorAll('#user-change [name=camera]')].map(({ checked }) => checked)";
        page.run(&change("drone")).await;
        page.until("its cameras", &format!("({boxes}).join() === 'false,true' && !document.querySelector('#user-change [name=all]').checked")).await;
        page.fill(&[("#change-password", "another one")]).await;
        page.run("document.getElementById('change-role').value = 'operator'; return 0;").await;
        page.run(&change("scout")).await;
        page.until("the other's form", "document.querySelector('#user-change h3').textContent.includes('scout')").await;
        page.until("of its own", &format!("({boxes}).join() === 'false,false' && document.getElementById('change-role').value === 'viewer' && document.getElementById('change-password').value === ''")).await;
        page.screenshot("user-change").await;
        page.click("#user-change .primary").await;
        page.until("saved", "!document.getElementById('user-change')").await;
        assert_eq!(users().await, serde_json::json!(["drone viewer 1", "queen admin all", "scout viewer 0"]));

        // No camera is none, and all is said.
        page.run(&change("drone")).await;
        page.until("its form", "document.querySelector('#user-change h3').textContent.includes('drone')").await;
        page.run("document.querySelector('#user-change [name=camera]:checked').click(); return 0;").await;
        page.click("#user-change .primary").await;
        page.until("saved", "!document.getElementById('user-change')").await;
        page.run(&change("scout")).await;
        page.until("its form", "document.querySelector('#user-change h3').textContent.includes('scout')").await;
        page.run("document.querySelector('#user-change [name=all]').click(); return 0;").await;
        page.click("#user-change .primary").await;
        page.until("saved", "!document.getElementById('user-change')").await;
        assert_eq!(users().await, serde_json::json!(["drone viewer 0", "queen admin all", "scout viewer all"]));
        gateway.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_cannot_be_loaded_whole_is_loaded_anew_once_and_says_so() {
    let _turn = take_turn();
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    with_page(|page| async move {
        page.open_quiet_dashboard(&format!("http://{}", gateway.http)).await;
        page.until("the wall", "document.querySelector('.tile')").await;
        page.cdp("Network.enable", serde_json::json!({})).await;
        page.cdp("Network.setCacheDisabled", serde_json::json!({"cacheDisabled": true})).await;
        let blocked = serde_json::json!({"urls": ["*/js/views/events*"]});
        page.cdp("Network.setBlockedURLs", blocked).await;
        page.run("window.before = true; return 0;").await;
        page.click("a[href='/events']").await;
        page.until("it is loaded anew", "!window.before && location.pathname === '/events'").await;
        page.until("what is wrong", "document.getElementById('outdated')?.textContent.includes('could not be loaded') && !document.getElementById('outdated').hidden").await;
        page.run("window.before = true; return 0;").await;
        page.cdp("Network.setBlockedURLs", serde_json::json!({"urls": []})).await;
        assert_eq!(page.run("return window.before").await, true, "not again and again");
        page.click("#outdated button").await;
        page.until("the events", "document.querySelector('#events li')").await;
        gateway.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_the_news_were_away_is_read_again() {
    let _turn = take_turn();
    let gateway = closed_house().await;
    with_page(|page| async move {
        // The socket of the news is cut by the page, which keeps the server from letting it go on where it was.
        let cut = "const Real = WebSocket; window.sockets = [];
            window.WebSocket = class extends Real { constructor(url, ...more) {
              url = new URL(url);
              if (url.searchParams.has('after')) url.searchParams.set('after', 'long-ago');
              super(url, ...more);
              window.sockets.push(this);
              this.addEventListener('message', () => { window.told = true; });
            } };";
        page.run_in_each_document(cut).await;
        page.open(&format!("http://{}/login?next=/events", gateway.http)).await;
        page.fill(&[("#name", "drone"), ("#password", PASSWORD)]).await;
        page.click("#submit").await;
        page.until("the events", "document.querySelectorAll('#events li').length > 0 && window.told").await;
        let asked = "performance.getEntriesByType('resource').some(({ name, startTime }) => name.includes('/api/events?') && startTime > cut)";
        page.run("window.cut = performance.now(); sockets[0].close(); return 0;").await;
        page.until("read again", asked).await;
        gateway.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_the_list_of_events_is_read_is_in_it() {
    let _turn = take_turn();
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    with_page(|page| async move {
        let hold = "const real = fetch; window.held = []; window.free = false;
            window.fetch = async (...asked) => {
              const answer = await real(...asked);
              if (String(asked[0]).includes('/api/events?') && !window.free) await new Promise((go) => held.push(go));
              return answer;
            };
            window.WebSocket = class extends WebSocket { constructor(...all) {
              super(...all);
              this.addEventListener('message', () => { window.told = true; });
            } };";
        page.run_in_each_document(hold).await;
        page.open(&format!("http://{}/events", gateway.http)).await;
        page.until("an answer that is held, and news", "held.length > 0 && window.told").await;
        gateway.camera_says(CAMERA, r#"{"status":"disconnected"}"#).await;
        let titles = "[...document.querySelectorAll('#events .row-title')].map((title) => title.textContent).join()";
        page.until("what happens", &format!("{titles} === 'Camera disconnected'")).await;
        page.run("window.free = true; held.forEach((go) => go()); return 0;").await;
        page.until("all of it", &format!("{titles} === 'Camera disconnected,Camera connected'")).await;
        gateway.stop().await;
    })
    .await;
}
