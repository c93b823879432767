//! The session URLs. Who knows one may change and end that session, so they are long and random; viewer ids, which the API
//! shows to everybody, lead nowhere here.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apiary_wire::id::{CameraId, ViewerId};
use rand::RngCore as _;
use tokio::sync::broadcast::error::RecvError;

use super::fragment::{Credentials, Tagged};
use crate::auth::{Principal, Who};
use crate::http::state::HttpState;
use crate::supervisor::SupervisorEvent;

/// Random octets of a session URL.
const TOKEN_OCTETS: usize = 24;
/// Random octets of an entity tag.
const TAG_OCTETS: usize = 8;

/// One viewer that came by WHEP.
#[derive(Debug)]
pub(in crate::http) struct WhepSession {
    pub(super) camera: CameraId,
    /// Who made it; nobody else may change it.
    pub(super) owner: Who,
    pub(super) viewer: ViewerId,
    /// Locked over a whole PATCH: overlapping ones act one after the other.
    pub(super) ice: tokio::sync::Mutex<IceSession>,
}

/// What an ICE restart replaces.
#[derive(Debug)]
pub(super) struct IceSession {
    /// The strong entity tag, with its quotes.
    pub(super) tag: String,
    /// The player's credentials.
    pub(super) remote: Option<Credentials>,
    /// The section that carries the candidates.
    pub(super) tagged: Tagged,
}

/// All of them, by the last part of their URL.
#[derive(Debug, Default)]
pub(in crate::http) struct WhepSessions(Mutex<HashMap<String, Arc<WhepSession>>>);

impl WhepSessions {
    /// Keeps a session and gives the last part of its URL.
    pub(super) fn add(&self, session: WhepSession) -> String {
        let token = random_hex(TOKEN_OCTETS);
        self.table().insert(token.clone(), Arc::new(session));
        token
    }

    /// The session of this URL. One of another camera or of somebody else is as good as none.
    pub(super) fn find(
        &self,
        camera: CameraId,
        token: &str,
        asker: &Principal,
    ) -> Option<Arc<WhepSession>> {
        let table = self.table();
        table
            .get(token)
            .filter(|session| session.camera == camera && asker.owns(&session.owner))
            .cloned()
    }

    pub(super) fn remove(
        &self,
        camera: CameraId,
        token: &str,
        asker: &Principal,
    ) -> Option<Arc<WhepSession>> {
        self.find(camera, token, asker)?;
        self.table().remove(token)
    }

    pub(super) fn keep_only(&self, stays: impl Fn(ViewerId) -> bool) {
        self.table().retain(|_, session| stays(session.viewer));
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Arc<WhepSession>>> {
        // Each critical section is a single operation of the map, so a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets sessions whose viewer is gone, however it went. Runs until the server ends.
pub(in crate::http) async fn forget_gone_viewers(http: HttpState) {
    let mut events = http.supervisor.events();
    loop {
        let event = tokio::select! {
            () = http.shutdown.cancelled() => return,
            event = events.recv() => event,
        };
        match event {
            Ok(SupervisorEvent::ViewerGone { viewer, .. }) => {
                http.whep.keep_only(|kept| kept != viewer)
            }
            Ok(
                SupervisorEvent::StreamChanged(_)
                | SupervisorEvent::ViewerJoined { .. }
                | SupervisorEvent::TalkChanged { .. }
                | SupervisorEvent::CameraEvent(_)
                | SupervisorEvent::CameraChanged(_),
            ) => {}
            Err(RecvError::Lagged(_)) => {
                let known = http.supervisor.viewers(None);
                http.whep
                    .keep_only(|kept| known.iter().any(|viewer| viewer.viewer == kept));
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// A new strong entity tag.
pub(super) fn new_tag() -> String {
    format!("\"{}\"", random_hex(TAG_OCTETS))
}

fn random_hex(octets: usize) -> String {
    let mut bytes = vec![0; octets];
    rand::rng().fill_bytes(&mut bytes);
    bytes
        .iter()
        .fold(String::with_capacity(2 * octets), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn session(camera: &str) -> WhepSession {
        WhepSession {
            camera: camera.parse().unwrap(),
            owner: Who::Anybody,
            viewer: ViewerId(Uuid::new_v4()),
            ice: tokio::sync::Mutex::new(IceSession {
                tag: new_tag(),
                remote: None,
                tagged: Tagged::default(),
            }),
        }
    }

    const ONE: &str = "00000000000000000000000000000001";
    const TWO: &str = "00000000000000000000000000000002";

    #[test]
    fn h27_sessions_are_found_by_camera_token_and_owner_only() {
        let sessions = WhepSessions::default();
        let first = session(ONE);
        let viewer = first.viewer;
        let token = sessions.add(first);
        let other = sessions.add(session(TWO));
        assert_eq!(token.len(), 2 * TOKEN_OCTETS);
        assert_ne!(token, other);
        let (one, two) = (ONE.parse().unwrap(), TWO.parse().unwrap());
        let owner = Principal::anybody();
        let found = |camera, token: &str| {
            let found = sessions.find(camera, token, &owner);
            found.map(|session| session.viewer)
        };
        assert_eq!(found(one, &token), Some(viewer));
        assert_eq!(found(two, &token), None);
        assert_eq!(found(one, &viewer.to_string()), None);
        assert_eq!(found(one, ""), None);
        let stranger = Principal {
            who: Who::Share(apiary_store::ShareId::random()),
            ..Principal::anybody()
        };
        assert!(sessions.find(one, &token, &stranger).is_none());
        assert!(sessions.remove(one, &token, &stranger).is_none());
        assert!(sessions.remove(two, &token, &owner).is_none());
        assert!(sessions.remove(one, &token, &owner).is_some());
        assert_eq!(found(one, &token), None);
        assert!(found(two, &other).is_some());
    }

    #[test]
    fn tags_differ_and_are_strong() {
        let (first, second) = (new_tag(), new_tag());
        assert_ne!(first, second);
        assert!(first.starts_with('"') && first.ends_with('"'));
    }
}
