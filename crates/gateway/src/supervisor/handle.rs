//! The handle through which everybody else starts, stops and watches streams.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use apiary_core::lifecycle::{Input, Lifecycle, Phase, StopReason};
use apiary_media::engine::{BitrateBounds, EngineError, IceParameters};
use apiary_store::{CameraEvent, EventFilter, EventId, StoreError, Write};
use apiary_wire::camera::{Command, Mode};
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use apiary_wire::units::Bitrate;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::{broadcast, oneshot};
use tokio::time::timeout;
use tracing::Instrument as _;
use uuid::Uuid;

use super::cameras::LabelChange;
use super::error::{CommandError, LabelError, NoPicture, NoStream, StartError};
use super::pictures::Picture;
use super::session::{Order, Session};
use super::shared::{Shared, SupervisorParts};
use super::snapshot::{CameraSnapshot, Gone, StreamSnapshot, SupervisorEvent, ViewerSnapshot};
use super::stream_task::{self, Opened, StreamTask};
use super::streams::{Claim, StreamLink};
use super::totals::Totals;
use super::viewers::Viewer;
use crate::config::Config;
use crate::telemetry::TRACE;

/// Longest that a stop, or a start behind a stop, waits for the end of the stream.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// Longest that somebody waits for a camera's new name to be kept.
const LABEL_PATIENCE: Duration = Duration::from_secs(5);
/// How long somebody who asks what happened waits for what is being written.
const CATCHING_UP: Duration = Duration::from_millis(500);
/// Time for all streams to stop at the end of the program.
const SHUTDOWN_STREAMS: Duration = Duration::from_millis(2500);
/// Time for the other tasks, which have nothing to wait for.
const SHUTDOWN_TASKS: Duration = Duration::from_millis(500);

/// What a start may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartOptions {
    /// The camera is never asked for less; within the configured bounds.
    pub min_bitrate: Option<Bitrate>,
    /// The camera is never asked for more; within the configured bounds.
    pub max_bitrate: Option<Bitrate>,
    /// Who asks: decides which address the camera is told to send to.
    pub requester: Option<IpAddr>,
}

/// The handle; clones are the same supervisor.
#[derive(Clone)]
pub struct Supervisor {
    pub(super) shared: Arc<Shared>,
}

