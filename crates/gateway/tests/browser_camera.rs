//! A camera's page in Chromium: what one does to the picture, and what one tells the camera.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod program_support;
mod web_support;

use apiary_wire::camera::Mode;
use browser_support::chromium::{Browser, Page};
use browser_support::{DEADLINE, and_then_clean_up, take_turn};
use program_support::{Moved, Plan, Program};
use serde_json::json;

const VIDEO: &str = "#video";

/// A page that shows the one camera of a program, live.
async fn with_picture<F: Future<Output = ()>>(test: impl FnOnce(Page, Program) -> F) {
    let browser = Browser::start().await;
    let page = browser.page().await;
    with_picture_on(page, test).await;
    browser.stop().await;
}

async fn with_picture_on<F: Future<Output = ()>>(
    page: Page,
    test: impl FnOnce(Page, Program) -> F,
) {
    let program = Program::start(Plan::to_look_at(Moved::BuiltIn, 1)).await;
    let [camera] = program.camera_ids();
    let opened = async {
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance(VIDEO, 10).await;
    };
    opened.await;
    and_then_clean_up(test(page.clone(), program), async {
        page.clone().close().await;
    })
    .await;
}

async fn press(page: &Page, key: &str) {
    let script = format!(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true, cancelable: true }}));"
    );
    page.run(&script).await;
}

