//! The accounts of this installation: who is known, and every change of it.
//!
//! - A change is written to the database first and then known here; a revocation is known here first, so that it counts
//!   even while the database is away.
//! - Changes are made one after the other. Each leaves an entry in the audit log, in the same transaction.

mod logins;
mod provided;
mod setup;
mod subscriptions;
mod tokens;
mod users;

use std::net::IpAddr;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use apiary_store::{
    AccountStore, AccountWrite, AuditOutcome, AuditRow, CameraScope, Role, StoreError, StoreWriter,
    UserRow, Write,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use super::credential::{self, ShareKey};
use super::directory::Directory;
use super::jwks::KeySet;
use super::jwt::Verifier;
use super::password::Passwords;
use super::principal::{Principal, Who};
use super::throttle::{FORGET_AFTER, Throttle};
use crate::config::AuthConfig;
use crate::reason::{Code, Reason};

pub use logins::{ClientInfo, NewLogin};
pub use provided::ProvidedUser;
pub use subscriptions::{NewSubscription, SubscriptionChange};
pub use tokens::{NewShare, NewToken};
pub use users::{NewUser, UserChange};

/// Failed logins that are remembered over a restart.
const REMEMBERED_FAILURES: u32 = 10_000;
/// What the audit log calls a try to log in.
const LOGIN: &str = "login";
/// Under which name the key of share links is kept.
const SHARE_KEY: &str = "share-links";

/// Why something about accounts is not done.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// What was given cannot be taken.
    #[error("{0}")]
    Bad(Reason),
    /// Which of the two is wrong is nobody's business.
    #[error("the name or the password is wrong")]
    WrongPassword,
    /// Too many failures.
    #[error("too many failed logins; try again in {} s", .wait.as_secs() + 1)]
    TooFast {
        /// How long to wait.
        wait: Duration,
    },
    /// More at once than is done.
    #[error("too many logins at once; try again shortly")]
    Busy,
    /// There is none, or it is somebody else's.
    #[error("there is no such {0}")]
    NoSuch(&'static str),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(Reason),
    /// Not with this role.
    #[error("{0}")]
    Forbidden(Reason),
    /// It could not be written.
    #[error("the database cannot be written, so {consequence}; try again when it is back")]
    Store {
        /// What that means.
        consequence: &'static str,
        /// What the database said.
        #[source]
        source: StoreError,
    },
    /// Something that should not happen.
    #[error("{0}")]
    Internal(&'static str),
}

/// Who does something, for the audit log.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// From where.
    pub ip: Option<IpAddr>,
}

/// The accounts; shared by all who ask.
pub struct Accounts {
    enabled: bool,
    session_lifetime: SignedDuration,
    verifier: Verifier,
    store: Arc<dyn AccountStore>,
    writer: StoreWriter,
    directory: RwLock<Directory>,
    passwords: Passwords,
    throttle: Throttle,
    share_key: ShareKey,
    setup: setup::Setup,
    /// Held over each change.
    editing: Mutex<()>,
    changes: watch::Sender<u64>,
}

impl Accounts {
    /// Reads all accounts. Where they are not enabled everybody may do everything.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open(
        store: Arc<dyn AccountStore>,
        writer: StoreWriter,
        config: &AuthConfig,
    ) -> Result<Self, StoreError> {
        let tables = store.account_tables().await?;
        let share_key = store.server_key(SHARE_KEY, &ShareKey::propose()).await?;
        let (now, throttle) = (Timestamp::now(), Throttle::default());
        let failures = store
            .audit_log(Some(LOGIN), now, REMEMBERED_FAILURES)
            .await?;
        remember(&throttle, now, &failures);
        Ok(Self {
            enabled: config.enabled,
            verifier: Verifier::new(&config.jwt),
            session_lifetime: SignedDuration::try_from(config.session_lifetime)
                .unwrap_or(SignedDuration::MAX),
            directory: RwLock::new(Directory::new(tables)),
            store,
            writer,
            passwords: Passwords::new(),
            throttle,
            share_key: ShareKey::new(&share_key),
            setup: setup::Setup::default(),
            editing: Mutex::default(),
            changes: watch::Sender::new(0),
        })
    }

    /// Whether anybody has to say who they are.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// Tells of each change after which somebody may do less than before.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Who shows this cookie.
    pub fn of_login(&self, secret: &str) -> Option<Principal> {
        let login = {
            let directory = self.directory();
            let row = directory.login_by_secret(credential::hash(secret)?)?;
            Who::Login(row.user, row.login)
        };
        self.current(&login)
    }

    /// The public keys of those whose signed tokens count.
    pub fn public_keys(&self) -> &Arc<KeySet> {
        &self.verifier.keys
    }

    /// Who shows this token: an API token's, a share link's, or one that others signed.
    pub fn of_token(&self, secret: &str) -> Option<Principal> {
        if secret.contains('.') {
            let token = self.verifier.verify(secret)?;
            return self.current(&Who::Signed(Arc::new(token)));
        }
        if let Some(share) = self.share_key.verify(secret) {
            return self.current(&Who::Share(share));
        }
        let token = {
            let directory = self.directory();
            let row = directory.token_by_secret(credential::hash(secret)?)?;
            Who::Token(row.user, row.token)
        };
        self.current(&token)
    }

    /// How somebody stands now; `None` once what they showed counts no more.
    pub fn current(&self, who: &Who) -> Option<Principal> {
        let (directory, now) = (self.directory(), Timestamp::now());
        match *who {
            Who::Signed(ref token) => (token.expires_at > now).then(|| Principal {
                who: who.clone(),
                name: format!("{}, by a signed token", token.subject).into(),
                role: token.role,
                cameras: Arc::new(token.cameras.clone()),
            }),
            Who::Anybody => (!self.enabled).then(Principal::anybody),
            Who::Login(user, login) => {
                let row = directory.login(login).filter(|row| row.expires_at > now)?;
                let user = directory.user(user).filter(|user| user.user == row.user)?;
                Some(principal(who, user))
            }
            Who::Token(user, token) => {
                let row = directory.token(token)?;
                if row.expires_at.is_some_and(|expires| expires <= now) {
                    return None;
                }
                let user = directory.user(user).filter(|user| user.user == row.user)?;
                Some(Principal {
                    who: who.clone(),
                    name: format!("{}, token {}", user.name, row.name).into(),
                    role: row.role.min(user.role),
                    cameras: Arc::new(row.cameras.intersect(&scope(user))),
                })
            }
            Who::Share(share) => {
                let row = directory.share(share).filter(|row| row.expires_at > now)?;
                // Whoever may not see a camera any more shares it no longer.
                let user = directory.user(row.user)?;
                let camera = [row.camera].into();
                let camera = CameraScope::Only(camera).intersect(&scope(user));
                Some(Principal {
                    who: who.clone(),
                    name: format!("share link of {}", user.name).into(),
                    role: Role::Viewer,
                    cameras: Arc::new(camera),
                })
            }
        }
    }

    /// When what somebody showed ends by itself.
    pub fn end_of(&self, who: &Who) -> Option<Timestamp> {
        let directory = self.directory();
        match *who {
            Who::Anybody => None,
            Who::Signed(ref token) => Some(token.expires_at),
            Who::Login(_, login) => directory.login(login).map(|row| row.expires_at),
            Who::Token(_, token) => directory.token(token)?.expires_at,
            Who::Share(share) => directory.share(share).map(|row| row.expires_at),
        }
    }

    /// The audit log before a time, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_log(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<AuditRow>, AccountError> {
        let read = self.store.audit_log(None, before, limit).await;
        read.map_err(|source| AccountError::Store {
            consequence: "the audit log cannot be read",
            source,
        })
    }

    fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory
            .read()
            .expect("nothing panics while it changes the directory")
    }

    fn directory_mut(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory
            .write()
            .expect("nothing panics while it changes the directory")
    }

    /// Writes a change and then knows it.
    async fn grant(
        &self,
        actor: Actor<'_>,
        action: &str,
        subject: String,
        mut writes: Vec<AccountWrite>,
    ) -> Result<(), AccountError> {
        writes.push(AccountWrite::Audit(done(actor, action, subject)));
        self.store(&writes, "nothing was changed").await?;
        self.know(writes);
        Ok(())
    }

    /// Knows a revocation and then writes it.
    async fn revoke(
        &self,
        actor: Actor<'_>,
        action: &str,
        subject: String,
        mut writes: Vec<AccountWrite>,
    ) -> Result<(), AccountError> {
        self.know(writes.clone());
        writes.push(AccountWrite::Audit(done(actor, action, subject)));
        self.store(
            &writes,
            "this counts until the next start of the program only",
        )
        .await
    }

    async fn store(
        &self,
        writes: &[AccountWrite],
        consequence: &'static str,
    ) -> Result<(), AccountError> {
        let stored = self.store.apply_accounts(writes).await;
        stored.map_err(|source| AccountError::Store {
            consequence,
            source,
        })
    }

    fn know(&self, writes: Vec<AccountWrite>) {
        let mut directory = self.directory_mut();
        for write in writes {
            directory.apply(write);
        }
        drop(directory);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Takes note of something that was done and is no matter of accounts.
    pub fn note_done(
        &self,
        actor: Actor<'_>,
        action: &str,
        subject: String,
        detail: Option<String>,
    ) {
        self.note(AuditRow {
            detail,
            ..done(actor, action, subject)
        });
    }

    /// An entry that nobody waits for.
    fn note(&self, row: AuditRow) {
        self.writer.write(Write::Audit(row));
    }
}

