//! What each request to a WHEP address does.

use apiary_media::engine::{CandidateDelivery, EngineError};
use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::sdp::Document;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, LINK, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::sync::Mutex;

use super::fragment::{Credentials, Fragment, Tagged};
use super::sessions::{IceSession, WhepSession, new_tag};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::{
    BoundedBytes, CameraPath, PathParameters, Peer, accepts, media_type, unsupported_media_type,
    user_agent,
};
use crate::http::ice_servers;
use crate::http::identity::Asker;
use crate::http::state::HttpState;
use crate::supervisor::{ViewerOffer, ViewerOrigin};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The parts of a session URL.
pub(super) struct SessionPath {
    camera: CameraId,
    token: String,
}

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let parameters = PathParameters::from_request_parts(parts, state).await?;
        Ok(Self {
            camera: parameters.get("camera_id").parse()?,
            token: parameters.get("session").to_owned(),
        })
    }
}

/// Starts watching: takes the player's SDP offer and answers it. An idle camera is started.
#[utoipa::path(post, path = "/whep/{camera_id}", tag = "whep", operation_id = "whep_create",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    request_body(content = String, content_type = "application/sdp", description = "the SDP offer"),
    responses(
        (status = 201, description = "the SDP answer", content_type = "application/sdp", body = String,
            headers(("Location", description = "URL of the session"), ("ETag", description = "names the ICE session"),
                ("Accept-Patch", description = "application/trickle-ice-sdpfrag"),
                ("Link", description = "with rel=\"ice-server\": a STUN or TURN server, and a login there"))),
        (status = 400, description = "no camera id, or an offer that cannot be used", body = ErrorBody),
        (status = 406, description = "an answer of type application/sdp is not accepted", body = ErrorBody),
        (status = 413, description = "the offer is too long", body = ErrorBody),
        (status = 415, description = "the body is not application/sdp", body = ErrorBody),
        (status = 429, description = "too many joins in too short a time", body = ErrorBody),
        (status = 502, description = "a media server failed at it", body = ErrorBody),
        (status = 503, description = "no room for one more viewer or stream, or no media server to take it", body = ErrorBody),
    ))]
pub(super) async fn create(
    State(http): State<HttpState>,
    CameraPath(camera): CameraPath,
    Asker(asker): Asker,
    Peer(ip): Peer,
    headers: HeaderMap,
    BoundedBytes(body): BoundedBytes,
) -> Result<Response, ApiError> {
    http.rates.join(&asker.who, ip)?;
    require_type(&headers, SDP)?;
    if !accepts(&headers, SDP) {
        let message = format!("the answer is {SDP}, which the Accept header does not allow");
        return Err(ApiError::plain(StatusCode::NOT_ACCEPTABLE, message));
    }
    let offer = text(body)?;
    let document = Document::parse(&offer)
        .map_err(|error| ApiError::bad_request(format!("the offer cannot be used: {error}")))?;
    let remote = Credentials::read(&document)
        .map_err(|error| ApiError::bad_request(format!("the offer cannot be used: {error}")))?;
    let origin = ViewerOrigin {
        ip,
        user_agent: user_agent(&headers),
    };
    let offer = ViewerOffer {
        sdp: offer,
        candidates: CandidateDelivery::InAnswer,
        may_talk: false, // there is no way to ask for a turn
    };
    let joined = http.supervisor.join(camera, offer, origin).await?;
    let tag = new_tag();
    let tagged = Tagged::of_answer(&joined.answer);
    http.views.add(joined.viewer, camera, asker.who.clone());
    let session = http.whep.add(WhepSession {
        camera,
        owner: asker.who,
        viewer: joined.viewer,
        ice: Mutex::new(IceSession {
            tag: tag.clone(),
            remote,
            tagged,
        }),
    });
    forget_if_gone(&http, camera, joined.viewer);
    let headers = [
        (CONTENT_TYPE, SDP.to_owned()),
        (LOCATION, format!("/whep/{camera}/{session}")),
        (ETAG, tag),
        (ACCEPT_PATCH, FRAGMENT.to_owned()),
    ];
    let mut response = (StatusCode::CREATED, headers, joined.answer).into_response();
    for link in ice_servers::links(&http.ice, joined.viewer) {
        response.headers_mut().append(LINK, link);
    }
    Ok(response)
}

/// A viewer may be gone before its session was kept; its event has passed by then.
fn forget_if_gone(http: &HttpState, camera: CameraId, viewer: ViewerId) {
    let known = http.supervisor.viewers(Some(camera));
    if known.iter().all(|one| one.viewer != viewer) {
        http.whep.keep_only(|kept| kept != viewer);
    }
}

