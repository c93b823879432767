//! Streams that a crash left running at their cameras. They are told to stop once they can be reached: over an external
//! broker when that can, over the embedded one (which crashed too) when they have come back to it. Where the camera is
//! started before that, its stream's task does it right before the play, so that the order is right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apiary_store::InterruptedSession;
use apiary_wire::camera::Command;
use apiary_wire::id::{CameraId, StreamId};
use tokio::time::{Instant, sleep, timeout_at};

use super::Shared;
use crate::mqtt::BrokerState;

/// Cameras end a stream by themselves 30 s after the last keepalive; after this it is not worth telling them.
const WORTH_TELLING: Duration = Duration::from_secs(60);
/// Pause before those that could not be told are tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Orphans(Mutex<HashMap<CameraId, StreamId>>);

impl Orphans {
    pub(super) fn new(interrupted: &[InterruptedSession]) -> Self {
        let streams = interrupted
            .iter()
            .map(|session| (session.camera, session.stream));
        Self(Mutex::new(streams.collect()))
    }

    pub(super) fn take(&self, camera: CameraId) -> Option<StreamId> {
        self.lock().remove(&camera)
    }

    /// The camera could not be told.
    pub(super) fn put_back(&self, camera: CameraId, stream: StreamId) {
        self.lock().insert(camera, stream);
    }

    fn cameras(&self) -> Vec<CameraId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CameraId, StreamId>> {
        // Each critical section is one operation of the map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells them all, as soon as the broker can be reached.
pub(super) async fn stop_all(shared: Arc<Shared>) {
    let deadline = Instant::now() + WORTH_TELLING;
    let mut broker = shared.commands.broker();
    while !shared.orphans.cameras().is_empty() {
        let connected = broker.wait_for(|state| *state == BrokerState::Connected);
        if !matches!(timeout_at(deadline, connected).await, Ok(Ok(_))) || Instant::now() >= deadline
        {
            tracing::warn!(
                "cameras that a crash left streaming could not be told to stop; they end by themselves"
            );
            return;
        }
        for camera in shared.orphans.cameras() {
            // A stop after the play of a new stream could end that.
            if shared.reaches(camera) && shared.streams.running(camera).is_none() {
                stop(&shared, camera).await;
            }
        }
        sleep(RETRY_PAUSE).await;
    }
}

async fn stop(shared: &Shared, camera: CameraId) {
    let Some(stream) = shared.orphans.take(camera) else {
        return;
    };
    match shared.commands.send(camera, Command::Stop { stream }).await {
        Ok(()) => {
            tracing::info!(%camera, %stream, "told a camera to stop what a crash left running");
        }
        Err(error) => {
            tracing::debug!(%camera, %error, "a camera could not be told to stop yet");
            shared.orphans.put_back(camera, stream);
        }
    }
}
