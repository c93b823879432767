//! The servers together: which one takes a stream, what becomes of the streams of one that is lost or drained, and the tasks
//! that watch over each.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::kurento::ObjectId;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::Client;
use super::connection::{Connection, ConnectionConfig};
use super::events::ServerListener;
use super::server::Server;
use super::tables::{GoneViewer, Place, Shared, StreamLeg, Tables};
use super::{KurentoConfig, ServerAddress, watching};
use crate::engine::{
    BitrateBounds, EVENT_QUEUE, EngineError, EngineEvent, EngineHealth, LegLoss, ViewerGoneReason,
};

/// Longest that a server which left the pool is kept for its last releases.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether something is over that nobody tells of.
const POLL: Duration = Duration::from_millis(5);

/// A server of the pool, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Where it is.
    pub address: ServerAddress,
    /// What cameras are told to send to. `None`: for a server on this machine what the stream's spec says, else the address that
    /// the server is reached at.
    pub advertised: Option<Ipv4Addr>,
    /// It gets no new streams.
    pub drain: bool,
}

impl ServerSpec {
    /// A server without any special wishes.
    pub fn new(address: ServerAddress) -> Self {
        Self {
            address,
            advertised: None,
            drain: false,
        }
    }
}

/// Why a server cannot be drained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// It is none of the pool.
    #[error("{url} is not one of the media servers: {}", .known.join(", "))]
    Unknown {
        /// What was asked for.
        url: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Its streams would have nowhere to go.
    #[error("no other media server could take the streams of {url}")]
    NoOther {
        /// What was asked for.
        url: String,
    },
}

pub(super) struct Pool {
    pub(super) config: KurentoConfig,
    pub(super) tables: Shared,
    pub(super) events: broadcast::Sender<EngineEvent>,
    pub(super) stop: CancellationToken,
    servers: Mutex<Vec<Arc<Server>>>,
    tasks: TaskTracker,
    runtime: Handle,
    /// A server became ready, or was given up.
    changed: Notify,
    /// For what outlives a call.
    this: Weak<Self>,
}

