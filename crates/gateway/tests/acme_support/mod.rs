//! A small ACME server (RFC 8555): it checks who signed a request and that no nonce is used twice, looks for itself whether
//! names are the machine they should be, and signs certificates. It can be told to misbehave.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod jws;
mod looks;

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use apiary::tls::bundle::Bundle;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jiff::Timestamp;
use jws::{AccountKey, External, Signed};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa,
    KeyPair, SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) use looks::handshake;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where it finds the machine that all names are, whatever ports it should come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
}

/// How it misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No order is taken.
    TooManyOrders,
    /// Accounts are forgotten.
    Forgetful,
    /// Answers are no JSON.
    Garbage,
    /// Answers have no end.
    Endless,
    /// Certificates are for somebody else.
    OtherNames,
    /// Certificates have ended.
    Ended,
    /// Only the other proof is offered.
    DnsOnly,
}

/// The running server.
pub(crate) struct AcmeServer {
    /// For `tls.acme_directory`.
    pub(crate) directory: String,
    /// For `tls.acme_ca`.
    pub(crate) ca: PathBuf,
    /// What it signs with.
    pub(crate) issuer: PathBuf,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

struct Shared {
    base: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
    machine: watch::Sender<Option<Machine>>,
    /// How many proofs it was asked to look at.
    looks: watch::Sender<usize>,
    state: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    fault: Option<Fault>,
    /// Days before now and after it.
    life: (u32, u32),
    next: usize,
    nonces: HashSet<String>,
    /// Who may have an account, where it is not everybody.
    external: Option<External>,
    accounts: Vec<AccountKey>,
    orders: Vec<Order>,
}

struct Order {
    account: usize,
    authorizations: Vec<Authorization>,
    certificate: Option<String>,
}

struct Authorization {
    name: String,
    token: String,
    /// What was found when it was looked.
    found: Option<Result<(), String>>,
}

impl AcmeServer {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut bundle = Bundle::open(dir.path(), false, Timestamp::now()).unwrap();
        let (cert, key) = bundle.https(&["localhost".parse().unwrap()]).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let issuer_file = dir.path().join("issuer.crt");
        std::fs::write(&issuer_file, issuer.pem()).unwrap();
        let shared = Arc::new(Shared {
            base: base.clone(),
            issuer,
            machine: watch::Sender::new(None),
            looks: watch::Sender::new(0),
            state: Mutex::new(Kept {
                life: (1, 89),
                ..Kept::default()
            }),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let listener = Listener {
            acceptor: acceptor(&cert, &key),
            listener,
        };
        Self {
            directory: format!("{base}/directory"),
            ca: dir.path().join("ca.crt"),
            issuer: issuer_file,
            shared,
            task: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
            _dir: dir,
        }
    }

    /// Looks there; it waits with looking until it is told.
    pub(crate) fn looks_at(&self, machine: Option<Machine>) {
        self.shared.machine.send_replace(machine);
    }

    /// Until it was asked to look so often.
    pub(crate) async fn asked_to_look(&self, times: usize) {
        let mut looks = self.shared.looks.subscribe();
        looks.wait_for(|looks| *looks >= times).await.unwrap();
    }

    pub(crate) fn misbehaves(&self, fault: Option<Fault>) {
        self.shared.state().fault = fault;
    }

    /// Certificates have been valid for so many days, and are for so many more.
    pub(crate) fn gives_certificates_for(&self, past: u32, coming: u32) {
        self.shared.state().life = (past, coming);
    }

    /// Only the holder of that key may have an account.
    pub(crate) fn knows_only(&self, id: &str, key: &[u8]) {
        self.shared.state().external = Some((id.to_owned(), key.to_owned()));
    }

    /// How many accounts and orders there have been.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.shared.state();
        (state.accounts.len(), state.orders.len())
    }
}

impl Drop for AcmeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Kept> {
        self.state.lock().unwrap()
    }

    fn url(&self, path: impl std::fmt::Display) -> String {
        format!("{}{path}", self.base)
    }
}

impl Kept {
    fn unique(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn nonce(&mut self) -> HeaderValue {
        let nonce = format!("nonce-{}", self.unique());
        self.nonces.insert(nonce.clone());
        nonce.try_into().unwrap()
    }
}

fn acceptor(cert: &PathBuf, key: &PathBuf) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

struct Listener {
    acceptor: TlsAcceptor,
    listener: TcpListener,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What a request is answered; an error is a problem document.
type Answer = Result<(StatusCode, Option<String>, Value), Problem>;

struct Problem(StatusCode, &'static str, String);

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let fault = shared.state().fault;
    if fault == Some(Fault::Garbage) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "<html>oops</html>").into_response();
    }
    if fault == Some(Fault::Endless) {
        return " ".repeat(3 << 20).into_response();
    }
    let answered = if method == Method::POST {
        signed(&shared, uri.path(), &body)
    } else {
        Ok((StatusCode::OK, None, directory(&shared)))
    };
    let mut headers = HeaderMap::new();
    headers.insert("replay-nonce", shared.state().nonce());
    match answered {
        Ok((status, location, Value::String(chain))) => {
            assert!(location.is_none());
            (status, headers, chain).into_response()
        }
        Ok((status, location, value)) => {
            if let Some(location) = location {
                headers.insert("location", location.try_into().unwrap());
            }
            (status, headers, value.to_string()).into_response()
        }
        Err(Problem(status, kind, detail)) => {
            let kind = format!("urn:ietf:params:acme:error:{kind}");
            let problem = json!({"type": kind, "detail": detail});
            (status, headers, problem.to_string()).into_response()
        }
    }
}

