//! API tokens of programs, and share links.

use apiary_store::{
    AccountWrite, ApiTokenRow, CameraScope, Role, ShareId, ShareRow, TokenId, UserId,
};
use apiary_wire::id::CameraId;
use jiff::Timestamp;

use super::{AccountError, Accounts, Actor, label};
use crate::auth::credential::{self, new_secret};
use crate::reason::{Code, Reason};

/// What an API token begins with.
const TOKEN_PREFIX: &str = "apt_";
/// Longest name of a token or a share link.
const MAX_LABEL: usize = 100;
/// Most tokens, and most share links, of one user.
const MAX_PER_USER: usize = 200;

/// A token to be made; never more than its user may.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What its user calls it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The cameras it may see.
    pub cameras: CameraScope,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A share link to be made.
#[derive(Clone, Debug)]
pub struct NewShare {
    /// What is shared.
    pub camera: CameraId,
    /// For whom, in the words of who shares.
    pub label: String,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

impl Accounts {
    /// Makes a token. The secret is known now and never again.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] for more than its user may, [`AccountError::Bad`], [`AccountError::Store`].
    pub async fn create_token(
        &self,
        actor: Actor<'_>,
        new: NewToken,
    ) -> Result<(ApiTokenRow, String), AccountError> {
        let _editing = self.editing.lock().await;
        let user = self.own_user(actor)?;
        let principal = actor.principal;
        if !principal.is_at_least(new.role)
            || principal.cameras.intersect(&new.cameras) != new.cameras
        {
            let problem = "a token cannot do more than who makes it";
            let reason = Reason::new(Code::MoreThanOneMay, problem);
            return Err(AccountError::Forbidden(reason));
        }
        must_come(new.expires_at)?;
        let count = self.tokens(Some(user.user)).len();
        must_have_room(count, "tokens")?;
        let secret = new_secret(TOKEN_PREFIX);
        let row = ApiTokenRow {
            token: TokenId::random(),
            user: user.user,
            name: label("the name", &new.name, MAX_LABEL)?,
            secret: credential::hash(&secret)
                .ok_or(AccountError::Internal("a secret could not be made"))?,
            role: new.role,
            cameras: new.cameras,
            created_at: Timestamp::now(),
            expires_at: new.expires_at,
        };
        let writes = vec![AccountWrite::Token(row.clone())];
        self.grant(actor, "token.create", row.name.clone(), writes)
            .await?;
        Ok((row, secret))
    }

    /// The tokens of one user, or all, oldest first.
    pub fn tokens(&self, user: Option<UserId>) -> Vec<ApiTokenRow> {
        let directory = self.directory();
        let mut tokens: Vec<_> = directory
            .tokens()
            .filter(|row| user.is_none_or(|user| row.user == user))
            .cloned()
            .collect();
        tokens.sort_by_key(|row| row.created_at);
        tokens
    }

    /// Ends a token: one's own, or as an administrator anybody's.
    ///
    /// # Errors
    /// [`AccountError::NoSuch`], [`AccountError::Store`].
    pub async fn remove_token(&self, actor: Actor<'_>, token: TokenId) -> Result<(), AccountError> {
        let _editing = self.editing.lock().await;
        let row = self.directory().token(token).cloned();
        let row = row.ok_or(AccountError::NoSuch("token"))?;
        self.must_own(actor, row.user, "token")?;
        let writes = vec![AccountWrite::RemoveToken(token)];
        self.revoke(actor, "token.remove", row.name, writes).await
    }

    /// What a share link holds behind its `#`.
    pub fn secret_of(&self, share: &ShareRow) -> String {
        self.share_key.sign(share.share)
    }

    /// Makes a share link of a camera that who asks may see.
    ///
    /// # Errors
    /// [`AccountError::NoSuch`] for a camera that is not theirs, [`AccountError::Bad`], [`AccountError::Store`].
    pub async fn create_share(
        &self,
        actor: Actor<'_>,
        new: NewShare,
    ) -> Result<ShareRow, AccountError> {
        let _editing = self.editing.lock().await;
        let user = self.own_user(actor)?;
        if !actor.principal.may_watch(new.camera) {
            return Err(AccountError::NoSuch("camera"));
        }
        must_come(Some(new.expires_at))?;
        must_have_room(self.shares(Some(user.user)).len(), "share links")?;
        let row = ShareRow {
            share: ShareId::random(),
            user: user.user,
            camera: new.camera,
            label: label("the label", &new.label, MAX_LABEL)?,
            created_at: Timestamp::now(),
            expires_at: new.expires_at,
        };
        let writes = vec![AccountWrite::Share(row.clone())];
        let subject = format!("camera {}", row.camera);
        self.grant(actor, "share.create", subject, writes).await?;
        Ok(row)
    }

    /// The share links of one user, or all, oldest first.
    pub fn shares(&self, user: Option<UserId>) -> Vec<ShareRow> {
        let directory = self.directory();
        let mut shares: Vec<_> = directory
            .shares()
            .filter(|row| user.is_none_or(|user| row.user == user))
            .cloned()
            .collect();
        shares.sort_by_key(|row| row.created_at);
        shares
    }

    /// Ends a share link: one's own, or as an administrator anybody's.
    ///
    /// # Errors
    /// [`AccountError::NoSuch`], [`AccountError::Store`].
    pub async fn remove_share(&self, actor: Actor<'_>, share: ShareId) -> Result<(), AccountError> {
        let _editing = self.editing.lock().await;
        let row = self.directory().share(share).cloned();
        let row = row.ok_or(AccountError::NoSuch("share link"))?;
        self.must_own(actor, row.user, "share link")?;
        let writes = vec![AccountWrite::RemoveShare(share)];
        let subject = format!("camera {}", row.camera);
        self.revoke(actor, "share.remove", subject, writes).await
    }
}

fn must_come(expires_at: Option<Timestamp>) -> Result<(), AccountError> {
    if expires_at.is_some_and(|at| at <= Timestamp::now()) {
        let problem = "the end must lie in the future";
        return Err(AccountError::Bad(Reason::new(Code::EndIsPast, problem)));
    }
    Ok(())
}

fn must_have_room(count: usize, what: &str) -> Result<(), AccountError> {
    if count >= MAX_PER_USER {
        let problem = format!("there are {MAX_PER_USER} {what}, the most of one user; end some");
        let reason = Reason::new(Code::TooMany, problem).with("most", MAX_PER_USER);
        return Err(AccountError::Conflict(reason));
    }
    Ok(())
}
