//! The program as a process: help, exit codes, signals.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

mod process_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use process_support::{Log, PATIENCE, Running, apiary};

/// The first of the UDP ports of these programs.
const PORTS: u16 = 31_510;

/// Settings with all ports free.
fn serve_on_free_ports(dir: &Path) -> Command {
    process_support::serve(dir, PORTS)
}

fn output(arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    apiary(dir.path(), arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_teaches_and_the_version_is_told() {
    let help = output(&["--help"]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    for word in [
        "demo",
        "serve",
        "simulate",
        "check",
        "openapi",
        "apiary.example.toml",
    ] {
        assert!(help.contains(word), "{word} is missing in:\n{help}");
    }
    let simulate = text(&output(&["simulate", "--help"]).stdout);
    assert!(
        simulate.contains("--misbehave") && simulate.contains("wrong-ssrc"),
        "{simulate}"
    );
    let version = text(&output(&["--version"]).stdout);
    assert_eq!(
        version.trim(),
        format!("apiary {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_openapi_document_is_printed_as_json() {
    let output = output(&["openapi"]);
    assert!(output.status.success());
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document["paths"]["/health"].is_object());
}

#[test]
fn a_broken_configuration_ends_serve_and_check_with_code_1() {
    let dir = tempfile::tempdir().unwrap();
    // Found by itself, in the working directory.
    std::fs::write(
        dir.path().join("apiary.toml"),
        "[http]\nlisten = 'x'\n[media]\nworker = 1\n",
    )
    .unwrap();
    let serve = apiary(dir.path(), &["serve"]).output().unwrap();
    assert_eq!(serve.status.code(), Some(1));
    let complaint = text(&serve.stderr);
    assert!(
        complaint.contains("apiary.toml line 2: http.listen"),
        "{complaint}"
    );
    assert!(
        complaint.contains("did you mean `media.workers`"),
        "{complaint}"
    );

    let check = apiary(dir.path(), &["check"]).output().unwrap();
    assert_eq!(check.status.code(), Some(1));
    assert!(
        text(&check.stdout).contains("PROBLEM configuration"),
        "{}",
        text(&check.stdout)
    );
    assert!(
        text(&check.stdout).contains("2 problems"),
        "{}",
        text(&check.stdout)
    );
}

#[test]
fn a_missing_file_is_an_error_whichever_way_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let named = apiary(dir.path(), &["serve", "--config", "none.toml"])
        .output()
        .unwrap();
    let variable = apiary(dir.path(), &["serve"])
        .env("APIARY_CONFIG", "none.toml")
        .output()
        .unwrap();
    for output in [named, variable] {
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains("none.toml"),
            "{}",
            text(&output.stderr)
        );
    }
}

/// Code 0 says that it was in time as well: after 4.5 s it gives up with another.
#[test]
fn serve_ends_well_on_either_signal() {
    for signal in ["TERM", "INT"] {
        let dir = tempfile::tempdir().unwrap();
        let mut running = Running::start(&mut serve_on_free_ports(dir.path()));
        Log::of(&mut running).until("ready");
        running.signal(signal);
        assert_eq!(running.end().code(), Some(0), "{signal}");
    }
}

/// What is served at a path, once it is as wanted.
fn get_until(
    address: &str,
    path: &str,
    wanted: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body = serde_json::from_str(body).unwrap();
        if wanted(&body) {
            return body;
        }
        assert!(began.elapsed() < PATIENCE, "{body:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The media servers by `/health`, each with its state.
fn media_servers(health: &serde_json::Value) -> Vec<(String, String)> {
    let servers = health["media_servers"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    servers
        .map(|server| (text(&server["url"]), text(&server["state"])))
        .collect()
}

#[test]
fn a_hangup_has_the_media_servers_read_again() {
    let [first, second] = [(); 2].map(|()| {
        let options = apiary_kurento_double::Options::at(std::net::Ipv4Addr::LOCALHOST);
        apiary_kurento_double::KurentoDouble::start(options).unwrap()
    });
    let dir = tempfile::tempdir().unwrap();
    let settings = |kurento: &str| {
        let text = format!("[media]\nengine = 'kurento'\n[kurento]\n{kurento}\n");
        std::fs::write(dir.path().join("apiary.toml"), text).unwrap();
    };
    settings(&format!("servers = ['{}']", first.url()));
    let mut running = Running::start(&mut serve_on_free_ports(dir.path()));
    let mut log = Log::of(&mut running);
    let ready = log.until("ready");
    let http = ready["http"].as_str().unwrap();
    let http = http.trim_matches(['[', ']']).to_owned();
    let connected = |url: String| (url, "connected".to_owned());
    let until = |wanted: &[(String, String)]| {
        get_until(&http, "/health", |health| media_servers(health) == wanted)
    };
    until(&[connected(first.url())]);

    settings(&format!(
        "servers = ['{}', '{}']",
        first.url(),
        second.url()
    ));
    running.signal("HUP");
    until(&[connected(first.url()), connected(second.url())]);

    settings(&format!(
        "servers = ['{}']\ndrain = ['ws://192.0.2.1:1/x']",
        first.url()
    ));
    running.signal("HUP");
    let refused = log.until("the configuration was read again and is wrong, so nothing is changed");
    let text = refused["message"].as_str().unwrap();
    assert!(text.contains("kurento.drain"), "{text}");
    assert_eq!(refused["level"], "ERROR", "{refused}");
    until(&[connected(first.url()), connected(second.url())]);

    settings(&format!("servers = ['{}']", second.url()));
    running.signal("HUP");
    until(&[connected(second.url())]);
    running.signal("TERM");
    assert_eq!(running.end().code(), Some(0));
}

/// As with `apiary openapi | head -1`.
#[test]
fn a_reader_who_leaves_breaks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(&mut apiary(dir.path(), &["openapi"]));
    drop(running.0.stdout.take());
    let mut complaints = String::new();
    let mut stderr = running.0.stderr.take().unwrap();
    stderr.read_to_string(&mut complaints).unwrap();
    assert_eq!(running.end().code(), Some(0), "{complaints}");
    assert_eq!(complaints, "");
}

#[test]
fn the_demo_shows_its_cameras_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    // Port 0 takes any free one; the printed address has it.
    let mut running = Running::start(
        apiary(dir.path(), &["demo", "--http-port", "0", "--cameras", "2"])
            .env("TMPDIR", dir.path()),
    );
    let out = BufReader::new(running.0.stdout.take().unwrap());
    let line = out
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("http://"))
        .expect("it prints its address");
    let address = line
        .split("http://")
        .nth(1)
        .unwrap()
        .trim_end_matches('/')
        .to_owned();

    // Both cameras become known, by their names.
    let began = Instant::now();
    loop {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "GET /cameras HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.matches("VBC01").count() == 2 {
            for name in ["Front door", "Garden"] {
                assert!(answer.contains(name), "{name} is missing in:\n{answer}");
            }
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{answer}");
        std::thread::sleep(Duration::from_millis(50));
    }

    running.signal("INT");
    assert_eq!(running.end().code(), Some(0));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "nothing is kept: {left:?}");
}
