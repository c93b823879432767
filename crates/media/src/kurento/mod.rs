//! The engine that drives a pool of Kurento Media Servers.
//!
//! A stream lives on one server of the pool: a pipeline with an endpoint for the camera's RTP and one for each viewer
//! ([`camera_leg`], [`viewer_leg`]). Packets never pass through here. Each server has a connection ([`connection`]) and a
//! few tasks ([`pool`]); when it is lost, its streams and viewers are told so and are set up anew, by the supervisor and by
//! the viewers' pages, on another. What is left behind is released ([`server`]).
//!
//! Unlike the built-in engine this one cannot restart ICE (an endpoint takes one offer in its life; the viewer joins again), and
//! key frames are mostly asked for by the servers themselves, whenever a viewer joins.

mod camera_leg;
mod client;
mod connection;
mod events;
mod flow;
mod pool;
mod server;
mod tables;
mod viewer_leg;

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use apiary_wire::id::{CameraId, StreamId, ViewerId};
use apiary_wire::kurento::{MediaStats, MediaType, ObjectId, Operation};
use apiary_wire::sdp::kurento::viewer_offer;
use apiary_wire::units::Bitrate;
use async_trait::async_trait;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::time::{Instant, timeout};

use self::camera_leg::{LegError, Unfinished};
use self::client::CallError;
use self::flow::Flow;
use self::pool::Pool;
pub use self::pool::{DrainError, ServerSpec};
use self::server::Server;
use self::tables::{Candidates, Owner, Stream, StreamLeg, Viewer, ViewerLink};
use self::viewer_leg::NotServed;
use crate::candidate::check_candidate;
use crate::engine::{
    BitrateBounds, CandidateDelivery, CloseReason, EngineError, EngineEvent, EngineHealth,
    IceParameters, JoinRequest, JoinedViewer, MediaEngine, OpenedStream, StreamSpec, StreamStats,
    ViewerGoneReason, ViewerStats,
};

/// Settings of a TLS client.
pub type TlsClientConfig = Arc<tokio_rustls::rustls::ClientConfig>;

/// Longest that one server may take to set a stream or a viewer up, whatever its single answers take.
const SET_UP: Duration = Duration::from_secs(6);
/// Longest that opening a stream may take in all.
const OPEN_WITHIN: Duration = Duration::from_secs(13);
/// How long a stream waits for a server that was lost a moment ago, where there is no other.
const SERVER_RETURNS_WITHIN: Duration = Duration::from_secs(10);
/// How often a stream that is being opened is begun anew because a connection dropped.
const MAX_DROPS: u32 = 3;
/// Candidates that may wait for a viewer's signaling.
const CANDIDATE_QUEUE: usize = 64;
/// Time for the last releases.
const LAST_RELEASES: Duration = Duration::from_millis(400);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// As configured; names the server.
    pub url: String,
    /// It is spoken to over TLS.
    pub tls: bool,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path of the WebSocket, with its slash.
    pub path: String,
}

impl ServerAddress {
    /// What the WebSocket's handshake asks for.
    fn request_url(&self) -> String {
        let (scheme, host) = (if self.tls { "wss" } else { "ws" }, &self.host);
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.clone(),
        };
        format!("{scheme}://{host}:{}{}", self.port, self.path)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// How the engine is set up.
#[derive(Clone)]
pub struct KurentoConfig {
    /// The pool.
    pub servers: Vec<ServerSpec>,
    /// For `wss://`.
    pub tls: Option<TlsClientConfig>,
    /// What the names of our pipelines begin with. Installations that share a server need different ones: each releases what it
    /// finds under its own.
    pub pipeline_prefix: String,
    /// How long a server may take for an answer.
    pub request_timeout: Duration,
    /// How often a server is asked whether it is there.
    pub ping_interval: Duration,
    /// How long a server may be unreachable, or leave a ping unanswered, before its streams are given up.
    pub failover_after: Duration,
    /// Most viewers of one stream, 0 for no limit.
    pub max_viewers_per_stream: u32,
}

/// The engine.
pub struct Kurento {
    pool: Arc<Pool>,
}

impl Kurento {
    /// Starts to connect to the servers; does not wait for any.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(config: KurentoConfig) -> Self {
        Self {
            pool: Pool::start(config),
        }
    }

