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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    /// A receiver that is told nothing by itself.
    struct Rig {
        receiver: Receiver,
        _dir: tempfile::TempDir,
    }

    impl Rig {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (queue, error) = Queue::open(dir.path().join("t.queue"), 10);
            assert!(error.is_none(), "{error:?}");
            let variables = [
                ("APIARY_WEBHOOKS_URLS", "https://hooks.example/"),
                ("APIARY_WEBHOOKS_SECRET", "0123456789abcdef"),
            ];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let environment = Environment {
                variables: variables.into(),
                ..Environment::default()
            };
            let config = Config::load(None, &environment).unwrap().webhooks.unwrap();
            let receiver = Receiver {
                place: 0,
                url: config.receivers[0].clone(),
                sender: Arc::new(Sender::new(&config).unwrap()),
                queue: Arc::new(Mutex::new(queue)),
                inbox: mpsc::channel(1).1,
                counts: Arc::new(Counts::new(1)),
                keep_for: Duration::from_secs(60),
                course: Course::default(),
            };
            Self {
                receiver,
                _dir: dir,
            }
        }

        async fn hold(&mut self, at: Timestamp) {
            self.receiver.hold(&Event::test(at)).await;
        }

        fn first(&self) -> Option<u64> {
            lock(&self.receiver.queue).first().map(|first| first.number)
        }

        async fn answer(&mut self, status: u16) {
            let number = self.first().unwrap();
            let status = StatusCode::from_u16(status).unwrap();
            let outcome = match status.is_success() {
                true => Ok(status),
                false => Err(DeliveryError::Status(status)),
            };
            self.receiver.settle(number, outcome).await;
        }

        fn dropped(&self) -> Vec<(&'static str, u64)> {
            let counts = self.receiver.counts.dropped.counts();
            counts.filter(|(_, count)| *count > 0).collect()
        }
    }

    #[tokio::test]
    async fn what_is_refused_again_and_again_makes_way() {
        let mut rig = Rig::new();
        for _ in 0..2 {
            rig.hold(Timestamp::now()).await;
        }
        for _ in 0..2 * REFUSALS {
            rig.answer(503).await;
        }
        for _ in 1..REFUSALS {
            rig.answer(400).await;
        }
        assert_eq!((rig.first(), rig.dropped()), (Some(1), vec![]));
        rig.answer(400).await;
        assert_eq!(
            (rig.first(), rig.dropped()),
            (Some(2), vec![("refused", 1)])
        );
        // The next one has as many tries.
        rig.answer(400).await;
        assert_eq!(rig.first(), Some(2));
        rig.answer(200).await;
        assert_eq!(rig.first(), None);
        let counts = &rig.receiver.counts;
        assert_eq!(counts.sent.get(), 1);
        assert_eq!(counts.failed.get(), u64::from(3 * REFUSALS + 1));
        assert_eq!(counts.queued(), 0);
    }

    #[tokio::test]
    async fn pauses_grow_while_it_takes_nothing_and_end_when_it_does() {
        let mut rig = Rig::new();
        for _ in 0..2 {
            rig.hold(Timestamp::now()).await;
        }
        for _ in 0..20 {
            rig.answer(500).await;
            assert!(rig.receiver.course.pause <= LONGEST_PAUSE);
        }
        assert!(rig.receiver.course.pause >= LONGEST_PAUSE / 2);
        rig.answer(200).await;
        assert_eq!(rig.receiver.course.pause, Duration::ZERO);
    }

    #[tokio::test]
    async fn what_is_too_old_is_not_sent_any_more() {
        let mut rig = Rig::new();
        rig.hold(Timestamp::now() - Duration::from_secs(61)).await;
        assert_eq!(rig.receiver.counts.queued(), 1);
        assert!(rig.receiver.next_attempt().await.is_none());
        assert_eq!(rig.dropped(), [("too_old", 1)]);
        rig.hold(Timestamp::now()).await;
        assert!(rig.receiver.next_attempt().await.is_some());
    }
}
