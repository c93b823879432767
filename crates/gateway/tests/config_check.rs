//! `apiary check`: what the doctor finds, and says about it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use apiary::check::{Report, Severity, examine};
use apiary_store::{SqliteStore, Store as _};
use sources::environment;
use sqlx::{Connection as _, SqliteConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Settings on ports that are free, with `more` over them.
async fn check(more: &[(&str, &str)]) -> (Report, tempfile::TempDir) {
    apiary::mqtt::tls::install_crypto_provider();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let mut variables = vec![
        ("APIARY_HTTP_LISTEN", "127.0.0.1:0"),
        ("APIARY_SIGNALING_LISTEN", "127.0.0.1:0"),
        ("APIARY_DATA_DIR", &data),
        ("APIARY_MEDIA_UDP_PORT", "31410"),
        ("APIARY_MEDIA_WORKERS", "1"),
        ("APIARY_INGEST_PORTS", "31420-31435"),
    ];
    if !more.iter().any(|(name, _)| *name == "APIARY_MQTT_BROKER") {
        variables.push(("APIARY_MQTT_LISTEN", "127.0.0.1:0"));
    }
    variables.extend(more);
    (examine(None, &environment(None, &variables)).await, dir)
}

fn worst(report: &Report, subject: &str) -> (Severity, String) {
    let about = report
        .findings
        .iter()
        .filter(|finding| finding.subject == subject);
    let worst = about.max_by_key(|finding| finding.severity);
    let worst = worst.unwrap_or_else(|| panic!("nothing about {subject} in {report:#?}"));
    (worst.severity, worst.to_string())
}

#[tokio::test]
async fn a_good_configuration_has_no_problem() {
    let (report, _dir) = check(&[]).await;
    assert_eq!(report.problems(), 0, "{report:#?}");
    for subject in [
        "configuration",
        "http.listen",
        "mqtt.listen",
        "media.udp_port",
        "ingest.ports",
        "data.dir",
    ] {
        assert_eq!(worst(&report, subject).0, Severity::Good, "{subject}");
    }
}

#[tokio::test]
async fn a_broken_configuration_is_told_in_full() {
    let variables = [("APIARY_MEDIA_WORKERS", "0"), ("APIARY_LOG_LEVEL", "x")];
    let report = examine(None, &environment(None, &variables)).await;
    assert_eq!(report.problems(), 2, "{report:#?}");
    let missing = examine(Some(Path::new("/nowhere.toml")), &environment(None, &[])).await;
    assert!(missing.findings[0].text.contains("/nowhere.toml"));
}

#[tokio::test]
async fn taken_ports_are_problems_with_a_way_to_find_out_who() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = taken.local_addr().unwrap().to_string();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_port = udp.local_addr().unwrap().port().to_string();
    let (report, _dir) = check(&[
        ("APIARY_SIGNALING_LISTEN", &tcp),
        ("APIARY_MEDIA_UDP_PORT", &udp_port),
    ])
    .await;
    for (subject, word) in [
        ("signaling.listen", "ss -ltnp"),
        ("media.udp_port", "ss -lunp"),
    ] {
        let (severity, text) = worst(&report, subject);
        assert_eq!(severity, Severity::Problem);
        assert!(text.contains(word), "{text}");
    }
}

#[tokio::test]
async fn ports_that_apiary_itself_has_taken_are_no_problem() {
    // What a running apiary answers, as far as the doctor looks.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            _ = stream.read(&mut [0; 1024]).await;
            let body = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"status\":\"healthy\",\"kurento_connected\":true}";
            stream.write_all(body.as_bytes()).await.unwrap();
        }
    });
    let (report, _dir) = check(&[("APIARY_HTTP_LISTEN", &http)]).await;
    assert_eq!(worst(&report, "apiary").0, Severity::Note);
    assert_eq!(worst(&report, "http.listen").0, Severity::Good);
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_is_a_problem() {
    let (report, _dir) = check(&[("APIARY_DATA_DIR", "/proc/apiary")]).await;
    let (severity, text) = worst(&report, "data.dir");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("/proc"), "{text}");
}

