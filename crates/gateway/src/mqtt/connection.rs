//! One connection to the broker after another.
//!
//! Each connection has its own event loop, which is dropped with it: what was not acknowledged then fails instead of being
//! sent again later, when a `play` or `stop` might no longer hold. Sessions are clean, and subscriptions are made anew.

use std::sync::Arc;
use std::time::Duration;

use apiary_wire::camera::SUBSCRIPTIONS;
use jiff::Timestamp;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rumqttc::{
    AsyncClient, Broker, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS, SubAck,
    SubscribeFilterInput, SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::control::{BrokerState, ControlEvent, ControlSettings, Shared};
use super::explain;
use crate::backoff::Backoff;

/// Interval of MQTT's own pings. A broker that vanished without closing is found out within twice this time.
const PING_INTERVAL_S: u16 = 5;
/// TCP, TLS and MQTT handshake together, and each write.
const CONNECT_TIMEOUT_S: u64 = 5;
/// How long the broker may take to acknowledge the subscriptions.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long saying goodbye may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// The first pause between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest: a broker that returns is met again within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connection that stood this long was a good one: the next attempts begin without delay.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// Messages that may wait for the connection's task; one more fails with "queue full".
const REQUEST_QUEUE: usize = 256;
/// Messages that may wait for the broker's acknowledgement; more wait in the request queue.
const MAX_UNACKNOWLEDGED: u16 = 1024;
/// Largest message that is taken from a broker. Anything larger ends the connection, so it lies far above
/// [`apiary_wire::camera::MAX_PAYLOAD_LEN`], above which messages are refused one by one.
const MAX_INCOMING: usize = 4 << 20;
/// Largest message that is sent: a `play` with its SDP has 2 KiB.
const MAX_OUTGOING: usize = 256 << 10;

pub(super) struct Connector {
    settings: ControlSettings,
    shared: Arc<Shared>,
    random: StdRng,
}

/// Why a connection ended.
enum End {
    Stopped,
    Lost(String),
}

impl Connector {
    pub(super) fn new(settings: ControlSettings, shared: Arc<Shared>) -> Self {
        Self {
            settings,
            shared,
            random: StdRng::from_os_rng(),
        }
    }

    /// Connects until told to stop.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::between(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let began = Instant::now();
            let End::Lost(cause) = self.connect_once().await else {
                break;
            };
            self.lost(cause);
            if began.elapsed() >= STABLE_AFTER {
                backoff.reset();
            }
            let pause = backoff.pause(&mut self.random);
            tokio::select! {
                () = self.shared.stop.cancelled() => break,
                () = sleep(pause) => {}
            }
        }
        let cause = "this program is ending".to_owned();
        let since = Timestamp::now();
        self.shared
            .transition_to(BrokerState::Unreachable { cause, since }, None);
    }

    /// Tells of a loss once, not at each failed attempt after it, unless the cause became another.
    fn lost(&self, cause: String) {
        let since = match &*self.shared.state.borrow() {
            BrokerState::Unreachable { cause: known, .. } if *known == cause => return,
            BrokerState::Unreachable { since, .. } => *since,
            BrokerState::Connecting | BrokerState::Connected => Timestamp::now(),
        };
        self.shared
            .transition_to(BrokerState::Unreachable { cause, since }, None);
    }

    async fn connect_once(&self) -> End {
        let (client, mut events) = match AsyncClient::builder(self.options())
            .capacity(REQUEST_QUEUE)
            .try_build()
        {
            Ok(built) => built,
            Err(error) => return End::Lost(error.to_string()),
        };
        events
            .network_options
            .set_connection_timeout(CONNECT_TIMEOUT_S);
        let connected = tokio::select! {
            () = self.shared.stop.cancelled() => return End::Stopped,
            connected = self.handshake(&client, &mut events) => connected,
        };
        if let Err(cause) = connected {
            return End::Lost(cause);
        }
        self.shared
            .transition_to(BrokerState::Connected, Some(client.clone()));
        let end = self.serve(&mut events).await;
        match &end {
            End::Stopped => disconnect(&client, events).await,
            // Told before the event loop goes, so that the sends that fail with it know the cause.
            End::Lost(cause) => self.lost(cause.clone()),
        }
        end
    }

    fn options(&self) -> MqttOptions {
        let ControlSettings {
            broker,
            server_name,
            ..
        } = &self.settings;
        // The broker's name as rumqttc knows it is the one that TLS checks; where to connect is said separately.
        let name = server_name.as_ref().unwrap_or(&broker.host);
        let mut options =
            MqttOptions::new(&self.settings.client_id, Broker::tcp(name, broker.port));
        let address = (broker.host.clone(), broker.port);
        options.set_socket_connector(move |_, _| {
            let address = address.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(stream)
            }
        });
        if let Some(tls) = &self.settings.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
                Arc::clone(tls),
            )));
        }
        if let Some(credentials) = &self.settings.credentials {
            match &credentials.password {
                Some(password) => options
                    .set_credentials(&credentials.username, password.expose().as_bytes().to_vec()),
                None => options.set_username(&credentials.username),
            };
        }
        options.set_keep_alive(PING_INTERVAL_S);
        options.set_clean_session(true);
        options.set_max_packet_size(MAX_INCOMING, MAX_OUTGOING);
        options.set_inflight(MAX_UNACKNOWLEDGED);
        options
    }

    /// Connects, subscribes, and waits for both to be acknowledged.
    async fn handshake(&self, client: &AsyncClient, events: &mut EventLoop) -> Result<(), String> {
        loop {
            let event = events
                .poll()
                .await
                .map_err(|error| explain::connection(&error))?;
            if matches!(event, Event::Incoming(Packet::ConnAck(_))) {
                break;
            }
        }
        let filters =
            SUBSCRIPTIONS.map(|filter| SubscribeFilterInput::new(filter, QoS::AtLeastOnce));
        client
            .try_subscribe_many(filters)
            .map_err(|error| error.to_string())?;
        let subscribed = async {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::SubAck(ack))) => return Ok(ack),
                    Ok(event) => self.handle(event),
                    Err(error) => return Err(explain::connection(&error)),
                }
            }
        };
        match timeout(SUBSCRIBE_TIMEOUT, subscribed).await {
            Ok(Ok(ack)) => {
                warn_of_refusals(&ack);
                Ok(())
            }
            Ok(Err(cause)) => Err(cause),
            Err(_) => Err("it does not acknowledge the subscriptions".to_owned()),
        }
    }

    async fn serve(&self, events: &mut EventLoop) -> End {
        loop {
            let event = tokio::select! {
                () = self.shared.stop.cancelled() => return End::Stopped,
                event = events.poll() => event,
            };
            match event {
                Ok(event) => self.handle(event),
                Err(error) => return End::Lost(explain::connection(&error)),
            }
        }
    }

    fn handle(&self, event: Event) {
        let Event::Incoming(Packet::Publish(publish)) = event else {
            return;
        };
        if let Some((camera, message)) = self.shared.inbox.take(&publish.topic, &publish.payload) {
            let raw = Arc::from(&*publish.payload);
            // Without subscribers nobody misses it.
            _ = self.shared.events.send(ControlEvent::Camera {
                camera,
                message,
                raw,
                retained: publish.retain,
            });
        }
    }
}

/// A broker with access rules may refuse; then cameras can be commanded, but not heard.
fn warn_of_refusals(ack: &SubAck) {
    for (filter, code) in SUBSCRIPTIONS.iter().zip(&ack.return_codes) {
        if *code == SubscribeReasonCode::Failure {
            tracing::warn!(
                filter,
                "the MQTT broker refuses a subscription: cameras will not be heard on it; check its access rules"
            );
        }
    }
}

/// Says goodbye, as far as the broker listens.
async fn disconnect(client: &AsyncClient, mut events: EventLoop) {
    if client.try_disconnect_now().is_err() {
        return;
    }
    let goodbye = async {
        loop {
            if let Err(error) = events.poll().await {
                if !matches!(error, ConnectionError::RequestsDone) {
                    tracing::debug!(%error, "the MQTT connection ended before its goodbye");
                }
                return;
            }
        }
    };
    _ = timeout(DISCONNECT_TIMEOUT, goodbye).await;
}