/// Trickles candidates (If-Match with the session's entity tag), or restarts ICE (If-Match: *).
#[utoipa::path(patch, path = "/whep/{camera_id}/{session}", tag = "whep", operation_id = "whep_change",
    params(
        ("camera_id" = String, Path, description = "32 hexadecimal digits in either case"),
        ("session" = String, Path, description = "from the Location header"),
        ("If-Match" = String, Header, description = "the entity tag, or * to restart ICE"),
    ),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses(
        (status = 200, description = "ICE was restarted: our new credentials and candidates",
            content_type = "application/trickle-ice-sdpfrag", body = String, headers(("ETag", description = "names the new ICE session"))),
        (status = 204, description = "the candidates are taken"),
        (status = 400, description = "no camera id, or no SDP fragment", body = ErrorBody),
        (status = 404, description = "no such session", body = ErrorBody),
        (status = 412, description = "the entity tag is that of an earlier ICE session", body = ErrorBody),
        (status = 415, description = "the body is not application/trickle-ice-sdpfrag", body = ErrorBody),
        (status = 422, description = "a restart without credentials, or one with an engine that cannot restart ICE", body = ErrorBody),
        (status = 428, description = "the If-Match header is missing", body = ErrorBody),
    ))]
pub(super) async fn change(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    path: SessionPath,
    headers: HeaderMap,
    BoundedBytes(body): BoundedBytes,
) -> Result<Response, ApiError> {
    let session = http
        .whep
        .find(path.camera, &path.token, &asker)
        .ok_or_else(no_session)?;
    require_type(&headers, FRAGMENT)?;
    let mut ice = session.ice.lock().await;
    let precondition = Precondition::read(&headers, &ice.tag)?;
    let fragment = Fragment::parse(&text(body)?).map_err(ApiError::bad_request)?;
    // RFC 8840 would have foreign credentials ignored; WHEP takes them for a restart, whatever the precondition.
    match &fragment.credentials {
        Some(credentials) if ice.remote.as_ref() != Some(credentials) => {
            let credentials = credentials.clone();
            restart(&http, &session, &mut ice, credentials, fragment).await
        }
        Some(_) => trickle(&http, &session, fragment).await,
        None => match precondition {
            Precondition::ThisSession => trickle(&http, &session, fragment).await,
            Precondition::Any => {
                let message =
                    "If-Match: * asks for an ICE restart, which needs ice-ufrag and ice-pwd";
                Err(ApiError::plain(StatusCode::UNPROCESSABLE_ENTITY, message))
            }
        },
    }
}

async fn trickle(
    http: &HttpState,
    session: &WhepSession,
    fragment: Fragment,
) -> Result<Response, ApiError> {
    add_candidates(http, session, fragment).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn restart(
    http: &HttpState,
    session: &WhepSession,
    ice: &mut IceSession,
    credentials: Credentials,
    fragment: Fragment,
) -> Result<Response, ApiError> {
    let ours = http
        .supervisor
        .restart_ice(session.viewer, &credentials.ufrag, &credentials.pwd)
        .await?;
    ice.tag = new_tag();
    ice.remote = Some(credentials);
    add_candidates(http, session, fragment).await?;
    let headers = [(CONTENT_TYPE, FRAGMENT.to_owned()), (ETAG, ice.tag.clone())];
    Ok((headers, ice.tagged.answer(&ours)).into_response())
}

/// Candidates that cannot be used are dropped in silence, as WHEP asks.
async fn add_candidates(
    http: &HttpState,
    session: &WhepSession,
    fragment: Fragment,
) -> Result<(), ApiError> {
    let end = fragment.ended.then(String::new);
    for candidate in fragment.candidates.into_iter().chain(end) {
        match http
            .supervisor
            .add_candidate(session.viewer, &candidate)
            .await
        {
            Ok(()) => {}
            Err(EngineError::Candidate(reason)) => {
                tracing::debug!(viewer = %session.viewer, reason, "candidate dropped")
            }
            Err(EngineError::UnknownViewer(_)) => return Err(no_session()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Stops watching. Entity tags are ignored here, as WHEP asks.
#[utoipa::path(delete, path = "/whep/{camera_id}/{session}", tag = "whep", operation_id = "whep_remove",
    params(
        ("camera_id" = String, Path, description = "32 hexadecimal digits in either case"),
        ("session" = String, Path, description = "from the Location header"),
    ),
    responses(
        (status = 200, description = "the session is over"),
        (status = 400, description = "no camera id", body = ErrorBody),
        (status = 404, description = "no such session", body = ErrorBody),
    ))]
pub(super) async fn remove(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    path: SessionPath,
) -> Result<StatusCode, ApiError> {
    let session = http
        .whep
        .remove(path.camera, &path.token, &asker)
        .ok_or_else(no_session)?;
    http.supervisor.leave(session.viewer).await;
    Ok(StatusCode::OK)
}

/// Nothing is to be read here; WHEP wants a success without content.
#[utoipa::path(get, path = "/whep/{camera_id}", tag = "whep", operation_id = "whep_endpoint",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    responses(
        (status = 204, description = "here is a WHEP endpoint"),
        (status = 400, description = "no camera id", body = ErrorBody),
    ))]
