//! The queue in front of the database: what handles media or keepalives writes here and never waits.
//!
//! - The queue is bounded; when it is full, the write is dropped and counted, with one log line per time of trouble.
//! - One task writes, many rows to a transaction. While the database is away it tries the same rows again, in order.
//! - A row that the database refuses for good is dropped alone, not with the others of its transaction.
//! - Where nothing waits it deletes what was kept for long enough, a little at a time (`pruning`).
//! - Who must know that a row is kept before saying so to somebody waits for it ([`StoreWriter::keep`]).

mod pruning;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Store;
use crate::error::StoreError;
use crate::health::{Counters, DatabaseHealth};
use crate::retention::Retention;
use crate::rows::Write;
use pruning::Pruning;

/// How many writes may wait; one more is dropped.
pub const QUEUE_LIMIT: usize = 4096;
/// Most rows in one transaction.
const BATCH_LIMIT: usize = 256;
/// Pause before rows that could not be written are tried again; doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// A database that is back is written to within this time.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How much longer than asked a statement under way may take at the end.
const GRACE: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum Message {
    Write(Box<Write>),
    /// Answered when it is written, or lost.
    Keep(Box<Write>, oneshot::Sender<bool>),
    /// Answered when everything before it is written or given up.
    Flush(oneshot::Sender<()>),
}

/// A row is not kept, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// Too many rows wait.
    #[error(
        "the database does not keep up, so the change may be forgotten with the next restart; try again in a moment"
    )]
    QueueFull,
    /// The database does not want it.
    #[error(
        "the database refused the change, which is forgotten with the next restart; the log says why"
    )]
    Refused,
    /// The database is away or slow.
    #[error(
        "the database cannot be written at the moment; the change is remembered and will be written when it can be"
    )]
    NotYet,
    /// The program ends.
    #[error("the server is shutting down")]
    Ending,
}

/// Where to write. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StoreWriter {
    queue: mpsc::Sender<Message>,
    counters: Arc<Counters>,
}

/// The task that writes, for its owner.
#[derive(Debug)]
pub struct WriterTask {
    task: JoinHandle<()>,
    stop: mpsc::Sender<Instant>,
}

impl StoreWriter {
    /// Starts the task that writes to `store`, where history stays for ever.
    pub fn spawn(store: Arc<dyn Store>) -> (Self, WriterTask) {
        Self::spawn_with(store, Retention::default())
    }

    /// Starts the task that writes to `store`, and deletes there what was kept for long enough.
    pub fn spawn_with(store: Arc<dyn Store>, retention: Retention) -> (Self, WriterTask) {
        Self::start(store, retention, QUEUE_LIMIT)
    }

    fn start(store: Arc<dyn Store>, retention: Retention, limit: usize) -> (Self, WriterTask) {
        let (queue, messages) = mpsc::channel(limit);
        let (stop, stopped) = mpsc::channel(1);
        let counters = Arc::new(Counters::default());
        let worker = Worker {
            store,
            counters: Arc::clone(&counters),
            messages,
            stopped,
            deadline: None,
            pruning: Pruning::new(retention),
        };
        let task = tokio::spawn(worker.run());
        (Self { queue, counters }, WriterTask { task, stop })
    }

    /// Queues a row; never waits.
    pub fn write(&self, write: Write) {
        // Counted and said; there is nobody else to tell.
        let _ = self.queue(Message::Write(Box::new(write)));
    }

    /// Queues a row and waits until it is written, for at most `patience`.
    ///
    /// # Errors
    /// When it is not written, or not yet.
    pub async fn keep(&self, write: Write, patience: Duration) -> Result<(), NotKept> {
        let (done, wait) = oneshot::channel();
        self.queue(Message::Keep(Box::new(write), done))?;
        match tokio::time::timeout(patience, wait).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(NotKept::Refused),
            Ok(Err(_)) => Err(NotKept::Ending),
            Err(_) => Err(NotKept::NotYet),
        }
    }

    fn queue(&self, message: Message) -> Result<(), NotKept> {
        match self.queue.try_send(message) {
            Ok(()) => {
                if self.counters.not_full() {
                    let dropped = self.dropped();
                    tracing::info!(dropped, "the database keeps up again");
                }
                Ok(())
            }
            Err(TrySendError::Closed(_)) => {
                self.counters.count_dropped();
                tracing::debug!("a row came after the database writer had ended");
                Err(NotKept::Ending)
            }
            Err(TrySendError::Full(_)) => {
                self.counters.count_dropped();
                if self.counters.full() {
                    tracing::error!(
                        limit = self.queue.max_capacity(),
                        "the database does not keep up: rows are being dropped; streams are not affected"
                    );
                }
                Err(NotKept::QueueFull)
            }
        }
    }

    /// Waits until everything queued so far is written, or given up.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            // The sender is dropped only with the task.
            let _ = wait.await;
        }
    }

    /// How the writing goes.
    #[must_use]
    pub fn health(&self) -> DatabaseHealth {
        let limit = self.queue.max_capacity();
        self.counters.health(limit - self.queue.capacity(), limit)
    }

    /// Rows dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counters.dropped()
    }

    /// Rows that the database refused for good.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counters.refused()
    }
}

