//! `apiary certs`: what it makes, keeps and renews, judged by OpenSSL and by the broker that the files are for.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use apiary::config::{Config, Environment};
use apiary::mqtt::EmbeddedBroker;
use apiary::tls::bundle::Bundle;
use apiary::tls::name::Name;
use jiff::Timestamp;

const CAMERA: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";
const OTHER_CAMERA: &str = "0123456789ABCDEF0123456789ABCDEF";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn apiary(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_apiary"))
        .arg("certs")
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap()
}

/// What it printed; it must have gone well.
fn certs(dir: &Path, arguments: &[&str]) -> String {
    let output = apiary(dir, arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}{errors}");
    text
}

/// What OpenSSL says about files in that directory.
fn openssl(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text + &String::from_utf8_lossy(&output.stderr)
}

/// All files below a directory with their content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = std::fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
    found
}

fn names(texts: &[&str]) -> Vec<Name> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn everything_is_made_once_and_kept() {
    let home = tempfile::tempdir().unwrap();
    let said = certs(
        home.path(),
        &["init", "--name", "cams.example", "--ip", "192.0.2.7"],
    );
    let dir = home.path().join("apiary-data/certs");
    for (leaf, purpose) in [
        ("https.crt", "sslserver"),
        ("broker.crt", "sslserver"),
        ("service.crt", "sslclient"),
        ("cameras/mqtt.pem", "sslclient"),
    ] {
        let verify = ["verify", "-x509_strict", "-purpose", purpose];
        let verified = openssl(&dir, &[&verify[..], &["-CAfile", "ca.crt", leaf]].concat());
        assert!(verified.contains(": OK"), "{leaf}: {verified}");
    }
    for server in ["https.crt", "broker.crt"] {
        for check in [
            ["-checkhost", "cams.example"],
            ["-checkhost", "localhost"],
            ["-checkip", "192.0.2.7"],
            ["-checkip", "127.0.0.1"],
        ] {
            let checked = openssl(&dir, &["x509", "-noout", "-in", server, check[0], check[1]]);
            assert!(checked.contains("does match"), "{server}: {checked}");
        }
    }
    for path in files(&dir).keys() {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        let text = std::fs::read_to_string(path).unwrap();
        let expected = if text.contains("PRIVATE KEY") {
            0o600
        } else {
            0o644
        };
        assert_eq!(mode, expected, "{}", path.display());
    }
    for line in [
        "[tls]",
        "listen_tls = ",
        "https.key\"",
        "broker.crt\"",
        "ca.crt\"",
    ] {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
    let before = files(&dir);
    let again = certs(
        home.path(),
        &["init", "--name", "cams.example", "--ip", "192.0.2.7"],
    );
    assert!(
        !again.contains(": made") && !again.contains(": renewed"),
        "{again}"
    );
    assert_eq!(files(&dir), before);
}

/// What cameras verify and hold is RSA; the file that holds both is what their firmware reads.
#[test]
fn cameras_get_what_they_have_on_their_disks() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("certs");
    certs(
        home.path(),
        &[
            "init",
            "--dir",
            "certs",
            "--camera",
            CAMERA,
            "--camera",
            OTHER_CAMERA,
        ],
    );
    assert!(!dir.join("cameras/mqtt.pem").exists());
    for camera in [CAMERA, OTHER_CAMERA] {
        let own = dir.join("cameras").join(camera);
        let read = |name: &str| std::fs::read_to_string(own.join(name)).unwrap();
        assert_eq!(
            read("mqttCA.crt"),
            std::fs::read_to_string(dir.join("ca.crt")).unwrap()
        );
        assert!(read("mqtt.pem").ends_with(&read("mqtt.key")));
        assert!(read("mqtt.pem").starts_with("-----BEGIN CERTIFICATE-----"));
        let text = openssl(
            &own,
            &["x509", "-noout", "-subject", "-text", "-in", "mqtt.pem"],
        );
        assert!(
            text.contains(&format!("CN={camera}").replace('=', " = "))
                || text.contains(&format!("CN={camera}")),
            "{text}"
        );
        assert!(text.contains("2048 bit"), "{text}");
    }
    // One more camera changes nothing for the others.
    let before = files(&dir);
    certs(home.path(), &["init", "--dir", "certs"]);
    let after = files(&dir);
    assert!(before.iter().all(|(path, content)| after[path] == *content));
    assert!(dir.join("cameras/mqtt.pem").exists());
}

