//! What pages are told over `/api/events/stream` as it happens: to whom, how it goes on after a break, and what ends it.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod http_support;

use apiary::auth::{Actor, NewUser, Principal, UserChange};
use apiary::mqtt::BrokerState;
use apiary::secret::Secret;
use apiary_store::{CameraScope, Role, UserId};
use http_support::{CAMERA, DEADLINE, Gateway, OTHER_CAMERA, Socket, id, within};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

const PASSWORD: &str = "correct horse battery";
const NO_RIGHT: Option<u16> = Some(4401);

/// The socket of a page, with the cookie of a login.
async fn open(
    gateway: &Gateway,
    cookie: Option<&str>,
    after: Option<&str>,
) -> Result<Socket, Box<WsError>> {
    let after = after
        .map(|after| format!("?after={after}"))
        .unwrap_or_default();
    let url = format!("ws://{}/api/events/stream{after}", gateway.http);
    let mut request = url.into_client_request().unwrap();
    let origin = format!("http://{}", gateway.http);
    request
        .headers_mut()
        .insert("origin", origin.parse().unwrap());
    if let Some(cookie) = cookie {
        request
            .headers_mut()
            .insert("cookie", cookie.parse().unwrap());
    }
    let opened = within("the handshake", tokio_tungstenite::connect_async(request)).await;
    let (socket, _) = opened.map_err(Box::new)?;
    Ok(Socket(socket))
}

/// A socket that was told how all stands; with that and the id to go on from.
async fn watch(gateway: &Gateway, cookie: Option<&str>) -> (Socket, Value, String) {
    let mut socket = open(gateway, cookie, None).await.unwrap();
    let hello = socket.hear().await.unwrap();
    assert_eq!(
        (&hello["type"], &hello["resumed"]),
        (&json!("hello"), &json!(false))
    );
    let snapshot = socket.hear().await.unwrap();
    assert_eq!(snapshot["type"], "snapshot");
    let place = snapshot["id"].as_str().unwrap().to_owned();
    (socket, snapshot, place)
}

fn ids(snapshot: &Value) -> Vec<&str> {
    let cameras = snapshot["cameras"].as_array().unwrap().iter();
    cameras
        .map(|camera| camera["camera_id"].as_str().unwrap())
        .collect()
}

fn activity(gateway: &Gateway, camera: &str, edge: &str, name: &str) {
    let topic = format!("prod/device/message/hive-cam/{camera}/activity/{edge}");
    let payload = json!({ "eventId": name, "activityType": "MOTION" });
    gateway.camera_publishes(&topic, &payload.to_string());
}

/// The names of events up to this one, which is awaited.
async fn events_until(socket: &mut Socket, last: &str) -> Vec<String> {
    let mut names = Vec::new();
    while names.last().map(String::as_str) != Some(last) {
        let event = socket.hear_type("event").await;
        names.push(event["event"]["event_id"].as_str().unwrap().to_owned());
    }
    names
}

async fn add(gateway: &Gateway, name: &str, cameras: CameraScope) -> (UserId, String) {
    let new = NewUser {
        name: name.to_owned(),
        password: Secret::new(PASSWORD),
        role: Role::Viewer,
        cameras,
    };
    let principal = Principal::anybody();
    let actor = Actor {
        principal: &principal,
        ip: None,
    };
    let user = gateway.accounts.create_user(actor, new).await.unwrap();
    let login = gateway
        .request("POST", "/api/auth/login")
        .json(&json!({ "name": name, "password": PASSWORD }))
        .send()
        .await
        .unwrap();
    let cookie = login.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    (user.user, cookie)
}

fn only(camera: &str) -> CameraScope {
    CameraScope::Only([id(camera)].into())
}

/// With accounts, and two cameras.
async fn house() -> Gateway {
    let gateway = Gateway::start_closed().await;
    for camera in [CAMERA, OTHER_CAMERA] {
        gateway.camera_says_hello(camera).await;
    }
    gateway
}

