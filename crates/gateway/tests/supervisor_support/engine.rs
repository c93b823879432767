//! An engine that moves no pictures: it keeps the same books as a real one and misbehaves on command.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard};

use apiary_media::engine::{
    CloseReason, EngineError, EngineEvent, IceParameters, IngestPorts, JoinRequest, JoinedViewer,
    LegLoss, MediaEngine, OpenedStream, StreamSpec, StreamStats, ViewerGoneReason, ViewerStats,
};
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use apiary_wire::units::{Bitrate, Ssrc};
use async_trait::async_trait;
use tokio::sync::broadcast;

/// An offer that the engine refuses.
pub(crate) const BAD_OFFER: &str = "bad";
const PORTS: u16 = 5006;

/// Something that the engine shall do once, or from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// Panics in the call, once.
    PanicInKeyFrame,
    PanicInRearm,
    PanicInJoin,
    /// The call never returns.
    HangInJoin,
    HangInClose,
    /// Rearming fails, once.
    RearmFails,
}

pub(crate) struct FakeEngine {
    events: broadcast::Sender<EngineEvent>,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    legs: HashMap<CameraId, Leg>,
    viewers: HashMap<ViewerId, CameraId>,
    faults: HashSet<Fault>,
    /// Legs that fit into the port range; 0 for any number.
    room: usize,
    opened: Vec<StreamSpec>,
    closed: Vec<(CameraId, CloseReason)>,
    key_frames: usize,
    most_legs: usize,
    bitrate: Bitrate,
    stale_rtp_on_rearm: bool,
}

struct Leg {
    stream: StreamId,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(apiary_media::engine::EVENT_QUEUE),
            books: Mutex::default(),
        }
    }
}

impl FakeEngine {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.books().faults.insert(fault);
    }

    pub(crate) fn mend(&self, fault: Fault) {
        self.books().faults.remove(&fault);
    }

    fn takes(&self, fault: Fault) -> bool {
        self.books().faults.remove(&fault)
    }

    pub(crate) fn has_room_for(&self, legs: usize) {
        self.books().room = legs;
    }

    /// An RTP event of the old run comes in the moment of a rearm.
    pub(crate) fn resume_while_rearming(&self) {
        self.books().stale_rtp_on_rearm = true;
    }

    pub(crate) fn say(&self, event: EngineEvent) {
        let _ = self.events.send(event);
    }

    pub(crate) fn rtp_started(&self, camera: CameraId) {
        self.say(EngineEvent::RtpStarted {
            camera,
            source: Some(([127, 0, 0, 1], 40_000).into()),
        });
    }

    pub(crate) fn foreign_ssrc(&self, camera: CameraId) {
        self.say(EngineEvent::ForeignSsrc {
            camera,
            ssrc: Ssrc(0xdead_beef),
        });
    }

    /// What the statistics say from now on.
    pub(crate) fn receives(&self, bitrate: Bitrate) {
        self.books().bitrate = bitrate;
    }

    pub(crate) fn lose_worker(&self) {
        let cameras = self.lose_worker_and_tell_viewers();
        self.say_lost(cameras);
    }

    /// The streams have yet to hear of it.
    pub(crate) fn lose_worker_and_tell_viewers(&self) -> Vec<CameraId> {
        let (cameras, viewers) = {
            let mut books = self.books();
            let cameras: Vec<_> = books.legs.drain().map(|(camera, _)| camera).collect();
            let viewers: Vec<_> = books.viewers.drain().collect();
            (cameras, viewers)
        };
        for (viewer, camera) in viewers {
            self.gone(camera, viewer, ViewerGoneReason::WorkerLost);
        }
        cameras
    }

    pub(crate) fn say_lost(&self, streams: Vec<CameraId>) {
        self.say(EngineEvent::LegsLost {
            cause: LegLoss::Worker(0),
            streams,
        });
    }

    /// A viewer vanishes; its event is lost when `silently`.
    pub(crate) fn drop_viewer(&self, viewer: ViewerId, silently: bool) {
        let camera = self.books().viewers.remove(&viewer).unwrap();
        if !silently {
            self.gone(camera, viewer, ViewerGoneReason::Expired);
        }
    }

    fn gone(&self, camera: CameraId, viewer: ViewerId, reason: ViewerGoneReason) {
        self.say(EngineEvent::ViewerGone {
            camera,
            viewer,
            reason,
        });
    }

    pub(crate) fn opened(&self) -> Vec<StreamSpec> {
        self.books().opened.clone()
    }

    pub(crate) fn closed(&self) -> Vec<(CameraId, CloseReason)> {
        self.books().closed.clone()
    }

    pub(crate) fn legs(&self) -> usize {
        self.books().legs.len()
    }

    pub(crate) fn most_legs(&self) -> usize {
        self.books().most_legs
    }

    pub(crate) fn armed_for(&self, camera: CameraId) -> Option<StreamId> {
        self.books().legs.get(&camera).map(|leg| leg.stream)
    }

    pub(crate) fn viewers(&self) -> usize {
        self.books().viewers.len()
    }

    pub(crate) fn key_frames(&self) -> usize {
        self.books().key_frames
    }
}

