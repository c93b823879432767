//! The task that takes note of what happens, and sends it to who wants to hear of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use apiary_store::{PushKind, SubscriptionRow};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::audience::{may_hear, wants};
use super::counts::{self, Counts};
use super::delivery::{Manner, Post, SendError};
use super::note::Note;
use super::outbox::{Due, Outbox, Outcome, Slot};
use crate::auth::Accounts;
use crate::config::EventKind;
use crate::supervisor::{CameraSnapshot, Supervisor, SupervisorEvent};
use crate::webhooks::event::Translator;

/// A camera that is back by then was never away, as far as people are concerned.
const OFFLINE_DELAY: Duration = Duration::from_secs(60);
/// Before going on after a panic, which may well come again.
const AFTER_PANIC: Duration = Duration::from_secs(1);

pub(super) struct Courier {
    shared: Arc<Shared>,
    events: broadcast::Receiver<SupervisorEvent>,
    translator: Translator,
    outbox: Outbox,
    under_way: JoinSet<(Slot, Outcome)>,
    stop: CancellationToken,
}

/// What attempts need too.
pub(super) struct Shared {
    pub(super) supervisor: Supervisor,
    pub(super) accounts: Arc<Accounts>,
    pub(super) post: Arc<Post>,
    pub(super) counts: Arc<Counts>,
}

impl Courier {
    /// Takes note from now on.
    pub(super) fn new(shared: Shared, stop: CancellationToken) -> Self {
        Self {
            events: shared.supervisor.events(),
            translator: Translator::begin(&shared.supervisor.cameras()),
            shared: Arc::new(shared),
            outbox: Outbox::new(StdRng::from_os_rng()),
            under_way: JoinSet::new(),
            stop,
        }
    }

    /// Runs until it is stopped. A panic loses one event.
    pub(super) async fn keep(mut self) {
        while AssertUnwindSafe(self.run()).catch_unwind().await.is_err() {
            tracing::error!("sending notifications failed by an internal error; going on");
            sleep(AFTER_PANIC).await;
        }
    }

    async fn run(&mut self) {
        loop {
            self.send_what_is_due();
            self.shared.counts.wait(self.outbox.len());
            let next = self.outbox.poll_timeout();
            tokio::select! {
                () = self.stop.cancelled() => return,
                event = self.events.recv() => match event {
                    Ok(event) => self.on_event(&event),
                    Err(RecvError::Lagged(lost)) => self.on_lag(lost),
                    Err(RecvError::Closed) => return,
                },
                Some(ended) = self.under_way.join_next() => {
                    let (slot, outcome) = ended.expect("an attempt is neither cancelled nor panics");
                    self.outbox.settle(Instant::now(), slot, outcome, &self.shared.counts);
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    fn on_event(&mut self, event: &SupervisorEvent) {
        match event {
            SupervisorEvent::CameraEvent(event) => {
                if let Some(note) = Note::of(event) {
                    self.tell(&note, Duration::ZERO);
                }
            }
            SupervisorEvent::CameraChanged(camera) => self.on_camera(camera),
            SupervisorEvent::StreamChanged(_)
            | SupervisorEvent::TalkChanged { .. }
            | SupervisorEvent::ViewerJoined { .. }
            | SupervisorEvent::ViewerGone { .. } => {}
        }
    }

    fn on_camera(&mut self, camera: &CameraSnapshot) {
        let happened = self.translator.on_camera(camera);
        if happened.is_some_and(|happened| happened.kind == EventKind::CameraOffline) {
            let note = Note::offline(camera.camera, Timestamp::now());
            self.tell(&note, OFFLINE_DELAY);
        }
    }

    /// How cameras stand is read anew; what they noticed in between is lost.
    fn on_lag(&mut self, lost: u64) {
        tracing::warn!(
            lost,
            "more happened at once than notifications could take note of"
        );
        self.shared.counts.dropped.count(counts::NOT_KEPT);
        for camera in self.shared.supervisor.cameras() {
            self.on_camera(&camera);
        }
    }

    fn tell(&mut self, note: &Note, delay: Duration) {
        let (accounts, now) = (&self.shared.accounts, Timestamp::now());
        for row in accounts.subscriptions_where(|row| wants(row, note, now)) {
            if !may_hear(accounts, &row, note) {
                continue;
            }
            let offered = self
                .outbox
                .offer(Instant::now(), row.subscription, note, delay);
            if let Err(why) = offered {
                self.shared.counts.dropped.count(why);
            }
        }
    }

    fn send_what_is_due(&mut self) {
        while let Some(due) = self.outbox.poll_due(Instant::now()) {
            let shared = Arc::clone(&self.shared);
            self.under_way.spawn(async move {
                let slot = due.slot;
                let attempt = AssertUnwindSafe(shared.attempt(&due)).catch_unwind().await;
                (slot, attempt.unwrap_or(Outcome::Never(counts::REFUSED)))
            });
        }
    }
}

impl Shared {
    /// Rights, wishes and what is so are those of this moment, not of when it happened.
    async fn attempt(&self, due: &Due) -> Outcome {
        let Due { slot, note, ttl_s } = due;
        let row = self.accounts.subscription(slot.subscription);
        let row = row.filter(|row| {
            wants(row, note, Timestamp::now()) && may_hear(&self.accounts, row, note)
        });
        let camera = self.supervisor.camera(note.camera);
        let is_back = note.kind == PushKind::Offline
            && camera
                .as_ref()
                .is_some_and(|camera| camera.online == Some(true));
        let Some(row) = row.filter(|_| !is_back) else {
            return Outcome::Never(counts::UNWANTED);
        };
        let name = camera.and_then(|camera| camera.label.name);
        let topic = note.topic();
        let manner = Manner {
            ttl_s: *ttl_s,
            urgency: note.urgency(),
            topic: Some(&topic),
        };
        let message = note.message(name.as_deref());
        match self.post.send(&row, &message, manner).await {
            Ok(()) => Outcome::Taken,
            Err(error) => self.on_failed(&row, error).await,
        }
    }

    async fn on_failed(&self, row: &SubscriptionRow, error: SendError) -> Outcome {
        self.counts.failed.add_one();
        let subscription = row.subscription;
        match error {
            SendError::Gone => {
                self.counts.gone.add_one();
                self.accounts.forget_subscription(row).await;
                tracing::info!(%subscription, "a device that was notified is gone");
                Outcome::Never(counts::UNWANTED)
            }
            SendError::Later(_, after) => {
                tracing::debug!(%subscription, "a notification waits: {error}");
                Outcome::Later(after)
            }
            SendError::Unreachable(_) => {
                tracing::debug!(%subscription, "a notification waits: {error}");
                Outcome::Later(None)
            }
            SendError::Subscription(_)
            | SendError::NotAllowed
            | SendError::Refused(_)
            | SendError::Internal => {
                tracing::warn!(%subscription, "a notification is dropped: {error}");
                Outcome::Never(counts::REFUSED)
            }
        }
    }
}
