//! A small OpenID provider that can misbehave. It checks what a client sends as strictly as a good one does.

#![allow(dead_code, reason = "shared by tests that need different parts of it")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each place has its own faults"
)]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use apiary::config::OidcConfig;
use apiary::secret::Secret;
use apiary_store::Role;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::extract::{Form, Query, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const CLIENT: &str = "apiary";
/// Has what must be encoded.
pub(crate) const SECRET: &str = "canary:secret of 32 characters+&%";

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    // In the ID token.
    WrongIssuer,
    WrongAudience,
    SeveralAudiences,
    OtherParty,
    WrongNonce,
    NoNonce,
    Expired,
    NoExpiry,
    NotYet,
    NoSubject,
    LongSubject,
    AlgNone,
    HmacBySecret,
    HmacByPublicKey,
    UnknownKey,
    ForeignKey,
    Changed,
    // At its other ends.
    NoToken,
    TokenGarbage,
    NoKeys,
    KeysGarbage,
    Refuses,
    OtherIssuerParameter,
    NoIssuerParameter,
    // In its description.
    Away,
    Garbage,
    Redirects,
    OtherName,
    NoPkce,
    Insecure,
    NoClientAuth,
}

type Params = HashMap<String, String>;
/// Signs an ID token.
type Sign = Box<dyn FnOnce(&[u8]) -> Vec<u8>>;

/// The provider on a port of its own.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    issuer: String,
    state: Mutex<Conduct>,
}

struct Conduct {
    fault: Option<Fault>,
    key: Arc<Key>,
    /// What the ID token says beside what it must.
    person: Value,
    codes: HashMap<String, Params>,
    /// How the client shows its secret; `None` where it is public.
    client_auth: Option<&'static str>,
    exchanges: usize,
}

struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &str) -> Arc<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Arc::new(Self {
            id: id.to_owned(),
            pair,
        })
    }

    fn jwk(&self) -> Value {
        let point = &self.pair.public_key().as_ref()[1..];
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "alg": "ES256",
            "x": BASE64.encode(&point[..32]), "y": BASE64.encode(&point[32..])})
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        // Another site than the gateway at 127.0.0.1 is, to a browser.
        let issuer = format!("http://localhost:{}/realms/hive", address.port());
        let shared = Arc::new(Shared {
            issuer: issuer.clone(),
            state: Mutex::new(Conduct {
                fault: None,
                key: Key::new("first"),
                person: json!({"sub": "1234", "preferred_username": "maya", "groups": ["bees"]}),
                codes: HashMap::new(),
                client_auth: None,
                exchanges: 0,
            }),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/authorize", get(authorize))
            .route("/consent", get(consent))
            .route("/token", post(token))
            .route("/keys", get(keys));
        let router = Router::new()
            .nest("/realms/hive", routes)
            .with_state(Arc::clone(&shared));
        let serving = async { axum::serve(listener, router).await.unwrap() };
        Self {
            issuer,
            shared,
            task: tokio::spawn(serving),
        }
    }

    pub(crate) fn misbehave(&self, fault: impl Into<Option<Fault>>) {
        self.shared.lock().fault = fault.into();
    }

    /// What the ID token says from now on.
    pub(crate) fn person(&self, person: Value) {
        self.shared.lock().person = person;
    }

    pub(crate) fn rotate_keys(&self) {
        self.shared.lock().key = Key::new("second");
    }

    /// By `client_secret_basic` or `client_secret_post`.
    pub(crate) fn wants_secret(&self, by: &'static str) {
        self.shared.lock().client_auth = Some(by);
    }

    /// How often a code was to be exchanged.
    pub(crate) fn exchanges(&self) -> usize {
        self.shared.lock().exchanges
    }

    /// How a gateway is set to use it.
    pub(crate) fn settings(&self) -> OidcConfig {
        let secret = self.shared.lock().client_auth.map(|_| Secret::new(SECRET));
        let roles = [
            ("bees", Role::Viewer),
            ("workers", Role::Operator),
            ("keepers", Role::Admin),
        ];
        OidcConfig {
            issuer: self.issuer.clone(),
            client_id: CLIENT.to_owned(),
            client_secret: secret,
            redirect_url: None,
            scopes: vec!["openid".to_owned(), "profile".to_owned()],
            name: "Hive & Home".to_owned(),
            username_claim: "preferred_username".to_owned(),
            role_claim: "groups".to_owned(),
            roles: roles.map(|(group, role)| (group.to_owned(), role)).into(),
            default_role: None,
            ca: None,
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Conduct> {
        self.state.lock().unwrap()
    }

    fn fault(&self) -> Option<Fault> {
        self.lock().fault
    }
}

async fn describe(State(shared): State<Arc<Shared>>) -> Response {
    let issuer = &shared.issuer;
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "authorization_response_iss_parameter_supported": true,
    });
    let (fault, client_auth) = {
        let state = shared.lock();
        (state.fault, state.client_auth)
    };
    if let Some(by) = client_auth {
        document["token_endpoint_auth_methods_supported"] = json!([by]);
    }
    match fault {
        Some(Fault::Away) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Fault::Garbage) => return Html("<html>").into_response(),
        Some(Fault::Redirects) => return Redirect::temporary("/elsewhere").into_response(),
        Some(Fault::OtherName) => document["issuer"] = json!(format!("{issuer}/")),
        Some(Fault::NoPkce) => document["code_challenge_methods_supported"] = json!(["plain"]),
        Some(Fault::Insecure) => document["token_endpoint"] = json!("http://id.example/token"),
        Some(Fault::NoClientAuth) => {
            document["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
        }
        _ => {}
    }
    Json(document).into_response()
}

