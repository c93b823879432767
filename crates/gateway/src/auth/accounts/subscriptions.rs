//! The browsers that are notified by Web Push, each by whom and how.
//!
//! A subscription is of the login that made it: when that ends, by whatever way, nothing more is sent, and the next login in
//! the same browser takes it up again. Where accounts are off all belong to everybody.

use apiary_store::{
    AccountWrite, CameraScope, LoginId, PushKinds, QuietHours, SubscriptionId, SubscriptionRow,
    UserId,
};
use jiff::Timestamp;

use super::{AccountError, Accounts, Actor, label};
use crate::auth::principal::{Principal, Who};
use crate::reason::{Code, Reason};

/// Longest name of a browser.
const MAX_NAME: usize = 100;
/// Most browsers of one user, or of an installation without accounts.
const MAX_PER_USER: usize = 20;
/// What people call it.
const THING: &str = "subscription";

/// What a browser says of itself.
#[derive(Clone)]
pub struct NewSubscription {
    /// Where its push service takes messages for it.
    pub endpoint: String,
    /// Its public key, in base64url.
    pub p256dh: String,
    /// The secret that is shared with it, in base64url.
    pub auth: String,
    /// The `https` origin of the page.
    pub site: Option<String>,
    /// What it is called, at first.
    pub name: String,
    /// The endpoint of the one whose place it takes.
    pub replaces: Option<String>,
    /// What it wants to hear of, at first.
    pub kinds: PushKinds,
}

/// What is to change of a subscription.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionChange {
    /// Another name.
    pub name: Option<String>,
    /// Other cameras.
    pub cameras: Option<CameraScope>,
    /// Other kinds.
    pub kinds: Option<PushKinds>,
    /// Other quiet hours, or none.
    pub quiet: Option<Option<QuietHours>>,
    /// Whether it is sent nothing for now.
    pub paused: Option<bool>,
}

impl Accounts {
    /// Takes note of a browser, or of the login that it has now. One that is known already keeps what was chosen for it.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] for who is no user, [`AccountError::Bad`], [`AccountError::Conflict`] when there are too
    /// many, [`AccountError::Store`].
    pub async fn subscribe(
        &self,
        actor: Actor<'_>,
        new: NewSubscription,
    ) -> Result<SubscriptionRow, AccountError> {
        let _editing = self.editing.lock().await;
        let (user, login) = owner(actor.principal)?;
        let there = self.subscription_at(&new.endpoint);
        let replaced = new
            .replaces
            .as_deref()
            .and_then(|old| self.subscription_at(old));
        // A browser is of whoever is logged in there now; what another one chose in it is not for them.
        let (known, others): (Vec<_>, Vec<_>) = [there, replaced]
            .into_iter()
            .flatten()
            .partition(|row| row.user == user);
        let row = SubscriptionRow {
            login,
            endpoint: new.endpoint,
            p256dh: new.p256dh,
            auth: new.auth,
            site: new.site,
            ..match known.first() {
                Some(known) => known.clone(),
                None => self.first_wishes(user, &new.name, new.kinds)?,
            }
        };
        if known.first() == Some(&row) {
            return Ok(row);
        }
        // An endpoint is there once, and one that is replaced is dead.
        let gone = known.iter().skip(1).chain(&others);
        let mut writes: Vec<_> = gone
            .map(|row| AccountWrite::RemoveSubscription(row.subscription))
            .collect();
        writes.push(AccountWrite::Subscription(row.clone()));
        if known.is_empty() {
            let subject = row.name.clone();
            self.grant(actor, "push.subscribe", subject, writes).await?;
        } else {
            self.store(&writes, "nothing was changed").await?;
            self.know(writes);
        }
        Ok(row)
    }

    /// A subscription of a browser that was never heard of, without what the browser says.
    fn first_wishes(
        &self,
        user: Option<UserId>,
        name: &str,
        kinds: PushKinds,
    ) -> Result<SubscriptionRow, AccountError> {
        if self.subscriptions_where(|row| row.user == user).len() >= MAX_PER_USER {
            let problem =
                format!("{MAX_PER_USER} devices are notified, the most of one user; remove one");
            let reason = Reason::new(Code::TooMany, problem).with("most", MAX_PER_USER);
            return Err(AccountError::Conflict(reason));
        }
        Ok(SubscriptionRow {
            subscription: SubscriptionId::random(),
            user,
            login: None,
            endpoint: String::new(),
            p256dh: String::new(),
            auth: String::new(),
            site: None,
            name: label("the name", name, MAX_NAME)?,
            cameras: CameraScope::All,
            kinds,
            quiet: None,
            paused_at: None,
            created_at: Timestamp::now(),
        })
    }

