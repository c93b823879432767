//! One attempt: an event, signed, by the [`Door`].

use std::io;

use aws_lc_rs::hmac;
use axum::body::Body;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use jiff::Timestamp;
use url::Url;

use super::address::AddressError;
use super::door::{self, ATTEMPT_TIMEOUT, Door, DoorError};
use crate::config::{ReceiverUrl, WebhooksConfig};
use crate::mqtt::tls::TlsFileError;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// There is no address to send to.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Address(#[from] AddressError),
    /// No connection.
    #[error("no connection: {0}; check host and port, and whether it runs")]
    Connect(#[source] io::Error),
    /// No TLS.
    #[error(
        "TLS fails: {0}; check the receiver's certificate, or webhooks.ca where its authority is your own"
    )]
    Tls(#[source] io::Error),
    /// No HTTP.
    #[error("it does not answer as HTTP demands: {0}")]
    Http(#[source] hyper::Error),
    /// Silence.
    #[error("it did not answer within {} s; it should take events first and work on them later", ATTEMPT_TIMEOUT.as_secs())]
    Silent,
    /// It sends us elsewhere.
    #[error(
        "it answers {0}, and redirects are not followed; write the new address into webhooks.urls"
    )]
    Redirect(StatusCode),
    /// It did not take it.
    #[error("it answers {0}, and not that it took the event (200 to 299); its log says why")]
    Status(StatusCode),
}

impl From<DoorError> for DeliveryError {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::Address(error) => Self::Address(error),
            DoorError::Connect(error) => Self::Connect(error),
            DoorError::Tls(error) => Self::Tls(error),
            DoorError::Http(error) => Self::Http(error),
            DoorError::Silent => Self::Silent,
        }
    }
}

impl DeliveryError {
    /// The receiver understood it and does not want it; another attempt will hardly change that.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Status(status) => status.is_client_error() && !door::may_pass(*status),
            Self::Address(_)
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::Http(_)
            | Self::Silent
            | Self::Redirect(_) => false,
        }
    }
}

/// An event on its way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) body: String,
}

/// Sends events.
pub(super) struct Sender {
    key: hmac::Key,
    door: Door,
}

impl Sender {
    /// As the configuration says.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub(super) fn new(config: &WebhooksConfig) -> Result<Self, TlsFileError> {
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, config.secret.expose().as_bytes()),
            door: Door::new("webhooks.ca", config.ca.as_deref(), &config.allow_private)?,
        })
    }

    /// Sends an event once; done when the receiver took it.
    ///
    /// # Errors
    /// When it did not, for whatever reason.
    pub(super) async fn send(
        &self,
        receiver: &ReceiverUrl,
        message: &Message,
    ) -> Result<StatusCode, DeliveryError> {
        let url = receiver.expose();
        let status = self
            .door
            .send(url, self.request(url, message))
            .await?
            .status;
        if status.is_success() {
            Ok(status)
        } else if status.is_redirection() {
            Err(DeliveryError::Redirect(status))
        } else {
            Err(DeliveryError::Status(status))
        }
    }

    fn request(&self, url: &Url, message: &Message) -> Request<Body> {
        let timestamp = Timestamp::now().as_second();
        let signed = format!("{timestamp}.{}", message.body);
        let signature = hmac::sign(&self.key, signed.as_bytes());
        let signature: String = signature
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        door::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("apiary-event", &message.kind)
            .header("apiary-id", &message.id)
            .header("apiary-timestamp", timestamp)
            .header("apiary-signature", format!("sha256={signature}"))
            .body(Body::from(message.body.clone()))
            .expect("a URL that was parsed and our own texts make a request")
    }
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
