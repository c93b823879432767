//! One function a route: asks the supervisor, and puts its answer into the API's words.

use apiary_core::lifecycle::Phase;
use apiary_media::engine::EngineHealth;
use apiary_wire::id::CameraId;
use apiary_wire::units::Bitrate;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use super::model::{
    Health, HealthDetail, LivestreamHealth, StartRequest, StartedStream, StoppedStream,
    StreamDetail, StreamList, StreamStatistics, StreamSummary, StreamWithViewers, ViewerEntry,
    ViewerList, ViewerStatistics, time,
};
use crate::auth::Principal;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::{CameraPath, OptionalJson, Peer};
use crate::http::identity::{Asker, MaybeKnown};
use crate::http::state::{HttpState, Inner};
use crate::supervisor::{NoStream, StartOptions, StreamSnapshot};

/// How many questions one request puts to the engine at the same time; its queues are bounded.
pub(in crate::http) const QUESTIONS_AT_ONCE: usize = 16;

type Result<T> = std::result::Result<Json<T>, ApiError>;

/// How the gateway does.
#[utoipa::path(get, path = "/health", tag = "streams", operation_id = "health",
    responses((status = 200, body = Health)))]
pub(crate) async fn health(State(http): State<HttpState>, caller: MaybeKnown) -> Json<Health> {
    Json(health_of(&http, &caller))
}

/// How the gateway does, for the dashboard's proxy.
#[utoipa::path(get, path = "/health", tag = "streams", operation_id = "health",
    responses((status = 200, body = LivestreamHealth)))]
pub(crate) async fn livestream_health(
    State(http): State<HttpState>,
    caller: MaybeKnown,
) -> Json<LivestreamHealth> {
    Json(LivestreamHealth {
        health: health_of(&http, &caller),
        enabled: true,
    })
}

fn health_of(http: &HttpState, MaybeKnown(caller): &MaybeKnown) -> Health {
    let broker_connected = http.broker_connected();
    let engine = http.engine.health();
    let well = broker_connected && engine.trouble.is_none();
    Health {
        status: if well { "healthy" } else { "degraded" },
        timestamp: time(Timestamp::now()),
        kurento_connected: engine.trouble.is_none(),
        detail: caller
            .as_ref()
            .filter(|caller| !caller.is_guest())
            .map(|caller| health_detail(http, caller, engine))
            .unwrap_or_default(),
    }
}

/// What strangers are not told.
fn health_detail(http: &HttpState, caller: &Principal, engine: EngineHealth) -> HealthDetail {
    let running = http
        .supervisor
        .streams()
        .into_iter()
        .filter(|stream| !stream.phase.is_over() && caller.may_watch(stream.camera));
    HealthDetail {
        engine: Some(http.engine.kind()),
        engine_error: engine.trouble,
        media_servers: engine.servers.into_iter().map(Into::into).collect(),
        broker_connected: Some(http.broker_connected()),
        active_streams: Some(running.count()),
        total_viewers: Some(viewers_for(http, caller).len()),
        uptime_seconds: Some(http.started.elapsed().as_secs()),
        version: Some(env!("CARGO_PKG_VERSION")),
    }
}

/// The streams that run.
#[utoipa::path(get, path = "/streams", tag = "streams", operation_id = "streams",
    responses((status = 200, body = StreamList)))]
pub(super) async fn streams(
    State(http): State<HttpState>,
    Asker(asker): Asker,
) -> Json<StreamList> {
    let streams: Vec<_> = http
        .supervisor
        .streams()
        .iter()
        .filter(|stream| !stream.phase.is_over() && asker.may_watch(stream.camera))
        .map(StreamSummary::from)
        .collect();
    Json(StreamList {
        count: streams.len(),
        streams,
    })
}

/// A camera's stream and its viewers.
#[utoipa::path(get, path = "/streams/{camera_id}", tag = "streams", operation_id = "stream",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    responses(
        (status = 200, body = StreamWithViewers),
        (status = 400, description = "no camera id", body = ErrorBody),
        (status = 404, description = "the camera has no stream", body = ErrorBody),
    ))]
pub(super) async fn stream_of_camera(
    State(http): State<HttpState>,
    CameraPath(camera): CameraPath,
) -> Result<StreamWithViewers> {
    let stream = find(&http, camera)?;
    let viewers = viewers_of(&http, camera);
    Ok(Json(StreamWithViewers {
        stream: StreamDetail::from(&stream),
        viewer_count: viewers.len(),
        viewers,
    }))
}

/// Starts a camera. Answers as soon as the camera is being told; the stream is active once RTP comes.
#[utoipa::path(post, path = "/streams/{camera_id}/start", tag = "streams", operation_id = "start_stream",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    request_body(content = Option<StartRequest>, description = "may be left out"),
    responses(
        (status = 201, description = "the stream starts", body = StartedStream),
        (status = 400, description = "no camera id, or bounds that make no sense", body = ErrorBody),
        (status = 409, description = "it runs already, as this session", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 502, description = "a media server failed at it", body = ErrorBody),
        (status = 503, description = "no room for one more stream, or no media server to take it", body = ErrorBody),
    ))]
