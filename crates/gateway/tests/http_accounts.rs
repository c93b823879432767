//! Accounts over HTTP: who gets in, how far, and what ends when a right ends.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod http_support;

use std::net::Ipv4Addr;

use apiary::auth::{Actor, NewUser, Principal};
use apiary::config::values::IpNetwork;
use apiary::http::Bounds;
use apiary::http::openapi::document_of_routes;
use apiary::secret::Secret;
use apiary_store::{CameraScope, Role};
use http_support::{CAMERA, DEADLINE, Gateway, OFFER, OTHER_CAMERA, Socket, id, turn, within};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error as WsError, http::Request};

const PASSWORD: &str = "correct horse battery";
/// A camera that nobody ever heard of.
const NO_CAMERA: &str = "00000000000000000000000000000001";

/// A gateway with two cameras, an administrator `root`, an operator `otto` and a viewer `vera`, who may both see the first
/// camera alone.
struct House {
    gateway: Gateway,
}

/// Somebody who asks.
#[derive(Clone, Debug)]
enum As {
    Nobody,
    Cookie(String),
    Token(String),
}

impl House {
    async fn open() -> Self {
        Self::of(Gateway::start_closed().await).await
    }

    async fn of(gateway: Gateway) -> Self {
        for camera in [CAMERA, OTHER_CAMERA] {
            gateway.camera_says_hello(camera).await;
        }
        let own = CameraScope::Only([id(CAMERA)].into());
        let house = Self { gateway };
        house.add("root", Role::Admin, CameraScope::All).await;
        house.add("otto", Role::Operator, own.clone()).await;
        house.add("vera", Role::Viewer, own).await;
        house
    }

    async fn add(&self, name: &str, role: Role, cameras: CameraScope) {
        let new = NewUser {
            name: name.to_owned(),
            password: Secret::new(PASSWORD),
            role,
            cameras,
        };
        let principal = Principal::anybody();
        let actor = Actor {
            principal: &principal,
            ip: None,
        };
        self.gateway.accounts.create_user(actor, new).await.unwrap();
    }

    /// What a page of this gateway says of itself.
    fn origin(&self) -> String {
        format!("http://{}", self.gateway.http)
    }

    fn ask(&self, who: &As, method: &str, path: &str) -> RequestBuilder {
        let request = self.gateway.request(method, path);
        match who {
            As::Nobody => request,
            As::Cookie(cookie) => request
                .header("cookie", cookie)
                .header("origin", self.origin()),
            As::Token(token) => request.bearer_auth(token),
        }
    }

    async fn get(&self, who: &As, path: &str) -> (StatusCode, Value) {
        answer(self.ask(who, "GET", path)).await
    }

    async fn post(&self, who: &As, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.ask(who, "POST", path).json(body)).await
    }

    async fn delete(&self, who: &As, path: &str) -> StatusCode {
        self.ask(who, "DELETE", path).send().await.unwrap().status()
    }

    async fn try_log_in(&self, name: &str, password: &str) -> Response {
        self.gateway
            .request("POST", "/api/auth/login")
            .json(&json!({"name": name, "password": password}))
            .send()
            .await
            .unwrap()
    }

    async fn log_in(&self, name: &str) -> As {
        let response = self.try_log_in(name, PASSWORD).await;
        assert_eq!(response.status(), StatusCode::OK);
        As::Cookie(cookie_of(&response))
    }

    /// A token of `who` that may do what they may.
    async fn token_of(&self, who: &As, role: &str) -> (String, As) {
        let new = json!({"name": "test", "role": role});
        let (status, made) = self.post(who, "/api/tokens", &new).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let secret = made["token"].as_str().unwrap().to_owned();
        (made["id"].as_str().unwrap().to_owned(), As::Token(secret))
    }

    /// Shares the first camera; gives the link's id and what it holds.
    async fn share(&self, who: &As) -> (String, String) {
        let in_an_hour = Timestamp::now() + SignedDuration::from_hours(1);
        let new =
            json!({"camera_id": CAMERA, "label": "grandma", "expires_at": in_an_hour.to_string()});
        let (status, made) = self.post(who, "/api/shares", &new).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let (page, secret) = made["path"].as_str().unwrap().split_once('#').unwrap();
        assert_eq!(page, "/share");
        (made["id"].as_str().unwrap().to_owned(), secret.to_owned())
    }

    /// The signaling socket of somebody's page.
    async fn socket(&self, who: &As) -> Result<Socket, Box<WsError>> {
        self.socket_from(who, &self.origin()).await
    }

    async fn socket_from(&self, who: &As, origin: &str) -> Result<Socket, Box<WsError>> {
        let url = format!("ws://{}/ws", self.gateway.http);
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("origin", origin.parse().unwrap());
        match who {
            As::Nobody => {}
            As::Cookie(cookie) => drop(headers.insert("cookie", cookie.parse().unwrap())),
            As::Token(token) => {
                let value = format!("Bearer {token}");
                headers.insert("authorization", value.parse().unwrap());
            }
        }
        connect(request).await
    }

    /// Somebody watches over signaling, and the answer has come.
    async fn watch(&self, who: &As) -> Socket {
        let mut socket = self.socket(who).await.unwrap();
        socket.say(&viewer_of(CAMERA)).await;
        socket.hear_type("viewerResponse").await;
        socket
    }

    async fn until_nobody_watches(&self) {
        let supervisor = &self.gateway.supervisor;
        self.gateway
            .until("nobody watches", || supervisor.viewers(None).is_empty())
            .await;
    }
}

