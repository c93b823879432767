//! The ways in, and out.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::model::{LoginProvider, Me, Myself};
use super::{Visitor, actor, must_be_logged_in, oidc};
use crate::auth::{Accounts, NewLogin, Principal, Who};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::RequiredJson;
use crate::http::identity::{Asker, Cookie, MaybeKnown, set_cookie};
use crate::http::state::HttpState;
use crate::reason::{Code, Reason};
use crate::secret::Secret;

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    name: String,
    password: String,
}

/// The first administrator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetUp {
    /// What stands behind `#` in the link on the console.
    secret: String,
    name: String,
    /// At least eight characters.
    password: String,
}

/// The old password and the new one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    current: String,
    /// At least eight characters.
    new: String,
}

/// What a share link holds.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareToken {
    /// What stands behind `#` in the link.
    token: String,
}

/// Who asks, and whether accounts are on.
#[utoipa::path(get, path = "/api/auth/me", tag = "accounts", operation_id = "me",
    responses((status = 200, body = Me)))]
pub(super) async fn me(State(http): State<HttpState>, MaybeKnown(caller): MaybeKnown) -> Json<Me> {
    Json(who_is(&http, caller.as_ref()))
}

fn who_is(http: &HttpState, caller: Option<&Principal>) -> Me {
    let accounts = &http.accounts;
    let provider = http.oidc.as_ref().filter(|_| accounts.enabled());
    Me {
        accounts: accounts.enabled(),
        needs_setup: accounts.enabled() && !accounts.has_local_users(),
        provider: provider.map(|oidc| LoginProvider {
            name: oidc.name().to_owned(),
            path: oidc::LOGIN_PATH,
        }),
        may_talk: http.engine.takes_voices() && caller.is_some_and(Principal::may_talk),
        user: caller.map(|caller| Myself::new(accounts, caller)),
    }
}

/// Logs in. The answer sets a cookie; each login has a new one, and the one before it in this browser ends.
#[utoipa::path(post, path = "/api/auth/login", tag = "accounts", operation_id = "log_in",
    request_body = Credentials,
    responses(
        (status = 200, description = "logged in", body = Me),
        (status = 400, description = "the body is not understood", body = ErrorBody),
        (status = 401, description = "the name or the password is wrong", body = ErrorBody),
        (status = 403, description = "accounts are off, or a page of a foreign origin asks", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 429, description = "too many failed logins; Retry-After says when to try again", body = ErrorBody),
        (status = 503, description = "too many logins at once", body = ErrorBody),
    ))]
pub(super) async fn log_in(
    State(http): State<HttpState>,
    MaybeKnown(before): MaybeKnown,
    visitor: Visitor,
    RequiredJson(given): RequiredJson<Credentials>,
) -> Result<Response, ApiError> {
    must_be_on(&http.accounts)?;
    let login = http
        .accounts
        .log_in(&given.name, &given.password, &visitor.info)
        .await?;
    end_before(&http.accounts, before, visitor.info.ip).await;
    Ok(logged_in(&http, &login, visitor.https))
}

/// Makes the first administrator and logs in. Works once, with the link that the console of the program shows.
#[utoipa::path(post, path = "/api/auth/setup", tag = "accounts", operation_id = "set_up",
    request_body = SetUp,
    responses(
        (status = 200, description = "the administrator is made and logged in", body = Me),
        (status = 400, description = "a name or password that is not taken", body = ErrorBody),
        (status = 403, description = "not the link that counts, or there are users already", body = ErrorBody),
        (status = 409, description = "the name is taken", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 503, description = "the database cannot be written", body = ErrorBody),
    ))]
pub(super) async fn set_up(
    State(http): State<HttpState>,
    visitor: Visitor,
    RequiredJson(given): RequiredJson<SetUp>,
) -> Result<Response, ApiError> {
    must_be_on(&http.accounts)?;
    let password = Secret::new(given.password);
    let login = http
        .accounts
        .set_up(&given.secret, &given.name, password, &visitor.info)
        .await?;
    Ok(logged_in(&http, &login, visitor.https))
}

