//! The one door: what is checked of every request and added to every answer, errors and files included.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::client::Client;
use super::error::ApiError;
use super::host::HostPolicy;
use super::identity::Caller;
use super::origin::{OriginPolicy, Requester, is_preflight};
use super::serving::Connection;
use super::state::HttpState;
use crate::config::values::IpNetwork;
use crate::reason::{Code, Reason};
use crate::tls::Https;
use crate::tls::name::Name;

/// No path with its query may be longer, in octets.
const MAX_URL: usize = 8 * 1024;
/// How much of a foreign name is said back, in characters.
const SHOWN_NAME: usize = 80;

/// What the door needs to know.
pub(super) struct Guard {
    origins: OriginPolicy,
    hosts: HostPolicy,
    trusted_proxies: Vec<IpNetwork>,
    http: HttpState,
    https: Option<Https>,
    content_security_policy: HeaderValue,
    strict_transport_security: Option<HeaderValue>,
}

impl Guard {
    pub(super) fn new(http: &HttpState) -> Self {
        let origins = http.origins.clone();
        let framed_by: Vec<&str> = std::iter::once("'self'").chain(origins.listed()).collect();
        // Pages load nothing but our own files; no inline script or style, no plugin, no form, no foreign frame around them.
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; \
             connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {}",
            framed_by.join(" ")
        );
        let content_security_policy =
            HeaderValue::try_from(policy).expect("listed origins come out of header values");
        let https = http.https.clone();
        let strict_transport_security = https
            .as_ref()
            .and_then(Https::strict_transport_security)
            .and_then(|value| HeaderValue::try_from(value).ok());
        Self {
            origins,
            hosts: http.hosts.clone(),
            trusted_proxies: http.trusted_proxies.clone(),
            http: http.clone(),
            https,
            content_security_policy,
            strict_transport_security,
        }
    }

    /// Browsers take it over TLS only, and never for an address (RFC 6797 §8.1).
    fn strict_transport_security(&self, request: &Parts) -> Option<HeaderValue> {
        let over_tls = request
            .extensions
            .get::<Connection>()
            .is_some_and(|connection| connection.tls);
        let host: Authority = request.headers.get(HOST)?.to_str().ok()?.parse().ok()?;
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
            HeaderValue::from_static("camera=(), microphone=(self), geolocation=()"),
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
pub(super) async fn pass(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let hsts = guard.strict_transport_security(&parts);
    let requester = guard.origins.requester(&parts.headers);
    let client = Client::of(&parts, &guard.trusted_proxies);
    let caller = Caller::find(&guard.http.accounts, client, &parts);
    let preflight = is_preflight(&parts.method, &parts.headers);
    let options = parts.method == axum::http::Method::OPTIONS;
    let mut response = match guard.judge(&requester, client, &caller, &parts) {
        Err(refusal) => refusal.into_response(),
        Ok(()) => {
            parts.extensions.insert(client);
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
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

impl Guard {
    /// Whether a request gets as far as its route.
    fn judge(
        &self,
        requester: &Requester,
        client: Client,
        caller: &Caller,
        request: &Parts,
    ) -> Result<(), ApiError> {
        let url = request.uri.path_and_query();
        if url.is_some_and(|url| url.as_str().len() > MAX_URL) {
            let message =
                format!("the address is longer than {MAX_URL} characters, the most that is taken");
            return Err(ApiError::plain(StatusCode::URI_TOO_LONG, message));
        }
        if let Some(name) = self.hosts.foreign_name(&request.uri, &request.headers)
            && !self.is_certified(&name)
        {
            let name: String = name.chars().take(SHOWN_NAME).collect();
            let message = format!(
                "this server does not go by the name {name:?}; use its address, or add the name to http.hosts"
            );
            let reason = Reason::new(Code::ForeignName, message).with("name", name);
            return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, reason));
        }
        let who = caller.known().map(|principal| &principal.who);
        self.http.rates.request(who, client.ip)?;
        let acts = !request.method.is_safe() || request.headers.contains_key(UPGRADE);
        if !acts {
            return Ok(());
        }
        if !requester.may_act() {
            return Err(ApiError::forbidden(
                Code::ForeignPage,
                "pages of this origin may not use this server; add it to http.cors_origins to allow them",
            ));
        }
        // Browsers send cookies by themselves, and with whatever acts the origin of the page that made them do so.
        if matches!(caller, Caller::ByCookie(_)) && *requester == Requester::NoPage {
            return Err(ApiError::forbidden(
                Code::ForeignPage,
                "who acts with a cookie must be a page and say so with Origin; programs use an API token",
            ));
        }
        Ok(())
    }

    /// Whether our certificate is for that name.
    fn is_certified(&self, name: &str) -> bool {
        let https = self.https.as_ref();
        https.is_some_and(|https| name.parse().is_ok_and(|name| https.answers_to(&name)))
    }
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