    /// Changes what a browser of one's own is sent.
    ///
    /// # Errors
    /// [`AccountError::NoSuch`], [`AccountError::Bad`], [`AccountError::Store`].
    pub async fn change_subscription(
        &self,
        actor: Actor<'_>,
        subscription: SubscriptionId,
        change: SubscriptionChange,
    ) -> Result<SubscriptionRow, AccountError> {
        let _editing = self.editing.lock().await;
        let mut row = self.own_subscription(actor.principal, subscription)?;
        if let Some(name) = change.name {
            row.name = label("the name", &name, MAX_NAME)?;
        }
        row.cameras = change.cameras.unwrap_or(row.cameras);
        row.kinds = change.kinds.unwrap_or(row.kinds);
        row.quiet = change.quiet.unwrap_or(row.quiet);
        row.paused_at = match change.paused {
            None => row.paused_at,
            Some(true) => row.paused_at.or_else(|| Some(Timestamp::now())),
            Some(false) => None,
        };
        let writes = vec![AccountWrite::Subscription(row.clone())];
        self.store(&writes, "nothing was changed").await?;
        self.know(writes);
        Ok(row)
    }

    /// Ends a subscription of one's own.
    ///
    /// # Errors
    /// [`AccountError::NoSuch`], [`AccountError::Store`].
    pub async fn remove_subscription(
        &self,
        actor: Actor<'_>,
        subscription: SubscriptionId,
    ) -> Result<(), AccountError> {
        let _editing = self.editing.lock().await;
        let row = self.own_subscription(actor.principal, subscription)?;
        let writes = vec![AccountWrite::RemoveSubscription(subscription)];
        self.revoke(actor, "push.unsubscribe", row.name, writes)
            .await
    }

    /// A push service knows no such browser any more. One that has moved meanwhile stays.
    pub(crate) async fn forget_subscription(&self, gone: &SubscriptionRow) {
        let _editing = self.editing.lock().await;
        let row = self.subscription(gone.subscription);
        if row.is_none_or(|row| row.endpoint != gone.endpoint) {
            return;
        }
        let writes = vec![AccountWrite::RemoveSubscription(gone.subscription)];
        self.know(writes.clone());
        let kept = self.store(&writes, "it is tried again after the next start");
        if let Err(error) = kept.await {
            tracing::warn!("a browser that is gone cannot be removed: {error}");
        }
    }

    /// The subscriptions of who asks, oldest first.
    pub fn subscriptions_of(&self, asker: &Principal) -> Vec<SubscriptionRow> {
        let mut rows = self.subscriptions_where(|row| owns(asker, row));
        rows.sort_by_key(|row| row.created_at);
        rows
    }

    /// A subscription of who asks.
    ///
    /// # Errors
    /// [`AccountError::NoSuch`].
    pub fn own_subscription(
        &self,
        asker: &Principal,
        subscription: SubscriptionId,
    ) -> Result<SubscriptionRow, AccountError> {
        let row = self.subscription(subscription);
        row.filter(|row| owns(asker, row))
            .ok_or(AccountError::NoSuch(THING))
    }

    /// A subscription as it is now.
    pub(crate) fn subscription(&self, subscription: SubscriptionId) -> Option<SubscriptionRow> {
        self.directory().subscription(subscription).cloned()
    }

    /// Those that are so.
    pub(crate) fn subscriptions_where(
        &self,
        is_so: impl Fn(&SubscriptionRow) -> bool,
    ) -> Vec<SubscriptionRow> {
        let directory = self.directory();
        directory
            .subscriptions()
            .filter(|row| is_so(row))
            .cloned()
            .collect()
    }

    /// How the one behind a subscription stands now; `None` once nothing may be sent.
    pub(crate) fn recipient(&self, row: &SubscriptionRow) -> Option<Principal> {
        if !self.enabled {
            return Some(Principal::anybody());
        }
        self.current(&Who::Login(row.user?, row.login?))
    }

    fn subscription_at(&self, endpoint: &str) -> Option<SubscriptionRow> {
        let mut found = self.subscriptions_where(|row| row.endpoint == endpoint);
        found.pop()
    }
}

/// For whom a browser subscribes.
fn owner(principal: &Principal) -> Result<(Option<UserId>, Option<LoginId>), AccountError> {
    match principal.who {
        Who::Anybody => Ok((None, None)),
        Who::Login(user, login) => Ok((Some(user), Some(login))),
        Who::Token(..) | Who::Share(_) | Who::Signed(_) => {
            let problem = "only a browser that is logged in can be notified";
            Err(AccountError::Forbidden(Reason::new(
                Code::NeedsLogin,
                problem,
            )))
        }
    }
}

/// Where accounts are off all are everybody's.
fn owns(principal: &Principal, row: &SubscriptionRow) -> bool {
    match principal.who {
        Who::Anybody => true,
        Who::Login(user, _) => row.user == Some(user),
        Who::Token(..) | Who::Share(_) | Who::Signed(_) => false,
    }
}