/// Where somebody who is logged in there agrees.
async fn authorize(Query(params): Query<Params>) -> Html<String> {
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("code_challenge_method", "S256"),
        ("scope", "openid profile"),
    ] {
        assert_eq!(params.get(name).map(String::as_str), Some(value), "{name}");
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&params)
        .finish();
    Html(format!(
        "<title>Provider</title><a id=\"yes\" href=\"consent?{query}\">Go on as Maya</a>"
    ))
}

async fn consent(State(shared): State<Arc<Shared>>, Query(params): Query<Params>) -> Redirect {
    let mut back = url::Url::parse(&params["redirect_uri"]).unwrap();
    let mut state = shared.lock();
    let mut query = back.query_pairs_mut();
    query.append_pair("state", &params["state"]);
    query.append_pair("session_state", "of no interest");
    match state.fault {
        Some(Fault::OtherIssuerParameter) => {
            query.append_pair("iss", "https://evil.example");
        }
        Some(Fault::NoIssuerParameter) => {}
        _ => {
            query.append_pair("iss", &shared.issuer);
        }
    }
    if state.fault == Some(Fault::Refuses) {
        query.append_pair("error", "access_denied");
        query.append_pair("error_description", "<b>no</b>");
    } else {
        let code = format!("code {}&{}", state.codes.len(), params["state"]);
        query.append_pair("code", &code);
        state.codes.insert(code, params.clone());
    }
    drop(query);
    Redirect::to(back.as_str())
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    match shared.fault() {
        Some(Fault::NoKeys) => StatusCode::NOT_FOUND.into_response(),
        Some(Fault::KeysGarbage) => "{".into_response(),
        _ => {
            let key = Arc::clone(&shared.lock().key);
            Json(json!({"keys": [key.jwk()]})).into_response()
        }
    }
}

