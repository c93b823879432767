//! What the supervisor's handle and its tasks share.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use apiary_core::lifecycle::Rules;
use apiary_media::engine::{BitrateBounds, MediaEngine};
use apiary_store::{Store, StoreError, StoreWriter, ViewerSession, Write};
use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::units::Bitrate;
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cameras::{Cameras, Heard};
use super::commands::CameraCommands;
use super::dispatch::{Dispatcher, FENCES, Fence};
use super::error::JoinError;
use super::orphans::{self, Orphans};
use super::pictures::Pictures;
use super::snapshot::{Gone, SupervisorEvent};
use super::streams::{StreamLink, Streams};
use super::talks::Talks;
use super::totals::Totals;
use super::viewers::{Full, Viewers};
use crate::config::Config;
use crate::config::values::BrokerTarget;

/// Events that may wait for a slow subscriber before the oldest are lost to it.
pub const EVENT_QUEUE: usize = 1024;
/// Longest that a stream waits for the engine's earlier events.
const FENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the supervisor works with.
pub struct SupervisorParts {
    /// Timeouts, bounds and addresses.
    pub config: Arc<Config>,
    /// Moves the pictures.
    pub engine: Arc<dyn MediaEngine>,
    /// The way to the cameras.
    pub commands: Arc<dyn CameraCommands>,
    /// Read at the start, and for who asks what happened.
    pub store: Arc<dyn Store>,
    /// The way on which everything is written.
    pub writer: StoreWriter,
}

pub(super) struct Shared {
    config: RwLock<Arc<Config>>,
    pub(super) engine: Arc<dyn MediaEngine>,
    pub(super) commands: Arc<dyn CameraCommands>,
    pub(super) store: Arc<dyn Store>,
    pub(super) writer: StoreWriter,
    pub(super) streams: Streams,
    pub(super) viewers: Viewers,
    pub(super) talks: Talks,
    pub(super) cameras: Cameras,
    pub(super) orphans: Orphans,
    pub(super) pictures: Pictures,
    pub(super) totals: Totals,
    /// No stream starts any more.
    pub(super) stopping: CancellationToken,
    /// All streams are over; the other tasks end.
    pub(super) ended: CancellationToken,
    channels: Channels,
    tasks: Mutex<JoinSet<()>>,
}

struct Channels {
    events: broadcast::Sender<SupervisorEvent>,
    fences: mpsc::Sender<Fence>,
}

