//! HTTPS: what is spoken, where those are sent who speak HTTP, and certificates that change under open connections.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use apiary::config::{Config, Environment};
use apiary::http::Bounds;
use apiary::tls::bundle::Bundle;
use apiary::tls::facts::Facts;
use apiary::tls::{Https, Tls};
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

mod http_support;
mod tls_support;
use http_support::{CAMERA, Gateway, OFFER, within};
use tls_support::{ask, ask_plainly, client, connect};

/// The name in the certificates.
const NAME: &str = "cams.example";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A gateway with certificate files that `apiary certs` would have made.
struct Site {
    dir: tempfile::TempDir,
    tls: Tls,
    gateway: Gateway,
}

impl Site {
    async fn start() -> Self {
        Self::start_within(Bounds::new(1024, 1024)).await
    }

    async fn start_within(bounds: Bounds) -> Self {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "site", NAME, Timestamp::now());
        let tls = start_tls(&[
            ("APIARY_TLS_CERT", &path(dir.path(), "site/https.crt")),
            ("APIARY_TLS_KEY", &path(dir.path(), "site/https.key")),
            ("APIARY_TLS_PUBLIC_PORT", "8443"),
        ])
        .await;
        let gateway = Gateway::start_with(bounds, Some(tls.https())).await;
        Self { dir, tls, gateway }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn client(&self) -> ClientConfig {
        client(&self.file("site/ca.crt"), &[&TLS13, &TLS12])
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        connect(self.gateway.http, NAME, self.client())
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
        ask(&mut stream, &request).await
    }

    /// Serial numbers and all: whose certificate is presented now.
    async fn presented(&self, ca: &Path) -> Option<Facts> {
        let stream = connect(self.gateway.http, NAME, client(ca, &[&TLS13])).await;
        let stream = stream.ok()?;
        let (_, connection) = stream.get_ref();
        Facts::of(&connection.peer_certificates().unwrap()[0])
    }

