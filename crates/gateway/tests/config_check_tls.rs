//! `apiary check`: what the doctor says about certificates.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiary::check::{Report, Severity, examine};
use apiary::tls::bundle::Bundle;
use jiff::Timestamp;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use sources::environment;
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Authority information access (RFC 5280 §4.2.2.1).
const AUTHORITY_INFORMATION: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
/// The issuer's certificate is at `http://a/`.
const ISSUER_ELSEWHERE: &[u8] =
    b"\x30\x17\x30\x15\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02\x86\x09http://a/";

/// Certificates that a local authority made some days ago, for a name.
fn made(days_ago: u32, name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut bundle = Bundle::open(dir.path(), false, Timestamp::now() - days_ago * DAY).unwrap();
    bundle.https(&[name.parse().unwrap()]).unwrap();
    bundle.broker(&[name.parse().unwrap()]).unwrap();
    dir
}

async fn check(more: &[(&str, String)]) -> Report {
    apiary::mqtt::tls::install_crypto_provider();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let mut variables = vec![
        ("APIARY_HTTP_LISTEN", "127.0.0.1:0"),
        ("APIARY_SIGNALING_LISTEN", "127.0.0.1:0"),
        ("APIARY_MQTT_LISTEN", "127.0.0.1:0"),
        ("APIARY_DATA_DIR", &data),
        ("APIARY_MEDIA_UDP_PORT", "31440"),
        ("APIARY_MEDIA_WORKERS", "1"),
        ("APIARY_INGEST_PORTS", "31450-31465"),
    ];
    variables.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
    examine(None, &environment(None, &variables)).await
}

async fn check_pair(cert: &Path, key: &Path, more: &[(&str, String)]) -> Report {
    let pair = [
        ("APIARY_TLS_CERT", cert.display().to_string()),
        ("APIARY_TLS_KEY", key.display().to_string()),
    ];
    check(&[&pair[..], more].concat()).await
}

/// The worst that is said about something.
fn worst(report: &Report, subject: &str) -> (Severity, String) {
    let about = report
        .findings
        .iter()
        .filter(|finding| finding.subject == subject);
    let worst = about.max_by_key(|finding| finding.severity);
    let worst = worst.unwrap_or_else(|| panic!("nothing about {subject} in {report:#?}"));
    (worst.severity, worst.to_string())
}

