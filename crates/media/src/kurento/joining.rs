//! Taking a viewer in: it is noted, served, and out again if that comes to nothing.

use std::sync::Arc;
use std::time::Duration;

use apiary_wire::id::ViewerId;
use apiary_wire::kurento::{ObjectId, Operation};
use apiary_wire::sdp::kurento::viewer_offer;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use super::camera_leg::Unfinished;
use super::client::CallError;
use super::media_server_error;
use super::pool::Pool;
use super::server::Server;
use super::tables::{Candidates, Owner, StreamLeg, Viewer, ViewerLink};
use super::viewer_leg::{self, NotServed};
use crate::engine::{
    BitrateBounds, CandidateDelivery, EngineError, JoinRequest, JoinedViewer, TrickledCandidate,
    ViewerGoneReason,
};

/// Longest that serving a viewer may take, whatever the single answers take.
const SERVE_WITHIN: Duration = Duration::from_secs(6);
/// How often it is begun anew because a connection dropped.
const MAX_DROPS: u32 = 3;
/// Candidates that may wait for a viewer's signaling.
const CANDIDATE_QUEUE: usize = 64;

/// Takes a viewer out again that did not get in, even when it was not waited for to the end.
struct Joining<'a> {
    pool: Option<&'a Pool>,
    server: &'a Arc<Server>,
    viewer: ViewerId,
}

impl Joining<'_> {
    fn got_in(mut self) {
        self.pool = None;
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool {
            // Nobody was told of it, so nobody is told that it is gone. `Unfinished` releases its endpoint.
            let gone = pool
                .tables
                .lock()
                .remove_viewer(self.viewer, ViewerGoneReason::Left, false);
            if gone.is_some() {
                pool.on_viewer_gone(self.server);
            }
        }
    }
}

/// A viewer that has its answer.
struct Served {
    endpoint: ObjectId,
    answer: String,
    unfinished: Unfinished,
    candidates: mpsc::Receiver<TrickledCandidate>,
    gathered: Arc<Notify>,
}

/// What a viewer wants, and where it is to be had.
struct Order<'a> {
    pool: &'a Pool,
    request: &'a JoinRequest,
    stream: &'a StreamLeg,
    bitrate: BitrateBounds,
    /// Its offer as the server is given it.
    offer: &'a str,
}

pub(super) async fn join(pool: &Pool, request: JoinRequest) -> Result<JoinedViewer, EngineError> {
    let offer =
        viewer_offer(&request.offer).map_err(|error| EngineError::Offer(error.to_string()))?;
    let (stream, bitrate) = pool.leg(request.camera)?;
    note_viewer(pool, &request, &stream, offer.first_mid)?;
    let joining = Joining {
        pool: Some(pool),
        server: &stream.server,
        viewer: request.viewer,
    };
    if !offer.takes_h264 {
        tracing::info!(viewer = %request.viewer, "the browser takes no H.264; the media server transcodes for it");
    }
    let order = Order {
        pool,
        request: &request,
        stream: &stream,
        bitrate,
        offer: &offer.text,
    };
    let served = timeout(SERVE_WITHIN, order.serve())
        .await
        .unwrap_or(Err(EngineError::Busy))?;
    let trickles = request.candidates == CandidateDelivery::Trickled;
    let answer = if trickles {
        served.answer
    } else {
        viewer_leg::wait_gathered(&served.gathered).await;
        let tables = pool.tables.lock();
        let viewer = tables.viewers.get(&request.viewer);
        let found = viewer.map(|viewer| viewer.candidates.found.clone());
        viewer_leg::with_candidates(&served.answer, &found.unwrap_or_default())
    };
    // Its stream may have gone while it was being served; then it is out already, and was told so.
    if !pool.tables.lock().viewers.contains_key(&request.viewer) {
        return Err(EngineError::UnknownStream(request.camera));
    }
    served.unfinished.finish();
    joining.got_in();
    Ok(JoinedViewer {
        answer,
        webrtc_endpoint_id: served.endpoint.to_string(),
        candidates: trickles.then_some(served.candidates),
    })
}

/// Counts the viewer, unless there are as many as may be.
fn note_viewer(
    pool: &Pool,
    request: &JoinRequest,
    stream: &StreamLeg,
    first_mid: String,
) -> Result<(), EngineError> {
    let mut tables = pool.tables.lock();
    let limit = pool.config.max_viewers_per_stream;
    if limit > 0 && tables.viewers_of(request.camera) >= limit as usize {
        return Err(EngineError::ViewerLimit { limit });
    }
    let viewer = Viewer {
        camera: request.camera,
        server: Arc::clone(&stream.server),
        endpoint: None,
        first_mid,
        joined_at: Instant::now(),
        link: ViewerLink::Connecting,
        candidates: Candidates::default(),
    };
    tables.viewers.insert(request.viewer, viewer);
    Ok(())
}

impl Order<'_> {
    /// Everything that is needed for the answer. A connection that drops meanwhile is taken up again in a moment, and the viewer
    /// begun anew.
    async fn serve(&self) -> Result<Served, EngineError> {
        let server = &self.stream.server;
        for _ in 0..MAX_DROPS {
            match self.try_to_serve().await {
                Err(NotServed::Call(CallError::Disconnected))
                    if self.pool.wait_for_reconnection(server).await => {}
                Err(NotServed::Call(error)) => {
                    return Err(media_server_error(server, "serve the viewer", &error));
                }
                Err(NotServed::Because(error)) => return Err(error),
                Ok(served) => return Ok(served),
            }
        }
        Err(EngineError::Busy)
    }

    async fn try_to_serve(&self) -> Result<Served, NotServed> {
        let server = &self.stream.server;
        let (endpoint, unfinished) = viewer_leg::create(server, &self.stream.leg.pipeline).await?;
        let (candidates, gathered) = self.note_endpoint(&endpoint)?;
        let source = &self.stream.leg.endpoint;
        viewer_leg::prepare(server, &endpoint, source, self.bitrate).await?;
        let answer = viewer_leg::negotiate(server, &endpoint, self.offer.to_owned()).await?;
        // The camera's endpoint may have been replaced while this one was being connected to it.
        let (now, _) = self.pool.leg(self.request.camera)?;
        if now.leg.endpoint != *source {
            let sink = endpoint.clone();
            let connect = Operation::Connect { sink };
            server.client.invoke(&now.leg.endpoint, connect).await?;
        }
        Ok(Served {
            endpoint,
            answer,
            unfinished,
            candidates,
            gathered,
        })
    }

    /// From now on the endpoint's events are the viewer's, and its candidates those of this endpoint alone.
    fn note_endpoint(
        &self,
        endpoint: &ObjectId,
    ) -> Result<(mpsc::Receiver<TrickledCandidate>, Arc<Notify>), EngineError> {
        let (viewer, trickles) = (
            self.request.viewer,
            self.request.candidates == CandidateDelivery::Trickled,
        );
        let (trickle, candidates) = mpsc::channel(CANDIDATE_QUEUE);
        let gathered = Arc::new(Notify::new());
        let mut tables = self.pool.tables.lock();
        let entry = tables
            .viewers
            .get_mut(&viewer)
            .ok_or(EngineError::UnknownViewer(viewer))?;
        entry.candidates = Candidates {
            found: Vec::new(),
            trickle: trickles.then_some(trickle),
            gathered: Arc::clone(&gathered),
        };
        let before = entry.endpoint.replace(endpoint.clone());
        tables.own(endpoint.clone(), Owner::Viewer(viewer));
        if let Some(before) = before {
            tables.disown(&before);
        }
        Ok((candidates, gathered))
    }
}
