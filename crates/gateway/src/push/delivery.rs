//! One attempt: a message, encrypted for one browser and signed by us, to its push service (RFC 8030).

use std::time::Duration;

use apiary_core::push::{BrowserKeys, EncryptError, SALT_LEN, encrypt};
use apiary_store::SubscriptionRow;
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::error::Unspecified;
use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use hyper::http::response;
use hyper::{Request, StatusCode, header};
use jiff::Timestamp;
use url::Url;

use super::vapid::VapidKey;
use crate::auth::NewSubscription;
use crate::config::values::IpNetwork;
use crate::webhooks::address::{AddressError, check_literal};
use crate::webhooks::door::{self, Door, DoorError};

/// Longest address of a browser at its push service.
const MAX_ENDPOINT: usize = 2048;

/// What a browser gave is nothing to send to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSubscription {
    /// Nothing is sent at all.
    #[error("notifications are off (push.enabled)")]
    Off,
    /// Its endpoint.
    #[error("the endpoint {0}")]
    Endpoint(String),
    /// Its keys.
    #[error("p256dh must be a point of P-256 and auth 16 octets, both in base64url")]
    Keys,
}

/// Why an attempt failed. No text names the endpoint: whoever has it can send to the browser.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// What is known of the browser is nothing to send to.
    #[error("this device cannot be sent to: {0}; switch notifications off and on again on it")]
    Subscription(#[from] BadSubscription),
    /// The push service is where nothing may be sent.
    #[error("its push service is not on the internet, and push.allow_private does not allow it")]
    NotAllowed,
    /// No connection, or none that counts.
    #[error(
        "its push service cannot be reached at the moment ({0}); this server must be able to open https:// addresses"
    )]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no such browser any more.
    #[error("its push service knows this device no longer; switch notifications on again on it")]
    Gone,
    /// Later, perhaps.
    #[error("its push service cannot take it at the moment: it answers {0}")]
    Later(StatusCode, Option<Duration>),
    /// No.
    #[error("its push service refuses it: it answers {0}")]
    Refused(StatusCode),
    /// Something that should not happen.
    #[error("the message could not be made")]
    Internal,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    /// For how long a push service keeps it for a browser that is away, in seconds.
    pub(super) ttl_s: u64,
    pub(super) urgency: &'static str,
    /// What takes the place of an earlier one with the same.
    pub(super) topic: Option<&'a str>,
}

/// Sends messages.
pub(super) struct Post {
    pub(super) key: VapidKey,
    pub(super) door: Door,
    /// Networks that are not of the internet where push services may be.
    pub(super) allowed: Vec<IpNetwork>,
    /// Whom push services may ask, where that is not the page at which a browser subscribed.
    pub(super) contact: Option<String>,
}

impl Post {
    /// Whether there is something to send to.
    ///
    /// # Errors
    /// When there is not.
    pub(super) fn check(&self, new: &NewSubscription) -> Result<(), BadSubscription> {
        self.endpoint(&new.endpoint)?;
        let keys = keys(&new.p256dh, &new.auth)?;
        // The point is one of the curve only if one can encrypt for it.
        match sealed(b"", &keys) {
            Ok(_) => Ok(()),
            Err(_) => Err(BadSubscription::Keys),
        }
    }

