//! The handle through which cameras are commanded and heard.
//!
//! Commands are sent with QoS 1 and count as sent once the broker acknowledged them. Without a broker they fail at
//! once: a command that waits for one would reach the camera when it no longer holds. The connection itself, and how it
//! is made again, is `connection`'s.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apiary_wire::CameraId;
use apiary_wire::camera::{CameraMessage, Command};
use jiff::Timestamp;
use rand::Rng;
use rumqttc::{AsyncClient, ClientError, PublishNotice, PublishOptions, QoS};
use rustls::ClientConfig;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::Connector;
use super::inbox::{Inbox, MessageCounts};
use super::tls::{self, TlsFileError};
use crate::config::values::BrokerAddress;
use crate::config::{Credentials, MqttConfig};
use crate::metrics::counters::Counter;

/// How many events may wait for a slow subscriber before it loses the oldest.
pub const EVENT_QUEUE: usize = 1024;

/// How the way to the broker stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// The first attempt is under way.
    Connecting,
    /// Connected and subscribed.
    Connected,
    /// There is no connection; attempts go on.
    Unreachable {
        /// Why, with what to do.
        cause: String,
        /// Since when.
        since: Timestamp,
    },
}

/// What is heard.
#[derive(Clone, Debug)]
pub enum ControlEvent {
    /// The way to the broker changed.
    Broker(BrokerState),
    /// A camera said something.
    Camera {
        /// Which.
        camera: CameraId,
        /// What was understood of it.
        message: CameraMessage,
        /// The payload as it came.
        raw: Arc<[u8]>,
        /// Whether the broker kept it for new subscribers: it is a memory, not news.
        retained: bool,
    },
}

/// Why a command did not reach the broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no connection.
    #[error("the MQTT broker {broker} cannot be reached: {cause}")]
    BrokerUnreachable {
        /// Its address.
        broker: String,
        /// Why, with what to do.
        cause: String,
    },
    /// The connection stands, but the broker did not acknowledge.
    #[error("the MQTT broker {broker} did not acknowledge a message within {} s", timeout.as_secs())]
    NotAcknowledged {
        /// Its address.
        broker: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// Too many messages wait for acknowledgement.
    #[error("the MQTT broker {broker} is too slow: too many messages wait for it")]
    QueueFull {
        /// Its address.
        broker: String,
    },
    /// The program is ending.
    #[error("the connection to the MQTT broker was closed")]
    Closed,
}

/// What the client needs to know.
pub struct ControlSettings {
    /// Where the broker is.
    pub broker: BrokerAddress,
    /// For `mqtts://`.
    pub tls: Option<Arc<ClientConfig>>,
    /// The name that its certificate must have; the address' host otherwise.
    pub server_name: Option<String>,
    /// Unique among all clients of the broker.
    pub client_id: String,
    /// Login.
    pub credentials: Option<Credentials>,
    /// How long to wait for an acknowledgement.
    pub ack_timeout: Duration,
}

impl ControlSettings {
    /// Takes them from the configuration; reads the certificate files where TLS is wanted.
    ///
    /// # Errors
    /// When a certificate file cannot be used.
    pub fn new(config: &MqttConfig, broker: BrokerAddress) -> Result<Self, TlsFileError> {
        let tls = match broker.tls {
            true => Some(Arc::new(tls::client_config(&config.tls, config.verify)?)),
            false => None,
        };
        // A second instance with the same id would push this one out, and be pushed out, for ever.
        let suffix: u32 = rand::rng().random();
        Ok(Self {
            broker,
            tls,
            server_name: config.server_name.clone(),
            client_id: format!("{}-{suffix:08x}", config.client_id),
            credentials: config.credentials.clone(),
            ack_timeout: config.ack_timeout,
        })
    }
}

/// The handle. Clones share one connection, which [`CameraControl::shutdown`] ends.
#[derive(Clone, Debug)]
pub struct CameraControl {
    shared: Arc<Shared>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What the handle and the connection's task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: watch::Sender<BrokerState>,
    pub(super) events: broadcast::Sender<ControlEvent>,
    /// Present while connected and subscribed.
    pub(super) client: Mutex<Option<AsyncClient>>,
    pub(super) inbox: Inbox,
    pub(super) stop: CancellationToken,
    commands: CommandCounters,
    broker: String,
    ack_timeout: Duration,
}

/// Commands by what became of them.
#[derive(Debug, Default)]
struct CommandCounters {
    taken: Counter,
    failed: Counter,
    waiting: AtomicUsize,
}

/// What went to the broker and came from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlCounts {
    /// Commands that the broker acknowledged.
    pub taken: u64,
    /// Commands that did not reach it, or were not acknowledged in time.
    pub failed: u64,
    /// Commands that wait for it now.
    pub waiting: usize,
    /// What came.
    pub messages: MessageCounts,
}

/// One command on its way; what becomes of it is counted when it is dropped, as whoever waits for it may go away.
struct UnderWay<'a> {
    counters: &'a CommandCounters,
    taken: bool,
}

