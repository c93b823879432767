//! Notifications in Chromium: the page on which they are chosen, with a push service of ours behind it, and the service worker
//! that shows them. Chromium's own push service is out of reach here, so only what leads to it is stood in for.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod http_support;
mod push_support;
mod web_support;

use std::time::Duration;

use apiary::http::Bounds;
use apiary_store::SubscriptionRow;
use browser_support::chromium::{Browser as Chromium, Device, Page};
use browser_support::{DEADLINE, and_then_clean_up, take_turn};
use http_support::{CAMERA, Gateway, OTHER_CAMERA};
use push_support::{Browser, PushService, allow_this_machine};
use serde_json::{Value, json};

/// A push service that the browser subscribes at, kept over reloads as a browser does.
const PUSH_MANAGER: &str = "
    const given = SUBSCRIPTION;
    const key = 'test.subscribed';
    const subscription = (applicationServerKey) => ({
      endpoint: given.endpoint,
      options: { userVisibleOnly: true, applicationServerKey },
      toJSON: () => ({ endpoint: given.endpoint, expirationTime: null, keys: given.keys }),
      unsubscribe: async () => { localStorage.removeItem(key); return true; },
    });
    PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
      if (!userVisibleOnly || applicationServerKey.length !== 65) throw new DOMException('no', 'AbortError');
      localStorage.setItem(key, applicationServerKey.join());
      return subscription(applicationServerKey.buffer);
    };
    PushManager.prototype.getSubscription = async () => {
      const kept = localStorage.getItem(key);
      return kept && subscription(new Uint8Array(kept.split(',')).buffer);
    };";

async fn house() -> Gateway {
    let gateway = Gateway::start_by(Bounds::new(1024, 1024), None, allow_this_machine).await;
    gateway.camera_says_hello(CAMERA).await;
    gateway.camera_says_hello(OTHER_CAMERA).await;
    gateway
}

async fn permit(page: &Page, gateway: &Gateway, setting: &str) {
    let origin = format!("http://{}", gateway.http);
    let notifications =
        json!({"permission": {"name": "notifications"}, "setting": setting, "origin": origin});
    page.cdp("Browser.setPermission", notifications).await;
}

async fn devices(gateway: &Gateway) -> Vec<Value> {
    let state = gateway.get_json("/api/push").await;
    state["subscriptions"].as_array().unwrap().clone()
}

