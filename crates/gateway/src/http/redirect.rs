//! From HTTP to HTTPS: what is said to who comes without TLS.

use axum::Router;
use axum::extract::State;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::tls::Https;
use crate::tls::name::Name;

/// Stands in every answer, so that `apiary check` knows who it is.
pub(crate) const HELLO: &str = "this is Apiary, which speaks HTTPS here";
/// The port that stands in no address.
const HTTPS_PORT: u16 = 443;

/// Where browsers are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// The port they came to, which speaks both.
    SamePort,
    /// The port of HTTPS.
    Public,
}

#[derive(Clone)]
struct Redirect {
    https: Https,
    target: Target,
}

/// Answers everything with the way to HTTPS.
pub(super) fn router<S: Clone + Send + Sync + 'static>(https: Https, target: Target) -> Router<S> {
    let redirect = Redirect { https, target };
    Router::new().fallback_service(axum::handler::Handler::with_state(send_on, redirect))
}

/// Only names of our own certificate are sent on to: whoever can choose the `Host` of somebody else's request could
/// otherwise send them anywhere.
async fn send_on(
    State(redirect): State<Redirect>,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    if let Some(answer) = redirect.https.challenge_answer(uri.path()) {
        return answer.into_response();
    }
    let Some((host, authority)) = host(&headers) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the Host header is missing or wrong",
        );
    };
    if redirect.https.valid_until().is_none() {
        let why = "there is no certificate yet; its log says why";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, why);
    }
    if !redirect.https.answers_to(&host) {
        let why = "its certificate is not for the name that you used";
        return refuse(StatusCode::MISDIRECTED_REQUEST, why);
    }
    let port = match redirect.target {
        Target::SamePort => authority.port_u16().unwrap_or(HTTPS_PORT),
        Target::Public => redirect.https.public_port(),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let location = if port == HTTPS_PORT {
        format!("https://{}{path}", authority.host())
    } else {
        format!("https://{}:{port}{path}", authority.host())
    };
    let Ok(value) = HeaderValue::try_from(&location) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the address cannot stand in an answer",
        );
    };
    // 308 keeps method and body, which 301 does not.
    let status = if method == Method::GET || method == Method::HEAD {
        StatusCode::MOVED_PERMANENTLY
    } else {
        StatusCode::PERMANENT_REDIRECT
    };
    let text = format!("{HELLO}: {location}\n");
    (status, [(header::LOCATION, value)], text).into_response()
}

fn host(headers: &HeaderMap) -> Option<(Name, Authority)> {
    let authority: Authority = headers.get(header::HOST)?.to_str().ok()?.parse().ok()?;
    let has_login = authority.as_str().contains('@');
    let name = authority.host().parse().ok()?;
    (!has_login).then_some((name, authority))
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, format!("{HELLO}: {why}\n")).into_response()
}
