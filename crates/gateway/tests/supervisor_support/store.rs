//! A store in memory: with a stopped clock a real database, whose threads live in real time, would always be late.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use apiary_store::{
    CameraEvent, CameraRow, EventFilter, EventId, InterruptedSession, Pruned, Retention,
    SessionStatus, Store, StoreError, StreamSession, ViewerSession, Write,
};
use apiary_wire::id::CameraId;
use async_trait::async_trait;
use jiff::Timestamp;

#[derive(Default)]
pub(crate) struct MemoryStore {
    tables: Mutex<Tables>,
    hangs: AtomicBool,
}

#[derive(Default)]
struct Tables {
    streams: BTreeMap<String, StreamSession>,
    viewers: BTreeMap<String, ViewerSession>,
    cameras: BTreeMap<CameraId, CameraRow>,
    events: BTreeMap<EventId, CameraEvent>,
}

impl MemoryStore {
    /// Writes never return from now on.
    pub(crate) fn hang(&self) {
        self.hangs.store(true, Ordering::Relaxed);
    }

    pub(crate) fn streams(&self) -> Vec<StreamSession> {
        self.tables
            .lock()
            .unwrap()
            .streams
            .values()
            .cloned()
            .collect()
    }

    pub(crate) fn viewers(&self) -> Vec<ViewerSession> {
        self.tables
            .lock()
            .unwrap()
            .viewers
            .values()
            .cloned()
            .collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn apply(&self, writes: &[Write]) -> Result<(), StoreError> {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let mut tables = self.tables.lock().unwrap();
        for write in writes.iter().cloned() {
            match write {
                Write::StreamSession(row) => {
                    tables.streams.insert(row.session_id.clone(), row);
                }
                Write::ViewerSession(row) => {
                    tables.viewers.insert(row.viewer.to_string(), row);
                }
                Write::Camera(row) => {
                    tables.cameras.insert(row.camera, row);
                }
                Write::CameraEvent(row) => {
                    tables.events.insert(row.id, row);
                }
                Write::Audit(_) => {} // not written here
            }
        }
        Ok(())
    }

    async fn interrupt_open_sessions(
        &self,
        now: Timestamp,
    ) -> Result<Vec<InterruptedSession>, StoreError> {
        let mut tables = self.tables.lock().unwrap();
        let open = tables.streams.values_mut();
        Ok(open
            .filter(|row| row.ended_at.is_none())
            .map(|row| {
                row.ended_at = Some(now);
                row.status = SessionStatus::Interrupted;
                InterruptedSession {
                    session_id: row.session_id.clone(),
                    camera: row.camera,
                    stream: row.stream,
                }
            })
            .collect())
    }

    async fn cameras(&self) -> Result<Vec<CameraRow>, StoreError> {
        Ok(self
            .tables
            .lock()
            .unwrap()
            .cameras
            .values()
            .cloned()
            .collect())
    }

    async fn camera_events(
        &self,
        _: EventFilter,
        _: u32,
        _: Option<EventId>,
    ) -> Result<Vec<CameraEvent>, StoreError> {
        let events = self.tables.lock().unwrap().events.clone();
        Ok(events.into_values().rev().collect())
    }

    async fn stream_sessions(
        &self,
        _: Option<CameraId>,
        _: u32,
    ) -> Result<Vec<StreamSession>, StoreError> {
        Ok(self.streams())
    }

    async fn viewer_sessions(&self, _: &str) -> Result<Vec<ViewerSession>, StoreError> {
        Ok(self.viewers())
    }

    async fn prune(&self, _: &Retention, _: Timestamp) -> Result<Pruned, StoreError> {
        Ok(Pruned::default())
    }

    async fn close(&self) {}
}
