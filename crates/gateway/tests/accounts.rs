//! Accounts and the console: the link to the first one, and `apiary user` for who cannot log in any more.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

mod process_support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

use process_support::{Log, Running, apiary, http_address, serve};
use serde_json::{Value, json};

/// The gateway with accounts on; each test has UDP ports of its own.
fn start(dir: &Path, udp: u16) -> (Running, Log, String) {
    let mut running = Running::start(serve(dir, udp).env("APIARY_AUTH_ENABLED", "true"));
    let mut log = Log::of(&mut running);
    let address = http_address(&log.until("ready"));
    (running, log, address)
}

fn post(address: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn log_in(address: &str, name: &str, password: &str) -> u16 {
    let body = json!({"name": name, "password": password});
    post(address, "/api/auth/login", &body).0
}

fn user(dir: &Path, arguments: &[&str]) -> Output {
    apiary(dir, &["user"]).args(arguments).output().unwrap()
}

/// What a command shows that must do what it is told.
#[track_caller]
fn shown(output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn complaint(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn password(shown: &str) -> String {
    let line = shown.lines().next().unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn the_console_shows_the_link_to_the_first_account_and_the_log_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut running, log, address) = start(dir.path(), 27_100);
    let console = BufReader::new(running.0.stdout.take().unwrap());
    let link = console
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("/setup#"))
        .unwrap();
    let (page, secret) = link.trim().split_once('#').unwrap();
    assert_eq!(page, format!("http://{address}/setup"));
    let first = json!({"secret": secret, "name": "Queen", "password": "honey and wax"});
    assert_eq!(post(&address, "/api/auth/setup", &first).0, 200);
    assert_eq!(post(&address, "/api/auth/setup", &first).0, 403);
    running.signal("TERM");
    assert!(running.end().success());
    let records = format!("{:?}", log.rest());
    assert!(!records.contains(secret), "{records}");
    assert!(!records.contains("honey and wax"), "{records}");

    // It lives on, and the link is not shown again.
    let (mut running, _log, address) = start(dir.path(), 27_100);
    assert_eq!(log_in(&address, "queen", "honey and wax"), 200);
    running.signal("TERM");
    assert!(running.end().success());
    let mut console = String::new();
    let stdout = running.0.stdout.as_mut().unwrap();
    stdout.read_to_string(&mut console).unwrap();
    assert!(!console.contains("/setup#"), "{console}");
}

#[test]
fn accounts_are_made_and_mended_from_the_console() {
    let dir = tempfile::tempdir().unwrap();
    let made = shown(&user(dir.path(), &["add", "Queen", "--role", "admin"]));
    let camera = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";
    let other = shown(&user(dir.path(), &["add", "drone", "--cameras", camera]));
    assert_ne!(password(&made), password(&other));
    let listed = shown(&user(dir.path(), &["list"]));
    assert_eq!(
        listed,
        format!("drone\tviewer\t{camera}\nqueen\tadmin\tall cameras\n")
    );
    let again = complaint(&user(dir.path(), &["add", "queen"]));
    assert!(again.contains("already"), "{again}");
    let nobody = complaint(&user(dir.path(), &["password", "wasp"]));
    assert!(nobody.contains("apiary user list"), "{nobody}");
    let no_camera = complaint(&user(dir.path(), &["add", "wasp", "--cameras", "porch"]));
    assert!(no_camera.contains("porch"), "{no_camera}");
    let last = complaint(&user(dir.path(), &["remove", "queen"]));
    assert!(last.contains("last administrator"), "{last}");

    let (mut running, _log, address) = start(dir.path(), 27_140);
    assert_eq!(log_in(&address, "queen", &password(&made)), 200);
    // What runs would not notice.
    let busy = complaint(&user(dir.path(), &["password", "queen"]));
    assert!(busy.contains("in use by another running apiary"), "{busy}");
    running.signal("TERM");
    assert!(running.end().success());

    let changed = shown(&user(dir.path(), &["password", "Queen"]));
    shown(&user(dir.path(), &["remove", "drone"]));
    let (_running, _log, address) = start(dir.path(), 27_140);
    assert_eq!(log_in(&address, "queen", &password(&made)), 401);
    assert_eq!(log_in(&address, "queen", &password(&changed)), 200);
    assert_eq!(log_in(&address, "drone", &password(&other)), 401);
}

/// Secrets of all kinds that go through the program while it tells all it can: none is in its log, on its console, in its
/// figures, in what it exports, or in what the API lists.
#[tokio::test]
async fn h09_secrets_stay_where_they_belong() {
    const JWT_SECRET: &str = "canary-jwt-0123456789abcdef01234567";
    const HOOK_SECRET: &str = "canary-hook-0123456789abcdef0123456";
    const TURN_SECRET: &str = "canary-turn-0123456789abcdef0123456";
    const BROKER_PASSWORD: &str = "canary-broker-0123456789";
    const GUESS: &str = "canary-guess-0123456789";
    const NEW_PASSWORD: &str = "canary-new-0123456789";
    let dir = tempfile::tempdir().unwrap();
    let password = password(&shown(&user(
        dir.path(),
        &["add", "queen", "--role", "admin"],
    )));
    let mut command = serve(dir.path(), 27_180);
    command.envs([
        ("APIARY_AUTH_ENABLED", "true"),
        ("APIARY_LOG_LEVEL", "trace"),
        ("APIARY_AUTH_JWT_SECRET", JWT_SECRET),
        ("APIARY_MQTT_BROKER", "mqtt://127.0.0.1:9"), // nobody is there, which is told of
        ("APIARY_MQTT_USERNAME", "apiary"),
        ("APIARY_MQTT_PASSWORD", BROKER_PASSWORD),
        (
            "APIARY_WEBHOOKS_URLS",
            "http://127.0.0.1:9/canary-path-0123456789",
        ),
        ("APIARY_WEBHOOKS_SECRET", HOOK_SECRET),
        ("APIARY_WEBHOOKS_ALLOW_PRIVATE", "127.0.0.0/8"),
        ("APIARY_TURN_URLS", "turn:127.0.0.1"),
        ("APIARY_TURN_SECRET", TURN_SECRET),
    ]);
    command.env_remove("APIARY_MQTT_LISTEN");
    let mut running = Running::start(&mut command);
    let mut log = Log::of(&mut running);
    let address = http_address(&log.until("ready"));
    let origin = format!("http://{address}");
    let client = reqwest::Client::new();
    let send = async |path: &str, cookie: &str, body: Value| {
        let request = client.post(format!("{origin}{path}")).json(&body);
        let request = request.header("origin", &origin).header("cookie", cookie);
        request.send().await.unwrap()
    };
    let camera = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";
    assert_eq!(log_in(&address, "queen", GUESS), 401);
    let login = json!({"name": "queen", "password": password});
    let login = send("/api/auth/login", "", login).await;
    let set_cookie = login.headers()["set-cookie"].to_str().unwrap();
    let cookie = set_cookie.split(';').next().unwrap().to_owned();
    let token = json!({"name": "automation", "role": "admin"});
    let token: Value = send("/api/tokens", &cookie, token)
        .await
        .json()
        .await
        .unwrap();
    let token = token["token"].as_str().unwrap().to_owned();
    // A camera has to be known to be shared: somebody asks for it.
    let start = format!("/streams/{camera}/start");
    assert_eq!(send(&start, &cookie, json!({})).await.status(), 201);
    let share = json!({"camera_id": camera, "label": "x", "expires_at": "2100-01-01T00:00:00Z"});
    let share: Value = send("/api/shares", &cookie, share)
        .await
        .json()
        .await
        .unwrap();
    let link = share["path"].as_str().unwrap_or_else(|| panic!("{share}"));
    let link = link.split_once('#').unwrap().1.to_owned();
    assert_eq!(
        send("/api/auth/share", "", json!({"token": link}))
            .await
            .status(),
        200
    );
    let upgrade = format!("ws://{address}/ws?access_token={token}");
    let (socket, _) = tokio_tungstenite::connect_async(&upgrade).await.unwrap();
    drop(socket);
    let forged = format!("{origin}/cameras?access_token={token}");
    assert_eq!(client.get(forged).send().await.unwrap().status(), 401);
    let tried = send("/api/webhooks/test", &cookie, json!({})).await;
    let tried = tried.text().await.unwrap();
    let servers = client.get(format!("{origin}/api/ice-servers"));
    let servers = servers.bearer_auth(&token).send().await.unwrap();
    let servers: Value = servers.json().await.unwrap();
    let credential = servers["ice_servers"][0]["credential"].as_str().unwrap();
    assert!(!servers.to_string().contains(TURN_SECRET));
    let change = json!({"current": password, "new": NEW_PASSWORD});
    let changed = send("/api/auth/password", &cookie, change).await;
    assert_eq!(changed.status(), 200);

    let mut told = vec![("the webhooks' test", tried)];
    for path in [
        "/metrics",
        "/api/audit",
        "/api/users",
        "/api/tokens",
        "/api/auth/sessions",
        "/cameras",
        "/health",
    ] {
        let request = client.get(format!("{origin}{path}")).bearer_auth(&token);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        told.push((path, answer.text().await.unwrap()));
    }
    let export = apiary(dir.path(), &["db", "export"]).output().unwrap();
    told.push(("the export", shown(&export)));
    running.signal("TERM");
    assert!(running.end().success());
    let mut console = String::new();
    let stdout = running.0.stdout.as_mut().unwrap();
    stdout.read_to_string(&mut console).unwrap();
    told.push(("the console", console));
    let records = log.rest();
    assert!(
        records
            .iter()
            .any(|record| record["level"] == "TRACE" || record["level"] == "DEBUG")
    );
    told.push(("the log", format!("{records:?}")));
    let secrets = [
        &password,
        &cookie["apiary_login=".len()..],
        &token,
        &link,
        JWT_SECRET,
        HOOK_SECRET,
        TURN_SECRET,
        credential,
        BROKER_PASSWORD,
        GUESS,
        NEW_PASSWORD,
        "canary-path-0123456789",
        "$argon2id$",
    ];
    for (place, text) in told {
        for secret in secrets {
            assert!(!text.contains(secret), "{place} tells {secret}");
        }
    }
}
