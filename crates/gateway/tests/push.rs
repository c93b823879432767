//! Notifications, from what a camera notices to what a browser reads; the push service is ours and answers as it is told.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod http_support;
mod push_support;

use apiary::auth::{Actor, NewUser, Principal, UserChange};
use apiary::config::{Config, Environment};
use apiary::http::Bounds;
use apiary::push::Push;
use apiary::secret::Secret;
use apiary_store::{CameraScope, Role, SqliteStore, UserId};
use http_support::{CAMERA, Gateway, OTHER_CAMERA, id};
use jiff::Timestamp;
use push_support::{Browser, Mode, PushService, allow_this_machine, sender};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

const PASSWORD: &str = "correct horse battery";
const SUBSCRIPTIONS: &str = "/api/push/subscriptions";

/// On behalf of somebody who may do everything.
fn by(principal: &Principal) -> Actor<'_> {
    Actor {
        principal,
        ip: None,
    }
}

/// A gateway with two cameras, and a push service beside it.
struct House {
    gateway: Gateway,
    service: PushService,
}

impl House {
    /// Without accounts.
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    /// With accounts: an administrator `root`, and a viewer `vera` who may see the first camera.
    async fn closed() -> Self {
        let house = Self::with(|config| config.auth.enabled = true).await;
        house.add("root", Role::Admin, CameraScope::All).await;
        house
            .add("vera", Role::Viewer, CameraScope::Only([id(CAMERA)].into()))
            .await;
        house
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let gateway = Gateway::start_by(Bounds::new(1024, 1024), None, |config| {
            allow_this_machine(config);
            change(config);
        })
        .await;
        for camera in [CAMERA, OTHER_CAMERA] {
            gateway.camera_says_hello(camera).await;
        }
        Self {
            gateway,
            service: PushService::start().await,
        }
    }

    async fn add(&self, name: &str, role: Role, cameras: CameraScope) {
        let new = NewUser {
            name: name.to_owned(),
            password: Secret::new(PASSWORD),
            role,
            cameras,
        };
        let accounts = &self.gateway.accounts;
        let root = Principal::anybody();
        accounts.create_user(by(&root), new).await.unwrap();
    }

    fn user(&self, name: &str) -> UserId {
        let users = self.gateway.accounts.users();
        users.iter().find(|user| user.name == name).unwrap().user
    }

    async fn let_see(&self, name: &str, cameras: CameraScope) {
        let change = UserChange {
            cameras: Some(cameras),
            ..UserChange::default()
        };
        let accounts = &self.gateway.accounts;
        let root = Principal::anybody();
        let changed = accounts.change_user(by(&root), self.user(name), change);
        changed.await.unwrap();
    }

