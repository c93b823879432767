//! Webhooks, from the camera to the receiver: the program is a process of its own, which is killed where that matters.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod http_support;
mod program_support;
mod webhook_support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use apiary::config::{Config, Environment};
use apiary::supervisor::{EVENT_QUEUE, LabelChange};
use apiary::webhooks::Webhooks;
use apiary_sim::{Broker, Simulator, SimulatorConfig};
use apiary_wire::camera::Activity;
use aws_lc_rs::digest::{SHA256, digest};
use futures_util::FutureExt as _;
use http_support::{CAMERA, Gateway};
use jiff::Timestamp;
use program_support::viewer::{Noticed, Viewer};
use program_support::{DEADLINE, cheap, within};
use reqwest::StatusCode;
use serde_json::{Value, json};
use webhook_support::{Delivery, FAIL, Hook, Mode, PATH, Program, SECRET, TAKE, command};

const WAITING: &str = "apiary_webhook_events_waiting";
const FAILED: &str = "apiary_webhook_attempts_failed_total";
const SENT: &str = "apiary_webhook_events_sent_total";
const FULL: &str = "apiary_webhook_events_dropped_total{reason=\"queue_full\"}";

/// Cameras that connect to the program.
async fn cameras(program: &Program, count: u32) -> Simulator {
    let cameras = (1..=count)
        .map(|number| cheap(number, program.address))
        .collect();
    let broker = Broker::local(program.broker.port());
    let simulator = Simulator::start(SimulatorConfig::new(broker, cameras))
        .await
        .unwrap();
    for camera in simulator.cameras() {
        camera
            .wait_for(DEADLINE, |camera| camera.connected)
            .await
            .unwrap();
    }
    simulator
}

/// HMAC as RFC 2104 writes it, from nothing but the hash.
fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    assert!(key.len() <= 64);
    let padded = |with: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0));
        key.take(64).map(|byte| byte ^ with).collect()
    };
    let inner = digest(&SHA256, &[&padded(0x36), message].concat());
    let outer = digest(&SHA256, &[&padded(0x5c), inner.as_ref()].concat());
    outer
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn check_signature(delivery: &Delivery) {
    let timestamp = delivery.header("apiary-timestamp");
    let signed = [timestamp.as_bytes(), b".", &delivery.body].concat();
    let expected = format!("sha256={}", hmac_sha256(SECRET.as_bytes(), &signed));
    assert_eq!(delivery.header("apiary-signature"), expected);
    let age = Timestamp::now().as_second() - timestamp.parse::<i64>().unwrap();
    assert!((0..300).contains(&age), "{age}");
    assert_eq!(delivery.header("apiary-id"), delivery.id());
    assert_eq!(delivery.header("apiary-event"), delivery.kind());
    assert_eq!(delivery.header("content-type"), "application/json");
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_are_told_what_happens_signed_and_no_log_holds_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Hook::start(TAKE).await;
    let program = Program::start(dir.path(), &[&hook], &[]).await;
    let simulator = cameras(&program, 1).await;
    let camera = &simulator.cameras()[0];
    hook.until_kind("camera.online").await;

    let name = serde_json::json!({ "name": "Porch" });
    let named = program
        .request("PATCH", &format!("/cameras/{}", camera.id()))
        .json(&name);
    assert_eq!(named.send().await.unwrap().status(), StatusCode::OK);
    let mut viewer = Viewer::new(program.address).await;
    let offer = program
        .request("POST", &format!("/whep/{}", camera.id()))
        .header("content-type", "application/sdp")
        .body(viewer.offer().to_owned());
    let answer = offer.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    viewer.accept(&answer.text().await.unwrap());
    viewer.until(Noticed::Picture, 1).await;
    let joined = hook.until_kind("viewer.joined").await.json();
    let started = hook.until_kind("stream.started").await.json();
    assert_eq!(started["camera"], camera.id().to_string());
    assert_eq!(started["camera_name"], "Porch");

    let activity = Activity {
        event_id: Some("7".to_owned()),
        activity_type: Some("PERSON".to_owned()),
        timestamp: None,
        confidence: Some(0.5),
        region: None,
    };
    camera.activity_start(activity.clone()).await.unwrap();
    camera.activity_stop(activity).await.unwrap();
    let noticed = hook.until_kind("activity.started").await.json();
    assert_eq!(noticed["data"]["activity_type"], "PERSON");
    hook.until_kind("activity.stopped").await;

    camera.pause_sending().unwrap();
    hook.until_kind("stream.stalled").await;
    camera.resume_sending().unwrap();
    hook.until_kind("stream.resumed").await;
    let stop = program.request("POST", &format!("/streams/{}/stop", camera.id()));
    assert_eq!(stop.send().await.unwrap().status(), StatusCode::OK);
    let left = hook.until_kind("viewer.left").await.json();
    assert_eq!(left["data"]["viewer_id"], joined["data"]["viewer_id"]);
    let stopped = hook.until_kind("stream.stopped").await.json();
    assert_eq!(stopped["data"]["session_id"], started["data"]["session_id"]);
    camera.kill().await.unwrap();
    hook.until_kind("camera.offline").await;

    let heard = hook.heard();
    heard.iter().for_each(check_signature);
    let ids: BTreeSet<String> = heard.iter().map(Delivery::id).collect();
    assert_eq!(ids.len(), heard.len(), "each once");
    verify_as_documented(&heard[0]);
    program.until_figure(WAITING, 0).await;
    assert_eq!(program.figure(SENT).await, heard.len() as u64);
    simulator.shutdown().await;
    let log = program.stop().await;
    assert!(!log.contains(SECRET) && !log.contains(PATH), "h09: {log}");
}