fn principal(who: &Who, user: &UserRow) -> Principal {
    Principal {
        who: who.clone(),
        name: user.name.as_str().into(),
        role: user.role,
        cameras: Arc::new(scope(user)),
    }
}

/// The cameras that a user may see. What was set for one whom a provider made administrator counts again afterwards.
pub(crate) fn scope(user: &UserRow) -> CameraScope {
    if user.role == Role::Admin {
        CameraScope::All
    } else {
        user.cameras.clone()
    }
}

fn done(actor: Actor<'_>, action: &str, subject: String) -> AuditRow {
    AuditRow {
        id: Uuid::new_v4(),
        at: Timestamp::now(),
        action: action.to_owned(),
        outcome: AuditOutcome::Done,
        actor: Some(actor.principal.name.to_string()),
        subject: Some(subject),
        ip_address: actor.ip.map(|ip| ip.to_string()),
        detail: None,
    }
}

/// Failures of earlier runs still count: a restart is no way around the throttle.
fn remember(throttle: &Throttle, now: Timestamp, failures: &[AuditRow]) {
    let refused = failures
        .iter()
        .filter(|row| row.outcome == AuditOutcome::Refused);
    // Oldest first, as they happened.
    for row in refused.rev() {
        let age = Duration::try_from(now.duration_since(row.at)).unwrap_or(Duration::ZERO);
        let Some(at) = Instant::now()
            .checked_sub(age)
            .filter(|_| age < FORGET_AFTER)
        else {
            continue;
        };
        let address = row.ip_address.as_ref().and_then(|ip| ip.parse().ok());
        throttle.remember(at, row.subject.as_deref().unwrap_or_default(), address);
    }
}

/// A text of a person: bounded, on one line.
fn label(what: &str, text: &str, longest: usize) -> Result<String, AccountError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > longest || text.chars().any(char::is_control) {
        let problem = format!("{what} must be 1 to {longest} characters on one line");
        let reason = Reason::new(Code::BadLabel, problem);
        return Err(AccountError::Bad(reason.with("longest", longest)));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
pub(super) mod tests;