#[test]
fn a_new_name_needs_a_new_certificate_and_no_new_key() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("certs");
    certs(
        home.path(),
        &["init", "--dir", "certs", "--name", "one.example"],
    );
    let before = files(&dir);
    let said = certs(
        home.path(),
        &["init", "--dir", "certs", "--name", "two.example"],
    );
    assert!(said.contains("https.crt: renewed"), "{said}");
    assert!(said.contains("mqtt.pem: kept"), "{said}");
    for (path, content) in files(&dir) {
        let is_key = path.extension().is_some_and(|extension| extension == "key");
        assert!(!is_key || before[&path] == content, "{}", path.display());
    }
    for name in ["one.example", "two.example"] {
        let checked = openssl(
            &dir,
            &["x509", "-noout", "-in", "https.crt", "-checkhost", name],
        );
        assert!(checked.contains("does match"), "{checked}");
    }
    let serial = |pem: &[u8]| {
        std::fs::write(dir.join("one"), pem).unwrap();
        openssl(&dir, &["x509", "-noout", "-serial", "-in", "one"])
    };
    assert_ne!(
        serial(&before[&dir.join("https.crt")]),
        serial(&std::fs::read(dir.join("https.crt")).unwrap())
    );
}

#[test]
fn force_makes_all_anew() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("certs");
    certs(home.path(), &["init", "--dir", "certs"]);
    let before = files(&dir);
    certs(home.path(), &["init", "--dir", "certs", "--force"]);
    let after = files(&dir);
    assert!(before.iter().all(|(path, content)| after[path] != *content));
    let verified = openssl(&dir, &["verify", "-CAfile", "ca.crt", "broker.crt"]);
    assert!(verified.contains(": OK"), "{verified}");
}

#[test]
fn what_cannot_be_gone_on_with_is_told() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("certs");
    let refused = |said: &str| {
        let output = apiary(home.path(), &["init", "--dir", "certs"]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(errors.contains(said), "{said} is missing in {errors}");
    };
    certs(home.path(), &["init", "--dir", "certs"]);
    let key = dir.join("ca.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    refused(&format!(
        "chmod 600 {}",
        Path::new("certs/ca.key").display()
    ));
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let kept = std::fs::read(&key).unwrap();
    std::fs::write(&key, "no key").unwrap();
    refused("no private key can be read from it");
    std::fs::remove_file(&key).unwrap();
    refused("--force");
    std::fs::write(&key, std::fs::read(dir.join("broker.key")).unwrap()).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    refused("is not the key of the certificate");
    std::fs::write(&key, kept).unwrap();
    certs(home.path(), &["init", "--dir", "certs"]);
    let nothing = apiary(home.path(), &["show", "--dir", "elsewhere"]);
    assert!(!nothing.status.success());
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("apiary certs init"));
}

#[test]
fn show_says_it_in_plain_words() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("certs");
    certs(
        home.path(),
        &["init", "--dir", "certs", "--name", "cams.example"],
    );
    let said = certs(home.path(), &["show", "--dir", "certs"]);
    let fingerprint = openssl(
        &dir,
        &[
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-in",
            "https.crt",
        ],
    );
    let fingerprint = fingerprint.trim().split('=').nth(1).unwrap();
    for expected in [
        fingerprint,
        "for cams.example, ",
        "(799 days left)",
        "signed by Apiary local CA",
        "signed by itself",
        "for camera_client",
    ] {
        assert!(said.contains(expected), "{expected} is missing in {said}");
    }
}

