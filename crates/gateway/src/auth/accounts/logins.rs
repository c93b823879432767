//! Logging in and out, and passwords.

use std::net::IpAddr;
use std::time::Instant;

use apiary_store::{AccountWrite, AuditOutcome, AuditRow, LoginId, LoginRow, UserId, UserRow};
use jiff::Timestamp;
use uuid::Uuid;

use super::users::{canonical_name, must_be_local};
use super::{AccountError, Accounts, Actor, LOGIN, principal};
use crate::auth::credential::{self, new_secret};
use crate::auth::principal::{Principal, Who};
use crate::auth::throttle::Attempt;

/// Longest name that a failed login leaves in the audit log.
const KEPT_NAME: usize = 64;

/// Where somebody logs in.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// From where.
    pub ip: Option<IpAddr>,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
}

/// A login that was made.
#[derive(Debug)]
pub struct NewLogin {
    /// What the cookie holds.
    pub secret: String,
    /// Who logged in.
    pub principal: Principal,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

impl Accounts {
    /// Logs somebody in. A login always gets a new secret, so none can be foisted on anybody (session fixation).
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::TooFast`], [`AccountError::Busy`].
    pub async fn log_in(
        &self,
        name: &str,
        password: &str,
        client: &ClientInfo,
    ) -> Result<NewLogin, AccountError> {
        let name = canonical_name(name).unwrap_or_default();
        let user = self.directory().user_named(&name).cloned();
        let attempt = Attempt {
            account: &name,
            address: client.ip,
            known_address: user
                .as_ref()
                .is_some_and(|user| self.was_at(user.user, client.ip)),
        };
        if let Err(wait) = self.throttle.begin(Instant::now(), attempt) {
            // Counted by the throttle alone: a flood of them must not fill the audit log.
            return Err(AccountError::TooFast { wait });
        }
        let kept = user.as_ref().and_then(|user| user.password_hash.as_deref());
        let matches = self.passwords.verify(password, kept).await?;
        let Some(user) = user.filter(|_| matches) else {
            tracing::warn!(address = ?client.ip, "a login failed");
            self.note(login_entry(&name, client, AuditOutcome::Refused));
            return Err(AccountError::WrongPassword);
        };
        self.throttle.succeeded(attempt);
        self.begin_login(&user, client).await
    }

    /// Makes a login for somebody who has proved who they are.
    pub(super) async fn begin_login(
        &self,
        user: &UserRow,
        client: &ClientInfo,
    ) -> Result<NewLogin, AccountError> {
        let now = Timestamp::now();
        let secret = new_secret("");
        let row = LoginRow {
            login: LoginId::random(),
            user: user.user,
            secret: credential::hash(&secret)
                .ok_or(AccountError::Internal("a secret could not be made"))?,
            user_agent: client.user_agent.clone(),
            ip_address: client.ip.map(|ip| ip.to_string()),
            created_at: now,
            expires_at: now
                .saturating_add(self.session_lifetime)
                .unwrap_or(Timestamp::MAX),
        };
        let who = Who::Login(row.user, row.login);
        let expires_at = row.expires_at;
        let writes = vec![
            AccountWrite::Login(row),
            AccountWrite::Audit(login_entry(&user.name, client, AuditOutcome::Done)),
        ];
        // A database that is away keeps nobody from their cameras; the login then ends with the program.
        if let Err(error) = self.store(&writes, "a login").await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a login could not be kept and ends with the program"
            );
        }
        self.know(writes);
        Ok(NewLogin {
            secret,
            principal: principal(&who, user),
            expires_at,
        })
    }

    /// Ends a login: one's own, or as an administrator anybody's.
    ///
    /// # Errors
    /// [`AccountError::NoSuch`], [`AccountError::Store`].
    pub async fn end_login(&self, actor: Actor<'_>, login: LoginId) -> Result<(), AccountError> {
        let _editing = self.editing.lock().await;
        let row = self.directory().login(login).cloned();
        let row = row.ok_or(AccountError::NoSuch("session"))?;
        self.must_own(actor, row.user, "session")?;
        let subject = self.name_of(row.user);
        let writes = vec![AccountWrite::RemoveLogin(login)];
        self.revoke(actor, "session.end", subject, writes).await
    }

    /// The logins that count, of one user or of all, newest first.
    pub fn logins(&self, user: Option<UserId>) -> Vec<(LoginRow, String)> {
        let (directory, now) = (self.directory(), Timestamp::now());
        let mut logins: Vec<_> = directory
            .logins()
            .filter(|row| user.is_none_or(|user| row.user == user) && row.expires_at > now)
            .map(|row| {
                let name = directory.user(row.user).map(|user| user.name.clone());
                (row.clone(), name.unwrap_or_default())
            })
            .collect();
        logins.sort_by_key(|(row, _)| std::cmp::Reverse(row.created_at));
        logins
    }

    /// Changes one's own password. All logins of the user end; a new one is made for who asks.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`] when the current one is not it, [`AccountError::TooFast`], [`AccountError::Bad`],
    /// [`AccountError::Forbidden`] for who has none here.
    pub async fn change_password(
        &self,
        actor: Actor<'_>,
        current: &str,
        new: &str,
        client: &ClientInfo,
    ) -> Result<NewLogin, AccountError> {
        let user = self.own_user(actor)?;
        must_be_local(&user)?;
        let attempt = Attempt {
            account: &user.name,
            address: client.ip,
            known_address: false,
        };
        self.throttle
            .begin(Instant::now(), attempt)
            .map_err(|wait| AccountError::TooFast { wait })?;
        let kept = user.password_hash.as_deref();
        if !self.passwords.verify(current, kept).await? {
            return Err(AccountError::WrongPassword);
        }
        self.throttle.succeeded(attempt);
        self.set_password(actor, user.user, new).await?;
        let user = self.own_user_row(user.user)?;
        self.begin_login(&user, client).await
    }

