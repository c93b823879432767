//! What those who run the program see of it and turn: whether it is ready and alive, what it tells systemd, how its
//! settings change while it runs.
//!
//! The figures are [`crate::metrics`]; the routes are `http::operation`.

mod liveness;
mod pulse;
mod readiness;
mod reload;
mod service_manager;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use apiary_media::engine::MediaEngine;
use apiary_store::StoreWriter;

use crate::metrics::{Metrics, Sources};
use crate::push::Push;
use crate::supervisor::{CameraCommands, Supervisor};
use crate::tls::Https;
use crate::webhooks::Webhooks;

pub use liveness::{HUNG_AFTER, Liveness};
pub use pulse::Pulse;
pub use readiness::{Look, Readiness, Report};
pub use reload::{ReloadError, ReloadRequest, Reloaded, Reloader, Reloads};
pub use service_manager::{ServiceManager, ServiceManagerError};

/// What the running program is asked about itself; clones ask the same.
#[derive(Clone)]
pub struct Operation {
    /// Whether it can do its work.
    pub readiness: Readiness,
    /// Whether it hangs.
    pub liveness: Liveness,
    /// Its figures.
    pub metrics: Metrics,
    /// Who is told what happens.
    pub webhooks: Webhooks,
    /// Browsers that are.
    pub push: Push,
    /// Has its settings read again.
    pub reloader: Reloader,
    /// The queue of the database.
    pub writer: StoreWriter,
    /// How many pages are told how everything stands.
    pub live_sockets: Arc<AtomicUsize>,
    pulse: Arc<Pulse>,
}

/// What tells others what happens.
pub struct Announcers {
    /// Other programs.
    pub webhooks: Webhooks,
    /// Browsers.
    pub push: Push,
}

impl Operation {
    /// Of a program with these parts; [`Operation::watch`] keeps looking at it.
    pub fn new(
        supervisor: Supervisor,
        engine: Arc<dyn MediaEngine>,
        commands: Arc<dyn CameraCommands>,
        writer: StoreWriter,
        announcers: Announcers,
        reloader: Reloader,
        https: Option<Https>,
    ) -> Self {
        let Announcers { webhooks, push } = announcers;
        let pulse = Arc::new(Pulse::default());
        let readiness = Readiness::new(commands.broker(), Arc::clone(&engine), writer.clone());
        let liveness = Liveness::new(Arc::clone(&engine), Arc::clone(&pulse));
        let live_sockets = Arc::new(AtomicUsize::new(0));
        let metrics = Metrics::new(Sources {
            supervisor,
            engine,
            commands,
            writer: writer.clone(),
            readiness: readiness.clone(),
            pulse: Arc::clone(&pulse),
            webhooks: webhooks.clone(),
            push: push.clone(),
            https,
            live_sockets: Arc::clone(&live_sockets),
        });
        Self {
            readiness,
            liveness,
            metrics,
            webhooks,
            push,
            reloader,
            writer,
            live_sockets,
            pulse,
        }
    }

    /// Watches the program, without end.
    pub async fn watch(&self) {
        tokio::join!(self.pulse.beat(), self.readiness.keep_looking());
    }
}