    async fn stop(self) {
        self.gateway.stop().await;
        within("the end of the watch", self.tls.shutdown()).await;
    }
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

/// An authority of its own in a directory of that name, with a certificate for HTTPS.
fn make(dir: &Path, authority: &str, name: &str, now: Timestamp) {
    let mut bundle = Bundle::open(&dir.join(authority), false, now).unwrap();
    let names = [name.parse().unwrap(), "127.0.0.1".parse().unwrap()];
    bundle.https(&names).unwrap();
}

async fn start_tls(variables: &[(&str, &str)]) -> Tls {
    let mut environment = Environment::default();
    for (name, value) in variables {
        let (name, value) = ((*name).to_owned(), (*value).to_owned());
        environment.variables.insert(name, value);
    }
    let config = Config::load(None, &environment).unwrap();
    Tls::start(&config).await.unwrap().unwrap()
}

/// What `openssl s_client` says, which gets nothing to send.
async fn openssl(address: SocketAddr, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = within("openssl", output).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn page_api_signaling_and_whep_share_the_port() {
    let site = Site::start().await;
    for version in [&TLS12, &TLS13] {
        let config = client(&site.file("site/ca.crt"), &[version]);
        let mut stream = connect(site.gateway.http, NAME, config).await.unwrap();
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.protocol_version(), Some(version.version));
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
        let request = format!("GET /health HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
        let answer = ask(&mut stream, &request).await;
        assert!(answer.contains("kurento_connected"), "{answer}");
    }
    assert!(site.get("/").await.starts_with("HTTP/1.1 200 "));
    let offer = format!(
        "POST /whep/{CAMERA} HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{OFFER}",
        OFFER.len()
    );
    let answer = ask(&mut site.connect().await, &offer).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    for (address, path) in [(site.gateway.http, "/ws"), (site.gateway.signaling, "/any")] {
        let stream = connect(address, NAME, site.client()).await.unwrap();
        let url = format!("wss://{NAME}{path}");
        let upgrade = tokio_tungstenite::client_async(url, stream);
        let (mut socket, _) = within("the upgrade", upgrade).await.unwrap();
        assert_hears(&mut socket).await;
    }
    site.stop().await;
}

/// The socket lives: what is no message is answered.
async fn assert_hears(socket: &mut tokio_tungstenite::WebSocketStream<TlsStream<TcpStream>>) {
    use futures_util::{SinkExt as _, StreamExt as _};
    let said = Message::text(json!({"type": "unheard"}).to_string());
    socket.send(said).await.unwrap();
    let heard = within("an answer", async {
        loop {
            if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
                return text;
            }
        }
    })
    .await;
    assert!(heard.contains("error"), "{heard}");
}

#[tokio::test]
async fn only_tls_1_2_and_1_3_are_spoken() {
    let site = Site::start().await;
    let ca = path(site.dir.path(), "site/ca.crt");
    // Level 0, or OpenSSL would not even offer the old one.
    let common = [
        "-CAfile",
        &ca,
        "-verify_return_error",
        "-verify_hostname",
        NAME,
    ];
    for (version, cipher, is_spoken) in [
        ("-tls1_1", "DEFAULT@SECLEVEL=0", false),
        ("-tls1_2", "DEFAULT", true),
        ("-tls1_3", "DEFAULT", true),
    ] {
        let arguments = [&common[..], &[version, "-cipher", cipher]].concat();
        let said = openssl(site.gateway.http, &arguments).await;
        let verified = said.contains("Verify return code: 0 (ok)") && !said.contains("alert");
        assert_eq!(verified, is_spoken, "{version}: {said}");
        if !is_spoken {
            // It is us who refuse, not the client that could not.
            assert!(said.contains("SSL alert number"), "{said}");
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn who_speaks_http_is_sent_to_https() {
    let site = Site::start().await;
    let (http, redirect) = (site.gateway.http, site.gateway.redirect);
    let port = http.port();
    for (address, request, status, location) in [
        (
            http,
            format!("GET /viewer?camera=1 HTTP/1.1\r\nHost: {NAME}:{port}"),
            "301",
            format!("https://{NAME}:{port}/viewer?camera=1"),
        ),
        (
            http,
            format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}"),
            "301",
            format!("https://127.0.0.1:{port}/"),
        ),
        (
            http,
            format!("GET / HTTP/1.1\r\nHost: {NAME}"),
            "301",
            format!("https://{NAME}/"),
        ),
        (
            redirect,
            format!("GET /a HTTP/1.1\r\nHost: {NAME}:80"),
            "301",
            format!("https://{NAME}:8443/a"),
        ),
        (
            redirect,
            format!("POST /streams/{CAMERA}/start HTTP/1.1\r\nContent-Length: 0\r\nHost: {NAME}"),
            "308",
            format!("https://{NAME}:8443/streams/{CAMERA}/start"),
        ),
    ] {
        let answer = ask_plainly(address, &format!("{request}\r\nConnection: close\r\n\r\n")).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(
            answer.contains(&format!("\r\nlocation: {location}\r\n")),
            "{answer}"
        );
        assert!(answer.contains("content-security-policy"), "{answer}");
        assert!(!answer.contains("strict-transport-security"), "{answer}");
    }
    site.stop().await;
}

/// Nobody is sent to a host that is not ours, whatever a request says.
#[tokio::test]
async fn h04_a_redirect_leads_nowhere_else() {
    let site = Site::start().await;
    for request in [
        "GET / HTTP/1.1\r\nHost: evil.example",
        "GET / HTTP/1.1\r\nHost: cams.example.evil.example",
        "GET / HTTP/1.1\r\nHost: cams.example@evil.example",
        "GET / HTTP/1.1\r\nHost: evil.example:80",
        "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example",
        "GET / HTTP/1.1",
        "GET / HTTP/1.0",
    ] {
        for address in [site.gateway.http, site.gateway.redirect] {
            let answer =
                ask_plainly(address, &format!("{request}\r\nConnection: close\r\n\r\n")).await;
            let refused = answer.starts_with("HTTP/1.1 421 ")
                || answer.starts_with("HTTP/1.1 400 ")
                || answer.starts_with("HTTP/1.0 400 ");
            assert!(
                refused && !answer.contains("location:"),
                "{request}: {answer}"
            );
            let says_why = answer.contains("this is Apiary, which speaks HTTPS here")
                || answer.contains("this server does not go by the name");
            assert!(says_why, "{answer}");
        }
    }
    // A path is a path, with two slashes too.
    let request =
        format!("GET //evil.example/ HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    let answer = ask_plainly(site.gateway.redirect, &request).await;
    assert!(
        answer.contains(&format!("location: https://{NAME}:8443//evil.example/\r\n")),
        "{answer}"
    );
    site.stop().await;
}

#[tokio::test]
async fn browsers_remember_names_only() {
    let site = Site::start().await;
    let hsts = "strict-transport-security: max-age=2592000\r\n";
    assert!(site.get("/health").await.contains(hsts));
    assert!(site.get("/nothing").await.contains(hsts));
    let mut stream = site.connect().await;
    let by_address = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let answer = ask(&mut stream, by_address).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
    site.stop().await;
}

#[tokio::test]
async fn h14_handshakes_without_end_are_cut() {
    let mut bounds = Bounds::new(1024, 1024);
    bounds.head_timeout = Duration::from_millis(500);
    let site = Site::start_within(bounds).await;
    let mut slow = Vec::new();
    for octets in [&b""[..], &[0x16], &[0x16, 3, 1, 2, 0, 1, 0, 1]].repeat(20) {
        let mut stream = TcpStream::connect(site.gateway.http).await.unwrap();
        stream.write_all(octets).await.unwrap();
        slow.push(stream);
    }
    assert!(site.get("/health").await.contains("kurento_connected"));
    for mut stream in slow {
        let mut nothing = Vec::new();
        // With something unread it is a reset.
        _ = within("the cut", stream.read_to_end(&mut nothing)).await;
        assert!(nothing.is_empty());
    }
    let garbage = ask_plainly(site.gateway.http, "\r\n\0\0 what?\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
    site.stop().await;
}

/// A handshake is work, and nobody gets one for whom there is no room.
#[tokio::test]
async fn f07_without_room_there_is_no_handshake() {
    let site = Site::start_within(Bounds::new(1, 1)).await;
    let held = site.connect().await;
    let refused = connect(site.gateway.http, NAME, site.client()).await;
    assert!(refused.is_err());
    drop(held);
    within("a place", async {
        while connect(site.gateway.http, NAME, site.client())
            .await
            .is_err()
        {}
    })
    .await;
    site.stop().await;
}

/// Replaced files count for new connections, and open ones go on. What cannot be used changes nothing.
#[tokio::test]
async fn certificates_change_under_open_connections() {
    let site = Site::start().await;
    let old_ca = site.file("site/ca.crt");
    let stream = site.connect().await;
    let upgrade = tokio_tungstenite::client_async(format!("wss://{NAME}/ws"), stream);
    let (mut socket, _) = within("the upgrade", upgrade).await.unwrap();
    let old = site.presented(&old_ca).await.unwrap();
    make(site.dir.path(), "next", NAME, Timestamp::now());
    make(site.dir.path(), "ended", NAME, Timestamp::now() - 900 * DAY);
    let put = |from: &str, to: &str| {
        std::fs::copy(site.file(from), site.file(to)).unwrap();
    };
    let key = site.file("site/https.key");
    let open_to_others = || std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644));

    // Another's certificate, an open key, one that has ended, and none at all.
    let breaks: [&dyn Fn(); 4] = [
        &|| put("next/https.crt", "site/https.crt"),
        &|| {
            put("next/https.key", "site/https.key");
            open_to_others().unwrap();
        },
        &|| {
            std::fs::remove_file(&key).unwrap();
            put("ended/https.key", "site/https.key");
            put("ended/https.crt", "site/https.crt");
        },
        &|| std::fs::write(site.file("site/https.crt"), "none").unwrap(),
    ];
    for broken in breaks {
        broken();
        look_now(&site.tls).await;
        assert_eq!(site.presented(&old_ca).await, Some(old.clone()));
    }
    put("next/https.crt", "site/https.crt");
    put("next/https.key", "site/https.key");
    look_now(&site.tls).await;
    assert_eq!(site.presented(&old_ca).await, None);
    let next_ca = site.file("next/ca.crt");
    let new = site.presented(&next_ca).await.unwrap();
    let until = new.not_after.as_second();
    let config = client(&next_ca, &[&TLS13]);
    let mut stream = connect(site.gateway.http, NAME, config).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    let figures = ask(&mut stream, &request).await;
    let figure = format!("\napiary_https_certificate_end_seconds {until}\n");
    assert!(figures.contains(&figure), "{figures}");
    assert_hears(&mut socket).await;
    site.stop().await;
}

/// Until it has looked.
async fn look_now(tls: &Tls) {
    within("the look", tls.reload()).await.unwrap();
}

/// Nobody has to tell it.
#[tokio::test]
async fn replaced_files_are_found() {
    let site = Site::start().await;
    make(site.dir.path(), "next", NAME, Timestamp::now());
    for file in ["https.crt", "https.key"] {
        let from = site.file(&format!("next/{file}"));
        std::fs::copy(from, site.file(&format!("site/{file}"))).unwrap();
    }
    let next = site.file("next/ca.crt");
    within("the new certificate", async {
        while site.presented(&next).await.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    site.stop().await;
}

/// Made at the first start, kept at the next, renewed when it is due; browsers are not told to remember.
#[tokio::test]
async fn a_certificate_of_our_own_is_made_and_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let settings = [
        ("APIARY_TLS_MODE", "self-signed"),
        ("APIARY_TLS_NAMES", NAME),
        ("APIARY_DATA_DIR", &data),
    ];
    let ca = dir.path().join("certs/ca.crt");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let tls = start_tls(&settings).await;
        let (answer, facts) = serve_once(tls.https(), &ca).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(!answer.contains("strict-transport-security"), "{answer}");
        seen.push(facts);
        tls.shutdown().await;
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].covers(&NAME.parse().unwrap()));
    assert!(seen[0].covers(&"127.0.0.1".parse().unwrap()));
    // As if it had been made two years ago.
    std::fs::remove_dir_all(dir.path().join("certs")).unwrap();
    make(dir.path(), "certs", NAME, Timestamp::now() - 730 * DAY);
    let key = std::fs::read(dir.path().join("certs/https.key")).unwrap();
    let tls = start_tls(&settings).await;
    let (_, facts) = serve_once(tls.https(), &ca).await;
    assert!(facts.days_left(Timestamp::now()) > 700);
    assert_eq!(
        std::fs::read(dir.path().join("certs/https.key")).unwrap(),
        key
    );
    tls.shutdown().await;
}

async fn serve_once(https: Https, ca: &Path) -> (String, Facts) {
    let gateway = Gateway::start_with(Bounds::new(1024, 1024), Some(https)).await;
    let config = client(ca, &[&TLS13]);
    let mut stream = connect(gateway.http, NAME, config).await.unwrap();
    let (_, connection) = stream.get_ref();
    let facts = Facts::of(&connection.peer_certificates().unwrap()[0]).unwrap();
    let request = format!("GET /health HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    let answer = ask(&mut stream, &request).await;
    gateway.stop().await;
    (answer, facts)
}