impl Supervisor {
    /// Starts the supervisor: cameras become known again, and what a crash left running is stopped.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start_up(parts: SupervisorParts) -> Result<Self, StoreError> {
        let shared = Shared::start(parts).await?;
        Ok(Self { shared })
    }

    /// Takes over settings for streams that start from now on.
    pub fn reload(&self, config: Arc<Config>) {
        self.shared.set_config(config);
    }

    /// The settings as they count now.
    pub fn config(&self) -> Arc<Config> {
        self.shared.config()
    }

    /// Starts a camera's stream; done as soon as its leg is open and the camera is being told.
    ///
    /// # Errors
    /// When it runs already, the bounds contradict each other or the engine has no room.
    #[tracing::instrument(name = "start stream", target = TRACE, skip_all, fields(%camera))]
    pub async fn start(
        &self,
        camera: CameraId,
        options: StartOptions,
    ) -> Result<StreamSnapshot, StartError> {
        let bitrate = bounds(self.shared.bitrate(), options)?;
        let order = Order {
            camera,
            stream: StreamId(Uuid::new_v4()),
            advertised: self.shared.config().advertised_address(options.requester),
            bitrate,
        };
        loop {
            if self.shared.stopping.is_cancelled() {
                return Err(StartError::ShuttingDown);
            }
            match self.claim(order) {
                Claim::New(opened) => {
                    self.shared.totals.streams_started.add_one();
                    let heard = self.shared.cameras.asked_for(camera, Timestamp::now());
                    self.shared.on_heard(heard);
                    // The task answers first of all; without an answer it panicked.
                    return match opened.await {
                        Ok(opened) => opened.map_err(StartError::Engine),
                        Err(_) => Err(StartError::Engine(EngineError::WorkerLost)),
                    };
                }
                Claim::Full => {
                    let limit = self.shared.config().stream.max_streams;
                    return Err(StartError::StreamLimit { limit });
                }
                Claim::Running(link) => {
                    return Err(StartError::AlreadyRunning(Box::new(link.current())));
                }
                Claim::Ending(link) => {
                    if timeout(STOP_WAIT, link.wait_for(is_over)).await.is_err() {
                        return Err(StartError::AlreadyRunning(Box::new(link.current())));
                    }
                }
            }
        }
    }

    /// Takes the camera's slot and starts the task, with nothing awaited between.
    fn claim(&self, order: Order) -> Claim<oneshot::Receiver<Result<StreamSnapshot, EngineError>>> {
        let limit = match self.shared.config().stream.max_streams {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let claim = self.shared.streams.claim(order.camera, limit, |counters| {
            let mut first = Some(order.stream);
            let fresh = move || first.take().unwrap_or_else(|| StreamId(Uuid::new_v4()));
            let lifecycle = Lifecycle::new(self.shared.rules(), fresh);
            let interval = self.shared.config().mqtt.keepalive_interval;
            let session = Session::new(order, interval, Timestamp::now());
            let snapshot = session.begin(&lifecycle, counters);
            let (link, inbox) = StreamLink::new(snapshot, order.bitrate.max);
            (Arc::clone(&link), (link, inbox, lifecycle, session))
        });
        match claim {
            Claim::Running(link) => Claim::Running(link),
            Claim::Ending(link) => Claim::Ending(link),
            Claim::Full => Claim::Full,
            Claim::New((link, inbox, lifecycle, session)) => {
                let (opened, wait): (Opened, _) = oneshot::channel();
                let span = tracing::info_span!("stream", camera = %order.camera, session = session.session_id);
                let task = StreamTask {
                    shared: Arc::clone(&self.shared),
                    link,
                    inbox,
                    lifecycle,
                    session,
                    opened: Some(opened),
                    backlog: VecDeque::new(),
                    in_flight: FuturesUnordered::new(),
                };
                self.shared.spawn(stream_task::keep(task).instrument(span));
                Claim::New(wait)
            }
        }
    }

    /// Stops a camera's stream; done when the camera was told and the leg is closed.
    ///
    /// # Errors
    /// When it has none.
    pub async fn stop(&self, camera: CameraId) -> Result<StreamSnapshot, NoStream> {
        let link = self
            .shared
            .streams
            .running(camera)
            .ok_or(NoStream { camera })?;
        self.shared.streams.count_stop(camera);
        Ok(stop(&link, StopReason::Asked).await)
    }

    /// The streams that run, those that are being stopped included.
    pub fn streams(&self) -> Vec<StreamSnapshot> {
        let mut streams: Vec<_> = self
            .shared
            .streams
            .all_running()
            .iter()
            .map(|link| link.current())
            .collect();
        streams.sort_by_key(|stream| (stream.started_at, stream.camera));
        streams
    }

    /// The camera's stream that runs, or the last that did.
    pub fn stream(&self, camera: CameraId) -> Option<StreamSnapshot> {
        self.shared.streams.last(camera)
    }

    /// Who watches one camera, or any, in the order of arrival.
    pub fn viewers(&self, camera: Option<CameraId>) -> Vec<ViewerSnapshot> {
        let viewers = self.shared.viewers.list(camera);
        viewers
            .into_iter()
            .filter_map(|viewer| self.viewer(viewer))
            .collect()
    }

    fn viewer(&self, viewer: Viewer) -> Option<ViewerSnapshot> {
        let stream = self.shared.streams.last(viewer.camera)?;
        Some(ViewerSnapshot {
            viewer: viewer.session.viewer,
            camera: viewer.camera,
            stream: stream.stream,
            created_at: viewer.session.connected_at,
            webrtc_endpoint_id: viewer.session.webrtc_endpoint_id.unwrap_or_default(),
            connected: viewer.connected,
        })
    }

    /// All cameras that are known, in the order that their owner gave them, then by id.
    pub fn cameras(&self) -> Vec<CameraSnapshot> {
        self.shared.cameras.all()
    }

    /// What happened to all streams and viewers together.
    pub fn totals(&self) -> &Totals {
        &self.shared.totals
    }

    /// A camera, if it is known.
    pub fn camera(&self, camera: CameraId) -> Option<CameraSnapshot> {
        self.shared.cameras.get(camera)
    }

    /// Changes what the owner says of a camera; done when that is kept.
    ///
    /// # Errors
    /// When the camera is not known, or the database does not take the change.
    pub async fn label_camera(
        &self,
        camera: CameraId,
        change: LabelChange,
    ) -> Result<CameraSnapshot, LabelError> {
        let (row, snapshot) = self
            .shared
            .cameras
            .label(camera, change, Timestamp::now())
            .ok_or(LabelError::UnknownCamera(camera))?;
        self.shared
            .tell(SupervisorEvent::CameraChanged(snapshot.clone()));
        let row = Write::Camera(row);
        self.shared.writer.keep(row, LABEL_PATIENCE).await?;
        Ok(snapshot)
    }

    /// Tells a camera something that concerns no stream; done when the broker took it. What comes of it the camera reports.
    ///
    /// # Errors
    /// When the camera is not known or not connected, or the broker does not take the command.
    pub async fn command(&self, camera: CameraId, command: Command) -> Result<(), CommandError> {
        let known = self.camera(camera);
        let known = known.ok_or(CommandError::UnknownCamera(camera))?;
        if known.online == Some(false) {
            return Err(CommandError::Offline(camera));
        }
        let action = command.action();
        let sent = self.shared.commands.send(camera, command).await;
        sent.map_err(|source| CommandError::Control { camera, source })?;
        tracing::info!(%camera, action, "camera commanded");
        Ok(())
    }

    /// The last picture of a camera: of its stream while it runs, and for a time afterwards.
    ///
    /// # Errors
    /// When there is none, or none is to be shown.
    pub async fn picture(&self, camera: CameraId) -> Result<Picture, NoPicture> {
        if self.camera(camera).is_some_and(|known| is_private(&known)) {
            self.shared.pictures.forget(camera);
            return Err(NoPicture::Private(camera));
        }
        let picture = self.shared.picture(camera).await;
        picture.ok_or(NoPicture::None(camera))
    }

    /// Whether a picture of that camera is kept and may be shown.
    pub fn keeps_picture(&self, camera: &CameraSnapshot) -> bool {
        !is_private(camera) && self.shared.pictures.has(camera.camera)
    }

    /// What happened to cameras, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn camera_events(
        &self,
        filter: EventFilter,
        limit: u32,
        before: Option<EventId>,
    ) -> Result<Vec<CameraEvent>, StoreError> {
        if before.is_none() {
            // Who was told of something before they ask finds it here, unless the database is slow.
            let written = self.shared.writer.flush();
            let _ = timeout(CATCHING_UP, written).await;
        }
        self.shared.store.camera_events(filter, limit, before).await
    }

    /// What changes from now on. A subscriber that lags must read the state anew.
    pub fn events(&self) -> broadcast::Receiver<SupervisorEvent> {
        self.shared.subscribe()
    }

    /// Takes a trickled candidate (`candidate:…`); the empty text ends the candidates.
    ///
    /// # Errors
    /// [`EngineError::UnknownViewer`], or [`EngineError::Candidate`].
    pub async fn add_candidate(
        &self,
        viewer: ViewerId,
        candidate: &str,
    ) -> Result<(), EngineError> {
        self.shared.engine.add_candidate(viewer, candidate).await
    }

    /// Restarts ICE with the viewer's new credentials.
    ///
    /// # Errors
    /// [`EngineError::UnknownViewer`], or what is wrong with the credentials.
    pub async fn restart_ice(
        &self,
        viewer: ViewerId,
        ufrag: &str,
        pwd: &str,
    ) -> Result<IceParameters, EngineError> {
        self.shared.engine.restart_ice(viewer, ufrag, pwd).await
    }

    /// Lets a viewer go. Letting go of one that is gone is fine.
    pub async fn leave(&self, viewer: ViewerId) {
        self.let_go(viewer, &Gone::LEFT).await;
    }

    /// Ends the view of somebody who may not watch any more, and tells them.
    pub async fn expel(&self, viewer: ViewerId) {
        self.let_go(viewer, &Gone::EXPELLED).await;
    }

    async fn let_go(&self, viewer: ViewerId, why: &Gone) {
        self.shared.forget_viewer(viewer, why);
        if let Err(error) = self.shared.engine.leave(viewer).await {
            tracing::debug!(%viewer, %error, "the engine could not let a viewer go");
        }
    }

    /// Stops all streams (cameras and viewers are told), then ends the tasks. Takes 3 s at most.
    pub async fn shutdown(&self) {
        self.shared.stopping.cancel();
        let links = self.shared.streams.all_running();
        let stops = links.iter().map(|link| stop(link, StopReason::Shutdown));
        if timeout(SHUTDOWN_STREAMS, join_all(stops)).await.is_err() {
            tracing::warn!("some streams did not stop in time");
        }
        // The last goodbyes of the engine reach the viewers' pages before the dispatcher ends.
        self.shared.settle_engine_events().await;
        self.shared.ended.cancel();
        self.shared.join_all(SHUTDOWN_TASKS).await;
    }
}

