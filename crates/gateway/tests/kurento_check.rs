//! Kurento servers seen by `apiary check` and `apiary kurento-ping`: there, not there, or something else.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "mqtt/certificates.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod certificates;
#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use apiary::check::{Finding, Severity, examine};
use apiary::config::TlsFiles;
use certificates::Authority;
use futures_util::{SinkExt, StreamExt};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sources::environment;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Longer than anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves each connection with `serve`; the address.
async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// What a Kurento server answers to a ping, as it went over the wire of one.
async fn kurento(stream: impl AsyncRead + AsyncWrite + Unpin) {
    answer(
        stream,
        r#"{"id":1,"jsonrpc":"2.0","result":{"value":"pong"}}"#,
    )
    .await;
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, text: &'static str) {
    let mut socket = accept_async(stream).await.unwrap();
    let question = socket.next().await.unwrap().unwrap();
    let question: serde_json::Value = serde_json::from_str(question.to_text().unwrap()).unwrap();
    assert_eq!(
        (&question["method"], &question["id"]),
        (&"ping".into(), &1.into())
    );
    socket.send(Message::text(text)).await.unwrap();
    // Until the other side leaves.
    _ = socket.next().await;
}

/// What a Kurento server does where the path is not its own.
async fn wrong_path(stream: TcpStream) {
    let mut socket = accept_async(stream).await.unwrap();
    let frame = CloseFrame {
        code: CloseCode::Protocol,
        reason: "Invalid path".into(),
    };
    _ = socket.close(Some(frame)).await;
}

/// Says this, whatever it hears, and stays.
async fn say(mut stream: TcpStream, words: &'static str) {
    stream.write_all(words.as_bytes()).await.unwrap();
    _ = stream.read_to_end(&mut Vec::new()).await;
}

/// What `apiary check` finds about the servers.
async fn findings(more: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = all_findings(more).await;
    findings.retain(|finding| finding.subject.starts_with("kurento"));
    findings
}

async fn all_findings(more: &[(&str, &str)]) -> Vec<Finding> {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let mut variables = vec![
        ("APIARY_HTTP_LISTEN", "127.0.0.1:0"),
        ("APIARY_SIGNALING_LISTEN", "127.0.0.1:0"),
        ("APIARY_MQTT_LISTEN", "127.0.0.1:0"),
        ("APIARY_MEDIA_ENGINE", "kurento"),
        ("APIARY_KURENTO_REQUEST_TIMEOUT_S", "10"),
        ("APIARY_DATA_DIR", &data),
    ];
    variables.extend(more);
    let environment = environment(None, &variables);
    let report = tokio::time::timeout(PATIENCE, examine(None, &environment));
    report.await.unwrap().findings
}

/// The one thing that is found about one server.
async fn finding(url: &str, more: &[(&str, &str)]) -> (Severity, String) {
    let mut variables = vec![("APIARY_KURENTO_SERVERS", url)];
    variables.extend(more);
    match findings(&variables).await.as_slice() {
        [finding] => (finding.severity, finding.text.clone()),
        findings => panic!("one finding is expected: {findings:#?}"),
    }
}

#[tokio::test]
async fn each_server_of_the_pool_is_asked() {
    let [a, b, gone] = [
        listen(kurento).await,
        listen(kurento).await,
        listen(kurento).await,
    ];
    let servers = format!("ws://{a},ws://{b}/kurento,ws://{gone}");
    let drain = format!("ws://{b}");
    let pool = [
        ("APIARY_KURENTO_SERVERS", servers.as_str()),
        ("APIARY_KURENTO_DRAIN", drain.as_str()),
    ];
    let found = findings(&pool).await;
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            format!("ok      kurento.servers: ws://{a} answers"),
            format!("ok      kurento.servers: ws://{b}/kurento answers, and gets no new streams"),
            format!("ok      kurento.servers: ws://{gone} answers"),
        ]
    );
    let built_in = [pool[0], pool[1], ("APIARY_MEDIA_ENGINE", "sfu")];
    assert_eq!(findings(&built_in).await, [], "nothing needs them then");
}

/// The built-in engine's ports are nobody's then, and the router's are Kurento's.
#[tokio::test]
async fn ports_are_the_servers_own() {
    let url = format!("ws://{}", listen(kurento).await);
    let found = all_findings(&[
        ("APIARY_KURENTO_SERVERS", &url),
        ("APIARY_NETWORK_EXTERNAL_IP", "203.0.113.7"),
        ("APIARY_INGEST_PORTS", "8000-8999"),
    ])
    .await;
    let about = |subject: &str| found.iter().find(|finding| finding.subject == subject);
    assert_eq!(about("media.udp_port"), None);
    assert_eq!(about("ingest.ports"), None);
    let external = &about("network.external_ip").unwrap().text;
    assert!(
        external.contains(
            "UDP 8000-8999, for viewers and for cameras elsewhere, to the Kurento server"
        ),
        "{external}"
    );
}