fn opened_stream(camera: CameraId, stream: StreamId) -> OpenedStream {
    OpenedStream {
        camera_sdp: format!("sdp of {stream}"),
        address: Ipv4Addr::LOCALHOST,
        ingest: IngestPorts {
            video: PORTS,
            audio: PORTS + 2,
        },
        pipeline_id: format!("pipeline-{}", camera.short()),
        rtp_endpoint_id: format!("rtp-{}", camera.short()),
    }
}

#[async_trait]
impl MediaEngine for FakeEngine {
    fn kind(&self) -> &'static str {
        "fake"
    }

    async fn open(&self, spec: StreamSpec) -> Result<OpenedStream, EngineError> {
        let mut books = self.books();
        if books.legs.contains_key(&spec.camera) {
            return Err(EngineError::AlreadyOpen(spec.camera));
        }
        if books.room > 0 && books.legs.len() >= books.room {
            return Err(EngineError::PortsExhausted { range: 5006..=5009 });
        }
        let (camera, stream) = (spec.camera, spec.stream);
        books.legs.insert(camera, Leg { stream });
        books.most_legs = books.most_legs.max(books.legs.len());
        books.opened.push(spec);
        Ok(opened_stream(camera, stream))
    }

    async fn rearm(&self, camera: CameraId, stream: StreamId) -> Result<OpenedStream, EngineError> {
        assert!(!self.takes(Fault::PanicInRearm), "a fault on command");
        if self.takes(Fault::RearmFails) {
            return Err(EngineError::Busy);
        }
        let stale = {
            let mut books = self.books();
            let leg = books
                .legs
                .get_mut(&camera)
                .ok_or(EngineError::UnknownStream(camera))?;
            leg.stream = stream;
            books.stale_rtp_on_rearm
        };
        if stale {
            self.say(EngineEvent::RtpResumed { camera });
        }
        Ok(opened_stream(camera, stream))
    }

    async fn close(&self, camera: CameraId, reason: CloseReason) -> Result<(), EngineError> {
        if self.books().faults.contains(&Fault::HangInClose) {
            std::future::pending::<()>().await;
        }
        let viewers: Vec<_> = {
            let mut books = self.books();
            books.legs.remove(&camera);
            books.closed.push((camera, reason));
            let of_camera = books.viewers.extract_if(|_, of| *of == camera);
            of_camera.map(|(viewer, _)| viewer).collect()
        };
        for viewer in viewers {
            self.gone(camera, viewer, ViewerGoneReason::StreamClosed(reason));
        }
        Ok(())
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinedViewer, EngineError> {
        assert!(!self.takes(Fault::PanicInJoin), "a fault on command");
        if self.books().faults.contains(&Fault::HangInJoin) {
            std::future::pending::<()>().await;
        }
        if request.offer == BAD_OFFER {
            return Err(EngineError::Offer("it holds no H.264".to_owned()));
        }
        let mut books = self.books();
        if !books.legs.contains_key(&request.camera) {
            return Err(EngineError::UnknownStream(request.camera));
        }
        books.viewers.insert(request.viewer, request.camera);
        Ok(JoinedViewer {
            answer: format!("answer to {}", request.offer),
            webrtc_endpoint_id: format!("webrtc-{}", request.viewer.short()),
            candidates: None,
        })
    }

    async fn add_candidate(&self, viewer: ViewerId, _: &str) -> Result<(), EngineError> {
        match self.books().viewers.contains_key(&viewer) {
            true => Ok(()),
            false => Err(EngineError::UnknownViewer(viewer)),
        }
    }

    async fn restart_ice(
        &self,
        viewer: ViewerId,
        _: &str,
        _: &str,
    ) -> Result<IceParameters, EngineError> {
        Err(EngineError::UnknownViewer(viewer))
    }

    async fn leave(&self, viewer: ViewerId) -> Result<(), EngineError> {
        let left = self.books().viewers.remove(&viewer);
        if let Some(camera) = left {
            self.gone(camera, viewer, ViewerGoneReason::Left);
        }
        Ok(())
    }

    async fn request_key_frame(&self, _: CameraId) -> Result<(), EngineError> {
        assert!(!self.takes(Fault::PanicInKeyFrame), "a fault on command");
        self.books().key_frames += 1;
        Ok(())
    }

    async fn stream_stats(&self, camera: CameraId) -> Option<StreamStats> {
        let books = self.books();
        books.legs.contains_key(&camera).then(|| StreamStats {
            bitrate: books.bitrate,
            ..StreamStats::default()
        })
    }

    async fn viewer_stats(&self, viewer: ViewerId) -> Option<ViewerStats> {
        let known = self.books().viewers.contains_key(&viewer);
        known.then(ViewerStats::default)
    }

    fn events(&self) -> broadcast::Receiver<EngineEvent> {
        self.events.subscribe()
    }

    async fn shutdown(&self) {}
}
