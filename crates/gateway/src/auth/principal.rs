//! Somebody who asks for something.

use std::sync::Arc;

use apiary_store::{CameraScope, LoginId, Role, ShareId, TokenId, UserId};
use apiary_wire::id::CameraId;
use jiff::Timestamp;

/// Somebody, and what they may do. Found anew for each request; what lasts longer keeps the [`Who`] and asks again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// By what they are known.
    pub who: Who,
    /// What the audit log calls them.
    pub name: Arc<str>,
    /// What they may do at all.
    pub role: Role,
    /// The cameras they may see.
    pub cameras: Arc<CameraScope>,
}

/// By what somebody is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Accounts are off: everybody may do everything.
    Anybody,
    /// A user, in a browser that is logged in.
    Login(UserId, LoginId),
    /// A program with a token of a user.
    Token(UserId, TokenId),
    /// Somebody with a share link.
    Share(ShareId),
    /// Somebody with a token that others signed.
    Signed(Arc<SignedToken>),
}

/// What a token says that others signed, as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedToken {
    /// Who shows it.
    pub subject: String,
    /// What they may do.
    pub role: Role,
    /// The cameras they may see.
    pub cameras: CameraScope,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Principal {
    /// Everybody, where accounts are off.
    pub fn anybody() -> Self {
        Self {
            who: Who::Anybody,
            name: Arc::from("anybody"),
            role: Role::Admin,
            cameras: Arc::new(CameraScope::All),
        }
    }

    /// Whether this camera exists for them.
    pub fn may_watch(&self, camera: CameraId) -> bool {
        self.cameras.contains(camera)
    }

    /// Whether they may do what takes this role.
    pub fn is_at_least(&self, role: Role) -> bool {
        self.role >= role
    }

    /// Whether they may talk to the cameras that they may see: to speak into a house takes as much as to start its cameras, and
    /// is nothing for guests.
    pub fn may_talk(&self) -> bool {
        self.is_at_least(Role::Operator) && !self.is_guest()
    }

    /// Whether they have no account, but a share link.
    pub fn is_guest(&self) -> bool {
        match self.who {
            Who::Share(_) => true,
            Who::Anybody | Who::Login(..) | Who::Token(..) | Who::Signed(_) => false,
        }
    }

    /// Whether what `owner` made is theirs: by the same user, whatever they showed, or the same share link.
    pub fn owns(&self, owner: &Who) -> bool {
        if let (Who::Signed(mine), Who::Signed(other)) = (&self.who, owner) {
            return mine.subject == other.subject; // with a newer token, say
        }
        match (self.who.user(), owner.user()) {
            (Some(mine), Some(other)) => mine == other,
            (None, None) => self.who == *owner,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

impl Who {
    /// The user behind it, where there is one.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::Login(user, _) | Self::Token(user, _) => Some(*user),
            Self::Anybody | Self::Share(_) | Self::Signed(_) => None,
        }
    }
}