pub(super) async fn endpoint(CameraPath(_camera): CameraPath) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Nothing is to be read here; WHEP wants a success without content.
#[utoipa::path(get, path = "/whep/{camera_id}/{session}", tag = "whep", operation_id = "whep_session",
    params(
        ("camera_id" = String, Path, description = "32 hexadecimal digits in either case"),
        ("session" = String, Path, description = "from the Location header"),
    ),
    responses(
        (status = 204, description = "the session lives"),
        (status = 400, description = "no camera id", body = ErrorBody),
        (status = 404, description = "no such session", body = ErrorBody),
    ))]
pub(super) async fn resource(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    path: SessionPath,
) -> Result<StatusCode, ApiError> {
    http.whep
        .find(path.camera, &path.token, &asker)
        .map(|_| StatusCode::NO_CONTENT)
        .ok_or_else(no_session)
}

/// What the endpoint takes.
#[utoipa::path(options, path = "/whep/{camera_id}", tag = "whep", operation_id = "whep_endpoint_options",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    responses((status = 204, description = "Allow and Accept-Post say it")))]
pub(super) async fn endpoint_options() -> Response {
    let headers = [
        (ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS, POST")),
        (ACCEPT_POST, HeaderValue::from_static(SDP)),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// What the session takes.
#[utoipa::path(options, path = "/whep/{camera_id}/{session}", tag = "whep", operation_id = "whep_session_options",
    params(
        ("camera_id" = String, Path, description = "32 hexadecimal digits in either case"),
        ("session" = String, Path, description = "from the Location header"),
    ),
    responses((status = 204, description = "Allow and Accept-Patch say it")))]
pub(super) async fn resource_options() -> Response {
    let headers = [
        (
            ALLOW,
            HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, PATCH"),
        ),
        (ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT)),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn require_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), ApiError> {
    match media_type(headers) {
        Some(given) if given == wanted => Ok(()),
        given => Err(unsupported_media_type(
            given.as_deref().unwrap_or("of no stated type"),
            wanted,
        )),
    }
}

fn text(body: Bytes) -> Result<String, ApiError> {
    String::from_utf8(body.into()).map_err(|_| ApiError::bad_request("the body is not UTF-8 text"))
}

/// One that never was, one that is over, and one of somebody else look the same.
fn no_session() -> ApiError {
    ApiError::not_found(
        "there is no such WHEP session, or it is over; POST an offer to the endpoint for a new one",
    )
}

/// What the `If-Match` header asks (RFC 9110 §13.1.1).
#[derive(Debug, PartialEq, Eq)]
enum Precondition {
    /// The current ICE session, and no other.
    ThisSession,
    /// Whatever there is.
    Any,
}

impl Precondition {
    fn read(headers: &HeaderMap, current: &str) -> Result<Self, ApiError> {
        let mut given = headers.get_all(IF_MATCH).iter().peekable();
        if given.peek().is_none() {
            let message =
                "PATCH needs an If-Match header with the session's entity tag, or * to restart ICE";
            return Err(ApiError::plain(StatusCode::PRECONDITION_REQUIRED, message));
        }
        let tags: Vec<&str> = given
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        // RFC 9725 prints the asterisk in quotes in its example, and players copy it.
        if tags.iter().any(|tag| matches!(*tag, "*" | "\"*\"")) {
            Ok(Self::Any)
        } else if tags.contains(&current) {
            Ok(Self::ThisSession)
        } else {
            let message = "the entity tag is that of an earlier ICE session; use the one of the last 200 or 201 answer";
            Err(ApiError::plain(StatusCode::PRECONDITION_FAILED, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h27_preconditions_decide_between_this_session_any_and_none() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_MATCH, value.parse().unwrap());
            }
            Precondition::read(&headers, "\"now\"").map_err(|error| error.status.as_u16())
        };
        assert_eq!(read(&["\"now\""]), Ok(Precondition::ThisSession));
        assert_eq!(read(&["\"other\", \"now\""]), Ok(Precondition::ThisSession));
        assert_eq!(
            read(&["\"other\"", "\"now\""]),
            Ok(Precondition::ThisSession)
        );
        assert_eq!(read(&["*"]), Ok(Precondition::Any));
        assert_eq!(read(&["\"*\""]), Ok(Precondition::Any));
        assert_eq!(read(&["\"old\""]), Err(412));
        assert_eq!(
            read(&["W/\"now\""]),
            Err(412),
            "weak tags never match strongly"
        );
        assert_eq!(read(&["now"]), Err(412));
        assert_eq!(read(&[""]), Err(412));
        assert_eq!(read(&[]), Err(428));
    }
}