impl Pool {
    pub(super) fn start(config: KurentoConfig) -> Arc<Self> {
        let specs = config.servers.clone();
        let pool = Arc::new_cyclic(|this| Self {
            config,
            tables: Shared::default(),
            events: broadcast::Sender::new(EVENT_QUEUE),
            stop: CancellationToken::new(),
            servers: Mutex::default(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            changed: Notify::new(),
            this: Weak::clone(this),
        });
        pool.reconfigure(specs);
        pool
    }

    pub(super) fn emit(&self, event: EngineEvent) {
        // Without subscribers nobody misses it.
        let _ = self.events.send(event);
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Arc<Server>>> {
        // Changed by single pushes and retains.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All servers, to be used without holding the lock.
    fn all(&self) -> Vec<Arc<Server>> {
        self.servers().clone()
    }

    /// Where an open stream is, and its bounds.
    pub(super) fn leg(&self, camera: CameraId) -> Result<(StreamLeg, BitrateBounds), EngineError> {
        let tables = self.tables.lock();
        let (leg, bitrate) = tables
            .leg(camera)
            .ok_or(EngineError::UnknownStream(camera))?;
        Ok((leg.clone(), bitrate))
    }

    // ---- which server ----

    /// The ready server with the least load that was not tried yet, of equals the first configured.
    pub(super) fn pick(&self, tried: &[Arc<Server>]) -> Option<Arc<Server>> {
        self.pick_with(&self.tables.lock(), tried)
    }

    /// The same for a stream, whose place is there from now on, so that those who are picked for at the same time see it.
    pub(super) fn pick_for(
        &self,
        camera: CameraId,
        tried: &[Arc<Server>],
    ) -> Result<Option<Arc<Server>>, EngineError> {
        let mut tables = self.tables.lock();
        let picked = self.pick_with(&tables, tried);
        let stream = tables.streams.get_mut(&camera);
        let stream = stream.ok_or(EngineError::UnknownStream(camera))?; // closed meanwhile
        stream.place = match &picked {
            Some(server) => Place::Opening(Arc::clone(server)),
            None => Place::Sought,
        };
        Ok(picked)
    }

    fn pick_with(&self, tables: &Tables, tried: &[Arc<Server>]) -> Option<Arc<Server>> {
        let load = |server: &Arc<Server>| {
            let (streams, viewers) = tables.count_on(server);
            server.load(streams, viewers)
        };
        self.all()
            .into_iter()
            .filter(|server| server.is_ready())
            .filter(|server| !tried.iter().any(|tried| Arc::ptr_eq(tried, server)))
            .map(|server| (load(&server), server))
            .min_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, server)| server)
    }

    /// Waits for a server that was connected a moment ago and was not tried yet, where there is one. Whether one is ready now.
    pub(super) async fn wait_for_return(&self, tried: &[Arc<Server>], patience: Duration) -> bool {
        let deadline = sleep(patience);
        tokio::pin!(deadline);
        loop {
            let changed = self.changed.notified();
            if self.pick(tried).is_some() {
                return true;
            }
            let all = self.all();
            let mut untried = all
                .iter()
                .filter(|server| !tried.iter().any(|tried| Arc::ptr_eq(tried, server)));
            if !untried.any(|server| server.may_be_back_within(patience)) {
                return false;
            }
            tokio::select! {
                () = changed => {}
                () = &mut deadline => return false,
            }
        }
    }

    /// Waits for a server whose connection dropped. Whether it is there again.
    pub(super) async fn wait_for_reconnection(&self, server: &Server) -> bool {
        let reconnected = async {
            loop {
                let changed = self.changed.notified();
                if server.is_connected() {
                    return;
                }
                changed.await;
            }
        };
        timeout(self.config.failover_after, reconnected)
            .await
            .is_ok()
    }

    /// Why each server that was not tried takes no streams.
    pub(super) fn troubles(&self, tried: &[Arc<Server>]) -> Vec<String> {
        let all = self.all();
        let untried = all
            .iter()
            .filter(|server| !tried.iter().any(|tried| Arc::ptr_eq(tried, server)));
        untried.filter_map(|server| server.trouble()).collect()
    }

    pub(super) fn health(&self) -> EngineHealth {
        let all = self.all();
        let tables = self.tables.lock();
        let servers = all.iter().map(|server| {
            let (streams, viewers) = tables.count_on(server);
            server.report(streams, viewers)
        });
        let servers = servers.collect();
        drop(tables);
        let trouble = match all.iter().any(|server| server.is_ready()) {
            true => None,
            false => Some(format!(
                "no media server can take streams: {}",
                self.troubles(&[]).join("; ")
            )),
        };
        EngineHealth { trouble, servers }
    }

    // ---- what is no more ----

    pub(super) fn close_stream(&self, camera: CameraId, reason: &ViewerGoneReason) {
        let gone = self.tables.lock().remove_stream(camera, reason);
        self.tell_gone(gone);
    }

    pub(super) fn remove_viewer(&self, viewer: ViewerId, reason: ViewerGoneReason) {
        let (gone, server) = {
            let mut tables = self.tables.lock();
            let entry = tables.viewers.get(&viewer);
            let server = entry.map(|entry| Arc::clone(&entry.server));
            (tables.remove_viewer(viewer, reason, true), server)
        };
        self.tell_gone(gone);
        if let Some(server) = server {
            self.on_viewer_gone(&server);
        }
    }

    /// A stream that is idle now leaves a server that is drained.
    pub(super) fn on_viewer_gone(&self, server: &Arc<Server>) {
        if server.is_draining() {
            self.move_streams(server, false);
        }
    }

    fn tell_gone(&self, gone: impl IntoIterator<Item = GoneViewer>) {
        for GoneViewer {
            viewer,
            camera,
            reason,
        } in gone
        {
            self.emit(EngineEvent::ViewerGone {
                camera,
                viewer,
                reason,
            });
        }
    }

    /// Takes out the open streams on a server that `concern` it, and says so; whoever wants them opens them again.
    pub(super) fn lose(
        &self,
        server: &Arc<Server>,
        concern: impl Fn(&Tables, CameraId, &StreamLeg) -> bool,
        reason: &ViewerGoneReason,
        cause: LegLoss,
    ) {
        let (cameras, gone) = {
            let mut tables = self.tables.lock();
            let mut cameras = tables.cameras_on(server);
            cameras.retain(|camera| {
                let leg = tables.leg(*camera);
                leg.is_some_and(|(leg, _)| concern(&tables, *camera, leg))
            });
            let removed = cameras
                .iter()
                .flat_map(|camera| tables.remove_stream(*camera, reason));
            let gone: Vec<GoneViewer> = removed.collect();
            (cameras, gone)
        };
        if cameras.is_empty() {
            return;
        }
        tracing::warn!(server = server.name(), %cause, streams = cameras.len(), "streams are lost");
        self.tell_gone(gone);
        self.emit(EngineEvent::LegsLost {
            cause,
            streams: cameras,
        });
    }

    pub(super) fn on_server_lost(&self, server: &Arc<Server>, why: &str, forgotten: bool) {
        tracing::warn!(server = server.name(), why, "a media server is lost");
        // First, so that what is being set up on it now finds out.
        server.void_openings();
        // What is released on it from here on waits for its return.
        let cause = LegLoss::Server(server.name().to_owned());
        self.lose(server, |_, _, _| true, &ViewerGoneReason::ServerLost, cause);
        if forgotten {
            server.on_forgotten();
        }
        self.changed.notify_waiters();
    }

    /// The server is there, and the camera's endpoint on it is not: its session ended, or somebody else released it.
    pub(super) fn on_endpoint_vanished(&self, server: &Arc<Server>, endpoint: &ObjectId) {
        let cause = LegLoss::Server(server.name().to_owned());
        let is_it = |_: &Tables, _: CameraId, leg: &StreamLeg| leg.leg.endpoint == *endpoint;
        self.lose(server, is_it, &ViewerGoneReason::ServerLost, cause);
    }

    // ---- draining ----

    fn find(&self, url: &str) -> Result<Arc<Server>, DrainError> {
        let all = self.all();
        let found = all.iter().find(|server| server.name() == url);
        found.cloned().ok_or_else(|| DrainError::Unknown {
            url: url.to_owned(),
            known: all.iter().map(|server| server.name().to_owned()).collect(),
        })
    }

    pub(super) fn drain(&self, url: &str, now: bool) -> Result<(), DrainError> {
        let server = self.find(url)?;
        let has_streams = self.tables.lock().count_on(&server).0 > 0;
        if now && has_streams && self.pick(&[Arc::clone(&server)]).is_none() {
            let url = url.to_owned();
            return Err(DrainError::NoOther { url });
        }
        tracing::info!(server = server.name(), now, "draining a media server");
        server.set_draining(true);
        if now {
            server.void_openings();
        }
        self.move_streams(&server, now);
        Ok(())
    }

    pub(super) fn undrain(&self, url: &str) -> Result<(), DrainError> {
        let server = self.find(url)?;
        tracing::info!(server = server.name(), "a media server takes streams again");
        server.set_draining(false);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Has the streams of a server set up anew on others: all, or those without viewers. Where no other server could take them they
    /// stay.
    fn move_streams(&self, server: &Arc<Server>, all: bool) {
        if self.pick(&[Arc::clone(server)]).is_none() {
            return;
        }
        let moves = |tables: &Tables, camera: CameraId, _: &StreamLeg| {
            all || tables.viewers_of(camera) == 0
        };
        let cause = LegLoss::Drained(server.name().to_owned());
        self.lose(server, moves, &ViewerGoneReason::Moved, cause);
    }

    /// There is one more place for streams: those that wait for one, and those on servers that are drained.
    pub(super) fn on_server_ready(&self) {
        self.changed.notify_waiters();
        for server in self.all() {
            if server.is_draining() {
                self.move_streams(&server, false);
            }
        }
    }

    // ---- the servers' tasks ----

    pub(super) fn reconfigure(&self, specs: Vec<ServerSpec>) {
        let before = self.all();
        // New ones first, so that streams of those that go have somewhere to go to.
        for spec in &specs {
            let known = self.find(&spec.address.url).ok();
            let was_draining = known.as_ref().is_some_and(|server| server.is_draining());
            let is_new = known.is_none();
            let server = known.unwrap_or_else(|| self.add(&spec.address));
            server.set_advertised(spec.advertised);
            server.set_draining(spec.drain);
            if is_new && !before.is_empty() {
                server.expect();
            }
            if spec.drain && !was_draining {
                self.move_streams(&server, false);
            }
        }
        for server in before {
            if !specs.iter().any(|spec| spec.address == server.address) {
                self.let_go(server);
            }
        }
        self.changed.notify_waiters();
    }

    fn add(&self, address: &ServerAddress) -> Arc<Server> {
        let config = &self.config;
        let (client, calls) = Client::new(config.request_timeout);
        let stop = self.stop.child_token();
        let server = Arc::new(Server::new(address.clone(), client, stop.clone()));
        let listener = ServerListener {
            pool: Weak::clone(&self.this),
            server: Arc::downgrade(&server),
        };
        let connection = ConnectionConfig {
            address: address.clone(),
            tls: config.tls.clone(),
            request_timeout: config.request_timeout,
            ping_interval: config.ping_interval,
            failover_after: config.failover_after,
        };
        let connection = Connection::new(connection, calls, Arc::new(listener), stop);
        self.spawn(connection.run());
        self.watch(&server);
        self.servers().push(Arc::clone(&server));
        server
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Starts what goes on beside a server's connection, until the server is stopped.
    fn watch(&self, server: &Arc<Server>) {
        let (releasing, of) = (Arc::clone(server), server.stop.clone());
        self.spawn(async move {
            of.run_until_cancelled(releasing.keep_releasing()).await;
        });
        let (measured, of) = (Arc::clone(server), server.stop.clone());
        self.spawn(async move {
            of.run_until_cancelled(watching::keep_asking_for_load(&measured))
                .await;
        });
        let (pool, counted, of) = (
            Weak::clone(&self.this),
            Arc::clone(server),
            server.stop.clone(),
        );
        self.spawn(async move {
            of.run_until_cancelled(watching::keep_counting(pool, counted))
                .await;
        });
    }

    /// A server that left the configuration: its streams go to others, and it is forgotten once it has released all.
    fn let_go(&self, server: Arc<Server>) {
        tracing::info!(server = server.name(), "a media server leaves the pool");
        server.set_draining(true);
        server.void_openings();
        self.servers().retain(|other| !Arc::ptr_eq(other, &server));
        let cause = LegLoss::Drained(server.name().to_owned());
        self.lose(&server, |_, _, _| true, &ViewerGoneReason::Moved, cause);
        let (pool, stop) = (Weak::clone(&self.this), server.stop.clone());
        self.spawn(async move {
            let is_needed = || {
                let pool = pool.upgrade();
                let opening = pool.is_some_and(|pool| pool.tables.lock().is_opening_on(&server));
                opening || server.has_releases()
            };
            let rest = async {
                while is_needed() {
                    sleep(POLL).await;
                }
            };
            let _ = stop.run_until_cancelled(timeout(LEAVE_WITHIN, rest)).await;
            server.stop.cancel();
        });
    }

    /// Looks a server's pipelines through, and makes it ready.
    pub(super) fn sweep_soon(&self, server: Arc<Server>, connection: u64) {
        let (pool, stop) = (Weak::clone(&self.this), server.stop.clone());
        self.spawn(async move {
            stop.run_until_cancelled(watching::sweep(pool, server, connection))
                .await;
        });
    }

    pub(super) async fn shutdown(&self, patience: Duration) {
        let cameras: Vec<CameraId> = {
            let mut tables = self.tables.lock();
            tables.closed = true;
            tables.streams.keys().copied().collect()
        };
        let reason = ViewerGoneReason::StreamClosed(crate::engine::CloseReason::Shutdown);
        for camera in cameras {
            self.close_stream(camera, &reason);
        }
        if timeout(patience, all_released(&self.all())).await.is_err() {
            tracing::warn!(
                "not all media servers confirmed the release of what they had; the next start looks for it"
            );
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Completes when nothing is left to be released on these servers.
async fn all_released(servers: &[Arc<Server>]) {
    while servers.iter().any(|server| server.has_releases()) {
        sleep(POLL).await;
    }
}
