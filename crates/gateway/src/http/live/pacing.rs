//! When the changes of a camera are told: at once, but each camera no more often than every [`REST`].

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use apiary_wire::id::CameraId;

/// Time between two messages about one camera.
const REST: Duration = Duration::from_millis(250);

/// The cameras that were told of just now.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// In the order in which their rest ends, each once.
    resting: VecDeque<(Instant, CameraId)>,
    /// Whether it has changed meanwhile.
    changed: HashMap<CameraId, bool>,
}

impl Pacing {
    /// A camera changed; whether that is to be told at once.
    pub(super) fn on_change(&mut self, now: Instant, camera: CameraId) -> bool {
        if let Some(changed) = self.changed.get_mut(&camera) {
            *changed = true;
            return false;
        }
        self.rest(now, camera);
        true
    }

    /// When [`Pacing::poll`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.resting.front().map(|(end, _)| *end)
    }

    /// The next camera that is to be told of now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<CameraId> {
        while let Some((_, camera)) = self.resting.pop_front_if(|(end, _)| *end <= now) {
            if self.changed.remove(&camera) == Some(true) {
                self.rest(now, camera);
                return Some(camera);
            }
        }
        None
    }

    fn rest(&mut self, now: Instant, camera: CameraId) {
        self.resting.push_back((now + REST, camera));
        self.changed.insert(camera, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_is_told_at_once_and_those_behind_it_together() {
        let (one, other) = (CameraId::from_bytes([1; 16]), CameraId::from_bytes([2; 16]));
        let start = Instant::now();
        let mut pacing = Pacing::default();
        assert!(pacing.on_change(start, one));
        assert!(!pacing.on_change(start, one));
        assert!(pacing.on_change(start, other), "each camera by itself");
        assert!(!pacing.on_change(start + REST / 2, one));
        assert_eq!(pacing.poll(start + REST / 2), None);
        let end = pacing.due().unwrap();
        assert_eq!(end, start + REST);
        assert_eq!(pacing.poll(end), Some(one));
        assert_eq!(pacing.poll(end), None, "nothing of the other to tell");
        // It rests again, and once it has, nothing is left of it.
        assert!(!pacing.on_change(end, one));
        assert_eq!(pacing.poll(end + REST), Some(one));
        assert_eq!(pacing.poll(end + 2 * REST), None);
        assert_eq!(pacing.due(), None);
        assert!(pacing.changed.is_empty());
        assert!(pacing.on_change(end + 2 * REST, one));
    }
}