#[tokio::test]
async fn a_page_is_told_how_all_stands_and_then_what_changes() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    let (mut socket, snapshot, _) = watch(&gateway, None).await;
    assert_eq!(ids(&snapshot), [CAMERA]);
    assert_eq!(snapshot["broker_connected"], true);
    assert_eq!(snapshot["engine_error"], Value::Null);
    let list = gateway.get_json("/cameras").await;
    assert_eq!(snapshot["cameras"], list["cameras"]);

    activity(&gateway, CAMERA, "start", "one");
    let event = socket.hear_type("event").await["event"].clone();
    assert_eq!(event["kind"], "activity_start");
    assert_eq!(event["camera_id"], CAMERA);
    let camera = socket.hear_type("camera").await["camera"].clone();
    assert_eq!(camera["activity"]["type"], "MOTION");
    let since: Timestamp = camera["activity"]["since"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(Timestamp::now().duration_since(since) < SignedDuration::from_mins(1));
    activity(&gateway, CAMERA, "stop", "one");
    while socket.hear_type("camera").await["camera"]["activity"] != Value::Null {}

    let start = format!("/streams/{CAMERA}/start");
    assert_eq!(gateway.post_json(&start, None).await.0, 201);
    let streams = async |socket: &mut Socket, state: &str| loop {
        let told = socket.hear_type("camera").await;
        if told["camera"]["stream"]["state"] == state {
            return;
        }
    };
    streams(&mut socket, "starting").await;
    gateway.rtp_started(CAMERA).await;
    streams(&mut socket, "active").await;

    gateway.set_broker(BrokerState::Connecting);
    let system = socket.hear_type("system").await;
    assert_eq!(system["broker_connected"], false);
    gateway.engine.set_trouble(Some("no media server"));
    let system = socket.hear_type("system").await;
    assert_eq!(system["engine_error"], "no media server");
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_camera_repeats_quickly_is_told_together() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    let (mut socket, _, _) = watch(&gateway, None).await;
    let topic = format!("prod/device/status/hive-cam/{CAMERA}");
    for percent in 1..=50 {
        let status = json!({ "status": "ok", "battery": { "level": percent }, "uptime": percent });
        gateway.camera_publishes(&topic, &status.to_string());
    }
    activity(&gateway, CAMERA, "start", "behind them");
    let (mut told, mut last) = (0, Value::Null);
    // The event is told at once, whatever of the camera still waits.
    loop {
        let message = socket.hear().await.unwrap();
        if message["event"]["event_id"] == "behind them" {
            break;
        }
        told += usize::from(message["type"] == "camera");
    }
    while last["battery_percent"] != 50.0 {
        last = socket.hear_type("camera").await["camera"].clone();
    }
    assert_eq!(last["uptime_s"], 50.0);
    assert!(told < 25, "told {told} times");
    gateway.stop().await;
}

