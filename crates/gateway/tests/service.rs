//! The program as systemd runs it: what it tells, the unit, and settings that are read again.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

mod process_support;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use apiary::config::Config;
use process_support::{Log, PATIENCE, Running, apiary, ask, http_address, serve};
use serde_json::{Value, json};
use sources::{environment, root};

/// The worst grade (of 0 to 10) that `systemd-analyze security` may give the unit, in tenths.
const WORST_EXPOSURE: &str = "20";

/// Settings with all ports free: those for media are at an address that no other test has.
fn serve_on_free_ports(dir: &Path) -> Command {
    let [.., high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, 40, high, low).to_string();
    let mut command = serve(dir, 31_510);
    command.envs([("APIARY_MEDIA_BIND", &own), ("APIARY_INGEST_BIND", &own)]);
    command
}

/// systemd's end of the socket.
struct Systemd(UnixDatagram);

impl Systemd {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 1024];
        let length = self.0.recv(&mut buffer).expect("it is told something");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Reads on until it is told this; signs of life may come before.
    fn until(&self, state: &str) {
        let began = Instant::now();
        loop {
            let next = self.next();
            if next.split('\n').next() == Some(state) {
                return;
            }
            assert_eq!(next, "WATCHDOG=1", "before {state}");
            assert!(began.elapsed() < PATIENCE, "{state} does not come");
        }
    }
}

#[test]
fn systemd_is_told_of_start_reload_life_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let systemd = Systemd::at(&path);
    let mut command = serve_on_free_ports(dir.path());
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", "300000");
    let mut running = Running::start(&mut command);
    systemd.until("READY=1");
    let ready = Log::of(&mut running).until("ready");
    let (status, _) = ask(&http_address(&ready), "GET", "/health/live");
    assert_eq!(status, 200);
    for _ in 0..3 {
        systemd.until("WATCHDOG=1");
    }
    running.signal("HUP");
    systemd.until("RELOADING=1");
    systemd.until("READY=1");
    running.signal("TERM");
    systemd.until("STOPPING=1");
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn a_service_manager_that_is_not_there_is_complained_about_and_no_hindrance() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = serve_on_free_ports(dir.path());
    command.env("NOTIFY_SOCKET", dir.path().join("nothing"));
    let mut running = Running::start(&mut command);
    let mut log = Log::of(&mut running);
    assert_eq!(log.until("NOTIFY_SOCKET")["level"], "WARN");
    log.until("ready");
    running.signal("TERM");
    assert_eq!(running.end().code(), Some(0));
}

fn packaged(name: &str) -> PathBuf {
    root().join("packaging").join(name)
}

/// Values of a setting of the unit.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect()
}

/// What it runs, where that keeps its things and what the example says of both are one.
#[test]
fn the_unit_fits_the_program_and_the_example() {
    let unit = std::fs::read_to_string(packaged("apiary.service")).unwrap();
    let one = |name| {
        let values = settings(&unit, name);
        assert_eq!(values.len(), 1, "{name}");
        values[0]
    };
    let command = "/usr/bin/apiary serve --config /etc/apiary/apiary.toml";
    assert_eq!(one("ExecStart"), command);
    assert_eq!(one("ExecReload"), "/bin/kill -HUP $MAINPID");
    assert_eq!(one("Type"), "notify");
    let watchdog: u64 = one("WatchdogSec").parse().unwrap();
    assert!(watchdog > apiary::operation::HUNG_AFTER.as_secs());
    let stop: u64 = one("TimeoutStopSec").parse().unwrap();
    assert!(stop > 5, "it has 5 s to end");
    let example = packaged("apiary.example.toml");
    let config = Config::load(Some(&example), &environment(None, &[])).unwrap();
    let state = Path::new("/var/lib").join(one("StateDirectory"));
    assert_eq!(config.data.dir, state);
    assert_eq!(Path::new(one("WorkingDirectory")), state);
    let descriptors: usize = one("LimitNOFILE").parse().unwrap();
    assert!(descriptors > 2 * config.http.max_connections);
    assert_eq!((one("User"), one("Group")), ("apiary", "apiary"));
}

