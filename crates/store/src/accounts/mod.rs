//! Accounts: users, their logins and tokens, share links, the browsers they are notified in, the audit log, and keys that the installation made for itself.
//!
//! Unlike the history behind [`crate::StoreWriter`], what is written here is waited for: who revokes something must know
//! that it stays revoked. What a role may do does not belong here.

mod push;
mod rows;
mod statements;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::StoreError;

pub use push::{PushKind, PushKinds, QuietHours, QuietHoursError, SubscriptionRow, TimeOfDay};
pub use rows::{
    AccountTables, AccountWrite, ApiTokenRow, AuditOutcome, AuditRow, CameraScope,
    CameraScopeError, LoginId, LoginRow, Role, SecretHash, SecretHashError, ShareId, ShareRow,
    SubscriptionId, TokenId, UserId, UserRow,
};
pub(crate) use statements::{postgres, sqlite};

/// The accounts of a database.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// All that is known, for keeping in memory.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::BadRow`].
    async fn account_tables(&self) -> Result<AccountTables, StoreError>;

    /// Does all of the writes, or none.
    ///
    /// # Errors
    /// [`StoreError::Query`]; [`StoreError::is_passing`] says whether trying again can help.
    async fn apply_accounts(&self, writes: &[AccountWrite]) -> Result<(), StoreError>;

    /// The last entries of the audit log before a time, newest first; of one action, or of all.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::BadRow`].
    async fn audit_log(
        &self,
        action: Option<&str>,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError>;

    /// The key of this name: the proposed one from its first use on. Hexadecimal digits.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    async fn server_key(&self, name: &'static str, proposed: &str) -> Result<String, StoreError>;
}
