//! Cameras: which there are, how each stands, and what their owner says of them.

use apiary_core::lifecycle::Phase;
use apiary_media::engine::StreamStats;
use apiary_wire::id::CameraId;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::handlers::{QUESTIONS_AT_ONCE, current};
use super::model::{CameraList, StreamRates, time};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::{CameraPath, RequiredJson, given};
use crate::http::identity::Asker;
use crate::http::state::{HttpState, Inner};
use crate::logging::is_unprintable;
use crate::reason::{Code, Reason};
use crate::supervisor::{CameraSnapshot, CommandError, LabelChange};

/// Longest name and room, in characters.
const LABEL_LIMIT: usize = 64;
/// Greatest position.
const POSITION_LIMIT: u32 = 9999;

type Result<T> = std::result::Result<Json<T>, ApiError>;

/// A camera, as far as it is known.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CameraEntry {
    camera_id: String,
    /// What its owner calls it.
    name: Option<String>,
    /// Where its owner says it is.
    room: Option<String>,
    /// Its place in the list, small ones first; those without one come last.
    position: Option<u32>,
    /// Connected to the broker; `null` when it was never heard of.
    online: Option<bool>,
    #[schema(format = DateTime)]
    last_seen: Option<String>,
    firmware: Option<String>,
    hardware: Option<String>,
    /// Its own address, as it says.
    address: Option<String>,
    /// The word in its last status message.
    status: Option<String>,
    /// Its mode, such as `ARMED`, as it last reported it.
    mode: Option<String>,
    /// How full its battery is, where it tells.
    battery_percent: Option<f64>,
    /// How well its radio receives, in its own measure, presumably dBm.
    signal: Option<f64>,
    /// In degrees, presumably Celsius.
    temperature: Option<f64>,
    /// For how long it had been up when it last told, in seconds.
    uptime_s: Option<f64>,
    /// What it notices just now; `null` once that is over, or has lasted for five minutes.
    activity: Option<ActivityNow>,
    /// Since when somebody talks to it; `null` while nobody does.
    #[schema(format = DateTime)]
    talking_since: Option<String>,
    /// Why its last stream failed; `null` from the next start on.
    error: Option<String>,
    /// Whether `poster.mp4` has a picture, or soon has.
    poster: bool,
    /// What it streams, or how its last stream failed.
    stream: Option<StreamRates>,
}

/// Something that a camera notices.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ActivityNow {
    /// `MOTION`, `PERSON`, …
    #[serde(rename = "type")]
    kind: Option<String>,
    /// When it was first heard of here.
    #[schema(format = DateTime)]
    since: String,
}

impl CameraEntry {
    /// With what the engine last counted of its stream.
    pub(in crate::http) fn of(
        http: &Inner,
        camera: CameraSnapshot,
        stats: Option<&StreamStats>,
    ) -> Self {
        let stream = current(http, camera.camera);
        let error = stream.as_ref().and_then(|stream| stream.error.as_ref());
        let error = error.map(ToString::to_string);
        let shows = stream
            .as_ref()
            .is_some_and(|stream| stream.phase == Phase::Active);
        let poster = http.supervisor.keeps_picture(&camera) || (shows && http.kurento.is_none());
        let activity = camera.noticed.map(|noticed| ActivityNow {
            kind: noticed.kind,
            since: time(noticed.since),
        });
        Self {
            camera_id: camera.camera.to_string(),
            name: camera.label.name,
            room: camera.label.room,
            position: camera.label.position,
            online: camera.online,
            last_seen: camera.last_seen.map(time),
            firmware: camera.firmware,
            hardware: camera.hardware,
            address: camera.address,
            status: camera.report.status,
            mode: camera.report.mode,
            battery_percent: camera.report.battery_percent,
            signal: camera.report.signal,
            temperature: camera.report.temperature,
            uptime_s: camera.uptime_s,
            activity,
            talking_since: http
                .supervisor
                .talker(camera.camera)
                .map(|talker| time(talker.since)),
            error,
            poster,
            stream: stream.map(|stream| StreamRates::new(&stream, stats)),
        }
    }
}

/// A camera with its settings.
#[derive(Serialize, ToSchema)]
pub(super) struct CameraDetail {
    #[serde(flatten)]
    entry: CameraEntry,
    /// Mode and settings as the camera last reported them.
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
}

/// What is to be changed; what is left out stays, and `null` takes it away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CameraChange {
    /// What the camera is called, at most 64 characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 64)]
    name: Option<Option<String>>,
    /// Where it is, at most 64 characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 64)]
    room: Option<Option<String>>,
    /// Its place in the list, 0 to 9999.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>, maximum = 9999)]
    position: Option<Option<u32>>,
}

