//! The whole program with Kurento as its engine: simulated cameras, doubles as servers, and viewers over signaling and WHEP.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that goes wrong fails; how long a picture was away is printed, not asserted"
)]

mod program_support;

use apiary_kurento_double::{KurentoDouble, Options};
use program_support::page::{Page, Seen};
use program_support::{Plan, Program, plays, until};
use serde_json::{Value, json};

/// The first camera, and a page that sees it.
async fn watched(program: &Program) -> (apiary_sim::CameraHandle, Page) {
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
