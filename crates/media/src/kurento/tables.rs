//! Who is where: streams, viewers, and the owners of the servers' objects.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::kurento::ObjectId;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::camera_leg::CameraLeg;
use super::flow::Flow;
use super::server::Server;
use crate::engine::{BitrateBounds, StreamSpec, TrickledCandidate, ViewerGoneReason};

/// A stream.
pub(super) struct Stream {
    pub(super) spec: StreamSpec,
    pub(super) place: Place,
    pub(super) flow: Flow,
}

/// Where a stream is.
pub(super) enum Place {
    /// A server is being looked for.
    Sought,
    /// It is being set up there.
    Opening(Arc<Server>),
    /// It is there.
    Open(StreamLeg),
}

impl Stream {
    /// Its leg, once it is open.
    pub(super) fn leg(&self) -> Option<&StreamLeg> {
        match &self.place {
            Place::Open(leg) => Some(leg),
            Place::Sought | Place::Opening(_) => None,
        }
    }

    fn is_open_on(&self, server: &Arc<Server>) -> bool {
        self.leg()
            .is_some_and(|leg| Arc::ptr_eq(&leg.server, server))
    }

    fn is_opening_on(&self, server: &Arc<Server>) -> bool {
        matches!(&self.place, Place::Opening(on) if Arc::ptr_eq(on, server))
    }
}

/// Where an open stream is.
#[derive(Clone)]
pub(super) struct StreamLeg {
    pub(super) server: Arc<Server>,
    pub(super) leg: CameraLeg,
}

/// A viewer, those who are joining included.
pub(super) struct Viewer {
    pub(super) camera: CameraId,
    pub(super) server: Arc<Server>,
    /// `None` until it is made.
    pub(super) endpoint: Option<ObjectId>,
    pub(super) first_mid: String,
    pub(super) joined_at: Instant,
    pub(super) link: ViewerLink,
    pub(super) candidates: Candidates,
}

/// How a viewer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ViewerLink {
    /// Not yet.
    Connecting,
    /// It is; `silent_since`: RTCP came of it before and comes no more.
    Connected { silent_since: Option<Instant> },
}

/// The server's candidates for a viewer.
#[derive(Default)]
pub(super) struct Candidates {
    /// All that were found.
    pub(super) found: Vec<String>,
    /// `None` once all are told, or when all go into the answer.
    pub(super) trickle: Option<mpsc::Sender<TrickledCandidate>>,
    /// No more come.
    pub(super) gathered: Arc<Notify>,
}

/// Who an object at a server belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Camera(CameraId),
    Viewer(ViewerId),
}

/// Everything that is open.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) closed: bool,
    pub(super) streams: HashMap<CameraId, Stream>,
    pub(super) viewers: HashMap<ViewerId, Viewer>,
    owners: HashMap<ObjectId, Owner>,
}

/// A viewer that was taken out.
pub(super) struct GoneViewer {
    pub(super) viewer: ViewerId,
    pub(super) camera: CameraId,
    pub(super) reason: ViewerGoneReason,
}

impl Tables {
    pub(super) fn owner(&self, object: &ObjectId) -> Option<Owner> {
        self.owners.get(object).copied()
    }

    pub(super) fn own(&mut self, object: ObjectId, owner: Owner) {
        self.owners.insert(object, owner);
    }

    /// Nobody is told of this object's events any more.
    pub(super) fn disown(&mut self, object: &ObjectId) {
        self.owners.remove(object);
    }

    /// The open leg of a camera's stream.
    pub(super) fn leg(&self, camera: CameraId) -> Option<(&StreamLeg, BitrateBounds)> {
        let stream = self.streams.get(&camera)?;
        Some((stream.leg()?, stream.spec.bitrate))
    }

    pub(super) fn viewers_of(&self, camera: CameraId) -> usize {
        let watching = |viewer: &&Viewer| viewer.camera == camera;
        self.viewers.values().filter(watching).count()
    }

    /// Streams and viewers on a server, streams that are being opened there included.
    pub(super) fn count_on(&self, server: &Arc<Server>) -> (usize, usize) {
        let streams = self.streams.values();
        let streams =
            streams.filter(|stream| stream.is_open_on(server) || stream.is_opening_on(server));
        let here = |viewer: &&Viewer| Arc::ptr_eq(&viewer.server, server);
        (streams.count(), self.viewers.values().filter(here).count())
    }

    /// Whether a stream is being set up on a server.
    pub(super) fn is_opening_on(&self, server: &Arc<Server>) -> bool {
        let mut streams = self.streams.values();
        streams.any(|stream| stream.is_opening_on(server))
    }

    /// The cameras whose streams are open on a server.
    pub(super) fn cameras_on(&self, server: &Arc<Server>) -> Vec<CameraId> {
        let streams = self.streams.iter();
        streams
            .filter(|(_, stream)| stream.is_open_on(server))
            .map(|(camera, _)| *camera)
            .collect()
    }

    /// Whether a pipeline belongs to an open stream.
    pub(super) fn has_pipeline(&self, pipeline: &ObjectId) -> bool {
        let mut legs = self.streams.values().filter_map(Stream::leg);
        legs.any(|leg| leg.leg.pipeline == *pipeline)
    }

    /// Takes a viewer out; its endpoint is released, unless its whole pipeline is about to be.
    pub(super) fn remove_viewer(
        &mut self,
        viewer: ViewerId,
        reason: ViewerGoneReason,
        release: bool,
    ) -> Option<GoneViewer> {
        let gone = self.viewers.remove(&viewer)?;
        if let Some(endpoint) = gone.endpoint {
            self.owners.remove(&endpoint);
            if release {
                gone.server.release(endpoint);
            }
        }
        Some(GoneViewer {
            viewer,
            camera: gone.camera,
            reason,
        })
    }

    /// Takes a stream and its viewers out; its pipeline is released.
    pub(super) fn remove_stream(
        &mut self,
        camera: CameraId,
        reason: &ViewerGoneReason,
    ) -> Vec<GoneViewer> {
        let Some(stream) = self.streams.remove(&camera) else {
            return Vec::new();
        };
        if let Place::Open(StreamLeg { server, leg }) = stream.place {
            self.owners.remove(&leg.endpoint);
            server.release(leg.pipeline);
        }
        let watching: Vec<ViewerId> = self
            .viewers
            .iter()
            .filter(|(_, viewer)| viewer.camera == camera)
            .map(|(viewer, _)| *viewer)
            .collect();
        watching
            .into_iter()
            .filter_map(|viewer| self.remove_viewer(viewer, reason.clone(), false))
            .collect()
    }
}

/// The tables, behind a lock that is held for single steps and never across an await.
#[derive(Default)]
pub(super) struct Shared(Mutex<Tables>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Tables> {
        // A panic between two steps leaves at worst an owner without an object, whose events mean nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