pub(super) async fn start(
    State(http): State<HttpState>,
    CameraPath(camera): CameraPath,
    Peer(requester): Peer,
    OptionalJson(wanted): OptionalJson<StartRequest>,
) -> std::result::Result<(StatusCode, Json<StartedStream>), ApiError> {
    let options = StartOptions {
        min_bitrate: wanted
            .min_bandwidth
            .map(|kbps| Bitrate::from_kbps(kbps.into())),
        max_bitrate: wanted
            .max_bandwidth
            .map(|kbps| Bitrate::from_kbps(kbps.into())),
        requester,
    };
    let stream = http.supervisor.start(camera, options).await?;
    Ok((StatusCode::CREATED, Json(StartedStream::from(&stream))))
}

/// Stops a camera; its viewers are told.
#[utoipa::path(post, path = "/streams/{camera_id}/stop", tag = "streams", operation_id = "stop_stream",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    responses(
        (status = 200, description = "the stream is stopped", body = StoppedStream),
        (status = 400, description = "no camera id", body = ErrorBody),
        (status = 404, description = "the camera has no stream", body = ErrorBody),
    ))]
pub(super) async fn stop(
    State(http): State<HttpState>,
    CameraPath(camera): CameraPath,
) -> Result<StoppedStream> {
    let stream = http.supervisor.stop(camera).await?;
    Ok(Json(StoppedStream::from(&stream)))
}

/// What the engine counts of a camera's stream and of each of its viewers.
#[utoipa::path(get, path = "/streams/{camera_id}/stats", tag = "streams", operation_id = "stream_stats",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    responses(
        (status = 200, body = StreamStatistics),
        (status = 400, description = "no camera id", body = ErrorBody),
        (status = 404, description = "the camera has no stream", body = ErrorBody),
    ))]
pub(super) async fn stream_stats(
    State(http): State<HttpState>,
    CameraPath(camera): CameraPath,
) -> Result<StreamStatistics> {
    let stream = find(&http, camera)?;
    let leg = http.engine.stream_stats(camera).await.unwrap_or_default();
    let engine = &http.engine;
    let viewers = http
        .supervisor
        .viewers(Some(camera))
        .into_iter()
        .map(|viewer| async move {
            let stats = engine.viewer_stats(viewer.viewer).await?;
            Some(ViewerStatistics::new(viewer.viewer, &stats))
        });
    let viewers = stream::iter(viewers)
        .buffered(QUESTIONS_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    Ok(Json(StreamStatistics::new(&stream, &leg, viewers)))
}

/// Everybody who watches.
#[utoipa::path(get, path = "/viewers", tag = "streams", operation_id = "viewers",
    responses((status = 200, body = ViewerList)))]
pub(super) async fn viewers(
    State(http): State<HttpState>,
    Asker(asker): Asker,
) -> Json<ViewerList> {
    let viewers = viewers_for(&http, &asker);
    Json(ViewerList {
        count: viewers.len(),
        viewers,
    })
}

/// Everybody who watches this camera.
#[utoipa::path(get, path = "/viewers/{camera_id}", tag = "streams", operation_id = "camera_viewers",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    responses(
        (status = 200, body = ViewerList),
        (status = 400, description = "no camera id", body = ErrorBody),
    ))]
pub(super) async fn camera_viewers(
    State(http): State<HttpState>,
    CameraPath(camera): CameraPath,
) -> Result<ViewerList> {
    let viewers = viewers_of(&http, camera);
    Ok(Json(ViewerList {
        count: viewers.len(),
        viewers,
    }))
}

fn viewers_of(http: &HttpState, camera: CameraId) -> Vec<ViewerEntry> {
    http.supervisor
        .viewers(Some(camera))
        .iter()
        .map(ViewerEntry::from)
        .collect()
}

/// The viewers of all cameras that somebody may see.
fn viewers_for(http: &HttpState, asker: &Principal) -> Vec<ViewerEntry> {
    http.supervisor
        .viewers(None)
        .iter()
        .filter(|viewer| asker.may_watch(viewer.camera))
        .map(ViewerEntry::from)
        .collect()
}

/// The stream that runs, or the last one if it failed: its reason is worth reading. One that was stopped is none.
pub(super) fn current(http: &Inner, camera: CameraId) -> Option<StreamSnapshot> {
    http.supervisor
        .stream(camera)
        .filter(|stream| stream.phase != Phase::Stopped)
}

fn find(http: &HttpState, camera: CameraId) -> std::result::Result<StreamSnapshot, ApiError> {
    current(http, camera).ok_or_else(|| NoStream { camera }.into())
}