    /// The cookie of a new login.
    async fn log_in(&self, name: &str) -> String {
        let answer = self
            .gateway
            .request("POST", "/api/auth/login")
            .json(&json!({"name": name, "password": PASSWORD}));
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// As a page asks that is logged in with this cookie; an empty one where there are no accounts.
    fn ask(&self, cookie: &str, method: &str, path: &str) -> RequestBuilder {
        self.gateway
            .request(method, path)
            .header("cookie", cookie)
            .header("origin", format!("http://{}", self.gateway.http))
    }

    async fn list(&self, cookie: &str) -> Vec<Value> {
        let (_, state) = answer(self.ask(cookie, "GET", "/api/push")).await;
        state["subscriptions"].as_array().unwrap().clone()
    }

    async fn subscribe(&self, cookie: &str, browser: &Browser) -> Value {
        let asked = self.ask(cookie, "POST", SUBSCRIPTIONS);
        let (status, made) = answer(asked.json(&browser.subscription())).await;
        assert_eq!(status, StatusCode::OK, "{made}");
        made
    }

    async fn wish(&self, cookie: &str, device: &Value, wish: Value) -> Value {
        let asked = self.ask(cookie, "PATCH", &path_of(device)).json(&wish);
        let (status, changed) = answer(asked).await;
        assert_eq!(status, StatusCode::OK, "{changed}");
        changed
    }

    /// Waits until a browser was told of a camera.
    async fn until_told(&self, browser: &Browser, camera: &str) {
        let is_told = |message: &push_support::Message| {
            browser.is_meant(message) && browser.read(message)["camera"] == camera
        };
        let mut count = 1;
        while !self.service.until(count).await.iter().any(is_told) {
            count = self.service.heard().len() + 1;
        }
    }

    /// Something new each time.
    fn notices(&self, camera: &str, activity: &str) {
        let topic = format!("prod/device/message/hive-cam/{camera}/activity/start");
        let said = json!({"eventId": Uuid::new_v4(), "activityType": activity, "confidence": 0.5});
        self.gateway.camera_publishes(&topic, &said.to_string());
    }
}

fn path_of(device: &Value) -> String {
    format!("{SUBSCRIPTIONS}/{}", device["id"].as_str().unwrap())
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_browser_is_told_what_a_camera_notices_sealed_for_it_and_signed_by_us() {
    let house = House::open().await;
    let named = house
        .gateway
        .request("PATCH", &format!("/cameras/{CAMERA}"));
    answer(named.json(&json!({"name": "Porch"}))).await;
    let browser = Browser::new(&house.service, "one");
    let device = house.subscribe("", &browser).await;
    assert_eq!(device["kinds"], json!(["person", "offline"]));
    assert_eq!(device["logged_in"], true);

    house.notices(CAMERA, "MOTION"); // not wished for
    house.notices(CAMERA, "PERSON");
    house.notices(CAMERA, "PERSON"); // a moment later
    house.notices(OTHER_CAMERA, "PERSON");
    let heard = house.service.until(2).await;
    let (about_porch, about_other): (Vec<_>, Vec<_>) = heard
        .iter()
        .partition(|message| browser.read(message)["camera"] == CAMERA);
    let (porch, other) = (about_porch[0], about_other[0]);
    let read = browser.read(porch);
    assert_eq!(
        (&read["kind"], &read["name"]),
        (&json!("person"), &json!("Porch"))
    );
    assert!(read["at"].as_str().unwrap().parse::<Timestamp>().is_ok());
    assert_eq!(browser.read(other)["name"], Value::Null);
    assert_eq!(porch.header("urgency"), "high");
    assert!((3500..=3600).contains(&porch.header("ttl").parse().unwrap()));
    assert_ne!(porch.header("topic"), other.header("topic"));
    assert!(porch.body.len() < 400, "{}", porch.body.len());

    let (claims, key) = sender(porch);
    let state = house.gateway.get_json("/api/push").await;
    assert_eq!(state["public_key"], key);
    assert_eq!(claims["aud"], format!("http://{}", house.service.address));
    let lasts = claims["exp"].as_i64().unwrap() - Timestamp::now().as_second();
    assert!((3600..=86_400).contains(&lasts), "{lasts}");
    let counts = house.gateway.push_counts();
    let too_often = counts.dropped.counts().find(|(why, _)| *why == "too_often");
    assert_eq!(too_often, Some(("too_often", 1)));
    assert_eq!(house.service.heard().len(), 2);
    house.gateway.stop().await;
}

#[tokio::test]
async fn what_a_push_service_says_counts() {
    let house = House::open().await;
    let browser = Browser::new(&house.service, "one");
    let device = house.subscribe("", &browser).await;
    let all = json!({"kinds": ["person", "motion", "audio"]});
    house.wish("", &device, all).await;

    // Not now, and then it takes it.
    house
        .service
        .set(Mode(StatusCode::TOO_MANY_REQUESTS, Some(0)));
    house.notices(CAMERA, "PERSON");
    house.service.until(1).await;
    house.service.set(push_support::TAKE);
    let heard = house.service.until(2).await;
    assert_eq!(browser.read(&heard[0]), browser.read(&heard[1]));
    assert_ne!(
        heard[0].body, heard[1].body,
        "a salt and a key of its own each time"
    );

    // No: it is not asked again.
    house.service.set(Mode(StatusCode::BAD_REQUEST, None));
    house.notices(CAMERA, "MOTION");
    house.service.until(3).await;
    assert_eq!(house.list("").await.len(), 1);

    // There is no such browser any more.
    house.service.set(Mode(StatusCode::GONE, None));
    house.notices(CAMERA, "AUDIO");
    house.service.until(4).await;
    house
        .gateway
        .until_subscribed("it is forgotten", <[_]>::is_empty)
        .await;
    assert_eq!(house.gateway.push_counts().gone.get(), 1);
    house.notices(OTHER_CAMERA, "PERSON");
    let again = Browser::new(&house.service, "two");
    house.service.set(push_support::TAKE);
    house.subscribe("", &again).await;
    house.notices(OTHER_CAMERA, "PERSON");
    let heard = house.service.until(5).await;
    assert!(again.is_meant(&heard[4]), "only who is still there");
    house.gateway.stop().await;
}

#[tokio::test]
async fn only_who_may_see_a_camera_now_is_told_of_it() {
    let house = House::closed().await;
    let (root, vera) = (house.log_in("root").await, house.log_in("vera").await);
    let browsers = ["root", "vera"].map(|name| Browser::new(&house.service, name));
    let of_root = house.subscribe(&root, &browsers[0]).await;
    let of_vera = house.subscribe(&vera, &browsers[1]).await;
    let every_kind = json!({"kinds": ["person", "motion", "audio", "other"]});
    house.wish(&vera, &of_vera, every_kind.clone()).await;

    house.wish(&root, &of_root, every_kind).await;

    // Each event is told to `root`, and judged for all at the same moment.
    let heard_by_vera = |messages: &[push_support::Message]| -> Vec<(Value, Value)> {
        let hers = messages
            .iter()
            .filter(|message| browsers[1].is_meant(message));
        hers.map(|message| browsers[1].read(message))
            .map(|read| (read["camera"].clone(), read["kind"].clone()))
            .collect()
    };
    house.notices(OTHER_CAMERA, "PERSON"); // hers it is not
    house.notices(CAMERA, "PERSON");
    let told = heard_by_vera(&house.service.until(3).await);
    assert_eq!(told, [(json!(CAMERA), json!("person"))]);

    house.let_see("vera", CameraScope::Only([].into())).await;
    house.notices(CAMERA, "MOTION");
    house.service.until(4).await;
    house.let_see("vera", CameraScope::All).await;
    house.notices(CAMERA, "AUDIO");
    let told = heard_by_vera(&house.service.until(6).await);
    assert_eq!(told[1..], [(json!(CAMERA), json!("audio"))]);

    // Logged out, she is told nothing, until she logs in again in the same browser.
    let out = house.ask(&vera, "POST", "/api/auth/logout").send().await;
    assert_eq!(out.unwrap().status(), StatusCode::NO_CONTENT);
    house.notices(CAMERA, "PET");
    house.service.until(7).await;
    let vera = house.log_in("vera").await;
    assert_eq!(house.list(&vera).await[0]["logged_in"], false);
    let again = house.subscribe(&vera, &browsers[1]).await;
    assert_eq!(
        (&again["id"], &again["logged_in"]),
        (&of_vera["id"], &json!(true))
    );
    house.notices(OTHER_CAMERA, "AUDIO");
    let told = heard_by_vera(&house.service.until(9).await);
    assert_eq!(told[2..], [(json!(OTHER_CAMERA), json!("audio"))]);

    // And with the user all of it goes.
    let accounts = &house.gateway.accounts;
    let anybody = Principal::anybody();
    let removed = accounts.remove_user(by(&anybody), house.user("vera"));
    removed.await.unwrap();
    assert_eq!(accounts.subscriptions_of(&anybody).len(), 1);
    house.gateway.stop().await;
}

#[tokio::test]
async fn who_wishes_for_silence_has_it() {
    let house = House::open().await;
    let browsers = ["one", "two"].map(|name| Browser::new(&house.service, name));
    let device = house.subscribe("", &browsers[0]).await;
    let witness = house.subscribe("", &browsers[1]).await;
    let all = json!({"kinds": ["person", "motion"]});
    house.wish("", &witness, all).await;
    let around_the_clock = [("00:00", "12:00"), ("12:00", "00:00")];
    // One of the two is now, whatever time it is.
    for ((from, until), camera) in around_the_clock.into_iter().zip([CAMERA, OTHER_CAMERA]) {
        let quiet = json!({"from": from, "until": until, "time_zone": "Pacific/Auckland"});
        let changed = house.wish("", &device, json!({"quiet_hours": quiet})).await;
        assert_eq!(changed["quiet_hours"], quiet);
        house.notices(camera, "PERSON");
        house.until_told(&browsers[1], camera).await;
    }
    let heard = house.service.until(3).await;
    let of_first = heard.iter().filter(|message| browsers[0].is_meant(message));
    assert_eq!(of_first.count(), 1);

    let paused =
        json!({"quiet_hours": null, "paused": true, "cameras": [CAMERA], "kinds": ["motion"]});
    let paused = house.wish("", &device, paused).await;
    assert_eq!(paused["quiet_hours"], Value::Null);
    house.notices(CAMERA, "MOTION");
    house.service.until(4).await;
    house.wish("", &device, json!({"paused": false})).await;
    house.notices(OTHER_CAMERA, "MOTION"); // the witness alone
    house.notices(CAMERA, "MOTION");
    let heard = house.service.until(6).await;
    let of_first: Vec<_> = heard
        .iter()
        .filter(|message| browsers[0].is_meant(message))
        .collect();
    assert_eq!(of_first.len(), 2);
    assert_eq!(browsers[0].read(of_first[1])["camera"], CAMERA);
    house.gateway.stop().await;
}

#[tokio::test]
async fn h10_nothing_is_sent_to_what_is_no_push_service() {
    let house = House::open().await;
    let good = Browser::new(&house.service, "one").subscription();
    let endpoints = [
        "",
        "push.example/send",
        "http://push.example/send",
        "https://push.example:8443/send",
        "https://user@push.example/send",
        "https://push.example/send#part",
        "https://192.168.1.1/send",
        "https://[::ffff:10.0.0.1]/send",
        "http://10.0.0.1/send",
        "file:///etc/passwd",
    ];
    let long = format!("https://push.example/{}", "x".repeat(2048));
    for endpoint in endpoints.into_iter().chain([&*long]) {
        let mut bad = good.clone();
        bad["endpoint"] = json!(endpoint);
        let asked = house.ask("", "POST", SUBSCRIPTIONS).json(&bad);
        let (status, why) = answer(asked).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{endpoint}");
        assert!(why["error"].as_str().unwrap().contains("endpoint"), "{why}");
    }
    for (key, value) in [
        ("p256dh", "BA"),
        ("auth", "AA"),
        ("auth", "?"),
        ("p256dh", &"B".repeat(87)),
    ] {
        let mut bad = good.clone();
        bad["keys"][key] = json!(value);
        let (status, _) = answer(house.ask("", "POST", SUBSCRIPTIONS).json(&bad)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{key} {value}");
    }
    // A name that turns out to be this machine.
    let mut by_name = good.clone();
    by_name["endpoint"] = json!("https://localhost/send");
    let (status, device) = answer(house.ask("", "POST", SUBSCRIPTIONS).json(&by_name)).await;
    assert_eq!(status, StatusCode::OK);
    let tried = house.ask("", "POST", &format!("{}/test", path_of(&device)));
    let (_, trial) = answer(tried).await;
    assert_eq!(trial["delivered"], false);
    house.gateway.stop().await;

    // Without leave not even an address of this machine.
    let gateway = Gateway::start().await;
    let (status, why) = gateway.post_json(SUBSCRIPTIONS, Some(&good)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{why}");
    gateway.stop().await;
}

#[tokio::test]
async fn subscriptions_are_ones_own_and_of_browsers_alone() {
    let house = House::closed().await;
    let (root, vera) = (house.log_in("root").await, house.log_in("vera").await);
    let browser = Browser::new(&house.service, "one");
    let device = house.subscribe(&vera, &browser).await;
    let path = path_of(&device);

    assert!(house.list(&root).await.is_empty());
    let wish = json!({"paused": true});
    let (status, _) = answer(house.ask(&root, "PATCH", &path).json(&wish)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    for (method, path) in [("DELETE", path.clone()), ("POST", format!("{path}/test"))] {
        let (status, _) = answer(house.ask(&root, method, &path)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method}");
    }
    let made = house.ask(&vera, "POST", "/api/tokens");
    let (_, token) = answer(made.json(&json!({"name": "t", "role": "viewer"}))).await;
    let by_token = |method: &str, path: &str| {
        let request = house.gateway.request(method, path);
        request.bearer_auth(token["token"].as_str().unwrap())
    };
    assert_eq!(
        answer(by_token("GET", "/api/push")).await.0,
        StatusCode::FORBIDDEN
    );
    let asked = by_token("POST", SUBSCRIPTIONS).json(&browser.subscription());
    assert_eq!(answer(asked).await.0, StatusCode::FORBIDDEN);
    assert_eq!(
        answer(by_token("DELETE", &path)).await.0,
        StatusCode::NOT_FOUND
    );
    // A foreign page can make no browser subscribe.
    let foreign = house.gateway.request("POST", SUBSCRIPTIONS);
    let foreign = foreign
        .header("cookie", &vera)
        .header("origin", "https://evil.example");
    let (status, _) = answer(foreign.json(&browser.subscription())).await;
    assert_eq!(status, StatusCode::FORBIDDEN);

    // A browser is of whoever is logged in there now.
    let taken_over = house.subscribe(&root, &browser).await;
    assert_ne!(taken_over["id"], device["id"]);
    assert!(house.list(&vera).await.is_empty());
    let gone = house
        .ask(&root, "DELETE", &path_of(&taken_over))
        .send()
        .await;
    assert_eq!(gone.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(house.list(&root).await.is_empty());
    house.gateway.stop().await;
}

#[tokio::test]
async fn a_browser_that_moves_keeps_what_was_chosen_and_there_is_no_end_of_room() {
    let house = House::open().await;
    let [old, new] = ["old", "new"].map(|name| Browser::new(&house.service, name));
    let device = house.subscribe("", &old).await;
    let wish = json!({"name": "Kitchen", "kinds": ["audio"], "quiet_hours": {"from": "22:00", "until": "07:00", "time_zone": "Europe/Berlin"}});
    let wished = house.wish("", &device, wish).await;
    let mut moved = new.subscription();
    moved["replaces"] = json!(old.endpoint);
    let (status, moved) = answer(house.ask("", "POST", SUBSCRIPTIONS).json(&moved)).await;
    assert_eq!((status, &moved), (StatusCode::OK, &wished));
    assert_eq!(house.list("").await, [wished]);

    for wrong in [
        json!({"quiet_hours": {"from": "22:00", "until": "07:00", "time_zone": "Europe/Hive"}}),
        json!({"quiet_hours": {"from": "22", "until": "07:00", "time_zone": "UTC"}}),
        json!({"kinds": ["bees"]}),
        json!({"cameras": ["porch"]}),
        json!({"name": ""}),
        json!({"endpoint": "https://push.example/"}),
    ] {
        let asked = house.ask("", "PATCH", &path_of(&device)).json(&wrong);
        assert_eq!(answer(asked).await.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
    for number in 1..20 {
        let browser = Browser::new(&house.service, &number.to_string());
        house.subscribe("", &browser).await;
    }
    let one_more = Browser::new(&house.service, "more").subscription();
    let asked = house.ask("", "POST", SUBSCRIPTIONS).json(&one_more);
    assert_eq!(answer(asked).await.0, StatusCode::CONFLICT);
    // Those that are there can say so again.
    house.subscribe("", &new).await;
    house.gateway.stop().await;
}

#[tokio::test]
async fn a_trial_says_what_came_of_it() {
    let house = House::open().await;
    let browser = Browser::new(&house.service, "one");
    let device = house.subscribe("", &browser).await;
    house.wish("", &device, json!({"paused": true})).await;
    let path = format!("{}/test", path_of(&device));
    let (status, trial) = answer(house.ask("", "POST", &path)).await;
    assert_eq!(
        (status, &trial["delivered"]),
        (StatusCode::OK, &json!(true))
    );
    let heard = house.service.until(1).await;
    assert_eq!(browser.read(&heard[0])["kind"], "test");

    house.service.set(Mode(StatusCode::FORBIDDEN, None));
    let (_, trial) = answer(house.ask("", "POST", &path)).await;
    assert!(trial["error"].as_str().unwrap().contains("403"), "{trial}");
    let cause = json!({"code": "device_refused", "values": {"status": "403 Forbidden"}});
    assert_eq!(trial["cause"], cause);
    assert!(!trial.to_string().contains("/send/"), "{trial}");
    house.service.set(Mode(StatusCode::NOT_FOUND, None));
    let (_, trial) = answer(house.ask("", "POST", &path)).await;
    assert_eq!(trial["delivered"], false);
    assert!(house.list("").await.is_empty());
    let (status, _) = answer(house.ask("", "POST", &path)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    house.gateway.stop().await;
}

#[tokio::test]
async fn the_key_is_made_once_and_none_is_given_where_nothing_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.db");
    let mut config = Config::load(None, &Environment::default()).unwrap().push;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let store = SqliteStore::open(&path).await.unwrap();
        let push = Push::open(&config, &store).await.unwrap();
        keys.push(push.public_key().unwrap());
        apiary_store::Store::close(&store).await;
    }
    assert_eq!(keys[0], keys[1]);
    config.enabled = false;
    let store = SqliteStore::open(&path).await.unwrap();
    let push = Push::open(&config, &store).await.unwrap();
    assert_eq!(push.public_key(), None);

    let house = House::with(|config| config.push.enabled = false).await;
    let browser = Browser::new(&house.service, "one").subscription();
    let asked = house.ask("", "POST", SUBSCRIPTIONS).json(&browser);
    assert_eq!(answer(asked).await.0, StatusCode::CONFLICT);
    house.gateway.stop().await;
}
