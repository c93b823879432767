//! Logging in and out, users, API tokens, share links, and the audit log.
//!
//! Only a login makes what lasts: whoever got hold of an API token can neither make another one nor change a password.

mod audit;
mod login;
pub(super) mod model;
mod oidc;
mod sessions;
mod shares;
mod tokens;
mod users;

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use utoipa_axum::routes;

use super::client::Client;
use super::error::ApiError;
use super::extract::user_agent;
use super::policy::Access::{Admin, Known, Public, User};
use super::policy::Routes;
use crate::auth::{Actor, ClientInfo, Principal, Who};
use crate::reason::Code;

pub(super) fn routes() -> Routes {
    Routes::new()
        .add(Public, routes!(login::me))
        .add(Public, routes!(login::log_in))
        .add(Public, routes!(oidc::begin))
        .add(Public, routes!(oidc::end))
        .add(Known, routes!(login::log_out))
        .add(Public, routes!(login::set_up))
        .add(Public, routes!(login::open_share))
        .add(User, routes!(login::change_password))
        .add(User, routes!(sessions::list))
        .add(User, routes!(sessions::end))
        .add(Admin, routes!(users::list, users::create))
        .add(Admin, routes!(users::change, users::remove))
        .add(User, routes!(tokens::list, tokens::create))
        .add(User, routes!(tokens::remove))
        .add(User, routes!(shares::list, shares::create))
        .add(User, routes!(shares::remove))
        .add(Admin, routes!(audit::list))
}

/// The other end, as far as accounts note it.
struct Visitor {
    info: ClientInfo,
    https: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<Client>().copied();
        Ok(Self {
            info: ClientInfo {
                ip: client.and_then(|client| client.ip),
                user_agent: user_agent(&parts.headers),
            },
            https: client.is_some_and(|client| client.https),
        })
    }
}

pub(super) fn actor(principal: &Principal, ip: Option<IpAddr>) -> Actor<'_> {
    Actor { principal, ip }
}

/// What is about the very browser that asks; where accounts are off, whoever has one.
pub(super) fn must_be_a_browser(asker: &Principal) -> Result<(), ApiError> {
    match asker.who {
        Who::Login(..) | Who::Anybody => Ok(()),
        Who::Token(..) | Who::Share(_) | Who::Signed(_) => must_be_logged_in(asker),
    }
}

/// What takes more than a token of a program.
fn must_be_logged_in(asker: &Principal) -> Result<(), ApiError> {
    match asker.who {
        Who::Login(..) => Ok(()),
        Who::Anybody => Err(ApiError::forbidden(
            Code::AccountsOff,
            "accounts are off (auth.enabled), so there is nobody to whom it could belong",
        )),
        Who::Token(..) | Who::Share(_) | Who::Signed(_) => {
            let text = "log in for this; a token cannot do it";
            Err(ApiError::forbidden(Code::NeedsLogin, text))
        }
    }
}
