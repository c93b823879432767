//! What requests and answers about accounts hold.

use apiary_store::{AuditRow, CameraScope, Role, UserRow};
use apiary_wire::id::CameraId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{Accounts, Principal, scope as scope_of};
use crate::http::error::ApiError;
use crate::http::rest::model::time;

/// Who asks, and whether that matters.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// Whether accounts are on; without them everybody may do everything.
    pub(super) accounts: bool,
    /// There is no user yet: the console of the program shows the link that makes the first one.
    pub(super) needs_setup: bool,
    /// The OpenID provider at which one can log in too; `null` where there is none.
    pub(super) provider: Option<LoginProvider>,
    /// Whether they may talk to the cameras that they see, and the media engine passes voices on.
    pub(super) may_talk: bool,
    /// Who asks; `null` for strangers.
    pub(super) user: Option<Myself>,
}

/// Where one can log in elsewhere.
#[derive(Serialize, ToSchema)]
pub(super) struct LoginProvider {
    /// What people call it.
    pub(super) name: String,
    /// Where a browser is to go; `next` in its query is the page to come back to.
    pub(super) path: &'static str,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(super) struct Myself {
    pub(super) name: String,
    /// `viewer`, `operator` or `admin`.
    pub(super) role: &'static str,
    /// Somebody with a share link instead of an account.
    pub(super) guest: bool,
    /// The cameras that they may see; `null` for all.
    pub(super) cameras: Option<Vec<String>>,
    /// They have a password here that they can change; who logs in at a provider has it there.
    pub(super) password: bool,
}

impl Myself {
    pub(super) fn new(accounts: &Accounts, principal: &Principal) -> Self {
        Self {
            name: principal.name.to_string(),
            role: principal.role.as_str(),
            guest: principal.is_guest(),
            cameras: ids(&principal.cameras),
            password: accounts.has_password(&principal.who),
        }
    }
}

/// A user.
#[derive(Serialize, ToSchema)]
pub(super) struct UserEntry {
    id: String,
    name: String,
    /// `viewer`, `operator` or `admin`.
    role: &'static str,
    /// The cameras that the user may see; `null` for all.
    cameras: Option<Vec<String>>,
    /// The user logs in at the OpenID provider, which says the role and keeps the password.
    provided: bool,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<&UserRow> for UserEntry {
    fn from(row: &UserRow) -> Self {
        Self {
            id: row.user.to_string(),
            name: row.name.clone(),
            role: row.role.as_str(),
            cameras: ids(&scope_of(row)),
            provided: row.external_subject.is_some(),
            created_at: time(row.created_at),
        }
    }
}

/// An entry of the audit log.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditEntry {
    id: String,
    #[schema(format = DateTime)]
    at: String,
    /// What was done or tried, such as `login` or `user.create`.
    action: String,
    /// `done` or `refused`.
    outcome: &'static str,
    /// Who did it.
    actor: Option<String>,
    /// To whom or what.
    subject: Option<String>,
    ip_address: Option<String>,
    detail: Option<String>,
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id.to_string(),
            at: time(row.at),
            action: row.action,
            outcome: row.outcome.as_str(),
            actor: row.actor,
            subject: row.subject,
            ip_address: row.ip_address,
            detail: row.detail,
        }
    }
}

/// A role in a request.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RoleName {
    /// Watches.
    Viewer,
    /// Starts, stops and commands cameras.
    Operator,
    /// Everything.
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// The cameras of a scope; `None` for all.
pub(in crate::http) fn ids(scope: &CameraScope) -> Option<Vec<String>> {
    match scope {
        CameraScope::All => None,
        CameraScope::Only(cameras) => Some(cameras.iter().map(CameraId::to_string).collect()),
    }
}

/// What a request names; all where it names none.
pub(in crate::http) fn scope(given: Option<Vec<String>>) -> Result<CameraScope, ApiError> {
    let Some(given) = given else {
        return Ok(CameraScope::All);
    };
    let cameras: Result<_, _> = given.iter().map(|id| id.parse()).collect();
    Ok(CameraScope::Only(cameras?))
}

/// A time in a request.
pub(super) fn moment(field: &str, given: &str) -> Result<Timestamp, ApiError> {
    given.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "{field} is no time; write it like 2026-01-31T12:00:00Z"
        ))
    })
}
