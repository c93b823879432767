//! Brings what the engine and the cameras say to the streams, viewers and the registry that it concerns.
//!
//! Nothing here waits for a stream's task, so one that is slow delays no other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use apiary_core::lifecycle::Input;
use apiary_media::engine::{EngineEvent, LegLoss};
use apiary_wire::id::CameraId;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Shared;
use super::camera_events::Said;
use super::cameras::Presence;
use super::moment::LOOK_EVERY;
use super::snapshot::{Gone, SupervisorEvent};
use crate::mqtt::ControlEvent;

/// Streams that may wait at once for the engine's events to be settled.
pub(super) const FENCES: usize = 1024;
/// Longest that the engine may take to say whether a viewer is there.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(2);

/// Answered when all events that the engine gave before have been handed over.
pub(super) type Fence = oneshot::Sender<()>;

pub(super) struct Dispatcher {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Receiver<EngineEvent>,
    pub(super) cameras: Receiver<ControlEvent>,
    pub(super) fences: mpsc::Receiver<Fence>,
}

impl Dispatcher {
    /// Runs until the supervisor ends; a panic loses one event.
    pub(super) async fn keep(mut self) {
        let stop = self.shared.ended.clone();
        loop {
            let run = AssertUnwindSafe(self.run()).catch_unwind();
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = run => ended,
            };
            match ended {
                Ok(()) => return,
                Err(_) => {
                    tracing::error!("handling an event failed; going on with the next");
                    self.read_anew().await;
                }
            }
        }
    }

    async fn run(&mut self) {
        let (mut engine_open, mut cameras_open) = (true, true);
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while engine_open || cameras_open {
            tokio::select! {
                Some(fence) = self.fences.recv() => self.on_fence(fence).await,
                _ = looks.tick() => self.look(),
                event = self.engine.recv(), if engine_open => match event {
                    Ok(event) => self.on_engine_event(event),
                    Err(RecvError::Lagged(lost)) => self.on_lag("engine", lost).await,
                    Err(RecvError::Closed) => engine_open = false,
                },
                event = self.cameras.recv(), if cameras_open => match event {
                    Ok(event) => self.on_control_event(event),
                    // Cameras say what matters again; a lost hello is made up for by the next replay.
                    Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "messages of cameras were lost"),
                    Err(RecvError::Closed) => cameras_open = false,
                },
            }
        }
    }

    fn look(&self) {
        for camera in self.shared.cameras.look() {
            self.shared.tell(SupervisorEvent::CameraChanged(camera));
        }
    }

    async fn on_fence(&mut self, fence: Fence) {
        loop {
            match self.engine.try_recv() {
                Ok(event) => self.on_engine_event(event),
                Err(TryRecvError::Lagged(lost)) => self.on_lag("engine", lost).await,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        // Who waited may have given up.
        let _ = fence.send(());
    }

    fn on_engine_event(&self, event: EngineEvent) {
        match event {
            EngineEvent::RtpStarted { camera, .. } | EngineEvent::RtpResumed { camera } => {
                self.tell(camera, Input::RtpFlowing);
            }
            EngineEvent::RtpSilent { camera, silent_for } => {
                self.tell(camera, Input::RtpSilent { silent_for });
            }
            EngineEvent::RtcpSeen { camera } => tracing::debug!(%camera, "RTCP came"),
            EngineEvent::ForeignSsrc { camera, ssrc } => {
                tracing::warn!(%camera, ssrc = ssrc.0, "RTP came with an SSRC that was not given to the camera");
                self.tell(camera, Input::ForeignSsrc { ssrc });
            }
            EngineEvent::ViewerConnected { camera, viewer } => {
                tracing::info!(%camera, %viewer, "viewer connected");
                self.shared.viewer_connected(viewer);
            }
            EngineEvent::ViewerGone {
                camera,
                viewer,
                reason,
            } => {
                tracing::info!(%camera, %viewer, ?reason, "viewer gone");
                self.shared.forget_viewer(viewer, &Gone::new(&reason));
            }
            EngineEvent::TalkEnded { camera, viewer } => self.shared.talk_ended(camera, viewer),
            EngineEvent::LegsLost { cause, streams } => {
                match cause {
                    LegLoss::Worker(_) => {
                        tracing::error!(%cause, streams = streams.len(), "setting streams up anew");
                    }
                    LegLoss::Server(_) | LegLoss::Drained(_) => {
                        tracing::warn!(%cause, streams = streams.len(), "setting streams up anew");
                    }
                }
                for camera in streams {
                    self.tell(camera, Input::LegLost);
                }
            }
        }
    }

    fn on_control_event(&self, event: ControlEvent) {
        match event {
            ControlEvent::Broker(_) => {} // commands fail or work; the client logs it
            ControlEvent::Camera {
                camera,
                message,
                raw,
                retained,
            } => {
                let heard = self.shared.cameras.heard(Said {
                    camera,
                    message: &message,
                    raw: &raw,
                    retained,
                    now: Timestamp::now(),
                });
                let presence = heard.presence;
                self.shared.on_heard(heard);
                match presence {
                    Some(Presence::Hello) => {
                        tracing::info!(%camera, "camera said hello");
                        self.tell(camera, Input::CameraHello);
                    }
                    Some(Presence::Gone) => {
                        tracing::info!(%camera, "camera is offline");
                        self.tell(camera, Input::CameraOffline);
                    }
                    None => {}
                }
            }
        }
    }

    fn tell(&self, camera: CameraId, input: Input) {
        if let Some(link) = self.shared.streams.running(camera) {
            link.tell(input);
        }
    }

    async fn on_lag(&self, source: &'static str, lost: u64) {
        tracing::warn!(source, lost, "events were lost; reading the state anew");
        self.read_anew().await;
    }

    /// What lost events would have said is asked of the engine.
    async fn read_anew(&self) {
        for link in self.shared.streams.all_running() {
            link.read_anew.notify_one();
        }
        for viewer in self.shared.viewers.list(None) {
            if viewer.session.webrtc_endpoint_id.is_none() {
                continue; // joining
            }
            let id = viewer.session.viewer;
            match timeout(ENGINE_TIMEOUT, self.shared.engine.viewer_stats(id)).await {
                Ok(Some(stats)) if stats.connected => self.shared.viewer_connected(id),
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => self.shared.forget_viewer(id, &Gone::UNKNOWN),
            }
        }
    }
}
