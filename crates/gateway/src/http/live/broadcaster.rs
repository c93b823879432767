//! Hears what changes, and makes a message of it, once for all sockets.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use apiary_store::CameraEvent;
use apiary_wire::id::CameraId;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::message::{ServerMessage, System};
use super::pacing::Pacing;
use super::ring::Audience;
use crate::http::rest::{CameraEntry, EventEntry, QUESTIONS_AT_ONCE};
use crate::http::state::{HttpState, Inner};
use crate::supervisor::{CameraSnapshot, SupervisorEvent};

/// How often it is looked at what tells nobody by itself: rates, and how the engine does.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Runs until the server ends. A panic loses one change.
pub(in crate::http) async fn keep(http: HttpState) {
    let broadcaster = async {
        let (changed, changes) = mpsc::channel(1);
        let mut broadcaster = Broadcaster::new(http.clone(), changes);
        let broadcast = async {
            while AssertUnwindSafe(broadcaster.run())
                .catch_unwind()
                .await
                .is_err()
            {
                tracing::error!("telling pages of a change failed; going on with the next");
                broadcaster.on_anything();
            }
        };
        tokio::select! {
            () = broadcast => {}
            () = look(&http, changed) => {}
        }
    };
    tokio::select! {
        () = http.shutdown.cancelled() => {}
        () = broadcaster => {}
    }
}

/// Asks the engine for rates, while anybody wants to know them. By itself: the engine may be slow to answer.
async fn look(http: &HttpState, changed: mpsc::Sender<Vec<CameraId>>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let changes = if http.live.is_anybody_there() {
            ask_for_rates(http).await
        } else {
            http.live.rates().clear();
            Vec::new()
        };
        if changed.send(changes).await.is_err() {
            return;
        }
    }
}

/// The cameras with other rates than before.
async fn ask_for_rates(http: &HttpState) -> Vec<CameraId> {
    let streams = http.supervisor.streams();
    let asked = streams.into_iter().map(|stream| async move {
        let stats = http.engine.stream_stats(stream.camera).await?;
        Some((stream.camera, stats))
    });
    let now = stream::iter(asked)
        .buffer_unordered(QUESTIONS_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let before = std::mem::replace(&mut *http.live.rates(), now);
    let now = http.live.rates();
    let shown = |stats: &apiary_media::engine::StreamStats| {
        (stats.bitrate.as_kbps(), stats.frames_per_second)
    };
    now.iter()
        .filter(|(camera, stats)| before.get(camera).map(shown) != Some(shown(stats)))
        .map(|(camera, _)| *camera)
        .collect()
}

struct Broadcaster {
    http: HttpState,
    events: tokio::sync::broadcast::Receiver<SupervisorEvent>,
    broker: watch::Receiver<crate::mqtt::BrokerState>,
    rights: watch::Receiver<u64>,
    /// Cameras with other rates.
    rates: mpsc::Receiver<Vec<CameraId>>,
    pacing: Pacing,
    system: Option<System>,
}

impl Broadcaster {
    fn new(http: HttpState, rates: mpsc::Receiver<Vec<CameraId>>) -> Self {
        Self {
            events: http.supervisor.events(),
            broker: http.broker.clone(),
            rights: http.accounts.changes(),
            http,
            rates,
            pacing: Pacing::default(),
            system: None,
        }
    }

    async fn run(&mut self) {
        self.on_system();
        loop {
            let due = self.pacing.due().map(tokio::time::Instant::from_std);
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) => self.on_event(&event),
                    Err(RecvError::Lagged(_)) => self.on_anything(),
                    Err(RecvError::Closed) => return,
                },
                Ok(()) = self.broker.changed() => self.on_system(),
                Some(cameras) = self.rates.recv() => {
                    self.on_system();
                    cameras.into_iter().for_each(|camera| self.on_change(camera));
                }
                () = async { sleep_until(due.expect("checked")).await }, if due.is_some() => self.on_due(),
            }
        }
    }

    fn on_event(&mut self, event: &SupervisorEvent) {
        match event {
            SupervisorEvent::StreamChanged(stream) => self.on_change(stream.camera),
            SupervisorEvent::CameraChanged(camera) => self.on_change(camera.camera),
            SupervisorEvent::TalkChanged { camera, .. } => self.on_change(*camera),
            SupervisorEvent::CameraEvent(event) => self.on_camera_event(event.clone()),
            // They are told by the number of viewers, which is the stream's.
            SupervisorEvent::ViewerJoined { .. } | SupervisorEvent::ViewerGone { .. } => {}
        }
    }

    /// Some changes were not heard: any camera may be different.
    fn on_anything(&mut self) {
        for camera in self.http.supervisor.cameras() {
            self.on_change(camera.camera);
        }
    }

    fn on_change(&mut self, camera: CameraId) {
        if self.pacing.on_change(Instant::now(), camera) {
            self.tell_of(camera);
        }
    }

    fn on_due(&mut self) {
        while let Some(camera) = self.pacing.poll(Instant::now()) {
            self.tell_of(camera);
        }
    }

    fn tell_of(&self, camera: CameraId) {
        let Some(known) = self.http.supervisor.camera(camera) else {
            return; // more cameras than are remembered
        };
        let entry = entry(&self.http, known);
        self.publish(Audience::WhoSee(camera), |id| {
            let message = ServerMessage::Camera { id, camera: &entry };
            message.to_json()
        });
    }

    fn on_camera_event(&self, event: CameraEvent) {
        let audience = Audience::UsersWhoSee(event.camera);
        let event = EventEntry::from(event);
        self.publish(audience, |id| {
            let message = ServerMessage::Event { id, event: &event };
            message.to_json()
        });
    }

    fn on_system(&mut self) {
        let system = system(&self.http);
        if self.system.as_ref() == Some(&system) {
            return;
        }
        for (audience, system) in [
            (Audience::Users, &system),
            (Audience::Guests, &system.for_guests()),
        ] {
            self.publish(audience, |id| {
                ServerMessage::System { id, system }.to_json()
            });
        }
        self.system = Some(system);
    }

    fn publish(&self, audience: Audience, make: impl FnOnce(&str) -> String) {
        let rights = *self.rights.borrow();
        self.http.live.publish(audience, rights, make);
    }
}

/// What is told of a camera.
pub(super) fn entry(http: &Inner, camera: CameraSnapshot) -> CameraEntry {
    let rates = http.live.rates().get(&camera.camera).copied();
    CameraEntry::of(http, camera, rates.as_ref())
}

/// What is told to those with an account.
pub(super) fn system(http: &Inner) -> System {
    System {
        broker_connected: http.broker_connected(),
        engine_error: http.engine.health().trouble,
    }
}