/// systemd's own opinion, where its tool is installed.
#[test]
fn systemd_takes_the_unit_and_finds_it_hardened() {
    let unit = std::fs::read_to_string(packaged("apiary.service")).unwrap();
    // Here the program is not installed.
    let unit = unit.replace("/usr/bin/apiary", env!("CARGO_BIN_EXE_apiary"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("apiary.service");
    std::fs::write(&path, unit).unwrap();
    let complaints = |arguments: &[&str]| {
        let analyze = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&path)
            .output();
        let output = match analyze {
            Ok(output) => output,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                return String::new();
            }
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    // A warning is no failure to it; of other units it may say what it likes.
    let verified = complaints(&["verify", "--man=no"]);
    assert!(!verified.contains("apiary.service:"), "{verified}");
    let threshold = format!("--threshold={WORST_EXPOSURE}");
    complaints(&["security", "--offline=true", "--no-pager", &threshold]);
}

/// What a reload over the API is answered with.
fn reload(http: &str) -> (u16, Value) {
    ask(http, "POST", "/api/reload")
}

#[test]
fn settings_are_read_again_over_the_api() {
    let dir = tempfile::tempdir().unwrap();
    let write = |settings: &str| std::fs::write(dir.path().join("apiary.toml"), settings).unwrap();
    write("[log]\nlevel = 'info'\n");
    let mut running = Running::start(&mut serve_on_free_ports(dir.path()));
    let mut log = Log::of(&mut running);
    let ready = log.until("ready");
    let http = http_address(&ready);
    for field in ["timestamp", "level", "target", "message"] {
        assert!(ready[field].is_string(), "{field} is missing in {ready}");
    }
    let nothing = json!({"applied": [], "needs_restart": [], "failed": []});
    assert_eq!(reload(&http), (200, nothing));
    let changed = "[stream]\nidle_timeout_s = 7\n[http]\nmax_connections = 100\n";
    write(&format!("[log]\nlevel = 'debug'\n{changed}"));
    let answer = json!({
        "applied": ["log.level", "stream.idle_timeout_s"],
        "needs_restart": ["http.max_connections"],
        "failed": [],
    });
    assert_eq!(reload(&http), (200, answer));
    // Nobody is told of that but those who look into it.
    let mut stranger = TcpStream::connect(&http).unwrap();
    stranger.write_all(b"\0\r\n\r\n").unwrap();
    assert_eq!(
        log.until("an HTTP connection ended early")["level"],
        "DEBUG"
    );

    write(&format!("[log]\nlevel = 'loud'\n{changed}"));
    let (status, refusal) = reload(&http);
    assert_eq!(status, 422);
    let error = refusal["error"].as_str().unwrap();
    assert!(
        error.contains("nothing is changed") && error.contains("line 2: log.level"),
        "{error}"
    );
    assert_eq!(
        log.until("the configuration was read again and is wrong")["level"],
        "ERROR"
    );

    write(&format!("[log]\nlevel = 'error'\n{changed}"));
    let (_, answer) = reload(&http);
    assert_eq!(answer["applied"], json!(["log.level"]));
    assert_eq!(answer["needs_restart"], json!(["http.max_connections"]));
    running.signal("TERM");
    assert_eq!(running.end().code(), Some(0));
    assert_eq!(log.rest(), Vec::<Value>::new(), "nothing went wrong");
}

#[test]
fn certificates_that_cannot_be_used_are_named_and_the_old_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let init = ["certs", "init", "--dir", "certs", "--ip", "127.0.0.1"];
    assert!(apiary(dir.path(), &init).status().unwrap().success());
    let settings = "[mqtt]\nlisten_tls = '127.0.0.1:0'\nca = 'certs/ca.crt'\ncert = 'certs/broker.crt'\nkey = 'certs/broker.key'\n";
    std::fs::write(dir.path().join("apiary.toml"), settings).unwrap();
    let mut running = Running::start(&mut serve_on_free_ports(dir.path()));
    let mut log = Log::of(&mut running);
    let http = http_address(&log.until("ready"));
    let (_, answer) = reload(&http);
    assert_eq!(answer["failed"], json!([]));
    std::fs::write(dir.path().join("certs/broker.crt"), "nothing").unwrap();
    let (status, answer) = reload(&http);
    assert_eq!(status, 200);
    let failed = answer["failed"][0].as_str().unwrap();
    assert!(failed.contains("mqtt.cert"), "{failed}");
    running.signal("TERM");
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn what_a_reload_takes_over_is_documented() {
    let text = std::fs::read_to_string(root().join("docs/operation.md")).unwrap();
    let (_, section) = text.split_once("| what counts at once | keys |").unwrap();
    let (table, _) = section.split_once("\n\n").unwrap();
    let documented: BTreeSet<&str> = table.split('`').skip(1).step_by(2).collect();
    let live: BTreeSet<&str> = apiary::config::live::keys().collect();
    assert_eq!(documented, live);
}