    /// Makes the pool what it is to be: new servers are connected to, those that are not named any more give up their streams,
    /// which are set up anew on the others.
    pub fn reconfigure(&self, servers: Vec<ServerSpec>) {
        self.pool.reconfigure(servers);
    }

    /// Gives a server no new streams. Those that it has are set up anew on others: when they have no viewers, or `now` with their
    /// viewers.
    ///
    /// # Errors
    /// When there is no such server, or `now` and no other could take the streams.
    pub fn drain(&self, url: &str, now: bool) -> Result<(), DrainError> {
        self.pool.drain(url, now)
    }

    /// Gives a server new streams again.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn undrain(&self, url: &str) -> Result<(), DrainError> {
        self.pool.undrain(url)
    }

    fn leg(&self, camera: CameraId) -> Result<(StreamLeg, BitrateBounds), EngineError> {
        let tables = self.pool.tables.lock();
        let (leg, bitrate) = tables
            .leg(camera)
            .ok_or(EngineError::UnknownStream(camera))?;
        Ok((leg.clone(), bitrate))
    }

    /// Opens the stream, and anew when its server is lost meanwhile, and puts it into its reserved place.
    async fn open_until_it_lasts(&self, spec: &StreamSpec) -> Result<StreamLeg, EngineError> {
        let camera = spec.camera;
        loop {
            let (opened, epoch) = self.open_somewhere(spec).await?;
            let mut tables = self.pool.tables.lock();
            let Some(stream) = tables.streams.get_mut(&camera) else {
                // It was closed meanwhile.
                opened.server.release(opened.leg.pipeline);
                return Err(EngineError::UnknownStream(camera));
            };
            // Under the lock: a loss that comes later finds the stream in its place.
            if opened.server.epoch() == epoch {
                stream.leg = Some(opened.clone());
                tables.own(opened.leg.endpoint.clone(), Owner::Camera(camera));
                return Ok(opened);
            }
            drop(tables);
            opened.server.release(opened.leg.pipeline);
        }
    }

    /// Opens the stream on one server after the other, until one can.
    /// Gives the server's epoch too: when that has passed, so has the leg.
    async fn open_somewhere(&self, spec: &StreamSpec) -> Result<(StreamLeg, u64), EngineError> {
        let mut tried: Vec<Arc<Server>> = Vec::new();
        let mut failures: Vec<String> = Vec::new();
        let mut drops = 0;
        loop {
            let Some(server) = self.pool.pick(&tried) else {
                let returned = self.pool.wait_for_return(&tried, SERVER_RETURNS_WITHIN);
                if returned.await {
                    continue;
                }
                failures.extend(self.pool.troubles(&tried));
                return Err(EngineError::NoServer(failures.join("; ")));
            };
            let epoch = server.epoch();
            let opening = camera_leg::open(&server, spec, &self.pool.config.pipeline_prefix);
            let opened = match timeout(SET_UP, opening).await {
                Ok(opened) => opened,
                Err(_) => Err(LegError::Call(CallError::Timeout {
                    request: "the setting up of a stream",
                    after: SET_UP,
                })),
            };
            match opened {
                Ok(leg) => return Ok((StreamLeg { server, leg }, epoch)),
                // The connection is taken up again in a moment.
                Err(LegError::Call(CallError::Disconnected)) if drops < MAX_DROPS => drops += 1,
                Err(error) if error.is_about_the_server() => {
                    tracing::warn!(server = server.name(), %error, "a media server could not set a stream up");
                    failures.push(format!("{}: {error}", server.name()));
                    tried.push(server);
                }
                Err(error) => return Err(media_server_error(&server, "set up the stream", &error)),
            }
        }
    }

    /// Everything that is needed for a viewer's answer. A connection that drops meanwhile is taken up again in a moment, and the
    /// viewer begun anew.
    async fn serve_viewer(
        &self,
        request: &JoinRequest,
        stream: &StreamLeg,
        bitrate: BitrateBounds,
        offer: &str,
    ) -> Result<Served, EngineError> {
        let server = &stream.server;
        for _ in 0..MAX_DROPS {
            match self.try_to_serve(request, stream, bitrate, offer).await {
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

    async fn try_to_serve(
        &self,
        request: &JoinRequest,
        stream: &StreamLeg,
        bitrate: BitrateBounds,
        offer: &str,
    ) -> Result<Served, NotServed> {
        let server = &stream.server;
        let (endpoint, unfinished) = viewer_leg::create(server, &stream.leg.pipeline).await?;
        self.note_endpoint(request.viewer, &endpoint)?;
        let source = &stream.leg.endpoint;
        viewer_leg::prepare(server, &endpoint, source, bitrate).await?;
        let answer = viewer_leg::negotiate(server, &endpoint, offer.to_owned()).await?;
        // The camera's endpoint may have been replaced while this one was being connected to it.
        let (now, _) = self.leg(request.camera)?;
        if now.leg.endpoint != *source {
            let sink = endpoint.clone();
            let connect = Operation::Connect { sink };
            server.client.invoke(&now.leg.endpoint, connect).await?;
        }
        Ok(Served {
            endpoint,
            answer,
            unfinished,
        })
    }

    /// From now on the endpoint's events are the viewer's.
    fn note_endpoint(&self, viewer: ViewerId, endpoint: &ObjectId) -> Result<(), EngineError> {
        let mut tables = self.pool.tables.lock();
        let entry = tables
            .viewers
            .get_mut(&viewer)
            .ok_or(EngineError::UnknownViewer(viewer))?;
        let before = entry.endpoint.replace(endpoint.clone());
        tables.own(endpoint.clone(), Owner::Viewer(viewer));
        if let Some(before) = before {
            tables.disown(&before);
        }
        Ok(())
    }
}

/// A viewer that has its answer.
struct Served {
    endpoint: ObjectId,
    answer: String,
    unfinished: Unfinished,
}

fn media_server_error(
    server: &Server,
    operation: &'static str,
    error: &dyn std::error::Error,
) -> EngineError {
    EngineError::MediaServer {
        server: server.name().to_owned(),
        operation,
        reason: error.to_string(),
    }
}

/// Takes a viewer out again that did not get in, even when it was not waited for to the end.
struct Joining<'a> {
    pool: Option<&'a Pool>,
    viewer: ViewerId,
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool {
            let mut tables = pool.tables.lock();
            // Nobody was told of it, so nobody is told that it is gone. `Unfinished` releases its endpoint.
            let _ = tables.remove_viewer(self.viewer, ViewerGoneReason::Left, false);
        }
    }
}

