//! Certificates of a public authority: both proofs, what is kept, renewal, and what goes wrong.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use apiary::check::{Severity, examine};
use apiary::config::{Config, Environment};
use apiary::http::Bounds;
use apiary::tls::Tls;
use apiary::tls::facts::Facts;
use rustls::version::TLS13;
use tracing_subscriber::fmt::MakeWriter;

mod acme_support;
mod http_support;
mod tls_support;
use acme_support::{AcmeServer, Fault, Machine, handshake};
use http_support::{Gateway, within};
use tls_support::{ask, ask_plainly, client, connect};

const NAME: &str = "cams.example";
const OTHER_NAME: &str = "door.example";

/// A gateway that asks that authority.
struct Site {
    tls: Tls,
    gateway: Gateway,
    issuer: PathBuf,
}

impl Site {
    async fn start(server: &AcmeServer, data: &Path, kind: &str) -> Self {
        Self::start_with(server, data, kind, &[]).await
    }

    async fn start_with(
        server: &AcmeServer,
        data: &Path,
        kind: &str,
        more: &[(&str, &str)],
    ) -> Self {
        let mut settings = settings(server, data, kind);
        for (name, value) in more {
            let name = format!("APIARY_TLS_{name}");
            settings.variables.insert(name, (*value).to_owned());
        }
        let config = Config::load(None, &settings).unwrap();
        let tls = Tls::start(&config).await.unwrap().unwrap();
        let gateway = Gateway::start_with(Bounds::new(1024, 1024), Some(tls.https())).await;
        Self {
            tls,
            gateway,
            issuer: server.issuer.clone(),
        }
    }

    /// By the port for redirects.
    fn machine(&self) -> Machine {
        Machine {
            http: self.gateway.redirect,
            https: self.gateway.http,
        }
    }

    /// Until it has tried; nothing else makes it try so soon after a failure.
    async fn try_now(&self) {
        within("an attempt", self.tls.reload()).await.unwrap();
    }

    /// What is presented for that name, where it is one of the authority's.
    async fn presented(&self, name: &'static str) -> Option<Facts> {
        let config = client(&self.issuer, &[&TLS13]);
        let stream = connect(self.gateway.http, name, config).await.ok()?;
        let (_, connection) = stream.get_ref();
        Facts::of(&connection.peer_certificates().unwrap()[0])
    }

    async fn stop(self) {
        self.gateway.stop().await;
        within("the end of the task", self.tls.shutdown()).await;
    }
}

fn settings(server: &AcmeServer, data: &Path, kind: &str) -> Environment {
    let mut environment = Environment::default();
    for (name, value) in [
        ("APIARY_TLS_MODE", "acme"),
        ("APIARY_TLS_NAMES", &format!("{NAME},{OTHER_NAME}")),
        ("APIARY_TLS_ACME_DIRECTORY", &server.directory),
        ("APIARY_TLS_ACME_CA", &server.ca.display().to_string()),
        ("APIARY_TLS_ACME_CONTACT", "admin@cams.example"),
        ("APIARY_TLS_ACME_TERMS_AGREED", "true"),
        ("APIARY_TLS_ACME_CHALLENGE", kind),
        ("APIARY_TLS_PUBLIC_PORT", "443"),
        ("APIARY_DATA_DIR", &data.display().to_string()),
    ] {
        let (name, value) = (name.to_owned(), value.to_owned());
        environment.variables.insert(name, value);
    }
    environment
}

async fn get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    ask_plainly(address, &request).await
}

/// The files that are kept, by their beginnings.
fn kept(data: &Path, beginning: &str) -> PathBuf {
    let files = std::fs::read_dir(data.join("certs/acme")).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(beginning)
    };
    paths.find(is_it).unwrap()
}

