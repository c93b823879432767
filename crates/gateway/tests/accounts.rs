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
