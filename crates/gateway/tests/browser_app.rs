//! The web app in Chromium, view by view: accessible, in both languages, on a phone and on a desk, light and dark.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod http_support;
mod web_support;

use std::net::Ipv4Addr;

use apiary::config::{Config, Environment};
use apiary::http::Bounds;
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use browser_support::chromium::{Browser, Device, Page};
use browser_support::{and_then_clean_up, take_turn};
use http_support::{CAMERA, Gateway, OTHER_CAMERA};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const DEVICES: [Device; 4] = [
    Device {
        phone: false,
        dark: false,
        german: false,
    },
    Device {
        phone: false,
        dark: true,
        german: true,
    },
    Device {
        phone: true,
        dark: false,
        german: true,
    },
    Device {
        phone: true,
        dark: true,
        german: false,
    },
];

/// Runs a test on a page of its own, with no picture that starts by itself.
async fn on<F: Future<Output = ()>>(
    device: Device,
    gateway: &Gateway,
    test: impl FnOnce(Page) -> F,
) {
    let browser = Browser::start().await;
    let page = browser.page_on(device).await;
    page.open_quiet_dashboard(&format!("http://{}", gateway.http))
        .await;
    and_then_clean_up(test(page.clone()), async { page.clone().close().await }).await;
    browser.stop().await;
}

/// Two cameras, one of which noticed something and is not there any more.
async fn house() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    gateway.camera_says_hello(OTHER_CAMERA).await;
    gateway
        .camera_says(OTHER_CAMERA, r#"{"status":"disconnected"}"#)
        .await;
    gateway
}

/// What axe-core finds against WCAG 2.2 AA in the page as it stands.
async fn violations(page: &Page) -> Vec<Value> {
    page.violations(&web_support::axe()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_accessible_on_every_device() {
    let _turn = take_turn();
    for device in DEVICES {
        let gateway = house().await;
        on(device, &gateway, |page| async move {
            let views = [
                ("wall", "/".to_owned(), "document.querySelectorAll('.tile').length === 2"),
                ("camera", format!("/viewer?camera={OTHER_CAMERA}"), "document.querySelector('#log li')"),
                ("events", "/events".to_owned(), "document.querySelectorAll('#events li').length >= 2"),
                ("account", "/account".to_owned(), "document.getElementById('language')"),
                ("admin", "/admin".to_owned(), "document.querySelector('#system dl')"),
                ("welcome", "/welcome".to_owned(), "document.querySelector('#step pre')"),
                ("welcome-addresses", "/welcome?step=addresses".to_owned(), "document.querySelector('#step .findings li')"),
                ("welcome-broker", "/welcome?step=broker".to_owned(), "document.querySelector('#step .findings li')"),
                ("welcome-camera", "/welcome?step=camera".to_owned(), "document.querySelector('#label-form')"),
            ];
            let server = page.run("return location.origin").await;
            for (name, path, there) in views {
                page.open(&format!("{}{path}", server.as_str().unwrap())).await;
                page.until(name, there).await;
                page.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })").await;
                page.screenshot(&format!("{name}-{}", device.name())).await;
                let found = violations(&page).await;
                assert!(found.is_empty(), "{name} on {device:?}: {}", json!(found));
            }
            let language = if device.german { "de" } else { "en" };
            assert_eq!(page.run("return document.documentElement.lang").await, language);
        })
        .await;
        gateway.stop().await;
    }
}

/// Phones upright and on their side, the smallest, a small tablet; 320 by 256 is a laptop's page enlarged four times (WCAG 1.4.10).
const SIZES: [[u32; 2]; 6] = [
    [390, 844],
    [844, 390],
    [320, 568],
    [568, 320],
    [640, 960],
    [320, 256],
];

