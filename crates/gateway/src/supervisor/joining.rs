//! A viewer from its offer to its place: the camera is started for it where it must be.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiary_core::lifecycle::{Phase, StopReason};
use apiary_media::engine::{CandidateDelivery, EngineError, JoinRequest, TrickledCandidate};
use apiary_store::{ViewerSession, Write};
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use super::error::{JoinError, StartError};
use super::handle::{StartOptions, Supervisor, is_ending, stop_input};
use super::shared::Shared;
use super::snapshot::{StreamSnapshot, SupervisorEvent};
use super::streams::StreamLink;
use super::totals::class_of_refusal;
use crate::telemetry::TRACE;

/// How often a join begins anew when the stream under it ends.
const JOIN_ATTEMPTS: usize = 3;
/// Longest that a stream may take to hear that the engine has no leg of it any more.
const LEG_LOSS_HEARD: Duration = Duration::from_secs(2);
/// Longest text of a browser's name for itself that is kept.
const USER_AGENT_LIMIT: usize = 256;

/// Where a viewer comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewerOrigin {
    /// Its address, as seen here.
    pub ip: Option<IpAddr>,
    /// What its browser calls itself.
    pub user_agent: Option<String>,
}

/// What a viewer asks for.
#[derive(Clone, Debug)]
pub struct ViewerOffer {
    /// Its SDP offer.
    pub sdp: String,
    /// How it learns of our candidates.
    pub candidates: CandidateDelivery,
    /// It may talk to the camera, if it offers to send its voice.
    pub may_talk: bool,
}

/// A viewer that was taken in.
#[derive(Debug)]
pub struct JoinedStream {
    /// Its name from now on.
    pub viewer: ViewerId,
    /// What it watches.
    pub stream: StreamSnapshot,
    /// The SDP answer to its offer.
    pub answer: String,
    /// Our candidates that are not in it.
    pub candidates: Option<mpsc::Receiver<TrickledCandidate>>,
}

impl Supervisor {
    /// Takes a viewer in; starts its camera if that is idle. Does not wait for the camera's RTP.
    ///
    /// # Errors
    /// When the camera cannot be started, or the engine refuses the offer or one viewer more.
    #[tracing::instrument(name = "join", target = TRACE, skip_all, fields(%camera))]
    pub async fn join(
        &self,
        camera: CameraId,
        offer: ViewerOffer,
        from: ViewerOrigin,
    ) -> Result<JoinedStream, JoinError> {
        let (this, (answer, wait)) = (self.clone(), oneshot::channel());
        // A task of its own: who asks may vanish at any point, and nothing may be left half done then.
        self.shared.spawn(async move {
            let asked = Instant::now();
            let joined = this.join_or_start(camera, &offer, &from).await;
            let totals = &this.shared.totals;
            match &joined {
                Ok(_) => {
                    totals.joins.add_one();
                    totals.join_answered.note(asked.elapsed());
                }
                Err(error) => totals.joins_refused.count(class_of_refusal(error)),
            }
            if let Err(Ok(unwanted)) = answer.send(joined) {
                this.leave(unwanted.viewer).await;
            }
        });
        match wait.await {
            Ok(joined) => joined,
            // The task panicked, or the program ends.
            Err(_) => Err(JoinError::Engine(EngineError::Closed)),
        }
    }

    async fn join_or_start(
        &self,
        camera: CameraId,
        offer: &ViewerOffer,
        from: &ViewerOrigin,
    ) -> Result<JoinedStream, JoinError> {
        let mut attempts = 0;
        loop {
            let found = self.find_or_start(camera, from.ip).await?;
            let joined = self.join_stream(&found.link, offer, from).await;
            attempts += 1;
            match joined {
                // It ended, or lost its leg, between the finding and the joining; the next attempt is for what comes after.
                Err(JoinError::Engine(EngineError::UnknownStream(_)))
                    if attempts < JOIN_ATTEMPTS =>
                {
                    let heard = found
                        .link
                        .wait_for(|stream| is_ending(stream) || stream.stream != found.run);
                    let _ = timeout(LEG_LOSS_HEARD, heard).await;
                }
                Err(error) => {
                    if found.started_here && self.shared.viewers.count(camera) == 0 {
                        // Nobody came of it: no reason to keep the camera sending until the idle timeout.
                        found.link.ask(stop_input(StopReason::Idle)).await;
                    }
                    return Err(error);
                }
                Ok(joined) => return Ok(joined),
            }
        }
    }