#[tokio::test]
async fn a_certificate_is_got_with_each_proof() {
    for (kind, by_redirect) in [("http-01", true), ("http-01", false), ("tls-alpn-01", true)] {
        let server = AcmeServer::start().await;
        let data = tempfile::tempdir().unwrap();
        let site = Site::start(&server, data.path(), kind).await;
        // Until it is there, nobody is served, and it is said why.
        within("the questions", server.asked_to_look(2)).await;
        assert_eq!(site.presented(NAME).await, None);
        let waiting = get(site.gateway.redirect, "/").await;
        assert!(waiting.starts_with("HTTP/1.1 503 "), "{waiting}");
        assert!(waiting.contains("there is no certificate yet"), "{waiting}");

        let mut machine = site.machine();
        if !by_redirect {
            machine.http = site.gateway.http;
        }
        server.looks_at(Some(machine));
        site.try_now().await;
        for name in [NAME, OTHER_NAME] {
            let facts = site.presented(name).await.unwrap();
            assert!(facts.covers(&name.parse().unwrap()), "{kind}");
        }
        let config = client(&site.issuer, &[&TLS13]);
        let mut stream = connect(site.gateway.http, NAME, config).await.unwrap();
        let request = format!("GET /health HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
        let answer = ask(&mut stream, &request).await;
        assert!(answer.contains("strict-transport-security"), "{answer}");
        let sent_on = get(site.gateway.redirect, "/a").await;
        assert!(
            sent_on.contains(&format!("location: https://{NAME}/a\r\n")),
            "{sent_on}"
        );
        for beginning in ["account-localhost_", "https.pem"] {
            let mode = std::fs::metadata(kept(data.path(), beginning))
                .unwrap()
                .permissions();
            assert_eq!(mode.mode() & 0o777, 0o600, "{beginning}");
        }
        assert_eq!(server.counts(), (1, 1));
        site.stop().await;
    }
}

/// Proofs are for those who come to look, by their token or name, and only while they are wanted.
#[tokio::test]
async fn nobody_else_is_shown_a_proof() {
    let server = AcmeServer::start().await;
    let data = tempfile::tempdir().unwrap();
    let site = Site::start(&server, data.path(), "tls-alpn-01").await;
    within("the questions", server.asked_to_look(2)).await;
    let port = site.gateway.http;
    let proof = within("a handshake", handshake(port, NAME)).await.unwrap();
    assert_eq!(proof.get_ref().1.peer_certificates().unwrap().len(), 1);
    assert!(
        within("a handshake", handshake(port, "somebody.example"))
            .await
            .is_err()
    );
    assert_eq!(site.presented(NAME).await, None);
    server.looks_at(Some(site.machine()));
    site.try_now().await;
    assert!(within("a handshake", handshake(port, NAME)).await.is_err());
    site.stop().await;

    let server = AcmeServer::start().await;
    let data = tempfile::tempdir().unwrap();
    let site = Site::start(&server, data.path(), "http-01").await;
    within("the questions", server.asked_to_look(2)).await;
    for path in ["", "/", "..", "nothing", "%2e%2e/token-1", "token"] {
        let path = format!("/.well-known/acme-challenge/{path}");
        let answer = get(site.gateway.redirect, &path).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
    }
    site.stop().await;
}

#[tokio::test]
async fn what_is_kept_counts_after_a_restart_and_is_renewed_when_due() {
    let server = AcmeServer::start().await;
    let data = tempfile::tempdir().unwrap();
    // Two thirds of its life are over from the first day on.
    server.gives_certificates_for(70, 20);
    let site = Site::start(&server, data.path(), "http-01").await;
    server.looks_at(Some(site.machine()));
    site.try_now().await;
    let first = site.presented(NAME).await.unwrap();
    site.stop().await;

    // The one from before counts while the next is waited for.
    server.gives_certificates_for(1, 89);
    server.looks_at(None);
    let site = Site::start(&server, data.path(), "http-01").await;
    assert_eq!(site.presented(NAME).await.as_ref(), Some(&first));
    within("the questions", server.asked_to_look(4)).await;
    assert_eq!(site.presented(NAME).await.as_ref(), Some(&first));
    server.looks_at(Some(site.machine()));
    site.try_now().await;
    let second = site.presented(NAME).await.unwrap();
    assert!(second.not_after > first.not_after);
    site.stop().await;

    // That one is good for long.
    let site = Site::start(&server, data.path(), "http-01").await;
    site.try_now().await;
    assert_eq!(site.presented(NAME).await, Some(second));
    assert_eq!(server.counts(), (1, 2));
    site.stop().await;
}

/// A file that cannot be used is no reason to stop, and one that others can read is not used.
#[tokio::test]
async fn files_that_were_tampered_with_are_not_used() {
    let server = AcmeServer::start().await;
    let data = tempfile::tempdir().unwrap();
    let site = Site::start(&server, data.path(), "http-01").await;
    server.looks_at(Some(site.machine()));
    site.try_now().await;
    site.stop().await;
    let (account, pem) = (
        kept(data.path(), "account-"),
        kept(data.path(), "https.pem"),
    );
    let good = std::fs::read(&account).unwrap();

    std::fs::write(&pem, "none").unwrap();
    std::fs::set_permissions(&account, PermissionsExt::from_mode(0o644)).unwrap();
    let (log, _guard) = Log::start();
    let site = Site::start(&server, data.path(), "http-01").await;
    server.looks_at(Some(site.machine()));
    site.try_now().await;
    log.assert_says(&["https.pem: no certificate", "others can read", "chmod 600"]);
    assert_eq!(site.presented(NAME).await, None);

    std::fs::set_permissions(&account, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&account, &good[..good.len() / 2]).unwrap();
    site.try_now().await;
    log.assert_says(&["is no account", "remove it to make another"]);
    assert!(!log.text().contains("key_pkcs8"));

    std::fs::write(&account, &good).unwrap();
    site.try_now().await;
    assert!(site.presented(NAME).await.is_some());
    assert_eq!(server.counts(), (1, 2));
    site.stop().await;
}

/// Each is said with what to do, and the next attempt can succeed.
#[tokio::test]
async fn failures_are_said_and_end_nothing() {
    let server = AcmeServer::start().await;
    let data = tempfile::tempdir().unwrap();
    let (log, _guard) = Log::start();
    server.misbehaves(Some(Fault::Garbage));
    let site = Site::start(&server, data.path(), "http-01").await;
    site.try_now().await;
    log.assert_says(&["a new account", "nobody can come over HTTPS", "next="]);
    server.looks_at(Some(site.machine()));
    for (fault, words) in [
        (Fault::Endless, ["too long", "a new account"]),
        (Fault::TooManyOrders, ["rateLimited", "too many new orders"]),
        (Fault::Forgetful, ["does not know our account", "remove"]),
        (Fault::DnsOnly, ["offers no http-01", "tls.acme_challenge"]),
        (Fault::OtherNames, ["somebody.example", "cannot be used"]),
        (Fault::Ended, ["cannot be used", "until"]),
    ] {
        server.misbehaves(Some(fault));
        site.try_now().await;
        log.assert_says(&words);
        assert_eq!(site.presented(NAME).await, None, "{fault:?}");
        let alive = get(site.gateway.http, "/").await;
        assert!(alive.starts_with("HTTP/1.1 503 "), "{fault:?}: {alive}");
    }
    server.misbehaves(None);
    // A port where nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = closed.local_addr().unwrap();
    drop(closed);
    server.looks_at(Some(Machine {
        http,
        ..site.machine()
    }));
    site.try_now().await;
    log.assert_says(&["could not see", NAME, "refused", "port 80"]);
    server.looks_at(Some(site.machine()));
    site.try_now().await;
    assert!(site.presented(NAME).await.is_some());
    site.stop().await;
}

/// Some authorities take only those whom they know.
#[tokio::test]
async fn an_account_is_bound_to_another_where_that_is_demanded() {
    let server = AcmeServer::start().await;
    server.knows_only("customer-7", b"a secret of theirs");
    let data = tempfile::tempdir().unwrap();
    let (log, _guard) = Log::start();
    let site = Site::start(&server, data.path(), "http-01").await;
    site.try_now().await;
    log.assert_says(&["tls.acme_eab_id", "tls.acme_eab_key"]);
    assert_eq!(server.counts(), (0, 0));
    site.stop().await;

    let key = "YSBzZWNyZXQgb2YgdGhlaXJz";
    let binding = [("ACME_EAB_ID", "customer-7"), ("ACME_EAB_KEY", key)];
    let site = Site::start_with(&server, data.path(), "http-01", &binding).await;
    server.looks_at(Some(site.machine()));
    site.try_now().await;
    assert!(site.presented(NAME).await.is_some());
    assert_eq!(server.counts().0, 1);
    assert!(!log.text().contains(key));
    site.stop().await;
}

#[tokio::test]
async fn the_doctor_asks_the_authority() {
    let server = AcmeServer::start().await;
    let data = tempfile::tempdir().unwrap();
    let mut settings = settings(&server, data.path(), "http-01");
    for name in ["HTTP_LISTEN", "SIGNALING_LISTEN", "MQTT_LISTEN"] {
        let (name, value) = (format!("APIARY_{name}"), "127.0.0.1:0".to_owned());
        settings.variables.insert(name, value);
    }
    let about = |report: &apiary::check::Report, subject: &str| {
        let finding = report
            .findings
            .iter()
            .find(|finding| finding.subject == subject);
        finding
            .map(|finding| (finding.severity, finding.text.clone()))
            .unwrap()
    };
    let report = examine(None, &settings).await;
    assert_eq!(about(&report, "tls.acme_directory").0, Severity::Good);
    assert!(about(&report, "tls").1.contains("no certificate yet"));
    assert!(about(&report, "tls.acme_challenge").1.contains("port 80"));
    server.misbehaves(Some(Fault::Garbage));
    let report = examine(None, &settings).await;
    let (severity, text) = about(&report, "tls.acme_directory");
    assert_eq!(severity, Severity::Problem);
    assert!(text.contains("no ACME server"), "{text}");
}

/// What the program says.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Of this thread, which is the whole of a test.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Since it was last asked.
    #[track_caller]
    fn assert_says(&self, words: &[&str]) {
        let text = self.text();
        for word in words {
            assert!(text.contains(word), "`{word}` is not in: {text}");
        }
        self.0.lock().unwrap().clear();
    }
}

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
