//! Users who log in at an OpenID provider. They are bound to what it calls them for good (issuer and subject), and never
//! to a user of the same name; what they may do is what it says at each login.

use std::net::IpAddr;

use apiary_store::{AccountWrite, AuditOutcome, CameraScope, Role, UserId, UserRow};
use jiff::Timestamp;

use super::logins::entry;
use super::users::{MAX_NAME, fits_name};
use super::{AccountError, Accounts, Actor, ClientInfo, NewLogin};
use crate::auth::principal::{Principal, Who};
use crate::reason::{Code, Reason};

/// What the audit log calls a login that failed although the provider knows who it is. (Those that succeed are logins
/// like any other; failures of a local name are another thing, which slows it down.)
const REFUSED_LOGIN: &str = "login.provider";
/// Users of the same name that are told apart.
const MAX_NAMESAKES: u32 = 1000;
/// What somebody is called whose name has nothing that a name may have.
const NAMELESS: &str = "user";

/// Somebody, by a provider's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvidedUser {
    /// Who says it.
    pub issuer: String,
    /// What it knows them by, for good.
    pub subject: String,
    /// What it calls them.
    pub name: String,
    /// What they may do; nothing makes `None`.
    pub role: Option<Role>,
}

impl Accounts {
    /// Logs in somebody whom a provider knows; who comes for the first time becomes a user.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] for who has no role: they lose what they had. [`AccountError::Conflict`],
    /// [`AccountError::Store`].
    pub async fn log_in_provided(
        &self,
        somebody: &ProvidedUser,
        client: &ClientInfo,
    ) -> Result<NewLogin, AccountError> {
        let key = external_subject(somebody);
        let editing = self.editing.lock().await;
        let known = self.directory().user_of_provider(&key).cloned();
        let user = match (known, somebody.role) {
            (Some(user), Some(role)) if user.role == role => user,
            (Some(user), Some(role)) => self.follow(user, role, client).await,
            (None, Some(role)) => self.take_in(key, &somebody.name, role, client).await?,
            (known, None) => return Err(self.shut_out(known, somebody, client).await),
        };
        drop(editing);
        self.begin_login(&user, client).await
    }

    async fn take_in(
        &self,
        key: String,
        name: &str,
        role: Role,
        client: &ClientInfo,
    ) -> Result<UserRow, AccountError> {
        self.must_have_room_for_a_user()?;
        let now = Timestamp::now();
        let row = UserRow {
            user: UserId::random(),
            name: self.free_name(name)?,
            password_hash: None,
            external_subject: Some(key),
            role,
            cameras: CameraScope::All,
            created_at: now,
            updated_at: now,
        };
        let provider = provider();
        let writes = vec![AccountWrite::User(row.clone())];
        let subject = row.name.clone();
        let actor = by(&provider, client.ip);
        self.grant(actor, "user.create", subject, writes).await?;
        Ok(row)
    }

    /// The role is another now. That it cannot be written keeps nobody out: it is found again at the next login.
    async fn follow(&self, mut user: UserRow, role: Role, client: &ClientInfo) -> UserRow {
        user.role = role;
        user.updated_at = Timestamp::now();
        let writes = vec![AccountWrite::User(user.clone())];
        let (provider, subject) = (provider(), user.name.clone());
        let actor = by(&provider, client.ip);
        let changed = self.revoke(actor, "user.change", subject, writes).await;
        if let Err(error) = changed {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a user's role is kept in memory only"
            );
        }
        user
    }

    /// Ends what they had here: logins, tokens and share links. The user stays, with the cameras that were set.
    async fn shut_out(
        &self,
        known: Option<UserRow>,
        somebody: &ProvidedUser,
        client: &ClientInfo,
    ) -> AccountError {
        let name = known.as_ref().map_or(&somebody.name, |user| &user.name);
        tracing::warn!(address = ?client.ip, "somebody without a role was refused by what the provider says");
        self.note(entry(REFUSED_LOGIN, name, client, AuditOutcome::Refused));
        if let Some(user) = known {
            let writes = self.all_of(user.user);
            let provider = provider();
            let actor = by(&provider, client.ip);
            let ended = self.revoke(actor, "user.shut_out", user.name, writes).await;
            if let Err(error) = ended {
                return error;
            }
        }
        let text = "your account at the provider has no role here";
        AccountError::Forbidden(Reason::new(Code::NoRoleAtProvider, text))
    }

    /// The ends of all that a user has.
    fn all_of(&self, user: UserId) -> Vec<AccountWrite> {
        let mut writes = self.logins_of(user);
        let directory = self.directory();
        let tokens = directory.tokens().filter(|row| row.user == user);
        writes.extend(tokens.map(|row| AccountWrite::RemoveToken(row.token)));
        let shares = directory.shares().filter(|row| row.user == user);
        writes.extend(shares.map(|row| AccountWrite::RemoveShare(row.share)));
        writes
    }

    /// The name that somebody claims, as far as it can be one and nobody has it.
    fn free_name(&self, claimed: &str) -> Result<String, AccountError> {
        let name = fitting_name(claimed);
        let directory = self.directory();
        let is_free = |name: &String| directory.user_named(name).is_none();
        let others = (2..=MAX_NAMESAKES).map(|number| {
            let number = format!("-{number}");
            let kept: String = name.chars().take(MAX_NAME - number.len()).collect();
            kept + &number
        });
        let free = std::iter::once(name.clone()).chain(others).find(is_free);
        free.ok_or_else(|| {
            let text = format!("too many users are called {name}");
            let reason = Reason::new(Code::TooMany, text).with("most", MAX_NAMESAKES);
            AccountError::Conflict(reason)
        })
    }
}

