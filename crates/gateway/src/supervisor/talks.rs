//! Who talks to which camera: one viewer at a time, and all others are told that somebody does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apiary_media::engine::EngineError;
use apiary_wire::id::{CameraId, ViewerId};
use jiff::Timestamp;

use super::error::TalkError;
use super::handle::Supervisor;
use super::shared::Shared;
use super::snapshot::{SupervisorEvent, Talker};

/// The talkers, by their cameras.
#[derive(Debug, Default)]
pub(super) struct Talks(Mutex<HashMap<CameraId, Talker>>);

impl Talks {
    /// Gives the turn to a viewer, or says who has it.
    fn take(&self, camera: CameraId, talker: Talker) -> Result<(), Talker> {
        let mut talks = self.lock();
        match talks.get(&camera) {
            Some(other) if other.viewer != talker.viewer => Err(other.clone()),
            Some(_) | None => {
                talks.insert(camera, talker);
                Ok(())
            }
        }
    }

    fn of(&self, camera: CameraId) -> Option<Talker> {
        self.lock().get(&camera).cloned()
    }

    /// Whether it was that viewer's turn, which has ended.
    fn end(&self, camera: CameraId, viewer: ViewerId) -> bool {
        let mut talks = self.lock();
        let its = talks
            .get(&camera)
            .is_some_and(|talker| talker.viewer == viewer);
        if its {
            talks.remove(&camera);
        }
        its
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CameraId, Talker>> {
        // Each change of it is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// A viewer talks no more, whatever the reason; everybody is told, once.
    pub(super) fn talk_ended(&self, camera: CameraId, viewer: ViewerId) {
        if self.talks.end(camera, viewer) {
            tracing::info!(%camera, %viewer, "talking ended");
            self.tell(SupervisorEvent::TalkChanged {
                camera,
                talker: None,
            });
        }
    }
}

impl Supervisor {
    /// Passes a viewer's voice on to its camera until [`Supervisor::hush`], or it leaves, or the camera is told to play again.
    /// `name` is whose voice it is. One whose turn it is already has it still.
    ///
    /// # Errors
    /// When somebody else talks to that camera, it has sent no sound yet, or the viewer cannot or may not talk.
    pub async fn talk(&self, viewer: ViewerId, name: Arc<str>) -> Result<(), TalkError> {
        let camera = self.shared.viewers.camera_of(viewer);
        let camera = camera.ok_or(EngineError::UnknownViewer(viewer))?;
        if self.talker(camera).is_some_and(|now| now.viewer == viewer) {
            return Ok(());
        }
        let talker = Talker {
            viewer,
            name,
            since: Timestamp::now(),
        };
        let taken = self.shared.talks.take(camera, talker.clone());
        taken.map_err(|other| TalkError::Taken {
            by: other.name.to_string(),
        })?;
        let turn = Turn {
            shared: Some(&self.shared),
            camera,
            viewer,
        };
        self.shared.engine.talk(viewer).await?;
        // It may have left meanwhile, when there was nothing to end yet.
        let still_there = self.shared.viewers.camera_of(viewer).is_some();
        if !still_there || self.talker(camera).is_none_or(|now| now.viewer != viewer) {
            return Err(EngineError::UnknownViewer(viewer).into());
        }
        turn.begins();
        tracing::info!(%camera, %viewer, "talking began");
        self.shared.tell(SupervisorEvent::TalkChanged {
            camera,
            talker: Some(talker),
        });
        Ok(())
    }

    /// A viewer talks no more. One that does not is fine.
    pub async fn hush(&self, viewer: ViewerId) {
        if let Err(error) = self.shared.engine.hush(viewer).await {
            tracing::debug!(%viewer, %error, "the engine could not hush a viewer");
        }
        if let Some(camera) = self.shared.viewers.camera_of(viewer) {
            self.shared.talk_ended(camera, viewer);
        }
    }

    /// Who talks to a camera just now.
    pub fn talker(&self, camera: CameraId) -> Option<Talker> {
        self.shared.talks.of(camera)
    }
}

/// Gives the turn back unless it begins: who asks may vanish, and the engine may refuse.
struct Turn<'a> {
    /// `None` once it has begun.
    shared: Option<&'a Shared>,
    camera: CameraId,
    viewer: ViewerId,
}

impl Turn<'_> {
    fn begins(mut self) {
        self.shared = None;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            shared.talks.end(self.camera, self.viewer);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn talker(number: u8) -> Talker {
        Talker {
            viewer: ViewerId(Uuid::from_bytes([number; 16])),
            name: Arc::from(format!("viewer {number}")),
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn one_talks_to_a_camera_at_a_time() {
        let (one, other) = (CameraId::from_bytes([1; 16]), CameraId::from_bytes([2; 16]));
        let talks = Talks::default();
        talks.take(one, talker(1)).unwrap();
        talks.take(one, talker(1)).unwrap();
        assert_eq!(talks.take(one, talker(2)), Err(talker(1)));
        talks.take(other, talker(2)).unwrap();
        assert!(!talks.end(one, talker(2).viewer), "it is not its turn");
        assert_eq!(talks.of(one), Some(talker(1)));
        assert!(talks.end(one, talker(1).viewer));
        assert!(!talks.end(one, talker(1).viewer), "once");
        assert_eq!((talks.of(one), talks.of(other)), (None, Some(talker(2))));
    }
}