/// All cameras that were ever heard of, with what they stream now.
#[utoipa::path(get, path = "/cameras", tag = "streams", operation_id = "cameras",
    responses((status = 200, body = CameraList)))]
pub(super) async fn cameras(
    State(http): State<HttpState>,
    Asker(asker): Asker,
) -> Json<CameraList> {
    let http = &http;
    let entries = http
        .supervisor
        .cameras()
        .into_iter()
        .filter(|camera| asker.may_watch(camera.camera))
        .map(|camera| entry(http, camera));
    let cameras: Vec<_> = stream::iter(entries)
        .buffered(QUESTIONS_AT_ONCE)
        .collect()
        .await;
    Json(CameraList {
        count: cameras.len(),
        cameras,
        broker_connected: http.broker_connected(),
        engine_error: http.engine.health().trouble.filter(|_| !asker.is_guest()),
    })
}

/// One camera, with the settings that it last reported.
#[utoipa::path(get, path = "/cameras/{camera_id}", tag = "streams", operation_id = "camera",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    responses(
        (status = 200, body = CameraDetail),
        (status = 400, description = "no camera id", body = ErrorBody),
        (status = 404, description = "nobody ever heard of that camera", body = ErrorBody),
    ))]
pub(super) async fn camera(
    State(http): State<HttpState>,
    CameraPath(camera): CameraPath,
) -> Result<CameraDetail> {
    let known = find(&http, camera)?;
    Ok(Json(detail(&http, known).await))
}

/// Says what a camera is called, where it is, and where it stands in the list. Done when that is kept.
#[utoipa::path(patch, path = "/cameras/{camera_id}", tag = "streams", operation_id = "change_camera",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    request_body = CameraChange,
    responses(
        (status = 200, description = "the camera as it is now", body = CameraDetail),
        (status = 400, description = "no camera id, or a change that is not understood or too long", body = ErrorBody),
        (status = 404, description = "nobody ever heard of that camera", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 500, description = "the database refused the change", body = ErrorBody),
        (status = 503, description = "the database cannot be written at the moment", body = ErrorBody),
    ))]
pub(super) async fn change_camera(
    State(http): State<HttpState>,
    CameraPath(camera): CameraPath,
    RequiredJson(change): RequiredJson<CameraChange>,
) -> Result<CameraDetail> {
    let change = LabelChange {
        name: label("name", change.name)?,
        room: label("room", change.room)?,
        position: change.position,
    };
    if let Some(Some(position)) = change.position
        && position > POSITION_LIMIT
    {
        return Err(ApiError::bad_request(format!(
            "position is {position}; give a whole number from 0 to {POSITION_LIMIT}"
        )));
    }
    let changed = http.supervisor.label_camera(camera, change).await?;
    Ok(Json(detail(&http, changed).await))
}

pub(super) fn find(
    http: &HttpState,
    camera: CameraId,
) -> std::result::Result<CameraSnapshot, ApiError> {
    http.supervisor
        .camera(camera)
        .ok_or_else(|| CommandError::UnknownCamera(camera).into())
}

async fn entry(http: &HttpState, camera: CameraSnapshot) -> CameraEntry {
    let stats = match current(http, camera.camera) {
        Some(_) => http.engine.stream_stats(camera.camera).await,
        None => None,
    };
    CameraEntry::of(http, camera, stats.as_ref())
}

async fn detail(http: &HttpState, camera: CameraSnapshot) -> CameraDetail {
    let settings = camera.report.settings.as_deref();
    CameraDetail {
        settings: settings.and_then(|settings| serde_json::from_str(settings).ok()),
        entry: entry(http, camera).await,
    }
}

/// A name or a room, without blanks around it; an empty one takes it away.
fn label(
    field: &str,
    given: Option<Option<String>>,
) -> std::result::Result<Option<Option<String>>, ApiError> {
    let Some(Some(text)) = given else {
        return Ok(given);
    };
    let text = text.trim();
    if text.contains(is_unprintable) {
        let text = format!("{field} holds a control character; remove it");
        let reason = Reason::new(Code::ControlCharacter, text);
        return Err(ApiError::new(StatusCode::BAD_REQUEST, reason));
    }
    if text.chars().count() > LABEL_LIMIT {
        let text = format!("{field} is too long; give at most {LABEL_LIMIT} characters");
        let reason = Reason::new(Code::LabelTooLong, text).with("longest", LABEL_LIMIT);
        return Err(ApiError::new(StatusCode::BAD_REQUEST, reason));
    }
    Ok(Some((!text.is_empty()).then(|| text.to_owned())))
}
