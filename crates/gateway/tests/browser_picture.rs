//! Bad moments of the picture in Chromium, with the real program and simulated cameras: what the page says, and how the picture
//! returns.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod program_support;

use std::time::Duration;

use browser_support::chromium::{Browser, Device, Page};
use browser_support::{and_then_clean_up, screenshots, take_turn};
use program_support::{Moved, Plan, Program};
use serde_json::{Value, json};

const VIDEO: &str = "#video";

async fn with_program<F: Future<Output = ()>>(
    plan: Plan,
    test: impl FnOnce(Page, std::sync::Arc<Program>) -> F,
) {
    with_program_and(&[], plan, test).await;
}

/// A page of a browser with these arguments, and a program.
async fn with_program_and<F: Future<Output = ()>>(
    arguments: &[&str],
    plan: Plan,
    test: impl FnOnce(Page, std::sync::Arc<Program>) -> F,
) {
    let program = std::sync::Arc::new(Program::start(plan).await);
    let browser = Browser::start().await;
    let page = browser.page_with(Device::default(), arguments).await;
    and_then_clean_up(test(page.clone(), program.clone()), async {
        page.clone().close().await;
    })
    .await;
    browser.stop().await;
    std::sync::Arc::into_inner(program).unwrap().stop().await;
}

fn plan(cameras: u32) -> Plan {
    Plan::to_look_at(Moved::BuiltIn, cameras)
}

fn words(text: &str) -> String {
    format!("document.getElementById('veil-text').textContent.includes('{text}')")
}

