//! The whole program with Kurento as its engine: simulated cameras, doubles as servers, and viewers over signaling and WHEP.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that goes wrong fails; how long a picture was away is printed, not asserted"
)]

mod program_support;

use std::net::Ipv4Addr;
use std::time::Duration;

use apiary_kurento_double::{Effect, Kind, KurentoDouble, Options, RpcFault};
use apiary_sim::{CameraHandle, StopReason, StreamState};
use apiary_wire::units::Bitrate;
use program_support::page::{Page, Seen};
use program_support::viewer::{Noticed, Viewer};
use program_support::{DEADLINE, Moved, Plan, Program, cheap, plays, until, url, within};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

/// The first camera, and a page that sees it.
async fn watched(program: &Program) -> (CameraHandle, Page) {
    let camera = program.first();
    let mut page = Page::open(program, &camera.id().to_string()).await;
    page.until_picture(1).await;
    (camera, page)
}

/// The server that has the stream first, then the others: which one takes it depends on their load.
fn serving_and_others<const N: usize>(program: &Program) -> [&KurentoDouble; N] {
    let (serving, others): (Vec<_>, Vec<_>) = program
        .servers
        .iter()
        .partition(|server| !server.pipelines().is_empty());
    assert_eq!(serving.len(), 1);
    let all: Vec<_> = serving.into_iter().chain(others).collect();
    all.try_into().unwrap()
}

fn print_away(what: &str, seen: &Seen) {
    println!("{what}: the picture was away for {:?}", seen.away);
}

/// How a server stands by `/health`.
fn state_of<'a>(health: &'a Value, server: &KurentoDouble) -> &'a str {
    entry_of(health, server)["state"].as_str().unwrap()
}

fn entry_of<'a>(health: &'a Value, server: &KurentoDouble) -> &'a Value {
    let mut entries = health["media_servers"].as_array().unwrap().iter();
    entries.find(|entry| entry["url"] == server.url()).unwrap()
}