#[track_caller]
fn assert_worst(report: &Report, subject: &str, severity: Severity, words: &[&str]) {
    let (found, text) = worst(report, subject);
    assert_eq!(found, severity, "{report:#?}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[tokio::test]
async fn plain_http_beyond_this_machine_is_noted() {
    let report = check(&[("APIARY_HTTP_LISTEN", "0.0.0.0:0".to_owned())]).await;
    assert_worst(
        &report,
        "tls",
        Severity::Note,
        &["plain HTTP", "self-signed"],
    );
    let alone = check(&[]).await;
    assert!(
        alone
            .findings
            .iter()
            .all(|finding| finding.subject != "tls")
    );
}

#[tokio::test]
async fn dates_are_judged() {
    for (days_ago, severity, words) in [
        (0, Severity::Good, ["cams.example", "valid until"]),
        (790, Severity::Note, ["in 9 days", "renew"]),
        (900, Severity::Problem, ["ended on", "apiary certs renew"]),
    ] {
        let dir = made(days_ago, "cams.example");
        let [cert, key] = ["https.crt", "https.key"].map(|name| dir.path().join(name));
        let report = check_pair(&cert, &key, &[]).await;
        assert_worst(&report, "tls.cert", severity, &words);
    }
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["cams.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    params.not_after = rcgen::date_time_ymd(2091, 1, 1);
    let (_dir, cert, key) = written(&params.self_signed(&key).unwrap().pem(), &key);
    let report = check_pair(&cert, &key, &[]).await;
    assert_worst(
        &report,
        "tls.cert",
        Severity::Problem,
        &["2090-01-01", "clock"],
    );
}

/// Cameras say nothing when they refuse a broker.
#[tokio::test]
async fn the_brokers_certificate_is_looked_at() {
    let dir = made(3649, "cams.example");
    let file = |name: &str| dir.path().join(name).display().to_string();
    let report = check(&[
        ("APIARY_MQTT_LISTEN_TLS", "127.0.0.1:0".to_owned()),
        ("APIARY_MQTT_CA", file("ca.crt")),
        ("APIARY_MQTT_CERT", file("broker.crt")),
        ("APIARY_MQTT_KEY", file("broker.key")),
    ])
    .await;
    assert_worst(&report, "mqtt.cert", Severity::Note, &["ends on", "renew"]);
}

#[tokio::test]
async fn addresses_that_the_certificate_is_not_for_are_found() {
    let external = [("APIARY_NETWORK_EXTERNAL_IP", "203.0.113.7".to_owned())];
    for (name, severity, words) in [
        ("192.0.2.1", Severity::Problem, ["203.0.113.7", "refuse"]),
        (
            "cams.example",
            Severity::Note,
            ["203.0.113.7", "https://cams.example"],
        ),
        (
            "203.0.113.7",
            Severity::Good,
            ["203.0.113.7", "valid until"],
        ),
    ] {
        let dir = made(0, name);
        let [cert, key] = ["https.crt", "https.key"].map(|name| dir.path().join(name));
        let report = check_pair(&cert, &key, &external).await;
        assert_worst(&report, "tls.cert", severity, &words);
    }
}

#[tokio::test]
async fn keys_that_are_no_keys_for_it_are_found() {
    let (dir, other) = (made(0, "cams.example"), made(0, "cams.example"));
    let [cert, key] = ["https.crt", "https.key"].map(|name| dir.path().join(name));
    let report = check_pair(&cert, &other.path().join("https.key"), &[]).await;
    assert_worst(&report, "tls", Severity::Problem, &["is not the key"]);
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let report = check_pair(&cert, &key, &[]).await;
    let words = ["tls.key", "others can read", "chmod 600"];
    assert_worst(&report, "configuration", Severity::Problem, &words);
}

#[tokio::test]
async fn the_chain_has_to_be_in_order() {
    let (dir, other) = (made(0, "cams.example"), made(0, "cams.example"));
    let text = |dir: &TempDir, name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let (own, ca) = (text(&dir, "https.crt"), text(&dir, "ca.crt"));
    let (key, cert) = (dir.path().join("https.key"), dir.path().join("chain.crt"));
    for (chain, subject, severity, word) in [
        (
            format!("{own}{ca}"),
            "tls.cert",
            Severity::Good,
            "valid until",
        ),
        (
            format!("{ca}{own}"),
            "tls",
            Severity::Problem,
            "not the first",
        ),
        (
            format!("{own}{}", text(&other, "ca.crt")),
            "tls.cert",
            Severity::Problem,
            "not signed by the next",
        ),
    ] {
        std::fs::write(&cert, chain).unwrap();
        let report = check_pair(&cert, &key, &[]).await;
        assert_worst(&report, subject, severity, &[word]);
    }
}

/// As with the `cert.pem` of a public authority, beside which lies a `fullchain.pem`.
#[tokio::test]
async fn a_chain_that_lacks_its_authority_is_noted() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["cams.example".to_owned()]).unwrap();
    let elsewhere = ISSUER_ELSEWHERE.to_vec();
    params.custom_extensions = vec![CustomExtension::from_oid_content(
        AUTHORITY_INFORMATION,
        elsewhere,
    )];
    let (_dir, cert, key) = written(&params.self_signed(&key).unwrap().pem(), &key);
    let report = check_pair(&cert, &key, &[]).await;
    assert_worst(&report, "tls.cert", Severity::Note, &["fullchain.pem"]);
}

fn written(cert: &str, key: &KeyPair) -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let [cert_file, key_file] = ["a.crt", "a.key"].map(|name| dir.path().join(name));
    std::fs::write(&cert_file, cert).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key_file, PermissionsExt::from_mode(0o600)).unwrap();
    (dir, cert_file, key_file)
}

/// It is looked at, and nothing is made.
#[tokio::test]
async fn an_authority_of_our_own_is_looked_at() {
    let data = tempfile::tempdir().unwrap();
    let certs = data.path().join("certs");
    let settings = [
        ("APIARY_TLS_MODE", "self-signed".to_owned()),
        ("APIARY_DATA_DIR", data.path().display().to_string()),
    ];
    let report = check(&settings).await;
    assert_worst(&report, "tls", Severity::Good, &["ca.crt", "imported"]);
    assert!(!certs.exists());
    let mut bundle = Bundle::open(&certs, false, Timestamp::now()).unwrap();
    bundle.https(&["cams.example".parse().unwrap()]).unwrap();
    assert_worst(&check(&settings).await, "tls", Severity::Good, &["ca.crt"]);
    let key = certs.join("ca.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let words = ["ca.key", "chmod 600"];
    assert_worst(&check(&settings).await, "tls", Severity::Problem, &words);
    std::fs::remove_file(&key).unwrap();
    let words = ["ca.key is not", "restore it"];
    assert_worst(&check(&settings).await, "tls", Severity::Problem, &words);
}