/// The issuer is an address, and so has no spaces.
fn external_subject(somebody: &ProvidedUser) -> String {
    format!("{} {}", somebody.issuer, somebody.subject)
}

/// What cannot stand in a name becomes a hyphen.
fn fitting_name(claimed: &str) -> String {
    let lower = claimed.trim().to_lowercase();
    let fitting = lower
        .chars()
        .map(|letter| if fits_name(letter) { letter } else { '-' })
        .take(MAX_NAME);
    let name: String = fitting.collect();
    if name.chars().all(|letter| letter == '-') {
        return NAMELESS.to_owned();
    }
    name
}

/// Who does what a provider's word makes.
fn provider() -> Principal {
    Principal {
        name: "identity provider".into(),
        ..Principal::anybody()
    }
}

fn by(provider: &Principal, ip: Option<IpAddr>) -> Actor<'_> {
    debug_assert_eq!(provider.who, Who::Anybody);
    Actor {
        principal: provider,
        ip,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Home, actor, add, at, only, root};
    use super::super::{NewShare, NewToken, UserChange};
    use super::*;
    use crate::secret::Secret;
    use jiff::SignedDuration;

    fn somebody(subject: &str, name: &str, role: Option<Role>) -> ProvidedUser {
        ProvidedUser {
            issuer: "https://id.example".to_owned(),
            subject: subject.to_owned(),
            name: name.to_owned(),
            role,
        }
    }

    async fn log_in(accounts: &Accounts, who: &ProvidedUser) -> Result<NewLogin, AccountError> {
        accounts.log_in_provided(who, &at("192.0.2.1")).await
    }

    #[tokio::test]
    async fn somebody_is_the_same_user_by_issuer_and_subject_alone() {
        let home = Home::new();
        let (accounts, ..) = home.open().await;
        let queen = add(&accounts, "queen", Role::Admin, CameraScope::All).await;
        let viewer = Some(Role::Viewer);
        let first = log_in(&accounts, &somebody("1", "Queen", viewer))
            .await
            .unwrap();
        assert_ne!(
            first.principal.who.user(),
            Some(queen.user),
            "no name makes them one"
        );
        assert_eq!(
            (&*first.principal.name, first.principal.role),
            ("queen-2", Role::Viewer)
        );
        let again = log_in(&accounts, &somebody("1", "Maya", viewer))
            .await
            .unwrap();
        assert_eq!(again.principal.who.user(), first.principal.who.user());
        assert_ne!(again.secret, first.secret);
        let other = log_in(&accounts, &somebody("2", "Queen", viewer))
            .await
            .unwrap();
        assert_eq!(&*other.principal.name, "queen-3");
        let elsewhere = ProvidedUser {
            issuer: "https://other.example".to_owned(),
            ..somebody("1", "<b>Q\u{202e}</b>", viewer)
        };
        let elsewhere = log_in(&accounts, &elsewhere).await.unwrap();
        assert_eq!(&*elsewhere.principal.name, "-b-q---b-");
        assert_eq!(accounts.users().len(), 4);
    }

    #[tokio::test]
    async fn roles_follow_the_provider_and_cameras_do_not() {
        let home = Home::new();
        let (accounts, store, ..) = home.open().await;
        let drone = |role| somebody("1", "drone", role);
        let login = log_in(&accounts, &drone(Some(Role::Viewer))).await.unwrap();
        assert_eq!(*login.principal.cameras, CameraScope::All);
        let user = login.principal.who.user().unwrap();
        let change = UserChange {
            cameras: Some(only(&[1])),
            ..UserChange::default()
        };
        accounts
            .change_user(actor(&root()), user, change)
            .await
            .unwrap();
        let login = log_in(&accounts, &drone(Some(Role::Admin))).await.unwrap();
        assert_eq!(
            (login.principal.role, &*login.principal.cameras),
            (Role::Admin, &CameraScope::All)
        );
        let mut changes = accounts.changes();
        changes.mark_unchanged();
        let below = log_in(&accounts, &drone(Some(Role::Operator)))
            .await
            .unwrap();
        assert!(changes.has_changed().unwrap());
        // The login from before is worth no more than the new one.
        for secret in [login.secret, below.secret] {
            let now = accounts.of_login(&secret).unwrap();
            assert_eq!((now.role, &*now.cameras), (Role::Operator, &only(&[1])));
        }
        apiary_store::Store::close(&*store).await;
        drop((accounts, store));
        let (accounts, ..) = home.open().await;
        let kept = accounts.users().pop().unwrap();
        assert_eq!(
            (kept.user, kept.role, kept.cameras),
            (user, Role::Operator, only(&[1]))
        );
    }

    #[tokio::test]
    async fn who_has_no_role_any_more_loses_what_they_had() {
        let home = Home::new();
        let (accounts, _store, writer, _task) = home.open().await;
        let login = log_in(&accounts, &somebody("1", "drone", Some(Role::Viewer)))
            .await
            .unwrap();
        let me = login.principal;
        let later = Timestamp::now() + SignedDuration::from_hours(1);
        let token = NewToken {
            name: "bell".to_owned(),
            role: Role::Viewer,
            cameras: CameraScope::All,
            expires_at: None,
        };
        let share = NewShare {
            camera: apiary_wire::id::CameraId::from_bytes([1; 16]),
            label: "neighbours".to_owned(),
            expires_at: later,
        };
        let (_, token) = accounts.create_token(actor(&me), token).await.unwrap();
        let share = accounts.create_share(actor(&me), share).await.unwrap();
        let share = accounts.secret_of(&share);
        assert!(accounts.of_token(&token).is_some() && accounts.of_token(&share).is_some());
        for subject in ["1", "2"] {
            let refused = log_in(&accounts, &somebody(subject, "drone", None)).await;
            assert!(
                matches!(refused, Err(AccountError::Forbidden(_))),
                "{refused:?}"
            );
        }
        assert!(accounts.of_login(&login.secret).is_none());
        assert!(accounts.of_token(&token).is_none() && accounts.of_token(&share).is_none());
        assert_eq!(accounts.users().len(), 1, "nobody was made a user");
        writer.flush().await;
        let log = accounts.audit_log(Timestamp::MAX, 100).await.unwrap();
        let refused = log
            .iter()
            .filter(|row| row.outcome == AuditOutcome::Refused);
        assert_eq!(refused.count(), 2);
    }

    #[tokio::test]
    async fn their_passwords_and_roles_are_the_providers() {
        let home = Home::new();
        let (accounts, ..) = home.open().await;
        let client = at("192.0.2.1");
        let login = log_in(&accounts, &somebody("1", "drone", Some(Role::Admin)))
            .await
            .unwrap();
        let me = login.principal;
        let own = accounts
            .change_password(actor(&me), "", "a new password", &client)
            .await;
        assert!(matches!(own, Err(AccountError::Forbidden(_))), "{own:?}");
        let user = me.who.user().unwrap();
        let role = UserChange {
            role: Some(Role::Viewer),
            ..UserChange::default()
        };
        let password = UserChange {
            password: Some(Secret::new("a new password")),
            ..UserChange::default()
        };
        for change in [role, password] {
            let changed = accounts.change_user(actor(&root()), user, change).await;
            assert!(
                matches!(changed, Err(AccountError::Forbidden(_))),
                "{changed:?}"
            );
        }
        let guessed = accounts.log_in("drone", "a new password", &client).await;
        assert!(matches!(guessed, Err(AccountError::WrongPassword)));
    }

    /// Who can log in while the provider is away must be somebody.
    #[tokio::test]
    async fn administrators_of_a_provider_are_no_reason_to_have_none_here() {
        let home = Home::new();
        let (accounts, ..) = home.open().await;
        log_in(&accounts, &somebody("1", "maya", Some(Role::Admin)))
            .await
            .unwrap();
        assert!(!accounts.has_local_users());
        assert!(
            accounts.open_setup().is_some(),
            "the first one here can still be made"
        );
        let queen = add(&accounts, "queen", Role::Admin, CameraScope::All).await;
        assert!(accounts.open_setup().is_none());
        let removed = accounts.remove_user(actor(&root()), queen.user).await;
        assert!(
            matches!(removed, Err(AccountError::Conflict(_))),
            "{removed:?}"
        );
        let maya = accounts
            .users()
            .into_iter()
            .find(|user| user.name == "maya");
        accounts
            .remove_user(actor(&root()), maya.unwrap().user)
            .await
            .unwrap();
    }
}