// ---- servers that are not there ----

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_absent_at_the_start_is_named_and_waited_for() {
    let plan = Plan::with_servers(1);
    let server = KurentoDouble::start(Options::at(plan.address)).unwrap();
    server.kill();
    let program = Program::start_with(plan, vec![server]).await;
    let (server, camera) = (&program.servers[0], program.first());
    let health = program
        .until_health("the refusal is noticed", |health| {
            let error = health["engine_error"].as_str();
            error.is_some_and(|error| error.contains("refused"))
        })
        .await;
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["kurento_connected"], false);
    assert_eq!(state_of(&health, server), "unreachable");
    let error = health["engine_error"].as_str().unwrap();
    assert!(error.contains(&server.url()), "{error}");
    assert!(
        error.starts_with("no media server can take streams"),
        "{error}"
    );

    let (status, body) = program.start_stream(&camera, &json!({})).await;
    assert_eq!(status, 503, "{body}");
    let error = body["error"].as_str().unwrap();
    assert!(
        error.contains(&server.url()) && error.contains("refused"),
        "{error}"
    );
    assert!(error.contains("apiary check"), "what to do: {error}");
    assert_eq!(plays(&camera), 0);

    let mut page = Page::open(&program, &camera.id().to_string()).await;
    let seen = page
        .until("it is told", |seen| !seen.errors.is_empty())
        .await;
    assert_eq!(seen.errors[0]["retry"], true, "{:?}", seen.errors);
    server.restart();
    page.until_picture(1).await;
    let health = program.get("/health").await;
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["kurento_connected"], true);
    assert!(health.get("engine_error").is_none(), "{health}");
    let entry = entry_of(&health, server);
    assert_eq!(
        (&entry["state"], &entry["streams"], &entry["viewers"]),
        (&json!("connected"), &json!(1), &json!(1))
    );
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_loses_the_picture_for_a_moment_only() {
    let program = Program::start(Plan::with_servers(1)).await;
    let (camera, mut page) = watched(&program).await;
    let first = page.seen().answers[0].clone();
    program.servers[0].restart();
    let seen = page.until_picture(2).await;
    assert_eq!(seen.stopped.len(), 1, "{:?}", seen.stopped);
    assert_eq!(seen.stopped[0]["retry"], true);
    assert!(seen.errors.is_empty(), "{:?}", seen.errors);
    assert_ne!(seen.answers[1]["streamId"], first["streamId"]);
    assert_eq!(plays(&camera), 2, "the camera was told once more");
    assert_eq!(program.servers[0].pipelines().len(), 1);
    print_away("one server, restarted", &seen);
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_and_its_viewer_move_from_a_server_that_dies() {
    let program = Program::start(Plan::with_servers(2)).await;
    let (camera, mut page) = watched(&program).await;
    let [dying, other] = serving_and_others(&program);
    dying.kill();
    let seen = page.until_picture(2).await;
    assert_eq!(seen.stopped.len(), 1, "{:?}", seen.stopped);
    assert_eq!(seen.stopped[0]["retry"], true);
    assert!(seen.errors.is_empty(), "{:?}", seen.errors);
    assert_eq!(plays(&camera), 2);
    let health = program.get("/health").await;
    assert_eq!(state_of(&health, dying), "unreachable");
    assert_eq!(state_of(&health, other), "connected");
    assert_eq!(health["status"], "healthy", "one takes streams");
    assert_eq!(other.pipelines().len(), 1);
    print_away("two servers, one killed", &seen);

    dying.restart();
    program.until_healthy().await;
    assert_eq!(dying.pipelines(), []);
    assert_eq!(other.pipelines().len(), 1, "it stays where it is");
    assert_eq!(page.seen().answers.len(), 2);
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_cut_off_is_cleared_when_it_returns() {
    let program = Program::start(Plan::with_servers(2)).await;
    let (_, mut page) = watched(&program).await;
    let [frozen, other] = serving_and_others(&program);
    frozen.freeze();
    let seen = page.until_picture(2).await;
    assert_eq!(seen.stopped[0]["retry"], true);
    assert_eq!(frozen.pipelines().len(), 1, "it still has what it had");
    print_away("two servers, one cut off", &seen);
    frozen.thaw();
    until("it is cleared", || frozen.pipelines().is_empty()).await;
    program.until_healthy().await;
    assert_eq!(other.pipelines().len(), 1);
    assert_eq!(page.seen().answers.len(), 2);
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_of_three_is_enough_and_the_first_that_returns_too() {
    let program = Program::start(Plan::with_servers(3)).await;
    let (_, mut page) = watched(&program).await;
    let [serving, second, third] = serving_and_others(&program);
    second.kill();
    serving.kill();
    let seen = page.until_picture(2).await;
    assert_eq!(third.pipelines().len(), 1);
    print_away("three servers, two killed", &seen);

    third.kill();
    let health = program
        .until_health("all are gone", |health| health["status"] == "degraded")
        .await;
    let error = health["engine_error"].as_str().unwrap();
    for server in &program.servers {
        assert!(error.contains(&server.url()), "{error}");
    }
    second.restart();
    let seen = page.until_picture(seen.answers.len() + 1).await;
    assert_eq!(second.pipelines().len(), 1);
    print_away("three servers, all killed and one back", &seen);
    program.stop().await;
}

/// The pipelines stay, and so does the viewer's way: only the camera's leg is made anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_restarts_is_seen_again_without_joining_anew() {
    let program = Program::start(Plan::with_servers(1)).await;
    let (camera, mut page) = watched(&program).await;
    for restart in 1..=3 {
        let had = page.seen().pictures;
        camera.restart(None).await.unwrap();
        until("it is told to play again", || plays(&camera) == 1 + restart).await;
        page.until("the picture is back", |seen| seen.pictures >= had + 30)
            .await;
    }
    assert_eq!(page.seen().answers.len(), 1);
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_run_left_is_cleared_and_nothing_else() {
    let plan = Plan::with_servers(1);
    let server = KurentoDouble::start(Options::at(plan.address)).unwrap();
    server.create_garbage("apiary/0123456789ABCDEF0123456789ABCDEF/left");
    let foreign = server.create_garbage("apiary-of-somebody-else/left");
    let program = Program::start_with(plan, vec![server]).await;
    let left = || {
        let pipelines = program.servers[0].pipelines().into_iter();
        pipelines.map(|pipeline| pipeline.id).collect::<Vec<_>>()
    };
    until("only the other's is left", || left() == [foreign.clone()]).await;
    program.stop().await;
}

// ---- servers that are taken away ----

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_drained_keeps_who_watches_until_they_left() {
    let mut plan = Plan::with_servers(2);
    plan.cameras.push(cheap(2, plan.address));
    let program = Program::start(plan).await;
    let (_, page) = watched(&program).await;
    let [drained, other] = serving_and_others(&program);
    let body = json!({"url": drained.url(), "now": false});
    assert_eq!(program.post("/media-servers/drain", &body).await.0, 204);
    let health = program.get("/health").await;
    assert_eq!(state_of(&health, drained), "draining");
    assert_eq!(state_of(&health, other), "connected");
    assert_eq!(health["status"], "healthy", "the other takes streams");

    let [_, second] = program.camera_ids();
    let second = program.camera(&second);
    assert_eq!(program.start_stream(&second, &json!({})).await.0, 201);
    assert_eq!(other.pipelines().len(), 1, "new streams go elsewhere");
    assert_eq!(drained.pipelines().len(), 1);
    assert_eq!(page.seen().answers.len(), 1, "who watches is left alone");
    drop(page);
    until("its stream moves", || drained.pipelines().is_empty()).await;
    until("both are there", || other.pipelines().len() == 2).await;
    program.until_active(&program.first()).await;

    let body = json!({"url": drained.url()});
    assert_eq!(program.post("/media-servers/undrain", &body).await.0, 204);
    let health = program.get("/health").await;
    assert_eq!(state_of(&health, drained), "connected");
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_drained_now_hands_over_who_watches() {
    let program = Program::start(Plan::with_servers(2)).await;
    let (camera, mut page) = watched(&program).await;
    let [drained, other] = serving_and_others(&program);
    let body = json!({"url": drained.url(), "now": true});
    assert_eq!(program.post("/media-servers/drain", &body).await.0, 204);
    let seen = page.until_picture(2).await;
    assert_eq!(seen.stopped.len(), 1, "{:?}", seen.stopped);
    assert_eq!(seen.stopped[0]["retry"], true);
    assert!(seen.errors.is_empty(), "{:?}", seen.errors);
    assert_eq!(plays(&camera), 2);
    until("nothing is left", || drained.pipelines().is_empty()).await;
    let health = program.get("/health").await;
    assert_eq!(entry_of(&health, drained)["streams"], 0);
    assert_eq!(entry_of(&health, other)["viewers"], 1);
    print_away("two servers, one drained", &seen);

    // Now there is none to take them.
    let body = json!({"url": other.url(), "now": true});
    let (status, body) = program.post("/media-servers/drain", &body).await;
    assert_eq!(status, 409, "{body}");
    let error = body["error"].as_str().unwrap();
    assert!(error.contains(&other.url()), "{error}");
    let health = program.get("/health").await;
    assert_eq!(state_of(&health, other), "connected", "it goes on");
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_media_servers_can_be_drained_and_only_in_plain_words() {
    let program = Program::start(Plan::with_servers(1)).await;
    let server = &program.servers[0];
    for path in ["/media-servers/drain", "/media-servers/undrain"] {
        let unknown = json!({"url": "ws://192.0.2.1:8888/kurento"});
        let (status, body) = program.post(path, &unknown).await;
        assert_eq!(status, 404, "{body}");
        assert!(body["error"].as_str().unwrap().contains(&server.url()));
        for wrong in [
            json!({}),
            json!([]),
            json!({"url": 5}),
            json!({"url": server.url(), "when": "now"}),
            json!({"url": server.url(), "now": "yes"}),
        ] {
            let (status, body) = program.post(path, &wrong).await;
            assert_eq!(status, 400, "{path} {wrong}: {body}");
            assert!(body["error"].is_string(), "{body}");
        }
    }
    // Without a stream on it even the only server can go.
    let body = json!({"url": server.url(), "now": true});
    assert_eq!(program.post("/media-servers/drain", &body).await.0, 204);
    let health = program.get("/health").await;
    assert_eq!(state_of(&health, server), "draining");
    assert_eq!(health["status"], "degraded", "nothing takes streams");
    let error = health["engine_error"].as_str().unwrap();
    assert!(error.contains("being drained"), "{error}");
    let (status, body) = program.start_stream(&program.first(), &json!({})).await;
    assert_eq!(status, 503, "{body}");
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_engine_has_no_servers_to_drain() {
    let program = Program::start(Plan {
        moved: Moved::BuiltIn,
        ..Plan::with_servers(0)
    })
    .await;
    for path in ["/media-servers/drain", "/media-servers/undrain"] {
        let (status, body) = program.post(path, &json!({"url": "ws://a/b"})).await;
        assert_eq!(status, 404, "{body}");
        assert!(body["error"].as_str().unwrap().contains("built-in"));
    }
    let health = program.get("/health").await;
    assert_eq!(health["kurento_connected"], true);
    assert!(health.get("media_servers").is_none(), "{health}");
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_come_and_go_when_the_settings_are_read_again() {
    let program = Program::start(Plan {
        change: |config| config.kurento.servers.truncate(1),
        ..Plan::with_servers(2)
    })
    .await;
    let [first, second] = [&program.servers[0], &program.servers[1]];
    let (camera, mut page) = watched(&program).await;
    assert_eq!(first.pipelines().len(), 1);
    program
        .reload(|config| {
            config.kurento.servers.push(url(second));
            config.kurento.drain = vec![url(second)];
        })
        .await;
    program
        .until_health("the second is there", |health| {
            let known = health["media_servers"].as_array().unwrap().len();
            known == 2 && state_of(health, second) == "draining"
        })
        .await;
    program
        .reload(|config| {
            config.kurento.servers.remove(0);
            config.kurento.drain.clear();
        })
        .await;
    let seen = page.until_picture(2).await;
    print_away("a server was taken out of the settings", &seen);
    assert_eq!(plays(&camera), 2);
    assert_eq!(second.pipelines().len(), 1);
    until("nothing is left", || {
        first.pipelines().is_empty() && first.sessions().is_empty()
    })
    .await;
    let health = program.get("/health").await;
    let known = health["media_servers"].as_array().unwrap();
    assert_eq!(known.len(), 1, "{health}");
    assert_eq!(state_of(&health, second), "connected");
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_are_told_another_address_once_it_is_read_again() {
    let program = Program::start(Plan::with_servers(1)).await;
    let (camera, other) = (program.first(), Ipv4Addr::new(127, 9, 9, 9));
    program
        .reload(|config| {
            let host = config.kurento.servers[0].host.clone();
            config.kurento.advertised = vec![(host, other)];
        })
        .await;
    let told = async {
        loop {
            assert_eq!(program.start_stream(&camera, &json!({})).await.0, 201);
            let state = camera.wait_for(DEADLINE, |state| state.is_streaming());
            if let StreamState::Streaming { video, .. } = state.await.unwrap().stream
                && video.ip() == other
            {
                return;
            }
            assert_eq!(program.stop_stream(&camera).await.0, 200);
            let stopped = camera.wait_for(DEADLINE, |state| !state.is_streaming());
            stopped.await.unwrap();
        }
    };
    within("the camera sends to the other address", told).await;
    program.stop().await;
}

// ---- cameras ----

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_is_asked_for_what_the_start_allows() {
    let program = Program::start(Plan::with_servers(1)).await;
    let camera = program.first();
    let bounds = json!({"min_bandwidth": 700, "max_bandwidth": 900});
    assert_eq!(program.start_stream(&camera, &bounds).await.0, 201);
    let mut page = Page::open(&program, &camera.id().to_string()).await;
    page.until_picture(1).await;
    let asked = camera.state().feedback.remb.count;
    let state = camera
        .wait_for(DEADLINE, |state| state.feedback.remb.count >= asked + 5)
        .await
        .unwrap();
    let remb = state.feedback.last_remb.unwrap();
    assert!(
        (Bitrate::from_kbps(700)..=Bitrate::from_kbps(900)).contains(&remb),
        "{remb:?}"
    );
    let senseless = json!({"min_bandwidth": 900, "max_bandwidth": 700});
    assert_eq!(program.stop_stream(&camera).await.0, 200);
    let (status, body) = program.start_stream(&camera, &senseless).await;
    assert_eq!(status, 400, "{body}");
    drop(page);
    program.stop().await;
}

/// What takes 30 s with a real camera takes 4 s with this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_streams_on_beyond_its_patience() {
    let mut plan = Plan::with_servers(1);
    plan.cameras[0].rules.remb_timeout = Duration::from_secs(4);
    plan.cameras[0].rules.keepalive_timeout = Duration::from_secs(4);
    plan.change = |config| config.mqtt.keepalive_interval = Duration::from_secs(1);
    let program = Program::start(plan).await;
    let camera = program.first();
    assert_eq!(program.start_stream(&camera, &json!({})).await.0, 201);
    let started = program.until_active(&camera).await;
    let state = camera
        .wait_for(DEADLINE, |state| {
            state.feedback.keepalive.count >= 12 && state.feedback.remb.count >= 24
        })
        .await
        .unwrap();
    assert!(state.is_streaming());
    assert_eq!((state.stop_reason(), plays(&camera)), (None, 1));
    let now = program.until_active(&camera).await;
    assert_eq!(now["stream_id"], started["stream_id"]);
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_nobody_watches_stops_and_leaves_no_pipeline() {
    let program = Program::start(Plan {
        change: |config| config.stream.idle_timeout = Duration::from_secs(1),
        ..Plan::with_servers(1)
    })
    .await;
    let (camera, page) = watched(&program).await;
    drop(page);
    let state = camera
        .wait_for(DEADLINE, |state| !state.is_streaming())
        .await
        .unwrap();
    assert_eq!(state.stop_reason(), Some(StopReason::Commanded));
    let server = &program.servers[0];
    until("nothing is left", || server.pipelines().is_empty()).await;
    let health = program.get("/health").await;
    assert_eq!(
        (&health["active_streams"], &health["total_viewers"]),
        (&json!(0), &json!(0))
    );
    program.stop().await;
}

// ---- viewers ----

/// Answer and session of a viewer that joined over WHEP.
async fn join(program: &Program, camera: &CameraHandle, viewer: &mut Viewer) -> (String, String) {
    let joined = program.offer(camera, viewer.offer()).await;
    assert_eq!(joined.status(), 201);
    let session = joined.headers()["location"].to_str().unwrap().to_owned();
    let answer = joined.text().await.unwrap();
    viewer.accept(&answer);
    (answer, session)
}

/// How many viewers have an endpoint on a server.
fn viewers_on(server: &KurentoDouble) -> usize {
    let pipelines = server.pipelines();
    let endpoints = pipelines.iter().flat_map(|pipeline| &pipeline.endpoints);
    endpoints
        .filter(|endpoint| endpoint.kind == Kind::WebRtcEndpoint)
        .count()
}

const RESTART: &str =
    "a=ice-options:trickle\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef012345\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_player_finds_the_server_in_the_answer_and_is_told_to_join_again() {
    let program = Program::start(Plan::with_servers(1)).await;
    let (camera, server) = (program.first(), &program.servers[0]);
    let mut viewer = Viewer::new(program.address).await;
    let (answer, session) = join(&program, &camera, &mut viewer).await;
    let candidates = answer
        .lines()
        .filter(|line| line.starts_with("a=candidate:"));
    let address = format!(" {} ", program.address);
    assert!(
        candidates.clone().any(|line| line.contains(&address)),
        "{answer}"
    );
    viewer.until(Noticed::Picture, 10).await;
    viewer.until(Noticed::Sound, 10).await;

    let restart = program.request("PATCH", &session);
    let restart = restart
        .header("content-type", "application/trickle-ice-sdpfrag")
        .header("if-match", "*")
        .body(RESTART);
    let refused = restart.send().await.unwrap();
    assert_eq!(refused.status(), 422);
    let body: Value = refused.json().await.unwrap();
    let error = body["error"].as_str().unwrap();
    assert!(error.contains("join again"), "{error}");
    viewer.until(Noticed::Picture, 10).await;

    let left = program.request("DELETE", &session).send().await.unwrap();
    assert_eq!(left.status(), 200);
    until("its endpoint is gone", || viewers_on(server) == 0).await;
    assert_eq!(
        server.pipelines().len(),
        1,
        "the stream goes on for a while"
    );
    program.stop().await;
}

/// The server encodes for it, which a double does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_h264_is_answered() {
    let program = Program::start(Plan::with_servers(1)).await;
    let mut viewer = Viewer::without_h264(program.address).await;
    let (answer, _) = join(&program, &program.first(), &mut viewer).await;
    assert!(answer.contains("VP8/90000"), "{answer}");
    viewer.until(Noticed::Sound, 10).await;
    assert_eq!(program.servers[0].transcoding_viewers(), 1);
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_no_more_viewers_than_its_limit() {
    let program = Program::start(Plan {
        change: |config| config.media.max_viewers_per_stream = 1,
        ..Plan::with_servers(1)
    })
    .await;
    let camera = program.first();
    let mut first = Viewer::new(program.address).await;
    let (_, session) = join(&program, &camera, &mut first).await;
    first.until(Noticed::Picture, 1).await;
    let mut second = Viewer::new(program.address).await;
    let refused = program.offer(&camera, second.offer()).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let body: Value = refused.json().await.unwrap();
    let error = body["error"].as_str().unwrap();
    assert!(error.contains("media.max_viewers_per_stream"), "{error}");
    assert_eq!(viewers_on(&program.servers[0]), 1);

    let left = program.request("DELETE", &session).send().await.unwrap();
    assert_eq!(left.status(), 200);
    join(&program, &camera, &mut second).await;
    second.until(Noticed::Picture, 1).await;
    program.stop().await;
}

// ---- everything at once ----

const CYCLES: usize = 200;
/// What is asked for while a stream and its viewer are set up.
const SETTING_UP: [&str; 9] = [
    "MediaPipeline",
    "setName",
    "RtpEndpoint",
    "setMaxVideoRecvBandwidth",
    "processOffer",
    "WebRtcEndpoint",
    "connect",
    "IceCandidateFound",
    "gatherCandidates",
];

/// Something goes wrong with a server, its connection left in peace.
fn break_an_answer(server: &KurentoDouble, random: &mut StdRng) {
    let op = SETTING_UP.choose(random).unwrap();
    let effect = *[Effect::CarriedOut, Effect::Lost].choose(random).unwrap();
    match random.random_range(0..20) {
        0..12 => server.fail_next(op, RpcFault::new(40_000, "GENERIC", "out of luck")),
        // A pipeline that nobody was told of is found when the server is connected to for the next time, whenever that is.
        12 if *op == "MediaPipeline" => server.swallow(op, Effect::Lost),
        12 => server.swallow(op, effect),
        13 => server.swallow("release", effect),
        _ => {}
    }
}

/// A server's connection breaks, or soon will, or all of the server does.
fn break_the_connection(server: &KurentoDouble, random: &mut StdRng) {
    let op = SETTING_UP.choose(random).unwrap();
    let effect = *[Effect::CarriedOut, Effect::Lost].choose(random).unwrap();
    match random.random_range(0..6) {
        0..3 => server.drop_on(op, effect),
        3 => server.drop_on("release", effect),
        4 => server.drop_sockets(),
        _ => server.restart(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_with_servers_nothing_is_left_on_them() {
    let mut plan = Plan::with_servers(2);
    plan.cameras.push(cheap(2, plan.address));
    plan.change = |config| {
        config.kurento.request_timeout = Duration::from_millis(300);
        config.kurento.failover_after = Duration::from_millis(600);
    };
    let program = Program::start(plan).await;
    let mut random = StdRng::seed_from_u64(0xbee);
    let viewer = Viewer::new(program.address).await;
    let mut started = 0;
    for cycle in 0..CYCLES {
        let server = program.servers.choose(&mut random).unwrap();
        break_an_answer(server, &mut random);
        // A new connection has the server looked through, which makes up for much: in the second half there is none.
        let is_rough = cycle < CYCLES / 2;
        if is_rough && random.random_bool(0.4) {
            break_the_connection(server, &mut random);
        }
        let camera = program.cameras().choose(&mut random).unwrap();
        let status = match random.random() {
            true => program.start_stream(camera, &json!({})).await.0,
            false => program
                .offer(camera, viewer.offer())
                .await
                .status()
                .as_u16(),
        };
        assert!(matches!(status, 201 | 502 | 503), "cycle {cycle}: {status}");
        started += usize::from(status == 201);
        if is_rough && random.random_bool(0.1) {
            server.drop_sockets();
        }
        let (status, body) = program.stop_stream(camera).await;
        assert!(matches!(status, 200 | 404), "cycle {cycle}: {body}");
        server.clear_faults();
    }
    println!("{started} of {CYCLES} streams and viewers got in");
    until("nothing is left on any server", || {
        let servers = program.servers.iter();
        servers
            .map(|server| server.pipelines().len())
            .sum::<usize>()
            == 0
    })
    .await;
    program.until_healthy().await;
    let health = program.get("/health").await;
    assert_eq!(
        (&health["active_streams"], &health["total_viewers"]),
        (&json!(0), &json!(0))
    );
    for server in &program.servers {
        assert_eq!(server.subscriptions().len(), 0, "of what is gone");
        let entry = entry_of(&health, server);
        assert_eq!(
            (&entry["streams"], &entry["viewers"]),
            (&json!(0), &json!(0))
        );
    }
    // And all is well.
    watched(&program).await;
    program.stop().await;
}
