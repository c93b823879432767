//! One connection's answers to the broker: who the client is, and what it may do. The rules are `access`'s; each question
//! is answered by the rules that hold when it is asked.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mqtt5::broker::{
    AuthProvider, AuthResult, BrokerEventHandler, ClientPublishEvent, PublishAction,
};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::access::{Client, Peer, Policy, Refusal};
use super::refusals::Refusals;
use crate::logging::printable;
use crate::reason::{Code, Reason};

/// The version of the protocol whose acknowledgements cannot say no (MQTT 3.1.1 §3.3.5).
const VERSION_3_1_1: u8 = 4;
/// How much of a name from outside a log line repeats.
const SHOWN_CHARS: usize = 100;

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What all connections share.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) policy: watch::Receiver<Arc<Policy>>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) refusals: Arc<Refusals>,
}

/// One connection, before and after its client is known.
pub(super) struct Admission {
    door: Door,
    peer: Peer,
    address: SocketAddr,
    admitted: OnceLock<Admitted>,
    slot: Mutex<Option<OwnedSemaphorePermit>>,
    overstepped: AtomicBool,
}

struct Admitted {
    client: Client,
    client_id: String,
    version: u8,
}

impl Admission {
    pub(super) fn new(door: Door, peer: Peer, address: SocketAddr) -> Self {
        Self {
            door,
            peer,
            address,
            admitted: OnceLock::new(),
            slot: Mutex::new(None),
            overstepped: AtomicBool::new(false),
        }
    }

    /// Whether it need not be closed under the rules that hold now. Who is not admitted yet will be asked.
    pub(super) fn may_stay(&self) -> bool {
        let policy = self.policy();
        self.admitted
            .get()
            .is_none_or(|admitted| policy.may_stay(&self.peer, &admitted.client))
    }

    /// The client id, once admitted.
    pub(super) fn client_id(&self) -> Option<&str> {
        self.admitted.get().map(|admitted| &*admitted.client_id)
    }

    /// The connection is over; another may have its place.
    pub(super) fn leave(&self) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.door.policy.borrow())
    }

    fn admit(&self, connect: &ConnectPacket) -> Result<(), Refusal> {
        let policy = self.policy();
        let login = connect.username.as_deref().zip(connect.password.as_deref());
        let client = policy.admit(&self.peer, &connect.client_id, login)?;
        if let Some(will) = &connect.will
            && !policy.may_publish(&client, &will.topic)
        {
            return Err(Refusal::Will);
        }
        // Our own is never kept out by the others.
        if client != Client::Own {
            let slot = Arc::clone(&self.door.slots).try_acquire_owned();
            let slot = slot.map_err(|_| Refusal::Full)?;
            *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(slot);
        }
        let admitted = Admitted {
            client,
            client_id: connect.client_id.clone(),
            version: connect.protocol_version,
        };
        // A second CONNECT is a protocol error that the broker never asks about.
        _ = self.admitted.set(admitted);
        Ok(())
    }

    /// Whether the client may publish there, and whether that it may not can be said to it.
    fn may_publish(&self, topic: &str) -> (bool, bool) {
        let policy = self.policy();
        match self.admitted.get() {
            Some(admitted) if policy.may_stay(&self.peer, &admitted.client) => (
                policy.may_publish(&admitted.client, topic),
                admitted.version != VERSION_3_1_1,
            ),
            Some(_) | None => (false, true),
        }
    }

    /// One warning a connection; a client that goes on does not fill the log.
    fn overstep(&self, what: &str, topic: &str) {
        let client = shown(self.client_id().unwrap_or_default());
        let topic = shown(topic);
        if self.overstepped.swap(true, Ordering::Relaxed) {
            tracing::debug!(client, topic, "an MQTT client may not {what} there");
        } else {
            tracing::warn!(
                client,
                topic,
                address = %self.address,
                "an MQTT client may not {what} there; more of it is logged at debug"
            );
        }
    }
}

fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Stranger => Code::MqttStranger,
        Refusal::Revoked => Code::MqttRevoked,
        Refusal::Full => Code::MqttFull,
        Refusal::AnothersCertificate(_) => Code::MqttAnothersCertificate,
        Refusal::NotItsCertificate | Refusal::Password | Refusal::Will => Code::MqttRefused,
    }
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_CHARS).collect();
    printable(&short).into_owned()
}

impl AuthProvider for Admission {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _: SocketAddr,
    ) -> Answer<'a, mqtt5::error::Result<AuthResult>> {
        let answer = match self.admit(connect) {
            Ok(()) => AuthResult::success(),
            Err(refusal) => {
                let client = shown(&connect.client_id);
                let reason = Reason::new(code(&refusal), &refusal);
                self.door.refusals.refuse(self.address, &client, reason);
                AuthResult::fail(match refusal {
                    Refusal::Full => ReasonCode::ServerUnavailable,
                    Refusal::Password => ReasonCode::BadUsernameOrPassword,
                    Refusal::Stranger
                    | Refusal::AnothersCertificate(_)
                    | Refusal::NotItsCertificate
                    | Refusal::Revoked
                    | Refusal::Will => ReasonCode::NotAuthorized,
                })
            }
        };
        Box::pin(std::future::ready(Ok(answer)))
    }

    /// Asked for messages, and for the last will when the connection ends. With MQTT 3.1.1 a message that may not be is
    /// acknowledged and then dropped by [`BrokerEventHandler::on_client_publish`]; a last will was looked at before.
    fn authorize_publish<'a>(
        &'a self,
        _: &str,
        _: Option<&'a str>,
        topic: &'a str,
    ) -> Answer<'a, bool> {
        let (may, can_be_told) = self.may_publish(topic);
        if !may && can_be_told {
            self.overstep("publish", topic);
        }
        Box::pin(std::future::ready(may || !can_be_told))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _: &str,
        _: Option<&'a str>,
        filter: &'a str,
    ) -> Answer<'a, bool> {
        let policy = self.policy();
        let may = self.admitted.get().is_some_and(|admitted| {
            policy.may_stay(&self.peer, &admitted.client)
                && policy.may_subscribe(&admitted.client, filter)
        });
        if !may {
            self.overstep("subscribe", filter);
        }
        Box::pin(std::future::ready(may))
    }
}

impl BrokerEventHandler for Admission {
    fn on_client_publish<'a>(&'a self, event: ClientPublishEvent) -> Answer<'a, PublishAction> {
        let (may, _) = self.may_publish(&event.topic);
        let action = match may {
            true => PublishAction::Continue,
            false => {
                self.overstep("publish", &event.topic);
                PublishAction::Handled
            }
        };
        Box::pin(std::future::ready(action))
    }
}
