//! One receiver: keeps what happens in its queue, and sends it in order, one at a time, again and again until it is taken.
//!
//! A receiver that is slow or away holds up itself alone, and events are kept while an attempt is under way. The disk is
//! written to beside the tasks of the program, so that a slow one holds up only this.

use std::future::pending;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::StatusCode;
use jiff::Timestamp;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::counts::{self, Counts};
use super::delivery::{DeliveryError, Message, Sender};
use super::event::Event;
use super::queue::{Dropped, Queue};
use crate::backoff::Backoff;
use crate::config::ReceiverUrl;

/// The first pause after an attempt that failed.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest: a receiver that returns is sent what waits within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Attempts after which an event that the receiver refuses makes way for the next. With the pauses between them that is a
/// few minutes, in which a receiver may be set right.
const REFUSALS: u32 = 8;
/// Before going on after a panic, which may well come again.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// An attempt, after a pause: the event's number in the queue, and what came of it. Nothing where the queue is empty by then.
type Attempt = BoxFuture<'static, Option<Outcome>>;
type Outcome = (u64, Result<StatusCode, DeliveryError>);

pub(super) struct Receiver {
    /// Its place among all.
    pub(super) place: usize,
    pub(super) url: ReceiverUrl,
    pub(super) sender: Arc<Sender>,
    pub(super) queue: Arc<Mutex<Queue>>,
    pub(super) inbox: mpsc::Receiver<Arc<Event>>,
    pub(super) counts: Arc<Counts>,
    /// An event that is older is dropped.
    pub(super) keep_for: Duration,
    pub(super) course: Course,
}

/// How it goes with a receiver.
pub(super) struct Course {
    random: StdRng,
    backoff: Backoff,
    /// Before the next attempt.
    pause: Duration,
    /// How often it refused the event whose turn it is.
    refusals: u32,
    /// It was said that it takes nothing.
    is_away: bool,
    /// It was said that events are dropped.
    is_dropping: bool,
    /// It was said that events cannot be written.
    is_unwritten: bool,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            random: StdRng::from_os_rng(),
            backoff: Backoff::between(FIRST_PAUSE, LONGEST_PAUSE),
            pause: Duration::ZERO,
            refusals: 0,
            is_away: false,
            is_dropping: false,
            is_unwritten: false,
        }
    }
}

impl Receiver {
    /// Runs until no more events come; what waits then is in the file. A panic loses nothing that waits.
    pub(super) async fn keep(mut self) {
        while AssertUnwindSafe(self.run()).catch_unwind().await.is_err() {
            tracing::error!(receiver = %self.url, "sending events failed by an internal error; going on");
            sleep(AFTER_PANIC).await;
        }
    }

    async fn run(&mut self) {
        let mut attempt = None;
        loop {
            if attempt.is_none() {
                attempt = self.next_attempt().await;
            }
            tokio::select! {
                event = self.inbox.recv() => match event {
                    Some(event) => self.hold(&event).await,
                    None => return,
                },
                outcome = under_way(&mut attempt) => {
                    attempt = None;
                    if let Some((number, outcome)) = outcome {
                        self.settle(number, outcome).await;
                    }
                }
            }
        }
    }

    /// Sends the event whose turn it is after the pause; none where nothing waits.
    async fn next_attempt(&mut self) -> Option<Attempt> {
        let keep_for = i64::try_from(self.keep_for.as_secs()).unwrap_or(i64::MAX);
        let oldest = Timestamp::now().as_second().saturating_sub(keep_for);
        let written = self.on_queue(move |queue| queue.drop_before(oldest)).await;
        self.note_written(&written);
        if self.on_queue(|queue| queue.len()).await == 0 {
            return None;
        }
        let (sender, url) = (Arc::clone(&self.sender), self.url.clone());
        let (queue, pause) = (Arc::clone(&self.queue), self.course.pause);
        Some(Box::pin(async move {
            sleep(pause).await;
            // Until now, another may have made room.
            let first = tokio::task::spawn_blocking(move || lock(&queue).first().cloned());
            let first = first.await.expect("the queue does not panic")?;
            let message = Message {
                id: first.id,
                kind: first.kind,
                body: first.body,
            };
            Some((first.number, sender.send(&url, &message).await))
        }))
    }

