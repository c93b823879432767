//! The table of streams: one slot a camera, so that no camera ever has two.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apiary_core::lifecycle::{Input, Phase};
use apiary_wire::id::CameraId;
use apiary_wire::units::Bitrate;
use tokio::sync::{Notify, mpsc, watch};

use super::snapshot::StreamSnapshot;

/// Inputs that may wait for a stream's task. One more is not queued: the task is told to look for itself instead.
const INBOX: usize = 64;
/// Cameras whose last session is remembered; beyond it the one that ended longest ago is forgotten.
const REMEMBERED: usize = 4096;

/// The way to the task of a stream.
#[derive(Debug)]
pub(super) struct StreamLink {
    pub(super) camera: CameraId,
    /// What a viewer may be sent of it at most.
    pub(super) max_bitrate: Bitrate,
    inbox: mpsc::Sender<Input>,
    /// How the stream stands; the task and, if that panics, its keeper write it.
    pub(super) snapshot: watch::Sender<StreamSnapshot>,
    /// The table of viewers changed.
    pub(super) viewers_changed: Notify,
    /// An event was lost: ask the engine how the leg stands.
    pub(super) read_anew: Notify,
}

impl StreamLink {
    pub(super) fn new(
        snapshot: StreamSnapshot,
        max_bitrate: Bitrate,
    ) -> (Arc<Self>, mpsc::Receiver<Input>) {
        let (inbox, inputs) = mpsc::channel(INBOX);
        let link = Self {
            camera: snapshot.camera,
            max_bitrate,
            inbox,
            snapshot: watch::Sender::new(snapshot),
            viewers_changed: Notify::new(),
            read_anew: Notify::new(),
        };
        (Arc::new(link), inputs)
    }

    /// Hands over an event without waiting.
    pub(super) fn tell(&self, input: Input) {
        if self.inbox.try_send(input).is_err() {
            self.read_anew.notify_one();
        }
    }

    /// Hands over something that must not be lost.
    pub(super) async fn ask(&self, input: Input) {
        // A task that has ended needs no input any more.
        let _ = self.inbox.send(input).await;
    }

    pub(super) fn phase(&self) -> Phase {
        self.snapshot.borrow().phase
    }

    pub(super) fn current(&self) -> StreamSnapshot {
        self.snapshot.borrow().clone()
    }

    /// Waits for a state of the stream.
    pub(super) async fn wait_for(
        &self,
        reached: impl Fn(&StreamSnapshot) -> bool,
    ) -> StreamSnapshot {
        let mut snapshot = self.snapshot.subscribe();
        match snapshot.wait_for(|snapshot| reached(snapshot)).await {
            Ok(snapshot) => snapshot.clone(),
            // Cannot be: the sender is in `self`.
            Err(_) => self.current(),
        }
    }
}

/// What happened with a camera's streams since the program started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) starts: u64,
    pub(super) stops: u64,
    pub(super) errors: u64,
    pub(super) last_error: Option<String>,
}

#[derive(Debug, Default)]
struct Slot {
    running: Option<Arc<StreamLink>>,
    last: Option<StreamSnapshot>,
    counters: Counters,
}

impl Slot {
    fn is_taken(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|link| !link.phase().is_over())
    }
}

/// What a claim of a camera's slot found.
pub(super) enum Claim<T> {
    /// It was free and is taken now.
    New(T),
    /// A stream runs.
    Running(Arc<StreamLink>),
    /// A stream is being stopped; the slot is free once that is over.
    Ending(Arc<StreamLink>),
    /// It is free, and as many others are taken as may be.
    Full,
}

#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<HashMap<CameraId, Slot>>);

impl Streams {
    /// Takes the camera's slot for a stream made by `make`, if no other has it, and fewer than `limit` run.
    pub(super) fn claim<T>(
        &self,
        camera: CameraId,
        limit: usize,
        make: impl FnOnce(&Counters) -> (Arc<StreamLink>, T),
    ) -> Claim<T> {
        let mut slots = self.lock();
        if !slots.contains_key(&camera) && slots.len() >= REMEMBERED {
            forget_oldest(&mut slots);
        }
        let running = slots.values().filter(|slot| slot.is_taken()).count();
        let slot = slots.entry(camera).or_default();
        if let Some(running) = &slot.running {
            match running.phase() {
                Phase::Idle | Phase::Starting | Phase::Active => {
                    return Claim::Running(Arc::clone(running));
                }
                Phase::Stopping => return Claim::Ending(Arc::clone(running)),
                Phase::Stopped | Phase::Error => {}
            }
        }
        if running >= limit {
            return Claim::Full;
        }
        slot.counters.starts += 1;
        let (link, made) = make(&slot.counters);
        slot.running = Some(link);
        Claim::New(made)
    }

    /// The task of `link` has ended: only its last words are kept.
    pub(super) fn finish(&self, link: &Arc<StreamLink>) {
        if let Entry::Occupied(mut slot) = self.lock().entry(link.camera) {
            let slot = slot.get_mut();
            if slot
                .running
                .as_ref()
                .is_some_and(|running| Arc::ptr_eq(running, link))
            {
                slot.running = None;
                slot.last = Some(link.current());
            }
        }
    }

    /// The stream that runs, the one that is being stopped included.
    pub(super) fn running(&self, camera: CameraId) -> Option<Arc<StreamLink>> {
        let slots = self.lock();
        let link = slots.get(&camera)?.running.as_ref()?;
        (!link.phase().is_over()).then(|| Arc::clone(link))
    }

    pub(super) fn all_running(&self) -> Vec<Arc<StreamLink>> {
        self.lock()
            .values()
            .filter_map(|slot| slot.running.clone())
            .filter(|link| !link.phase().is_over())
            .collect()
    }

    /// The stream that runs, or the last that did.
    pub(super) fn last(&self, camera: CameraId) -> Option<StreamSnapshot> {
        let slots = self.lock();
        let slot = slots.get(&camera)?;
        match &slot.running {
            Some(link) => Some(link.current()),
            None => slot.last.clone(),
        }
    }

    pub(super) fn counters(&self, camera: CameraId) -> Counters {
        self.lock()
            .get(&camera)
            .map(|slot| slot.counters.clone())
            .unwrap_or_default()
    }

    pub(super) fn count_stop(&self, camera: CameraId) {
        if let Some(slot) = self.lock().get_mut(&camera) {
            slot.counters.stops += 1;
        }
    }

    pub(super) fn count_error(&self, camera: CameraId, error: &str) {
        if let Some(slot) = self.lock().get_mut(&camera) {
            slot.counters.errors += 1;
            slot.counters.last_error = Some(error.to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CameraId, Slot>> {
        // Each critical section leaves every slot whole at each step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_oldest(slots: &mut HashMap<CameraId, Slot>) {
    let oldest = slots
        .iter()
        .filter(|(_, slot)| slot.running.is_none())
        .min_by_key(|(_, slot)| slot.last.as_ref().and_then(|last| last.stopped_at))
        .map(|(camera, _)| *camera);
    if let Some(camera) = oldest {
        slots.remove(&camera);
    }
}
