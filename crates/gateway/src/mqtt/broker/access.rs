//! Who may be a client of the embedded broker, and what each may say and hear. Decisions only; who asks is `admission`.
//!
//! A camera publishes its own messages and hears its own commands. The program's own client may do everything. Others
//! are refused unless `mqtt.extra_clients` names them.

use std::collections::HashSet;

use apiary_wire::CameraId;
use apiary_wire::camera::DEVICE_TYPE;
use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::config::{Credentials, ExtraClient, MqttConfig};

/// Most levels of a topic or filter. Cameras' have seven; the broker compares them level by level with every subscription.
const MAX_LEVELS: usize = 200;
/// Kinds of messages that cameras publish: `prod/device/KIND/hive-cam/ID/…`.
const MESSAGE_KINDS: [&str; 3] = ["connection", "status", "message"];

/// The rules that hold now. A reload replaces the whole.
#[derive(Debug, Default)]
pub(super) struct Policy {
    own: Option<Credentials>,
    extra: Vec<ExtraClient>,
    revoked: HashSet<String>,
    revoked_cameras: HashSet<CameraId>,
}

/// How a connection came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Without TLS: nobody vouches for its client id.
    Plain,
    /// With a certificate that `mqtt.ca` signed.
    Certified(CertificateName),
}

/// The common name of a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CertificateName {
    /// A camera's id: the certificate is this camera's alone.
    Camera(CameraId),
    /// Anything else: the certificate is an extra client's, or shared by cameras.
    Other(String),
}

/// Who a client was found to be when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// This program.
    Own,
    /// A camera.
    Camera(CameraId),
    /// One of `mqtt.extra_clients`, by its name.
    Extra(String),
}

/// Why a client is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("its client id is neither a camera id nor named in mqtt.extra_clients")]
    Stranger,
    #[error("its certificate is that of camera {0}, and its client id is another")]
    AnothersCertificate(CameraId),
    #[error(
        "a client of mqtt.extra_clients needs a certificate with its name as common name, and its certificate has another"
    )]
    NotItsCertificate,
    #[error("mqtt.revoked names it, or its certificate")]
    Revoked,
    #[error("it gives the user name of this program's own client with another password")]
    Password,
    #[error("its last will is on a topic that it may not publish on")]
    Will,
    #[error("mqtt.max_clients is reached")]
    Full,
}

impl Policy {
    pub(super) fn new(config: &MqttConfig) -> Self {
        let revoked = &config.access.revoked;
        Self {
            own: config.credentials.clone(),
            extra: config.access.extra_clients.clone(),
            revoked: revoked.iter().cloned().collect(),
            revoked_cameras: revoked
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
        }
    }

    /// The rules of another configuration, with the login that is in use.
    pub(super) fn reloaded(&self, config: &MqttConfig) -> Self {
        Self {
            own: self.own.clone(),
            ..Self::new(config)
        }
    }

    /// Decides who a client is that connects.
    pub(super) fn admit(
        &self,
        peer: &Peer,
        client_id: &str,
        login: Option<(&str, &[u8])>,
    ) -> Result<Client, Refusal> {
        if let (Some(own), Some((username, password))) = (&self.own, login)
            && own.username == username
        {
            let secret = own.password.as_ref().map_or("", |secret| secret.expose());
            return verify_slices_are_equal(secret.as_bytes(), password)
                .map(|()| Client::Own)
                .map_err(|_| Refusal::Password);
        }
        let client = match client_id.parse::<CameraId>() {
            Ok(camera) => Client::Camera(camera),
            Err(_) if self.extra(client_id).is_some() => Client::Extra(client_id.to_owned()),
            Err(_) => return Err(Refusal::Stranger),
        };
        self.vouched(peer, &client)?;
        match self.is_revoked(peer, &client) {
            true => Err(Refusal::Revoked),
            false => Ok(client),
        }
    }

    /// A certificate of one camera or one extra client is good for nobody else; any other is good for every camera.
    fn vouched(&self, peer: &Peer, client: &Client) -> Result<(), Refusal> {
        match (peer, client) {
            (Peer::Plain, _) | (Peer::Certified(_), Client::Own) => Ok(()),
            (Peer::Certified(CertificateName::Camera(owner)), client) => {
                match *client == Client::Camera(*owner) {
                    true => Ok(()),
                    false => Err(Refusal::AnothersCertificate(*owner)),
                }
            }
            (Peer::Certified(CertificateName::Other(name)), Client::Camera(_)) => {
                match self.extra(name) {
                    None => Ok(()),
                    Some(_) => Err(Refusal::NotItsCertificate),
                }
            }
            (Peer::Certified(CertificateName::Other(name)), Client::Extra(client)) => {
                match name == client {
                    true => Ok(()),
                    false => Err(Refusal::NotItsCertificate),
                }
            }
        }
    }