fn directory(shared: &Shared) -> Value {
    json!({
        "newNonce": shared.url("/nonce"),
        "newAccount": shared.url("/account"),
        "newOrder": shared.url("/order"),
    })
}

fn malformed(detail: &str) -> Problem {
    Problem(StatusCode::BAD_REQUEST, "malformed", detail.to_owned())
}

/// Finds out who asks, and for what.
fn signed(shared: &Arc<Shared>, path: &str, body: &[u8]) -> Answer {
    let request = Signed::parse(body).ok_or_else(|| malformed("no JWS"))?;
    let nonce = request.header["nonce"].as_str().unwrap_or_default();
    if !shared.state().nonces.remove(nonce) {
        let detail = "this nonce was never given, or used before".to_owned();
        return Err(Problem(StatusCode::BAD_REQUEST, "badNonce", detail));
    }
    if request.header["url"] != shared.url(path) {
        return Err(malformed("signed for another URL"));
    }
    if path == "/account" {
        return new_account(shared, &request);
    }
    let kid = request.header["kid"].as_str().unwrap_or_default();
    let known = kid.strip_prefix(&shared.url("/account/"));
    let account: usize = known
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| malformed("no kid"))?;
    let key = shared.state().accounts.get(account).cloned();
    let is_known = shared.state().fault != Some(Fault::Forgetful);
    let Some(key) = key.filter(|_| is_known) else {
        let detail = "no such account".to_owned();
        let kind = "accountDoesNotExist";
        return Err(Problem(StatusCode::BAD_REQUEST, kind, detail));
    };
    if !request.is_by(&key) {
        return Err(malformed("the signature is another's"));
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let number = |part: &str| part.parse::<usize>().map_err(|_| malformed("no number"));
    match parts[..] {
        ["order"] => new_order(shared, account, &request.payload),
        ["order", order] => of(shared, account, number(order)?, |order, at| {
            Ok(order.describe(shared, at))
        }),
        ["authorization", order, at] => {
            let (number, at) = (number(order)?, number(at)?);
            let dns_only = shared.state().fault == Some(Fault::DnsOnly);
            of(shared, account, number, |order, _| {
                Ok(order.authorizations[at]
                    .describe(&shared.url(format!("/challenge/{number}/{at}")), dns_only))
            })
        }
        ["challenge", order, at, kind] => {
            look(shared, &key, (number(order)?, number(at)?), kind.to_owned());
            Ok((
                StatusCode::OK,
                None,
                json!({"type": kind, "url": shared.url(path), "token": "", "status": "processing"}),
            ))
        }
        ["finalize", order] => finalize(shared, account, number(order)?, &request.payload),
        ["certificate", order] => of(shared, account, number(order)?, |order, _| {
            Ok(Value::String(order.certificate.clone().unwrap()))
        }),
        _ => Err(malformed("there is nothing at this path")),
    }
}

fn new_account(shared: &Shared, request: &Signed) -> Answer {
    let key = AccountKey::of(&request.header).ok_or_else(|| malformed("no key"))?;
    if !request.is_by(&key) || request.payload["termsOfServiceAgreed"] != true {
        return Err(malformed("not signed, or not agreed to"));
    }
    let mut state = shared.state();
    if let Some(external) = &state.external {
        let binding = request.payload["externalAccountBinding"].to_string();
        let binding = Signed::parse(binding.as_bytes());
        let is_for_here = |binding: &Signed| binding.header["url"] == shared.url("/account");
        if !binding.is_some_and(|binding| is_for_here(&binding) && binding.binds(&key, external)) {
            let kind = "externalAccountRequired";
            return Err(Problem(StatusCode::FORBIDDEN, kind, String::new()));
        }
    }
    state.accounts.push(key);
    let location = shared.url(format!("/account/{}", state.accounts.len() - 1));
    let description = json!({"status": "valid", "contact": request.payload["contact"]});
    Ok((StatusCode::CREATED, Some(location), description))
}

fn new_order(shared: &Shared, account: usize, payload: &Value) -> Answer {
    let mut state = shared.state();
    if state.fault == Some(Fault::TooManyOrders) {
        let detail = "too many new orders recently".to_owned();
        return Err(Problem(
            StatusCode::TOO_MANY_REQUESTS,
            "rateLimited",
            detail,
        ));
    }
    let mut authorizations = Vec::new();
    for identifier in payload["identifiers"].as_array().unwrap() {
        authorizations.push(Authorization {
            name: identifier["value"].as_str().unwrap().to_owned(),
            token: format!("token-{}", state.unique()),
            found: None,
        });
    }
    let order = Order {
        account,
        authorizations,
        certificate: None,
    };
    let at = state.orders.len();
    let description = order.describe(shared, at);
    state.orders.push(order);
    let location = shared.url(format!("/order/{at}"));
    Ok((StatusCode::CREATED, Some(location), description))
}

