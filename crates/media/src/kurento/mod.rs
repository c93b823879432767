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
mod joining;
mod opening;
mod pool;
mod server;
mod tables;
mod viewer_leg;
mod watching;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use apiary_wire::id::{CameraId, StreamId, ViewerId};
use apiary_wire::kurento::{MediaStats, MediaType, Operation};
use apiary_wire::units::Bitrate;
use async_trait::async_trait;
use tokio::sync::broadcast;

use self::client::CallError;
use self::pool::Pool;
pub use self::pool::{DrainError, ServerSpec};
use self::server::Server;
use self::tables::ViewerLink;
use crate::candidate::check_candidate;
use crate::engine::{
    CloseReason, EngineError, EngineEvent, EngineHealth, IceParameters, JoinRequest, JoinedViewer,
    MediaEngine, OpenedStream, StreamSpec, StreamStats, ViewerGoneReason, ViewerStats,
};

/// Settings of a TLS client.
pub type TlsClientConfig = Arc<tokio_rustls::rustls::ClientConfig>;

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
        opening::open(&self.pool, spec).await
    }

    async fn rearm(&self, camera: CameraId, stream: StreamId) -> Result<OpenedStream, EngineError> {
        opening::rearm(&self.pool, camera, stream).await
    }

    async fn close(&self, camera: CameraId, reason: CloseReason) -> Result<(), EngineError> {
        self.pool
            .close_stream(camera, &ViewerGoneReason::StreamClosed(reason));
        Ok(())
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinedViewer, EngineError> {
        joining::join(&self.pool, request).await
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
        let (stream, _) = self.pool.leg(camera)?;
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
        stream.leg()?;
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

impl Drop for Kurento {
    fn drop(&mut self) {
        self.pool.stop.cancel();
    }
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
