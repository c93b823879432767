//! What the supervisor needs of the way to the cameras; a trait, so that tests can stand in for it.

use apiary_wire::camera::Command;
use apiary_wire::id::CameraId;
use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use crate::mqtt::{BrokerState, CameraControl, ControlCounts, ControlError, ControlEvent};

/// Commands to cameras, and what they say.
#[async_trait]
pub trait CameraCommands: Send + Sync + 'static {
    /// Sends a command; done when the broker acknowledged it. Commands are sent in the order in which these futures are
    /// first polled.
    ///
    /// # Errors
    /// When the broker did not get it, or did not say so in time.
    async fn send(&self, camera: CameraId, command: Command) -> Result<(), ControlError>;

    /// What is heard from now on.
    fn events(&self) -> broadcast::Receiver<ControlEvent>;

    /// How the way to the broker stands.
    fn broker(&self) -> watch::Receiver<BrokerState>;

    /// What went to the cameras and came from them; nothing where nobody counts.
    fn counts(&self) -> ControlCounts {
        ControlCounts::default()
    }
}

#[async_trait]
impl CameraCommands for CameraControl {
    async fn send(&self, camera: CameraId, command: Command) -> Result<(), ControlError> {
        Self::send(self, camera, command).await
    }

    fn events(&self) -> broadcast::Receiver<ControlEvent> {
        Self::events(self)
    }

    fn broker(&self) -> watch::Receiver<BrokerState> {
        Self::broker(self)
    }

    fn counts(&self) -> ControlCounts {
        Self::counts(self)
    }
}
