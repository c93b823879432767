//! Talking to cameras over signaling: whose turn it is, who hears of it, and how it ends.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod http_support;

use std::time::Duration;

use apiary::auth::{Actor, NewUser, Principal, UserChange};
use apiary::secret::Secret;
use apiary_store::{CameraScope, Role, UserId};
use http_support::{CAMERA, Gateway, OFFER, Socket, id};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

/// Joins, and asks to be able to talk.
async fn join(page: &mut Socket) -> String {
    let viewer = json!({"type": "viewer", "cameraId": CAMERA, "sdpOffer": OFFER, "talk": true});
    page.say(&viewer).await;
    let response = page.hear_type("viewerResponse").await;
    response["viewerId"].as_str().unwrap().to_owned()
}

async fn say(page: &mut Socket, kind: &str) {
    page.say(&json!({ "type": kind })).await;
}

async fn refusal(page: &mut Socket) -> String {
    let hushed = page.hear_type("hushed").await;
    hushed["message"].as_str().unwrap().to_owned()
}

async fn talking_since(gateway: &Gateway) -> Value {
    let cameras = gateway.get_json("/cameras").await;
    cameras["cameras"][0]["talking_since"].clone()
}

#[tokio::test]
async fn one_talks_and_the_others_wait_for_their_turn() {
    let gateway = Gateway::start().await;
    let (mut page, mut other) = (gateway.socket().await, gateway.socket().await);
    let viewer = join(&mut page).await;
    join(&mut other).await;
    assert_eq!(talking_since(&gateway).await, Value::Null);
    say(&mut page, "talk").await;
    page.hear_type("talking").await;
    let talking: Vec<String> = gateway
        .engine
        .talking()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(talking, [viewer]);
    assert!(talking_since(&gateway).await.is_string());

    // Asking again changes nothing: it is still its turn, and everybody is still told.
    say(&mut page, "talk").await;
    page.hear_type("talking").await;
    assert_eq!(gateway.engine.talking().len(), 1);
    assert!(talking_since(&gateway).await.is_string());

    say(&mut other, "talk").await;
    let refusal = refusal(&mut other).await;
    assert!(refusal.contains("anybody is talking"), "{refusal}");
    say(&mut page, "hush").await;
    assert_eq!(page.hear_type("hushed").await.get("message"), None);
    assert!(gateway.engine.talking().is_empty());
    assert_eq!(talking_since(&gateway).await, Value::Null);
    say(&mut other, "talk").await;
    other.hear_type("talking").await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_turn_ends_with_whoever_has_it() {
    let gateway = Gateway::start().await;
    let mut other = gateway.socket().await;
    join(&mut other).await;
    for end in ["stop", "close", "offer anew"] {
        let mut page = gateway.socket().await;
        join(&mut page).await;
        say(&mut page, "talk").await;
        page.hear_type("talking").await;
        match end {
            "stop" => say(&mut page, "stop").await,
            "close" => page.0.close(None).await.unwrap(),
            _ => drop(join(&mut page).await),
        }
        gateway
            .engine
            .until(end, |engine| engine.talking().is_empty())
            .await;
        gateway
            .until(end, || gateway.supervisor.talker(id(CAMERA)).is_none())
            .await;
        say(&mut other, "talk").await;
        other.hear_type("talking").await;
        say(&mut other, "hush").await;
        other.hear_type("hushed").await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_page_whose_voice_gets_through_no_more_is_told() {
    let gateway = Gateway::start().await;
    let mut page = gateway.socket().await;
    join(&mut page).await;
    say(&mut page, "talk").await;
    page.hear_type("talking").await;
    let viewer = gateway.engine.viewers()[0];
    gateway.engine.break_off(id(CAMERA), viewer);
    let why = refusal(&mut page).await;
    assert!(why.contains("started anew"), "{why}");
    // It may have another turn.
    say(&mut page, "talk").await;
    page.hear_type("talking").await;
    gateway.stop().await;
}

/// Lets that much time pass at once.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_turn_ends_after_a_minute_however_often_it_is_asked_for() {
    let gateway = Gateway::start().await;
    let mut page = gateway.socket().await;
    join(&mut page).await;
    gateway.rtp_started(CAMERA).await;
    say(&mut page, "talk").await;
    page.hear_type("talking").await;
    pass(45).await;
    say(&mut page, "talk").await;
    page.hear_type("talking").await;
    assert_eq!(gateway.engine.talking().len(), 1);
    pass(16).await;
    let hushed = page.hear_type("hushed").await;
    assert_eq!(hushed["cause"]["code"], "turn_is_over", "{hushed}");
    assert_eq!(gateway.engine.talking().len(), 0);
    // And the next one may be taken at once.
    say(&mut page, "talk").await;
    page.hear_type("talking").await;
    gateway.stop().await;
}

#[tokio::test]
async fn who_watches_nothing_or_did_not_ask_cannot_talk() {
    let gateway = Gateway::start().await;
    let mut page = gateway.socket().await;
    say(&mut page, "talk").await;
    assert!(refusal(&mut page).await.contains("watch the camera first"));
    say(&mut page, "hush").await;
    page.hear_type("hushed").await;
    let viewer = json!({"type": "viewer", "cameraId": CAMERA, "sdpOffer": OFFER});
    page.say(&viewer).await;
    page.hear_type("viewerResponse").await;
    say(&mut page, "talk").await;
    let why = refusal(&mut page).await;
    assert!(why.contains("cannot talk"), "{why}");
    assert_eq!(talking_since(&gateway).await, Value::Null);
    gateway.stop().await;
}

/// The signaling socket of a new user, and what the server says of them.
async fn user(gateway: &Gateway, name: &str, role: Role) -> (Socket, Value, UserId) {
    let new = NewUser {
        name: name.to_owned(),
        password: Secret::new(PASSWORD),
        role,
        cameras: CameraScope::All,
    };
    let principal = Principal::anybody();
    let actor = Actor {
        principal: &principal,
        ip: None,
    };
    let row = gateway.accounts.create_user(actor, new).await.unwrap();
    let login = gateway
        .request("POST", "/api/auth/login")
        .json(&json!({ "name": name, "password": PASSWORD }));
    let login = login.send().await.unwrap();
    let cookie = login.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let me = login.json().await.unwrap();
    let origin = format!("http://{}", gateway.http);
    let token = gateway
        .request("POST", "/api/tokens")
        .header("cookie", cookie)
        .header("origin", origin)
        .json(&json!({ "name": "t", "role": role.as_str() }));
    let token: Value = token.send().await.unwrap().json().await.unwrap();
    let url = format!(
        "ws://{}/ws?access_token={}",
        gateway.http,
        token["token"].as_str().unwrap()
    );
    (Socket::open(&url, None).await.unwrap(), me, row.user)
}

#[tokio::test]
async fn to_talk_takes_an_operator() {
    let gateway = Gateway::start_closed().await;
    gateway.camera_says_hello(CAMERA).await;
    let (mut vera, me, _) = user(&gateway, "vera", Role::Viewer).await;
    assert_eq!(me["may_talk"], false);
    join(&mut vera).await;
    say(&mut vera, "talk").await;
    let why = refusal(&mut vera).await;
    assert!(why.contains("only operators"), "{why}");
    let (mut olaf, me, id_of_olaf) = user(&gateway, "olaf", Role::Operator).await;
    assert_eq!(me["may_talk"], true);
    join(&mut olaf).await;
    say(&mut olaf, "talk").await;
    olaf.hear_type("talking").await;
    let talker = gateway.supervisor.talker(id(CAMERA)).unwrap();
    assert!(talker.name.starts_with("olaf"), "{}", talker.name);

    // Who may not any more is not heard to the end of the turn.
    let principal = Principal::anybody();
    let actor = Actor {
        principal: &principal,
        ip: None,
    };
    let change = UserChange {
        role: Some(Role::Viewer),
        ..UserChange::default()
    };
    let changed = gateway.accounts.change_user(actor, id_of_olaf, change);
    changed.await.unwrap();
    let why = refusal(&mut olaf).await;
    assert!(why.contains("only operators"), "{why}");
    assert!(gateway.engine.talking().is_empty());
    assert!(gateway.supervisor.talker(id(CAMERA)).is_none());
    gateway.stop().await;
}