/// Whether the middle of an element can be tapped where the page opens.
fn in_reach(selector: &str) -> String {
    format!(
        "(() => {{
           const element = document.querySelector('{selector}');
           const {{ left, right, top, bottom }} = element.getBoundingClientRect();
           return left >= 0 && right <= innerWidth && element.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2));
         }})()"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gets_from_each_view_to_the_others_on_screens_of_every_size() {
    let _turn = take_turn();
    let gateway = house().await;
    let device = Device {
        phone: false, // whose size the driver keeps
        dark: true,
        german: true, // the longer words
    };
    on(device, &gateway, |page| async move {
        let server = page.run("return location.origin").await;
        let server = server.as_str().unwrap();
        for [width, height] in SIZES {
            let phone = height > 300;
            let touch = json!({"enabled": phone, "maxTouchPoints": 5});
            page.cdp("Emulation.setTouchEmulationEnabled", touch).await;
            let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
            page.cdp("Emulation.setDeviceMetricsOverride", size).await;
            for (view, path, there) in [
                ("wall", "/".to_owned(), "document.querySelectorAll('.tile').length === 2"),
                ("camera", format!("/viewer?camera={OTHER_CAMERA}"), "document.querySelector('#log li')"),
                ("events", "/events".to_owned(), "document.querySelectorAll('#events li').length >= 2"),
                ("admin", "/admin".to_owned(), "document.querySelector('#system dl')"),
            ] {
                page.open(&format!("{server}{path}")).await;
                let what = format!("{view} on {width}x{height}");
                page.until(&what, there).await;
                let widest = page.run("return document.documentElement.scrollWidth").await;
                assert_eq!(widest, width, "{what} is as wide as the screen");
                let on_its_side = view == "camera" && phone && width > height;
                let ways: &[&str] = if on_its_side { &[".back"] } else { &[".nav a[href=\"/\"]", "#account"] };
                for way in ways {
                    page.until(&format!("{way} in reach, {what}"), &in_reach(way)).await;
                }
                if on_its_side {
                    let filled = "document.querySelector('.stage').getBoundingClientRect().height === innerHeight";
                    page.until(&format!("a picture that fills it, {what}"), filled).await;
                    page.screenshot(&format!("camera-{width}x{height}")).await;
                }
                let found = violations(&page).await;
                assert!(found.is_empty(), "{what}: {}", json!(found));
            }
        }
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_strangers_are_accessible() {
    let _turn = take_turn();
    let gateway = Gateway::start_closed().await;
    let browser = Browser::start().await;
    let page = browser
        .page_on(Device {
            phone: true,
            dark: true,
            german: true,
        })
        .await;
    let test = async {
        for (path, there) in [
            ("/login", "#submit"),
            ("/setup#secret", "#again"),
            ("/share#nothing", "#notice.bad"),
        ] {
            page.open("about:blank").await;
            page.open(&format!("http://{}{path}", gateway.http)).await;
            page.until(path, &format!("document.querySelector('{there}')"))
                .await;
            let found = violations(&page).await;
            assert!(found.is_empty(), "{path}: {}", json!(found));
        }
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_are_put_into_another_order_and_room_by_keys_and_by_dragging() {
    let _turn = take_turn();
    let gateway = house().await;
    on(Device::default(), &gateway, |page| async move {
        let order = "[...document.querySelectorAll('.tile')].map((tile) => tile.dataset.camera).join()";
        let (first, second) = (CAMERA.min(OTHER_CAMERA), CAMERA.max(OTHER_CAMERA));
        page.until("the order of ids", &format!("{order} === '{first},{second}'")).await;
        page.click("#arrange").await;
        page.run(&format!("document.querySelector('[data-camera=\"{first}\"] .handle').focus()")).await;
        let press = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true, cancelable: true }))";
        page.run(press).await;
        page.until("the other order", &format!("{order} === '{second},{first}'")).await;
        page.until("the focus goes along", &format!("document.activeElement.closest('.tile').dataset.camera === '{first}'")).await;
        // The server has it: it is so for who comes anew.
        page.until("it is kept", &format!("fetch('/cameras').then((answer) => answer.json()).then(({{ cameras }}) => {{ window.kept = cameras.map((camera) => camera.camera_id).join(); }}) && window.kept === '{second},{first}'")).await;
        let rename = format!("fetch('/cameras/{first}', {{ method: 'PATCH', headers: {{ 'Content-Type': 'application/json' }}, body: JSON.stringify({{ room: 'Garden' }}) }}); return 0;");
        page.run(&rename).await;
        page.until("the room, as news", "document.querySelector('.room-name').textContent === 'Garden'").await;
        let drag = format!(
            "const handle = document.querySelector('[data-camera=\"{second}\"] .handle');
             const target = document.querySelector('[data-camera=\"{first}\"]').getBoundingClientRect();
             const at = {{ bubbles: true, cancelable: true, clientX: target.left + 30, clientY: target.top + 30 }};
             handle.dispatchEvent(new PointerEvent('pointerdown', at));
             document.dispatchEvent(new PointerEvent('pointermove', at));
             document.dispatchEvent(new PointerEvent('pointerup', at));"
        );
        page.run(&drag).await;
        page.until("it moved in", "document.querySelectorAll('[data-room=\"Garden\"] .tile').length === 2").await;
        page.run("location.reload()").await;
        page.until("it stays there", "document.querySelectorAll('[data-room=\"Garden\"] .tile').length === 2").await;
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn news_reach_pages_without_their_asking() {
    let _turn = take_turn();
    let gateway = Gateway::start().await;
    let house = &gateway;
    on(Device::default(), house, |page| async move {
        page.until("nothing yet", "document.getElementById('empty')").await;
        page.run("window.asked = 0; const real = fetch; window.fetch = (...all) => { window.asked += 1; return real(...all); };").await;
        house.camera_says_hello(CAMERA).await;
        page.until("the camera", "document.querySelectorAll('.tile').length === 1").await;
        house.camera_says(CAMERA, r#"{"status":"disconnected"}"#).await;
        page.until("it is gone", "document.querySelector('.pill-text').textContent.startsWith('Offline since')").await;
        assert_eq!(page.run("return window.asked").await, 0, "nothing is polled");
        page.click("a[href='/events']").await;
        page.until("what happened", "document.querySelectorAll('#events li').length === 2").await;
        house.camera_says_hello(CAMERA).await;
        page.until("what happens", "document.querySelector('#events li .row-title').textContent === 'Camera connected' && document.querySelectorAll('#events li').length === 3").await;
    })
    .await;
    gateway.stop().await;
}

/// Chooses in a `<select>` as somebody would.
async fn choose(page: &Page, id: &str, value: &str) {
    let script = format!(
        "const select = document.getElementById('{id}');
         select.value = '{value}';
         select.dispatchEvent(new Event('change', {{ bubbles: true }}));"
    );
    page.run(&script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_chosen_by_camera_and_by_kind_new_ones_too() {
    let _turn = take_turn();
    let gateway = house().await;
    let house = &gateway;
    on(Device::default(), house, |page| async move {
        let listed =
            |count: usize| format!("document.querySelectorAll('#events li').length === {count}");
        page.click("a[href='/events']").await;
        page.until("all", &listed(3)).await;
        choose(&page, "events-camera", OTHER_CAMERA).await;
        page.until("of one camera", &listed(2)).await;
        // Of the chosen one alone.
        house
            .camera_says(CAMERA, r#"{"status":"disconnected"}"#)
            .await;
        house.camera_says_hello(OTHER_CAMERA).await;
        page.until("what it does now", &listed(3)).await;
        let link =
            format!("return document.querySelectorAll('#events a[href$=\"{CAMERA}\"]').length");
        assert_eq!(page.run(&link).await, 0);
        choose(&page, "events-kind", "activity_start").await;
        page.until(
            "it noticed nothing",
            "document.querySelector('#events .hint')",
        )
        .await;
        choose(&page, "events-kind", "connection").await;
        page.until("coming and going", &listed(3)).await;
        choose(&page, "events-camera", "").await;
        page.until("of all", &listed(5)).await;
    })
    .await;
    gateway.stop().await;
}

const CANARY: &str = "canary-4711-canary-4711";

#[tokio::test(flavor = "multi_thread")]
async fn administrators_read_how_the_server_does_its_log_and_its_settings() {
    let _turn = take_turn();
    let variables = [
        ("APIARY_TURN_URLS", "turn:turn.example:3478"),
        ("APIARY_TURN_SECRET", CANARY),
    ];
    let environment = Environment {
        variables: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Environment::default()
    };
    let config = Config::load(None, &environment).unwrap();
    apiary::logging::init(&config.log).unwrap();
    let gateway =
        Gateway::start_by(Bounds::new(1024, 1024), None, |running| *running = config).await;
    on(Device::default(), &gateway, |page| async move {
        page.click("a[href='/admin']").await;
        let version = env!("CARGO_PKG_VERSION");
        page.until("the version", &format!("document.querySelector('#system dl').innerText.includes('{version}')"))
            .await;
        page.until("what the doctor found", "document.querySelector('#findings li .facts').textContent.length > 10")
            .await;
        tracing::warn!("the hive sleeps");
        page.click("#server-log summary").await;
        page.until("the log", "document.querySelector('#server-log .log').innerText.includes('warn the hive sleeps')")
            .await;
        tracing::warn!("the hive <b>hums</b>");
        page.until("the log goes on", "document.querySelector('#server-log .log').innerText.includes('warn the hive <b>hums</b>')")
            .await;
        page.click("#configuration summary").await;
        let secret = "[...document.querySelectorAll('#configuration tr')].find((row) => row.innerText.includes('turn.secret')).innerText";
        page.until("no secret", &format!("{secret}.includes('***') && {secret}.includes('APIARY_TURN_SECRET')"))
            .await;
        let all = page.run("return document.body.innerText").await;
        assert!(all.as_str().unwrap().contains("turn:turn.example:3478"), "{all}");
        assert!(!all.as_str().unwrap().contains(CANARY), "{all}");
        page.screenshot("admin-open").await;
    })
    .await;
    gateway.stop().await;
}

/// The answer to who looks waits for `letIn()`.
const HOLD_WHO_LOOKS: &str = "
    const real = fetch;
    window.fetch = async (...all) => {
      if (String(all[0]).includes('/api/auth/me')) await new Promise((go) => { window.letIn = go; });
      return real(...all);
    };";

#[tokio::test(flavor = "multi_thread")]
async fn views_that_are_there_before_it_is_known_who_looks_are_filled_then() {
    let _turn = take_turn();
    let gateway = house().await;
    on(Device::default(), &gateway, |page| async move {
        page.until("one was here", "localStorage.getItem('apiary.known') === 'yes'")
            .await;
        page.run_in_each_document(HOLD_WHO_LOOKS).await;
        let server = page.run("return location.origin").await;
        for (path, view, filled) in [
            ("/account".to_owned(), "apiary-account", "#language"),
            ("/admin".to_owned(), "apiary-admin", "#system dl"),
            (format!("/viewer?camera={OTHER_CAMERA}"), "apiary-camera-view", "apiary-commands"),
        ] {
            page.open(&format!("{}{path}", server.as_str().unwrap())).await;
            let there = format!("window.letIn && document.querySelector('{view}')?.hasUpdated");
            page.until("the view", &there).await;
            // All news have come, so that there is nothing else that would render it anew.
            page.until("the news", "import(document.querySelector('script[src]').src.replace('main.js', 'live.js')).then(({ live }) => { window.known = live.known; }) && window.known")
                .await;
            let empty = format!("return document.querySelector('{filled}') === null");
            assert_eq!(page.run(&empty).await, true, "{path}");
            page.run("letIn()").await;
            page.until("it is filled", &format!("document.querySelector('{filled}')"))
                .await;
            assert_eq!(page.run("return document.querySelector('#toast p') === null").await, true, "{path}");
        }
    })
    .await;
    gateway.stop().await;
}

/// Whose page it is, by another name than the server's: another origin.
const FOREIGN_HOST: &str = "localhost";

/// Makes the first account and shares the camera; `window.share` is the answer.
const SHARE: &str = "
    const ask = (path, body) => fetch(path, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body)
    }).then((answer) => answer.json());
    ask('/api/auth/setup', { secret: 'SECRET', name: 'queen', password: 'honey and wax' })
      .then(() => ask('/api/shares', { camera_id: 'CAMERA', label: 'club', expires_at: new Date(Date.now() + 3600000).toISOString() }))
      .then((share) => { window.share = share; });
    return 0;";

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_shows_a_camera_by_its_share_link_until_that_ends() {
    let _turn = take_turn();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let origin = format!("http://{FOREIGN_HOST}:{port}");
    let listed = origin.clone();
    let gateway = Gateway::start_by(Bounds::new(1024, 1024), None, |config| {
        config.auth.enabled = true;
        config.http.cors_origins = vec![listed];
    })
    .await;
    gateway.camera_says_hello(CAMERA).await;
    let server = format!("http://{}", gateway.http);
    let secret = gateway.accounts.open_setup().unwrap();
    let (browser, owner) = (Browser::start().await, Browser::start().await);
    let (page, home) = (browser.page().await, owner.page().await);
    let test = async {
        // No page of the app: none that goes elsewhere once somebody is logged in.
        home.open(&format!("{server}/assets/favicon.svg")).await;
        let share = SHARE
            .replace("SECRET", secret.expose())
            .replace("CAMERA", CAMERA);
        home.run(&share).await;
        let link = home.until("the link", "window.share?.path").await;
        let markup = format!(
            "<!doctype html><title>Club</title><script type=\"module\" src=\"{server}/assets/js/embed.js\"></script>
             <apiary-camera src=\"{server}{}\" camera=\"{CAMERA}\" controls></apiary-camera>",
            link.as_str().unwrap()
        );
        let pages = Router::new().route("/", get(|| async move { Html(markup) }));
        let foreign = tokio::spawn(async move { axum::serve(listener, pages).await });
        page.open(&origin).await;
        gateway
            .engine
            .until("it watches", |engine| engine.viewers().len() == 1)
            .await;
        home.run("fetch(`/api/shares/${window.share.id}`, { method: 'DELETE' }); return 0;")
            .await;
        gateway
            .engine
            .until("it is let go", |engine| engine.viewers().is_empty())
            .await;
        let words =
            "document.querySelector('apiary-camera').shadowRoot.querySelector('.veil').textContent";
        page.until("why", &format!("{words}.includes('right to watch')"))
            .await;
        page.open(&origin).await;
        page.until(
            "it is not let in",
            &format!("{words}.includes('http.cors_origins')"),
        )
        .await;
        foreign.abort();
    };
    and_then_clean_up(test, async {
        page.clone().close().await;
        home.clone().close().await;
    })
    .await;
    browser.stop().await;
    owner.stop().await;
    gateway.stop().await;
}
