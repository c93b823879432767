//! An engine that moves no pictures: it remembers what it was told and says what a test makes it say.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use apiary_media::engine::{
    BitrateBounds, CloseReason, EngineError, EngineEvent, EngineHealth, IceParameters, IngestPorts,
    JoinRequest, JoinedViewer, KeyFrame, MediaEngine, OpenedStream, StreamSpec, StreamStats,
    ViewerGoneReason, ViewerStats,
};
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use apiary_wire::sdp::Document;
use async_trait::async_trait;
use tokio::sync::{Notify, broadcast};

use super::ANSWER;

pub(crate) struct FakeEngine {
    events: broadcast::Sender<EngineEvent>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    open: HashSet<CameraId>,
    opened: usize,
    bounds: Option<BitrateBounds>,
    viewers: HashMap<ViewerId, CameraId>,
    /// Of the viewers, those who may talk.
    speakers: HashSet<ViewerId>,
    talking: HashSet<ViewerId>,
    candidates: Vec<String>,
    restarts: Vec<(String, String)>,
    refuse_open: Option<EngineError>,
    refuse_restart: bool,
    trouble: Option<String>,
    key_frames: HashMap<CameraId, Vec<u8>>,
    busy_for: Duration,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(64),
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }
}

impl FakeEngine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// It can take no streams, or can again.
    pub(crate) fn set_trouble(&self, trouble: Option<&str>) {
        self.state().trouble = trouble.map(str::to_owned);
    }

    /// While a stream of this camera is open, its last key frame is this.
    pub(crate) fn set_key_frame(&self, camera: CameraId, annex_b: &[u8]) {
        self.state().key_frames.insert(camera, annex_b.to_vec());
    }

    /// It has been busy with one thing for so long.
    pub(crate) fn set_busy_for(&self, time: Duration) {
        self.state().busy_for = time;
    }

    /// The next stream is refused with this error.
    pub(crate) fn refuse_open(&self, error: EngineError) {
        self.state().refuse_open = Some(error);
    }

    pub(crate) fn refuse_restarts(&self) {
        self.state().refuse_restart = true;
    }

    pub(crate) fn say(&self, event: EngineEvent) {
        let _ = self.events.send(event);
    }

    /// Streams that were ever opened.
    pub(crate) fn opened(&self) -> usize {
        self.state().opened
    }

    pub(crate) fn last_bounds(&self) -> Option<BitrateBounds> {
        self.state().bounds
    }

    pub(crate) fn viewers(&self) -> Vec<ViewerId> {
        self.state().viewers.keys().copied().collect()
    }

    /// A viewer's voice gets through no more, as when its camera is told to play again.
    pub(crate) fn break_off(&self, camera: CameraId, viewer: ViewerId) {
        self.state().talking.remove(&viewer);
        self.say(EngineEvent::TalkEnded { camera, viewer });
    }

    /// Whose voices it passes on.
    pub(crate) fn talking(&self) -> HashSet<ViewerId> {
        self.state().talking.clone()
    }

    pub(crate) fn candidates(&self) -> Vec<String> {
        self.state().candidates.clone()
    }

    pub(crate) fn restarts(&self) -> Vec<(String, String)> {
        self.state().restarts.clone()
    }

    /// Waits until the engine has been told enough.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        super::within(what, async {
            loop {
                let changed = self.changed.notified();
                if holds(self) {
                    return;
                }
                changed.await;
            }
        })
        .await;
    }

    fn changed(&self) {
        self.changed.notify_waiters();
    }

    fn opened_stream(camera: CameraId) -> OpenedStream {
        OpenedStream {
            camera_sdp: "v=0\r\n".to_owned(),
            address: Ipv4Addr::LOCALHOST,
            ingest: IngestPorts {
                video: 5006,
                audio: 5008,
            },
            pipeline_id: format!("pipeline-{}", camera.short()),
            rtp_endpoint_id: format!("rtp-{}", camera.short()),
        }
    }
}

