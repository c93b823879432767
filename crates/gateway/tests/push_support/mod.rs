//! A push service that answers as it is told, and browsers that read what comes: the other side of RFC 8291 and RFC 8292.

#![allow(dead_code)] // each test file uses its part

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use apiary::config::Config;
use apiary::config::values::IpNetwork;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::signature::{self, ECDSA_P256_SHA256_FIXED};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::http_support::within;

/// Lets the program send to this machine.
pub(crate) fn allow_this_machine(config: &mut Config) {
    config.push.allow_private = vec![IpNetwork::new([127, 0, 0, 0].into(), 8).unwrap()];
}

/// What a push service answers, and how long it asks to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode(pub(crate) StatusCode, pub(crate) Option<u64>);

pub(crate) const TAKE: Mode = Mode(StatusCode::CREATED, None);

/// Something that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) mode: Mode,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// A push service.
pub(crate) struct PushService {
    pub(crate) address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    heard: watch::Sender<Vec<Message>>,
}

type ServiceState = (Arc<Mutex<Mode>>, watch::Sender<Vec<Message>>);

impl PushService {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let service = Self {
            address: listener.local_addr().unwrap(),
            mode: Arc::new(Mutex::new(TAKE)),
            heard: watch::Sender::new(Vec::new()),
        };
        let state: ServiceState = (Arc::clone(&service.mode), service.heard.clone());
        let router = Router::new().fallback(take).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// All that was sent so far.
    pub(crate) fn heard(&self) -> Vec<Message> {
        self.heard.borrow().clone()
    }

    /// Waits until so many messages came.
    pub(crate) async fn until(&self, count: usize) -> Vec<Message> {
        let mut heard = self.heard.subscribe();
        within(&format!("message {count}"), async {
            let heard = heard.wait_for(|heard| heard.len() >= count).await;
            heard.unwrap().clone()
        })
        .await
    }
}

async fn take(
    State((mode, heard)): State<ServiceState>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mode = *mode.lock().unwrap();
    heard.send_modify(|heard| {
        heard.push(Message {
            path: uri.path().to_owned(),
            headers,
            body,
            mode,
        });
    });
    match mode.1 {
        None => mode.0.into_response(),
        Some(seconds) => (mode.0, [("retry-after", seconds.to_string())]).into_response(),
    }
}

/// A browser that has subscribed.
pub(crate) struct Browser {
    pub(crate) endpoint: String,
    private: PrivateKey,
    public: Vec<u8>,
    auth: [u8; 16],
}

impl Browser {
    pub(crate) fn new(service: &PushService, name: &str) -> Self {
        let private = PrivateKey::generate(&ECDH_P256).unwrap();
        let mut auth = [0; 16];
        aws_lc_rs::rand::fill(&mut auth).unwrap();
        Self {
            endpoint: format!("http://{}/send/{name}", service.address),
            public: private.compute_public_key().unwrap().as_ref().to_vec(),
            private,
            auth,
        }
    }

    pub(crate) fn subscription(&self) -> Value {
        let keys = json!({"p256dh": BASE64.encode(&self.public), "auth": BASE64.encode(self.auth)});
        json!({"endpoint": self.endpoint, "keys": keys, "name": "Firefox, Linux"})
    }

    /// Whether a message is for it.
    pub(crate) fn is_meant(&self, message: &Message) -> bool {
        self.endpoint.ends_with(&message.path)
    }

    /// What a message says, as RFC 8188 §2 and RFC 8291 §3 have it read.
    pub(crate) fn read(&self, message: &Message) -> Value {
        assert_eq!(message.header("content-encoding"), "aes128gcm");
        let (salt, rest) = message.body.split_at(16);
        let (head, rest) = rest.split_at(5);
        let record_size = u32::from_be_bytes(head[..4].try_into().unwrap());
        let (sender, sealed) = rest.split_at(usize::from(head[4]));
        assert!(sealed.len() < usize::try_from(record_size).unwrap());
        let theirs = UnparsedPublicKey::new(&ECDH_P256, sender);
        let info = [b"WebPush: info\0", &self.public[..], sender];
        let key = agree(&self.private, theirs, (), |shared| {
            let prk = Salt::new(HKDF_SHA256, &self.auth).extract(shared);
            Ok(expand::<32>(&prk, &info))
        });
        let prk = Salt::new(HKDF_SHA256, salt).extract(&key.unwrap());
        let key = expand::<16>(&prk, &[b"Content-Encoding: aes128gcm\0"]);
        let nonce = expand::<12>(&prk, &[b"Content-Encoding: nonce\0"]);
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = key.open_in_place(nonce, Aad::empty(), &mut sealed).unwrap();
        let (last, text) = opened.split_last().unwrap();
        assert_eq!(*last, 2, "the last record");
        serde_json::from_slice(text).unwrap()
    }
}

struct Octets(usize);

impl KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const LEN: usize>(prk: &Prk, info: &[&[u8]]) -> [u8; LEN] {
    let mut out = [0; LEN];
    let material = prk.expand(info, Octets(LEN)).unwrap();
    material.fill(&mut out).unwrap();
    out
}

/// Who a message says that sent it: its claims, and the key that it is signed with.
pub(crate) fn sender(message: &Message) -> (Value, String) {
    let header = message.header("authorization");
    let (token, key) = header
        .strip_prefix("vapid t=")
        .and_then(|rest| rest.split_once(", k="))
        .unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let public = BASE64.decode(key).unwrap();
    signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public)
        .verify(signed.as_bytes(), &BASE64.decode(signature).unwrap())
        .unwrap();
    let claims = signed.split_once('.').unwrap().1;
    let claims = serde_json::from_slice(&BASE64.decode(claims).unwrap()).unwrap();
    (claims, key.to_owned())
}