    /// Sets a user's password; all their logins end.
    pub(super) async fn set_password(
        &self,
        actor: Actor<'_>,
        user: UserId,
        password: &str,
    ) -> Result<(), AccountError> {
        let hash = self.passwords.hash(password).await?;
        let _editing = self.editing.lock().await;
        let mut row = self.own_user_row(user)?;
        must_be_local(&row)?;
        row.password_hash = Some(hash);
        row.updated_at = Timestamp::now();
        let subject = row.name.clone();
        let mut writes = vec![AccountWrite::User(row)];
        writes.extend(self.logins_of(user));
        self.grant(actor, "password.change", subject, writes).await
    }

    /// The ends of all logins of a user.
    pub(super) fn logins_of(&self, user: UserId) -> Vec<AccountWrite> {
        let directory = self.directory();
        directory
            .logins()
            .filter(|row| row.user == user)
            .map(|row| AccountWrite::RemoveLogin(row.login))
            .collect()
    }

    fn was_at(&self, user: UserId, ip: Option<IpAddr>) -> bool {
        let Some(ip) = ip.map(|ip| ip.to_string()) else {
            return false;
        };
        let directory = self.directory();
        directory
            .logins()
            .any(|row| row.user == user && row.ip_address.as_ref() == Some(&ip))
    }
}

fn login_entry(name: &str, client: &ClientInfo, outcome: AuditOutcome) -> AuditRow {
    entry(LOGIN, name, client, outcome)
}

pub(super) fn entry(
    action: &str,
    name: &str,
    client: &ClientInfo,
    outcome: AuditOutcome,
) -> AuditRow {
    AuditRow {
        id: Uuid::new_v4(),
        at: Timestamp::now(),
        action: action.to_owned(),
        outcome,
        actor: None,
        subject: Some(name.chars().take(KEPT_NAME).collect()),
        ip_address: client.ip.map(|ip| ip.to_string()),
        detail: client.user_agent.clone(),
    }
}
