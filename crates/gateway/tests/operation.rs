//! What those who run the program see of it: whether it is alive and ready, and its figures.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

mod http_support;
mod operation_support;
mod program_support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use apiary::config::Environment;
use apiary::config::keys::KEYS;
use apiary::mqtt::BrokerState;
use apiary::operation::{HUNG_AFTER, Liveness, Pulse, ServiceManager};
use apiary_wire::units::Bitrate;
use http_support::engine::FakeEngine;
use http_support::{CAMERA, Gateway, OFFER};
use jiff::Timestamp;
use operation_support::{Figures, monitoring, promql, promtool};
use program_support::viewer::{Noticed, Viewer};
use program_support::{Plan, Program, within};
use reqwest::StatusCode;
use serde_json::{Value, json};

async fn ready(gateway: &Gateway) -> (StatusCode, Value) {
    let response = gateway
        .request("GET", "/health/ready")
        .send()
        .await
        .unwrap();
    (response.status(), response.json().await.unwrap())
}

fn since(part: &Value) -> Timestamp {
    part["since"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn readiness_names_each_part_with_its_state_and_since_when() {
    let before = Timestamp::now();
    let gateway = Gateway::start().await;
    let (status, all_up) = ready(&gateway).await;
    assert_eq!((status, &all_up["ready"]), (StatusCode::OK, &true.into()));
    for part in ["broker", "engine", "database"] {
        assert_eq!(all_up[part]["state"], "up");
        assert!(since(&all_up[part]) >= before, "{part}");
    }
    gateway.engine.set_trouble(Some("no media server answers"));
    let (status, engine_down) = ready(&gateway).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(engine_down["ready"], false);
    assert_eq!(engine_down["engine"]["state"], "down");
    assert!(since(&engine_down["engine"]) > since(&all_up["engine"]));
    assert_eq!(engine_down["broker"], all_up["broker"], "it is as it was");
    gateway.set_broker(BrokerState::Unreachable {
        cause: "it is gone".to_owned(),
        since: Timestamp::now(),
    });
    gateway.engine.set_trouble(None);
    let (status, broker_down) = ready(&gateway).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(broker_down["broker"]["state"], "down");
    assert_eq!(broker_down["engine"]["state"], "up");
    // Nothing of that is a reason to start the program anew.
    assert_eq!(gateway.get_json("/health/live").await["alive"], true);
    gateway.stop().await;
}

#[tokio::test]
async fn a_worker_that_hangs_is_a_reason_to_start_anew() {
    let gateway = Gateway::start().await;
    let live = async || {
        let request = gateway.request("GET", "/health/live");
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, response.json::<Value>().await.unwrap())
    };
    for (busy_for, status, alive) in [
        (Duration::ZERO, StatusCode::OK, true),
        (HUNG_AFTER / 2, StatusCode::OK, true),
        (HUNG_AFTER, StatusCode::SERVICE_UNAVAILABLE, false),
        (Duration::ZERO, StatusCode::OK, true),
    ] {
        gateway.engine.set_busy_for(busy_for);
        let (answered, body) = live().await;
        assert_eq!((answered, &body["alive"]), (status, &alive.into()));
    }
    gateway.stop().await;
}

/// Time stands still but where the test waits, and nothing beats the pulse.
#[tokio::test(start_paused = true)]
async fn signs_of_life_are_given_only_while_nothing_hangs() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_nonblocking(true).unwrap();
    // How often it was told since the last time.
    let signs = || {
        let mut buffer = [0; 64];
        let mut signs = 0;
        loop {
            match systemd.recv(&mut buffer) {
                Ok(length) => assert_eq!(&buffer[..length], b"WATCHDOG=1"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return signs,
                Err(error) => panic!("{error}"),
            }
            signs += 1;
        }
    };
    let variables = [
        ("NOTIFY_SOCKET", path.display().to_string()),
        ("WATCHDOG_USEC", TIMEOUT.as_micros().to_string()),
    ];
    let environment = Environment {
        variables: variables
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        ..Environment::default()
    };
    let service_manager = ServiceManager::of(&environment).unwrap();
    let engine = Arc::new(FakeEngine::default());
    let liveness = Liveness::new(engine.clone(), Arc::new(Pulse::default()));
    let task = tokio::spawn(service_manager.give_signs_of_life(liveness));
    tokio::time::sleep(TIMEOUT).await;
    assert!(signs() >= 3);
    engine.set_busy_for(HUNG_AFTER);
    tokio::time::sleep(TIMEOUT).await;
    assert_eq!(signs(), 0, "a worker hangs");
    engine.set_busy_for(Duration::ZERO);
    tokio::time::sleep(TIMEOUT / 2).await;
    assert!(signs() > 0);
    tokio::time::sleep(HUNG_AFTER).await;
    signs();
    tokio::time::sleep(TIMEOUT).await;
    assert_eq!(signs(), 0, "the control side hangs");
    task.abort();
}

#[tokio::test]
async fn figures_count_what_the_api_did() {
    let gateway = Gateway::start().await;
    let scrape = async || {
        let response = gateway.request("GET", "/metrics").send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        Figures::read(&response.text().await.unwrap())
    };
    let first = scrape().await;
    assert_eq!(first.get("apiary_streams{state=\"starting\"}"), 0.0);
    gateway.join_by_whep(CAMERA).await;
    let refused = gateway
        .post_offer(CAMERA, &OFFER.replace("H264", "VP8"))
        .await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    gateway.rtp_started(CAMERA).await;
    let then = scrape().await;
    for (series, value) in [
        ("apiary_streams{state=\"active\"}", 1.0),
        ("apiary_active_streams{health=\"good\"}", 1.0),
        ("apiary_streams_started_total", 1.0),
        ("apiary_joins_total", 1.0),
        ("apiary_join_answer_seconds_count", 1.0),
        ("apiary_joins_refused_total{reason=\"bad_offer\"}", 1.0),
        ("apiary_viewers{state=\"joining\"}", 1.0),
        ("apiary_part_up{part=\"database\"}", 1.0),
    ] {
        assert_eq!(then.get(series), value, "{series}");
    }
    assert!(then.get("process_resident_memory_bytes") > 1e6);
    assert!(then.get("process_open_fds") > 3.0);
    let (status, _) = gateway
        .post_json(&format!("/streams/{CAMERA}/stop"), None)
        .await;
    assert_eq!(status, StatusCode::OK);
    let last = scrape().await;
    assert_eq!(
        last.get("apiary_viewers_gone_total{reason=\"stream_closed\"}"),
        1.0
    );
    assert_eq!(last.get("apiary_joins_total"), 1.0);
    assert_eq!(
        last.names(),
        first.names(),
        "no stream or viewer adds a series"
    );
    gateway.stop().await;
}

/// The whole program, and its own listener for figures.
async fn program() -> (Program, String) {
    let mut plan = Plan::alone();
    plan.change = |config| {
        let own = config.network.local_ip.into();
        config.ingest.bind = own;
        config.media.bind = own;
        config.metrics.listen = Some("127.0.0.1:0".parse().unwrap());
    };
    let program = Program::start(plan).await;
    let metrics = program.metrics_address().await.unwrap();
    (program, format!("http://{metrics}/metrics"))
}

async fn scrape(url: &str) -> (String, Figures) {
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let figures = Figures::read(&text);
    (text, figures)
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_tell_of_packets_and_outlive_streams() {
    let (program, url) = program().await;
    let camera = program.first();
    let (_, first) = scrape(&url).await;
    let mut received = 0.0;
    for run in 1..=2 {
        let mut viewer = Viewer::new(program.address).await;
        let answer = program.offer(&camera, viewer.offer()).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        viewer.accept(&answer.text().await.unwrap());
        viewer.until(Noticed::Picture, 3).await;
        assert_eq!(program.stop_stream(&camera).await.0, 200);
        let (text, now) = scrape(&url).await;
        promtool(&["check", "metrics"], &text);
        assert!(now.get("apiary_camera_packets_total") > received);
        received = now.get("apiary_camera_packets_total");
        assert!(now.get("apiary_camera_rembs_total") >= f64::from(run));
        assert!(now.get("apiary_viewer_packets_total") > 0.0);
        assert!(now.get("apiary_keepalives_sent_total") >= f64::from(run));
        assert_eq!(
            now.get("apiary_join_duration_seconds_count"),
            f64::from(run)
        );
        assert!(now.get("apiary_mqtt_commands_total{outcome=\"taken\"}") >= f64::from(3 * run));
        assert!(now.get("apiary_worker_cpu_seconds_total{worker=\"0\"}") > 0.0);
        assert!(now.get("apiary_worker_lag_seconds_count{worker=\"0\"}") > 0.0);
        assert_eq!(
            now.names(),
            first.names(),
            "no stream or viewer adds a series"
        );
        let id = camera.id().to_string();
        assert!(!text.contains(&id) && !text.contains(&id.to_lowercase()));
    }
    // The same behind the API, and nothing else on the other listener.
    let there = program.request("GET", "/metrics").send().await.unwrap();
    assert_eq!(
        Figures::read(&there.text().await.unwrap()).names(),
        first.names()
    );
    let elsewhere = reqwest::get(url.replace("/metrics", "/streams"))
        .await
        .unwrap();
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
    within("the end", program.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_start_by_the_settings_as_they_were_read_last() {
    let (program, _) = program().await;
    let camera = program.first();
    let wish = json!({"min_bandwidth": 6000});
    let (status, refusal) = program.start_stream(&camera, &wish).await;
    assert_eq!(status, 400, "{refusal}");
    let more = Bitrate::from_kbps(8000);
    program
        .reload(|config| config.media.max_bitrate = more)
        .await;
    let (status, stream) = program.start_stream(&camera, &wish).await;
    assert_eq!(status, 201, "{stream}");
    within("the end", program.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_ask_for_what_there_is() {
    let (program, url) = program().await;
    let (_, figures) = scrape(&url).await;
    within("the end", program.stop()).await;
    let panels = monitoring::panels();
    assert!(panels.len() > 20, "they are read");
    let shown = panels.iter().flat_map(|panel| &panel.expressions);
    let alerts = monitoring::alerts();
    let watched = alerts.iter().map(|alert| &alert.expression);
    let mut asked = 0;
    for expression in shown.chain(watched) {
        for selector in promql::selectors(expression) {
            selector.assert_in(&figures);
            asked += 1;
        }
    }
    assert!(asked > 80, "they are found");
}

/// Prometheus takes them, each fires when it should, and each says what to do with words that mean something.
#[test]
fn alerts_hold_and_name_what_to_do() {
    let alerts = monitoring::alerts();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| &*alert.name).collect();
    assert_eq!(names.len(), alerts.len(), "each has a name of its own");
    for alert in &alerts {
        assert!(["critical", "warning"].contains(&&*alert.severity));
        assert!(
            alert.summary.contains("{{ $labels.instance }}"),
            "{alert:?}"
        );
        let words = alert
            .action
            .split(|c: char| !c.is_ascii_alphanumeric() && !['_', '.'].contains(&c))
            .map(|word| word.trim_end_matches('.'));
        for word in words {
            let is_alert = word.starts_with("Apiary") && word.len() > "Apiary".len();
            assert!(!is_alert || names.contains(word), "{word}");
            let section = word.split_once('.').map(|(section, _)| section);
            let is_key = KEYS.iter().any(|key| key.path == word);
            let is_like_one = KEYS
                .iter()
                .any(|key| key.path.split_once('.').map(|(own, _)| own) == section);
            assert!(section.is_none() || is_key || !is_like_one, "{word}");
        }
    }
    let file = |name| monitoring::path(name).display().to_string();
    promtool(&["check", "rules", &file("alerts.yaml")], "");
    promtool(&["test", "rules", &file("alerts.test.yaml")], "");
}

#[test]
fn the_dashboard_holds() {
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    let panels = monitoring::panels();
    for (number, panel) in panels.iter().enumerate() {
        assert!(!panel.description.is_empty(), "{}", panel.title);
        let [x, y, w, h] = panel.place;
        assert!(x + w <= 24, "{} is beside the page", panel.title);
        let covers = |other: &&monitoring::Panel| {
            let [ox, oy, ow, oh] = other.place;
            x < ox + ow && ox < x + w && y < oy + oh && oy < y + h
        };
        let under = panels[number + 1..].iter().find(covers);
        assert!(under.is_none(), "{} covers {under:?}", panel.title);
        for expression in &panel.expressions {
            let expression = serde_json::to_string(expression).unwrap();
            writeln!(rules, "  - {{record: p{number}, expr: {expression}}}").unwrap();
        }
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    let path = file.path().display().to_string();
    promtool(&["check", "rules", "--lint=none", &path], "");
}