#[async_trait]
impl MediaEngine for FakeEngine {
    fn kind(&self) -> &'static str {
        "sfu"
    }

    fn busy_for(&self) -> Duration {
        self.state().busy_for
    }

    fn health(&self) -> EngineHealth {
        EngineHealth {
            trouble: self.state().trouble.clone(),
            servers: Vec::new(),
        }
    }

    async fn open(&self, spec: StreamSpec) -> Result<OpenedStream, EngineError> {
        let mut state = self.state();
        if let Some(error) = state.refuse_open.take() {
            return Err(error);
        }
        state.opened += 1;
        state.bounds = Some(spec.bitrate);
        state.open.insert(spec.camera);
        Ok(Self::opened_stream(spec.camera))
    }

    async fn rearm(
        &self,
        camera: CameraId,
        _stream: StreamId,
    ) -> Result<OpenedStream, EngineError> {
        Ok(Self::opened_stream(camera))
    }

    async fn close(&self, camera: CameraId, reason: CloseReason) -> Result<(), EngineError> {
        let gone: Vec<ViewerId> = {
            let mut state = self.state();
            state.open.remove(&camera);
            let gone = state
                .viewers
                .iter()
                .filter(|(_, of)| **of == camera)
                .map(|(viewer, _)| *viewer)
                .collect();
            state.viewers.retain(|_, of| *of != camera);
            gone
        };
        for viewer in gone {
            self.say(EngineEvent::ViewerGone {
                camera,
                viewer,
                reason: ViewerGoneReason::StreamClosed(reason),
            });
        }
        self.changed();
        Ok(())
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinedViewer, EngineError> {
        // The real answer is core's to make; what matters here is how a refusal travels.
        let offer = Document::parse(&request.offer)
            .map_err(|error| EngineError::Offer(error.to_string()))?;
        let offers_h264 = offer
            .media()
            .iter()
            .any(|media| media.rtpmaps().any(|map| map.is("H264")));
        if !offers_h264 {
            return Err(EngineError::Offer(
                "this browser offers no H.264".to_owned(),
            ));
        }
        let mut state = self.state();
        if !state.open.contains(&request.camera) {
            return Err(EngineError::UnknownStream(request.camera));
        }
        state.viewers.insert(request.viewer, request.camera);
        if request.may_talk {
            state.speakers.insert(request.viewer);
        }
        drop(state);
        self.changed();
        Ok(JoinedViewer {
            answer: ANSWER.to_owned(),
            webrtc_endpoint_id: format!("webrtc-{}", request.viewer.short()),
            candidates: None,
        })
    }

    async fn add_candidate(&self, viewer: ViewerId, candidate: &str) -> Result<(), EngineError> {
        let mut state = self.state();
        if !state.viewers.contains_key(&viewer) {
            return Err(EngineError::UnknownViewer(viewer));
        }
        if !candidate.is_empty() && candidate.split(' ').count() < 8 {
            return Err(EngineError::Candidate(format!(
                "{candidate:?} has too few parts"
            )));
        }
        state.candidates.push(candidate.to_owned());
        drop(state);
        self.changed();
        Ok(())
    }

    async fn restart_ice(
        &self,
        viewer: ViewerId,
        ufrag: &str,
        pwd: &str,
    ) -> Result<IceParameters, EngineError> {
        let mut state = self.state();
        if !state.viewers.contains_key(&viewer) {
            return Err(EngineError::UnknownViewer(viewer));
        }
        if state.refuse_restart {
            return Err(EngineError::Busy);
        }
        state.restarts.push((ufrag.to_owned(), pwd.to_owned()));
        let number = state.restarts.len();
        Ok(IceParameters {
            ufrag: format!("ours{number}"),
            pwd: format!("ourpasswordnumber{number:06}"),
            candidates: vec!["candidate:1 1 udp 2130706431 127.0.0.1 8189 typ host".to_owned()],
        })
    }

    fn takes_voices(&self) -> bool {
        true
    }

    async fn talk(&self, viewer: ViewerId) -> Result<(), EngineError> {
        let mut state = self.state();
        if !state.speakers.contains(&viewer) {
            return Err(EngineError::NoVoice(viewer));
        }
        if !state.talking.insert(viewer) {
            let camera = state.viewers.get(&viewer).copied();
            return Err(EngineError::Talking(camera.unwrap()));
        }
        Ok(())
    }

    async fn hush(&self, viewer: ViewerId) -> Result<(), EngineError> {
        self.state().talking.remove(&viewer);
        self.changed();
        Ok(())
    }

    async fn leave(&self, viewer: ViewerId) -> Result<(), EngineError> {
        self.state().talking.remove(&viewer);
        self.state().viewers.remove(&viewer);
        self.changed();
        Ok(())
    }

    async fn request_key_frame(&self, _camera: CameraId) -> Result<(), EngineError> {
        Ok(())
    }

    async fn key_frame(&self, camera: CameraId) -> Option<KeyFrame> {
        let state = self.state();
        let annex_b = state.key_frames.get(&camera)?.clone();
        let age = Duration::from_secs(2);
        let frame = KeyFrame { annex_b, age };
        state.open.contains(&camera).then_some(frame)
    }

    async fn stream_stats(&self, camera: CameraId) -> Option<StreamStats> {
        self.state()
            .open
            .contains(&camera)
            .then(StreamStats::default)
    }

    async fn viewer_stats(&self, viewer: ViewerId) -> Option<ViewerStats> {
        self.state()
            .viewers
            .contains_key(&viewer)
            .then(ViewerStats::default)
    }

    fn events(&self) -> broadcast::Receiver<EngineEvent> {
        self.events.subscribe()
    }

    async fn shutdown(&self) {}
}
