//! Users.

use apiary_store::{AccountWrite, CameraScope, Role, UserId, UserRow};
use jiff::Timestamp;

use super::{AccountError, Accounts, Actor};
use crate::auth::principal::Who;
use crate::reason::{Code, Reason};

/// Longest name.
pub(super) const MAX_NAME: usize = 64;
/// Most users.
const MAX_USERS: usize = 10_000;

/// A user to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Name to log in with; in small letters from then on.
    pub name: String,
    /// Password.
    pub password: crate::secret::Secret,
    /// What the user may do.
    pub role: Role,
    /// The cameras the user may see; an administrator always all.
    pub cameras: CameraScope,
}

/// What is to change of a user.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// Another role.
    pub role: Option<Role>,
    /// Other cameras.
    pub cameras: Option<CameraScope>,
    /// Another password; all logins end.
    pub password: Option<crate::secret::Secret>,
}

impl Accounts {
    /// All users, by name.
    pub fn users(&self) -> Vec<UserRow> {
        let mut users: Vec<_> = self.directory().users().cloned().collect();
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`AccountError::Bad`], [`AccountError::Conflict`] when the name is taken, [`AccountError::Store`].
    pub async fn create_user(
        &self,
        actor: Actor<'_>,
        new: NewUser,
    ) -> Result<UserRow, AccountError> {
        let hash = self.passwords.hash(new.password.expose()).await?;
        let _editing = self.editing.lock().await;
        self.insert_user(actor, &new, hash).await
    }

    /// The same, for who holds [`Accounts::editing`].
    pub(super) async fn insert_user(
        &self,
        actor: Actor<'_>,
        new: &NewUser,
        password_hash: String,
    ) -> Result<UserRow, AccountError> {
        let name = canonical_name(&new.name)?;
        check_scope(new.role, &new.cameras)?;
        if self.directory().user_named(&name).is_some() {
            let text = format!("there is a user {name} already");
            let reason = Reason::new(Code::NameTaken, text).with("name", name);
            return Err(AccountError::Conflict(reason));
        }
        self.must_have_room_for_a_user()?;
        let now = Timestamp::now();
        let row = UserRow {
            user: UserId::random(),
            name: name.clone(),
            password_hash: Some(password_hash),
            external_subject: None,
            role: new.role,
            cameras: new.cameras.clone(),
            created_at: now,
            updated_at: now,
        };
        let writes = vec![AccountWrite::User(row.clone())];
        self.grant(actor, "user.create", name, writes).await?;
        Ok(row)
    }

    /// Changes a user. What they may no longer see ends at once.
    ///
    /// # Errors
    /// [`AccountError::NoSuch`], [`AccountError::Bad`], [`AccountError::Conflict`] for the last administrator.
    pub async fn change_user(
        &self,
        actor: Actor<'_>,
        user: UserId,
        change: UserChange,
    ) -> Result<UserRow, AccountError> {
        {
            let _editing = self.editing.lock().await;
            let mut row = self.own_user_row(user)?;
            if change.role.is_some() || change.password.is_some() {
                must_be_local(&row)?;
            }
            row.role = change.role.unwrap_or(row.role);
            row.cameras = change.cameras.unwrap_or(row.cameras);
            if is_local(&row) {
                check_scope(row.role, &row.cameras)?;
            }
            if row.role != Role::Admin {
                self.must_leave_an_admin(user)?;
            }
            row.updated_at = Timestamp::now();
            let subject = row.name.clone();
            let writes = vec![AccountWrite::User(row)];
            self.revoke(actor, "user.change", subject, writes).await?;
        }
        if let Some(password) = change.password {
            self.set_password(actor, user, password.expose()).await?;
        }
        self.own_user_row(user)
    }

    /// Removes a user with all logins, tokens and share links.
    ///
    /// # Errors
    /// [`AccountError::NoSuch`], [`AccountError::Conflict`] for the last administrator, [`AccountError::Store`].
    pub async fn remove_user(&self, actor: Actor<'_>, user: UserId) -> Result<(), AccountError> {
        let _editing = self.editing.lock().await;
        let row = self.own_user_row(user)?;
        self.must_leave_an_admin(user)?;
        let writes = vec![AccountWrite::RemoveUser(user)];
        self.revoke(actor, "user.remove", row.name, writes).await
    }