/// Waits until the server knows a device so.
async fn until_known(gateway: &Gateway, what: &str, is_so: impl Fn(&SubscriptionRow) -> bool) {
    let is_known = |rows: &[SubscriptionRow]| rows.first().is_some_and(&is_so);
    gateway.until_subscribed(what, is_known).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_notified_as_somebody_chooses_on_it() {
    let _turn = take_turn();
    let (gateway, service) = (house().await, PushService::start().await);
    let (browser, chromium) = (Browser::new(&service, "page"), Chromium::start().await);
    let page = chromium.page().await;
    let test = async {
        let stand_in = PUSH_MANAGER.replace("SUBSCRIPTION", &browser.subscription().to_string());
        page.run_in_each_document(&stand_in).await;
        permit(&page, &gateway, "granted").await;
        page.open_quiet_dashboard(&format!("http://{}", gateway.http))
            .await;
        page.click("#account").await;
        page.click("#push-on").await;
        page.until("it is on", "document.getElementById('push-form')")
            .await;
        let [device] = &devices(&gateway).await[..] else {
            panic!("one device");
        };
        assert!(
            device["name"].as_str().unwrap().contains("Chrome, Linux"),
            "{device}"
        );
        let ticked = "[...document.querySelectorAll('#push-form [name=kind]:checked')].map((box) => box.value).join()";
        assert_eq!(
            page.run(&format!("return {ticked}")).await,
            "person,offline"
        );

        page.click("#push-form [value=motion]").await;
        until_known(&gateway, "motion too", |device| device.kinds.0.len() == 3).await;
        page.click("#push-all").await;
        page.click(&format!("#push-form [value='{CAMERA}']")).await;
        until_known(&gateway, "one camera", |device| {
            device.cameras.to_string() == CAMERA
        })
        .await;
        page.click("#push-quiet").await;
        page.until(
            "the night",
            "document.getElementById('push-from').value === '22:00'",
        )
        .await;
        let later = "const field = document.getElementById('push-until');
            field.value = '08:30';
            field.dispatchEvent(new Event('change', { bubbles: true }));";
        page.run(later).await;
        let zone = page
            .run("return Intl.DateTimeFormat().resolvedOptions().timeZone")
            .await;
        let night = format!("22:00-08:30 {}", zone.as_str().unwrap());
        until_known(&gateway, "quiet hours", |device| {
            device.quiet.as_ref().map(ToString::to_string).as_deref() == Some(&night)
        })
        .await;

        page.click("#push-test").await;
        page.until("it is said", "document.querySelector('#toast p')")
            .await;
        let heard = service.until(1).await;
        assert_eq!(browser.read(&heard[0])["kind"], "test");

        // Another device is there, and after a reload this one is still known as itself.
        let other = Browser::new(&service, "other").subscription();
        gateway
            .post_json("/api/push/subscriptions", Some(&other))
            .await;
        page.run("location.reload()").await;
        page.until(
            "the other",
            "document.querySelectorAll('#push-others li').length === 1",
        )
        .await;
        assert_eq!(
            page.run(&format!("return {ticked}")).await,
            "person,motion,offline"
        );
        page.click("#push-others button").await;
        page.until("it is removed", "!document.querySelector('#push-others')")
            .await;
        page.click("#push-off").await;
        page.until("it is off", "document.getElementById('push-on')")
            .await;
        assert!(devices(&gateway).await.is_empty());
        assert_eq!(
            page.run("return localStorage.getItem('test.subscribed')")
                .await,
            Value::Null
        );

        // What keeps it from being on is said in words.
        permit(&page, &gateway, "denied").await;
        page.run("location.reload()").await;
        let why = "document.getElementById('push-obstacle')?.textContent";
        page.until("forbidden", &format!("{why}.includes('forbidden')"))
            .await;
        page.run_in_each_document(
            "Object.defineProperty(window, 'isSecureContext', { value: false });",
        )
        .await;
        page.run("location.reload()").await;
        page.until("not secure", &format!("{why}.includes('with https')"))
            .await;
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    chromium.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_chosen_is_chosen_by_everybody_on_every_device() {
    let _turn = take_turn();
    let (gateway, service) = (house().await, PushService::start().await);
    let chromium = Chromium::start().await;
    for (number, (phone, dark)) in [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .enumerate()
    {
        let device = Device {
            phone,
            dark,
            german: phone != dark,
        };
        let browser = Browser::new(&service, &number.to_string());
        let page = chromium.page_on(device).await;
        let test = async {
            let stand_in =
                PUSH_MANAGER.replace("SUBSCRIPTION", &browser.subscription().to_string());
            page.run_in_each_document(&stand_in).await;
            permit(&page, &gateway, "granted").await;
            page.open(&format!("http://{}/account", gateway.http)).await;
            page.until("the button", "document.getElementById('push-on')")
                .await;
            page.run("document.getElementById('push-on').click()").await;
            page.until("it is on", "document.getElementById('push-form')")
                .await;
            // By script: on a phone the bar at the bottom may lie over them.
            page.run("document.getElementById('push-all').click()")
                .await;
            page.until(
                "the cameras",
                "document.querySelector('#push-form [name=camera]')",
            )
            .await;
            page.run("document.getElementById('push-quiet').click()")
                .await;
            page.until("all of it", "document.getElementById('push-until') && document.querySelector('#push-form [name=camera]')").await;
            page.run("document.querySelector('#toast button')?.click(); document.getElementById('push-title').scrollIntoView();").await;
            page.screenshot(&format!("notifications-{}", device.name()))
                .await;
            let found = page.violations(&web_support::axe()).await;
            assert!(found.is_empty(), "{device:?}: {}", json!(found));
        };
        and_then_clean_up(test, async { page.clone().close().await }).await;
    }
    chromium.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_worker_shows_what_comes_in_the_language_of_the_browser() {
    let _turn = take_turn();
    let gateway = house().await;
    let chromium = Chromium::start().await;
    for (german, motion, test) in [
        (false, "Motion", "Notifications work on this device."),
        (true, "Bewegung", "Mitteilungen kommen auf diesem Gerät an."),
    ] {
        let device = Device {
            german,
            ..Device::default()
        };
        let page = chromium.page_on(device).await;
        let run = async {
            permit(&page, &gateway, "granted").await;
            let server = format!("http://{}", gateway.http);
            page.open_quiet_dashboard(&server).await;
            let worker = "navigator.serviceWorker.ready.then(({ active }) => { window.worker = active.state; }) && window.worker === 'activated'";
            page.until("the worker", worker).await;
            page.cdp("ServiceWorker.enable", json!({})).await;
            let deliver = async |message: &str, tag: &str, body: &str| {
                let push = json!({"origin": server, "registrationId": "0", "data": message});
                until_shown(&page, &push, tag, body).await
            };
            let at = "2026-01-01T12:00:00Z";
            let person = json!({"kind": "person", "camera": CAMERA, "name": "Porch <b>", "at": at});
            let shown = deliver(&person.to_string(), CAMERA, "Person · ").await;
            assert_eq!(shown["title"], "Porch <b>");
            assert_eq!(shown["path"], format!("/viewer?camera={CAMERA}"));
            // The next one of the camera takes its place.
            let again = json!({"kind": "motion", "camera": CAMERA, "name": "Porch", "at": at});
            let shown = deliver(&again.to_string(), CAMERA, motion).await;
            assert_eq!(shown["beside"], 0);
            let other =
                json!({"kind": "other", "activity": "PET", "camera": OTHER_CAMERA, "at": at});
            let shown = deliver(&other.to_string(), OTHER_CAMERA, "PET · ").await;
            let title = shown["title"].as_str().unwrap();
            assert!(title.ends_with(&OTHER_CAMERA[..8]), "{title}");
            let trial = json!({"kind": "test", "at": at});
            deliver(&trial.to_string(), "test", test).await;
            // As chosen on the pages, whatever the browser's is.
            let chosen = if german { "en" } else { "de" };
            let leave = format!(
                "caches.open('apiary-language').then((cache) => cache.put('/language', new Response('{chosen}'))).then(() => {{ window.left = true; }});"
            );
            page.run(&leave).await;
            page.until("the language", "window.left").await;
            let body = if german {
                "Notifications work"
            } else {
                "Mitteilungen kommen"
            };
            deliver(&trial.to_string(), "test", body).await;
            // What is no message is shown too.
            deliver("no JSON", "other", "").await;
        };
        and_then_clean_up(run, async { page.clone().close().await }).await;
    }
    chromium.stop().await;
    gateway.stop().await;
}

/// How long Chromium has for showing a notification before it is looked for.
const SHOWING: Duration = Duration::from_millis(500);

/// Delivers a message until a notification is shown that begins so, and gives that. Chromium forgets one that is asked for while it is on
/// its way to the screen; so it is asked seldom, and what is not there is delivered again.
async fn until_shown(page: &Page, push: &Value, tag: &str, body: &str) -> Value {
    let look = format!(
        "const done = arguments[arguments.length - 1];
         navigator.serviceWorker.ready.then((registration) => registration.getNotifications()).then((all) => {{
           const found = all.find((one) => one.tag === '{tag}' && one.body.startsWith('{body}'));
           done(found && {{ title: found.title, path: found.data.path, beside: all.filter((one) => one.tag === '{tag}').length - 1 }});
         }}, () => done(null));"
    );
    let shown = async {
        loop {
            page.cdp("ServiceWorker.deliverPushMessage", push.clone())
                .await;
            tokio::time::sleep(SHOWING).await;
            let found = page.client.execute_async(&look, Vec::new()).await.unwrap();
            if !found.is_null() {
                return found;
            }
        }
    };
    let shown = tokio::time::timeout(DEADLINE, shown).await;
    shown.unwrap_or_else(|_| panic!("{tag}: {body} is not shown"))
}

/// What stands in for a service worker's own world, and what is done with its listeners.
const WORKER: &str = "
    const listeners = {};
    const did = [];
    const opened = (url, visibilityState) => ({ url, visibilityState,
      focus: async () => did.push(`focus ${url}`), navigate: async (to) => (did.push(`navigate ${to}`), opened(to, 'visible')) });
    let windows = [];
    const self = {
      addEventListener: (name, listener) => { listeners[name] = listener; },
      clients: { matchAll: async () => windows, openWindow: async (url) => did.push(`open ${url}`) },
      registration: { pushManager: { subscribe: async (options) => window.subscription(options) } },
    };
    const fire = (name, event) => new Promise((done, failed) => listeners[name]({ ...event, waitUntil: (work) => work.then(done, failed) }));
    ((self) => { CODE })(self);
    const done = arguments[arguments.length - 1];
    (async () => { SCRIPT })().then(() => done(did), (error) => done(String(error)));";

async fn in_worker(page: &Page, script: &str) -> Value {
    let code = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/sw.js");
    let code = std::fs::read_to_string(code).unwrap();
    let script = WORKER.replace("CODE", &code).replace("SCRIPT", script);
    page.client
        .execute_async(&script, Vec::new())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_leads_to_the_camera_and_a_browser_that_moves_says_so() {
    let _turn = take_turn();
    let (gateway, service) = (house().await, PushService::start().await);
    let chromium = Chromium::start().await;
    let page = chromium.page().await;
    let test = async {
        let server = format!("http://{}", gateway.http);
        page.open_quiet_dashboard(&server).await;
        let tap = "const event = () => ({ notification: { close: () => did.push('close'), data: { path: '/viewer?camera=A' } } });
            const there = `${location.origin}/viewer?camera=A`;
            windows = [opened(`${location.origin}/`, 'visible'), opened(there, 'visible')];
            await fire('notificationclick', event());
            windows = [opened(`${location.origin}/`, 'visible')];
            await fire('notificationclick', event());
            windows = [opened(`${location.origin}/`, 'hidden')];
            await fire('notificationclick', event());";
        let did = in_worker(&page, tap).await;
        let there = format!("{server}/viewer?camera=A");
        let expected = [
            "close".to_owned(),
            format!("focus {there}"),
            "close".to_owned(),
            format!("open {there}"),
            "close".to_owned(),
            format!("navigate {there}"),
            format!("focus {there}"),
        ];
        assert_eq!(did, json!(expected));

        let [old, new] = ["old", "new"].map(|name| Browser::new(&service, name).subscription());
        let (_, device) = gateway
            .post_json("/api/push/subscriptions", Some(&old))
            .await;
        let moved = format!(
            "const given = {new};
             window.subscription = (options) => options.applicationServerKey === 'key' && {{ endpoint: given.endpoint, toJSON: () => given }};
             await fire('pushsubscriptionchange', {{ oldSubscription: {{ endpoint: '{}', options: {{ applicationServerKey: 'key' }} }} }});",
            old["endpoint"].as_str().unwrap()
        );
        assert_eq!(in_worker(&page, &moved).await, json!([]));
        let known = devices(&gateway).await;
        assert_eq!(known, [device]);
        gateway
            .post_json(
                &format!(
                    "/api/push/subscriptions/{}/test",
                    known[0]["id"].as_str().unwrap()
                ),
                None,
            )
            .await;
        assert_eq!(service.until(1).await[0].path, "/send/new");
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    chromium.stop().await;
    gateway.stop().await;
}