#[tokio::test(flavor = "multi_thread")]
async fn f04_the_wall_comes_back_when_the_server_does() {
    let _turn = take_turn();
    with_program(plan(2), |page, program| async move {
        page.open(&program.url("/")).await;
        let videos = program
            .camera_ids::<2>()
            .map(|camera| format!("[data-camera=\"{camera}\"] video"));
        for video in &videos {
            page.frames_advance(video, 5).await;
        }
        page.run("window.neverReloaded = true;").await;
        let away = async {
            let told =
                "document.getElementById('notice').textContent.includes('cannot be reached')";
            page.until("the wall says so", told).await;
            page.screenshot("moment-server-away").await;
        };
        program.restart_after(away).await;
        page.until("all is well", "document.getElementById('notice').hidden")
            .await;
        for video in &videos {
            page.frames_advance(video, 5).await;
        }
        assert_eq!(page.run("return window.neverReloaded").await, true);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_opened_while_the_server_is_away_say_so_and_open_when_it_is_back() {
    let _turn = take_turn();
    with_program(plan(1), |page, program| async move {
        page.open(&program.url("/")).await;
        let ready =
            "navigator.serviceWorker.ready.then(() => { window.ready = true; }) && window.ready";
        page.until("the service worker", ready).await;
        let away = async {
            page.open(&program.url("/events")).await;
            let told = "document.getElementById('text')?.textContent.includes('goes on by itself')";
            page.until("the offline page", told).await;
            page.screenshot("moment-offline-page").await;
        };
        program.restart_after(away).await;
        page.until(
            "the page that was meant",
            "location.pathname === '/events' && document.querySelector('#events li')",
        )
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_place_reads_why_and_gets_the_next_one() {
    let _turn = take_turn();
    let full = Plan {
        change: |config| config.media.max_viewers_per_stream = 1,
        ..plan(1)
    };
    with_program(full, |page, program| async move {
        let [camera] = program.camera_ids();
        let address = program.url(&format!("/viewer?camera={camera}"));
        page.open(&address).await;
        page.frames_advance(VIDEO, 5).await;
        let other = Browser::start().await;
        let late = other.page().await;
        let test = async {
            late.open(&address).await;
            late.until("why", &words("limit of the stream is 1")).await;
            late.until("that it is tried again", &words("Trying again"))
                .await;
            late.screenshot("moment-full").await;
            late.run("window.neverReloaded = true;").await;
            page.open("about:blank").await;
            late.frames_advance(VIDEO, 5).await;
            assert_eq!(late.run("return window.neverReloaded").await, true);
        };
        and_then_clean_up(test, async { late.clone().close().await }).await;
        other.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_gone_is_said_to_be_and_its_picture_comes_when_it_does() {
    let _turn = take_turn();
    let soon = Plan {
        change: |config| config.stream.start_timeout = Duration::from_secs(3),
        ..plan(1)
    };
    with_program(soon, |page, program| async move {
        let [camera] = program.camera_ids();
        page.open_quiet_dashboard(&program.url("")).await;
        page.until("the camera", "document.querySelector('.tile')")
            .await;
        program.camera(&camera).kill().await.unwrap();
        let offline =
            "document.querySelector('.pill-text').textContent.startsWith('Offline since')";
        page.until("it is gone", offline).await;
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.until("why there is no picture", &words("offline"))
            .await;
        page.until("what to do", "document.getElementById('again')")
            .await;
        page.screenshot("moment-camera-gone").await;
        program.camera(&camera).restart(None).await.unwrap();
        page.frames_advance(VIDEO, 5).await;
    })
    .await;
}

/// Chromium sends and hears no UDP.
const WITHOUT_UDP: &str = "--webrtc-ip-handling-policy=disable_non_proxied_udp";

#[tokio::test(flavor = "multi_thread")]
async fn where_no_packet_comes_through_the_page_says_so_and_goes_on_trying() {
    let _turn = take_turn();
    with_program_and(&[WITHOUT_UDP], plan(1), |page, program| async move {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.until("what is wrong", &words("finds no way")).await;
        page.until("what to do", &words("TURN server")).await;
        page.screenshot("moment-no-way").await;
        let again = "document.getElementById('stage').dataset.phase === 'connecting'";
        page.until("it is tried again", again).await;
        // What is wrong can be read for as long as it is so.
        page.until(
            "a third time",
            &format!(
                "{} && document.getElementById('log').textContent.split('finds no way').length > 2",
                words("finds no way")
            ),
        )
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_out_of_sight_lets_the_picture_go_and_has_it_when_it_is_seen() {
    let _turn = take_turn();
    with_program(plan(1), |page, program| async move {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        let watching = page.client.window().await.unwrap();
        page.frames_advance(VIDEO, 5).await;
        page.run(NOTE_RETURN).await;
        let other = page.open_tab(&program.url("/")).await;
        let tile = ".tile video";
        page.frames_advance(tile, 5).await;
        program.until_viewers(1).await;
        page.show_tab(&watching).await;
        page.frames_advance(VIDEO, 5).await;
        let took = page.until("how long it took", "window.tookMs").await;
        note("from seeing a tab again to its picture, in ms", &took);
        program.until_viewers(1).await;
        page.show_tab(&other).await;
        page.frames_advance(tile, 5).await;

        // What is heard goes on.
        page.show_tab(&watching).await;
        page.click("#sound").await;
        page.show_tab(&other).await;
        page.frames_advance(tile, 5).await;
        program.until_viewers(2).await;
        page.show_tab(&watching).await;
        page.until(
            "it plays",
            "document.getElementById('stage').dataset.phase === 'playing'",
        )
        .await;
    })
    .await;
}

/// Measures from when the page is awake and seen again to the next picture.
const NOTE_RETURN: &str = "
    const measure = () => {
      if (window.back) return;
      window.back = performance.now();
      const video = document.getElementById('video');
      const frames = () => video.getVideoPlaybackQuality().totalVideoFrames;
      const [source, before] = [video.srcObject, frames()];
      // A new connection counts anew.
      const look = () => {
        const moves = video.srcObject && frames() > (video.srcObject === source ? before : 0);
        if (moves) window.tookMs = Math.round(performance.now() - window.back);
        else setTimeout(look, 5);
      };
      look();
    };
    document.addEventListener('resume', measure);
    document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'visible') measure(); });";

/// Times are noted, never judged.
fn note(what: &str, value: &Value) {
    let path = screenshots().join("moments.json");
    let mut notes: Value = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_else(|| json!({}));
    notes[what] = value.clone();
    std::fs::write(path, notes.to_string()).unwrap();
}

/// What stops with a phone that is locked: its scripts, and after a while its connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_was_locked_has_its_picture_again() {
    let _turn = take_turn();
    with_program(plan(1), |page, program| async move {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance(VIDEO, 5).await;
        page.run("window.neverReloaded = true;").await;
        page.run(NOTE_RETURN).await;
        let locked = page.client.window().await.unwrap();
        page.open_tab("about:blank").await;
        page.client.switch_to_window(locked.clone()).await.unwrap();
        let state = |state: &str| json!({"state": state});
        page.cdp("Page.setWebLifecycleState", state("frozen")).await;
        // The server has nobody any more, and the page cannot hear it.
        program.restart().await;
        page.cdp("Page.setWebLifecycleState", state("active")).await;
        page.show_tab(&locked).await;
        page.frames_advance(VIDEO, 5).await;
        let took = page.until("how long it took", "window.tookMs").await;
        note("from unlocking a phone to the picture, in ms", &took);
        assert_eq!(page.run("return window.neverReloaded").await, true);
    })
    .await;
}

/// Notes what is asked of the browser, and what nobody caught.
const NOTE_ALL: &str = "
    window.uncaught = [];
    window.addEventListener('unhandledrejection', (event) => window.uncaught.push(String(event.reason)));
    window.addEventListener('error', (event) => window.uncaught.push(event.message));
    for (const level of ['log', 'info', 'warn', 'error', 'debug']) console[level] = (...all) => window.uncaught.push(all.join(' '));
    window.microphones = 0;
    navigator.mediaDevices.getUserMedia = () => { window.microphones += 1; return Promise.reject(new Error('none')); };
    window.sources = [];
    const source = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject');
    Object.defineProperty(HTMLMediaElement.prototype, 'srcObject', {
      ...source,
      set(stream) { if (stream) window.sources.push(stream.id); source.set.call(this, stream); },
    });
    window.offered = [];
    window.WebSocket = class extends WebSocket {
      send(text) {
        const { candidate, sdpOffer } = JSON.parse(text);
        if (candidate?.candidate) window.offered.push(candidate.candidate);
        if (sdpOffer) window.offered.push(...sdpOffer.match(/a=candidate.*/g) ?? []);
        super.send(text);
      }
    };";

/// The needs of Safari and Firefox too, seen here by what the page asks of the browser.
#[tokio::test(flavor = "multi_thread")]
async fn a_picture_asks_of_the_browser_what_all_of_them_can() {
    let _turn = take_turn();
    with_program(plan(1), |page, program| async move {
        let [camera] = program.camera_ids();
        page.run_in_each_document(NOTE_ALL).await;
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance(VIDEO, 5).await;
        let given = page.run("return window.sources.length").await;
        assert_eq!(given, 1, "one stream for picture and sound, given once");
        let offered = page.run("return window.offered").await;
        let offered = offered.as_array().unwrap();
        assert!(!offered.is_empty());
        for candidate in offered {
            // Names of mDNS, which the server can make nothing of, and needs not.
            assert!(
                candidate.as_str().unwrap().contains(".local "),
                "{candidate}"
            );
        }
        // A play() that is interrupted rejects; several at once do so too.
        for _ in 0..3 {
            page.click("#toggle").await;
            page.until(
                "it rests",
                "document.getElementById('toggle').dataset.does === 'start'",
            )
            .await;
            page.click("#toggle").await;
            page.until(
                "it begins",
                "document.getElementById('toggle').dataset.does === 'stop'",
            )
            .await;
        }
        page.frames_advance(VIDEO, 5).await;
        assert_eq!(page.run("return window.uncaught").await, json!([]));
        assert_eq!(page.run("return window.microphones").await, 0);
    })
    .await;
}

/// Stands in for the screen, which a test has none of.
const NOTE_LOCKS: &str = "
    window.locks = { taken: 0, released: 0 };
    navigator.wakeLock.request = async () => {
      window.locks.taken += 1;
      return { release: async () => { window.locks.released += 1; } };
    };";

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_stays_on_while_a_picture_fills_it() {
    let _turn = take_turn();
    with_program(plan(1), |page, program| async move {
        let [camera] = program.camera_ids();
        page.run_in_each_document(NOTE_LOCKS).await;
        for (path, button) in [
            ("/".to_owned(), "#wall-fullscreen"),
            (format!("/viewer?camera={camera}"), "#fullscreen"),
        ] {
            page.open(&program.url(&path)).await;
            page.until("the page", "document.querySelector('.tile, #stage')")
                .await;
            page.click(button).await;
            page.until("it fills the screen", "document.fullscreenElement")
                .await;
            page.until(
                "the screen stays on",
                "locks.taken === 1 && locks.released === 0",
            )
            .await;
            page.run("document.exitFullscreen()").await;
            page.until("it may go off", "locks.taken === 1 && locks.released === 1")
                .await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_stands_beside_other_windows() {
    let _turn = take_turn();
    with_program(plan(1), |page, program| async move {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance(VIDEO, 5).await;
        page.click("#pip").await;
        page.until(
            "it stands outside",
            "document.pictureInPictureElement?.id === 'video'",
        )
        .await;
        page.frames_advance(VIDEO, 5).await;
        page.click("#pip").await;
        page.until("it is back", "document.pictureInPictureElement === null")
            .await;
    })
    .await;
}

/// Names and rooms, as a household has them.
const HOUSE: [(&str, &str); 3] = [
    ("Front door", "House"),
    ("Nursery", "House"),
    ("Hives", "Garden"),
];

/// How the main pages look is kept beside the other screenshots: `look-{page}-{device}.png`.
#[tokio::test(flavor = "multi_thread")]
async fn the_main_pages_with_pictures_on_every_device() {
    let _turn = take_turn();
    let program = Program::start(plan(3)).await;
    let cameras = program.camera_ids::<3>();
    for (camera, (name, room)) in cameras.iter().zip(HOUSE) {
        let label = program.request("PATCH", &format!("/cameras/{camera}"));
        let label = label.json(&json!({"name": name, "room": room}));
        assert!(label.send().await.unwrap().status().is_success());
    }
    let browser = Browser::start().await;
    let test = async {
        for (phone, dark) in [(false, false), (false, true), (true, false), (true, true)] {
            let device = Device {
                phone,
                dark,
                german: false,
            };
            let page = browser.page_on(device).await;
            page.open(&program.url("/")).await;
            let first = format!("[data-camera=\"{}\"]", cameras[0]);
            page.frames_advance(&format!("{first} video"), 3).await;
            page.until(
                "its state",
                &format!("document.querySelector('{first} .pill-text').textContent === 'Live'"),
            )
            .await;
            page.screenshot(&format!("look-wall-{}", device.name()))
                .await;
            page.open(&program.url(&format!("/viewer?camera={}", cameras[0])))
                .await;
            page.frames_advance(VIDEO, 3).await;
            page.until(
                "its name",
                "document.getElementById('name').textContent === 'Front door'",
            )
            .await;
            page.screenshot(&format!("look-camera-{}", device.name()))
                .await;
            page.close().await;
        }
    };
    and_then_clean_up(test, async {}).await;
    browser.stop().await;
    program.stop().await;
}