#[async_trait]
impl MediaEngine for Kurento {
    fn kind(&self) -> &'static str {
        "kurento"
    }

    fn health(&self) -> EngineHealth {
        self.pool.health()
    }

    async fn open(&self, spec: StreamSpec) -> Result<OpenedStream, EngineError> {
        let camera = spec.camera;
        {
            let mut tables = self.pool.tables.lock();
            if tables.closed {
                return Err(EngineError::Closed);
            }
            if tables.streams.contains_key(&camera) {
                return Err(EngineError::AlreadyOpen(camera));
            }
            let stream = Stream {
                spec: spec.clone(),
                leg: None,
                flow: Flow::new(),
            };
            tables.streams.insert(camera, stream);
        }
        let mut reserved = Reserved {
            pool: Some(&self.pool),
            camera,
        };
        let opening = timeout(OPEN_WITHIN, self.open_until_it_lasts(&spec)).await;
        let opened = opening
            .unwrap_or_else(|_| Err(EngineError::NoServer("none answered in time".to_owned())))?;
        reserved.pool = None;
        tracing::info!(%camera, server = opened.server.name(), "stream set up on a media server");
        Ok(opened.leg.to_opened())
    }

    async fn rearm(&self, camera: CameraId, stream: StreamId) -> Result<OpenedStream, EngineError> {
        let (old, bitrate) = self.leg(camera)?;
        let server = &old.server;
        let advertised = {
            let tables = self.pool.tables.lock();
            let stream = tables.streams.get(&camera);
            stream.map(|stream| stream.spec.advertised)
        };
        let advertised = advertised.ok_or(EngineError::UnknownStream(camera))?;
        let adding =
            camera_leg::add_endpoint(server, old.leg.pipeline.clone(), advertised, bitrate);
        let failed = |error: &dyn std::error::Error| {
            media_server_error(server, "prepare the stream anew", error)
        };
        let leg = match timeout(SET_UP, adding).await {
            Ok(Ok(leg)) => leg,
            Ok(Err(error)) => return Err(failed(&error)),
            Err(_) => return Err(EngineError::Busy),
        };
        let sinks: Vec<ObjectId> = {
            let mut tables = self.pool.tables.lock();
            let entry = tables.streams.get_mut(&camera).filter(|entry| {
                let leg = entry.leg.as_ref();
                leg.is_some_and(|leg| leg.leg.pipeline == old.leg.pipeline)
            });
            let Some(entry) = entry else {
                server.release(leg.endpoint);
                return Err(EngineError::UnknownStream(camera));
            };
            entry.spec.stream = stream;
            entry.flow.rearm();
            entry.leg = Some(StreamLeg {
                server: Arc::clone(server),
                leg: leg.clone(),
            });
            tables.disown(&old.leg.endpoint);
            tables.own(leg.endpoint.clone(), Owner::Camera(camera));
            let watching = tables.viewers.values();
            watching
                .filter(|viewer| viewer.camera == camera)
                .filter_map(|viewer| viewer.endpoint.clone())
                .collect()
        };
        for sink in sinks {
            let connect = Operation::Connect { sink };
            if let Err(error) = server.client.invoke(&leg.endpoint, connect).await {
                tracing::warn!(%camera, %error, "a viewer could not be connected with the new run of its camera");
            }
        }
        server.release(old.leg.endpoint);
        Ok(leg.to_opened())
    }

    async fn close(&self, camera: CameraId, reason: CloseReason) -> Result<(), EngineError> {
        self.pool
            .close_stream(camera, &ViewerGoneReason::StreamClosed(reason));
        Ok(())
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinedViewer, EngineError> {
        let offer =
            viewer_offer(&request.offer).map_err(|error| EngineError::Offer(error.to_string()))?;
        let (stream, bitrate) = self.leg(request.camera)?;
        let (trickle, candidates) = mpsc::channel(CANDIDATE_QUEUE);
        let gathered = Arc::new(Notify::new());
        let trickles = request.candidates == CandidateDelivery::Trickled;
        {
            let mut tables = self.pool.tables.lock();
            let limit = self.pool.config.max_viewers_per_stream;
            if limit > 0 && tables.viewers_of(request.camera) >= limit as usize {
                return Err(EngineError::ViewerLimit { limit });
            }
            let viewer = Viewer {
                camera: request.camera,
                server: Arc::clone(&stream.server),
                endpoint: None,
                first_mid: offer.first_mid,
                joined_at: Instant::now(),
                link: ViewerLink::Connecting,
                candidates: Candidates {
                    found: Vec::new(),
                    trickle: trickles.then_some(trickle),
                    gathered: Arc::clone(&gathered),
                },
            };
            tables.viewers.insert(request.viewer, viewer);
        }
        let mut joining = Joining {
            pool: Some(&self.pool),
            viewer: request.viewer,
        };
        if !offer.takes_h264 {
            tracing::info!(viewer = %request.viewer, "the browser takes no H.264; the media server transcodes for it");
        }
        let serving = self.serve_viewer(&request, &stream, bitrate, &offer.text);
        let Served {
            endpoint,
            answer,
            unfinished,
        } = match timeout(SET_UP, serving).await {
            Ok(served) => served?,
            Err(_) => return Err(EngineError::Busy),
        };
        let answer = if trickles {
            answer
        } else {
            viewer_leg::wait_gathered(&gathered).await;
            let tables = self.pool.tables.lock();
            let viewer = tables.viewers.get(&request.viewer);
            let found = viewer.map(|viewer| viewer.candidates.found.clone());
            viewer_leg::with_candidates(&answer, &found.unwrap_or_default())
        };
        // Its stream may have gone while it was being served; then it is out already, and was told so.
        if !self
            .pool
            .tables
            .lock()
            .viewers
            .contains_key(&request.viewer)
        {
            return Err(EngineError::UnknownStream(request.camera));
        }
        unfinished.finish();
        joining.pool = None;
        Ok(JoinedViewer {
            answer,
            webrtc_endpoint_id: endpoint.to_string(),
            candidates: trickles.then_some(candidates),
        })
    }

    async fn add_candidate(&self, viewer: ViewerId, candidate: &str) -> Result<(), EngineError> {
        let (server, endpoint, first_mid) = {
            let tables = self.pool.tables.lock();
            let known = tables
                .viewers
                .get(&viewer)
                .ok_or(EngineError::UnknownViewer(viewer))?;
            let endpoint = known.endpoint.clone();
            let endpoint = endpoint.ok_or(EngineError::UnknownViewer(viewer))?;
            (Arc::clone(&known.server), endpoint, known.first_mid.clone())
        };
        check_candidate(candidate)?;
        let Some(candidate) = viewer_leg::to_server(candidate, &first_mid) else {
            return Ok(());
        };
        let added = server
            .client
            .invoke(&endpoint, Operation::AddIceCandidate(candidate))
            .await;
        match added {
            Ok(_) => Ok(()),
            Err(CallError::Refused(error)) => Err(EngineError::Candidate(error.message)),
            Err(error) => Err(media_server_error(&server, "take a candidate", &error)),
        }
    }

    async fn restart_ice(
        &self,
        _: ViewerId,
        _: &str,
        _: &str,
    ) -> Result<IceParameters, EngineError> {
        Err(EngineError::Unsupported {
            engine: "kurento",
            operation: "restart ICE: join again",
        })
    }

    async fn leave(&self, viewer: ViewerId) -> Result<(), EngineError> {
        self.pool.remove_viewer(viewer, ViewerGoneReason::Left);
        Ok(())
    }

    /// Servers ask by themselves when a viewer joins; those of 7.x can also be told to, through a viewer's endpoint.
    async fn request_key_frame(&self, camera: CameraId) -> Result<(), EngineError> {
        let (stream, _) = self.leg(camera)?;
        let endpoint = {
            let tables = self.pool.tables.lock();
            let connected = tables
                .viewers
                .values()
                .find(|viewer| viewer.camera == camera && viewer.link != ViewerLink::Connecting);
            connected.and_then(|viewer| viewer.endpoint.clone())
        };
        let Some(endpoint) = endpoint else {
            return Ok(()); // nobody would see it
        };
        let asked = stream
            .server
            .try_invoke(&endpoint, Operation::RequestKeyframe);
        asked
            .await
            .map(drop)
            .map_err(|error| media_server_error(&stream.server, "ask for a key frame", &error))
    }

    /// Counts the picture alone. Pictures per second, and how often REMB was sent, the servers do not tell.
    async fn stream_stats(&self, camera: CameraId) -> Option<StreamStats> {
        let tables = self.pool.tables.lock();
        let stream = tables.streams.get(&camera)?;
        stream.leg.as_ref()?;
        Some(StreamStats {
            viewers: tables.viewers_of(camera),
            ..stream.flow.stats()
        })
    }

    /// Counts the picture alone.
    async fn viewer_stats(&self, viewer: ViewerId) -> Option<ViewerStats> {
        let (server, endpoint, connected) = {
            let tables = self.pool.tables.lock();
            let known = tables.viewers.get(&viewer)?;
            let connected = known.link != ViewerLink::Connecting;
            (
                Arc::clone(&known.server),
                known.endpoint.clone()?,
                connected,
            )
        };
        let operation = Operation::GetStats(MediaType::Video);
        let counters = match server.client.invoke(&endpoint, operation).await {
            Ok(reply) => MediaStats::of(&reply).outbound.unwrap_or_default(),
            // It is there all the same.
            Err(_) => Default::default(),
        };
        Some(ViewerStats {
            packets: counters.packets,
            octets: counters.octets,
            key_frame_requests: counters.key_frame_requests,
            remb: (counters.remb_bps > 0).then(|| Bitrate::from_bps(counters.remb_bps)),
            fraction_lost: (counters.fraction_lost.min(1.0) * 255.0) as u8,
            round_trip_ms: (counters.round_trip > 0.0)
                .then_some((counters.round_trip * 1_000.0) as u32),
            connected,
            ..ViewerStats::default()
        })
    }

    fn events(&self) -> broadcast::Receiver<EngineEvent> {
        self.pool.events.subscribe()
    }

    async fn shutdown(&self) {
        self.pool.shutdown(LAST_RELEASES).await;
    }
}

/// Gives a camera's place up again, if its stream was not opened.
struct Reserved<'a> {
    pool: Option<&'a Pool>,
    camera: CameraId,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool {
            pool.tables.lock().streams.remove(&self.camera);
        }
    }
}

impl Drop for Kurento {
    fn drop(&mut self) {
        self.pool.stop.cancel();
    }
}

/// What an engine's caller names a server by, and where its cameras send to.
impl ServerSpec {
    /// A server without any special wishes.
    pub fn new(address: ServerAddress) -> Self {
        Self {
            address,
            advertised: None::<Ipv4Addr>,
            drain: false,
        }
    }
}