fn is_private(camera: &CameraSnapshot) -> bool {
    let mode = camera.report.mode.as_deref();
    mode.is_some_and(|mode| mode.parse() == Ok(Mode::Privacy))
}

pub(super) fn stop_input(reason: StopReason) -> Input {
    Input::StopAsked { reason }
}

async fn stop(link: &StreamLink, reason: StopReason) -> StreamSnapshot {
    let stopped = async {
        link.ask(stop_input(reason)).await;
        link.wait_for(is_over).await
    };
    match timeout(STOP_WAIT, stopped).await {
        Ok(stream) => stream,
        Err(_) => link.current(),
    }
}

fn is_over(stream: &StreamSnapshot) -> bool {
    stream.phase.is_over()
}

pub(super) fn is_ending(stream: &StreamSnapshot) -> bool {
    is_over(stream) || stream.phase == Phase::Stopping
}

/// What was asked for, within what is configured.
fn bounds(configured: BitrateBounds, options: StartOptions) -> Result<BitrateBounds, StartError> {
    let max = options.max_bitrate.unwrap_or(configured.max);
    // A maximum below the configured minimum alone is no contradiction.
    let min = options.min_bitrate.unwrap_or(configured.min.min(max));
    if min.as_bps() == 0 || min > max {
        return Err(StartError::BadBounds { min, max });
    }
    Ok(BitrateBounds {
        min: min.clamp(configured.min, configured.max),
        max: max.clamp(configured.min, configured.max),
    })
}