/// Notes for each connection of a document whether there was anything of its page yet.
const NOTE_CONNECTIONS: &str = "
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...all) {
        super(...all);
        window.connections.push(document.querySelector('apiary-camera-view') ? 'late' : 'ahead');
      }
    };";

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_is_begun_before_there_is_a_page_and_taken_over_by_it() {
    let _turn = take_turn();
    with_picture(|page, program| async move {
        page.run_in_each_document(NOTE_CONNECTIONS).await;
        let address = page.run("return location.href").await;
        page.open(address.as_str().unwrap()).await;
        page.frames_advance(VIDEO, 10).await;
        assert_eq!(page.run("return connections").await, json!(["ahead"]));
        // It is the player's as if that had made it: it ends with it, and the next one is made anew.
        page.click("#toggle").await;
        page.until("it is left", "!document.getElementById('again')?.hidden && document.getElementById('video').srcObject === null")
            .await;
        page.click("#toggle").await;
        page.frames_advance(VIDEO, 10).await;
        assert_eq!(page.run("return connections").await, json!(["ahead", "late"]));
        program.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_no_page_takes_over_ends() {
    let _turn = take_turn();
    let browser = Browser::start().await;
    let page = browser.page().await;
    let program = Program::start(Plan::to_look_at(Moved::BuiltIn, 1)).await;
    let [camera] = program.camera_ids();
    let test = async {
        page.cdp("Network.enable", json!({})).await;
        let blocked = json!({"urls": ["*/js/views/*"]});
        page.cdp("Network.setBlockedURLs", blocked).await;
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        program.until_viewers(1).await;
        program.until_viewers(0).await;
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_is_enlarged_moved_and_kept_as_a_file() {
    let _turn = take_turn();
    with_picture(|page, program| async move {
        let transform = "document.getElementById('video').style.transform";
        press(&page, "+").await;
        page.until("closer", &format!("{transform}.includes('scale(1.4)')"))
            .await;
        let before = page.run(&format!("return {transform}")).await;
        press(&page, "ArrowRight").await;
        page.until("moved", &format!("{transform} !== {before}"))
            .await;
        // It stays within its frame.
        for _ in 0..20 {
            press(&page, "ArrowRight").await;
        }
        page.until("at its edge", &format!("{transform}.startsWith('translate(-20%')"))
            .await;
        page.click("#zoom-reset").await;
        page.until("whole again", &format!("{transform} === ''"))
            .await;
        // Who dictates can have the keys off.
        page.run("document.querySelector('.keys').open = true; return 0;").await;
        page.click(".keys .switch").await;
        press(&page, "+").await;
        assert_eq!(page.run(&format!("return {transform}")).await, "");
        page.click(".keys .switch").await;
        let wheel = "document.querySelector('.frame').dispatchEvent(new WheelEvent('wheel', {
            deltaY: -500, clientX: 300, clientY: 300, bubbles: true, cancelable: true }));";
        page.run(wheel).await;
        page.until("by the wheel", &format!("{transform}.includes('scale(2.4')"))
            .await;
        press(&page, "0").await;

        let note = "const real = URL.createObjectURL;
            URL.createObjectURL = (blob) => { window.file = blob; return real.call(URL, blob); };
            HTMLAnchorElement.prototype.click = function () { window.fileName = this.download; };";
        page.run(note).await;
        page.click("#snapshot").await;
        page.until("the file", "window.fileName?.endsWith('.jpg')")
            .await;
        page.run("createImageBitmap(window.file).then(({ width, height }) => { window.size = `${width} ${height}`; });")
            .await;
        page.until("a picture of the camera's size", "window.size === '640 360'")
            .await;
        program.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_stays_as_it_was_chosen_where_the_browser_lets_it() {
    let _turn = take_turn();
    with_picture(|page, program| async move {
        page.click("#sound").await;
        page.until("sound", "!document.getElementById('video').muted")
            .await;
        // A page that nobody has clicked on yet may not sound: the picture plays without it.
        let address = page.run("return location.href").await;
        page.open("about:blank").await;
        page.open(address.as_str().unwrap()).await;
        page.frames_advance(VIDEO, 10).await;
        page.until(
            "it says so",
            "document.getElementById('sound').getAttribute('aria-pressed') === 'false'",
        )
        .await;
        assert_eq!(
            page.run("return localStorage.getItem('apiary.muted')")
                .await,
            "off"
        );
        page.click("#hear").await;
        page.until(
            "sound, and nothing that offers it",
            "!document.getElementById('video').muted && !document.getElementById('hear')",
        )
        .await;
        program.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_tells_the_camera_is_shown_when_it_reports_it() {
    let _turn = take_turn();
    with_picture(|page, program| async move {
        let [camera] = program.camera_ids();
        page.run("document.querySelector('input[name=\"mode\"][value=\"LIVESTREAMONLY\"]').click()")
            .await;
        program
            .camera(&camera)
            .wait_for(DEADLINE, |camera| camera.mode == Mode::LiveStreamOnly)
            .await
            .unwrap();
        page.until("the camera's word", "document.getElementById('mode-hint').textContent.includes('reports nothing')")
            .await;

        page.run("document.getElementById('settings').open = true")
            .await;
        let set = "const select = document.querySelector('select[name=\"frameRate\"]');
            select.value = '15';
            select.dispatchEvent(new Event('change', { bubbles: true }));";
        page.run(set).await;
        let reported = "document.querySelector('select[name=\"frameRate\"]').value === '15' \
            && !document.querySelector('.settings .spinner')";
        page.until("the camera has it", reported).await;
        let asked = format!("(fetch('/cameras/{camera}').then((answer) => answer.json())
            .then(({{ settings }}) => {{ window.rate = JSON.stringify(settings); }}), window.rate?.includes('\"frameRate\":\"15\"'))");
        page.until("the server has heard it", &asked).await;

        page.run("document.getElementById('label').open = true")
            .await;
        page.fill(&[("#label input[name='name']", "Pond"), ("#label input[name='room']", "Garden")])
            .await;
        page.click("#label button").await;
        page.until("its name", "document.getElementById('name').textContent === 'Pond' && document.title.startsWith('Pond')")
            .await;
        program.stop().await;
    })
    .await;
}

/// Somebody presses the button and keeps it pressed, or lets go of it; or one right after the other.
async fn talk_button(page: &Page, what: &[&str]) {
    let script = format!(
        "const button = document.getElementById('talk');
        button.setPointerCapture = () => {{}};
        for (const what of {what:?}) button.dispatchEvent(new PointerEvent(what, {{ button: 0, bubbles: true, cancelable: true }}));"
    );
    page.run(&script).await;
}

const PRESS: &[&str] = &["pointerdown"];
const LET_GO: &[&str] = &["pointerup"];
const TAP: &[&str] = &["pointerdown", "pointerup"];

#[tokio::test(flavor = "multi_thread")]
async fn the_camera_hears_who_holds_the_button_and_the_others_see_it() {
    let _turn = take_turn();
    let browser = Browser::start().await;
    let page = browser.page_with_microphone().await;
    let other = browser.page_with_microphone().await;
    with_picture_on(page, |page, program| async move {
        let [camera] = program.camera_ids();
        other
            .open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        other.frames_advance(VIDEO, 10).await;
        let ready = "document.getElementById('talk')?.disabled === false";
        page.until("a button to talk", ready).await;
        other.until("the same there", ready).await;

        talk_button(&page, PRESS).await;
        page.until(
            "its turn",
            "document.getElementById('talk').dataset.step === 'talking'",
        )
        .await;
        let hears = |more: u64| {
            let camera = program.camera(&camera);
            async move {
                let before = camera.state().feedback.heard;
                let heard = camera
                    .wait_for(DEADLINE, |camera| camera.feedback.heard >= before + more)
                    .await;
                heard.unwrap()
            }
        };
        let heard = hears(25).await.feedback;
        assert_eq!(heard.unheard, 0, "all of it is sound that the camera plays");
        let of_itself = "document.getElementById('video').srcObject.getAudioTracks()[0].enabled";
        page.until("half duplex", &format!("{of_itself} === false"))
            .await;
        other
            .until(
                "the others are told",
                "document.getElementById('talk').disabled && document.querySelector('.badge [class~=\"icon\"]') \
                    && document.querySelector('.camera-head').textContent.includes('Somebody is talking')",
            )
            .await;
        for (who, page) in [("who talks", &page), ("the others", &other)] {
            let found = page.violations(&web_support::axe()).await;
            assert!(found.is_empty(), "{who}: {}", json!(found));
        }

        // Half a second of sound was heard: that was no tap.
        talk_button(&page, LET_GO).await;
        page.until(
            "nobody's turn",
            "document.getElementById('talk').dataset.step === 'idle'",
        )
        .await;
        page.until("the camera is heard again", of_itself).await;
        other.until("the turn is free", ready).await;

        // The key of the other one; it begins with the key and ends with it.
        let key = |kind: &str| {
            format!("document.body.dispatchEvent(new KeyboardEvent('{kind}', {{ key: 't', bubbles: true, cancelable: true }}));")
        };
        other.run(&key("keydown")).await;
        hears(25).await;
        other.run(&key("keyup")).await;
        page.until("free again", ready).await;

        // Pressed again before the microphone of the first time was there: none stays open.
        let late = "window.microphones = [];
            const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            let both;
            const areThere = new Promise((go) => { both = go; });
            navigator.mediaDevices.getUserMedia = async (wanted) => {
              const sound = await real(wanted);
              microphones.push(...sound.getTracks());
              if (microphones.length === 2) both();
              await areThere;
              return sound;
            };";
        page.run(late).await;
        // A tap, a second one that ends it, and a third.
        for step in ["asking", "idle", "talking"] {
            talk_button(&page, TAP).await;
            let there = format!("document.getElementById('talk').dataset.step === '{step}'");
            page.until(step, &there).await;
        }
        talk_button(&page, TAP).await;
        page.until(
            "none is open",
            "microphones.every(({ readyState }) => readyState === 'ended')",
        )
        .await;
        page.until("free once more", ready).await;

        // A microphone that is refused is told of, and nobody's turn.
        page.run("navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); };")
            .await;
        talk_button(&page, PRESS).await;
        page.until(
            "what to do",
            "document.body.textContent.includes('may not use the microphone') \
                && document.getElementById('talk').dataset.step === 'idle'",
        )
        .await;
        other.close().await;
        program.stop().await;
    })
    .await;
    browser.stop().await;
}
