//! The whole program seen through Chromium: dashboard, viewer page, sound, faults.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod program_support;

use apiary::config::CertificateSource;
use apiary_sim::StopReason;
use browser_support::chromium::Browser;
use browser_support::{DEADLINE, and_then_clean_up, screenshots, take_turn};
use program_support::{Moved, Plan, Program, plays};
use serde_json::Value;

/// Makes a test of each function for each engine.
macro_rules! with_either_engine {
    ($($name:ident),+ $(,)?) => {
        mod sfu {
            use super::Moved;
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(Moved::BuiltIn).await })+
        }
        mod kurento {
            use super::Moved;
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(Moved::ByKurento(1)).await })+
        }
    };
}

with_either_engine!(
    the_viewer_page_has_picture_sound_numbers_and_stops_the_camera,
    two_viewers_join_and_leave_one_stream,
    f01_the_picture_returns_when_the_camera_does_without_a_reload,
    f04_pages_come_back_when_the_server_does,
);

const VIDEO: &str = "#video";

async fn start(moved: Moved, cameras: u32) -> (Program, Browser) {
    let plan = Plan::to_look_at(moved, cameras);
    (Program::start(plan).await, Browser::start().await)
}

fn tile(camera: &str) -> String {
    format!("[data-camera=\"{camera}\"]")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_starts_cameras_shows_them_and_stops_them() {
    let _turn = take_turn();
    let (program, browser) = start(Moved::BuiltIn, 3).await;
    let page = browser.page().await;
    let test = async {
        let [first, second, third] = program.camera_ids();
        page.open_quiet_dashboard(&program.url("")).await;
        page.until(
            "three cameras",
            "document.querySelectorAll('.tile').length === 3",
        )
        .await;
        let ready = format!(
            "document.querySelector('{} .pill-text').textContent === 'Asleep'",
            tile(&first)
        );
        page.until("the camera is ready", &ready).await;

        page.click(&format!("{} .start", tile(&first))).await;
        program
            .camera(&first)
            .wait_for(DEADLINE, |camera| camera.is_streaming())
            .await
            .unwrap();
        let live = format!(
            "document.querySelector('{}').dataset.state === 'active'",
            tile(&first)
        );
        page.until("the camera is live", &live).await;
        assert!(
            !program.camera(&second).state().is_streaming(),
            "only what was started runs"
        );

        // Live pictures start the others on demand.
        page.click("label.switch").await;
        for camera in [&first, &second, &third] {
            let video = format!("{} video", tile(camera));
            let picture = page.frames_advance(&video, 20).await;
            assert!(picture.width >= 320 && picture.height >= 180, "{picture:?}");
            page.pixels_change(&video).await;
        }
        let counted = "document.getElementById('summary').textContent.includes('3 live')";
        page.until("the summary", counted).await;
        page.screenshot("dashboard").await;

        page.click(&format!("{} .stop", tile(&first))).await;
        let stopped = program
            .camera(&first)
            .wait_for(DEADLINE, |camera| !camera.is_streaming())
            .await
            .unwrap();
        assert_eq!(stopped.stop_reason(), Some(StopReason::Commanded));
        page.until("the camera rests", &ready).await;
        page.frames_advance(&format!("{} video", tile(&second)), 10)
            .await;
        assert!(
            !program.camera(&first).state().is_streaming(),
            "a stopped camera stays stopped under live pictures"
        );

        page.click(&format!("{} .start", tile(&first))).await;
        page.frames_advance(&format!("{} video", tile(&first)), 10)
            .await;
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

async fn the_viewer_page_has_picture_sound_numbers_and_stops_the_camera(moved: Moved) {
    let _turn = take_turn();
    let (program, browser) = start(moved, 1).await;
    let page = browser.page().await;
    let test = async {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!(
            "/livestream/viewer?camera={}",
            camera.to_lowercase()
        )))
        .await;
        page.frames_advance(VIDEO, 30).await;
        page.pixels_change(VIDEO).await;
        page.until(
            "nothing covers the picture",
            "getComputedStyle(document.getElementById('veil')).visibility === 'hidden'",
        )
        .await;
        assert_eq!(
            page.run("return document.querySelector('#video').muted")
                .await,
            true,
            "muted until a click"
        );
        for (number, pattern) in [
            ("stat-state", "Live"),
            ("stat-ice", "Connected"),
            ("stat-bitrate", "bit/s"),
            ("stat-resolution", " × "),
            ("stat-loss", "%"),
            ("stat-viewers", "1"),
        ] {
            let expression =
                format!("document.getElementById('{number}').textContent.includes('{pattern}')");
            page.until(number, &expression).await;
        }
        page.until(
            "frames per second",
            "Number(document.getElementById('stat-fps').textContent) > 5",
        )
        .await;

        page.click("#sound").await;
        page.until(
            "the sound is on",
            "!document.querySelector('#video').muted && !document.querySelector('#video').paused",
        )
        .await;
        page.sound_is_heard(VIDEO).await;
        page.screenshot("viewer").await;
        let log = page
            .run("return document.getElementById('log').textContent")
            .await;
        assert!(log.as_str().unwrap().contains("Picture is live"), "{log}");

        page.click("#toggle").await;
        let stopped = program
            .camera(&camera)
            .wait_for(DEADLINE, |camera| !camera.is_streaming())
            .await
            .unwrap();
        assert_eq!(stopped.stop_reason(), Some(StopReason::Commanded));
        page.until(
            "the page says so",
            "document.getElementById('pill-text').textContent === 'Stopped'",
        )
        .await;
        assert_eq!(program.viewer_count().await, 0);

        page.click("#toggle").await;
        page.frames_advance(VIDEO, 15).await;
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

/// Whoever comes to the old address ends at the new one, where page and signaling speak TLS alike.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_come_over_https_to_who_came_over_http() {
    let _turn = take_turn();
    let mut plan = Plan::to_look_at(Moved::BuiltIn, 1);
    plan.change = |config| {
        let names = Vec::new();
        config.tls.source = CertificateSource::SelfSigned { names };
    };
    let (program, browser) = (Program::start(plan).await, Browser::start().await);
    let page = browser.page().await;
    let test = async {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        assert_eq!(page.run("return location.protocol").await, "https:");
        page.frames_advance(VIDEO, 15).await;
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

async fn two_viewers_join_and_leave_one_stream(moved: Moved) {
    let _turn = take_turn();
    let (program, browser) = start(moved, 1).await;
    let (one, two) = (browser.page().await, browser.page().await);
    let test = async {
        let [camera] = program.camera_ids();
        let url = program.url(&format!("/viewer?camera={camera}"));
        one.open(&url).await;
        one.frames_advance(VIDEO, 10).await;
        two.open(&url).await;
        two.frames_advance(VIDEO, 10).await;
        assert_eq!(program.viewer_count().await, 2);
        one.until(
            "both are counted",
            "document.getElementById('stat-viewers').textContent === '2'",
        )
        .await;
        assert_eq!(plays(&program.camera(&camera)), 1, "one stream for both");

        two.open("about:blank").await;
        program.until_viewers(1).await;
        one.frames_advance(VIDEO, 20).await;

        two.open(&url).await;
        two.frames_advance(VIDEO, 10).await;
        one.open("about:blank").await;
        program.until_viewers(1).await;
        two.frames_advance(VIDEO, 20).await;
    };
    and_then_clean_up(test, async {
        one.clone().close().await;
        two.clone().close().await;
    })
    .await;
    browser.stop().await;
    program.stop().await;
}

async fn f01_the_picture_returns_when_the_camera_does_without_a_reload(moved: Moved) {
    let _turn = take_turn();
    let (program, browser) = start(moved, 1).await;
    let page = browser.page().await;
    let test = async {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance(VIDEO, 20).await;
        page.run("window.neverReloaded = true;").await;
        for _ in 0..2 {
            program.camera(&camera).kill().await.unwrap();
            page.until(
                "the page says so",
                "document.getElementById('pill-text').textContent === 'Picture lost'",
            )
            .await;
            program.camera(&camera).restart(None).await.unwrap();
            page.frames_advance(VIDEO, 20).await;
            page.until(
                "live again",
                "document.getElementById('pill-text').textContent === 'Live'",
            )
            .await;
        }
        assert_eq!(page.run("return window.neverReloaded").await, true);
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

async fn f04_pages_come_back_when_the_server_does(moved: Moved) {
    let _turn = take_turn();
    let (program, browser) = start(moved, 1).await;
    let page = browser.page().await;
    let test = async {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance(VIDEO, 10).await;
        page.run("window.neverReloaded = true;").await;
        program.restart().await;
        page.until(
            "it noticed",
            "document.getElementById('log').textContent.includes('shutting down')",
        )
        .await;
        page.frames_advance(VIDEO, 10).await;
        assert_eq!(page.run("return window.neverReloaded").await, true);
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

/// Counts the sockets that the page opens from now on.
const COUNT_SOCKETS: &str = "
    window.socketsOpened = 0;
    window.WebSocket = class extends WebSocket {
      constructor(url) {
        super(url);
        window.socketsOpened += 1;
      }
    };";

/// How often the page's log speaks of media servers.
const NOTICED: &str =
    "return document.getElementById('log').textContent.split('media server').length;";

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_back_when_their_media_server_does_and_when_it_does_not() {
    let _turn = take_turn();
    let (program, browser) = start(Moved::ByKurento(2), 1).await;
    let page = browser.page().await;
    let test = async {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance(VIDEO, 10).await;
        page.run("window.neverReloaded = true;").await;
        page.run(COUNT_SOCKETS).await;
        let serving = || {
            let mut servers = program.servers.iter();
            servers.find(|server| !server.pipelines().is_empty())
        };
        serving().unwrap().restart();
        let comes_back = "document.getElementById('log').textContent.includes('media server')";
        page.until("it noticed", comes_back).await;
        page.frames_advance(VIDEO, 10).await;
        let before = page.run(NOTICED).await;
        serving().unwrap().kill();
        page.until(
            "it noticed again",
            &format!("(() => {{ {NOTICED} }})() > {before}"),
        )
        .await;
        page.frames_advance(VIDEO, 10).await;
        assert_eq!(page.run("return window.neverReloaded").await, true);
        assert_eq!(
            page.run("return window.socketsOpened").await,
            0,
            "it has one already"
        );
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

/// Holds the answer back until the server's candidates have come, and notes what the connection is given in which order.
const LATE_ANSWER: &str = "
    window.told = [];
    window.given = [];
    let candidatesAreThere = () => {};
    const candidates = new Promise((resolve) => { candidatesAreThere = resolve; });
    window.WebSocket = class extends WebSocket {
      constructor(url) {
        super(url);
        this.addEventListener('message', (event) => {
          const message = JSON.parse(event.data);
          if (message.type === 'iceCandidate') window.told.push(message.candidate.candidate);
          if (window.told.length === 2) candidatesAreThere();
        });
      }
    };
    const connection = RTCPeerConnection.prototype;
    const { setRemoteDescription, addIceCandidate } = connection;
    connection.setRemoteDescription = async function (description) {
      await candidates;
      await setRemoteDescription.call(this, description);
      window.given.push('answer');
    };
    connection.addIceCandidate = function (candidate) {
      window.given.push(candidate.candidate);
      return addIceCandidate.call(this, candidate);
    };";

#[tokio::test(flavor = "multi_thread")]
async fn candidates_that_overtake_the_answer_wait_for_it_in_order() {
    let _turn = take_turn();
    let (program, browser) = start(Moved::ByKurento(1), 1).await;
    let page = browser.page().await;
    let test = async {
        page.open_quiet_dashboard(&program.url("")).await;
        page.until(
            "the camera",
            "document.querySelectorAll('.tile').length === 1",
        )
        .await;
        page.run(LATE_ANSWER).await;
        page.click("label.switch").await;
        page.frames_advance(".tile video", 10).await;
        let order = page.run("return [window.told, window.given]").await;
        let told: Vec<Value> = order[0].as_array().unwrap().clone();
        let given: Vec<Value> = order[1].as_array().unwrap().clone();
        assert!(told.len() >= 2, "{order}");
        assert_eq!((&given[0], &given[1..]), (&"answer".into(), &told[..]));
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

/// What a browser without H.264 sees: this one is made to offer VP8 alone.
const WITHOUT_H264: &str = "
    const original = RTCPeerConnection.prototype.addTransceiver;
    const codecs = RTCRtpReceiver.getCapabilities('video').codecs.filter((codec) => codec.mimeType === 'video/VP8');
    RTCRtpReceiver.getCapabilities = () => ({ codecs, headerExtensions: [] });
    RTCPeerConnection.prototype.addTransceiver = function (kind, init) {
      const transceiver = original.call(this, kind, init);
      if (kind === 'video') {
        transceiver.setCodecPreferences(codecs);
      }
      return transceiver;
    };";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_h264_is_told_so() {
    let _turn = take_turn();
    let (program, browser) = start(Moved::BuiltIn, 1).await;
    let page = browser.page().await;
    let test = async {
        let [camera] = program.camera_ids();
        page.open_quiet_dashboard(&program.url("")).await;
        page.until(
            "the camera",
            "document.querySelectorAll('.tile').length === 1",
        )
        .await;
        page.run(WITHOUT_H264).await;
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => {{
               const connection = new RTCPeerConnection();
               connection.addTransceiver('video', {{direction: 'recvonly'}});
               await connection.setLocalDescription();
               const response = await fetch('/whep/{camera}', {{
                 method: 'POST', headers: {{'Content-Type': 'application/sdp'}}, body: connection.localDescription.sdp
               }});
               done({{status: response.status, body: await response.json()}});
             }})().catch((error) => done({{status: 0, body: String(error)}}));"
        );
        let answer: Value = page
            .client
            .execute_async(&script, Vec::new())
            .await
            .unwrap();
        assert_eq!(answer["status"], 400, "{answer}");
        assert!(
            answer["body"]["error"].as_str().unwrap().contains("H.264"),
            "{answer}"
        );

        page.click("label.switch").await;
        let told = format!(
            "document.querySelector('{} .problem').textContent.includes('OpenH264 Video Codec')",
            tile(&camera)
        );
        page.until("the page says it", &told).await;
        assert_eq!(program.viewer_count().await, 0);
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

/// A browser that plays nothing without a click, not even muted: phones that save power do so.
const WITHOUT_AUTOPLAY: &str = "
    const original = HTMLMediaElement.prototype.play;
    document.querySelector('.tile video').autoplay = false;
    HTMLMediaElement.prototype.play = function () {
      return navigator.userActivation.isActive && window.mayPlay
        ? original.call(this)
        : Promise.reject(new DOMException('no click yet', 'NotAllowedError'));
    };";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_refuses_to_play_is_helped_by_a_click() {
    let _turn = take_turn();
    let (program, browser) = start(Moved::BuiltIn, 1).await;
    let page = browser.page().await;
    let test = async {
        page.open_quiet_dashboard(&program.url("")).await;
        page.until(
            "the camera",
            "document.querySelectorAll('.tile').length === 1",
        )
        .await;
        page.run(WITHOUT_AUTOPLAY).await;
        page.click("label.switch").await;
        let asks = "document.querySelector('.veil-text').textContent === 'Tap to play'";
        page.until("the page asks for a click", asks).await;
        page.run("window.mayPlay = true;").await;
        page.click(".screen").await;
        page.frames_advance(".tile video", 10).await;
        let gone = "document.querySelector('.tile').dataset.veil === 'none'";
        page.until("nothing covers the picture", gone).await;
        // From then on a click opens the camera's own page.
        page.click(".screen").await;
        page.frames_advance(VIDEO, 10).await;
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

/// Joins by WHEP twenty times, one after the other; milliseconds from the offer's POST to the first picture on the screen.
const TWENTY_JOINS: &str = "
    const done = arguments[arguments.length - 1];
    const join = async () => {
      const connection = new RTCPeerConnection();
      const video = document.createElement('video');
      video.muted = true;
      document.body.append(video);
      connection.addTransceiver('video', {direction: 'recvonly'});
      connection.addTransceiver('audio', {direction: 'recvonly'});
      connection.ontrack = (event) => {
        if (event.track.kind === 'video') video.srcObject = new MediaStream([event.track]);
        video.play().catch(() => {});
      };
      await connection.setLocalDescription();
      const shown = new Promise((resolve) => video.requestVideoFrameCallback(() => resolve(performance.now())));
      const started = performance.now();
      const response = await fetch('/whep/CAMERA', {
        method: 'POST', headers: {'Content-Type': 'application/sdp'}, body: connection.localDescription.sdp
      });
      await connection.setRemoteDescription({type: 'answer', sdp: await response.text()});
      const took = await shown - started;
      await fetch(response.headers.get('Location'), {method: 'DELETE'});
      connection.close();
      video.remove();
      return took;
    };
    (async () => {
      const times = [];
      for (let count = 0; count < 20; count += 1) times.push(await join());
      done(times);
    })().catch((error) => done(String(error)));";

/// Nothing about time is asserted: the numbers go to `join-times.json` beside the screenshots.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_players_in_a_row_see_a_running_stream() {
    let _turn = take_turn();
    let (program, browser) = start(Moved::BuiltIn, 1).await;
    let page = browser.page().await;
    let test = async {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance(VIDEO, 30).await;
        let script = TWENTY_JOINS.replace("CAMERA", &camera);
        let answer = page
            .client
            .execute_async(&script, Vec::new())
            .await
            .unwrap();
        let times: Vec<f64> =
            serde_json::from_value(answer.clone()).unwrap_or_else(|_| panic!("{answer}"));
        assert_eq!(times.len(), 20);
        let mut sorted = times.clone();
        sorted.sort_by(f64::total_cmp);
        let report =
            serde_json::json!({"unit": "ms", "p50": sorted[9], "p95": sorted[18], "all": times});
        std::fs::write(screenshots().join("join-times.json"), report.to_string()).unwrap();
        program.until_viewers(1).await;
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}
