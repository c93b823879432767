//! Setting a stream up on one of the servers, and anew on the same when its camera was.

use std::sync::Arc;
use std::time::Duration;

use apiary_wire::id::{CameraId, StreamId};
use apiary_wire::kurento::{ObjectId, Operation, RpcErrorKind};
use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;

use super::camera_leg::{self, CameraLeg, LegError, Unfinished};
use super::client::CallError;
use super::flow::Flow;
use super::media_server_error;
use super::pool::Pool;
use super::server::Server;
use super::tables::{Owner, Place, Stream, StreamLeg};
use crate::engine::{BitrateBounds, EngineError, OpenedStream, StreamSpec};

/// Longest that one server may take to set a stream up, whatever its single answers take.
const SET_UP: Duration = Duration::from_secs(6);
/// Longest that opening, or rearming, a stream may take in all.
const OPEN_WITHIN: Duration = Duration::from_secs(13);
/// How long a stream waits for a server that was lost a moment ago, where there is no other.
const SERVER_RETURNS_WITHIN: Duration = Duration::from_secs(10);
/// How often it is begun anew because a connection dropped.
const MAX_DROPS: u32 = 3;
/// Viewers that are connected with a new run of their camera at once.
const SINKS_AT_ONCE: usize = 16;

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

pub(super) async fn open(pool: &Pool, spec: StreamSpec) -> Result<OpenedStream, EngineError> {
    let camera = spec.camera;
    {
        let mut tables = pool.tables.lock();
        if tables.closed {
            return Err(EngineError::Closed);
        }
        if tables.streams.contains_key(&camera) {
            return Err(EngineError::AlreadyOpen(camera));
        }
        let stream = Stream {
            spec: spec.clone(),
            place: Place::Sought,
            flow: Flow::new(),
        };
        tables.streams.insert(camera, stream);
    }
    let mut reserved = Reserved {
        pool: Some(pool),
        camera,
    };
    let opened = timeout(OPEN_WITHIN, open_until_it_lasts(pool, &spec))
        .await
        .unwrap_or_else(|_| Err(EngineError::NoServer("none answered in time".to_owned())))?;
    reserved.pool = None;
    tracing::info!(%camera, server = opened.server.name(), "stream set up on a media server");
    Ok(opened.leg.to_opened())
}

/// Opens the stream, and anew when its server is lost meanwhile, and puts it into its reserved place.
async fn open_until_it_lasts(pool: &Pool, spec: &StreamSpec) -> Result<StreamLeg, EngineError> {
    let camera = spec.camera;
    loop {
        let (opened, epoch) = open_somewhere(pool, spec).await?;
        let mut tables = pool.tables.lock();
        let Some(stream) = tables.streams.get_mut(&camera) else {
            // It was closed meanwhile.
            opened.server.release(opened.leg.pipeline);
            return Err(EngineError::UnknownStream(camera));
        };
        // Under the lock: a loss that comes later finds the stream in its place.
        if opened.server.epoch() == epoch {
            stream.place = Place::Open(opened.clone());
            tables.own(opened.leg.endpoint.clone(), Owner::Camera(camera));
            return Ok(opened);
        }
        drop(tables);
        opened.server.release(opened.leg.pipeline);
    }
}