async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<Params>,
) -> Response {
    let mut state = shared.lock();
    state.exchanges += 1;
    let refuse =
        |error: &str| (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response();
    if !is_client(state.client_auth, &headers, &form) {
        return refuse("invalid_client");
    }
    // A code is good once, for who began, by the way that was begun.
    let Some(begun) = form.get("code").and_then(|code| state.codes.remove(code)) else {
        return refuse("invalid_grant");
    };
    let challenge = form
        .get("code_verifier")
        .map(|verifier| BASE64.encode(digest(&SHA256, verifier.as_bytes())));
    if challenge.as_ref() != begun.get("code_challenge")
        || form.get("redirect_uri") != begun.get("redirect_uri")
        || form["grant_type"] != "authorization_code"
    {
        return refuse("invalid_grant");
    }
    match state.fault {
        Some(Fault::NoToken) => Json(json!({"access_token": "of no use"})).into_response(),
        Some(Fault::TokenGarbage) => "<html>".into_response(),
        fault => {
            let token = id_token(&shared.issuer, &state, &begun["nonce"], fault);
            Json(json!({"access_token": "of no use", "token_type": "Bearer", "id_token": token}))
                .into_response()
        }
    }
}

fn is_client(by: Option<&'static str>, headers: &HeaderMap, form: &Params) -> bool {
    let in_form = |name: &str| form.get(name).map(String::as_str);
    let basic = headers
        .get(AUTHORIZATION)
        .map(|value| value.to_str().unwrap().to_owned());
    match by {
        None => {
            in_form("client_id") == Some(CLIENT)
                && in_form("client_secret").is_none()
                && basic.is_none()
        }
        Some("client_secret_post") => {
            in_form("client_id") == Some(CLIENT)
                && in_form("client_secret") == Some(SECRET)
                && basic.is_none()
        }
        Some(_) => {
            let encoded =
                url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect::<String>();
            basic
                == Some(format!(
                    "Basic {}",
                    STANDARD.encode(format!("{CLIENT}:{encoded}"))
                ))
                && in_form("client_secret").is_none()
        }
    }
}

fn id_token(issuer: &str, state: &Conduct, nonce: &str, fault: Option<Fault>) -> String {
    let now = Timestamp::now().as_second();
    let mut claims =
        json!({"iss": issuer, "aud": CLIENT, "exp": now + 60, "iat": now, "nonce": nonce});
    let person = state.person.as_object().unwrap().clone();
    claims.as_object_mut().unwrap().extend(person);
    let mut header = json!({"alg": "ES256", "kid": state.key.id, "typ": "JWT"});
    let mut key = Arc::clone(&state.key);
    let take = |claims: &mut Value, claim| _ = claims.as_object_mut().unwrap().remove(claim);
    match fault {
        Some(Fault::WrongIssuer) => claims["iss"] = json!(format!("{issuer}/")),
        Some(Fault::WrongAudience) => claims["aud"] = json!("another"),
        Some(Fault::SeveralAudiences) => claims["aud"] = json!([CLIENT, "another"]),
        Some(Fault::OtherParty) => {
            claims["aud"] = json!([CLIENT, "another"]);
            claims["azp"] = json!("another");
        }
        Some(Fault::WrongNonce) => claims["nonce"] = json!("of another login"),
        Some(Fault::NoNonce) => take(&mut claims, "nonce"),
        Some(Fault::Expired) => claims["exp"] = json!(now - 60),
        Some(Fault::NoExpiry) => take(&mut claims, "exp"),
        Some(Fault::NotYet) => claims["nbf"] = json!(now + 120),
        Some(Fault::NoSubject) => take(&mut claims, "sub"),
        Some(Fault::LongSubject) => claims["sub"] = json!("x".repeat(256)),
        Some(Fault::UnknownKey) => header["kid"] = json!("unknown"),
        Some(Fault::ForeignKey) => key = Key::new(&state.key.id),
        _ => {}
    }
    let mut sign: Sign = Box::new(move |text| {
        let random = SystemRandom::new();
        key.pair.sign(&random, text).unwrap().as_ref().to_vec()
    });
    let hmac_by = |secret: Vec<u8>| -> Sign {
        Box::new(move |text| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            hmac::sign(&key, text).as_ref().to_vec()
        })
    };
    match fault {
        Some(Fault::AlgNone) => {
            header["alg"] = json!("none");
            sign = Box::new(|_| Vec::new());
        }
        Some(Fault::HmacBySecret) => {
            header["alg"] = json!("HS256");
            sign = hmac_by(SECRET.into());
        }
        Some(Fault::HmacByPublicKey) => {
            header["alg"] = json!("HS256");
            sign = hmac_by(state.key.pair.public_key().as_ref().into());
        }
        _ => {}
    }
    let part = |value: &Value| BASE64.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(&claims));
    let signature = BASE64.encode(sign(text.as_bytes()));
    if fault == Some(Fault::Changed) {
        claims["groups"] = json!(["keepers"]);
        return format!("{}.{}.{signature}", part(&header), part(&claims));
    }
    format!("{text}.{signature}")
}
