//! The one door: what is checked of every request and added to every answer, errors and files included.

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::origin::{OriginPolicy, Requester, is_preflight};
use super::serving::Connection;
use crate::tls::Https;
use crate::tls::name::Name;

/// No path with its query may be longer, in octets.
const MAX_URL: usize = 8 * 1024;

/// What the door needs to know.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    origins: OriginPolicy,
    content_security_policy: HeaderValue,
    strict_transport_security: Option<HeaderValue>,
}

impl Guard {
    pub(super) fn new(origins: OriginPolicy, https: Option<&Https>) -> Self {
        let framed_by: Vec<&str> = std::iter::once("'self'").chain(origins.listed()).collect();
        // Pages load nothing but our own files; no inline script or style, no plugin, no form, no foreign frame around them.
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {}",
            framed_by.join(" ")
        );
        let content_security_policy =
            HeaderValue::try_from(policy).expect("listed origins come out of header values");
        let strict_transport_security = https
            .and_then(Https::strict_transport_security)
            .and_then(|value| HeaderValue::try_from(value).ok());
        Self {
            origins,
            content_security_policy,
            strict_transport_security,
        }
    }

    /// Browsers take it over TLS only, and never for an address (RFC 6797 §8.1).
    fn strict_transport_security(&self, request: &Request) -> Option<HeaderValue> {
        let over_tls = request
            .extensions()
            .get::<Connection>()
            .is_some_and(|connection| connection.tls);
        let host: Authority = request.headers().get(HOST)?.to_str().ok()?.parse().ok()?;
        let is_name = matches!(host.host().parse(), Ok(Name::Dns(_)));
        self.strict_transport_security
            .clone()
            .filter(|_| over_tls && is_name)
    }

    fn write_security_headers(&self, headers: &mut HeaderMap) {
        headers.insert(
            CONTENT_SECURITY_POLICY,
            self.content_security_policy.clone(),
        );
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(
            HeaderName::from_static("permissions-policy"),
            HeaderValue::from_static("camera=(), microphone=(), geolocation=()"),
        );
        headers.insert(
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        );
        // States change by the second; files say themselves how long they keep.
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
}

/// Middleware around all routes.
pub(super) async fn pass(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let hsts = guard.strict_transport_security(&request);
    let requester = guard.origins.requester(request.headers());
    let preflight = is_preflight(request.method(), request.headers());
    let options = request.method() == axum::http::Method::OPTIONS;
    let mut response = match refusal(&requester, &request) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    if options && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = answer_options(response);
    }
    requester.write_headers(preflight, response.headers_mut());
    guard.write_security_headers(response.headers_mut());
    if let Some(hsts) = hsts {
        response
            .headers_mut()
            .insert(STRICT_TRANSPORT_SECURITY, hsts);
    }
    response
}

fn refusal(requester: &Requester, request: &Request) -> Option<ApiError> {
    if request
        .uri()
        .path_and_query()
        .is_some_and(|url| url.as_str().len() > MAX_URL)
    {
        let message =
            format!("the address is longer than {MAX_URL} characters, the most that is taken");
        return Some(ApiError::new(StatusCode::URI_TOO_LONG, message));
    }
    let acts = !request.method().is_safe() || request.headers().contains_key(UPGRADE);
    (acts && !requester.may_act()).then(|| {
        let message = "pages of this origin may not use this server; add it to http.cors_origins to allow them";
        ApiError::new(StatusCode::FORBIDDEN, message)
    })
}

/// A route without an OPTIONS handler of its own still says what it takes: the router's 405 names it in `Allow`.
fn answer_options(refused: Response) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(allow) = refused.headers().get(axum::http::header::ALLOW) {
        response
            .headers_mut()
            .insert(axum::http::header::ALLOW, allow.clone());
    }
    response
}
