//! The reasons of accounts.

use super::{Code, Reason};
use crate::auth::AccountError;

impl From<&AccountError> for Reason {
    fn from(error: &AccountError) -> Self {
        let reason = |code| Self::new(code, error);
        match error {
            AccountError::Bad(reason)
            | AccountError::Conflict(reason)
            | AccountError::Forbidden(reason) => reason.clone(),
            AccountError::WrongPassword => reason(Code::WrongPassword),
            AccountError::TooFast { wait } => {
                reason(Code::TooManyLogins).with("seconds", wait.as_secs() + 1)
            }
            AccountError::Busy => reason(Code::LoginsBusy),
            AccountError::NoSuch(_) => reason(Code::NoSuchThing),
            AccountError::Store { .. } => reason(Code::DatabaseAway),
            AccountError::Internal(_) => reason(Code::Internal),
        }
    }
}
