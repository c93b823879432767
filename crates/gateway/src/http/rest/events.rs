//! What happened to cameras.

use apiary_store::{CameraEvent, CameraScope, EventFilter, EventId, EventKind};
use apiary_wire::id::CameraId;
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::cameras::find;
use super::model::time;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::{CameraPath, QueryFields};
use crate::http::identity::Asker;
use crate::http::state::HttpState;

/// Events in an answer where the request does not say how many.
const EVENTS: u32 = 50;
/// Most events in an answer.
const EVENTS_LIMIT: u32 = 500;

type Result<T> = std::result::Result<Json<T>, ApiError>;

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
    /// Only activities of this type: `MOTION`, `PERSON`, …
    #[serde(rename = "type")]
    activity_type: Option<String>,
}

/// Which events are wanted, of which camera.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AllEventsQuery {
    /// Only of this camera, 32 hexadecimal digits in either case.
    camera: Option<String>,
    /// Most events in the answer, 1 to 500; 50 where it is left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// Only what is older: the `next` of an earlier answer, or a time (ISO 8601).
    before: Option<String>,
    /// Only events of this kind: `activity_start`, `activity_stop`, `connection`, `status` or `state`.
    kind: Option<String>,
    /// Only activities of this type: `MOTION`, `PERSON`, …
    #[serde(rename = "type")]
    activity_type: Option<String>,
}

/// Something that happened to a camera.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct EventEntry {
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
pub(crate) struct EventList {
    events: Vec<EventEntry>,
    count: usize,
    /// For `before`, to go on where this answer ends; `null` where there is nothing more.
    next: Option<String>,
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
    list(&http, Some(vec![camera]), query).await
}

/// What happened to all cameras that one may see, newest first.
#[utoipa::path(get, path = "/api/events", tag = "streams", operation_id = "events",
    params(AllEventsQuery),
    responses(
        (status = 200, body = EventList),
        (status = 400, description = "a parameter that is not understood", body = ErrorBody),
        (status = 404, description = "no such camera, or it is not for the one who asks", body = ErrorBody),
        (status = 500, description = "the database is broken", body = ErrorBody),
        (status = 503, description = "the database cannot be read at the moment", body = ErrorBody),
    ))]
pub(crate) async fn all_events(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    QueryFields(query): QueryFields<AllEventsQuery>,
) -> Result<EventList> {
    let AllEventsQuery {
        camera,
        limit,
        before,
        kind,
        activity_type,
    } = query;
    let cameras = match (camera, &*asker.cameras) {
        (Some(camera), _) => {
            let camera = camera.parse()?;
            if !asker.may_watch(camera) || http.supervisor.camera(camera).is_none() {
                return Err(ApiError::no_camera());
            }
            Some(vec![camera])
        }
        (None, CameraScope::Only(own)) => Some(own.iter().copied().collect()),
        (None, CameraScope::All) => None,
    };
    let query = EventQuery {
        limit,
        before,
        kind,
        activity_type,
    };
    list(&http, cameras, query).await
}

/// Of these cameras, or of all.
async fn list(
    http: &HttpState,
    cameras: Option<Vec<CameraId>>,
    query: EventQuery,
) -> Result<EventList> {
    let limit = limit(query.limit.as_deref())?;
    let filter = EventFilter {
        cameras,
        kind: query.kind.as_deref().map(kind).transpose()?,
        activity_type: query.activity_type,
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
