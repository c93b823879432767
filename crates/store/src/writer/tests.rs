//! The writer in front of a database that fails on command; time is tokio's paused clock.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use apiary_wire::id::{CameraId, StreamId};
use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use std::sync::atomic::Ordering;

use super::*;
use crate::retention::{PRUNE_BATCH, Pruned};
use crate::rows::{
    CameraEvent, CameraRow, EventFilter, EventId, InterruptedSession, SessionStatus, StreamSession,
    ViewerSession,
};

/// What the database does with the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Works,
    Away,
    Hangs,
    /// Refuses the session of this name for good.
    Refuses(&'static str),
}

struct Moody {
    mood: watch::Sender<Mood>,
    written: Mutex<Vec<String>>,
    transactions: AtomicU64,
    attempts: AtomicU64,
    /// Rows that are kept for long enough.
    old: Mutex<u64>,
    /// When so many of them were deleted.
    pruned: Mutex<Vec<(Instant, u64)>>,
}

impl Moody {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood: watch::channel(mood).0,
            written: Mutex::default(),
            transactions: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            old: Mutex::default(),
            pruned: Mutex::default(),
        })
    }

    fn written(&self) -> Vec<String> {
        self.written.lock().unwrap().clone()
    }
}

fn failed(source: sqlx::Error) -> StoreError {
    StoreError::Query {
        operation: "write",
        source,
    }
}

fn name(write: &Write) -> &str {
    match write {
        Write::StreamSession(row) => &row.session_id,
        Write::ViewerSession(_) | Write::Camera(_) | Write::Audit(_) | Write::CameraEvent(_) => {
            panic!("not written here")
        }
    }
}

#[async_trait]
impl Store for Moody {
    async fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut mood = self.mood.subscribe();
        let mood = *mood.wait_for(|mood| *mood != Mood::Hangs).await.unwrap();
        match mood {
            Mood::Away => return Err(failed(sqlx::Error::PoolTimedOut)),
            Mood::Refuses(bad) if writes.iter().any(|write| name(write) == bad) => {
                return Err(failed(sqlx::Error::RowNotFound));
            }
            Mood::Works | Mood::Hangs | Mood::Refuses(_) => {}
        }
        self.transactions.fetch_add(1, Ordering::Relaxed);
        let names = writes.iter().map(|write| name(write).to_owned());
        self.written.lock().unwrap().extend(names);
        Ok(())
    }

    async fn interrupt_open_sessions(
        &self,
        _: Timestamp,
    ) -> Result<Vec<InterruptedSession>, StoreError> {
        Ok(Vec::new())
    }

    async fn cameras(&self) -> Result<Vec<CameraRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn camera_events(
        &self,
        _: EventFilter,
        _: u32,
        _: Option<EventId>,
    ) -> Result<Vec<CameraEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn stream_sessions(
        &self,
        _: Option<CameraId>,
        _: u32,
    ) -> Result<Vec<StreamSession>, StoreError> {
        Ok(Vec::new())
    }

    async fn viewer_sessions(&self, _: &str) -> Result<Vec<ViewerSession>, StoreError> {
        Ok(Vec::new())
    }

    async fn prune(&self, _: &Retention, _: Timestamp) -> Result<Pruned, StoreError> {
        let mut mood = self.mood.subscribe();
        let mood = *mood.wait_for(|mood| *mood != Mood::Hangs).await.unwrap();
        if mood == Mood::Away {
            return Err(failed(sqlx::Error::PoolTimedOut));
        }
        let mut old = self.old.lock().unwrap();
        let rows = (*old).min(u64::from(PRUNE_BATCH));
        *old -= rows;
        self.pruned.lock().unwrap().push((Instant::now(), rows));
        Ok(Pruned {
            rows,
            more: rows == u64::from(PRUNE_BATCH),
        })
    }

    async fn close(&self) {}
}

