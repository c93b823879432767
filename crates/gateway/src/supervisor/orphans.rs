//! Streams that a crash left running at their cameras. They are told to stop once the broker can be reached, unless the
//! camera is started before: then its stream's task does it, so that the order is right.

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

    fn next(&self) -> Option<CameraId> {
        self.lock().keys().next().copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CameraId, StreamId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells them all, as soon as the broker can be reached.
pub(super) async fn stop_all(shared: Arc<Shared>) {
    let deadline = Instant::now() + WORTH_TELLING;
    let mut broker = shared.commands.broker();
    while let Some(camera) = shared.orphans.next() {
        let connected = broker.wait_for(|state| *state == BrokerState::Connected);
        if !matches!(timeout_at(deadline, connected).await, Ok(Ok(_))) {
            tracing::warn!(
                "cameras that a crash left streaming could not be told to stop; they end by themselves"
            );
            return;
        }
        let Some(stream) = shared.orphans.take(camera) else {
            continue; // started meanwhile
        };
        match shared.commands.send(camera, Command::Stop { stream }).await {
            Ok(()) => {
                tracing::info!(%camera, %stream, "told a camera to stop what a crash left running")
            }
            Err(error) => {
                tracing::debug!(%camera, %error, "a camera could not be told to stop yet");
                // A stream that was started meanwhile must not be followed by this stop.
                if shared.streams.running(camera).is_none() {
                    shared.orphans.lock().insert(camera, stream);
                }
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}
