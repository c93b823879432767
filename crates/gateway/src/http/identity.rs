//! Who asks: found by what a request shows, and by nothing else.
//!
//! - `Authorization: Bearer` with an API token or what a share link holds.
//! - The cookie of a login, or of a share link. A browser sends cookies by itself, so whoever acts with one must say by
//!   `Origin` that a page of ours made it do so (CSRF).
//! - `access_token` in the query of a WebSocket upgrade, since a browser lets pages add no header to it.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, COOKIE, SET_COOKIE, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use percent_encoding::percent_decode_str;

use super::client::Client;
use super::error::ApiError;
use crate::auth::{Accounts, Principal};

/// Name of the cookie of a login; over TLS with `__Host-` before it, which browsers bind to this host (RFC 6265bis).
pub(super) const LOGIN_COOKIE: &str = "apiary_login";
/// Name of the cookie of a share link.
const SHARE_COOKIE: &str = "apiary_share";
/// Name of the cookie of a login that is under way at the OpenID provider.
const OIDC_COOKIE: &str = "apiary_oidc";
/// What browsers demand a secure cookie's name to begin with.
const HOST_PREFIX: &str = "__Host-";

/// Who asks, as the door found out. Each request carries one.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Nobody known.
    Unknown,
    /// Somebody, by what a browser sends by itself.
    ByCookie(Principal),
    /// Somebody, by what only they can have put into the request; or accounts are off.
    ByToken(Principal),
}

impl Caller {
    /// Looks at a request of this client.
    pub(super) fn find(accounts: &Accounts, client: Client, parts: &Parts) -> Self {
        if !accounts.enabled() {
            return Self::ByToken(Principal::anybody());
        }
        // Whoever shows a token means it: with a wrong one, no cookie counts in its place.
        if let Some(shown) = bearer(&parts.headers) {
            return accounts
                .of_token(&shown)
                .map_or(Self::Unknown, Self::ByToken);
        }
        if parts.headers.contains_key(UPGRADE)
            && let Some(shown) = access_token(parts.uri.query().unwrap_or_default())
        {
            return accounts
                .of_token(&shown)
                .map_or(Self::Unknown, Self::ByToken);
        }
        let cookie = |name| cookie(&parts.headers, name, client.https);
        let login = cookie(LOGIN_COOKIE).and_then(|shown| accounts.of_login(&shown));
        let share = || accounts.of_token(&cookie(SHARE_COOKIE)?);
        login.or_else(share).map_or(Self::Unknown, Self::ByCookie)
    }

    /// The one who asks, where known.
    pub(super) fn known(&self) -> Option<&Principal> {
        match self {
            Self::Unknown => None,
            Self::ByCookie(principal) | Self::ByToken(principal) => Some(principal),
        }
    }
}

/// Who asks, for routes whose policy lets only known ones in.
pub(super) struct Asker(pub(super) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>();
        let known = caller.and_then(Caller::known).cloned();
        known.map(Self).ok_or_else(ApiError::unknown_caller)
    }
}

/// Who asks, where that is known, for routes that are for everybody.
pub(super) struct MaybeKnown(pub(super) Option<Principal>);

impl<S: Send + Sync> FromRequestParts<S> for MaybeKnown {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Caller>();
        Ok(Self(caller.and_then(Caller::known).cloned()))
    }
}

/// Which cookie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cookie {
    /// Of a login.
    Login,
    /// Of a share link.
    Share,
    /// Of a login that is under way at the OpenID provider.
    Oidc,
}

impl Cookie {
    fn name(self) -> &'static str {
        match self {
            Self::Login => LOGIN_COOKIE,
            Self::Share => SHARE_COOKIE,
            Self::Oidc => OIDC_COOKIE,
        }
    }
}

/// What a browser shows.
pub(super) fn shown(headers: &HeaderMap, which: Cookie, https: bool) -> Option<String> {
    cookie(headers, which.name(), https)
}

/// Lets the browser keep a secret for so many seconds; zero makes it forget.
pub(super) fn set_cookie(
    response: &mut Response,
    cookie: Cookie,
    secret: &str,
    seconds: u64,
    https: bool,
) {
    let name = full_name(cookie.name(), https);
    let secure = if https { "; Secure" } else { "" };
    let text =
        format!("{name}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

fn access_token(query: &str) -> Option<String> {
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("access_token="))?;
    percent_decode_str(value)
        .decode_utf8()
        .ok()
        .map(|token| token.into_owned())
}

/// A cookie's value. Over HTTPS only the secure one counts, which nobody without HTTPS can have set. Given twice it counts
/// not at all: another host of the same domain may have planted one.
fn cookie(headers: &HeaderMap, name: &str, https: bool) -> Option<String> {
    let name = full_name(name, https);
    let mut values = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(found, _)| *found == name);
    let (_, first) = values.next()?;
    values.next().is_none().then(|| first.to_owned())
}

fn full_name(name: &str, https: bool) -> String {
    let prefix = if https { HOST_PREFIX } else { "" };
    format!("{prefix}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: axum::http::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn cookies_are_found_by_their_whole_name_and_once() {
        let look = |https, values: &[&str]| cookie(&headers(COOKIE, values), LOGIN_COOKIE, https);
        let found = |values: &[&str]| look(false, values);
        assert_eq!(
            found(&["a=b; apiary_login=secret; c=d"]).as_deref(),
            Some("secret")
        );
        assert_eq!(found(&["a=b", "apiary_login=s"]).as_deref(), Some("s"));
        let both = ["apiary_login=planted; __Host-apiary_login=own"];
        assert_eq!(look(true, &both).as_deref(), Some("own"));
        assert_eq!(look(true, &["apiary_login=planted"]), None);
        assert_eq!(found(&["apiary_login=one; apiary_login=two"]), None);
        assert_eq!(found(&["xapiary_login=s; apiary_login2=s"]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn tokens_are_found_in_their_places() {
        let shown = |value| bearer(&headers(AUTHORIZATION, &[value]));
        assert_eq!(shown("bearer abc").as_deref(), Some("abc"));
        assert_eq!(shown("Basic abc"), None);
        assert_eq!(shown("Bearer"), None);
        assert_eq!(
            access_token("a=1&access_token=x%2Fy").as_deref(),
            Some("x/y")
        );
        assert_eq!(access_token("xaccess_token=x"), None);
    }
}
