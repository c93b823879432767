//! The embedded broker and the TLS files by themselves.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "mqtt/brokers.rs"]
#[allow(dead_code, reason = "shared with the suite over both brokers")]
mod brokers;
#[path = "mqtt/certificates.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of the embedded broker's security"
)]
mod certificates;
#[path = "mqtt/client.rs"]
#[allow(dead_code, reason = "shared with the suite over both brokers")]
mod client;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use apiary::config::values::BrokerTarget;
use apiary::config::{TlsFiles, Verify};
use apiary::mqtt::control::ControlSettings;
use apiary::mqtt::{CameraControl, ControlError, EmbeddedBroker, Mqtt, TlsFileError, tls};
use apiary_wire::camera::Command as CameraCommand;
use brokers::embedded_config;
use certificates::Authority;
use client::{Camera, camera_id, connected, control, external, soon, unreachable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_key() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = EmbeddedBroker::start(&embedded_config(address.port()))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("mqtt.listen") && error.contains(&address.to_string()),
        "{error}"
    );
    assert!(error.contains("another program"), "{error}");

    let authority = Authority::new("ca");
    let mut config = embedded_config(0);
    config.embedded.listen_tls = Some(address);
    config.tls = authority.broker(&["127.0.0.1"]);
    let error = EmbeddedBroker::start(&config)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("mqtt.listen_tls") && error.contains("another program"),
        "{error}"
    );
}

#[tokio::test]
async fn an_address_of_another_machine_is_an_error_that_says_so() {
    let mut config = embedded_config(0);
    config.embedded.listen = "192.0.2.1:18830".parse().unwrap();
    let error = EmbeddedBroker::start(&config)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not have that address"), "{error}");
}

#[tokio::test]
async fn the_port_is_free_again_after_the_end() {
    let broker = EmbeddedBroker::start(&embedded_config(0)).await.unwrap();
    let address = broker.address();
    assert_ne!(address.port(), 0, "the port really taken is reported");
    let camera = Camera::connect(address.port()).await;
    soon("the end", broker.stop()).await;
    let again = EmbeddedBroker::start(&embedded_config(address.port()))
        .await
        .unwrap();
    assert_eq!(again.address(), address);
    drop(camera);
    again.stop().await;
}

#[tokio::test]
async fn the_client_finds_the_embedded_broker() {
    let mqtt = Mqtt::start(&embedded_config(0)).await.unwrap();
    connected(&mqtt.control).await;
    soon("the end", mqtt.shutdown()).await;
}

/// A connection that never finishes its handshake must not keep others out.
#[tokio::test]
async fn h33_a_silent_tls_connection_keeps_nobody_out() {
    let authority = Authority::new("ca");
    let mut config = embedded_config(0);
    config.embedded.listen_tls = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.tls = authority.broker(&["127.0.0.1"]);
    let broker = EmbeddedBroker::start(&config).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(
            TcpStream::connect(broker.tls_address().unwrap())
                .await
                .unwrap(),
        );
    }
    let control = control(&external(
        broker.tls_address().unwrap().port(),
        Some(authority.client()),
    ));
    connected(&control).await;
    // And they are closed.
    for mut stream in silent {
        assert_eq!(
            soon("the close", stream.read(&mut [0; 1]))
                .await
                .unwrap_or(0),
            0
        );
    }
    control.shutdown().await;
    broker.stop().await;
}

#[tokio::test]
async fn plain_mqtt_to_a_tls_port_and_the_reverse_are_explained() {
    let authority = Authority::new("ca");
    let mut config = embedded_config(0);
    config.embedded.listen_tls = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config.tls = authority.broker(&["127.0.0.1"]);
    let broker = EmbeddedBroker::start(&config).await.unwrap();
    let tls_port = broker.tls_address().unwrap().port();
    let attempts = [
        (external(tls_port, None), "mqtts://"),
        (
            external(broker.address().port(), Some(authority.client())),
            "mqtt://",
        ),
    ];
    for (config, advice) in attempts {
        let control = control(&config);
        let cause = unreachable(&control).await;
        assert!(cause.contains(advice), "{cause}");
        control.shutdown().await;
    }
    broker.stop().await;
}

#[tokio::test]
async fn nothing_listening_is_explained() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let control = control(&external(port, None));
    let error = control
        .send(camera_id(), CameraCommand::Reboot)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("mqtt://127.0.0.1:{port}"))
            && error.contains("is the broker running"),
        "{error}"
    );
    control.shutdown().await;
}

/// A broker that lets clients in and then acknowledges nothing but subscriptions.
async fn deaf_broker() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut packet = [0; 4096];
        // CONNECT, answered by CONNACK; SUBSCRIBE with packet id 1, answered by SUBACK (MQTT 3.1.1 §3.2, §3.9).
        _ = stream.read(&mut packet).await.unwrap();
        stream.write_all(&[0x20, 2, 0, 0]).await.unwrap();
        _ = stream.read(&mut packet).await.unwrap();
        stream
            .write_all(&[0x90, 6, 0, 1, 1, 1, 1, 1])
            .await
            .unwrap();
        while stream.read(&mut packet).await.is_ok_and(|read| read > 0) {}
    });
    port
}