impl WriterTask {
    /// Writes what is queued, for at most `patience`, then ends.
    pub async fn shutdown(mut self, patience: Duration) {
        // Fails only if the task has ended already.
        let _ = self.stop.send(Instant::now() + patience).await;
        match tokio::time::timeout(patience + GRACE, &mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the database writer ended badly"),
            Err(_) => {
                self.task.abort();
                tracing::error!("the database did not finish in time; its last rows are lost");
            }
        }
    }
}

struct Worker {
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
    messages: mpsc::Receiver<Message>,
    stopped: mpsc::Receiver<Instant>,
    /// Set once the end was asked for.
    deadline: Option<Instant>,
    pruning: Pruning,
}

impl Worker {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_LIMIT);
        loop {
            let count = tokio::select! {
                biased;
                count = self.messages.recv_many(&mut batch, BATCH_LIMIT) => count,
                stopped = self.stopped.recv(), if self.deadline.is_none() => {
                    self.begin_end(stopped);
                    continue;
                }
                () = self.pruning.is_due(), if self.deadline.is_none() => {
                    self.prune().await;
                    continue;
                }
            };
            if count == 0 {
                return;
            }
            self.handle(&mut batch).await;
        }
    }

    /// No more is taken; what is queued is still written.
    fn begin_end(&mut self, deadline: Option<Instant>) {
        self.deadline = Some(deadline.unwrap_or_else(Instant::now));
        self.messages.close();
    }

    async fn handle(&mut self, batch: &mut Vec<Message>) {
        let mut writes = Vec::with_capacity(batch.len());
        let mut kept = Vec::new();
        let mut flushes = Vec::new();
        for message in batch.drain(..) {
            match message {
                Message::Write(write) => writes.push(*write),
                Message::Keep(write, done) => {
                    kept.push((writes.len(), done));
                    writes.push(*write);
                }
                Message::Flush(done) => flushes.push(done),
            }
        }
        let lost = if writes.is_empty() {
            Vec::new()
        } else {
            self.write(&writes).await
        };
        // Nobody may wait any more, for any of these.
        for (index, done) in kept {
            let _ = done.send(!lost.contains(&index));
        }
        for done in flushes {
            let _ = done.send(());
        }
    }

    /// Writes them; returns the places of those that are lost.
    async fn write(&mut self, writes: &[Write]) -> Vec<usize> {
        let mut lost = Vec::new();
        match self.apply_patiently(writes).await {
            Ok(()) => {}
            // The end came while the database was away.
            Err(error) if error.is_passing() || writes.len() == 1 => {
                for (index, write) in writes.iter().enumerate() {
                    self.give_up(write, &error);
                    lost.push(index);
                }
            }
            // One row is to blame: find it.
            Err(_) => {
                for (index, write) in writes.iter().enumerate() {
                    if let Err(error) = self.apply_patiently(std::slice::from_ref(write)).await {
                        self.give_up(write, &error);
                        lost.push(index);
                    }
                }
            }
        }
        lost
    }

    /// Tries until it works, the database refuses for good, or the end has come.
    async fn apply_patiently(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            self.counters.begin();
            match self.store.apply(writes).await {
                Ok(()) => {
                    if self.counters.end(Ok(writes.len())) {
                        tracing::info!("the database can be written again");
                    }
                    return Ok(());
                }
                // It answers, so it is well; the row is not.
                Err(error) if !error.is_passing() => {
                    self.counters.end(Ok(0));
                    return Err(error);
                }
                Err(error) => {
                    if self.counters.end(Err(&error)) {
                        tracing::error!(
                            error = error.with_causes(),
                            "the database cannot be written; trying on, and streams are not affected"
                        );
                    }
                    if !self.has_time() {
                        return Err(error);
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                stopped = self.stopped.recv(), if self.deadline.is_none() => self.begin_end(stopped),
            }
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Deletes some of what is old. Whoever ends the program does not wait for that.
    async fn prune(&mut self) {
        self.counters.begin();
        let done = tokio::select! {
            done = self.store.prune(&self.pruning.retention, Timestamp::now()) => done,
            stopped = self.stopped.recv() => return self.begin_end(stopped),
        };
        match done {
            Ok(pruned) => {
                if self.counters.end(Ok(0)) {
                    tracing::info!("the database can be written again");
                }
                self.pruning.on_deleted(pruned);
            }
            Err(error) if error.is_passing() => {
                if self.counters.end(Err(&error)) {
                    tracing::error!(
                        error = error.with_causes(),
                        "the database cannot be written; trying on, and streams are not affected"
                    );
                }
                self.pruning.on_passing_failure();
            }
            Err(error) => {
                self.counters.end(Ok(0));
                tracing::error!(
                    error = error.with_causes(),
                    "old rows cannot be deleted; trying again in an hour"
                );
                self.pruning.end_round();
            }
        }
    }

    fn has_time(&self) -> bool {
        self.deadline
            .is_none_or(|deadline| Instant::now() < deadline)
    }

    fn give_up(&self, write: &Write, error: &StoreError) {
        self.counters.count_refused();
        tracing::error!(
            subject = write.subject(),
            error = error.with_causes(),
            "a row could not be written and is lost"
        );
    }
}

#[cfg(test)]
mod tests;
