//! The last picture of a camera, for pages that show something before the stream plays: an MP4 file of one picture, which any
//! browser shows in a `<video>`.

use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::cameras::find;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::CameraPath;
use crate::http::state::HttpState;

/// It is of somebody's house, and soon there is another.
const KEEP: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The last picture of a camera as an MP4 file: of its stream while that runs, and for a time afterwards.
#[utoipa::path(get, path = "/cameras/{camera_id}/poster.mp4", tag = "streams", operation_id = "camera_poster",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    responses(
        (status = 200, description = "one picture", content_type = "video/mp4"),
        (status = 206, description = "the part of it that Range names", content_type = "video/mp4"),
        (status = 304, description = "the copy named by If-None-Match still holds"),
        (status = 400, description = "no camera id", body = ErrorBody),
        (status = 404, description = "there is no picture of that camera", body = ErrorBody),
        (status = 416, description = "Range begins behind the end"),
    ))]
pub(super) async fn poster(
    State(http): State<HttpState>,
    CameraPath(camera): CameraPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    find(&http, camera)?;
    let picture = http.supervisor.picture(camera).await;
    let picture = picture.map_err(ApiError::from)?;
    let file = Bytes::from_owner(picture.mp4);
    let tag = tag(&file);
    let fixed = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, KEEP),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::LAST_MODIFIED, http_date(picture.at)),
    ];
    if names(&headers, header::IF_NONE_MATCH, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, fixed).into_response());
    }
    let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static("video/mp4"))];
    // A part of another picture is worth nothing (RFC 9110 §13.1.5).
    let of_this =
        !headers.contains_key(header::IF_RANGE) || names(&headers, header::IF_RANGE, &tag);
    let range = headers.get(header::RANGE).filter(|_| of_this);
    Ok(match range.and_then(|range| part(range, file.len())) {
        None => (fixed, media_type, file).into_response(),
        Some(Ok(part)) => {
            let (first, last) = (part.start, part.end - 1);
            let place = format!("bytes {first}-{last}/{}", file.len());
            let place = [(header::CONTENT_RANGE, place)];
            let part = file.slice(part);
            (StatusCode::PARTIAL_CONTENT, fixed, media_type, place, part).into_response()
        }
        Some(Err(Beyond)) => {
            let length = [(header::CONTENT_RANGE, format!("bytes */{}", file.len()))];
            (
                StatusCode::RANGE_NOT_SATISFIABLE,
                fixed,
                length,
                Body::empty(),
            )
                .into_response()
        }
    })
}

/// The part begins behind the end.
#[derive(Debug, PartialEq, Eq)]
struct Beyond;

/// The part of a file that a `Range` names (RFC 9110 §14.1.2). Several parts, and what is no range, count as none.
fn part(range: &HeaderValue, length: usize) -> Option<Result<Range<usize>, Beyond>> {
    let (first, last) = range
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let number = |text: &str| text.parse::<usize>().ok();
    let (start, end) = match (first.trim(), last.trim()) {
        ("", suffix) => (length.saturating_sub(number(suffix)?), length),
        (first, "") => (number(first)?, length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(length))
        }
    };
    Some(if start < end {
        Ok(start..end)
    } else {
        Err(Beyond)
    })
}

fn tag(file: &[u8]) -> HeaderValue {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, file);
    let hex: String = digest
        .as_ref()
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    HeaderValue::try_from(format!("\"{hex}\""))
        .expect("hexadecimal digits and quotes stand in any header")
}

/// Whether a header names this tag.
fn names(headers: &HeaderMap, name: header::HeaderName, tag: &HeaderValue) -> bool {
    let mut given = headers
        .get_all(name)
        .iter()
        .flat_map(|given| given.as_bytes().split(|&byte| byte == b','));
    given.any(|one| one.trim_ascii() == tag.as_bytes())
}

/// As RFC 9110 §5.6.7 wants it.
fn http_date(at: Timestamp) -> HeaderValue {
    let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at);
    let date = date.ok().and_then(|date| HeaderValue::try_from(date).ok());
    date.unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_as_players_do() {
        let of = |range: &'static str| part(&HeaderValue::from_static(range), 100);
        assert_eq!(of("bytes=0-1"), Some(Ok(0..2)));
        assert_eq!(of("bytes=0-"), Some(Ok(0..100)));
        assert_eq!(of("bytes=90-200"), Some(Ok(90..100)));
        assert_eq!(of("bytes=-10"), Some(Ok(90..100)));
        assert_eq!(of("bytes=-200"), Some(Ok(0..100)));
        assert_eq!(of("bytes=0-18446744073709551615"), Some(Ok(0..100)));
        for beyond in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(of(beyond), Some(Err(Beyond)), "{beyond}");
        }
        for none in [
            "bytes=5-1",
            "bytes=0-1,3-4",
            "bytes=-",
            "bytes=a-b",
            "lines=0-1",
            "",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn times_are_written_as_http_does() {
        let at: Timestamp = "2026-01-02T03:04:05.6Z".parse().unwrap();
        assert_eq!(http_date(at), "Fri, 02 Jan 2026 03:04:05 GMT");
    }
}
