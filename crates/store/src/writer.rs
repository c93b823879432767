//! The queue in front of the database: what handles media or keepalives writes here and never waits.
//!
//! - The queue is bounded; when it is full, the write is dropped and counted, with one log line per time of trouble.
//! - One task writes, many rows to a transaction. While the database is away it tries the same rows again, in order.
//! - A row that the database refuses for good is dropped alone, not with the others of its transaction.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Store;
use crate::error::StoreError;
use crate::rows::Write;

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
    /// Answered when everything before it is written or given up.
    Flush(oneshot::Sender<()>),
}

/// Where to write. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StoreWriter {
    queue: mpsc::Sender<Message>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    dropped: AtomicU64,
    refused: AtomicU64,
    /// The queue is full and this was said.
    complained: AtomicBool,
    /// Why rows cannot be written now.
    failing: Mutex<Option<String>>,
}

impl Counters {
    fn failing(&self) -> MutexGuard<'_, Option<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that writes, for its owner.
#[derive(Debug)]
pub struct WriterTask {
    task: JoinHandle<()>,
    stop: mpsc::Sender<Instant>,
}

impl StoreWriter {
    /// Starts the task that writes to `store`.
    pub fn spawn(store: Arc<dyn Store>) -> (Self, WriterTask) {
        Self::with_limit(store, QUEUE_LIMIT)
    }

    fn with_limit(store: Arc<dyn Store>, limit: usize) -> (Self, WriterTask) {
        let (queue, messages) = mpsc::channel(limit);
        let (stop, stopped) = mpsc::channel(1);
        let counters = Arc::new(Counters::default());
        let worker = Worker {
            store,
            counters: Arc::clone(&counters),
            messages,
            stopped,
            deadline: None,
        };
        let task = tokio::spawn(worker.run());
        (Self { queue, counters }, WriterTask { task, stop })
    }

    /// Queues a row; never waits.
    pub fn write(&self, write: Write) {
        match self.queue.try_send(Message::Write(Box::new(write))) {
            Ok(()) => {
                if self.counters.complained.swap(false, Ordering::Relaxed) {
                    let dropped = self.dropped();
                    tracing::info!(dropped, "the database keeps up again");
                }
            }
            Err(TrySendError::Closed(_)) => {
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::debug!("a session row came after the database writer had ended");
            }
            Err(TrySendError::Full(_)) => {
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                if !self.counters.complained.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        limit = self.queue.max_capacity(),
                        "the database does not keep up: session rows are being dropped; streams are not affected"
                    );
                }
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

    /// Rows that wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Why rows cannot be written now; `None` while they can.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let failing = self.counters.failing().clone();
        let is_full = self.queue.capacity() == 0;
        failing.or_else(|| is_full.then(|| "it does not keep up, and rows are dropped".to_owned()))
    }

    /// Rows dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counters.dropped.load(Ordering::Relaxed)
    }

    /// Rows that the database refused for good.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counters.refused.load(Ordering::Relaxed)
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
        let mut flushes = Vec::new();
        for message in batch.drain(..) {
            match message {
                Message::Write(write) => writes.push(*write),
                Message::Flush(done) => flushes.push(done),
            }
        }
        if !writes.is_empty() {
            self.write(&writes).await;
        }
        for done in flushes {
            // Nobody may wait any more.
            let _ = done.send(());
        }
    }

    async fn write(&mut self, writes: &[Write]) {
        match self.apply_patiently(writes).await {
            Ok(()) => {}
            // The end came while the database was away.
            Err(error) if error.is_passing() || writes.len() == 1 => {
                for write in writes {
                    self.give_up(write, &error);
                }
            }
            // One row is to blame: find it.
            Err(_) => {
                for write in writes {
                    if let Err(error) = self.apply_patiently(std::slice::from_ref(write)).await {
                        self.give_up(write, &error);
                    }
                }
            }
        }
    }

    /// Tries until it works, the database refuses for good, or the end has come.
    async fn apply_patiently(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut pause = RETRY_PAUSE_MIN;
        let mut complained = false;
        loop {
            match self.store.apply(writes).await {
                Ok(()) => {
                    *self.counters.failing() = None;
                    if complained {
                        tracing::info!("the database can be written again");
                    }
                    return Ok(());
                }
                Err(error) if error.is_passing() && self.has_time() => {
                    if !complained {
                        complained = true;
                        *self.counters.failing() = Some(format!("it cannot be written: {error}"));
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the database cannot be written; trying on"
                        );
                    }
                }
                Err(error) => {
                    if !error.is_passing() {
                        *self.counters.failing() = None; // it is there, and refuses this
                    }
                    return Err(error);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                stopped = self.stopped.recv(), if self.deadline.is_none() => self.begin_end(stopped),
            }
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    fn has_time(&self) -> bool {
        self.deadline
            .is_none_or(|deadline| Instant::now() < deadline)
    }

    fn give_up(&self, write: &Write, error: &StoreError) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            subject = write.subject(),
            error = error as &dyn std::error::Error,
            "a row could not be written and is lost"
        );
    }
}

#[cfg(test)]
mod tests;