impl Shared {
    /// Reads what was kept, closes what a crash left open, and starts the tasks.
    pub(super) async fn start(parts: SupervisorParts) -> Result<Arc<Self>, StoreError> {
        let SupervisorParts {
            config,
            engine,
            commands,
            store,
            writer,
        } = parts;
        let interrupted = store.interrupt_open_sessions(Timestamp::now()).await?;
        if !interrupted.is_empty() {
            tracing::warn!(
                streams = interrupted.len(),
                "the program did not end properly the last time; closing what it left open"
            );
        }
        let embedded = matches!(config.mqtt.broker, BrokerTarget::Embedded);
        let cameras = Cameras::load(store.cameras().await?, embedded);
        let (fences, waiting_fences) = mpsc::channel(FENCES);
        let shared = Arc::new(Self {
            config: RwLock::new(config),
            engine,
            commands,
            store,
            writer,
            streams: Streams::default(),
            viewers: Viewers::default(),
            talks: Talks::default(),
            cameras,
            orphans: Orphans::new(&interrupted),
            pictures: Pictures::default(),
            totals: Totals::default(),
            stopping: CancellationToken::new(),
            ended: CancellationToken::new(),
            channels: Channels {
                events: broadcast::Sender::new(EVENT_QUEUE),
                fences,
            },
            tasks: Mutex::default(),
        });
        let dispatcher = Dispatcher {
            engine: shared.engine.events(),
            cameras: shared.commands.events(),
            fences: waiting_fences,
            shared: Arc::clone(&shared),
        };
        shared.spawn(dispatcher.keep());
        let (ended, stopping_orphans) =
            (shared.ended.clone(), orphans::stop_all(Arc::clone(&shared)));
        shared.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = stopping_orphans => {}
            }
        });
        Ok(shared)
    }

    /// Whether a command can be expected to reach the camera, the broker permitting. Cameras stay connected to an external
    /// broker while this program restarts; to the embedded one they must come back first.
    pub(super) fn reaches(&self, camera: CameraId) -> bool {
        !self.is_broker_embedded() || self.cameras.online(camera) == Some(true)
    }

    fn is_broker_embedded(&self) -> bool {
        matches!(self.config().mqtt.broker, BrokerTarget::Embedded)
    }

    /// As it is now.
    pub(super) fn config(&self) -> Arc<Config> {
        // It is replaced as a whole.
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_config(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(super) fn rules(&self) -> Rules {
        let config = self.config();
        let stream = &config.stream;
        Rules {
            start_timeout: stream.start_timeout,
            idle_timeout: stream.idle_timeout,
            keepalive_interval: config.mqtt.keepalive_interval,
            replay_after: stream.replay_timeout,
            replay_pause_max: stream.replay_backoff_max,
        }
    }

    pub(super) fn bitrate(&self) -> BitrateBounds {
        let media = &self.config().media;
        BitrateBounds {
            min: media.min_bitrate,
            max: media.max_bitrate,
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<SupervisorEvent> {
        self.channels.events.subscribe()
    }

    pub(super) fn tell(&self, event: SupervisorEvent) {
        // Without subscribers nobody misses it.
        let _ = self.channels.events.send(event);
    }

    pub(super) fn on_heard(&self, heard: Heard) {
        if let Some(row) = heard.row {
            self.writer.write(Write::Camera(row));
        }
        if let Some(event) = heard.event {
            self.tell(SupervisorEvent::CameraEvent(event.clone()));
            self.writer.write(Write::CameraEvent(event));
        }
        if let Some(changed) = heard.changed {
            self.tell(SupervisorEvent::CameraChanged(changed));
        }
    }

    /// A viewer is gone: everybody who needs to know is told, once.
    pub(super) fn forget_viewer(&self, viewer: ViewerId, why: &Gone) {
        let Some(gone) = self.viewers.remove(viewer, Timestamp::now()) else {
            return;
        };
        let camera = gone.camera;
        self.talk_ended(camera, viewer);
        self.totals.viewers_gone.count(why.class);
        let joined = gone.session.webrtc_endpoint_id.is_some();
        if joined {
            self.writer.write(Write::ViewerSession(gone.session));
        }
        self.viewers_changed(camera);
        self.tell(SupervisorEvent::ViewerGone {
            viewer,
            camera,
            reason: why.reason(),
            retry: why.retry,
            joined,
        });
    }

    /// Takes a place for a viewer that is about to join.
    ///
    /// # Errors
    /// [`JoinError::NoBandwidth`].
    pub(super) fn let_in(
        &self,
        link: &StreamLink,
        session: ViewerSession,
    ) -> Result<(), JoinError> {
        let limit_mbps = self.config().media.max_total_mbps;
        let limit = match limit_mbps {
            0 => Bitrate::MAX,
            mbps => Bitrate::from_kbps(u64::from(mbps) * 1000),
        };
        self.viewers
            .add(link.camera, session, link.max_bitrate, limit)
            .map_err(|Full| JoinError::NoBandwidth { limit_mbps })
    }

    /// A viewer is being sent its stream.
    pub(super) fn viewer_connected(&self, viewer: ViewerId) {
        if let Some(took) = self.viewers.connected(viewer) {
            self.totals.join_connected.note(took);
        }
    }

    pub(super) fn viewers_changed(&self, camera: CameraId) {
        if let Some(link) = self.streams.running(camera) {
            link.viewers_changed.notify_one();
        }
    }

    /// Returns once all events that the engine has given so far are handed over.
    pub(super) async fn settle_engine_events(&self) {
        let (fence, settled) = oneshot::channel();
        let wait = async {
            if self.channels.fences.send(fence).await.is_ok() {
                let _ = settled.await;
            }
        };
        if timeout(FENCE_TIMEOUT, wait).await.is_err() {
            tracing::warn!("the engine's events are handed over slowly");
        }
    }

    /// Starts a task that [`Shared::join_all`] awaits.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended are let go of here, so that they do not pile up.
        while let Some(ended) = tasks.try_join_next() {
            log_panic(ended);
        }
        tasks.spawn(task);
    }

    /// Awaits all tasks, then aborts those that take longer than `patience`.
    pub(super) async fn join_all(&self, patience: Duration) {
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                log_panic(ended);
            }
        };
        if timeout(patience, all).await.is_err() {
            tracing::warn!(
                tasks = tasks.len(),
                "some tasks did not end in time and are aborted"
            );
            tasks.shutdown().await;
        }
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the supervisor failed");
    }
}