    async fn hold(&mut self, event: &Event) {
        let (id, kind, at, body) = (
            event.id.clone(),
            event.kind,
            event.at.as_second(),
            event.body.clone(),
        );
        let written = self
            .on_queue(move |queue| queue.push(id, kind, at, body))
            .await;
        self.note_written(&written);
    }

    async fn settle(&mut self, number: u64, outcome: Result<StatusCode, DeliveryError>) {
        match outcome {
            Ok(_) => {
                self.counts.sent.add_one();
                self.on_taken();
            }
            Err(error) => {
                self.counts.failed.add_one();
                self.on_failed(&error);
                if self.course.refusals < REFUSALS {
                    return;
                }
                self.course.refusals = 0;
                self.counts.drop_some(counts::REFUSED, 1);
                tracing::warn!(receiver = %self.url, "an event was refused too often and is dropped: {error}");
            }
        }
        let written = self.on_queue(move |queue| queue.done(number)).await;
        self.note_written(&written);
    }

    fn on_taken(&mut self) {
        let course = &mut self.course;
        course.backoff.reset();
        course.pause = Duration::ZERO;
        course.refusals = 0;
        course.is_dropping = false;
        if std::mem::take(&mut course.is_away) {
            tracing::info!(receiver = %self.url, "a webhook takes events again");
        }
    }

    fn on_failed(&mut self, error: &DeliveryError) {
        let course = &mut self.course;
        course.pause = course.backoff.pause(&mut course.random);
        if error.is_refusal() {
            course.refusals += 1;
        }
        if std::mem::replace(&mut course.is_away, true) {
            tracing::debug!(receiver = %self.url, "a webhook still takes no event: {error}");
        } else {
            tracing::warn!(receiver = %self.url, "a webhook takes no event; they wait: {error}");
        }
    }

    /// Does something with the queue where waiting for the disk is no harm, and counts what that changed.
    async fn on_queue<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut Queue) -> T + Send + 'static,
    ) -> T {
        let queue = Arc::clone(&self.queue);
        let done = tokio::task::spawn_blocking(move || {
            let mut queue = lock(&queue);
            let result = act(&mut queue);
            (result, queue.len(), queue.take_dropped())
        });
        let (result, waiting, dropped) = done.await.expect("the queue does not panic");
        self.counts.waits(self.place, waiting);
        self.note_dropped(dropped);
        result
    }

    fn note_dropped(&mut self, dropped: Dropped) {
        self.counts.drop_some(counts::QUEUE_FULL, dropped.full);
        self.counts.drop_some(counts::TOO_OLD, dropped.old);
        if dropped != Dropped::default() && !std::mem::replace(&mut self.course.is_dropping, true) {
            tracing::warn!(
                receiver = %self.url,
                full = dropped.full,
                old = dropped.old,
                "events that a webhook did not take are dropped, the oldest first: too many wait, or for too long"
            );
        }
    }

    fn note_written(&mut self, written: &io::Result<()>) {
        match written {
            Ok(()) => self.course.is_unwritten = false,
            Err(error) if !std::mem::replace(&mut self.course.is_unwritten, true) => {
                tracing::error!(
                    receiver = %self.url,
                    "events for a webhook cannot be written to the data directory, and would be lost by a restart: {error}"
                )
            }
            Err(_) => {}
        }
    }
}

/// What comes of an attempt; without one it never comes.
async fn under_way(attempt: &mut Option<Attempt>) -> Option<Outcome> {
    match attempt {
        Some(attempt) => attempt.await,
        None => pending().await,
    }
}

/// Each step leaves the queue whole; only the file may be behind.
fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
