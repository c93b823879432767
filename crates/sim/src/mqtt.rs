//! The MQTT half of a simulated camera: connects, says hello, takes commands, reports, and dies with
//! its last will. One task a camera; what the commands do is the media half's matter.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiary_wire::CameraId;
use apiary_wire::camera::{
    CameraMessage, Command, Connection, ConnectionStatus, Device as DeviceInfo, MAX_PAYLOAD_LEN,
    Status, command_filter,
};
use jiff::Timestamp;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Packet, PublishOptions,
    QoS, TlsConfiguration, Transport,
};
use rustls::ClientConfig;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::camera::{Act, CommandLog};
use crate::config::CameraConfig;
use crate::device::{Handle as MediaHandle, Order, Wish, local_address_towards};
use crate::state::CameraState;

/// Messages that wait for the connection; when there are more, the newest is dropped.
const QUEUE: usize = 64;
/// As the AWS IoT device SDK does by default.
const MQTT_KEEP_ALIVE_S: u16 = 30;
/// A camera that is shut down in an orderly way tries this long to say so.
const GOODBYE_LIMIT: Duration = Duration::from_millis(800);
const FIRMWARE_VERSION: &str = "V0_0_00_117RSB_simulated";
const HARDWARE_VERSION: &str = "VBC01";

/// The broker, ready to be connected to.
#[derive(Debug, Clone)]
pub(crate) struct BrokerEndpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) reconnect_first: Duration,
    pub(crate) reconnect_max: Duration,
}

/// What a camera's task works with.
#[derive(Debug)]
pub(crate) struct CameraTask {
    pub(crate) config: CameraConfig,
    pub(crate) broker: BrokerEndpoint,
    pub(crate) index: usize,
    pub(crate) media: MediaHandle,
    pub(crate) acts: mpsc::Receiver<Act>,
    pub(crate) wishes: mpsc::Receiver<Wish>,
    pub(crate) state: watch::Sender<CameraState>,
    pub(crate) commands: Arc<CommandLog>,
    pub(crate) stop: CancellationToken,
}

/// Why a camera went off.
#[derive(Debug)]
enum Ended {
    Killed {
        done: oneshot::Sender<()>,
    },
    Restarted {
        bind: Option<IpAddr>,
        done: oneshot::Sender<()>,
    },
    Rebooted,
    ShutDown,
}

/// One power-on: the MQTT client and what belongs to it.
struct Session {
    client: AsyncClient,
    status: Interval,
    powered_on: Instant,
    address: IpAddr,
}

impl CameraTask {
    /// Runs the camera until it is told to stop.
    pub(crate) async fn run(mut self) {
        loop {
            let ended = self.powered().await;
            self.show_connected(false);
            self.cut_power().await;
            match ended {
                Ended::ShutDown => return,
                Ended::Restarted { bind, done } => self.power_on(bind, done),
                Ended::Rebooted => tokio::select! {
                    () = tokio::time::sleep(self.config.reboot_time) => {}
                    () = self.stop.cancelled() => return,
                },
                Ended::Killed { done } => {
                    let _ = done.send(());
                    let Some((bind, done)) = self.wait_for_power().await else {
                        return;
                    };
                    self.power_on(bind, done);
                }
            }
        }
    }

    /// Runs the camera from power-on until it goes off.
    async fn powered(&mut self) -> Ended {
        let (mut session, mut events) = self.open_session().await;
        let mut backoff = self.broker.reconnect_first;
        let mut reported = false;
        loop {
            let polled = {
                let mut poll = pin!(events.poll());
                loop {
                    tokio::select! {
                        polled = &mut poll => break Ok(polled),
                        ended = self.next_stimulus(&mut session) => if let Some(ended) = ended {
                            break Err(ended);
                        },
                    }
                }
            };
            match polled {
                Ok(Ok(event)) => {
                    if self.on_event(&session, event) {
                        backoff = self.broker.reconnect_first;
                        reported = false;
                    }
                }
                Ok(Err(error)) => {
                    self.on_connection_lost(&error, std::mem::replace(&mut reported, true));
                    if let Some(ended) = self.wait(&mut session, backoff).await {
                        return ended;
                    }
                    backoff = (backoff * 2).min(self.broker.reconnect_max);
                }
                Err(Ended::ShutDown) => {
                    self.say_goodbye(&session, &mut events).await;
                    return Ended::ShutDown;
                }
                // The event loop is dropped without DISCONNECT.
                Err(ended) => return ended,
            }
        }
    }