#[tokio::test]
async fn h02_each_hears_of_the_own_cameras_alone() {
    let gateway = house().await;
    let (_, vera) = add(&gateway, "vera", only(CAMERA)).await;
    let (_, otto) = add(&gateway, "otto", only(OTHER_CAMERA)).await;
    let (mut veras, snapshot, _) = watch(&gateway, Some(&vera)).await;
    assert_eq!(ids(&snapshot), [CAMERA]);
    let (mut ottos, snapshot, _) = watch(&gateway, Some(&otto)).await;
    assert_eq!(ids(&snapshot), [OTHER_CAMERA]);
    for (camera, name) in [(CAMERA, "a"), (OTHER_CAMERA, "b"), (CAMERA, "c")] {
        activity(&gateway, camera, "start", name);
    }
    activity(&gateway, OTHER_CAMERA, "start", "d");
    for (socket, own, names) in [
        (&mut veras, CAMERA, ["a", "c"]),
        (&mut ottos, OTHER_CAMERA, ["b", "d"]),
    ] {
        let mut heard = Vec::new();
        while heard.last().map(String::as_str) != Some(names[1]) {
            let told = socket.hear().await.unwrap();
            assert!(
                told["type"] == "system" || told.to_string().contains(own),
                "{told}"
            );
            let name = told["event"]["event_id"].as_str();
            heard.extend(name.map(str::to_owned));
        }
        assert_eq!(heard, names);
    }
    let history = async |cookie: &str, query: &str| {
        let asked = gateway.request("GET", &format!("/api/events{query}"));
        let answer = asked.header("cookie", cookie).send().await.unwrap();
        let status = answer.status();
        (status, answer.json::<Value>().await.unwrap())
    };
    within("the events are written", async {
        while history(&vera, "").await.1["count"] != 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (_, events) = history(&vera, "?type=MOTION").await;
    assert_eq!(events["count"], 2);
    assert!(!events.to_string().contains(OTHER_CAMERA), "{events}");
    let (_, events) = history(&otto, &format!("?camera={OTHER_CAMERA}&limit=1")).await;
    assert_eq!(events["events"][0]["event_id"], "d");
    let (status, _) = history(&vera, &format!("?camera={OTHER_CAMERA}")).await;
    assert_eq!(status, 404, "like one that is not there");
    let (status, _) = history(&vera, "?camera=x").await;
    assert_eq!(status, 400);
    let refused = open(&gateway, None, None).await.map(|_| ());
    assert!(matches!(*refused.unwrap_err(), WsError::Http(response) if response.status() == 401));
    gateway.stop().await;
}

#[tokio::test]
async fn a_guest_sees_the_one_camera_and_not_its_history() {
    let gateway = house().await;
    let (_, vera) = add(&gateway, "vera", CameraScope::All).await;
    let in_an_hour = Timestamp::now() + SignedDuration::from_hours(1);
    let new = json!({ "camera_id": CAMERA, "label": "x", "expires_at": in_an_hour.to_string() });
    let origin = format!("http://{}", gateway.http);
    let made = gateway.request("POST", "/api/shares").json(&new);
    let made = made.header("cookie", &vera).header("origin", &origin);
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    let secret = made["path"].as_str().unwrap().split_once('#').unwrap().1;
    let guest = format!("apiary_share={secret}");
    let (mut socket, snapshot, _) = watch(&gateway, Some(&guest)).await;
    assert_eq!(ids(&snapshot), [CAMERA]);
    gateway.engine.set_trouble(Some("a name inside the house"));
    activity(&gateway, OTHER_CAMERA, "start", "other");
    activity(&gateway, CAMERA, "start", "own");
    loop {
        let told = socket.hear().await.unwrap();
        assert_ne!(told["type"], "event", "{told}");
        assert!(!told.to_string().contains(OTHER_CAMERA), "{told}");
        assert!(!told.to_string().contains("inside the house"), "{told}");
        if told["camera"]["activity"]["type"] == "MOTION" {
            break;
        }
    }
    let share = made["id"].as_str().unwrap();
    let ended = gateway.request("DELETE", &format!("/api/shares/{share}"));
    let ended = ended.header("cookie", &vera).header("origin", &origin);
    assert_eq!(ended.send().await.unwrap().status(), 204);
    assert_eq!(socket.close_code().await, NO_RIGHT);
    gateway.stop().await;
}

#[tokio::test]
async fn after_a_break_exactly_what_was_missed_is_told() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    let (mut first, _, _) = watch(&gateway, None).await;
    let (mut witness, _, _) = watch(&gateway, None).await;
    activity(&gateway, CAMERA, "start", "seen");
    let seen = first.hear_type("event").await;
    let place = seen["id"].as_str().unwrap().to_owned();
    drop(first);
    for name in ["missed", "missed too", "last"] {
        activity(&gateway, CAMERA, "start", name);
    }
    // All that another socket heard since then, in that order.
    let mut expected = Vec::new();
    let mut began = false;
    loop {
        let told = witness.hear().await.unwrap();
        if began {
            expected.push(told.clone());
        }
        began |= told["id"] == seen["id"];
        if told["event"]["event_id"] == "last" {
            break;
        }
    }
    assert!(expected.len() >= 3);
    let mut again = open(&gateway, None, Some(&place)).await.unwrap();
    let hello = again.hear().await.unwrap();
    assert_eq!(
        (&hello["resumed"], &hello["id"]),
        (&json!(true), &json!(place))
    );
    for told in expected {
        assert_eq!(again.hear().await.unwrap(), told);
    }
    activity(&gateway, CAMERA, "start", "live again");
    assert_eq!(events_until(&mut again, "live again").await, ["live again"]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_place_of_another_run_or_of_nobody_gets_a_snapshot() {
    let gateway = Gateway::start().await;
    let (_, _, place) = watch(&gateway, None).await;
    gateway.stop().await;
    let gateway = Gateway::start().await;
    let (_, _, own) = watch(&gateway, None).await;
    let number: u64 = own.split_once('-').unwrap().1.parse().unwrap();
    let future = own.replace(&format!("-{number}"), &format!("-{}", number + 1000));
    let huge = own.replace(&format!("-{number}"), "-18446744073709551615");
    let odd = ["", "-", "x", "%00", "'--", "🐝"].map(str::to_owned);
    for place in [place, future, huge].into_iter().chain(odd) {
        let mut socket = open(&gateway, None, Some(&place)).await.unwrap();
        assert_eq!(socket.hear().await.unwrap()["resumed"], false, "{place}");
        assert_eq!(socket.hear().await.unwrap()["type"], "snapshot", "{place}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn h08_changed_rights_count_at_once() {
    let gateway = house().await;
    let (user, vera) = add(&gateway, "vera", only(CAMERA)).await;
    let (mut socket, _, place) = watch(&gateway, Some(&vera)).await;
    let change = async |change: UserChange| {
        let principal = Principal::anybody();
        let actor = Actor {
            principal: &principal,
            ip: None,
        };
        let changed = gateway.accounts.change_user(actor, user, change).await;
        changed.unwrap();
    };
    change(UserChange {
        cameras: Some(only(OTHER_CAMERA)),
        ..UserChange::default()
    })
    .await;
    let (mut gone, mut came) = (false, false);
    while !(gone && came) {
        let told = socket.hear().await.unwrap();
        gone |= told["type"] == "gone" && told["camera_id"] == CAMERA;
        came |= told["camera"]["camera_id"] == OTHER_CAMERA;
    }
    activity(&gateway, CAMERA, "start", "not for her");
    activity(&gateway, OTHER_CAMERA, "start", "hers");
    assert_eq!(events_until(&mut socket, "hers").await, ["hers"]);
    // What was told by other rights is no place to go on from.
    let mut again = open(&gateway, Some(&vera), Some(&place)).await.unwrap();
    assert_eq!(again.hear().await.unwrap()["resumed"], false);
    assert_eq!(ids(&again.hear().await.unwrap()), [OTHER_CAMERA]);

    let origin = format!("http://{}", gateway.http);
    let out = gateway.request("POST", "/api/auth/logout");
    let out = out.header("cookie", &vera).header("origin", origin);
    assert!(out.send().await.unwrap().status().is_success());
    assert_eq!(socket.close_code().await, NO_RIGHT);
    assert_eq!(again.close_code().await, NO_RIGHT);
    gateway.stop().await;
}

#[tokio::test]
async fn a_right_that_ends_by_itself_ends_the_socket() {
    let gateway = house().await;
    let (_, vera) = add(&gateway, "vera", CameraScope::All).await;
    let soon = Timestamp::now() + SignedDuration::from_millis(1500);
    let origin = format!("http://{}", gateway.http);
    let new = json!({ "name": "t", "role": "viewer", "expires_at": soon.to_string() });
    let made = gateway.request("POST", "/api/tokens").json(&new);
    let made = made.header("cookie", &vera).header("origin", &origin);
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    let token = made["token"].as_str().unwrap();
    let url = format!(
        "ws://{}/api/events/stream?access_token={token}",
        gateway.http
    );
    let mut socket = Socket::open(&url, None).await.unwrap();
    assert_eq!(socket.hear().await.unwrap()["type"], "hello");
    assert_eq!(socket.close_code().await, NO_RIGHT);
    assert!(Timestamp::now() >= soon);
    gateway.stop().await;
}

#[tokio::test]
async fn what_pages_send_is_ignored_within_bounds() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    let (mut socket, _, _) = watch(&gateway, None).await;
    for text in ["", "{}", "{\"type\":\"viewer\"}", "\u{0}"] {
        socket.say_text(text).await;
    }
    activity(&gateway, CAMERA, "start", "still there");
    events_until(&mut socket, "still there").await;
    socket.say_text(&"x".repeat(5000)).await;
    assert_eq!(socket.close_code().await, Some(1009));

    let (mut socket, _, _) = watch(&gateway, None).await;
    use futures_util::SinkExt as _;
    // The server stops reading at some point.
    while socket.0.send(Message::text("x")).await.is_ok() {
        if let Ok(Some(code)) =
            tokio::time::timeout(std::time::Duration::ZERO, socket.close_code()).await
        {
            assert_eq!(code, 1008);
            break;
        }
    }
    let foreign = format!("ws://{}/api/events/stream", gateway.http);
    let refused = Socket::open(&foreign, Some("https://evil.example")).await;
    let refused = refused.map(|_| ()).unwrap_err();
    assert!(matches!(*refused, WsError::Http(response) if response.status() == 403));
    gateway.stop().await;
}

#[tokio::test]
async fn a_page_that_never_reads_is_let_go_and_delays_nobody() {
    let gateway = Gateway::start().await;
    let sockets = async |expected: usize| {
        let figure = format!("apiary_live_sockets {expected}\n");
        within("the number of sockets", async {
            loop {
                let figures = gateway.request("GET", "/metrics").send().await.unwrap();
                if figures.text().await.unwrap().contains(&figure) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    let (deaf, _, _) = watch(&gateway, None).await;
    let (mut reader, _, _) = watch(&gateway, None).await;
    sockets(2).await;
    // More than the system's buffers take, of many cameras, since each has an allowance of its own.
    let filling = "x".repeat(3500);
    for number in 0..8_000 {
        let camera = format!("{:032X}", number % 16);
        let name = number.to_string();
        let topic = format!("prod/device/message/hive-cam/{camera}/activity/start");
        let payload = json!({ "eventId": name, "filling": filling });
        gateway.camera_publishes(&topic, &payload.to_string());
        if number % 20 == 19 {
            events_until(&mut reader, &name).await;
        }
    }
    tokio::time::timeout(2 * DEADLINE, sockets(1))
        .await
        .unwrap();
    drop(deaf);
    drop(reader);
    sockets(0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_end_of_the_server_is_told() {
    let gateway = Gateway::start().await;
    let (mut socket, _, _) = watch(&gateway, None).await;
    gateway.stop().await;
    assert_eq!(socket.close_code().await, Some(1001));
}
