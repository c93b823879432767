//! What the control plane and the workers share: who is where, and the event channel. Never touched per packet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apiary_wire::id::{CameraId, StreamId, ViewerId};
use std::net::Ipv4Addr;
use tokio::sync::broadcast;

use crate::engine::{
    BitrateBounds, EVENT_QUEUE, EngineEvent, IngestPorts, LegLoss, ViewerGoneReason,
};

/// The shared state.
pub(super) struct Shared {
    events: broadcast::Sender<EngineEvent>,
    directory: Mutex<Directory>,
    dropped: AtomicU64,
    turns: Turns,
}

/// Since when each worker has been in the turn that it is in.
struct Turns {
    epoch: Instant,
    /// Milliseconds after the epoch, and one; 0 while the worker waits.
    began: Vec<AtomicU64>,
}

/// Who is served by which worker.
#[derive(Default)]
pub(super) struct Directory {
    pub(super) streams: HashMap<CameraId, StreamEntry>,
    pub(super) viewers: HashMap<ViewerId, ViewerEntry>,
    pub(super) closed: bool,
}

/// An open stream.
#[derive(Clone, Copy)]
pub(super) struct StreamEntry {
    pub(super) home: usize,
    pub(super) stream: StreamId,
    pub(super) advertised: Ipv4Addr,
    pub(super) bounds: BitrateBounds,
    pub(super) ports: IngestPorts,
}

/// A viewer that has its answer.
#[derive(Clone, Copy)]
pub(super) struct ViewerEntry {
    pub(super) worker: usize,
    pub(super) camera: CameraId,
    /// Its voice is taken when it is its turn.
    pub(super) speaks: bool,
}

impl Shared {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            events: broadcast::Sender::new(EVENT_QUEUE),
            directory: Mutex::default(),
            dropped: AtomicU64::new(0),
            turns: Turns {
                epoch: Instant::now(),
                began: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            },
        }
    }

    pub(super) fn emit(&self, event: EngineEvent) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<EngineEvent> {
        self.events.subscribe()
    }

    /// A panic while it was locked left at worst an entry too many.
    pub(super) fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A viewer's resources are free.
    pub(super) fn viewer_gone(&self, camera: CameraId, viewer: ViewerId, reason: ViewerGoneReason) {
        if self.directory().viewers.remove(&viewer).is_some() {
            self.emit(EngineEvent::ViewerGone {
                camera,
                viewer,
                reason,
            });
        }
    }

    /// The worker has something to do from now on.
    pub(super) fn turn_begins(&self, worker: usize, now: Instant) {
        let since_epoch = now.saturating_duration_since(self.turns.epoch);
        self.turns.began[worker].store(since_epoch.as_millis() as u64 + 1, Ordering::Relaxed);
    }

    /// The worker waits from now on.
    pub(super) fn turn_ends(&self, worker: usize) {
        self.turns.began[worker].store(0, Ordering::Relaxed);
    }

    /// How long the longest turn that is under way has lasted.
    pub(super) fn longest_turn(&self) -> Duration {
        let now = self.turns.epoch.elapsed();
        let began = self.turns.began.iter();
        began
            .filter_map(|began| began.load(Ordering::Relaxed).checked_sub(1))
            .map(|began| now.saturating_sub(Duration::from_millis(began)))
            .max()
            .unwrap_or_default()
    }

    /// Packets that the kernel did not take; the first are said, then each power of two.
    pub(super) fn count_dropped(&self, packets: u64) {
        let before = self.dropped.fetch_add(packets, Ordering::Relaxed);
        if before.checked_ilog2() != (before + packets).checked_ilog2() {
            tracing::warn!(
                dropped = before + packets,
                "the network takes packets for viewers too slowly; they were dropped"
            );
        }
    }

    /// Forgets what a dead worker served; reports it and gives its streams, of
    /// which other workers may have viewers.
    pub(super) fn worker_lost(&self, worker: usize) -> Vec<CameraId> {
        let (viewers, streams) = {
            let mut directory = self.directory();
            let viewers: Vec<(ViewerId, CameraId)> = directory
                .viewers
                .iter()
                .filter(|(_, entry)| entry.worker == worker)
                .map(|(&viewer, entry)| (viewer, entry.camera))
                .collect();
            let streams: Vec<CameraId> = directory
                .streams
                .iter()
                .filter(|(_, entry)| entry.home == worker)
                .map(|(&camera, _)| camera)
                .collect();
            directory.streams.retain(|_, entry| entry.home != worker);
            (viewers, streams)
        };
        for (viewer, camera) in viewers {
            self.viewer_gone(camera, viewer, ViewerGoneReason::WorkerLost);
        }
        self.emit(EngineEvent::LegsLost {
            cause: LegLoss::Worker(worker),
            streams: streams.clone(),
        });
        streams
    }
}