#[tokio::test]
async fn a_database_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let file = dir.path().join("apiary.db");
    let looked = async || check(&[("APIARY_DATA_DIR", &data)]).await.0;
    SqliteStore::open(&file).await.unwrap().close().await;
    assert_eq!(worst(&looked().await, "database").0, Severity::Good);

    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let (severity, text) = worst(&looked().await, "database");
    assert_eq!(severity, Severity::Note);
    assert!(
        text.contains("chmod 600") && text.contains("apiary.db"),
        "{text}"
    );

    let mut raw = SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .unwrap();
    let versions = [
        (
            "DELETE FROM _sqlx_migrations WHERE version > 1",
            Severity::Note,
            "db backup",
        ),
        (
            "UPDATE _sqlx_migrations SET version = 9999",
            Severity::Problem,
            "newer version",
        ),
    ];
    for (sql, expected, said) in versions {
        sqlx::raw_sql(sql).execute(&mut raw).await.unwrap();
        let (severity, text) = worst(&looked().await, "database");
        assert_eq!(severity, expected, "{text}");
        let report = looked().await;
        let all: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
        assert!(all.join("\n").contains(said), "{all:#?}");
    }
    raw.close().await.unwrap(); // dropped, it would write a moment later
    std::fs::write(&file, "a letter").unwrap();
    let (severity, text) = worst(&looked().await, "database");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("no SQLite database"), "{text}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_a_problem() {
    let (report, _dir) = check(&[("LOCAL_IP", "192.0.2.1")]).await;
    let (severity, text) = worst(&report, "network.local_ip");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("ip address"), "{text}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_a_problem() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (report, _dir) =
        check(&[("APIARY_MQTT_BROKER", &format!("mqtt://127.0.0.1:{port}"))]).await;
    let (severity, text) = worst(&report, "mqtt.broker");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("is the broker running"), "{text}");
}

#[tokio::test]
async fn a_broker_open_to_the_network_without_tls_is_noted() {
    let (report, _dir) = check(&[("APIARY_MQTT_LISTEN", "0.0.0.0:0")]).await;
    let about = report
        .findings
        .iter()
        .filter(|finding| finding.subject == "mqtt.listen");
    let notes: Vec<_> = about
        .filter(|finding| finding.severity == Severity::Note)
        .collect();
    assert_eq!(notes.len(), 1, "{report:#?}");
    assert!(notes[0].text.contains("pose as any camera"), "{report:#?}");
}

#[tokio::test]
async fn a_page_open_to_all_is_noted() {
    let open = ("APIARY_HTTP_LISTEN", "0.0.0.0:0");
    let (report, _dir) = check(&[open]).await;
    let (severity, text) = worst(&report, "auth.enabled");
    assert_eq!(severity, Severity::Good, "{text}");
    let (report, _dir) = check(&[open, ("APIARY_AUTH_ENABLED", "false")]).await;
    let (severity, text) = worst(&report, "auth.enabled");
    assert_eq!(severity, Severity::Note);
    assert!(text.contains("whoever reaches it can watch"), "{text}");
    let (closed, _dir) = check(&[open, ("APIARY_MEDIA_BIND", "127.0.0.1")]).await;
    assert_eq!(worst(&closed, "media.bind").0, Severity::Problem);
}

/// What goes wrong most often, each seeded into settings that are good otherwise. The tests above and those of certificates
/// (`config_check_tls`) look at each more closely.
#[tokio::test]
async fn ten_seeded_mistakes_are_found() {
    // Where nobody listens any more.
    let nobody_at = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy_at = busy.local_addr().unwrap().to_string();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let key = file("open.key", "a key that everybody can read");
    let letter = file("letter.crt", "no certificate");
    let nobody = format!("mqtt://{nobody_at}");
    let nowhere = format!("postgres://bee@{nobody_at}/hive");
    let kurento = format!("ws://{nobody_at}/kurento");
    let mistakes: [(&str, &[(&str, &str)]); 10] = [
        (
            "a port that another program has",
            &[("APIARY_HTTP_LISTEN", &busy_at)],
        ),
        ("a key that does not exist", &[("APIARY_MEDIA_WORKER", "2")]),
        (
            "a value that makes no sense",
            &[("APIARY_MEDIA_MAX_BITRATE_KBPS", "fast")],
        ),
        (
            "a directory that cannot be written",
            &[("APIARY_DATA_DIR", "/proc/apiary")],
        ),
        ("another machine's address", &[("LOCAL_IP", "192.0.2.1")]),
        (
            "a broker that is not there",
            &[("APIARY_MQTT_BROKER", &nobody)],
        ),
        (
            "a database that is not there",
            &[("APIARY_DATABASE_URL", &nowhere)],
        ),
        (
            "a media server that is not there",
            &[
                ("APIARY_MEDIA_ENGINE", "kurento"),
                ("APIARY_KURENTO_SERVERS", &kurento),
            ],
        ),
        (
            "a certificate that is none, and a key that all can read",
            &[("APIARY_TLS_CERT", &letter), ("APIARY_TLS_KEY", &key)],
        ),
        (
            "a page for others, and pictures for this machine alone",
            &[
                ("APIARY_HTTP_LISTEN", "0.0.0.0:0"),
                ("APIARY_MEDIA_BIND", "127.0.0.1"),
            ],
        ),
    ];
    for (mistake, settings) in mistakes {
        let (report, _dir) = check(settings).await;
        assert!(report.problems() > 0, "{mistake} is not found: {report:#?}");
    }
}
