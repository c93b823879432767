//! Public keys at a server: what the program does and the doctor says where it is there, and where it is not.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod process_support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use process_support::{Log, Running, apiary, ask, http_address, serve};

/// The public key of RFC 7517, appendix A.1.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

/// A server that answers everybody so; its address.
fn answering(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            _ = stream.read(&mut [0; 1024]);
            _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}/jwks")
}

fn with_keys() -> String {
    answering(format!("HTTP/1.1 200 OK\r\n\r\n{KEYS}"))
}

fn elsewhere() -> String {
    let there = with_keys();
    answering(format!("HTTP/1.1 302 Found\r\nlocation: {there}\r\n\r\n"))
}

/// How the program starts with these keys, and what it says of them.
fn started(url: &str, udp: u16, says: &str) -> serde_json::Value {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(serve(dir.path(), udp).env("APIARY_AUTH_JWKS", url));
    let mut log = Log::of(&mut running);
    // They are read beside the start, so either may come first.
    let (mut said, mut ready) = (None, None);
    while said.is_none() || ready.is_none() {
        let record = log.until("");
        match record["message"].as_str().unwrap() {
            "ready" => ready = Some(record),
            keys if keys.starts_with("the keys of signed tokens") => said = Some(record),
            _ => {}
        }
    }
    let said = said.unwrap();
    assert!(said["message"].as_str().unwrap().contains(says), "{said}");
    let address = http_address(&ready.unwrap());
    assert_eq!(ask(&address, "GET", "/health").0, 200);
    running.signal("TERM");
    assert!(running.end().success());
    said
}

#[test]
fn keys_are_read_at_the_start_and_a_server_that_is_away_does_not_keep_it_from_starting() {
    let said = started(&with_keys(), 31_840, "are taken");
    assert_eq!(said["count"], 1);
    let said = started("http://127.0.0.1:1/jwks", 31_840, "cannot be read");
    assert_eq!(said["known"], false);
    started(&elsewhere(), 31_840, "cannot be read");
}

fn checked(dir: &Path, jwks: &str) -> String {
    let mut check = apiary(dir, &["check"]);
    let output = check.env("APIARY_AUTH_JWKS", jwks).output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    let line = report.lines().find(|line| line.contains("auth.jwks:"));
    line.unwrap_or_else(|| panic!("{report}")).to_owned()
}

#[test]
fn the_doctor_asks_for_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let good = checked(dir.path(), &with_keys());
    assert!(
        good.starts_with("ok ") && good.contains("keys: 1"),
        "{good}"
    );
    let away = checked(dir.path(), "http://127.0.0.1:1/jwks");
    assert!(
        away.starts_with("PROBLEM ") && away.contains("refused"),
        "{away}"
    );
    let sent = checked(dir.path(), &elsewhere());
    assert!(sent.contains("redirects are not followed"), "{sent}");
    let page = checked(
        dir.path(),
        &answering("HTTP/1.1 200 OK\r\n\r\n<html>".to_owned()),
    );
    assert!(page.contains("RFC 7517"), "{page}");

    let file = dir.path().join("keys.json");
    std::fs::write(&file, KEYS).unwrap();
    let good = checked(dir.path(), "keys.json");
    assert!(good.contains("keys: 1"), "{good}");
    std::fs::write(&file, "{}").unwrap();
    let bad = checked(dir.path(), "keys.json");
    assert!(
        bad.starts_with("PROBLEM ") && bad.contains("RFC 7517"),
        "{bad}"
    );
}