impl<'a> UnderWay<'a> {
    fn new(counters: &'a CommandCounters) -> Self {
        counters.waiting.fetch_add(1, Ordering::Relaxed);
        Self {
            counters,
            taken: false,
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
        match self.taken {
            true => self.counters.taken.add_one(),
            false => self.counters.failed.add_one(),
        }
    }
}

impl Shared {
    /// Every change of the state goes through here.
    pub(super) fn transition_to(&self, state: BrokerState, client: Option<AsyncClient>) {
        let broker = &self.broker;
        match &state {
            BrokerState::Connecting => tracing::debug!(broker, "connecting to the MQTT broker"),
            BrokerState::Connected => tracing::info!(broker, "connected to the MQTT broker"),
            BrokerState::Unreachable { .. } if self.stop.is_cancelled() => {
                tracing::debug!(broker, "disconnected from the MQTT broker");
            }
            BrokerState::Unreachable { cause, .. } => {
                tracing::warn!(broker, cause, "the MQTT broker cannot be reached");
            }
        }
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        self.state.send_replace(state.clone());
        // Without subscribers nobody misses it.
        _ = self.events.send(ControlEvent::Broker(state));
    }

    fn unreachable(&self, otherwise: &str) -> ControlError {
        let cause = match &*self.state.borrow() {
            BrokerState::Unreachable { cause, .. } => cause.clone(),
            BrokerState::Connecting | BrokerState::Connected => otherwise.to_owned(),
        };
        ControlError::BrokerUnreachable {
            broker: self.broker.clone(),
            cause,
        }
    }
}

impl CameraControl {
    /// Starts to connect, and to connect again whenever the connection is lost.
    pub fn start(settings: ControlSettings) -> Self {
        let shared = Arc::new(Shared {
            state: watch::Sender::new(BrokerState::Connecting),
            events: broadcast::Sender::new(EVENT_QUEUE),
            client: Mutex::new(None),
            inbox: Inbox::default(),
            stop: CancellationToken::new(),
            commands: CommandCounters::default(),
            broker: settings.broker.to_string(),
            ack_timeout: settings.ack_timeout,
        });
        let task = tokio::spawn(Connector::new(settings, Arc::clone(&shared)).run());
        Self {
            shared,
            task: Arc::new(Mutex::new(Some(task))),
        }
    }

    /// Sends a command; done when the broker acknowledged it.
    ///
    /// # Errors
    /// At once without a broker; after the acknowledgement's timeout where it is silent. While the very first connection
    /// is being made, that is waited for, no longer than the same timeout.
    pub async fn send(&self, camera: CameraId, command: Command) -> Result<(), ControlError> {
        let mut under_way = UnderWay::new(&self.shared.commands);
        let client = self.client().await?;
        let topic = command.topic(camera);
        let payload = command.to_json(camera, Uuid::new_v4(), Timestamp::now());
        let action = command.action();
        let notice = self.publish(&client, topic, payload)?;
        match timeout(self.shared.ack_timeout, notice.wait_completion_async()).await {
            Ok(Ok(())) => {
                under_way.taken = true;
                tracing::debug!(%camera, action, "the broker took a command");
                Ok(())
            }
            Ok(Err(_)) if self.shared.stop.is_cancelled() => Err(ControlError::Closed),
            Ok(Err(_)) => Err(self.shared.unreachable("the connection was lost")),
            Err(_) => Err(ControlError::NotAcknowledged {
                broker: self.shared.broker.clone(),
                timeout: self.shared.ack_timeout,
            }),
        }
    }

    fn publish(
        &self,
        client: &AsyncClient,
        topic: String,
        payload: String,
    ) -> Result<PublishNotice, ControlError> {
        let options = PublishOptions::new(QoS::AtLeastOnce);
        let published = client.try_publish_tracked(topic, payload, options);
        published.map_err(|error| {
            if matches!(error, ClientError::RequestChannelFull(_)) {
                let broker = self.shared.broker.clone();
                ControlError::QueueFull { broker }
            } else {
                self.shared.unreachable("the connection was lost")
            }
        })
    }

    async fn client(&self) -> Result<AsyncClient, ControlError> {
        let mut state = self.broker();
        let settled = state.wait_for(|state| *state != BrokerState::Connecting);
        // Whether it settled, ended or took too long is read from the state itself.
        _ = tokio::select! {
            settled = timeout(self.shared.ack_timeout, settled) => settled.is_ok(),
            () = self.shared.stop.cancelled() => return Err(ControlError::Closed),
        };
        if self.shared.stop.is_cancelled() {
            return Err(ControlError::Closed);
        }
        let client = self
            .shared
            .client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        client.ok_or_else(|| self.shared.unreachable("it does not answer"))
    }

    /// What is heard from now on. A receiver that lags loses the oldest and must look at the state anew.
    pub fn events(&self) -> broadcast::Receiver<ControlEvent> {
        self.shared.events.subscribe()
    }

    /// How the way to the broker stands.
    pub fn broker(&self) -> watch::Receiver<BrokerState> {
        self.shared.state.subscribe()
    }

    /// The broker's address, for messages.
    pub fn broker_address(&self) -> &str {
        &self.shared.broker
    }

    /// How many messages came, by what became of them.
    pub fn message_counts(&self) -> MessageCounts {
        self.shared.inbox.counts()
    }

    /// What went to the broker and came from it.
    pub fn counts(&self) -> ControlCounts {
        let commands = &self.shared.commands;
        ControlCounts {
            taken: commands.taken.get(),
            failed: commands.failed.get(),
            waiting: commands.waiting.load(Ordering::Relaxed),
            messages: self.message_counts(),
        }
    }

    /// Disconnects and ends the task. Sends that wait fail with [`ControlError::Closed`], as do later ones.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the MQTT client's task failed");
        }
    }
}
