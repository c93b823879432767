//! The writer in front of a database that fails on command; time is tokio's paused clock.

use std::sync::Mutex;

use apiary_wire::id::{CameraId, StreamId};
use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::rows::{CameraRow, InterruptedSession, SessionStatus, StreamSession, ViewerSession};

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
}

impl Moody {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood: watch::channel(mood).0,
            written: Mutex::default(),
            transactions: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
        })
    }

    fn written(&self) -> Vec<String> {
        self.written.lock().unwrap().clone()
    }
}

fn name(write: &Write) -> &str {
    match write {
        Write::StreamSession(row) => &row.session_id,
        Write::ViewerSession(_) | Write::Camera(_) | Write::Audit(_) => panic!("not written here"),
    }
}

#[async_trait]
impl Store for Moody {
    async fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let failed = |source| StoreError::Query {
            operation: "write",
            source,
        };
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
    assert!(writer.trouble().unwrap().contains("cannot be written"));
    assert_eq!(writer.waiting(), 9, "the first is being tried");
    let attempts = store.attempts.load(Ordering::Relaxed);
    assert!((10..60).contains(&attempts), "{attempts} attempts in 60 s");
    store.mood.send_replace(Mood::Works);
    writer.flush().await;
    assert_eq!(store.written(), names(0..10));
    assert_eq!((writer.trouble(), writer.waiting()), (None, 0));
    assert_eq!(writer.dropped(), 0);
    task.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_and_counts_and_never_waits() {
    let store = Moody::new(Mood::Hangs);
    let (writer, task) = StoreWriter::with_limit(store.clone(), 8);
    writer.write(row("0"));
    while store.attempts.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    for name in names(1..100) {
        writer.write(row(&name));
    }
    assert_eq!(writer.dropped(), 99 - 8);
    assert!(writer.trouble().unwrap().contains("does not keep up"));
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