    /// Whether there is anybody who could log in here, whatever becomes of a provider.
    pub fn has_local_users(&self) -> bool {
        self.directory().users().any(is_local)
    }

    /// Whether somebody has a password here that they can change; who logs in at a provider has it there.
    pub fn has_password(&self, who: &Who) -> bool {
        let directory = self.directory();
        who.user()
            .and_then(|user| directory.user(user))
            .is_some_and(is_local)
    }

    pub(super) fn must_have_room_for_a_user(&self) -> Result<(), AccountError> {
        if self.directory().users().count() < MAX_USERS {
            return Ok(());
        }
        let problem = format!("there are {MAX_USERS} users, the most that are kept");
        let reason = Reason::new(Code::TooMany, problem).with("most", MAX_USERS);
        Err(AccountError::Conflict(reason))
    }

    /// The user who asks.
    pub(super) fn own_user(&self, actor: Actor<'_>) -> Result<UserRow, AccountError> {
        let user = actor.principal.who.user();
        let only = || Reason::new(Code::NeedsAccount, "only users can do this");
        let user = user.ok_or_else(|| AccountError::Forbidden(only()))?;
        self.own_user_row(user)
    }

    pub(super) fn own_user_row(&self, user: UserId) -> Result<UserRow, AccountError> {
        let row = self.directory().user(user).cloned();
        row.ok_or(AccountError::NoSuch("user"))
    }

    pub(super) fn name_of(&self, user: UserId) -> String {
        let directory = self.directory();
        directory
            .user(user)
            .map(|user| user.name.clone())
            .unwrap_or_default()
    }

    /// What is somebody else's looks as if it were not there.
    pub(super) fn must_own(
        &self,
        actor: Actor<'_>,
        owner: UserId,
        what: &'static str,
    ) -> Result<(), AccountError> {
        let owns = actor.principal.who.user() == Some(owner);
        if owns || actor.principal.is_at_least(Role::Admin) {
            return Ok(());
        }
        Err(AccountError::NoSuch(what))
    }

    fn must_leave_an_admin(&self, without: UserId) -> Result<(), AccountError> {
        let directory = self.directory();
        // Those of a provider cannot log in while it is away.
        let is_local_admin = |user: &UserRow| user.role == Role::Admin && is_local(user);
        let other = directory
            .users()
            .any(|user| is_local_admin(user) && user.user != without);
        let is_admin = directory.user(without).is_some_and(is_local_admin);
        if other || !is_admin {
            return Ok(());
        }
        let problem = "this is the last administrator with a password; make another one first";
        Err(AccountError::Conflict(Reason::new(
            Code::LastAdmin,
            problem,
        )))
    }
}

/// A name as it is kept and compared.
///
/// # Errors
/// When it holds anything but letters, digits, `.`, `-`, `_` and `@`.
pub(super) fn canonical_name(name: &str) -> Result<String, AccountError> {
    let name = name.trim().to_lowercase();
    if name.is_empty() || name.chars().count() > MAX_NAME || !name.chars().all(fits_name) {
        let text = format!("a name is 1 to {MAX_NAME} letters, digits and .-_@+");
        let reason = Reason::new(Code::BadName, text).with("longest", MAX_NAME);
        return Err(AccountError::Bad(reason));
    }
    Ok(name)
}

pub(super) fn fits_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_' | '@' | '+')
}

/// Whether the user has a password here, and comes by way of no provider.
fn is_local(user: &UserRow) -> bool {
    user.external_subject.is_none()
}

pub(super) fn must_be_local(user: &UserRow) -> Result<(), AccountError> {
    if is_local(user) {
        return Ok(());
    }
    let problem = format!(
        "{} logs in at the identity provider, which keeps the password and says the role",
        user.name
    );
    let reason = Reason::new(Code::AtProvider, problem).with("name", &user.name);
    Err(AccountError::Forbidden(reason))
}

fn check_scope(role: Role, cameras: &CameraScope) -> Result<(), AccountError> {
    if role == Role::Admin && *cameras != CameraScope::All {
        let problem =
            "an administrator sees all cameras; leave out cameras, or choose another role";
        return Err(AccountError::Bad(Reason::new(Code::AdminSeesAll, problem)));
    }
    Ok(())
}