    /// Sends a message once; done when the push service took it.
    ///
    /// # Errors
    /// When it did not, for whatever reason.
    pub(super) async fn send(
        &self,
        row: &SubscriptionRow,
        message: &[u8],
        manner: Manner<'_>,
    ) -> Result<(), SendError> {
        let endpoint = self.endpoint(&row.endpoint)?;
        let body = sealed(message, &keys(&row.p256dh, &row.auth)?)?;
        let contact = self.contact.as_deref().or(row.site.as_deref());
        let authorization = self.key.authorization(&endpoint, contact, Timestamp::now());
        let mut request = door::post(&endpoint)
            .header(
                AUTHORIZATION,
                authorization.map_err(|_| SendError::Internal)?,
            )
            .header(CONTENT_ENCODING, "aes128gcm")
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, body.len())
            .header("ttl", manner.ttl_s)
            .header("urgency", manner.urgency);
        if let Some(topic) = manner.topic {
            request = request.header("topic", topic);
        }
        let request: Request<Body> = request.body(body.into()).map_err(|_| SendError::Internal)?;
        judge(&self.door.send(&endpoint, request).await?)
    }

    /// Where to send: over TLS and to the port of that, but in networks that are allowed.
    fn endpoint(&self, text: &str) -> Result<Url, BadSubscription> {
        let refuse = |why: String| Err(BadSubscription::Endpoint(why));
        if text.len() > MAX_ENDPOINT {
            return refuse(format!("is longer than {MAX_ENDPOINT} characters"));
        }
        let Ok(url) = Url::parse(text) else {
            return refuse("is no URL".to_owned());
        };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return refuse("has a login or a part after #, which no push service gives".to_owned());
        }
        if self.is_allowed_literal(&url) && ["http", "https"].contains(&url.scheme()) {
            return Ok(url);
        }
        if url.scheme() != "https" || url.port_or_known_default() != Some(443) {
            return refuse("must be an https:// address on port 443".to_owned());
        }
        if let Err(error) = check_literal(&url, &self.allowed) {
            return refuse(format!("is of no push service: {error}"));
        }
        Ok(url)
    }

    /// Whether the host is an address that is let through only because that was set.
    fn is_allowed_literal(&self, url: &Url) -> bool {
        check_literal(url, &[]).is_err() && check_literal(url, &self.allowed).is_ok()
    }
}

/// Encrypts with a salt and a key of its own.
fn sealed(message: &[u8], keys: &BrowserKeys) -> Result<Vec<u8>, SendError> {
    let mut salt = [0; SALT_LEN];
    aws_lc_rs::rand::fill(&mut salt)?;
    let own = PrivateKey::generate(&ECDH_P256)?;
    Ok(encrypt(message, keys, &own, salt)?)
}

fn keys(p256dh: &str, auth: &str) -> Result<BrowserKeys, BadSubscription> {
    fn octets<const LEN: usize>(text: &str) -> Result<[u8; LEN], BadSubscription> {
        let octets = BASE64.decode(text.trim_end_matches('='));
        let octets = octets.map_err(|_| BadSubscription::Keys)?;
        octets.try_into().map_err(|_| BadSubscription::Keys)
    }
    Ok(BrowserKeys {
        public: octets(p256dh)?,
        auth: octets(auth)?,
    })
}

/// What a push service's answer means (RFC 8030 §5, §7.3).
fn judge(answer: &response::Parts) -> Result<(), SendError> {
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    if [StatusCode::NOT_FOUND, StatusCode::GONE].contains(&status) {
        return Err(SendError::Gone);
    }
    if door::may_pass(status) {
        return Err(SendError::Later(status, retry_after(answer)));
    }
    Err(SendError::Refused(status))
}

/// Seconds; a date is not understood and counts as nothing said.
fn retry_after(answer: &response::Parts) -> Option<Duration> {
    let seconds = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

impl From<DoorError> for SendError {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::Address(AddressError::NotPublic { .. }) => Self::NotAllowed,
            DoorError::Address(_) => Self::Unreachable("its name cannot be looked up".into()),
            DoorError::Connect(_) | DoorError::Tls(_) | DoorError::Http(_) | DoorError::Silent => {
                Self::Unreachable(error.into())
            }
        }
    }
}

impl From<EncryptError> for SendError {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::BadKey => Self::Subscription(BadSubscription::Keys),
            EncryptError::TooLong => Self::Internal,
        }
    }
}

impl From<Unspecified> for SendError {
    fn from(_: Unspecified) -> Self {
        Self::Internal
    }
}
