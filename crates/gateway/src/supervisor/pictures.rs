//! The last picture of each camera, for pages that show something before the stream plays. They are kept in memory alone, a few of
//! them, also after the stream has ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apiary_media::engine::KeyFrame;
use apiary_wire::id::CameraId;
use apiary_wire::mp4;
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::shared::Shared;

/// Pictures that are kept; the one that was asked for longest ago makes room.
const KEPT: usize = 64;
/// The engine is asked for a newer one only after this time.
const FRESH: Duration = Duration::from_secs(5);
/// Longest that the engine may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A picture of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// It alone, as an MP4 file.
    pub mp4: Arc<[u8]>,
    /// When it came.
    pub at: Timestamp,
}

/// Those that are kept, the one that was asked for last at the end.
#[derive(Debug, Default)]
pub(super) struct Pictures(Mutex<VecDeque<Kept>>);

#[derive(Clone, Debug)]
struct Kept {
    camera: CameraId,
    picture: Picture,
    taken: Instant,
}

impl Pictures {
    fn get(&self, camera: CameraId) -> Option<Kept> {
        let mut kept = self.lock();
        let place = kept.iter().position(|kept| kept.camera == camera)?;
        let found = kept.remove(place)?;
        kept.push_back(found.clone());
        Some(found)
    }

    pub(super) fn has(&self, camera: CameraId) -> bool {
        self.lock().iter().any(|kept| kept.camera == camera)
    }

    fn keep(&self, camera: CameraId, picture: Picture, now: Instant) {
        let mut kept = self.lock();
        kept.retain(|kept| kept.camera != camera);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(Kept {
            camera,
            picture,
            taken: now,
        });
    }

    pub(super) fn forget(&self, camera: CameraId) {
        self.lock().retain(|kept| kept.camera != camera);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        // A panic between two steps loses a picture, and there are others.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The last picture of a camera: of its stream while it runs, and the last of that afterwards.
    pub(super) async fn picture(&self, camera: CameraId) -> Option<Picture> {
        let kept = self.pictures.get(camera);
        if let Some(kept) = &kept
            && kept.taken.elapsed() < FRESH
        {
            return Some(kept.picture.clone());
        }
        match self.take_picture(camera).await {
            Some(taken) => Some(taken),
            None => kept.map(|kept| kept.picture),
        }
    }

    /// Takes what the stream shows now, where it runs.
    pub(super) async fn take_picture(&self, camera: CameraId) -> Option<Picture> {
        let asked = timeout(PATIENCE, self.engine.key_frame(camera)).await;
        let KeyFrame { annex_b, age } = asked.ok()??;
        let mp4 = match mp4::still(&annex_b) {
            Ok(file) => file.into(),
            Err(error) => {
                tracing::debug!(%camera, %error, "a key frame makes no picture");
                return None;
            }
        };
        let age = SignedDuration::try_from(age).unwrap_or_default();
        let picture = Picture {
            mp4,
            at: Timestamp::now() - age,
        };
        self.pictures.keep(camera, picture.clone(), Instant::now());
        Some(picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(number: usize) -> CameraId {
        CameraId::from_bytes([u8::try_from(number).unwrap(); 16])
    }

    #[test]
    fn those_that_nobody_asks_for_make_room() {
        let (pictures, now) = (Pictures::default(), Instant::now());
        let picture = Picture {
            mp4: Arc::from(&b"mp4"[..]),
            at: Timestamp::UNIX_EPOCH,
        };
        for number in 0..KEPT {
            pictures.keep(camera(number), picture.clone(), now);
        }
        assert!(pictures.get(camera(0)).is_some());
        pictures.keep(camera(KEPT), picture.clone(), now);
        assert!(pictures.get(camera(1)).is_none(), "asked for longest ago");
        assert!(pictures.get(camera(0)).is_some());
        pictures.keep(camera(0), picture, now);
        assert_eq!(pictures.lock().len(), KEPT, "one of each camera");
        pictures.forget(camera(0));
        assert!(pictures.get(camera(0)).is_none());
    }
}