    /// A stream of the camera whose leg is open.
    async fn find_or_start(
        &self,
        camera: CameraId,
        ip: Option<IpAddr>,
    ) -> Result<Found, StartError> {
        let mut started_here = false;
        loop {
            if let Some(link) = self.shared.streams.running(camera)
                && link.phase() != Phase::Stopping
            {
                let opened = |stream: &StreamSnapshot| stream.pipeline_id.is_some();
                let settled = link
                    .wait_for(|stream| opened(stream) || is_ending(stream))
                    .await;
                if opened(&settled) && !is_ending(&settled) {
                    return Ok(Found {
                        link,
                        run: settled.stream,
                        started_here,
                    });
                }
            }
            let options = StartOptions {
                requester: ip,
                ..StartOptions::default()
            };
            match self.start(camera, options).await {
                Ok(_) => started_here = true,
                Err(StartError::AlreadyRunning(stream)) if !is_ending(&stream) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn join_stream(
        &self,
        link: &StreamLink,
        offer: &ViewerOffer,
        from: &ViewerOrigin,
    ) -> Result<JoinedStream, JoinError> {
        let (camera, viewer) = (link.camera, ViewerId(Uuid::new_v4()));
        let session = ViewerSession {
            viewer,
            session_id: link.snapshot.borrow().session_id.clone(),
            webrtc_endpoint_id: None,
            user_agent: from
                .user_agent
                .as_ref()
                .map(|name| name.chars().take(USER_AGENT_LIMIT).collect()),
            ip_address: from.ip.map(|ip| ip.to_string()),
            connected_at: Timestamp::now(),
            disconnected_at: None,
        };
        // Counted before it is in: the stream must not become idle under it.
        self.shared.let_in(link, session)?;
        link.viewers_changed.notify_one();
        let joining = Joining {
            shared: Some(&self.shared),
            camera,
            viewer,
        };
        let request = JoinRequest {
            camera,
            viewer,
            offer: offer.sdp.clone(),
            candidates: offer.candidates,
            may_talk: offer.may_talk,
        };
        let joined = self.shared.engine.join(request).await?;
        joining.got_in();
        let endpoint = joined.webrtc_endpoint_id.clone();
        let tell = || {
            self.shared
                .tell(SupervisorEvent::ViewerJoined { viewer, camera });
        };
        let Some(known) = self.shared.viewers.joined(viewer, endpoint, tell) else {
            return Err(EngineError::UnknownStream(camera).into()); // gone again already
        };
        self.shared
            .writer
            .write(Write::ViewerSession(known.session));
        link.viewers_changed.notify_one();
        tracing::info!(%camera, %viewer, "viewer joined");
        let mut stream = link.current();
        stream.viewer_count = self.shared.viewers.count(camera);
        Ok(JoinedStream {
            viewer,
            stream,
            answer: joined.answer,
            candidates: joined.candidates,
        })
    }
}

/// Takes a viewer out of the table again, unless it gets in: by a refusal, a panic or the end of the program.
struct Joining<'a> {
    /// `None` once it is in.
    shared: Option<&'a Shared>,
    camera: CameraId,
    viewer: ViewerId,
}

impl Joining<'_> {
    fn got_in(mut self) {
        self.shared = None;
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            shared.viewers.remove(self.viewer, Timestamp::now());
            shared.viewers_changed(self.camera);
        }
    }
}

struct Found {
    link: Arc<StreamLink>,
    /// The run of the camera that was found; it has another with another leg.
    run: StreamId,
    /// The stream was started for this viewer.
    started_here: bool,
}