async fn connect(request: Request<()>) -> Result<Socket, Box<WsError>> {
    let opened = within("the handshake", tokio_tungstenite::connect_async(request)).await;
    opened.map(|(socket, _)| Socket(socket)).map_err(Box::new)
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn viewer_of(camera: &str) -> Value {
    json!({"type": "viewer", "cameraId": camera, "sdpOffer": OFFER})
}

fn set_cookie(response: &Response) -> &str {
    response.headers()["set-cookie"].to_str().unwrap()
}

fn cookie_of(response: &Response) -> String {
    set_cookie(response).split(';').next().unwrap().to_owned()
}

/// The status with which a socket was refused.
fn refusal(socket: Result<Socket, Box<WsError>>) -> u16 {
    match socket.map(|_| ()).map_err(|error| *error) {
        Err(WsError::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

/// What the document says of an operation.
struct Operation {
    method: String,
    path: String,
    access: String,
}

impl Operation {
    fn all() -> Vec<Self> {
        let document = serde_json::to_value(document_of_routes()).unwrap();
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let access = operation["x-access"].as_str();
                let access = access.unwrap_or_else(|| panic!("{method} {path} has no policy"));
                assert_eq!(
                    access == "public",
                    operation["security"].as_array().unwrap().is_empty(),
                    "{method} {path}"
                );
                all.push(Self {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    access: access.to_owned(),
                });
            }
        }
        all
    }

    /// Its address, about this camera; other ids are of nothing.
    fn url(&self, camera: &str) -> String {
        let url = self.path.replace("{camera_id}", camera);
        let url = url.replace("{file}", "app.css").replace("{session}", "x");
        let nothing = uuid::Uuid::nil().to_string();
        [
            "{session_id}",
            "{user_id}",
            "{token_id}",
            "{share_id}",
            "{subscription_id}",
        ]
        .iter()
        .fold(url, |url, name| url.replace(name, &nothing))
    }
}

/// Everybody may use these, and nothing else: ways in, pages and their files (what they show, their requests find out), and health.
const PUBLIC: &[&str] = &[
    "GET /",
    "GET /account",
    "GET /admin",
    "GET /api/auth/me",
    "GET /api/auth/oidc/callback",
    "GET /api/auth/oidc/login",
    "GET /api/livestream/health",
    "GET /assets/{file}",
    "GET /events",
    "GET /health",
    "GET /health/live",
    "GET /health/ready",
    "GET /livestream/viewer",
    "GET /login",
    "GET /manifest.webmanifest",
    "GET /offline.html",
    "GET /openapi.json",
    "GET /setup",
    "GET /share",
    "GET /sw.js",
    "GET /viewer",
    "GET /welcome",
    "OPTIONS /whep/{camera_id}",
    "OPTIONS /whep/{camera_id}/{session}",
    "POST /api/auth/login",
    "POST /api/auth/setup",
    "POST /api/auth/share",
];

#[tokio::test]
async fn h01_strangers_get_nothing_but_what_is_listed() {
    let house = House::open().await;
    let mut public = Vec::new();
    for operation in Operation::all() {
        let place = format!("{} {}", operation.method, operation.path);
        if operation.access == "public" {
            public.push(place);
            continue;
        }
        for camera in [CAMERA, NO_CAMERA] {
            let url = operation.url(camera);
            let response = house.ask(&As::Nobody, &operation.method, &url).send().await;
            let response = response.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{place}");
            assert!(response.headers().contains_key("www-authenticate"));
        }
    }
    public.sort();
    assert_eq!(public, PUBLIC);
    for port in [house.gateway.http, house.gateway.signaling] {
        let request = format!("ws://{port}/ws").into_client_request().unwrap();
        assert_eq!(refusal(connect(request).await), 401);
    }
    let (_, health) = house.get(&As::Nobody, "/health").await;
    let told: Vec<&String> = health.as_object().unwrap().keys().collect();
    assert_eq!(told, ["kurento_connected", "status", "timestamp"]);
    house.gateway.stop().await;
}

/// So that who runs the program finds in coturn's log whose login it was, and who reads along on the network does not.
#[tokio::test]
async fn who_may_watch_is_told_of_turn_servers_with_a_login_that_names_nobody() {
    let gateway = Gateway::start_by(Bounds::new(1024, 1024), None, |config| {
        config.auth.enabled = true;
        config.turn = turn();
    });
    let house = House::of(gateway.await).await;
    let root = house.log_in("root").await;
    let (_, sessions) = house.get(&root, "/api/auth/sessions").await;
    let login = sessions["sessions"][0]["id"].as_str().unwrap().to_owned();
    let (share, secret) = house.share(&root).await;
    let (token, program) = house.token_of(&root, "viewer").await;
    for (who, session) in [
        (root, format!("login-{login}")),
        (As::Token(secret), format!("share-{share}")),
        (program, format!("token-{token}")),
    ] {
        let response = house.ask(&who, "GET", "/api/ice-servers").send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let told: Value = response.json().await.unwrap();
        assert_eq!(told["lifetime_s"], 3600);
        let [stun, turn] = told["ice_servers"].as_array().unwrap().as_slice() else {
            panic!("{told}")
        };
        assert_eq!(*stun, json!({"urls": ["stun:stun.example"]}));
        assert_eq!(turn["urls"].as_array().unwrap().len(), 2);
        let username = turn["username"].as_str().unwrap();
        assert_eq!(username.split_once(':').unwrap().1, session);
        assert!(turn["credential"].is_string(), "{told}");
    }
    house.gateway.stop().await;

    let house = House::open().await;
    let root = house.log_in("root").await;
    let (_, told) = house.get(&root, "/api/ice-servers").await;
    assert_eq!(told, json!({"ice_servers": [], "lifetime_s": 3600}));
    house.gateway.stop().await;
}

#[tokio::test]
async fn h01_each_role_gets_what_the_policy_of_the_route_says() {
    let house = House::open().await;
    let root = house.log_in("root").await;
    let (_, secret) = house.share(&root).await;
    let operator = house.log_in("otto").await;
    let viewer = house.log_in("vera").await;
    let askers = [
        ("guest", As::Token(secret)),
        ("viewer", house.token_of(&viewer, "viewer").await.1),
        ("operator", house.token_of(&operator, "operator").await.1),
    ];
    for operation in Operation::all() {
        let place = format!("{} {}", operation.method, operation.path);
        let about_a_camera = operation.path.contains("{camera_id}");
        if operation.access == "public" || operation.path == "/ws" {
            continue;
        }
        for (name, asker) in &askers {
            let allowed: &[&str] = match operation.access.as_str() {
                "known" | "watch" => &["guest", "viewer", "operator"],
                "user" | "inspect" => &["viewer", "operator"],
                "operate" => &["operator"],
                "admin" => &[],
                other => panic!("{other}"),
            };
            let ask = async |camera| {
                let url = operation.url(camera);
                answer(house.ask(asker, &operation.method, &url)).await
            };
            if about_a_camera {
                let (foreign, missing) = (ask(OTHER_CAMERA).await, ask(NO_CAMERA).await);
                assert_eq!(foreign.0, StatusCode::NOT_FOUND, "{name}: {place}");
                assert_eq!(foreign, missing, "{name}: {place}");
            }
            let (status, body) = ask(CAMERA).await;
            // What only a login can do says so; a program's token is refused like somebody of a lower role.
            let for_logins = body["error"] == "log in for this; a token cannot do it";
            let refused = status == StatusCode::FORBIDDEN && !for_logins;
            assert_eq!(
                refused,
                !allowed.contains(name),
                "{name}: {place}: {status} {body}"
            );
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{name}: {place}");
        }
    }
    house.gateway.stop().await;
}

#[tokio::test]
async fn lists_hold_what_the_asker_may_see() {
    let house = House::open().await;
    let root = house.log_in("root").await;
    for camera in [CAMERA, OTHER_CAMERA] {
        let path = format!("/streams/{camera}/start");
        let (status, _) = house.post(&root, &path, &json!({})).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let vera = house.log_in("vera").await;
    for (who, seen) in [(&root, 2), (&vera, 1)] {
        for (path, list) in [
            ("/cameras", "cameras"),
            ("/streams", "streams"),
            ("/api/livestream/cameras", "cameras"),
        ] {
            let (_, body) = house.get(who, path).await;
            let list = body[list].as_array().unwrap();
            assert_eq!(list.len(), seen, "{path}");
            assert_eq!(body["count"], seen, "{path}");
        }
        let (_, health) = house.get(who, "/health").await;
        assert_eq!(health["active_streams"], seen);
    }
    let (_, cameras) = house.get(&vera, "/cameras").await;
    assert_eq!(cameras["cameras"][0]["camera_id"], CAMERA);
    let mut socket = house.socket(&root).await.unwrap();
    socket.say(&viewer_of(OTHER_CAMERA)).await;
    socket.hear_type("viewerResponse").await;
    let (_, viewers) = house.get(&root, "/viewers").await;
    assert_eq!(viewers["count"], 1);
    let (_, viewers) = house.get(&vera, "/viewers").await;
    assert_eq!(viewers["count"], 0, "somebody watches what vera cannot see");
    house.gateway.stop().await;
}

#[tokio::test]
async fn h08_each_login_has_a_secret_of_its_own_in_a_cookie_that_scripts_cannot_read() {
    let house = House::open().await;
    let planted = "apiary_login=planted-by-somebody-else";
    let response = house
        .gateway
        .request("POST", "/api/auth/login")
        .header("cookie", planted)
        .json(&json!({"name": "Vera", "password": PASSWORD}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let text = set_cookie(&response).to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=25"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("Secure"), "this is no HTTPS: {text}");
    let first = As::Cookie(cookie_of(&response));
    let (status, _) = house.get(&As::Cookie(planted.to_owned()), "/cameras").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (_, me) = house.get(&first, "/api/auth/me").await;
    assert_eq!(me["user"]["name"], "vera");
    assert_eq!(me["user"]["role"], "viewer");
    assert_eq!(me["user"]["cameras"], json!([CAMERA]));
    assert_eq!(me["user"]["password"], true);
    // A new login in the same browser takes the place of the old one.
    let again = house
        .ask(&first, "POST", "/api/auth/login")
        .json(&json!({"name": "vera", "password": PASSWORD}))
        .send()
        .await
        .unwrap();
    let second = As::Cookie(cookie_of(&again));
    assert_eq!(
        house.get(&first, "/cameras").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(house.get(&second, "/cameras").await.0, StatusCode::OK);
    let (_, list) = house.get(&second, "/api/auth/sessions").await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(list["sessions"][0]["current"], true);
    let out = house.ask(&second, "POST", "/api/auth/logout").send().await;
    let out = out.unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    assert!(set_cookie(&out).contains("Max-Age=0"));
    assert_eq!(
        house.get(&second, "/cameras").await.0,
        StatusCode::UNAUTHORIZED
    );
    house.gateway.stop().await;
}

#[tokio::test]
async fn h02_a_cookie_acts_only_for_our_own_pages() {
    let house = House::open().await;
    let As::Cookie(cookie) = house.log_in("otto").await else {
        panic!("a login gives a cookie");
    };
    let path = format!("/streams/{CAMERA}/start");
    let own = house.origin();
    let ask = |origin: Option<&str>| {
        let request = house
            .gateway
            .request("POST", &path)
            .header("cookie", &cookie);
        match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        }
    };
    for origin in [None, Some("null"), Some("https://evil.example")] {
        let status = answer(ask(origin)).await.0;
        assert_eq!(status, StatusCode::FORBIDDEN, "{origin:?}");
        let overridden = ask(origin).header("x-http-method-override", "GET");
        assert_eq!(answer(overridden).await.0, StatusCode::FORBIDDEN);
    }
    let as_text = ask(Some(&own))
        .header("content-type", "text/plain")
        .body(r#"{"max_bandwidth": 900}"#);
    assert_eq!(answer(as_text).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(house.gateway.supervisor.stream(id(CAMERA)).is_none());
    assert_eq!(answer(ask(Some(&own))).await.0, StatusCode::CREATED);
    // Reading changes nothing, and needs no Origin: browsers send none.
    let read = house
        .gateway
        .request("GET", "/cameras")
        .header("cookie", &cookie);
    assert_eq!(answer(read).await.0, StatusCode::OK);
    house.gateway.stop().await;
}

#[tokio::test]
async fn h03_sockets_are_opened_for_own_pages_of_known_people() {
    let house = House::open().await;
    let vera = house.log_in("vera").await;
    for origin in ["https://evil.example", "null"] {
        assert_eq!(
            refusal(house.socket_from(&vera, origin).await),
            403,
            "{origin}"
        );
    }
    let As::Cookie(cookie) = &vera else {
        panic!("a login gives a cookie");
    };
    let mut without_origin = format!("ws://{}/ws", house.gateway.http)
        .into_client_request()
        .unwrap();
    let value = cookie.parse().unwrap();
    without_origin.headers_mut().insert("cookie", value);
    assert_eq!(refusal(connect(without_origin).await), 403);
    assert_eq!(refusal(house.socket(&As::Nobody).await), 401);
    assert!(house.socket(&vera).await.is_ok());
    // What cannot set headers may put a token into the address, for upgrades alone.
    let (_, token) = house.token_of(&vera, "viewer").await;
    let As::Token(secret) = &token else {
        panic!("that is a token");
    };
    let url = format!("ws://{}/ws?access_token={secret}", house.gateway.http);
    assert!(connect(url.into_client_request().unwrap()).await.is_ok());
    let url = format!("ws://{}/?access_token=x{secret}", house.gateway.signaling);
    assert_eq!(
        refusal(connect(url.into_client_request().unwrap()).await),
        401
    );
    let path = format!("/cameras?access_token={secret}");
    assert_eq!(
        house.get(&As::Nobody, &path).await.0,
        StatusCode::UNAUTHORIZED
    );
    house.gateway.stop().await;
}

#[tokio::test]
async fn h04_foreign_names_are_not_answered() {
    let gateway = Gateway::start().await;
    for (host, status) in [
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
        (
            "127.0.0.1.evil.example:8080",
            StatusCode::MISDIRECTED_REQUEST,
        ),
        ("localhost", StatusCode::OK),
        ("apiary.local:8080", StatusCode::OK),
    ] {
        for path in ["/cameras", "/", "/assets/app.css", "/health"] {
            let response = gateway
                .request("GET", path)
                .header("host", host)
                .send()
                .await;
            assert_eq!(response.unwrap().status(), status, "{host} {path}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn h07_who_guesses_is_slowed_down_whatever_address_they_claim() {
    let house = House::open().await;
    let mut refused = None;
    for round in 0..50 {
        let response = house
            .gateway
            .request("POST", "/api/auth/login")
            .header("x-forwarded-for", format!("198.51.100.{round}"))
            .json(&json!({"name": "vera", "password": format!("guess number {round}")}))
            .send()
            .await
            .unwrap();
        match response.status() {
            StatusCode::UNAUTHORIZED => {}
            StatusCode::TOO_MANY_REQUESTS => {
                refused = Some(response);
                break;
            }
            other => panic!("{other}"),
        }
    }
    let refused = refused.expect("guessing is slowed down");
    assert!(refused.headers().contains_key("retry-after"));
    // The right password does not get around it either.
    let right = house.try_log_in("vera", PASSWORD).await;
    assert_eq!(right.status(), StatusCode::TOO_MANY_REQUESTS);
    let (_, wrong) = answer(
        house
            .gateway
            .request("POST", "/api/auth/login")
            .json(&json!({"name": "nobody-at-all", "password": "whatever"})),
    )
    .await;
    assert!(!wrong.to_string().contains("nobody-at-all"));
    house.gateway.stop().await;
}

#[tokio::test]
async fn h08_what_is_watched_ends_with_the_right_to_it() {
    let house = House::open().await;
    let root = house.log_in("root").await;
    let (share, secret) = house.share(&root).await;
    let guest = As::Token(secret);
    let vera = house.log_in("vera").await;
    let (token, program) = house.token_of(&vera, "viewer").await;
    let users = house.get(&root, "/api/users").await.1;
    let user = |name: &str| {
        let all = users["users"].as_array().unwrap();
        let found = all.iter().find(|user| user["name"] == name).unwrap();
        format!("/api/users/{}", found["id"].as_str().unwrap())
    };

    let mut socket = house.watch(&guest).await;
    let path = format!("/api/shares/{share}");
    assert_eq!(house.delete(&root, &path).await, StatusCode::NO_CONTENT);
    assert_ended(&mut socket).await;
    assert_eq!(refusal(house.socket(&guest).await), 401);

    let mut socket = house.watch(&program).await;
    let path = format!("/api/tokens/{token}");
    assert_eq!(house.delete(&vera, &path).await, StatusCode::NO_CONTENT);
    assert_ended(&mut socket).await;

    let mut socket = house.watch(&vera).await;
    let out = house.ask(&vera, "POST", "/api/auth/logout").send().await;
    assert_eq!(out.unwrap().status(), StatusCode::NO_CONTENT);
    assert_ended(&mut socket).await;
    socket.say(&viewer_of(CAMERA)).await;
    let error = socket.hear_type("error").await;
    assert!(error["message"].as_str().unwrap().contains("log in"));

    let vera = house.log_in("vera").await;
    let mut socket = house.watch(&vera).await;
    let change = house.ask(&root, "PATCH", &user("vera"));
    let (status, _) = answer(change.json(&json!({"cameras": [OTHER_CAMERA]}))).await;
    assert_eq!(status, StatusCode::OK);
    assert_ended(&mut socket).await;
    socket.say(&viewer_of(CAMERA)).await;
    let foreign = socket.hear_type("error").await;
    socket.say(&viewer_of(NO_CAMERA)).await;
    let missing = socket.hear_type("error").await;
    assert_eq!(foreign, missing, "a foreign camera looks like none");

    let otto = house.log_in("otto").await;
    let mut socket = house.watch(&otto).await;
    let new = json!({"current": PASSWORD, "new": "a new one for otto"});
    let (status, _) = house.post(&otto, "/api/auth/password", &new).await;
    assert_eq!(status, StatusCode::OK);
    assert_ended(&mut socket).await;
    assert_eq!(
        house.get(&otto, "/cameras").await.0,
        StatusCode::UNAUTHORIZED
    );

    // Somebody who came by WHEP has no socket to be told over; the session is gone all the same.
    let (share, secret) = house.share(&root).await;
    let guest = As::Token(secret);
    let location = join_by_whep(&house, &guest).await;
    assert_eq!(house.get(&guest, &location).await.0, StatusCode::NO_CONTENT);
    let path = format!("/api/shares/{share}");
    assert_eq!(house.delete(&root, &path).await, StatusCode::NO_CONTENT);
    house.until_nobody_watches().await;
    house.gateway.stop().await;
}

async fn assert_ended(socket: &mut Socket) {
    let stopped = socket.hear_type("stopped").await;
    assert_eq!(stopped["retry"], false, "{stopped}");
    assert!(
        stopped["reason"].as_str().unwrap().contains("right"),
        "{stopped}"
    );
}

async fn join_by_whep(house: &House, who: &As) -> String {
    let offer = house
        .ask(who, "POST", &format!("/whep/{CAMERA}"))
        .header("content-type", "application/sdp")
        .body(OFFER);
    let joined = within("the join", offer.timeout(DEADLINE).send())
        .await
        .unwrap();
    assert_eq!(joined.status(), StatusCode::CREATED);
    joined.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn h27_a_whep_session_is_for_who_made_it() {
    let house = House::open().await;
    let (vera, otto) = (house.log_in("vera").await, house.log_in("otto").await);
    let location = join_by_whep(&house, &vera).await;
    let fragment = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n";
    for (who, expected) in [(&otto, 404), (&vera, 204)] {
        assert_eq!(house.get(who, &location).await.0, expected);
        if expected == 204 {
            continue;
        }
        let patch = house
            .ask(who, "PATCH", &location)
            .header("content-type", "application/trickle-ice-sdpfrag")
            .header("if-match", "*")
            .body(fragment);
        assert_eq!(answer(patch).await.0, expected);
        assert_eq!(house.delete(who, &location).await, expected);
    }
    // A program of the same user is the same owner.
    let (_, program) = house.token_of(&vera, "viewer").await;
    assert_eq!(house.delete(&program, &location).await, StatusCode::OK);
    house.gateway.stop().await;
}

#[tokio::test]
async fn a_share_link_shows_one_camera_and_nothing_else() {
    let house = House::open().await;
    let vera = house.log_in("vera").await;
    let (_, secret) = house.share(&vera).await;
    let open = house
        .gateway
        .request("POST", "/api/auth/share")
        .json(&json!({"token": secret}))
        .send()
        .await
        .unwrap();
    assert_eq!(open.status(), StatusCode::OK);
    let guest = As::Cookie(cookie_of(&open));
    let me: Value = open.json().await.unwrap();
    assert_eq!(me["user"]["guest"], true);
    assert_eq!(me["user"]["cameras"], json!([CAMERA]));
    let (_, cameras) = house.get(&guest, "/cameras").await;
    assert_eq!(cameras["count"], 1);
    drop(house.watch(&guest).await);
    house.until_nobody_watches().await;
    let stop = format!("/streams/{CAMERA}/stop");
    assert_eq!(
        house.post(&guest, &stop, &json!({})).await.0,
        StatusCode::FORBIDDEN
    );
    let share = json!({"camera_id": CAMERA, "label": "on", "expires_at": "2100-01-01T00:00:00Z"});
    assert_eq!(
        house.post(&guest, "/api/shares", &share).await.0,
        StatusCode::FORBIDDEN
    );
    let mut forged = secret.clone();
    forged.replace_range(10..11, if &secret[10..11] == "A" { "B" } else { "A" });
    for wrong in [forged.as_str(), "", "aps_", &"A".repeat(10_000)] {
        let body = json!({"token": wrong});
        let (status, _) = house.post(&As::Nobody, "/api/auth/share", &body).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    // An API token is no share link, and cannot become a cookie.
    let (_, As::Token(token)) = house.token_of(&vera, "viewer").await else {
        panic!("that is a token");
    };
    let body = json!({"token": token});
    assert_eq!(
        house.post(&As::Nobody, "/api/auth/share", &body).await.0,
        StatusCode::NOT_FOUND
    );
    for (camera, end) in [
        (OTHER_CAMERA, "2100-01-01T00:00:00Z"),
        (NO_CAMERA, "2100-01-01T00:00:00Z"),
        (CAMERA, "2001-01-01T00:00:00Z"),
        (CAMERA, "tomorrow"),
    ] {
        let share = json!({"camera_id": camera, "label": "x", "expires_at": end});
        let (status, body) = house.post(&vera, "/api/shares", &share).await;
        assert!(status.is_client_error(), "{camera} {end}: {body}");
    }
    house.gateway.stop().await;
}

#[tokio::test]
async fn a_token_makes_nothing_that_lasts_longer_than_it_does() {
    let house = House::open().await;
    let root = house.log_in("root").await;
    let (_, program) = house.token_of(&root, "admin").await;
    let token = json!({"name": "more", "role": "admin"});
    let share = json!({"camera_id": CAMERA, "label": "x", "expires_at": "2100-01-01T00:00:00Z"});
    let password = json!({"current": PASSWORD, "new": "another password"});
    for (path, body) in [
        ("/api/tokens", &token),
        ("/api/shares", &share),
        ("/api/auth/password", &password),
    ] {
        let (status, answer) = house.post(&program, path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path} {answer}");
    }
    let vera = house.log_in("vera").await;
    let above = json!({"name": "more", "role": "operator"});
    assert_eq!(
        house.post(&vera, "/api/tokens", &above).await.0,
        StatusCode::FORBIDDEN
    );
    let beyond = json!({"name": "more", "role": "viewer", "cameras": [OTHER_CAMERA]});
    assert_eq!(
        house.post(&vera, "/api/tokens", &beyond).await.0,
        StatusCode::FORBIDDEN
    );
    // One that says nothing of cameras gets those of its user.
    let (_, of_vera) = house.token_of(&vera, "viewer").await;
    assert_eq!(house.get(&of_vera, "/cameras").await.1["count"], 1);
    let (_, tokens) = house.get(&vera, "/api/tokens").await;
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 1);
    assert!(
        !tokens.to_string().contains("apt_"),
        "the secret is shown once"
    );
    house.gateway.stop().await;
}

#[tokio::test]
async fn the_first_administrator_is_made_with_the_link_of_the_console() {
    let gateway = Gateway::start_closed().await;
    let secret = gateway.accounts.open_setup().expect("there is no user");
    let house = House { gateway };
    let (_, me) = house.get(&As::Nobody, "/api/auth/me").await;
    assert_eq!(
        (&me["accounts"], &me["needs_setup"]),
        (&json!(true), &json!(true))
    );
    let body = |secret: &str, password: &str| json!({"secret": secret, "name": "Root", "password": password});
    let nobody = As::Nobody;
    let wrong = house
        .post(&nobody, "/api/auth/setup", &body("x", PASSWORD))
        .await;
    assert_eq!(wrong.0, StatusCode::FORBIDDEN);
    let short = body(secret.expose(), "short");
    let short = house.post(&nobody, "/api/auth/setup", &short).await;
    assert_eq!(short.0, StatusCode::BAD_REQUEST, "{}", short.1);
    let right = house
        .gateway
        .request("POST", "/api/auth/setup")
        .json(&body(secret.expose(), PASSWORD))
        .send()
        .await
        .unwrap();
    assert_eq!(right.status(), StatusCode::OK);
    let root = As::Cookie(cookie_of(&right));
    assert_eq!(
        house.get(&root, "/api/users").await.1["users"][0]["name"],
        "root"
    );
    let again = body(secret.expose(), PASSWORD);
    let again = house.post(&nobody, "/api/auth/setup", &again).await;
    assert_eq!(again.0, StatusCode::FORBIDDEN);
    assert!(house.gateway.accounts.open_setup().is_none());
    house.gateway.stop().await;
}

#[tokio::test]
async fn who_asks_too_much_is_told_to_wait_and_nobody_else_is() {
    let bounds = Bounds::new(1024, 1024);
    let gateway = Gateway::start_by(bounds, None, |config| {
        config.http.trusted_proxies = IpNetwork::new(Ipv4Addr::LOCALHOST.into(), 32)
            .into_iter()
            .collect();
        config.http.requests_per_second = 5;
        config.http.joins_per_second = 1;
    })
    .await;
    let ask = async |from: &str, path: &str| {
        let request = gateway.request("GET", path);
        let request = request.header("x-forwarded-for", from);
        request.send().await.unwrap()
    };
    let mut refused = None;
    for _ in 0..100 {
        let response = ask("198.51.100.1", "/cameras").await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("there is a limit");
    assert_eq!(refused.headers()["retry-after"], "1");
    let other = ask("198.51.100.2", "/cameras").await;
    assert_eq!(other.status(), StatusCode::OK);
    let join = async |from: &str| {
        let join = gateway
            .request("POST", &format!("/whep/{CAMERA}"))
            .header("x-forwarded-for", from)
            .header("content-type", "application/sdp")
            .body(OFFER);
        join.send().await.unwrap().status()
    };
    let mut statuses = vec![join("198.51.100.3").await];
    while statuses.last() == Some(&StatusCode::CREATED) && statuses.len() < 19 {
        statuses.push(join("198.51.100.3").await);
    }
    assert_eq!(statuses.pop(), Some(StatusCode::TOO_MANY_REQUESTS));
    assert!(statuses.len() >= 10, "a burst: {statuses:?}");
    assert_eq!(join("198.51.100.4").await, StatusCode::CREATED);
    gateway.stop().await;
}

#[tokio::test]
async fn tokens_that_others_sign_count_by_what_they_say() {
    let secret = "0123456789abcdef0123456789abcdef";
    let bounds = Bounds::new(1024, 1024);
    let gateway = Gateway::start_by(bounds, None, |config| {
        config.auth.enabled = true;
        config.auth.jwt.secret = Some(Secret::new(secret));
    })
    .await;
    for camera in [CAMERA, OTHER_CAMERA] {
        gateway.camera_says_hello(camera).await;
    }
    let house = House { gateway };
    let exp = Timestamp::now().as_second() + 6;
    let claims = json!({"sub": "dashboard", "role": "viewer", "cameras": [CAMERA], "exp": exp});
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = As::Token(encode(&Header::default(), &claims, &key).unwrap());
    let (status, cameras) = house.get(&token, "/cameras").await;
    assert_eq!(cameras["count"], 1, "{status} {cameras}");
    let stop = format!("/streams/{CAMERA}/stop");
    let new = json!({"name": "x", "role": "viewer"});
    for (path, body) in [(stop.as_str(), &json!({})), ("/api/tokens", &new)] {
        let (status, _) = house.post(&token, path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    // It is over in a moment, and so is what is watched by it.
    let mut socket = house.watch(&token).await;
    assert_ended(&mut socket).await;
    let (status, _) = house.get(&token, "/cameras").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    house.gateway.stop().await;
}

#[tokio::test]
async fn what_administrators_do_is_in_the_audit_log() {
    let house = House::open().await;
    assert_eq!(
        house.try_log_in("vera", "wrong password").await.status(),
        StatusCode::UNAUTHORIZED
    );
    let root = house.log_in("root").await;
    let new = json!({"name": "Nora", "password": PASSWORD, "role": "viewer", "cameras": [CAMERA]});
    let (status, nora) = house.post(&root, "/api/users", &new).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(nora["name"], "nora");
    assert_eq!(
        house.post(&root, "/api/users", &new).await.0,
        StatusCode::CONFLICT
    );
    let path = format!("/api/users/{}", nora["id"].as_str().unwrap());
    assert_eq!(house.delete(&root, &path).await, StatusCode::NO_CONTENT);
    assert_eq!(house.delete(&root, &path).await, StatusCode::NOT_FOUND);
    // Failed logins are written by the way, so they may come a moment later.
    let refused = within("the audit log", async {
        loop {
            let (_, log) = house.get(&root, "/api/audit").await;
            let entries = log["entries"].as_array().unwrap().clone();
            if entries.iter().any(|entry| entry["outcome"] == "refused") {
                return entries;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let has = |action: &str, outcome: &str, subject: &str| {
        refused.iter().any(|entry| {
            entry["action"] == action && entry["outcome"] == outcome && entry["subject"] == subject
        })
    };
    assert!(has("login", "refused", "vera"));
    assert!(has("login", "done", "root"));
    assert!(has("user.create", "done", "nora"));
    assert!(has("user.remove", "done", "nora"));
    assert!(!json!(refused).to_string().contains("wrong password"));
    for query in ["?limit=0", "?limit=x", "?before=yesterday", "?x=1"] {
        let path = format!("/api/audit{query}");
        assert_eq!(
            house.get(&root, &path).await.0,
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
    house.gateway.stop().await;
}
