//! Takes note of what happens, and hands it to all receivers without waiting for any.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use apiary_wire::id::CameraId;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::counts::{self, Counts};
use super::event::{Event, Happened, Translator};
use crate::config::EventKind;
use crate::supervisor::{Supervisor, SupervisorEvent};

pub(super) struct Watch {
    pub(super) supervisor: Supervisor,
    pub(super) events: broadcast::Receiver<SupervisorEvent>,
    pub(super) translator: Translator,
    pub(super) kinds: Vec<EventKind>,
    /// None: all.
    pub(super) cameras: Vec<CameraId>,
    pub(super) receivers: Vec<mpsc::Sender<Arc<Event>>>,
    pub(super) counts: Arc<Counts>,
    /// The supervisor has ended: what it told last is handed over, and then this ends too.
    pub(super) stop: CancellationToken,
}

impl Watch {
    /// A panic loses one event.
    pub(super) async fn keep(mut self) {
        while AssertUnwindSafe(self.run()).catch_unwind().await.is_err() {
            tracing::error!("taking note of an event for webhooks failed; going on with the next");
        }
    }

    async fn run(&mut self) {
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) => self.on_event(&event),
                    Err(RecvError::Lagged(lost)) => self.on_lag(lost),
                    Err(RecvError::Closed) => return,
                },
                () = self.stop.cancelled() => return self.finish(),
            }
        }
    }

    fn finish(&mut self) {
        loop {
            match self.events.try_recv() {
                Ok(event) => self.on_event(&event),
                Err(TryRecvError::Lagged(lost)) => self.on_lag(lost),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn on_event(&mut self, event: &SupervisorEvent) {
        for happened in self.translator.on_event(event) {
            self.tell(&happened);
        }
    }

    /// How streams and cameras stand is read anew; viewers and activity in between are lost.
    fn on_lag(&mut self, lost: u64) {
        tracing::warn!(
            lost,
            "more happened at once than webhooks could take note of"
        );
        self.counts.drop_some(counts::NOT_KEPT, lost);
        let mut cameras = self.translator.streaming();
        cameras.extend(self.supervisor.streams().iter().map(|stream| stream.camera));
        let streams = cameras
            .into_iter()
            .filter_map(|camera| self.supervisor.stream(camera));
        let mut happened: Vec<Happened> = Vec::new();
        for stream in streams.collect::<Vec<_>>() {
            happened.extend(self.translator.on_stream(&stream));
        }
        for camera in self.supervisor.cameras() {
            happened.extend(self.translator.on_camera(&camera));
        }
        happened.iter().for_each(|happened| self.tell(happened));
    }

    fn tell(&self, happened: &Happened) {
        let is_wanted = self.cameras.is_empty() || self.cameras.contains(&happened.camera);
        if !is_wanted || !self.kinds.contains(&happened.kind) {
            return;
        }
        let camera = self.supervisor.camera(happened.camera);
        let name = camera.and_then(|camera| camera.label.name);
        let event = Arc::new(Event::new(happened, name.as_deref(), Timestamp::now()));
        for receiver in &self.receivers {
            if receiver.try_send(Arc::clone(&event)).is_err() {
                self.counts.drop_some(counts::NOT_KEPT, 1);
                tracing::debug!(
                    event = event.kind,
                    "a webhook's events cannot be kept as fast as they come"
                );
            }
        }
    }
}