    async fn open_session(&self) -> (Session, EventLoop) {
        let address = self.own_address().await;
        let mut options = MqttOptions::new(
            self.config.id.to_string(),
            (self.broker.host.clone(), self.broker.port),
        );
        options.set_keep_alive(MQTT_KEEP_ALIVE_S);
        options.set_clean_session(true);
        options.set_max_packet_size(2 * MAX_PAYLOAD_LEN, 2 * MAX_PAYLOAD_LEN);
        let will = self.connection_message(ConnectionStatus::Disconnected, address);
        options.set_last_will(LastWill::new(
            will.topic(self.config.id),
            will.to_json(),
            QoS::AtLeastOnce,
            false,
        ));
        if let Some(tls) = &self.broker.tls {
            let tls = TlsConfiguration::Rustls(Arc::clone(tls));
            options.set_transport(Transport::tls_with_config(tls));
        }
        let (client, events) = AsyncClient::builder(options).capacity(QUEUE).build();
        let first_status = tokio::time::Instant::now() + self.config.status_interval;
        let mut status = tokio::time::interval_at(first_status, self.config.status_interval);
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let session = Session {
            client,
            status,
            powered_on: Instant::now(),
            address,
        };
        (session, events)
    }

    /// Takes the next thing that is not from the broker. Something, if it ends the session.
    async fn next_stimulus(&mut self, session: &mut Session) -> Option<Ended> {
        tokio::select! {
            () = self.stop.cancelled() => Some(Ended::ShutDown),
            act = self.acts.recv() => match act {
                Some(Act::Kill { done }) => Some(Ended::Killed { done }),
                Some(Act::Restart { bind, done }) => Some(Ended::Restarted { bind, done }),
                Some(Act::Hello) => {
                    self.say_hello(session);
                    None
                }
                Some(Act::Publish(message)) => {
                    self.publish(session, &message);
                    None
                }
                None => Some(Ended::ShutDown),
            },
            wish = self.wishes.recv() => match wish {
                Some(Wish::Reboot) => Some(Ended::Rebooted),
                Some(Wish::Report(report)) => {
                    self.publish(session, &CameraMessage::State(report));
                    None
                }
                None => Some(Ended::ShutDown),
            },
            _ = session.status.tick() => {
                self.publish(session, &self.status_message(session));
                None
            }
        }
    }

    /// Waits, and takes what comes meanwhile.
    async fn wait(&mut self, session: &mut Session, pause: Duration) -> Option<Ended> {
        let mut over = pin!(tokio::time::sleep(pause));
        loop {
            tokio::select! {
                () = &mut over => return None,
                ended = self.next_stimulus(session) => if ended.is_some() {
                    return ended;
                },
            }
        }
    }