#[tokio::test]
async fn what_is_no_kurento_server_is_a_problem_with_advice() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody_there = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let error = r#"{"id":1,"jsonrpc":"2.0","error":{"code":-32601,"message":"x"}}"#;
    for (address, words) in [
        (nobody_there, "is Kurento running"),
        (listen(wrong_path).await, "check the path `/kurento`"),
        (
            listen(move |stream| say(stream, page)).await,
            "it answers HTTP 200 where Kurento answers 101",
        ),
        (
            listen(|stream| say(stream, "SSH-2.0-OpenSSH_9.2\r\n\r\n")).await,
            "does not speak WebSocket",
        ),
        (
            listen(move |stream| answer(stream, error)).await,
            "not as Kurento does",
        ),
        (
            listen(|stream| answer(stream, "pong")).await,
            "not as Kurento does",
        ),
    ] {
        let (severity, text) = finding(&format!("ws://{address}"), &[]).await;
        assert_eq!(severity, Severity::Problem, "{text}");
        assert!(text.contains(words), "{words:?} is missing in: {text}");
        assert!(text.starts_with(&format!("ws://{address}: ")), "{text}");
    }
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for_without_end() {
    let silent = listen(|stream| say(stream, "")).await;
    let patience = [("APIARY_KURENTO_REQUEST_TIMEOUT_S", "1")];
    let (severity, text) = finding(&format!("ws://{silent}"), &patience).await;
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("does not answer within 1 s"), "{text}");
}

/// A server that asks for no certificate of the client's.
fn server_config(files: &TlsFiles) -> ServerConfig {
    let cert = CertificateDer::from_pem_file(files.cert.as_ref().unwrap()).unwrap();
    let key = PrivateKeyDer::from_pem_file(files.key.as_ref().unwrap()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap()
}

#[tokio::test]
async fn the_certificate_of_a_server_with_tls_is_checked() {
    let authority = Authority::new("Kurento's");
    let stranger = Authority::new("Another's");
    let config = Arc::new(server_config(&authority.broker(&["127.0.0.1"])));
    let address = listen(move |stream| {
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                kurento(stream).await;
            }
        }
    })
    .await;
    let url = format!("wss://{address}");
    let with = async |ca: &Authority| {
        let ca = ca.ca().display().to_string();
        finding(&url, &[("APIARY_KURENTO_CA", &ca)]).await
    };
    let (severity, text) = with(&authority).await;
    assert_eq!((severity, text), (Severity::Good, format!("{url} answers")));
    let (severity, text) = with(&stranger).await;
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("kurento.ca"), "{text}");

    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = empty.path().display().to_string();
    let found = findings(&[
        ("APIARY_KURENTO_SERVERS", &url),
        ("APIARY_KURENTO_CA", &empty),
    ])
    .await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].subject, "kurento.ca");
}

async fn kurento_ping(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apiary"));
    command.arg("kurento-ping").args(arguments).env_clear();
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    tokio::time::timeout(PATIENCE, output)
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_server_can_be_asked_by_hand() {
    let url = format!("ws://{}/kurento", listen(kurento).await);
    let there = kurento_ping(&[&url]).await;
    assert!(there.status.success());
    assert_eq!(
        String::from_utf8(there.stdout).unwrap(),
        format!("{url} answers\n")
    );

    let wrong = format!("ws://{}/other", listen(wrong_path).await);
    let wrong = kurento_ping(&[&wrong]).await;
    assert_eq!(wrong.status.code(), Some(1));
    let complaint = String::from_utf8(wrong.stderr).unwrap();
    assert!(complaint.contains("check the path `/other`"), "{complaint}");

    let nonsense = kurento_ping(&["kms"]).await;
    assert_eq!(nonsense.status.code(), Some(2));
    let complaint = String::from_utf8(nonsense.stderr).unwrap();
    assert!(complaint.contains("ws://HOST:8888/kurento"), "{complaint}");
}

/// A server that starts takes connections before it answers them.
#[tokio::test]
async fn a_server_that_starts_is_waited_for() {
    let connections = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = Arc::clone(&connections);
    let address = listen(move |stream| {
        let is_early = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
        async move {
            if !is_early {
                kurento(stream).await;
            }
        }
    })
    .await;
    let there = kurento_ping(&["--wait", "20", &format!("ws://{address}")]).await;
    assert!(there.status.success(), "{there:?}");
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 3);
}