/// Opens the stream on one server after the other, until one can. Gives the server's epoch too: when that has passed, so has the
/// leg.
async fn open_somewhere(pool: &Pool, spec: &StreamSpec) -> Result<(StreamLeg, u64), EngineError> {
    let mut tried: Vec<Arc<Server>> = Vec::new();
    let mut failures: Vec<String> = Vec::new();
    let mut drops = 0;
    loop {
        let Some(server) = pool.pick_for(spec.camera, &tried)? else {
            if pool.wait_for_return(&tried, SERVER_RETURNS_WITHIN).await {
                continue;
            }
            failures.extend(pool.troubles(&tried));
            return Err(EngineError::NoServer(failures.join("; ")));
        };
        let epoch = server.epoch();
        let opening = camera_leg::open(&server, spec, &pool.config.pipeline_prefix);
        match in_time(opening).await {
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

async fn in_time(
    setting_up: impl Future<Output = Result<CameraLeg, LegError>>,
) -> Result<CameraLeg, LegError> {
    let overdue = CallError::Timeout {
        request: "the setting up of a stream",
        after: SET_UP,
    };
    timeout(SET_UP, setting_up)
        .await
        .unwrap_or(Err(LegError::Call(overdue)))
}

/// Gives the stream another endpoint for its camera and connects its viewers with that.
pub(super) async fn rearm(
    pool: &Pool,
    camera: CameraId,
    stream: StreamId,
) -> Result<OpenedStream, EngineError> {
    timeout(OPEN_WITHIN, rearm_until_connected(pool, camera, stream))
        .await
        .unwrap_or(Err(EngineError::Busy))
}

async fn rearm_until_connected(
    pool: &Pool,
    camera: CameraId,
    stream: StreamId,
) -> Result<OpenedStream, EngineError> {
    for _ in 0..MAX_DROPS {
        // Anew each time: it may have been lost while its server was away.
        let (old, bitrate) = pool.leg(camera)?;
        let server = &old.server;
        match in_time(add_endpoint(pool, camera, &old, bitrate)).await {
            Ok(leg) => return swap(pool, camera, stream, &old, leg).await,
            Err(LegError::Call(CallError::Disconnected)) => {
                pool.wait_for_reconnection(server).await;
            }
            Err(LegError::Call(error)) if error.kind() == Some(RpcErrorKind::UnknownObject) => {
                pool.on_endpoint_vanished(server, &old.leg.endpoint);
            }
            Err(error) => {
                return Err(media_server_error(
                    server,
                    "prepare the stream anew",
                    &error,
                ));
            }
        }
    }
    Err(EngineError::Busy)
}

async fn add_endpoint(
    pool: &Pool,
    camera: CameraId,
    old: &StreamLeg,
    bitrate: BitrateBounds,
) -> Result<CameraLeg, LegError> {
    let advertised = {
        let tables = pool.tables.lock();
        let stream = tables.streams.get(&camera);
        stream.map(|stream| stream.spec.advertised)
    };
    let advertised = advertised.ok_or(CallError::Disconnected)?; // lost just now
    camera_leg::add_endpoint(&old.server, old.leg.pipeline.clone(), advertised, bitrate).await
}

/// Puts the new endpoint into the place of the old one.
async fn swap(
    pool: &Pool,
    camera: CameraId,
    stream: StreamId,
    old: &StreamLeg,
    leg: CameraLeg,
) -> Result<OpenedStream, EngineError> {
    let server = &old.server;
    let sinks: Vec<ObjectId> = {
        let mut tables = pool.tables.lock();
        let entry = tables.streams.get_mut(&camera).filter(|entry| {
            let leg = entry.leg();
            leg.is_some_and(|leg| leg.leg.pipeline == old.leg.pipeline)
        });
        let Some(entry) = entry else {
            server.release(leg.endpoint);
            return Err(EngineError::UnknownStream(camera));
        };
        entry.spec.stream = stream;
        entry.flow.rearm();
        entry.place = Place::Open(StreamLeg {
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
    // Released at the end, however this ends.
    let _old = Unfinished::new(server, &old.leg.endpoint);
    let connecting = sinks.into_iter().map(|sink| {
        let connect = Operation::Connect { sink };
        server.client.invoke(&leg.endpoint, connect)
    });
    let mut connecting = stream::iter(connecting).buffer_unordered(SINKS_AT_ONCE);
    while let Some(connected) = connecting.next().await {
        if let Err(error) = connected {
            tracing::warn!(%camera, %error, "a viewer could not be connected with the new run of its camera");
        }
    }
    Ok(leg.to_opened())
}
