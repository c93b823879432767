//! The first administrator, made by whoever reads the console of a program that has no users.

use std::sync::{Mutex, PoisonError};

use apiary_store::{CameraScope, Role};

use super::{AccountError, Accounts, Actor, ClientInfo, NewLogin, NewUser};
use crate::auth::credential::new_secret;
use crate::auth::principal::Principal;
use crate::reason::{Code, Reason};
use crate::secret::Secret;

/// The secret of the set-up link, while there are no users.
#[derive(Default)]
pub(super) struct Setup(Mutex<Option<Secret>>);

impl Accounts {
    /// Opens the set-up where accounts are on and there is no user, and gives the secret of its link. It counts until there
    /// is a user, or the program ends.
    pub fn open_setup(&self) -> Option<Secret> {
        if !self.enabled || self.has_local_users() {
            return None;
        }
        let secret = Secret::new(new_secret(""));
        *self.setup_secret() = Some(secret.clone());
        Some(secret)
    }

    /// Makes the first administrator, and logs in.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] for a wrong or used secret, [`AccountError::Bad`].
    pub async fn set_up(
        &self,
        secret: &str,
        name: &str,
        password: Secret,
        client: &ClientInfo,
    ) -> Result<NewLogin, AccountError> {
        let refused = || {
            let text = "this set-up link was used or is of an earlier start; the console of the program shows the one that counts";
            AccountError::Forbidden(Reason::new(Code::OldSetupLink, text))
        };
        if !self.is_setup(secret) {
            return Err(refused());
        }
        let hash = self.passwords.hash(password.expose()).await?;
        let new = NewUser {
            name: name.to_owned(),
            password,
            role: Role::Admin,
            cameras: CameraScope::All,
        };
        let principal = Principal {
            name: "set-up link".into(),
            ..Principal::anybody()
        };
        let actor = Actor {
            principal: &principal,
            ip: client.ip,
        };
        let editing = self.editing.lock().await;
        // Two with the same link: one is first.
        if self.has_local_users() || !self.is_setup(secret) {
            return Err(refused());
        }
        let user = self.insert_user(actor, &new, hash).await?;
        *self.setup_secret() = None;
        drop(editing);
        self.begin_login(&user, client).await
    }

    fn is_setup(&self, secret: &str) -> bool {
        self.setup_secret().as_ref().is_some_and(|open| {
            let (open, shown) = (open.expose().as_bytes(), secret.as_bytes());
            aws_lc_rs::constant_time::verify_slices_are_equal(open, shown).is_ok()
        })
    }

    fn setup_secret(&self) -> std::sync::MutexGuard<'_, Option<Secret>> {
        self.setup.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
