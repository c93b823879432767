//! The camera: a simulated one that replays pictures encoded beforehand, each with the time it was sent.

use std::net::SocketAddr;
use std::time::Duration;

use apiary_sim::{Broker, CameraConfig, Simulator, SimulatorConfig, VideoSource};
use apiary_wire::CameraId;

use crate::error::{BenchError, describe};

const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

/// One camera, connected to the server's broker.
pub(crate) struct Camera {
    simulator: Simulator,
    id: CameraId,
}

impl Camera {
    /// Switches it on and waits until the broker knows it. Its threads run where this one may.
    pub(crate) async fn start(mqtt: SocketAddr) -> Result<Self, BenchError> {
        let config = CameraConfig {
            source: VideoSource::Replay,
            timestamps: true,
            ..CameraConfig::numbered(1)
        };
        let id = config.id;
        let broker = Broker::local(mqtt.port());
        let simulator = Simulator::start(SimulatorConfig::new(broker, vec![config]))
            .await
            .map_err(|error| BenchError::Camera(describe(&error)))?;
        let handle = simulator
            .camera(id)
            .ok_or_else(|| BenchError::Camera("it is not there".into()))?;
        handle
            .wait_for(CONNECTED_WITHIN, |state| state.connected)
            .await
            .map_err(|error| BenchError::Camera(describe(&error)))?;
        Ok(Self { simulator, id })
    }

    /// Its id.
    pub(crate) fn id(&self) -> CameraId {
        self.id
    }

    /// Switches it off.
    pub(crate) async fn stop(self) {
        self.simulator.shutdown().await;
    }
}