/// About an order of that account.
fn of(
    shared: &Shared,
    account: usize,
    at: usize,
    look: impl FnOnce(&Order, usize) -> Result<Value, Problem>,
) -> Answer {
    let state = shared.state();
    let order = state
        .orders
        .get(at)
        .filter(|order| order.account == account);
    let order = order.ok_or_else(|| malformed("no such order"))?;
    Ok((StatusCode::OK, None, look(order, at)?))
}

/// Looks for itself, as soon as it is told where.
fn look(shared: &Arc<Shared>, key: &AccountKey, (order, at): (usize, usize), kind: String) {
    let (name, token) = {
        let state = shared.state();
        let authorization = &state.orders[order].authorizations[at];
        (authorization.name.clone(), authorization.token.clone())
    };
    let (shared, expected) = (Arc::clone(shared), key.key_authorization(&token));
    tokio::spawn(async move {
        shared.looks.send_modify(|looks| *looks += 1);
        let mut machine = shared.machine.subscribe();
        let machine = machine.wait_for(Option::is_some).await.unwrap().unwrap();
        let found = match kind.as_str() {
            "http-01" => looks::http_01(machine.http, &name, &token, &expected).await,
            _ => looks::tls_alpn_01(machine.https, &name, &expected).await,
        };
        shared.state().orders[order].authorizations[at].found = Some(found);
    });
}

fn finalize(shared: &Shared, account: usize, at: usize, payload: &Value) -> Answer {
    let request = BASE64.decode(payload["csr"].as_str().unwrap()).unwrap();
    let mut state = shared.state();
    let (fault, (past, coming)) = (state.fault, state.life);
    let order = &mut state.orders[at];
    let is_ready = order
        .authorizations
        .iter()
        .all(|one| one.found == Some(Ok(())));
    if order.account != account || !is_ready {
        return Err(malformed("the order is not ready"));
    }
    let request = CertificateSigningRequestDer::from(request);
    let mut request = CertificateSigningRequestParams::from_der(&request).unwrap();
    let names: Vec<SanType> = order
        .authorizations
        .iter()
        .map(|one| SanType::DnsName(one.name.as_str().try_into().unwrap()))
        .collect();
    assert_eq!(request.params.subject_alt_names, names);
    let seconds = u64::try_from(Timestamp::now().as_second()).unwrap();
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    request.params.not_before = now - past * DAY;
    request.params.not_after = now + coming * DAY;
    if fault == Some(Fault::Ended) {
        request.params.not_after = now - DAY;
        request.params.not_before = now - 90 * DAY;
    }
    if fault == Some(Fault::OtherNames) {
        let other = "somebody.example".try_into().unwrap();
        request.params.subject_alt_names = vec![SanType::DnsName(other)];
    }
    let chain = request.signed_by(&shared.issuer).unwrap().pem() + &shared.issuer.pem();
    order.certificate = Some(chain);
    Ok((StatusCode::OK, None, order.describe(shared, at)))
}

impl Order {
    fn describe(&self, shared: &Shared, at: usize) -> Value {
        let failed = self
            .authorizations
            .iter()
            .any(|one| matches!(one.found, Some(Err(_))));
        let status = if self.certificate.is_some() {
            "valid"
        } else if failed {
            "invalid"
        } else if self.authorizations.iter().all(|one| one.found.is_some()) {
            "ready"
        } else {
            "pending"
        };
        let authorizations: Vec<String> = (0..self.authorizations.len())
            .map(|authorization| shared.url(format!("/authorization/{at}/{authorization}")))
            .collect();
        let certificate = self
            .certificate
            .as_ref()
            .map(|_| shared.url(format!("/certificate/{at}")));
        json!({
            "status": status,
            "authorizations": authorizations,
            "finalize": shared.url(format!("/finalize/{at}")),
            "certificate": certificate,
        })
    }
}

impl Authorization {
    fn describe(&self, challenge: &str, dns_only: bool) -> Value {
        let (status, error) = match &self.found {
            None => ("pending", Value::Null),
            Some(Ok(())) => ("valid", Value::Null),
            Some(Err(cause)) => (
                "invalid",
                json!({"type": "urn:ietf:params:acme:error:unauthorized", "detail": cause}),
            ),
        };
        let kinds: &[&str] = if dns_only {
            &["dns-01"]
        } else {
            &["http-01", "dns-01", "tls-alpn-01"]
        };
        let challenges: Vec<Value> = kinds
            .iter()
            .map(|kind| {
                json!({
                    "type": kind,
                    "url": format!("{challenge}/{kind}"),
                    "token": self.token,
                    "status": status,
                    "error": error,
                })
            })
            .collect();
        json!({
            "identifier": {"type": "dns", "value": self.name},
            "status": status,
            "challenges": challenges,
        })
    }
}