#[tokio::test]
async fn a_silent_broker_is_told_and_the_queue_to_it_is_bounded() {
    let config = external(deaf_broker().await, None);
    let BrokerTarget::External(address) = config.broker.clone() else {
        panic!("it is external")
    };
    let mut settings = ControlSettings::new(&config, address).unwrap();
    settings.ack_timeout = Duration::from_millis(100);
    let control = CameraControl::start(settings);
    connected(&control).await;

    let silent = control
        .send(camera_id(), CameraCommand::Reboot)
        .await
        .unwrap_err();
    assert!(
        matches!(silent, ControlError::NotAcknowledged { .. }),
        "{silent}"
    );

    // Far more than may wait. All end: some unacknowledged, the rest at once.
    let mut sends = JoinSet::new();
    for _ in 0..5000 {
        let control = control.clone();
        sends.spawn(async move { control.send(camera_id(), CameraCommand::Reboot).await });
    }
    let ends = soon("the end of all sends", sends.join_all()).await;
    let full = ends
        .iter()
        .filter(|end| matches!(end, Err(ControlError::QueueFull { .. })))
        .count();
    let unheard = ends
        .iter()
        .filter(|end| matches!(end, Err(ControlError::NotAcknowledged { .. })))
        .count();
    assert!(full > 1000, "only {full} of 5000 met a full queue");
    assert_eq!(full + unheard, 5000);
    control.shutdown().await;
}

#[test]
fn version_1_certificates_are_refused_with_the_command_that_makes_version_3() {
    let (_dir, files) = version_1();
    let errors = [
        tls::client_config(&files, Verify::Full).unwrap_err(),
        tls::server_config(&files).unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(
                error,
                TlsFileError::Version1 {
                    key: "mqtt.cert",
                    ..
                }
            ),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("openssl x509 -req")
                && text.contains("-extfile")
                && text.contains("v1.crt"),
            "{text}"
        );
    }
}

/// The broker presents a v1 certificate, which the configuration of this side cannot know.
#[tokio::test]
async fn a_brokers_version_1_certificate_is_explained() {
    let (dir, files) = version_1();
    // A server that does not care: openssl itself.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut server = Command::new("openssl")
        .args([
            "s_server",
            "-quiet",
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-cert",
            "v1.crt",
            "-key",
            "v1.key",
        ])
        .current_dir(dir.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl is missing: run ./test.sh, which installs it");
    let trusting = TlsFiles {
        cert: None,
        key: None,
        ..files
    };
    let control = control(&external(port, Some(trusting)));
    let mut state = control.broker();
    let explained = state.wait_for(|state| format!("{state:?}").contains("openssl x509 -req"));
    soon("the explanation", explained).await.unwrap();
    control.shutdown().await;
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn unusable_files_are_named_with_their_key() {
    let authority = Authority::new("ca");
    let good = authority.client();
    let garbage = authority.dir.path().join("garbage.pem");
    std::fs::write(
        &garbage,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let empty = authority.dir.path().join("empty.pem");
    std::fs::write(&empty, "no pem at all\n").unwrap();
    let other = Authority::new("other").broker(&["x"]);
    let text = |change: &dyn Fn(&mut TlsFiles)| {
        let mut files = good.clone();
        change(&mut files);
        tls::client_config(&files, Verify::Full)
            .unwrap_err()
            .to_string()
    };
    for (key, error) in [
        ("mqtt.ca", text(&|files| files.ca = Some(empty.clone()))),
        ("mqtt.ca", text(&|files| files.ca = Some(garbage.clone()))),
        ("mqtt.cert", text(&|files| files.cert = Some(empty.clone()))),
        ("mqtt.key", text(&|files| files.key = Some(empty.clone()))),
        ("mqtt.key", text(&|files| files.key = files.cert.clone())),
        (
            "mqtt.cert",
            text(&|files| {
                files.key = other
                    .key
                    .clone()
                    .filter(|key| key.exists())
                    .or(Some(authority.broker(&["y"]).key.unwrap()))
            }),
        ),
    ] {
        assert!(error.contains(key), "{key}: {error}");
    }
}

#[test]
fn client_ids_have_a_random_end() {
    let config = external(1, None);
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let BrokerTarget::External(address) = config.broker.clone() else {
                panic!()
            };
            ControlSettings::new(&config, address).unwrap().client_id
        })
        .collect();
    assert!(
        ids.iter().all(|id| id.starts_with("livestream_service-")),
        "{ids:?}"
    );
    assert_ne!(ids[0], ids[1]);
}

/// A handle can be shared; its debug print holds nothing secret.
#[tokio::test]
async fn passwords_are_in_no_debug_print() {
    let mut config = external(1, None);
    config.credentials = Some(apiary::config::Credentials {
        username: "u".to_owned(),
        password: Some(apiary::secret::Secret::new("hunter2")),
    });
    let control: CameraControl = control(&config);
    assert!(!format!("{config:?} {control:?}").contains("hunter2"));
    control.shutdown().await;
}

/// A certificate made the way that gives X.509 v1, with its key: a bare `openssl x509 -req`.
fn version_1() -> (tempfile::TempDir, TlsFiles) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(dir.path())
            .output();
        let output = output.expect("openssl is missing: run ./test.sh, which installs it");
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    openssl(&[
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "v1.key",
        "-out",
        "v1.csr",
        "-subj",
        "/CN=localhost",
    ]);
    openssl(&[
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
        "-subj", "/CN=ca",
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        "v1.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-out",
        "v1.crt",
    ]);
    let files = TlsFiles {
        ca: Some(path("ca.crt")),
        cert: Some(path("v1.crt")),
        key: Some(path("v1.key")),
    };
    (dir, files)
}
