//! Cameras: which there are, what their owner says of them, and what happened to them.

use apiary_store::{CameraEvent, EventFilter, EventId, EventKind};
use apiary_wire::id::CameraId;
use axum::Json;
use axum::extract::State;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::handlers::{QUESTIONS_AT_ONCE, current};
use super::model::{CameraList, StreamRates, time};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::{CameraPath, QueryFields, RequiredJson, given};
use crate::http::identity::Asker;
use crate::http::state::HttpState;
use crate::logging::is_unprintable;
use crate::supervisor::{CameraSnapshot, LabelChange};

/// Longest name and room, in characters.
const LABEL_LIMIT: usize = 64;
/// Greatest position.
const POSITION_LIMIT: u32 = 9999;
/// Events in an answer where the request does not say how many.
const EVENTS: u32 = 50;
/// Most events in an answer.
const EVENTS_LIMIT: u32 = 500;

type Result<T> = std::result::Result<Json<T>, ApiError>;

/// A camera, as far as it is known.
#[derive(Serialize, ToSchema)]
pub(super) struct CameraEntry {
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
    /// What it streams, or how its last stream failed.
    stream: Option<StreamRates>,
}

impl CameraEntry {
    fn new(camera: CameraSnapshot, stream: Option<StreamRates>) -> Self {
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
            stream,
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

/// Which events are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Most events in the answer, 1 to 500; 50 where it is left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// Only what is older: the `next` of an earlier answer, or a time (ISO 8601).
    before: Option<String>,
    /// Only events of this kind: `activity_start`, `activity_stop`, `connection`, `status` or `state`.
    kind: Option<String>,
}

/// Something that happened to a camera.
#[derive(Serialize, ToSchema)]
pub(super) struct EventEntry {
    id: String,
    camera_id: String,
    /// `activity_start`, `activity_stop`, `connection`, `status` (its word is another) or `state` (its mode or settings are
    /// others).
    kind: &'static str,
    /// When it was heard of here.
    #[schema(format = DateTime)]
    at: String,
    /// The camera's name for an activity, the same at start and stop.
    event_id: Option<String>,
    /// `MOTION`, `PERSON`, …
    activity_type: Option<String>,
    confidence: Option<f64>,
    /// How the camera stands since, in a word: `connected` or `disconnected`, its status, its mode.
    detail: Option<String>,
    /// The camera's message; `null` where it was too long to be kept.
    #[schema(value_type = Option<Object>)]
    payload: Option<Value>,
}

impl From<CameraEvent> for EventEntry {
    fn from(event: CameraEvent) -> Self {
        Self {
            id: event.id.to_string(),
            camera_id: event.camera.to_string(),
            kind: event.kind.as_str(),
            at: time(event.at),
            event_id: event.event_id,
            activity_type: event.activity_type,
            confidence: event.confidence,
            detail: event.detail,
            payload: event
                .payload
                .and_then(|payload| serde_json::from_str(&payload).ok()),
        }
    }
}

/// Events, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct EventList {
    events: Vec<EventEntry>,
    count: usize,
    /// For `before`, to go on where this answer ends; `null` where there is nothing more.
    next: Option<String>,
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

/// What happened to a camera, newest first.
#[utoipa::path(get, path = "/cameras/{camera_id}/events", tag = "streams", operation_id = "camera_events",
    params(
        ("camera_id" = String, Path, description = "32 hexadecimal digits in either case"),
        EventQuery,
    ),
    responses(
        (status = 200, body = EventList),
        (status = 400, description = "no camera id, or a parameter that is not understood", body = ErrorBody),
        (status = 404, description = "nobody ever heard of that camera", body = ErrorBody),
        (status = 500, description = "the database is broken", body = ErrorBody),
        (status = 503, description = "the database cannot be read at the moment", body = ErrorBody),
    ))]
pub(super) async fn camera_events(
    State(http): State<HttpState>,
    CameraPath(camera): CameraPath,
    QueryFields(query): QueryFields<EventQuery>,
) -> Result<EventList> {
    find(&http, camera)?;
    let limit = limit(query.limit.as_deref())?;
    let filter = EventFilter {
        camera: Some(camera),
        kind: query.kind.as_deref().map(kind).transpose()?,
    };
    let before = query.before.as_deref().map(before).transpose()?;
    // One more than wanted says whether there are more.
    let mut found = http
        .supervisor
        .camera_events(filter, limit + 1, before)
        .await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| has_more);
    Ok(Json(EventList {
        next: next.map(|event| event.id.to_string()),
        count: found.len(),
        events: found.into_iter().map(EventEntry::from).collect(),
    }))
}

fn find(http: &HttpState, camera: CameraId) -> std::result::Result<CameraSnapshot, ApiError> {
    http.supervisor
        .camera(camera)
        .ok_or_else(|| ApiError::not_found(format!("camera {camera} is not known")))
}

async fn entry(http: &HttpState, camera: CameraSnapshot) -> CameraEntry {
    let stream = match current(http, camera.camera) {
        Some(stream) => {
            let stats = http.engine.stream_stats(camera.camera).await;
            Some(StreamRates::new(&stream, stats.as_ref()))
        }
        None => None,
    };
    CameraEntry::new(camera, stream)
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
        return Err(ApiError::bad_request(format!(
            "{field} holds a control character; remove it"
        )));
    }
    if text.chars().count() > LABEL_LIMIT {
        return Err(ApiError::bad_request(format!(
            "{field} is too long; give at most {LABEL_LIMIT} characters"
        )));
    }
    Ok(Some((!text.is_empty()).then(|| text.to_owned())))
}

fn limit(given: Option<&str>) -> std::result::Result<u32, ApiError> {
    let Some(given) = given else {
        return Ok(EVENTS);
    };
    given
        .parse()
        .ok()
        .filter(|limit| (1..=EVENTS_LIMIT).contains(limit))
        .ok_or_else(|| {
            ApiError::bad_request(format!("limit is no whole number from 1 to {EVENTS_LIMIT}"))
        })
}

fn kind(given: &str) -> std::result::Result<EventKind, ApiError> {
    given.parse().map_err(|_| {
        ApiError::bad_request(
            "kind is none of activity_start, activity_stop, connection, status and state",
        )
    })
}

fn before(given: &str) -> std::result::Result<EventId, ApiError> {
    let time = |given: &str| given.parse::<Timestamp>().map(EventId::first_at);
    given.parse().or_else(|_| time(given)).map_err(|_| {
        ApiError::bad_request(
            "before is neither the next of an earlier answer nor a time like 2026-01-31T12:00:00Z",
        )
    })
}
