//! The cameras: simulated ones that replay pictures encoded beforehand, each with the time it was sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use apiary_sim::{
    Broker, CameraConfig, CameraHandle, CameraState, Simulator, SimulatorConfig, VideoSource,
};
use apiary_wire::CameraId;

use crate::affinity;
use crate::error::{BenchError, describe};

const CONNECTED_WITHIN: Duration = Duration::from_secs(20);
/// Name of the thread that sends for all of them.
const THREAD: &str = "sim-media";

/// Cameras that are connected to the server's broker.
pub(crate) struct Cameras {
    simulator: Simulator,
}

impl Cameras {
    /// Switches `count` on and waits until the broker knows them. Their threads run where this one may.
    pub(crate) async fn start(mqtt: SocketAddr, count: usize) -> Result<Self, BenchError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let cameras = (1..=count)
            .map(|number| CameraConfig {
                source: VideoSource::Replay,
                timestamps: true,
                bind: Ipv4Addr::LOCALHOST.into(),
                ..CameraConfig::numbered(number)
            })
            .collect();
        let broker = Broker::local(mqtt.port());
        let simulator = Simulator::start(SimulatorConfig::new(broker, cameras))
            .await
            .map_err(|error| BenchError::Camera(describe(&error)))?;
        // On one CPU with the viewers it would else wait for these between the stamp and the packets, which would
        // count as the server's delay. Without the right to do so it shares the CPU as everybody does.
        let _ = affinity::prefer(THREAD);
        let cameras = Self { simulator };
        cameras
            .wait_for_all(CONNECTED_WITHIN, |state| state.connected)
            .await?;
        Ok(cameras)
    }

    /// Their ids, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = CameraId> {
        self.simulator.cameras().iter().map(CameraHandle::id)
    }

    /// How the `index`th does; refreshed five times a second.
    pub(crate) fn state(&self, index: usize) -> Result<CameraState, BenchError> {
        let camera = self.simulator.cameras().get(index);
        camera
            .map(CameraHandle::state)
            .ok_or_else(|| BenchError::Camera("it is not there".into()))
    }

    /// RTP packets that all of them have sent in their latest streams; refreshed five times a second.
    pub(crate) fn sent_packets(&self) -> u64 {
        let cameras = self.simulator.cameras().iter();
        cameras.map(|camera| camera.state().sent.packets()).sum()
    }

    /// Waits until each is as wanted.
    pub(crate) async fn wait_for_all(
        &self,
        limit: Duration,
        wanted: impl Fn(&CameraState) -> bool,
    ) -> Result<(), BenchError> {
        for camera in self.simulator.cameras() {
            camera
                .wait_for(limit, &wanted)
                .await
                .map_err(|error| BenchError::Camera(describe(&error)))?;
        }
        Ok(())
    }

    /// Switches them off.
    pub(crate) async fn stop(self) {
        self.simulator.shutdown().await;
    }
}
