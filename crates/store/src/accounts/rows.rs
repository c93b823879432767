//! The rows of accounts as typed values.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use apiary_wire::id::{CameraId, CameraIdError};
use jiff::Timestamp;
use uuid::Uuid;

use super::push::SubscriptionRow;
use crate::rows::{UnknownWord, words};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub struct $name(pub Uuid);

            impl $name {
                /// A new one, not to be guessed.
                #[must_use]
                pub fn random() -> Self {
                    Self(Uuid::new_v4())
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt(f)
                }
            }

            impl FromStr for $name {
                type Err = uuid::Error;

                fn from_str(text: &str) -> Result<Self, uuid::Error> {
                    text.parse().map(Self)
                }
            }
        )+
    };
}

ids! {
    /// Names a user.
    UserId,
    /// Names a login session. Not what its cookie holds.
    LoginId,
    /// Names an API token. Not the token itself.
    TokenId,
    /// Names a share link.
    ShareId,
    /// Names a browser that is notified.
    SubscriptionId,
}

/// What somebody may do at all; each may do what those after it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Watches.
    Viewer,
    /// Starts and stops cameras, and commands them.
    Operator,
    /// Everything, accounts included.
    Admin,
}

words!(Role {
    Viewer = "viewer",
    Operator = "operator",
    Admin = "admin",
});

/// The cameras that somebody may see. As text `*`, or ids separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraScope {
    /// All, those to come included.
    All,
    /// These alone.
    Only(BTreeSet<CameraId>),
}

/// A text that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither `*` nor camera ids separated by commas")]
pub struct CameraScopeError(#[source] CameraIdError);

impl CameraScope {
    /// Whether it holds this camera.
    #[must_use]
    pub fn contains(&self, camera: CameraId) -> bool {
        match self {
            Self::All => true,
            Self::Only(cameras) => cameras.contains(&camera),
        }
    }

    /// What both hold.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, scope) | (scope, Self::All) => scope.clone(),
            (Self::Only(a), Self::Only(b)) => Self::Only(a & b),
        }
    }
}

impl fmt::Display for CameraScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Only(cameras) => {
                let ids: Vec<String> = cameras.iter().map(CameraId::to_string).collect();
                f.write_str(&ids.join(","))
            }
        }
    }
}

impl FromStr for CameraScope {
    type Err = CameraScopeError;

    fn from_str(text: &str) -> Result<Self, CameraScopeError> {
        if text == "*" {
            return Ok(Self::All);
        }
        text.split(',')
            .filter(|id| !id.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self::Only)
            .map_err(CameraScopeError)
    }
}

/// The SHA-256 of a random secret: what is kept of one. (Secrets of 256 random bits need no salt and no slow hash.)
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash(pub [u8; 32]);

/// A text that is no SHA-256 in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct SecretHashError;

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(***)")
    }
}

impl SecretHash {
    /// 64 hexadecimal digits.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

impl FromStr for SecretHash {
    type Err = SecretHashError;

    fn from_str(text: &str) -> Result<Self, SecretHashError> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(SecretHashError);
        }
        for (i, octet) in hash.iter_mut().enumerate() {
            *octet =
                u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| SecretHashError)?;
        }
        Ok(Self(hash))
    }
}

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRow {
    /// The key.
    pub user: UserId,
    /// The name to log in with, unique, in small letters.
    pub name: String,
    /// Argon2id in PHC form; none for those who come by way of a provider alone.
    pub password_hash: Option<String>,
    /// Issuer and subject at an OpenID provider.
    pub external_subject: Option<String>,
    /// What the user may do.
    pub role: Role,
    /// The cameras the user may see.
    pub cameras: CameraScope,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When this row was last changed.
    pub updated_at: Timestamp,
}

impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRow")
            .field("user", &self.user)
            .field("name", &self.name)
            .field("role", &self.role)
            .field("cameras", &self.cameras)
            .finish_non_exhaustive()
    }
}

/// A browser that is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRow {
    /// The key.
    pub login: LoginId,
    /// Whose.
    pub user: UserId,
    /// What is kept of its cookie.
    pub secret: SecretHash,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
    /// From where it came.
    pub ip_address: Option<String>,
    /// When it logged in.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// A token of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiTokenRow {
    /// The key.
    pub token: TokenId,
    /// On whose behalf it acts: never more than its user may.
    pub user: UserId,
    /// What its user calls it.
    pub name: String,
    /// What is kept of it.
    pub secret: SecretHash,
    /// What it may do.
    pub role: Role,
    /// The cameras it may see.
    pub cameras: CameraScope,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A link with which anybody may watch one camera for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRow {
    /// The key.
    pub share: ShareId,
    /// Who shares; it ends when that user may not see the camera any more.
    pub user: UserId,
    /// What is shared.
    pub camera: CameraId,
    /// For whom, in the words of who shares.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// How something went that is worth an entry in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
}

words!(AuditOutcome {
    Done = "done",
    Refused = "refused",
});

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// The key.
    pub id: Uuid,
    /// When it was.
    pub at: Timestamp,
    /// What was done or tried: `login`, `user.create`.
    pub action: String,
    /// How it went.
    pub outcome: AuditOutcome,
    /// Who did it.
    pub actor: Option<String>,
    /// To whom or what.
    pub subject: Option<String>,
    /// From where.
    pub ip_address: Option<String>,
    /// More, for people.
    pub detail: Option<String>,
}

/// Everything about accounts that is kept in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountTables {
    /// Users.
    pub users: Vec<UserRow>,
    /// Logins.
    pub logins: Vec<LoginRow>,
    /// API tokens.
    pub tokens: Vec<ApiTokenRow>,
    /// Share links.
    pub shares: Vec<ShareRow>,
    /// Browsers that are notified.
    pub subscriptions: Vec<SubscriptionRow>,
}

/// A change of accounts: a whole row, new or not, or the end of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountWrite {
    /// A user.
    User(UserRow),
    /// A user goes, with all logins, tokens, shares and subscriptions.
    RemoveUser(UserId),
    /// A login.
    Login(LoginRow),
    /// A login ends; what it subscribed is kept without it.
    RemoveLogin(LoginId),
    /// A token.
    Token(ApiTokenRow),
    /// A token ends.
    RemoveToken(TokenId),
    /// A share link.
    Share(ShareRow),
    /// A share link ends.
    RemoveShare(ShareId),
    /// A browser that is notified.
    Subscription(SubscriptionRow),
    /// It is no longer.
    RemoveSubscription(SubscriptionId),
    /// An entry of the audit log.
    Audit(AuditRow),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_come_back_from_their_text() {
        let some: CameraScope = "0123456789ABCDEF0123456789ABCDEF,56C1CADCF1FA4C6CAEBA3E2FD85EFEBF"
            .parse()
            .unwrap();
        let none = CameraScope::Only(BTreeSet::new());
        for scope in [CameraScope::All, some.clone(), none.clone()] {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert!("porch".parse::<CameraScope>().is_err());
        assert!("*,*".parse::<CameraScope>().is_err());
        assert_eq!(CameraScope::All.intersect(&some), some);
        assert_eq!(some.intersect(&none), none);
    }

    #[test]
    fn hashes_come_back_from_their_text_and_never_print() {
        let hash = SecretHash(std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        assert_eq!(hash.text().parse(), Ok(hash));
        assert_eq!(format!("{hash:?}"), "SecretHash(***)");
        for wrong in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert!(wrong.parse::<SecretHash>().is_err(), "{wrong}");
        }
    }
}
