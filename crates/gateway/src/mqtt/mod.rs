//! Talking to cameras over MQTT: the client that commands them, and the broker they meet at.
//!
//! [`Mqtt::start`] starts the embedded broker where it is configured, and [`CameraControl`] at whichever broker is. What
//! is sent when, and what a camera's message means for its stream, is decided by the supervisor; the form of the
//! messages is `apiary-wire`'s.

pub mod broker;
mod connection;
pub mod control;
mod explain;
mod inbox;
pub mod tls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use uuid::Uuid;

pub use broker::{BrokerFacts, BrokerStartError, EmbeddedBroker, Refusals, Refused};
pub use control::{BrokerState, CameraControl, ControlCounts, ControlError, ControlEvent};
pub use inbox::MessageCounts;
pub use tls::TlsFileError;

use crate::config::values::{BrokerAddress, BrokerTarget};
use crate::config::{Credentials, MqttConfig};
use crate::secret::Secret;
use control::ControlSettings;

/// The embedded broker, where there is one, and the client.
#[derive(Debug)]
pub struct Mqtt {
    /// The broker inside this program.
    pub broker: Option<EmbeddedBroker>,
    /// The handle through which cameras are commanded.
    pub control: CameraControl,
}

/// Why MQTT cannot start.
#[derive(Debug, thiserror::Error)]
pub enum MqttStartError {
    /// The embedded broker cannot.
    #[error(transparent)]
    Broker(#[from] BrokerStartError),
    /// A certificate file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
}

impl Mqtt {
    /// Starts what the configuration asks for. An external broker need not be reachable: the client goes on trying.
    ///
    /// # Errors
    /// When the embedded broker cannot listen or a certificate file is unusable.
    pub async fn start(config: &MqttConfig) -> Result<Self, MqttStartError> {
        let mut config = config.clone();
        let (broker, address) = match &config.broker {
            BrokerTarget::Embedded => {
                config.credentials = Some(own_login());
                let broker = EmbeddedBroker::start(&config).await?;
                let near = reachable(broker.address());
                let address = BrokerAddress {
                    host: near.ip().to_string(),
                    port: near.port(),
                    tls: false,
                };
                (Some(broker), address)
            }
            BrokerTarget::External(address) => (None, address.clone()),
        };
        let control = CameraControl::start(ControlSettings::new(&config, address)?);
        Ok(Self { broker, control })
    }

    /// Takes over what can be changed while it runs: see [`EmbeddedBroker::reload`].
    ///
    /// # Errors
    /// When certificates cannot be used; the broker keeps those that it has.
    pub fn reload(&self, config: &MqttConfig) -> Result<(), TlsFileError> {
        match &self.broker {
            Some(broker) => broker.reload(config),
            None => Ok(()),
        }
    }

    /// Disconnects the client and stops the broker.
    pub async fn shutdown(self) {
        self.control.shutdown().await;
        if let Some(broker) = self.broker {
            broker.stop().await;
        }
    }
}

/// The login by which the embedded broker knows this program's own client. It is never written down.
fn own_login() -> Credentials {
    Credentials {
        username: "apiary".to_owned(),
        password: Some(Secret::new(Uuid::new_v4().simple().to_string())),
    }
}

/// The address to connect to in order to reach a listener of this machine.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listener.port())
}