    fn is_revoked(&self, peer: &Peer, client: &Client) -> bool {
        if *client == Client::Own {
            return false;
        }
        let by_certificate = match peer {
            Peer::Plain => false,
            Peer::Certified(CertificateName::Camera(owner)) => self.revoked_cameras.contains(owner),
            Peer::Certified(CertificateName::Other(name)) => self.revoked.contains(name),
        };
        by_certificate
            || match client {
                Client::Own => false,
                Client::Camera(camera) => self.revoked_cameras.contains(camera),
                Client::Extra(name) => self.revoked.contains(name),
            }
    }

    /// Whether a client that was admitted under older rules would be under these.
    pub(super) fn may_stay(&self, peer: &Peer, client: &Client) -> bool {
        let is_known = match client {
            Client::Own | Client::Camera(_) => true,
            Client::Extra(name) => self.extra(name).is_some(),
        };
        is_known && self.vouched(peer, client).is_ok() && !self.is_revoked(peer, client)
    }

    /// Whether a client may publish on a topic.
    pub(super) fn may_publish(&self, client: &Client, topic: &str) -> bool {
        if has_too_many_levels(topic) {
            return false;
        }
        match client {
            Client::Own => true,
            Client::Camera(camera) => is_message_of(*camera, topic),
            Client::Extra(name) => self
                .extra(name)
                .is_some_and(|extra| extra.write.iter().any(|filter| filter.matches(topic))),
        }
    }

    /// Whether a client may subscribe to a filter: only where it may hear every topic that the filter matches.
    pub(super) fn may_subscribe(&self, client: &Client, filter: &str) -> bool {
        if has_too_many_levels(filter) {
            return false;
        }
        match client {
            Client::Own => true,
            Client::Camera(camera) => is_command_filter_of(*camera, filter),
            Client::Extra(name) => self.extra(name).is_some_and(|extra| {
                unshared(filter)
                    .is_some_and(|filter| extra.read.iter().any(|rule| rule.covers(filter)))
            }),
        }
    }

    /// The cameras that are revoked.
    pub(super) fn revoked_cameras(&self) -> &HashSet<CameraId> {
        &self.revoked_cameras
    }

    fn extra(&self, name: &str) -> Option<&ExtraClient> {
        self.extra.iter().find(|extra| extra.name == name)
    }
}

fn has_too_many_levels(topic: &str) -> bool {
    topic.split('/').nth(MAX_LEVELS).is_some()
}

/// `prod/device/KIND/hive-cam/ID` and everything below.
fn is_message_of(camera: CameraId, topic: &str) -> bool {
    let mut levels = topic.split('/');
    levels.next() == Some("prod")
        && levels.next() == Some("device")
        && levels
            .next()
            .is_some_and(|kind| MESSAGE_KINDS.contains(&kind))
        && levels.next() == Some(DEVICE_TYPE)
        && is_id(levels.next(), camera)
}

/// Below `prod/honeycomb/ID/`. A wildcard can only stand after the id, since it is none.
fn is_command_filter_of(camera: CameraId, filter: &str) -> bool {
    let mut levels = filter.split('/');
    levels.next() == Some("prod")
        && levels.next() == Some("honeycomb")
        && is_id(levels.next(), camera)
        && levels.next().is_some()
}

/// Either case is the same camera's, as everywhere.
fn is_id(level: Option<&str>, camera: CameraId) -> bool {
    level.is_some_and(|level| level.parse() == Ok(camera))
}

/// The filter inside a shared subscription (MQTT 5 §4.8.2), or the filter itself; `None` for one that only begins as shared.
fn unshared(filter: &str) -> Option<&str> {
    if filter.split('/').next() != Some("$share") {
        return Some(filter);
    }
    let (group, inner) = filter.strip_prefix("$share/")?.split_once('/')?;
    (!group.is_empty() && !group.contains(['+', '#'])).then_some(inner)
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
