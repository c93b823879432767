//! A camera's MQTT client, and the control client as the tests use it.

use std::future::Future;
use std::time::Duration;

use apiary::config::values::{BrokerAddress, BrokerTarget};
use apiary::config::{Config, Credentials, Environment, MqttConfig, TlsFiles};
use apiary::mqtt::control::ControlSettings;
use apiary::mqtt::{BrokerState, CameraControl, ControlEvent};
use apiary::secret::Secret;
use apiary_wire::CameraId;
use apiary_wire::camera::{CameraMessage, Command, Connection, ConnectionStatus, command_filter};
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, PublishOptions, QoS};
use tokio::sync::broadcast;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {PATIENCE:?}"),
    }
}

pub(crate) fn camera_id() -> CameraId {
    "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF".parse().unwrap()
}

/// The configuration for an external broker on this machine.
pub(crate) fn external(port: u16, tls: Option<TlsFiles>) -> MqttConfig {
    let mut config = Config::load(None, &Environment::default()).unwrap().mqtt;
    let is_tls = tls.is_some();
    config.broker = BrokerTarget::External(BrokerAddress {
        host: "127.0.0.1".to_owned(),
        port,
        tls: is_tls,
    });
    config.tls = tls.unwrap_or_default();
    config.credentials = Some(own_login());
    config
}

/// The login of the program's own client, as the embedded broker of these tests knows it; Mosquitto takes any.
pub(crate) fn own_login() -> Credentials {
    Credentials {
        username: "apiary".to_owned(),
        password: Some(Secret::new("of this test")),
    }
}

pub(crate) fn control(config: &MqttConfig) -> CameraControl {
    let BrokerTarget::External(address) = &config.broker else {
        panic!("the broker is external")
    };
    CameraControl::start(ControlSettings::new(config, address.clone()).unwrap())
}

pub(crate) async fn connected(control: &CameraControl) {
    let mut state = control.broker();
    soon(
        "the connection",
        state.wait_for(|state| *state == BrokerState::Connected),
    )
    .await
    .unwrap();
}

/// Waits until the broker counts as unreachable, and says why.
pub(crate) async fn unreachable(control: &CameraControl) -> String {
    let mut state = control.broker();
    let is_gone = |state: &BrokerState| matches!(state, BrokerState::Unreachable { .. });
    match &*soon("the loss", state.wait_for(is_gone)).await.unwrap() {
        BrokerState::Unreachable { cause, .. } => cause.clone(),
        BrokerState::Connecting | BrokerState::Connected => unreachable!("waited for the loss"),
    }
}

/// The next message of a camera.
pub(crate) async fn heard(
    events: &mut broadcast::Receiver<ControlEvent>,
) -> (CameraId, CameraMessage, String) {
    let message = async {
        loop {
            if let ControlEvent::Camera {
                camera,
                message,
                raw,
                ..
            } = events.recv().await.unwrap()
            {
                return (camera, message, String::from_utf8(raw.to_vec()).unwrap());
            }
        }
    };
    soon("a camera's message", message).await
}

/// A camera that speaks plain MQTT and does nothing by itself.
pub(crate) struct Camera {
    client: AsyncClient,
    events: EventLoop,
}

impl Camera {
    /// Connects with its last will and listens to its commands.
    pub(crate) async fn connect(port: u16) -> Self {
        let id = camera_id();
        let mut options = MqttOptions::new(id.to_string(), ("127.0.0.1", port));
        let gone = connection(ConnectionStatus::Disconnected);
        options.set_last_will(LastWill::new(
            gone.topic(id),
            gone.to_json(),
            QoS::AtLeastOnce,
            false,
        ));
        let (client, events) = AsyncClient::builder(options).build();
        let mut camera = Self { client, events };
        camera
            .wait_for(|event| matches!(event, Event::Incoming(Packet::ConnAck(_))))
            .await;
        camera
            .client
            .subscribe(command_filter(id), QoS::AtLeastOnce)
            .await
            .unwrap();
        camera
            .wait_for(|event| matches!(event, Event::Incoming(Packet::SubAck(_))))
            .await;
        camera
    }

    async fn wait_for(&mut self, matches: impl Fn(&Event) -> bool) -> Event {
        soon("an MQTT event", async {
            loop {
                let event = self.events.poll().await.unwrap();
                if matches(&event) {
                    return event;
                }
            }
        })
        .await
    }

    /// The next command that reaches it.
    pub(crate) async fn command(&mut self) -> (CameraId, Command) {
        let event = self
            .wait_for(|event| matches!(event, Event::Incoming(Packet::Publish(_))))
            .await;
        let Event::Incoming(Packet::Publish(publish)) = event else {
            panic!("{event:?} is no command");
        };
        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
        Command::parse(&topic, &publish.payload).unwrap()
    }

    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) {
        let options = PublishOptions::new(QoS::AtLeastOnce);
        self.client
            .publish(topic.to_owned(), payload.to_owned(), options)
            .await
            .unwrap();
        self.wait_for(|event| matches!(event, Event::Incoming(Packet::PubAck(_))))
            .await;
    }
}

pub(crate) fn connection(status: ConnectionStatus) -> CameraMessage {
    CameraMessage::Connection(Connection {
        status: Some(status),
        ..Connection::default()
    })
}