/// What docs/webhooks.md tells receivers to do.
fn verify_as_documented(delivery: &Delivery) {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/webhooks.md");
    let document = std::fs::read_to_string(document).unwrap();
    let code = document.split("```python\n").nth(1).unwrap();
    let code = code.split("```").next().unwrap();
    let main = "\nimport sys\nbody = sys.stdin.buffer.read()\n\
        print(is_genuine({'Apiary-Timestamp': sys.argv[2], 'Apiary-Signature': sys.argv[3]}, body, sys.argv[1]))\n";
    let verify = |secret: &str, timestamp: &str| {
        let mut python = Command::new("python3")
            .args(["-c", &format!("{code}{main}"), secret, timestamp])
            .arg(delivery.header("apiary-signature"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        python
            .stdin
            .take()
            .unwrap()
            .write_all(&delivery.body)
            .unwrap();
        let output = python.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let timestamp = delivery.header("apiary-timestamp");
    assert_eq!(verify(SECRET, timestamp), "True");
    assert_eq!(verify("another secret", timestamp), "False");
    assert_eq!(verify(SECRET, "1000000000"), "False");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_outlives_a_kill_and_is_delivered_under_the_same_ids() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Hook::start(FAIL).await;
    let mut program = Program::start(dir.path(), &[&hook], &[]).await;
    let simulator = cameras(&program, 3).await;
    program.until_figure(WAITING, 3).await;
    let tried = hook
        .until("a second attempt", |heard| heard.len() >= 2)
        .await;
    let first = tried[0].id();
    assert!(
        tried.iter().all(|delivery| delivery.id() == first),
        "in order"
    );
    program.kill();
    simulator.shutdown().await;
    assert_eq!(hook.taken().len(), 0);

    hook.set(TAKE);
    let program = Program::start(dir.path(), &[&hook], &[]).await;
    let taken = |heard: &[Delivery]| {
        heard
            .iter()
            .filter(|delivery| delivery.mode == TAKE)
            .count()
    };
    hook.until("all that waited", |heard| taken(heard) >= 3)
        .await;
    let taken = hook.taken();
    assert_eq!(taken[0].id(), first);
    taken.iter().for_each(check_signature);
    let online: BTreeSet<String> = taken
        .iter()
        .map(|delivery| delivery.json()["camera"].to_string())
        .collect();
    assert_eq!(online.len(), 3, "{taken:?}");
    program.until_figure(WAITING, 0).await;
    program.stop().await;

    // What was taken is not sent again.
    let program = Program::start(dir.path(), &[&hook], &[]).await;
    assert_eq!(program.figure(WAITING).await, 0);
    assert_eq!(hook.taken().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_streams_stopped_with_the_program_is_told_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Hook::start(TAKE).await;
    let program = Program::start(dir.path(), &[&hook], &[]).await;
    let simulator = cameras(&program, 1).await;
    let camera = simulator.cameras()[0].id();
    let start = program.request("POST", &format!("/streams/{camera}/start"));
    assert_eq!(start.send().await.unwrap().status(), StatusCode::CREATED);
    let started = hook.until_kind("stream.started").await.json();
    hook.set(FAIL);
    program.stop().await;
    simulator.shutdown().await;
    hook.set(TAKE);
    let program = Program::start(dir.path(), &[&hook], &[]).await;
    let is_stop =
        |delivery: &&Delivery| delivery.mode == TAKE && delivery.kind() == "stream.stopped";
    let heard = hook.until("the stop", |heard| {
        heard.iter().any(|delivery| is_stop(&delivery))
    });
    let stopped = heard.await.iter().find(is_stop).unwrap().json();
    assert_eq!(stopped["data"]["session_id"], started["data"]["session_id"]);
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_again_until_it_is_taken_and_its_signature_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Hook::start(FAIL).await;
    let program = Program::start(dir.path(), &[&hook], &[]).await;
    let simulator = cameras(&program, 1).await;
    hook.until("an attempt", |heard| !heard.is_empty()).await;
    hook.set(TAKE);
    let heard = hook
        .until("another", |heard| {
            heard.last().is_some_and(|last| last.mode == TAKE)
        })
        .await;
    let ids: BTreeSet<String> = heard.iter().map(Delivery::id).collect();
    assert_eq!(ids.len(), 1, "the same event");
    heard.iter().for_each(check_signature);
    program.until_figure(WAITING, 0).await;
    assert!(program.figure(FAILED).await >= 1);
    assert_eq!(program.figure(SENT).await, 1);
    simulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_loses_the_oldest_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Hook::start(FAIL).await;
    let settings = [("APIARY_WEBHOOKS_QUEUE_LIMIT", "2")];
    let program = Program::start(dir.path(), &[&hook], &settings).await;
    let simulator = cameras(&program, 5).await;
    program.until_figure(FULL, 3).await;
    assert_eq!(program.figure(WAITING).await, 2);
    hook.set(TAKE);
    program.until_figure(WAITING, 0).await;
    let taken: BTreeSet<String> = hook.taken().iter().map(Delivery::id).collect();
    // One more may have been on its way when it made room.
    assert!((2..=3).contains(&taken.len()), "{taken:?}");
    let log = program.stop().await;
    simulator.shutdown().await;
    assert_eq!(log.matches("are dropped, the oldest first").count(), 1);
    assert_eq!(log.matches("a webhook takes no event").count(), 1);
    assert!(!log.contains(SECRET) && !log.contains(PATH), "h09: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (slow, quick) = (Hook::start(Mode::Hang).await, Hook::start(TAKE).await);
    let program = Program::start(dir.path(), &[&slow, &quick], &[]).await;
    let simulator = cameras(&program, 4).await;
    slow.until("it is asked", |heard| !heard.is_empty()).await;
    quick.until("all four", |heard| heard.len() >= 4).await;
    assert_eq!(slow.heard().len(), 1, "it still has the first");
    assert_eq!(program.figure(FAILED).await, 0, "and was not given up yet");
    // Nor the end of the program, and what it has not taken stays.
    let log = program.stop().await;
    assert!(!log.contains("not written in time"), "{log}");
    slow.set(TAKE);
    let program = Program::start(dir.path(), &[&slow, &quick], &[]).await;
    slow.until("the same four", |heard| {
        heard
            .iter()
            .filter(|delivery| delivery.mode == TAKE)
            .count()
            >= 4
    })
    .await;
    program.stop().await;
    simulator.shutdown().await;
}

async fn try_out(program: &Program) -> (StatusCode, Value) {
    let answer = program.request("POST", "/api/webhooks/test").send();
    let answer = within("the trial", answer).await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_can_be_tried_out_and_redirects_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (good, elsewhere) = (Hook::start(TAKE).await, Hook::start(TAKE).await);
    let lured = Hook::start(Mode::Redirect(elsewhere.url())).await;
    let program = Program::start(dir.path(), &[&good, &lured], &[]).await;
    let (status, report) = try_out(&program).await;
    assert_eq!(
        (status, &report["delivered"]),
        (StatusCode::OK, &Value::from(false))
    );
    assert_eq!(report["receivers"][0]["status"], 204);
    let error = report["receivers"][1]["error"].as_str().unwrap();
    assert!(error.contains("redirects are not followed"), "{error}");
    let cause = json!({"code": "receiver_redirects", "values": {"status": "302 Found"}});
    assert_eq!(report["receivers"][1]["cause"], cause);
    assert!(!report.to_string().contains(PATH), "{report}");
    let tried = good.until_kind("webhook.test").await;
    check_signature(&tried);
    assert_eq!(elsewhere.heard().len(), 0);
    lured.set(Mode::Hang);
    let under_way = program.request("POST", "/api/webhooks/test").send();
    let first = tokio::spawn(under_way);
    lured.until("the trial", |heard| heard.len() == 2).await;
    assert_eq!(try_out(&program).await.0, StatusCode::CONFLICT);
    first.abort(); // with who asked goes the trial

    lured.set(TAKE);
    let output = |hooks: &[&Hook]| {
        command(dir.path(), &["webhook-test"], hooks, &[])
            .output()
            .unwrap()
    };
    let well = output(&[&good, &lured]);
    assert!(well.status.success());
    assert_eq!(
        String::from_utf8(well.stdout)
            .unwrap()
            .matches("taken (204)")
            .count(),
        2
    );
    lured.set(FAIL);
    let ill = output(&[&good, &lured]);
    assert_eq!(ill.status.code(), Some(1));
    assert!(
        String::from_utf8(ill.stderr)
            .unwrap()
            .contains("it answers 500")
    );

    program.stop().await;
    let none = Program::start(dir.path(), &[], &[]).await;
    assert_eq!(try_out(&none).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn h10_a_private_address_is_refused_unless_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Hook::start(TAKE).await;
    let port = hook.address.port();
    for address in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "0",
    ] {
        let url = format!("http://{address}:{port}{PATH}");
        let settings = [
            ("APIARY_WEBHOOKS_URLS", url.as_str()),
            ("APIARY_WEBHOOKS_ALLOW_PRIVATE", ""),
        ];
        let refused = command(dir.path(), &["serve"], &[], &settings)
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(1), "{address}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(
            said.contains("no public address") && said.contains("webhooks.allow_private"),
            "{said}"
        );
        assert!(!said.contains(PATH) && !said.contains(SECRET), "{said}");
    }
    // What a name means is seen when it is looked up.
    let url = format!("http://localhost:{port}{PATH}");
    let settings = [
        ("APIARY_WEBHOOKS_URLS", url.as_str()),
        ("APIARY_WEBHOOKS_ALLOW_PRIVATE", "10.0.0.0/8"),
    ];
    let program = Program::start(dir.path(), &[], &settings).await;
    let (_, report) = try_out(&program).await;
    let error = report["receivers"][0]["error"].as_str().unwrap();
    assert!(error.contains("webhooks.allow_private"), "{error}");
    let simulator = cameras(&program, 1).await;
    program.until_figure(WAITING, 1).await;
    simulator.shutdown().await;
    let check = command(dir.path(), &["check"], &[], &settings)
        .output()
        .unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(said.contains("PROBLEM webhooks.urls"), "{said}");
    assert_eq!(hook.heard().len(), 0);
}

/// What is lost is counted, and what comes afterwards is told.
#[tokio::test]
async fn more_at_once_than_can_be_taken_note_of_is_counted() {
    let gateway = Gateway::start().await;
    let hook = Hook::start(TAKE).await;
    let dir = tempfile::tempdir().unwrap();
    let variables = [
        ("APIARY_WEBHOOKS_URLS", hook.url()),
        ("APIARY_WEBHOOKS_SECRET", SECRET.to_owned()),
        ("APIARY_WEBHOOKS_ALLOW_PRIVATE", "127.0.0.1/32".to_owned()),
        ("APIARY_DATA_DIR", dir.path().display().to_string()),
    ];
    let environment = Environment {
        variables: variables
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        ..Environment::default()
    };
    let webhooks = Webhooks::new(&Config::load(None, &environment).unwrap()).unwrap();
    let tasks = webhooks.tell_of(&gateway.supervisor).await;
    gateway.camera_says_hello(CAMERA).await;
    hook.until_kind("camera.online").await;

    // Nobody else has a turn on this thread meanwhile.
    for number in 0..2 * EVENT_QUEUE {
        let change = LabelChange {
            name: Some(Some(number.to_string())),
            ..LabelChange::default()
        };
        let changed = gateway
            .supervisor
            .label_camera(http_support::id(CAMERA), change);
        _ = changed.now_or_never();
    }
    let started = gateway
        .post_json(&format!("/streams/{CAMERA}/start"), None)
        .await;
    assert_eq!(started.0, StatusCode::CREATED);
    gateway.rtp_started(CAMERA).await;
    hook.until_kind("stream.started").await;
    let dropped = webhooks.counts().dropped.counts();
    let dropped: BTreeMap<&str, u64> = dropped.collect();
    assert!(dropped["not_kept"] >= EVENT_QUEUE as u64, "{dropped:?}");
    tasks.shutdown().await;
    gateway.stop().await;
}
