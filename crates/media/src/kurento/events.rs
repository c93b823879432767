//! What servers say, brought to the streams and viewers that it concerns. Nothing here waits.

use std::sync::{Arc, Weak};
use std::time::Duration;

use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::kurento::{
    ConnectionState, Event, EventData, EventName, IceCandidate, IceState, MediaStats, MediaType,
    ObjectId,
};
use tokio::time::Instant;

use super::connection::{Listener, Up};
use super::pool::Pool;
use super::server::Server;
use super::tables::{Owner, Viewer, ViewerLink};
use super::viewer_leg;
use crate::engine::{EngineEvent, TrickledCandidate, ViewerGoneReason};

/// A viewer that has not connected after this time is let go, as with the built-in engine.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// A viewer whose RTCP stopped is gone after this time.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// What a server's connection tells the pool.
pub(super) struct ServerListener {
    pub(super) pool: Weak<Pool>,
    pub(super) server: Weak<Server>,
}

impl ServerListener {
    /// `None` while all of it ends.
    fn both(&self) -> Option<(Arc<Pool>, Arc<Server>)> {
        Some((self.pool.upgrade()?, self.server.upgrade()?))
    }
}

impl Listener for ServerListener {
    fn on_up(&self, up: Up) {
        if let Some((pool, server)) = self.both() {
            tracing::info!(server = server.name(), "connected with a media server");
            let connection = server.on_up(up);
            pool.sweep_soon(server, connection);
        }
    }

    fn on_down(&self, why: &str) {
        if let Some((_, server)) = self.both() {
            // Said once, not with every attempt.
            if server.trouble().is_none_or(|before| !before.ends_with(why)) {
                tracing::warn!(
                    server = server.name(),
                    why,
                    "no connection with a media server; trying on"
                );
            }
            server.on_down(why);
        }
    }

    fn on_lost(&self, why: &str, forgotten: bool) {
        if let Some((pool, server)) = self.both() {
            pool.on_server_lost(&server, why, forgotten);
        }
    }

    fn on_event(&self, event: Event) {
        if let Some(pool) = self.pool.upgrade() {
            pool.on_server_event(event);
        }
    }

    fn on_stray(&self, object: ObjectId) {
        if let Some((_, server)) = self.both() {
            tracing::debug!(server = server.name(), %object, "releasing what came too late");
            server.release(object);
        }
    }
}

impl Pool {
    fn on_server_event(&self, Event { object, data }: Event) {
        let owner = self.tables.lock().owner(&object);
        match owner {
            Some(Owner::Camera(camera)) => self.on_camera_event(camera, data),
            Some(Owner::Viewer(viewer)) => self.on_viewer_event(viewer, data),
            None => {} // of something that is gone, or that was never ours
        }
    }

    fn on_camera_event(&self, camera: CameraId, data: EventData) {
        let mut tables = self.tables.lock();
        let Some(stream) = tables.streams.get_mut(&camera) else {
            return;
        };
        let event = match data {
            EventData::Flow {
                medium: MediaType::Video,
                state,
            } => stream.flow.on_event(camera, state, Instant::now()),
            EventData::Error { description } => {
                tracing::warn!(%camera, description, "the media server complains about a camera's stream");
                None
            }
            EventData::Flow { .. }
            | EventData::Media(_)
            | EventData::Candidate(_)
            | EventData::GatheringDone
            | EventData::Ice { .. }
            | EventData::Connection(_) => None,
        };
        drop(tables);
        event.into_iter().for_each(|event| self.emit(event));
    }