/// Made so long ago that browsers' certificate nears its end; those of broker and cameras do not yet.
#[test]
fn renew_replaces_what_nears_its_end() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("certs");
    let earlier = Timestamp::now() - 700 * DAY;
    let mut bundle = Bundle::open(&dir, false, earlier).unwrap();
    bundle.https(&names(&["cams.example"])).unwrap();
    bundle.broker(&names(&["cams.example"])).unwrap();
    bundle.camera(None).unwrap();
    let before = files(&dir);
    let said = certs(home.path(), &["renew", "--dir", "certs"]);
    assert!(said.contains("https.crt: renewed"), "{said}");
    assert!(said.contains("broker.crt: kept"), "{said}");
    let after = files(&dir);
    let changed: Vec<&PathBuf> = before
        .keys()
        .filter(|path| before[*path] != after[*path])
        .collect();
    assert_eq!(changed, [&dir.join("https.crt")]);
    let said = certs(home.path(), &["show", "--dir", "certs"]);
    assert!(said.contains("for cams.example\n"), "{said}");
    assert!(said.contains("(799 days left)"), "{said}");
}

/// Nothing outlives the authority, and one that has ended is told of.
#[test]
fn certificates_end_with_their_authority() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("certs");
    let made = Timestamp::now() - 3600 * DAY;
    Bundle::open(&dir, false, made).unwrap();
    let said = certs(home.path(), &["init", "--dir", "certs"]);
    assert!(said.contains("ca.crt: kept"), "{said}");
    let shown = certs(home.path(), &["show", "--dir", "certs"]);
    assert_eq!(shown.matches("(49 days left)").count(), 6, "{shown}");
    std::fs::remove_dir_all(&dir).unwrap();
    Bundle::open(&dir, false, made - 100 * DAY).unwrap();
    let ended = apiary(home.path(), &["init", "--dir", "certs"]);
    assert!(String::from_utf8_lossy(&ended.stderr).contains("this authority ended on"));
}

/// The broker with its files, and a camera's TLS 1.2 with the three files of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_s_files_open_the_broker_and_nothing_else_does() {
    apiary::mqtt::tls::install_crypto_provider();
    let home = tempfile::tempdir().unwrap();
    certs(home.path(), &["init", "--dir", "certs"]);
    certs(home.path(), &["init", "--dir", "others"]);
    let dir = home.path().join("certs");
    let path = |name: &str| dir.join(name).display().to_string();
    let mut environment = Environment::default();
    for (name, value) in [
        ("APIARY_MQTT_LISTEN", "127.0.0.1:0".to_owned()),
        ("APIARY_MQTT_LISTEN_TLS", "127.0.0.1:0".to_owned()),
        ("APIARY_MQTT_CA", path("ca.crt")),
        ("APIARY_MQTT_CERT", path("broker.crt")),
        ("APIARY_MQTT_KEY", path("broker.key")),
    ] {
        environment.variables.insert(name.to_owned(), value);
    }
    let config = Config::load(None, &environment).unwrap();
    let broker = EmbeddedBroker::start(&config.mqtt).await.unwrap();
    let address = broker.tls_address().unwrap();
    let of_camera = ["-cert", "mqtt.pem", "-key", "mqtt.key"];
    let (taken, said) = handshake(address, &dir.join("cameras"), &of_camera);
    assert!(
        taken && said.contains("Verify return code: 0 (ok)"),
        "{said}"
    );
    let (taken, said) = handshake(address, &dir.join("cameras"), &[]);
    assert!(!taken, "{said}");
    let others = home.path().join("others/cameras");
    std::fs::copy(dir.join("ca.crt"), others.join("mqttCA.crt")).unwrap();
    let (taken, said) = handshake(address, &others, &of_camera);
    assert!(!taken, "{said}");
    // A server's certificate is none of a client.
    let of_server = ["-cert", "../https.crt", "-key", "../https.key"];
    let (taken, said) = handshake(address, &dir.join("cameras"), &of_server);
    assert!(!taken, "{said}");
}

/// Whether the TLS 1.2 handshake of a client was taken.
fn handshake(address: SocketAddr, dir: &Path, identity: &[&str]) -> (bool, String) {
    let address = address.to_string();
    let client = [
        "s_client",
        "-tls1_2",
        "-CAfile",
        "mqttCA.crt",
        "-verify_return_error",
        "-verify_ip",
        "127.0.0.1",
        "-connect",
        &address,
    ];
    let said = openssl(dir, &[&client[..], identity].concat());
    let refused = said.contains("alert") || !said.contains("Cipher    : ECDHE-RSA-");
    (!refused, said)
}