    /// Takes an event of the connection; true when the camera has just become reachable.
    fn on_event(&self, session: &Session, event: Event) -> bool {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                let filter = command_filter(self.config.id);
                if let Err(error) = session.client.try_subscribe(filter, QoS::AtLeastOnce) {
                    tracing::warn!(%error, "a simulated camera cannot subscribe to its commands");
                }
                false
            }
            // Only now do commands reach the camera: whoever hears the hello may send one at once.
            Event::Incoming(Packet::SubAck(_)) => {
                tracing::info!(camera = %self.config.id, "simulated camera connected");
                self.show_connected(true);
                self.say_hello(session);
                self.order(Order::Report);
                true
            }
            Event::Incoming(Packet::Publish(publish)) => {
                self.on_command(&publish.topic, &publish.payload);
                false
            }
            Event::Incoming(_) | Event::Outgoing(_) => false,
        }
    }

    fn on_command(&self, topic: &[u8], payload: &[u8]) {
        let topic = String::from_utf8_lossy(topic);
        match Command::parse(&topic, payload) {
            Ok((camera, command)) if camera == self.config.id => {
                tracing::debug!(%camera, action = command.action(), "simulated camera commanded");
                self.commands.push(command.clone());
                self.order(Order::Command(command));
            }
            Ok((camera, _)) => {
                tracing::warn!(%camera, "a simulated camera got another one's command");
            }
            Err(error) => {
                tracing::warn!(camera = %self.config.id, %error, "a simulated camera does not understand a command");
            }
        }
    }

    fn order(&self, order: Order) {
        if let Err(error) = self.media.order(self.index, order) {
            let camera = self.config.id;
            tracing::warn!(%camera, %error, "a simulated camera misses an order");
        }
    }

    /// The first failure in a row is worth a line, `reported` ones are not.
    fn on_connection_lost(&self, error: &ConnectionError, reported: bool) {
        self.show_connected(false);
        let broker = format_args!("{}:{}", self.broker.host, self.broker.port);
        let camera = self.config.id;
        if reported {
            tracing::debug!(%camera, %broker, %error, "still no connection to the broker");
        } else {
            tracing::warn!(
                %camera, %broker, %error,
                "simulated camera has no connection to the broker; it keeps trying",
            );
        }
    }

    /// Says that the camera goes, and disconnects in order, if the broker still listens.
    async fn say_goodbye(&self, session: &Session, events: &mut EventLoop) {
        let gone = self.connection_message(ConnectionStatus::Disconnected, session.address);
        self.publish(session, &gone);
        let disconnect = session.client.try_disconnect_with_timeout(GOODBYE_LIMIT);
        if disconnect.is_err() || !self.state.borrow().connected {
            return;
        }
        let drained = async { while events.poll().await.is_ok() {} };
        // Past the limit the connection just closes, and the last will says the same.
        let _ = tokio::time::timeout(GOODBYE_LIMIT, drained).await;
    }

    /// Stops the media half, which forgets its stream, and waits until it has.
    async fn cut_power(&self) {
        let (done, finished) = oneshot::channel();
        if self
            .media
            .order(self.index, Order::PowerOff { done })
            .is_ok()
        {
            // If it has ended meanwhile, nothing is sent any more either.
            let _ = finished.await;
        }
    }

    fn power_on(&mut self, bind: Option<IpAddr>, done: oneshot::Sender<()>) {
        if let Some(bind) = bind {
            self.config.bind = bind;
            if let Err(error) = self.media.order(self.index, Order::PowerOn { bind }) {
                tracing::warn!(camera = %self.config.id, %error, "a simulated camera keeps its address");
            }
        }
        let _ = done.send(());
    }

    /// A camera without power only waits to get it back; `None` at the end of the simulator.
    async fn wait_for_power(&mut self) -> Option<(Option<IpAddr>, oneshot::Sender<()>)> {
        loop {
            let act = tokio::select! {
                act = self.acts.recv() => act?,
                () = self.stop.cancelled() => return None,
            };
            match act {
                Act::Restart { bind, done } => return Some((bind, done)),
                Act::Kill { done } => {
                    let _ = done.send(());
                }
                Act::Hello | Act::Publish(_) => {}
            }
        }
    }

    fn say_hello(&self, session: &Session) {
        let hello = self.connection_message(ConnectionStatus::Connected, session.address);
        self.publish(session, &hello);
    }

    fn publish(&self, session: &Session, message: &CameraMessage) {
        if !self.state.borrow().connected {
            return;
        }
        let topic = message.topic(self.config.id);
        let options = PublishOptions::new(QoS::AtLeastOnce);
        if let Err(error) = session
            .client
            .try_publish(topic, message.to_json(), options)
        {
            tracing::warn!(camera = %self.config.id, %error, "a simulated camera's message is lost");
        }
    }

    fn connection_message(&self, status: ConnectionStatus, address: IpAddr) -> CameraMessage {
        CameraMessage::Connection(Connection {
            status: Some(status),
            timestamp: Some(Timestamp::now()),
            device: DeviceInfo {
                software_version: Some(FIRMWARE_VERSION.to_owned()),
                hardware_version: Some(HARDWARE_VERSION.to_owned()),
                serial_number: Some(serial_number(self.config.id)),
            },
            ip_address: Some(address),
            client_id: Some(self.config.id.to_string()),
        })
    }

    fn status_message(&self, session: &Session) -> CameraMessage {
        CameraMessage::Status(Status {
            status: Some("online".to_owned()),
            timestamp: Some(Timestamp::now()),
            battery: Some(fields(json!({ "level": 87 }))),
            radio: Some(fields(json!({ "rssi": -52, "ssid": "simulated" }))),
            ethernet: Some(Map::new()),
            temperature: Some(41.5),
            uptime: Some(session.powered_on.elapsed().as_secs_f64().floor()),
        })
    }

    /// The address that the camera tells: its own, or the one that faces the broker.
    async fn own_address(&self) -> IpAddr {
        if !self.config.bind.is_unspecified() {
            return self.config.bind;
        }
        let broker = (self.broker.host.as_str(), self.broker.port);
        let resolved = tokio::net::lookup_host(broker).await;
        resolved
            .ok()
            .and_then(|mut addresses| addresses.find(|address| address.is_ipv4()))
            .and_then(|address| local_address_towards(address).ok())
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    fn show_connected(&self, connected: bool) {
        self.state.send_if_modified(|state| {
            let changed = state.connected != connected;
            state.connected = connected;
            changed
        });
    }
}

fn serial_number(id: CameraId) -> String {
    format!("SIM{}", id.short())
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
