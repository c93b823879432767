//! Who watches by which right: when the right ends, so does the view, whichever way it came.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apiary_wire::id::{CameraId, ViewerId};

use super::state::HttpState;
use crate::auth::{Accounts, Who};

/// How often rights that end by themselves are looked at; a right that is taken away is seen at once.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The views that are open.
#[derive(Debug, Default)]
pub(super) struct Views(Mutex<HashMap<ViewerId, View>>);

#[derive(Clone, Debug)]
struct View {
    camera: CameraId,
    who: Who,
}

impl Views {
    /// Notes by whose right a viewer watches.
    pub(super) fn add(&self, viewer: ViewerId, camera: CameraId, who: Who) {
        self.table().insert(viewer, View { camera, who });
    }

    fn without_right(&self, accounts: &Accounts) -> Vec<ViewerId> {
        let table = self.table();
        let ended = table.iter().filter(|(_, view)| !may_go_on(accounts, view));
        ended.map(|(viewer, _)| *viewer).collect()
    }

    fn keep_only(&self, stays: impl Fn(&ViewerId) -> bool) {
        self.table().retain(|viewer, _| stays(viewer));
    }

    fn table(&self) -> MutexGuard<'_, HashMap<ViewerId, View>> {
        // Each critical section is a single operation of the map, so a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn may_go_on(accounts: &Accounts, view: &View) -> bool {
    accounts
        .current(&view.who)
        .is_some_and(|principal| principal.may_watch(view.camera))
}

/// Ends views whose right has ended. Runs until the server ends.
pub(super) async fn end_without_right(http: HttpState) {
    let mut changes = http.accounts.changes();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = http.shutdown.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            _ = looks.tick() => {}
        }
        let viewers = http.supervisor.viewers(None);
        let known: std::collections::HashSet<ViewerId> =
            viewers.iter().map(|viewer| viewer.viewer).collect();
        for viewer in http.views.without_right(&http.accounts) {
            if known.contains(&viewer) {
                tracing::info!(%viewer, "a view ends, since the right to it has ended");
            }
            http.supervisor.expel(viewer).await;
        }
        let now = http.supervisor.viewers(None);
        http.views
            .keep_only(|viewer| now.iter().any(|known| known.viewer == *viewer));
    }
}
