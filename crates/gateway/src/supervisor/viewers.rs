//! The table of viewers, those who are joining included.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apiary_store::ViewerSession;
use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::units::Bitrate;
use jiff::Timestamp;

/// Someone who watches, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Viewer {
    pub(super) camera: CameraId,
    /// The order of arrival.
    pub(super) number: u64,
    pub(super) connected: bool,
    /// What it may be sent at most.
    rate: Bitrate,
    /// When its offer came.
    asked: Instant,
    /// The row in the store; its endpoint is missing while joining.
    pub(super) session: ViewerSession,
}

#[derive(Debug, Default)]
pub(super) struct Viewers(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    viewers: HashMap<ViewerId, Viewer>,
    of_camera: HashMap<CameraId, Vec<ViewerId>>,
    arrived: u64,
    /// What all of them may be sent together at most, in bit/s.
    egress: u64,
}

/// There is no room for one viewer more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Viewers {
    /// Adds one that is joining and may be sent `rate`, where all together stay within `limit`.
    pub(super) fn add(
        &self,
        camera: CameraId,
        session: ViewerSession,
        rate: Bitrate,
        limit: Bitrate,
    ) -> Result<(), Full> {
        let mut table = self.lock();
        let egress = table.egress.saturating_add(rate.as_bps());
        if egress > limit.as_bps() {
            return Err(Full);
        }
        table.egress = egress;
        table.arrived += 1;
        let viewer = Viewer {
            camera,
            number: table.arrived,
            connected: false,
            rate,
            asked: Instant::now(),
            session,
        };
        let id = viewer.session.viewer;
        table.of_camera.entry(camera).or_default().push(id);
        table.viewers.insert(id, viewer);
        Ok(())
    }

    /// Notes the engine's name of its leg; `None` if it is gone already. `tell` does not wait: whoever hears that a viewer is gone
    /// has heard before that it joined.
    pub(super) fn joined(
        &self,
        viewer: ViewerId,
        endpoint: String,
        tell: impl FnOnce(),
    ) -> Option<Viewer> {
        let mut table = self.lock();
        let found = table.viewers.get_mut(&viewer)?;
        found.session.webrtc_endpoint_id = Some(endpoint);
        tell();
        Some(found.clone())
    }

    /// Notes that it is sent the stream; the first time, gives how long that took since its offer came.
    pub(super) fn connected(&self, viewer: ViewerId) -> Option<Duration> {
        let mut table = self.lock();
        let found = table.viewers.get_mut(&viewer)?;
        let is_news = !std::mem::replace(&mut found.connected, true);
        is_news.then(|| found.asked.elapsed())
    }

    /// Takes it out, if it is there, with the time of its end.
    pub(super) fn remove(&self, viewer: ViewerId, now: Timestamp) -> Option<Viewer> {
        let mut table = self.lock();
        let mut removed = table.viewers.remove(&viewer)?;
        table.egress -= removed.rate.as_bps();
        if let Some(others) = table.of_camera.get_mut(&removed.camera) {
            others.retain(|other| *other != viewer);
            if others.is_empty() {
                table.of_camera.remove(&removed.camera);
            }
        }
        removed.session.disconnected_at = Some(now);
        Some(removed)
    }

    /// What it watches, or is about to.
    pub(super) fn camera_of(&self, viewer: ViewerId) -> Option<CameraId> {
        self.lock().viewers.get(&viewer).map(|found| found.camera)
    }

    pub(super) fn count(&self, camera: CameraId) -> usize {
        self.lock().of_camera.get(&camera).map_or(0, Vec::len)
    }

    /// The name of the first viewer's leg.
    pub(super) fn first_endpoint(&self, camera: CameraId) -> Option<String> {
        let table = self.lock();
        table.of_camera.get(&camera)?.iter().find_map(|viewer| {
            table
                .viewers
                .get(viewer)?
                .session
                .webrtc_endpoint_id
                .clone()
        })
    }

    /// Those of one camera, or all, in the order of arrival.
    pub(super) fn list(&self, camera: Option<CameraId>) -> Vec<Viewer> {
        let table = self.lock();
        let mut viewers: Vec<Viewer> = match camera {
            Some(camera) => table
                .of_camera
                .get(&camera)
                .into_iter()
                .flatten()
                .filter_map(|viewer| table.viewers.get(viewer).cloned())
                .collect(),
            None => table.viewers.values().cloned().collect(),
        };
        viewers.sort_by_key(|viewer| viewer.number);
        viewers
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Both maps are changed without anything between that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn camera(number: u8) -> CameraId {
        CameraId::from_bytes([number; 16])
    }

    fn session(number: u8) -> ViewerSession {
        ViewerSession {
            viewer: ViewerId(Uuid::from_bytes([number; 16])),
            session_id: "s".to_owned(),
            webrtc_endpoint_id: None,
            user_agent: None,
            ip_address: None,
            connected_at: Timestamp::UNIX_EPOCH,
            disconnected_at: None,
        }
    }

    #[test]
    fn viewers_are_counted_by_camera_and_removed_once() {
        let viewers = Viewers::default();
        let add = |of: u8, number: u8| {
            let rate = Bitrate::from_kbps(1000);
            let limit = Bitrate::from_kbps(4500);
            viewers.add(camera(of), session(number), rate, limit)
        };
        for number in 1..=3 {
            add(1, number).unwrap();
        }
        add(2, 4).unwrap();
        assert_eq!(
            add(2, 5),
            Err(Full),
            "a fifth would be too much for the line"
        );
        assert_eq!(viewers.list(None).len(), 4);
        assert_eq!((viewers.count(camera(1)), viewers.count(camera(2))), (3, 1));
        let first = session(1).viewer;
        assert_eq!(viewers.first_endpoint(camera(1)), None);
        viewers.joined(session(2).viewer, "two".to_owned(), || {});
        viewers.joined(first, "one".to_owned(), || {});
        assert_eq!(viewers.first_endpoint(camera(1)).as_deref(), Some("one"));
        let now = Timestamp::UNIX_EPOCH;
        assert!(viewers.remove(first, now).is_some());
        assert!(viewers.remove(first, now).is_none());
        assert_eq!(viewers.first_endpoint(camera(1)).as_deref(), Some("two"));
        assert_eq!(viewers.joined(first, "late".to_owned(), || {}), None);
        assert_eq!(viewers.list(None).len(), 3);
        assert_eq!(viewers.list(Some(camera(1))).len(), 2);
        viewers.remove(session(4).viewer, now);
        assert_eq!(viewers.count(camera(2)), 0);
        assert_eq!(
            viewers.lock().egress,
            2_000_000,
            "two of a megabit each are left"
        );
        assert!(!viewers.lock().of_camera.contains_key(&camera(2)));
    }
}
