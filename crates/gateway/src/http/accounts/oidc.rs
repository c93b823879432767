//! Logging in at an OpenID Connect provider: the browser is sent there, and comes back with a code.
//!
//! A browser goes both ways by links, so that what fails is answered with a page.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use url::Url;
use utoipa::IntoParams;

use super::Visitor;
use super::login::{end_before, must_be_on, seconds_until};
use crate::auth::AccountError;
use crate::config::CALLBACK_PATH;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::QueryFields;
use crate::http::identity::{Cookie, MaybeKnown, set_cookie, shown};
use crate::http::state::HttpState;
use crate::oidc::{Answer, LIFETIME, OidcError, OpenId};

/// Where a login there begins.
pub(super) const LOGIN_PATH: &str = "/api/auth/oidc/login";
/// Longest path that somebody is led back to.
const MAX_RETURN: usize = 1024;

/// Where somebody wants to be afterwards.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Beginning {
    /// A path of this server; anything else counts as `/`.
    next: Option<String>,
}

/// What the provider sends along; what else it does is passed over.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Ending {
    /// Which login it was.
    state: Option<String>,
    /// What the identity is given for.
    code: Option<String>,
    /// Why there is none.
    error: Option<String>,
    /// Who the provider is (RFC 9207).
    iss: Option<String>,
}

/// Sends the browser to the OpenID provider. The answer sets a cookie by which this browser is known when it comes back.
#[utoipa::path(get, path = "/api/auth/oidc/login", tag = "accounts", operation_id = "oidc_begin",
    params(Beginning),
    responses(
        (status = 303, description = "to the provider"),
        (status = 400, description = "a parameter that is not understood", body = ErrorBody),
        (status = 403, description = "accounts are off", body = ErrorBody),
        (status = 404, description = "there is no provider (oidc.issuer)", body = ErrorBody),
        (status = 503, description = "a page: the provider cannot be asked", content_type = "text/html"),
    ))]
pub(super) async fn begin(
    State(http): State<HttpState>,
    visitor: Visitor,
    headers: HeaderMap,
    QueryFields(query): QueryFields<Beginning>,
) -> Result<Response, ApiError> {
    must_be_on(&http.accounts)?;
    let oidc = provider(&http)?;
    let callback = callback(oidc, &headers, visitor.https).ok_or_else(|| {
        ApiError::bad_request("the Host header does not say where this server is")
    })?;
    let begun = match oidc.begin(callback, own_path(query.next.as_deref())).await {
        Ok(begun) => begun,
        Err(error) => return Ok(refusal(oidc, &error)),
    };
    let mut response = see_other(begun.location.as_str());
    let (secret, seconds) = (begun.browser.expose(), LIFETIME.as_secs());
    set_cookie(&mut response, Cookie::Oidc, secret, seconds, visitor.https);
    Ok(response)
}

/// Where the OpenID provider sends the browser back to. The answer sets the cookie of a login, as that by password does.
#[utoipa::path(get, path = "/api/auth/oidc/callback", tag = "accounts", operation_id = "oidc_end",
    params(Ending),
    responses(
        (status = 303, description = "logged in; to where somebody wanted to be"),
        (status = 400, description = "a page: nobody began that login in this browser", content_type = "text/html"),
        (status = 403, description = "a page: the provider refuses, or gives no role, or accounts are off", content_type = "text/html"),
        (status = 404, description = "there is no provider (oidc.issuer)", body = ErrorBody),
        (status = 409, description = "a page: there are too many users", content_type = "text/html"),
        (status = 502, description = "a page: what the provider says cannot be believed", content_type = "text/html"),
        (status = 503, description = "a page: the provider cannot be asked, or the database cannot be written", content_type = "text/html"),
    ))]
pub(super) async fn end(
    State(http): State<HttpState>,
    MaybeKnown(before): MaybeKnown,
    visitor: Visitor,
    headers: HeaderMap,
    query: Result<QueryFields<Ending>, ApiError>,
) -> Result<Response, ApiError> {
    let oidc = provider(&http)?;
    if let Err(error) = must_be_on(&http.accounts) {
        return Ok(page(error.status, &error.reason.text));
    }
    // What cannot be read names no login.
    let query = query.map(|QueryFields(query)| query).unwrap_or_default();
    let browser = shown(&headers, Cookie::Oidc, visitor.https).unwrap_or_default();
    let answer = Answer {
        state: query.state.unwrap_or_default(),
        code: query.code,
        error: query.error,
        issuer: query.iss,
    };
    let known = match oidc.finish(answer, &browser).await {
        Ok(known) => known,
        // It may be a stranger's, so the cookie stays: another login may be under way.
        Err(error) => return Ok(refusal(oidc, &error)),
    };
    let login = http.accounts.log_in_provided(&known.user, &visitor.info);
    let mut response = match login.await {
        Ok(login) => {
            end_before(&http.accounts, before, visitor.info.ip).await;
            let mut response = see_other(&known.return_to);
            let seconds = seconds_until(Some(login.expires_at));
            set_cookie(
                &mut response,
                Cookie::Login,
                &login.secret,
                seconds,
                visitor.https,
            );
            response
        }
        Err(AccountError::Forbidden(why)) => page(
            StatusCode::FORBIDDEN,
            &format!(
                "{} knows you, but {why}. Ask the administrator to give you one: a group there that stands in oidc.roles.",
                oidc.name()
            ),
        ),
        Err(error) => {
            let error = ApiError::from(error);
            page(error.status, &error.reason.text)
        }
    };
    set_cookie(&mut response, Cookie::Oidc, "", 0, visitor.https);
    Ok(response)
}

