//! `apiary kurento-files`: what Kurento servers are told, made from the settings.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use apiary::kurento_files::{KurentoFile, Outcome, files};
use sources::load;

/// Names as a name server has them, in the order of one answer.
fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    let addresses: &[&str] = match host {
        "stun.example" => &["2001:db8::1", "192.0.2.11", "192.0.2.10"],
        "six.example" => &["2001:db8::6"],
        "turn.example" => &["198.51.100.1"],
        _ => return Err(io::Error::other("no such name")),
    };
    Ok(addresses
        .iter()
        .map(|address| address.parse().unwrap())
        .collect())
}

fn made(toml: &str) -> Result<[KurentoFile; 2], String> {
    let toml = format!("[media]\nengine = 'kurento'\n{toml}");
    files(&load(&toml, &[]).unwrap(), &lookup).map_err(|error| error.to_string())
}

const HEADER: &str = "\
; Made by `apiary kurento-files` from the settings of Apiary. What is changed here is lost when they are made anew:
; change the settings instead.
";

#[test]
fn without_settings_only_the_ports_are_told() {
    let [web_rtc, base_rtp] = made("").unwrap();
    assert_eq!(web_rtc.name, "WebRtcEndpoint.conf.ini");
    assert_eq!(web_rtc.text, HEADER);
    assert_eq!(web_rtc.mode, 0o644);
    assert_eq!(base_rtp.name, "BaseRtpEndpoint.conf.ini");
    let ports = "
; ingest.ports: UDP ports for cameras, and toward viewers.
minPort=5006
maxPort=5999
";
    assert_eq!(base_rtp.text, format!("{HEADER}{ports}"));
    assert_eq!(base_rtp.mode, 0o644);
}

#[test]
fn all_settings_are_told() {
    let [web_rtc, base_rtp] = made(
        "[network]\nexternal_ip = '203.0.113.7'\n[ingest]\nports = '40000-40999'\n\
         [kurento]\ninterfaces = ['eth0', 'wlan0']\nstun = 'stun.example:19302'\n\
         turn = 'turn:turn.example?transport=tcp'\nturn_username = 'u:v'\nturn_password = 'p@q=r'",
    )
    .unwrap();
    let options = "
; network.external_ip: viewers are told this address instead of the server's own ones.
externalIPv4=203.0.113.7

; kurento.interfaces
networkInterfaces=eth0,wlan0

; kurento.stun = stun.example:19302
stunServerAddress=192.0.2.10
stunServerPort=19302

; kurento.turn = turn.example:3478
turnURL=u:v:p@q=r@198.51.100.1:3478?transport=tcp
";
    assert_eq!(web_rtc.text, format!("{HEADER}{options}"));
    assert_eq!(web_rtc.mode, 0o600, "it holds a password");
    assert!(base_rtp.text.contains("minPort=40000\nmaxPort=40999\n"));
    assert_eq!(base_rtp.mode, 0o644);
}

#[test]
fn what_has_no_address_that_kurento_takes_is_refused() {
    let turn = |host: &str| {
        let login = "turn_username = 'u'\nturn_password = 'p'";
        made(&format!("[kurento]\nturn = 'turn:{host}'\n{login}"))
    };
    for (made, words) in [
        (
            made("[kurento]\nstun = 'nowhere.example'"),
            ["kurento.stun", "nowhere.example", "no such name"],
        ),
        (
            turn("six.example"),
            ["kurento.turn", "six.example", "no IPv4 address"],
        ),
        (
            turn("[2001:db8::6]"),
            ["kurento.turn", "2001:db8::6", "no IPv4 address"],
        ),
    ] {
        let Err(error) = made else {
            panic!("taken, though {words:?}")
        };
        for word in words {
            assert!(error.contains(word), "{word:?} is missing in {error}");
        }
    }
    let [six, _] = made("[kurento]\nstun = 'six.example'").unwrap();
    assert!(six.text.contains("stunServerAddress=2001:db8::6\n"));
}

#[test]
fn a_file_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("made/for/kurento");
    let file = |text: &str, mode| KurentoFile {
        name: "a.ini",
        text: text.to_owned(),
        mode,
    };
    let written = |file: &KurentoFile| {
        let outcome = file.write(&out).unwrap();
        let path = out.join("a.ini");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), file.text);
        assert_eq!(mode, file.mode);
        let entries = std::fs::read_dir(&out).unwrap().count();
        assert_eq!(entries, 1, "nothing is left beside it");
        outcome
    };
    assert_eq!(written(&file("a", 0o644)), Outcome::Written);
    assert_eq!(written(&file("a", 0o644)), Outcome::Unchanged);
    assert_eq!(written(&file("b", 0o644)), Outcome::Written);
    assert_eq!(written(&file("b", 0o600)), Outcome::Written, "another mode");
    assert_eq!(written(&file("b", 0o600)), Outcome::Unchanged);
}

/// A link in the file's place is replaced, whatever it points to: that is somebody else's, and may change.
#[test]
fn a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    let path = dir.path().join("a.ini");
    for theirs in ["theirs", "ours"] {
        std::fs::write(&other, theirs).unwrap();
        symlink(&other, &path).unwrap();
        let file = KurentoFile {
            name: "a.ini",
            text: "ours".to_owned(),
            mode: 0o644,
        };
        assert_eq!(file.write(dir.path()).unwrap(), Outcome::Written);
        assert_eq!(std::fs::read_to_string(&other).unwrap(), theirs);
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
        std::fs::remove_file(&path).unwrap();
    }
}

fn kurento_files(dir: &Path, out: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_apiary"))
        .args(["kurento-files", "--out", out])
        .current_dir(dir)
        .env_clear()
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_command_says_what_became_of_each_file() {
    let dir = tempfile::tempdir().unwrap();
    // Not yet the engine: the server is started first. What old variables say is judged all the same.
    std::fs::write(dir.path().join(".env"), "STUN_SERVER=localhost\n").unwrap();
    for outcome in ["written", "unchanged"] {
        let output = kurento_files(dir.path(), "out");
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(
            text(&output.stdout),
            format!(
                "out/WebRtcEndpoint.conf.ini: {outcome}\nout/BaseRtpEndpoint.conf.ini: {outcome}\n"
            )
        );
    }
    let made = std::fs::read_to_string(dir.path().join("out/WebRtcEndpoint.conf.ini")).unwrap();
    assert!(made.contains("stunServerAddress=127.0.0.1\n"), "{made}");

    std::fs::write(dir.path().join(".env"), "TURN_SERVER_URL=turn:h\n").unwrap();
    let refused = kurento_files(dir.path(), "out");
    assert_eq!(refused.status.code(), Some(1));
    let complaint = text(&refused.stderr);
    assert!(complaint.contains("kurento.turn_username"), "{complaint}");

    std::fs::write(dir.path().join(".env"), "").unwrap();
    let nowhere = kurento_files(dir.path(), "/proc/apiary");
    assert_eq!(nowhere.status.code(), Some(1));
    let complaint = text(&nowhere.stderr);
    assert!(
        complaint.contains("/proc/apiary") && complaint.contains("--out"),
        "{complaint}"
    );
}
