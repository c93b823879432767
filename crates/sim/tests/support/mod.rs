//! What stands around a simulated camera in its tests: a broker, someone who commands it, and a
//! receiver. None of it shares code with the gateway.

// Each test uses a part of it.
#![allow(dead_code, unused_imports)]

mod control;
mod gate;
mod receiver;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use apiary_sim::{
    Broker, CameraConfig, CameraHandle, FirmwareRules, Simulator, SimulatorConfig, VideoSource,
};
use mqtt5::broker::config::{BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::server::{BrokerShutdownHandle, MqttBroker};

pub(crate) use control::Control;
pub(crate) use gate::Gate;
pub(crate) use receiver::{Received, Receiver};

/// No event in these tests may take longer, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An MQTT broker on loopback.
pub(crate) struct TestBroker {
    address: SocketAddr,
    shutdown: BrokerShutdownHandle,
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        let memory = StorageConfig::new().with_backend(StorageBackend::Memory);
        let config = BrokerConfig::new()
            .with_bind_address((Ipv4Addr::LOCALHOST, 0))
            .with_sys_topics_enabled(false)
            .with_storage(memory);
        Self::with(config).await
    }

    pub(crate) async fn with(config: BrokerConfig) -> Self {
        let mut broker = MqttBroker::with_config(config).await.unwrap();
        let address = broker.local_addr().unwrap();
        let shutdown = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        tokio::spawn(async move { broker.run().await });
        let ready = tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await;
        assert!(*ready.unwrap().unwrap());
        Self { address, shutdown }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.shutdown.shutdown();
    }
}

/// A camera that is small enough to be quick, whose encoder follows REMB quickly.
pub(crate) fn small_camera(number: u32) -> CameraConfig {
    CameraConfig {
        source: VideoSource::LiveTestCard {
            width: 320,
            height: 180,
            fps: 30,
        },
        rules: FirmwareRules {
            bitrate_interval: Duration::from_millis(100),
            ..FirmwareRules::default()
        },
        ..CameraConfig::numbered(number)
    }
}

/// One camera with all around it, connected.
pub(crate) struct Stage {
    _broker: TestBroker,
    pub(crate) control: Control,
    pub(crate) simulator: Simulator,
    pub(crate) camera: CameraHandle,
}

impl Stage {
    pub(crate) async fn set(camera: CameraConfig) -> Self {
        let broker = TestBroker::start().await;
        let control = Control::connect(broker.port()).await;
        let id = camera.id;
        let config = SimulatorConfig {
            reconnect_first: Duration::from_millis(20),
            ..SimulatorConfig::new(Broker::local(broker.port()), vec![camera])
        };
        let simulator = Simulator::start(config).await.unwrap();
        let camera = simulator.camera(id).unwrap();
        camera
            .wait_for(PATIENCE, |state| state.connected)
            .await
            .unwrap();
        Self {
            _broker: broker,
            control,
            simulator,
            camera,
        }
    }

    /// Has the camera stream to a new receiver, which keeps it alive, and waits for the first packet.
    pub(crate) async fn play(&mut self) -> Receiver {
        let mut receiver = Receiver::open();
        let sdp = receiver.sdp().to_string();
        let stream = receiver.stream();
        self.control.play(self.camera.id(), stream, sdp).await;
        receiver.next_rtp().await;
        receiver
    }
}