fn provider(http: &HttpState) -> Result<&OpenId, ApiError> {
    let text = "there is no identity provider (oidc.issuer) to log in at";
    http.oidc
        .as_deref()
        .ok_or_else(|| ApiError::not_found(text))
}

/// Where the provider sends people back to: as the settings say, or under the name that this browser knows us by. The
/// door lets in no name that is not ours, and the provider none that is not registered with it.
fn callback(oidc: &OpenId, headers: &HeaderMap, https: bool) -> Option<Url> {
    if let Some(url) = oidc.redirect_url() {
        return Some(url.clone());
    }
    let host: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    let scheme = if https { "https" } else { "http" };
    let port = host.port_u16().map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    Url::parse(&format!("{scheme}://{}{port}{CALLBACK_PATH}", host.host())).ok()
}

/// A path of ours, with its query; whatever a browser could take for another server's address is none.
fn own_path(wanted: Option<&str>) -> String {
    let is_own = |path: &&str| {
        let base = Url::parse("http://own.invalid/").ok();
        let led_to = base.as_ref().and_then(|base| base.join(path).ok());
        path.len() <= MAX_RETURN
            && path.starts_with('/')
            && path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && led_to.map(|url| url.origin()) == base.map(|base| base.origin())
    };
    wanted.filter(is_own).unwrap_or("/").to_owned()
}

fn see_other(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// What is of use to who wants to log in; the rest is for the log.
fn refusal(oidc: &OpenId, error: &OidcError) -> Response {
    let name = oidc.name();
    let text = match error {
        // Anybody can send a browser here, so that it is no news.
        OidcError::NotBegun => {
            tracing::debug!(%error, "somebody comes back from the provider");
            return page(StatusCode::BAD_REQUEST, &format!("Try again: {error}."));
        }
        OidcError::Refused(_) => {
            tracing::info!(%error, "a login at the provider failed");
            return page(
                StatusCode::FORBIDDEN,
                &format!("{name} did not log you in: {error}."),
            );
        }
        // Said already, once.
        OidcError::Away(_) => {
            tracing::debug!(%error, "nobody can log in at the provider");
            return page(StatusCode::SERVICE_UNAVAILABLE, &away(name));
        }
        OidcError::Exchange(_) => {
            tracing::warn!("a login at the provider failed: {error}");
            return page(StatusCode::SERVICE_UNAVAILABLE, &away(name));
        }
        OidcError::OtherIssuer | OidcError::IdToken(_) => {
            tracing::warn!("a login at the provider is refused: {error}");
            format!("What {name} says cannot be believed; the log of this server says why.")
        }
    };
    page(StatusCode::BAD_GATEWAY, &text)
}

fn away(name: &str) -> String {
    format!(
        "{name} cannot be asked at the moment; the log of this server says why. Who has a password here can log in with it."
    )
}

fn page(status: StatusCode, text: &str) -> Response {
    let body = format!(
        r#"<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Not logged in · Apiary</title>
  <link rel="icon" href="/assets/favicon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/assets/vendor/normalize.css">
  <link rel="stylesheet" href="/assets/app.css">
</head>
<body>
  <main class="gate">
    <h1>Not logged in</h1>
    <p class="notice bad" id="notice" role="alert">{}</p>
    <a class="button" href="/login">To the login page</a>
  </main>
</body>
</html>
"#,
        escaped(text)
    );
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(CONTENT_TYPE, html)], Body::from(body)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_server() {
        for own in ["/", "/viewer?camera=1&x=%2F", "/a//b", "/%5Cevil.example"] {
            assert_eq!(own_path(Some(own)), own);
        }
        let long = format!("/{}", "a".repeat(MAX_RETURN));
        for other in [
            "",
            "viewer",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            " //evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "/a\r\nset-cookie: b",
            "/über",
            &long,
        ] {
            assert_eq!(own_path(Some(other)), "/", "{other:?}");
        }
        assert_eq!(own_path(None), "/");
    }

    #[test]
    fn h06_nothing_executes_in_the_page() {
        assert_eq!(escaped("<b a=\"&\">"), "&lt;b a=&quot;&amp;&quot;&gt;");
    }
}
