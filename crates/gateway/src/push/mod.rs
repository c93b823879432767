//! Web Push: browsers are notified of what cameras notice, also while no page is open.
//!
//! `accounts` keep who subscribed. One [`courier`] takes note of what happens ([`note`]), asks who wants to hear of it and may
//! ([`audience`]), keeps it in an [`outbox`] and has it sent ([`delivery`]), signed by the installation's key ([`vapid`]).
//! Nothing live waits for any of it, and what waits is lost with the program: a notification is soon old.

mod audience;
mod counts;
mod courier;
mod delivery;
mod note;
mod outbox;
mod vapid;

use std::sync::Arc;
use std::time::Duration;

use apiary_store::{AccountStore, StoreError, SubscriptionRow};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use audience::is_zone;
pub use counts::Counts;
pub use delivery::{BadSubscription, SendError};
pub use vapid::BadVapidKey;

use crate::auth::{Accounts, NewSubscription};
use crate::config::PushConfig;
use crate::mqtt::tls::TlsFileError;
use crate::supervisor::Supervisor;
use crate::webhooks::door::Door;
use courier::{Courier, Shared};
use delivery::{Manner, Post};
use vapid::VapidKey;

/// Under which name the key pair is kept.
const KEY: &str = "web-push";
/// Most trials at once.
const MAX_TRIALS: usize = 4;
/// For so long a push service keeps the message of a trial, in seconds.
const TRIAL_TTL_S: u64 = 60;
/// Time for the task to end.
const END_PATIENCE: Duration = Duration::from_millis(300);

/// Why notifications cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum PushStartError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate authority of push services cannot be used.
    #[error(transparent)]
    Authority(#[from] TlsFileError),
    /// The database holds something else in its place.
    #[error(
        "the key of notifications in the database (server_keys, {KEY}) cannot be used: {0}; delete it, and devices must \
         switch notifications on anew"
    )]
    Key(#[from] BadVapidKey),
}

/// Why no trial was made.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// They are off.
    #[error("notifications are off (push.enabled)")]
    Off,
    /// Others are under way.
    #[error("too many trials at once; try again in a moment")]
    Busy,
}

/// Notifications of the program; clones are the same.
#[derive(Clone)]
pub struct Push(Arc<Inner>);

struct Inner {
    counts: Arc<Counts>,
    /// `None` where nothing is sent.
    post: Option<Arc<Post>>,
    trials: Semaphore,
}

impl Push {
    /// As the configuration says; the key pair is made once and kept with the accounts.
    ///
    /// # Errors
    /// See [`PushStartError`].
    pub async fn open(
        config: &PushConfig,
        store: &dyn AccountStore,
    ) -> Result<Self, PushStartError> {
        let post = if config.enabled {
            let kept = store.server_key(KEY, &VapidKey::propose()).await?;
            Some(Arc::new(Post {
                key: VapidKey::new(&kept)?,
                door: Door::new("push.ca", config.ca.as_deref(), &config.allow_private)?,
                allowed: config.allow_private.clone(),
                contact: config.contact.clone(),
            }))
        } else {
            None
        };
        Ok(Self(Arc::new(Inner {
            counts: Arc::default(),
            post,
            trials: Semaphore::new(MAX_TRIALS),
        })))
    }

    /// What was counted so far.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// The key that browsers are given when they subscribe; `None` where nothing is sent.
    pub fn public_key(&self) -> Option<String> {
        self.0.post.as_ref().map(|post| post.key.public())
    }

    /// Whether what a browser says of itself can be sent to.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(&self, new: &NewSubscription) -> Result<(), BadSubscription> {
        let post = self.0.post.as_ref().ok_or(BadSubscription::Off)?;
        post.check(new)
    }

    /// From now on browsers are told what happens.
    pub fn tell_of(&self, supervisor: &Supervisor, accounts: &Arc<Accounts>) -> PushTask {
        let stop = CancellationToken::new();
        let task = self.0.post.as_ref().map(|post| {
            let shared = Shared {
                supervisor: supervisor.clone(),
                accounts: Arc::clone(accounts),
                post: Arc::clone(post),
                counts: Arc::clone(&self.0.counts),
            };
            tokio::spawn(Courier::new(shared, stop.clone()).keep())
        });
        PushTask { stop, task }
    }

    /// Sends a message to a browser at once, whatever was chosen for it, to see whether it comes.
    ///
    /// # Errors
    /// When none is sent at all.
    pub async fn try_out(
        &self,
        row: &SubscriptionRow,
    ) -> Result<Result<(), SendError>, TrialError> {
        let post = self.0.post.as_ref().ok_or(TrialError::Off)?;
        let _permit = self.0.trials.try_acquire().map_err(|_| TrialError::Busy)?;
        let manner = Manner {
            ttl_s: TRIAL_TTL_S,
            urgency: "high",
            topic: None,
        };
        Ok(post.send(row, &note::trial(Timestamp::now()), manner).await)
    }
}

/// The task behind [`Push`].
pub struct PushTask {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl PushTask {
    /// Ends; what waits is not sent any more.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Some(mut task) = self.task
            && timeout(END_PATIENCE, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}