fn row(name: &str) -> Write {
    Write::StreamSession(StreamSession {
        session_id: name.to_owned(),
        camera: CameraId::from_bytes([1; 16]),
        stream: StreamId(Uuid::from_bytes([1; 16])),
        pipeline_id: None,
        rtp_endpoint_id: None,
        webrtc_endpoint_id: None,
        status: SessionStatus::Active,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        ended_at: None,
        error_message: None,
    })
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn rows_are_written_in_order_and_many_at_once() {
    let store = Moody::new(Mood::Works);
    let (writer, task) = StoreWriter::spawn(store.clone());
    for name in names(0..1_000) {
        writer.write(row(&name));
    }
    writer.flush().await;
    assert_eq!(store.written(), names(0..1_000));
    assert!(store.transactions.load(Ordering::Relaxed) < 10);
    task.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn f09_what_came_while_the_database_was_away_is_written_once_when_it_is_back() {
    let store = Moody::new(Mood::Away);
    let (writer, task) = StoreWriter::spawn(store.clone());
    writer.write(row("0"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    for name in names(1..10) {
        writer.write(row(&name));
    }
    let health = writer.health();
    let trouble = health.trouble.expect("a trouble is told");
    assert!(trouble.what.contains("write"), "{trouble:?}");
    assert_eq!((health.queued, health.written), (9, 0));
    let attempts = store.attempts.load(Ordering::Relaxed);
    assert!((10..60).contains(&attempts), "{attempts} attempts in 60 s");
    store.mood.send_replace(Mood::Works);
    writer.flush().await;
    assert_eq!(store.written(), names(0..10));
    let health = writer.health();
    assert_eq!((health.queued, health.written, health.dropped), (0, 10, 0));
    assert_eq!(health.trouble, None);
    task.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_and_counts_and_never_waits() {
    let store = Moody::new(Mood::Hangs);
    let (writer, task) = StoreWriter::start(store.clone(), Retention::default(), 8);
    writer.write(row("0"));
    while store.attempts.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    for name in names(1..100) {
        writer.write(row(&name));
    }
    assert_eq!(writer.dropped(), 99 - 8);
    let trouble = writer.health().trouble.expect("it is noticed");
    assert!(trouble.what.contains("does not keep up"), "{trouble:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let trouble = writer.health().trouble.expect("it is noticed");
    assert!(trouble.what.contains("does not answer"), "{trouble:?}");
    store.mood.send_replace(Mood::Works);
    writer.flush().await;
    assert_eq!(store.written(), names(0..9));
    writer.write(row("again"));
    writer.flush().await;
    assert_eq!(store.written().len(), 10);
    task.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_refused_is_lost_alone() {
    let store = Moody::new(Mood::Refuses("5"));
    let (writer, task) = StoreWriter::spawn(store.clone());
    for name in names(0..10) {
        writer.write(row(&name));
    }
    writer.flush().await;
    let mut expected = names(0..10);
    expected.remove(5);
    assert_eq!(store.written(), expected);
    assert_eq!(writer.refused(), 1);
    task.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_writes_what_is_queued() {
    let store = Moody::new(Mood::Works);
    let (writer, task) = StoreWriter::spawn(store.clone());
    for name in names(0..10) {
        writer.write(row(&name));
    }
    task.shutdown(Duration::from_secs(1)).await;
    assert_eq!(store.written(), names(0..10));
    writer.write(row("late"));
    assert_eq!(writer.dropped(), 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_dead_database() {
    for mood in [Mood::Away, Mood::Hangs] {
        let store = Moody::new(mood);
        let (writer, task) = StoreWriter::spawn(store.clone());
        for name in names(0..10) {
            writer.write(row(&name));
        }
        let begin = Instant::now();
        task.shutdown(Duration::from_secs(1)).await;
        assert!(begin.elapsed() <= Duration::from_secs(3), "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_row_is_told_what_became_of_it() {
    let patience = Duration::from_secs(5);
    let store = Moody::new(Mood::Refuses("bad"));
    let (writer, task) = StoreWriter::start(store.clone(), Retention::default(), 8);
    writer.write(row("0"));
    assert_eq!(writer.keep(row("good"), patience).await, Ok(()));
    assert_eq!(store.written(), ["0", "good"]);
    // Both in one transaction, of which only one row is to blame.
    let (bad, good) = tokio::join!(
        writer.keep(row("bad"), patience),
        writer.keep(row("better"), patience)
    );
    assert_eq!((bad, good), (Err(NotKept::Refused), Ok(())));

    store.mood.send_replace(Mood::Away);
    let late = writer.keep(row("late"), patience).await;
    assert_eq!(late, Err(NotKept::NotYet));
    while writer.dropped() == 0 {
        writer.write(row("filler"));
    }
    let full = writer.keep(row("one more"), patience).await;
    assert_eq!(full, Err(NotKept::QueueFull));
    store.mood.send_replace(Mood::Works);
    writer.flush().await;
    assert!(store.written().contains(&"late".to_owned()));

    task.shutdown(Duration::from_secs(1)).await;
    let over = writer.keep(row("over"), patience).await;
    assert_eq!(over, Err(NotKept::Ending));
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn old_rows_go_at_the_start_and_each_hour_and_writes_come_between() {
    let store = Moody::new(Mood::Works);
    let batch = u64::from(PRUNE_BATCH);
    *store.old.lock().unwrap() = 2 * batch + 1;
    let begin = Instant::now();
    let (writer, task) = StoreWriter::spawn(store.clone());
    while store.pruned.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    writer.write(row("0"));
    writer.flush().await;
    assert_eq!(store.written(), ["0"]);
    assert!(*store.old.lock().unwrap() > 0, "it did not wait for all");
    tokio::time::sleep(HOUR / 2).await;
    let rows = |pruned: &[(Instant, u64)]| pruned.iter().map(|(_, rows)| *rows).collect::<Vec<_>>();
    assert_eq!(rows(&store.pruned.lock().unwrap()), [batch, batch, 1]);

    *store.old.lock().unwrap() = 7;
    tokio::time::sleep(HOUR).await;
    let pruned = store.pruned.lock().unwrap().clone();
    assert_eq!(rows(&pruned), [batch, batch, 1, 7]);
    assert!(pruned[3].0 - begin >= HOUR);
    assert_eq!(writer.health().written, 1, "what goes is not written");
    task.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn f09_old_rows_go_when_the_database_is_back() {
    let store = Moody::new(Mood::Away);
    *store.old.lock().unwrap() = 7;
    let (writer, task) = StoreWriter::spawn(store.clone());
    tokio::time::sleep(HOUR / 60).await;
    let trouble = writer.health().trouble.expect("it is told");
    assert!(trouble.what.contains("cannot be written"), "{trouble:?}");
    store.mood.send_replace(Mood::Works);
    tokio::time::sleep(HOUR / 60).await;
    assert_eq!(*store.old.lock().unwrap(), 0);
    assert_eq!(writer.health().trouble, None);
    task.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_old_rows() {
    let store = Moody::new(Mood::Hangs);
    let (writer, task) = StoreWriter::spawn(store.clone());
    // It begins to delete, since nothing else is to be done.
    tokio::time::sleep(Duration::from_secs(1)).await;
    writer.write(row("0"));
    let mood = store.mood.clone();
    let back = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        mood.send_replace(Mood::Works);
    });
    task.shutdown(Duration::from_secs(1)).await;
    back.await.unwrap();
    assert_eq!(store.written(), ["0"]);
    assert_eq!(*store.pruned.lock().unwrap(), [], "it was given up");
}