/// Opens a share link: the answer sets a cookie with which its camera can be watched.
#[utoipa::path(post, path = "/api/auth/share", tag = "accounts", operation_id = "open_share",
    request_body = ShareToken,
    responses(
        (status = 200, description = "the camera can be watched", body = Me),
        (status = 400, description = "the body is not understood", body = ErrorBody),
        (status = 403, description = "accounts are off, or a page of a foreign origin asks", body = ErrorBody),
        (status = 404, description = "no such link, or it has ended", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
    ))]
pub(super) async fn open_share(
    State(http): State<HttpState>,
    visitor: Visitor,
    RequiredJson(given): RequiredJson<ShareToken>,
) -> Result<Response, ApiError> {
    must_be_on(&http.accounts)?;
    let guest = http
        .accounts
        .of_token(&given.token)
        .filter(Principal::is_guest)
        .ok_or_else(|| {
            let reason = Reason::new(Code::ShareOver, "this link is wrong, or it has ended");
            ApiError::new(StatusCode::NOT_FOUND, reason)
        })?;
    let ends_at = http.accounts.end_of(&guest.who);
    let mut response = Json(who_is(&http, Some(&guest))).into_response();
    let seconds = seconds_until(ends_at);
    set_cookie(
        &mut response,
        Cookie::Share,
        &given.token,
        seconds,
        visitor.https,
    );
    Ok(response)
}

/// Logs out; the cookie is worthless from then on. What is watched with it ends.
#[utoipa::path(post, path = "/api/auth/logout", tag = "accounts", operation_id = "log_out",
    responses(
        (status = 204, description = "logged out"),
        (status = 503, description = "the database cannot be written: the login has ended until the program starts again", body = ErrorBody),
    ))]
pub(super) async fn log_out(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    visitor: Visitor,
) -> Result<Response, ApiError> {
    if let Who::Login(_, login) = asker.who {
        http.accounts
            .end_login(actor(&asker, visitor.info.ip), login)
            .await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    for cookie in [Cookie::Login, Cookie::Share] {
        set_cookie(&mut response, cookie, "", 0, visitor.https);
    }
    Ok(response)
}

/// Changes one's password. All one's logins end; the answer sets the cookie of a new one.
#[utoipa::path(post, path = "/api/auth/password", tag = "accounts", operation_id = "change_password",
    request_body = PasswordChange,
    responses(
        (status = 200, description = "changed", body = Me),
        (status = 400, description = "a password that is not taken", body = ErrorBody),
        (status = 401, description = "nobody is logged in, or the current password is another", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 429, description = "too many wrong passwords; Retry-After says when to try again", body = ErrorBody),
        (status = 503, description = "the database cannot be written", body = ErrorBody),
    ))]
pub(super) async fn change_password(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    visitor: Visitor,
    RequiredJson(given): RequiredJson<PasswordChange>,
) -> Result<Response, ApiError> {
    must_be_logged_in(&asker)?;
    let actor = actor(&asker, visitor.info.ip);
    let login = http
        .accounts
        .change_password(actor, &given.current, &given.new, &visitor.info)
        .await?;
    Ok(logged_in(&http, &login, visitor.https))
}

/// A browser has one login: that before a new one ends.
pub(super) async fn end_before(accounts: &Accounts, before: Option<Principal>, ip: Option<IpAddr>) {
    if let Some(before) = before
        && let Who::Login(_, old) = before.who
        && let Err(error) = accounts.end_login(actor(&before, ip), old).await
    {
        tracing::debug!(%error, "the login before this one was over already");
    }
}

pub(super) fn must_be_on(accounts: &Accounts) -> Result<(), ApiError> {
    if accounts.enabled() {
        return Ok(());
    }
    Err(ApiError::forbidden(
        Code::AccountsOff,
        "accounts are off (auth.enabled): everybody may do everything",
    ))
}

fn logged_in(http: &HttpState, login: &NewLogin, https: bool) -> Response {
    let mut response = Json(who_is(http, Some(&login.principal))).into_response();
    let seconds = seconds_until(Some(login.expires_at));
    set_cookie(&mut response, Cookie::Login, &login.secret, seconds, https);
    response
}

pub(super) fn seconds_until(end: Option<Timestamp>) -> u64 {
    let left = end.map(|end| end.duration_since(Timestamp::now()).as_secs());
    u64::try_from(left.unwrap_or(0)).unwrap_or(0)
}