    fn on_viewer_event(&self, viewer: ViewerId, data: EventData) {
        let mut tables = self.tables.lock();
        let Some(entry) = tables.viewers.get_mut(&viewer) else {
            return;
        };
        let camera = entry.camera;
        let is_connected = entry.link != ViewerLink::Connecting;
        match data {
            EventData::Candidate(candidate) => on_candidate(entry, candidate),
            EventData::GatheringDone => {
                entry.candidates.trickle = None;
                entry.candidates.gathered.notify_one();
            }
            // Where the server does not say that it is connected, that ICE is must do.
            EventData::Ice {
                component: 1,
                state: IceState::Ready,
            } if !is_connected && !entry.server.can(EventName::ConnectionStateChanged.as_str()) => {
                entry.link = ViewerLink::Connected { silent_since: None };
                drop(tables);
                self.emit(EngineEvent::ViewerConnected { camera, viewer });
            }
            EventData::Connection(ConnectionState::Connected) if !is_connected => {
                entry.link = ViewerLink::Connected { silent_since: None };
                drop(tables);
                self.emit(EngineEvent::ViewerConnected { camera, viewer });
            }
            EventData::Connection(ConnectionState::Disconnected)
            | EventData::Ice {
                component: 1,
                state: IceState::Failed,
            } if is_connected => {
                drop(tables);
                self.remove_viewer(viewer, ViewerGoneReason::Expired);
            }
            EventData::Media(state) => {
                if let ViewerLink::Connected { silent_since } = &mut entry.link {
                    *silent_since = match state {
                        ConnectionState::Connected => None,
                        ConnectionState::Disconnected => Some(Instant::now()),
                    };
                }
            }
            EventData::Error { description } => {
                tracing::warn!(%camera, %viewer, description, "the media server complains about a viewer");
            }
            EventData::Connection(_) | EventData::Ice { .. } | EventData::Flow { .. } => {}
        }
    }

    /// The counters of a stream's picture.
    pub(super) fn on_counters(&self, camera: CameraId, endpoint: &ObjectId, stats: MediaStats) {
        let mut tables = self.tables.lock();
        let Some(stream) = tables.streams.get_mut(&camera) else {
            return;
        };
        let leg = stream.leg();
        if leg.is_none_or(|leg| leg.leg.endpoint != *endpoint) {
            return; // of the run before
        }
        let event = stream
            .flow
            .on_counters(camera, stats.inbound, Instant::now());
        drop(tables);
        event.into_iter().for_each(|event| self.emit(event));
    }

    /// Lets viewers go that never connected, or whose RTCP stopped.
    pub(super) fn expire_viewers(&self) {
        let now = Instant::now();
        let overdue: Vec<(ViewerId, ViewerGoneReason)> = {
            let tables = self.tables.lock();
            let viewers = tables.viewers.iter();
            viewers
                .filter_map(|(viewer, entry)| Some((*viewer, expired(entry, now)?)))
                .collect()
        };
        for (viewer, reason) in overdue {
            self.remove_viewer(viewer, reason);
        }
    }
}

fn expired(viewer: &Viewer, now: Instant) -> Option<ViewerGoneReason> {
    let since = |at: Instant| now.saturating_duration_since(at);
    match viewer.link {
        ViewerLink::Connecting if since(viewer.joined_at) >= CONNECT_WITHIN => {
            Some(ViewerGoneReason::NeverConnected)
        }
        ViewerLink::Connected {
            silent_since: Some(at),
        } if since(at) >= SILENT_FOR => Some(ViewerGoneReason::Expired),
        ViewerLink::Connecting | ViewerLink::Connected { .. } => None,
    }
}

fn on_candidate(viewer: &mut Viewer, candidate: IceCandidate) {
    let candidates = &mut viewer.candidates;
    if !viewer_leg::is_useful(&candidate)
        || !viewer_leg::note(&mut candidates.found, &candidate.candidate)
    {
        return;
    }
    if let Some(trickle) = &candidates.trickle {
        let told = trickle.try_send(TrickledCandidate {
            candidate: candidate.candidate,
            sdp_mid: viewer.first_mid.clone(),
            sdp_m_line_index: candidate.sdp_m_line_index,
        });
        if told.is_err() {
            tracing::debug!("a viewer's signaling takes no more candidates");
        }
    }
}
