//! What routes take out of a request, each refusal in the words of [`ApiError`].

use std::convert::Infallible;
use std::error::Error;
use std::net::IpAddr;
use std::str::FromStr;

use apiary_wire::id::CameraId;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::client::Client;
use super::error::ApiError;
use super::serving::BodyTooSlow;
use crate::auth::AccountError;
use crate::reason::{Code, Reason};

/// No request body may be longer, in octets.
pub(super) const MAX_BODY: usize = 256 * 1024;
/// How much of a `User-Agent` is kept, in characters.
const MAX_USER_AGENT: usize = 256;

/// The `{camera_id}` of the path, in either case.
pub(super) struct CameraPath(pub(super) CameraId);

impl<S: Send + Sync> FromRequestParts<S> for CameraPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let parameters = PathParameters::from_request_parts(parts, state).await?;
        Ok(Self(parameters.get("camera_id").parse()?))
    }
}

/// The parts of the path that the route names, decoded.
pub(super) struct PathParameters(Vec<(String, String)>);

impl PathParameters {
    /// The empty text where the route does not name it.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The id of a thing; what is none names nothing.
    pub(super) fn id<T: FromStr>(&self, name: &str, thing: &'static str) -> Result<T, ApiError> {
        let id = self.get(name).parse();
        id.map_err(|_| AccountError::NoSuch(thing).into())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let refuse = |rejection: PathRejection| ApiError::bad_request(rejection.body_text());
        let Path(parameters) = Path::from_request_parts(parts, state)
            .await
            .map_err(refuse)?;
        Ok(Self(parameters))
    }
}

/// The fields of the query.
pub(super) struct QueryFields<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryFields<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(fields)| Self(fields))
            .map_err(|rejection| ApiError::bad_request(rejection.body_text()))
    }
}

/// The client's address, where it is known.
pub(super) struct Peer(pub(super) Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<Client>();
        Ok(Self(client.and_then(|client| client.ip)))
    }
}

/// Tells `null` from what was left out, for fields of a JSON body that can be both.
pub(super) fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// An optional JSON body: an absent one is the type's default.
pub(super) struct OptionalJson<T>(pub(super) T);

impl<S, T> FromRequest<S> for OptionalJson<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Default,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let given = media_type(request.headers());
        let BoundedBytes(body) = BoundedBytes::from_request(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        json(given, &body).map(Self)
    }
}

/// A JSON body.
pub(super) struct RequiredJson<T>(pub(super) T);

impl<S, T> FromRequest<S> for RequiredJson<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let given = media_type(request.headers());
        let BoundedBytes(body) = BoundedBytes::from_request(request, state).await?;
        json(given, &body).map(Self)
    }
}

fn json<T: DeserializeOwned>(media_type: Option<String>, body: &[u8]) -> Result<T, ApiError> {
    if let Some(given) = media_type.filter(|given| given != "application/json") {
        return Err(unsupported_media_type(&given, "application/json"));
    }
    // By way of an object: a list would be taken for the fields in their order.
    serde_json::from_slice::<Map<String, Value>>(body)
        .and_then(|object| serde_json::from_value(Value::Object(object)))
        .map_err(|error| {
            ApiError::bad_request(format!("the body is not the JSON expected here: {error}"))
        })
}

/// The whole body, bounded.
pub(super) struct BoundedBytes(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for BoundedBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Bytes::from_request(request, state)
            .await
            .map(Self)
            .map_err(|rejection| refuse_body(&rejection))
    }
}

fn refuse_body(rejection: &BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let message = format!(
            "the body is longer than {} KiB, the most that is taken",
            MAX_BODY / 1024
        );
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Reason::new(Code::TooLong, message),
        )
    } else if is_caused_by::<BodyTooSlow>(rejection) {
        let message = "the body was not sent in time; send it again over a better connection";
        ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            Reason::new(Code::TooSlow, message),
        )
    } else {
        ApiError::bad_request(format!(
            "the body could not be read: {}",
            rejection.body_text()
        ))
    }
}

fn is_caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    error.is::<E>() || error.source().is_some_and(is_caused_by::<E>)
}

pub(super) fn unsupported_media_type(given: &str, wanted: &str) -> ApiError {
    let message = format!("the body is {given:?}, but this address takes {wanted}");
    ApiError::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}

/// The body's media type without its parameters, in lower case (RFC 9110 §8.3.1).
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default();
    Some(essence.trim().to_ascii_lowercase())
}

/// Whether an answer of this media type may be given (RFC 9110 §12.5.1). Quality values only matter where they are 0.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|range| !range.trim().is_empty())
        .peekable();
    let family = media_type.split('/').next().unwrap_or_default();
    let matches = |range: &str| {
        let mut parts = range
            .split(';')
            .map(|part| part.trim().to_ascii_lowercase());
        let name = parts.next().unwrap_or_default();
        let refused =
            parts.any(|part| matches!(part.as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        !refused && (name == "*/*" || name == media_type || name == format!("{family}/*"))
    };
    ranges.peek().is_none() || ranges.any(matches)
}

/// The client's name for itself, shortened.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(value.chars().take(MAX_USER_AGENT).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn media_types_are_compared_without_case_and_parameters() {
        let read = |value| media_type(&with(header::CONTENT_TYPE, &[value]));
        assert_eq!(
            read("Application/SDP; charset=utf-8").as_deref(),
            Some("application/sdp")
        );
        assert_eq!(read("text/plain").as_deref(), Some("text/plain"));
        assert_eq!(media_type(&HeaderMap::new()), None);
    }

    #[test]
    fn accept_headers_decide() {
        let cases = [
            (&[][..], true),
            (&[""], true),
            (&["*/*"], true),
            (&["application/*"], true),
            (&["text/html, Application/SDP;q=0.1"], true),
            (&["text/html", "application/sdp"], true),
            (&["application/json"], false),
            (&["application/sdp;q=0"], false),
            (&["text/*"], false),
        ];
        for (values, expected) in cases {
            assert_eq!(
                accepts(&with(header::ACCEPT, values), "application/sdp"),
                expected,
                "{values:?}"
            );
        }
    }

    #[test]
    fn user_agents_are_shortened() {
        let long = "x".repeat(5000);
        let kept = user_agent(&with(header::USER_AGENT, &[&long])).unwrap();
        assert_eq!(kept.len(), MAX_USER_AGENT);
    }
}
