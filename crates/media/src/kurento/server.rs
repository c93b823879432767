//! One media server of the pool: how it stands, and what is still to be released on it.
//!
//! Whatever is given up here is released in the end: objects wait in a list until the server has confirmed their release, or
//! is known to have forgotten them. After each (re)connection the server's pipelines are looked through for ones of ours that
//! nobody here knows, and those go too.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apiary_wire::kurento::{
    EventName, ObjectId, Operation, Reply, Request, RpcErrorKind, server_version, text_list,
};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ServerAddress;
use super::client::{CallError, Client};
use super::connection::Up;
use crate::engine::MediaServer;

/// Objects that may wait for their release; more are left to the search after the next connection.
const MAX_RELEASES: usize = 10_000;
/// Pause before releases that failed are tried again.
const RELEASE_RETRY: Duration = Duration::from_millis(500);
/// Over how long a server measures its CPU.
const CPU_INTERVAL_MS: u32 = 1_000;
/// A stream or a viewer counts as much as this part of a core, in per cent…
const CPU_PER_LOAD: f32 = 10.0;
/// …and as this much memory, which is far more than either takes: it tells on servers that leak.
const MIB_PER_LOAD: f32 = 100.0;

/// How a server stands.
#[derive(Clone, Debug)]
enum Link {
    /// Not reached so far, or not any more.
    Down {
        why: String,
        /// When it was connected last.
        since: Option<Instant>,
    },
    /// Connected; what earlier runs left is being looked for.
    Sweeping(Up),
    /// It takes streams.
    Ready(Up),
}

#[derive(Debug)]
struct State {
    link: Link,
    /// Counts the times that its objects were lost.
    epoch: u64,
    draining: bool,
    /// What cameras are told to send to, where that is configured.
    advertised: Option<Ipv4Addr>,
    version: Option<String>,
    cpu_percent: Option<f32>,
    memory_mib: Option<u64>,
    /// It knows the events only by their names of old.
    has_legacy_names: bool,
    /// What it cannot do, and events that it does not have: not asked for again.
    cannot: HashSet<&'static str>,
    releases: HashSet<ObjectId>,
}

pub(super) struct Server {
    pub(super) address: ServerAddress,
    pub(super) client: Client,
    state: Mutex<State>,
    /// Something is to be released, or could be now.
    releases_changed: Notify,
    /// Ends its tasks.
    pub(super) stop: CancellationToken,
}

impl Server {
    pub(super) fn new(address: ServerAddress, client: Client, stop: CancellationToken) -> Self {
        Self {
            address,
            client,
            state: Mutex::new(State {
                link: Link::Down {
                    why: "not reached yet".to_owned(),
                    since: None,
                },
                epoch: 0,
                draining: false,
                advertised: None,
                version: None,
                cpu_percent: None,
                memory_mib: None,
                has_legacy_names: false,
                cannot: HashSet::new(),
                releases: HashSet::new(),
            }),
            releases_changed: Notify::new(),
            stop,
        }
    }

    /// How it is called in logs and errors.
    pub(super) fn name(&self) -> &str {
        &self.address.url
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each critical section is one assignment or leaves the set whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it takes streams.
    pub(super) fn is_ready(&self) -> bool {
        let state = self.state();
        matches!(state.link, Link::Ready(_)) && !state.draining
    }

    /// Why it takes none.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state();
        match &state.link {
            Link::Down { why, .. } => Some(format!("{}: {why}", self.name())),
            Link::Sweeping(_) => Some(format!("{}: just connected", self.name())),
            Link::Ready(_) if state.draining => Some(format!("{}: being drained", self.name())),
            Link::Ready(_) => None,
        }
    }

    /// Whether it was connected a moment ago and may be back soon.
    pub(super) fn may_be_back_within(&self, patience: Duration) -> bool {
        let state = self.state();
        match state.link {
            Link::Sweeping(_) => !state.draining,
            Link::Down { since, .. } => since.is_some_and(|since| since.elapsed() < patience),
            Link::Ready(_) => false,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.state().draining
    }

    pub(super) fn set_draining(&self, draining: bool) {
        self.state().draining = draining;
    }

    pub(super) fn set_advertised(&self, advertised: Option<Ipv4Addr>) {
        self.state().advertised = advertised;
    }

    pub(super) fn epoch(&self) -> u64 {
        self.state().epoch
    }

    pub(super) fn on_up(&self, up: Up) {
        self.state().link = Link::Sweeping(up);
        self.releases_changed.notify_one();
    }

    pub(super) fn on_down(&self, why: &str) {
        let mut state = self.state();
        let since = match state.link {
            Link::Down { since, .. } => since,
            Link::Sweeping(_) | Link::Ready(_) => Some(Instant::now()),
        };
        state.link = Link::Down {
            why: why.to_owned(),
            since,
        };
        state.cpu_percent = None;
        state.memory_mib = None;
    }

    /// From now on nothing that was set up on it counts.
    pub(super) fn on_lost(&self) {
        self.state().epoch += 1;
    }

    /// Nothing is left on it that could be released.
    pub(super) fn on_forgotten(&self) {
        self.state().releases.clear();
    }

    /// What cameras are told to send to: `None` stands for the address that the server gives itself.
    pub(super) fn advertised(&self, ours: Ipv4Addr) -> Option<Ipv4Addr> {
        let state = self.state();
        if state.advertised.is_some() {
            return state.advertised;
        }
        match state.link {
            Link::Sweeping(up) | Link::Ready(up) if up.is_here => Some(ours),
            Link::Sweeping(Up { peer, .. }) | Link::Ready(Up { peer, .. }) => match peer {
                std::net::IpAddr::V4(peer) => Some(peer),
                std::net::IpAddr::V6(_) => None,
            },
            Link::Down { .. } => None,
        }
    }

    /// What it has to do, for comparison with others: one for each stream and viewer, for each tenth of a core and for each
    /// 100 MiB in use.
    pub(super) fn load(&self, streams: usize, viewers: usize) -> f32 {
        let state = self.state();
        let cpu = state.cpu_percent.unwrap_or(0.0);
        let memory = state.memory_mib.unwrap_or(0) as f32;
        (streams + viewers) as f32 + cpu / CPU_PER_LOAD + memory / MIB_PER_LOAD
    }

    pub(super) fn report(&self, streams: usize, viewers: usize) -> MediaServer {
        let state = self.state();
        let (connected, error) = match &state.link {
            Link::Down { why, .. } => (false, Some(why.clone())),
            Link::Sweeping(_) | Link::Ready(_) => (true, None),
        };
        MediaServer {
            url: self.name().to_owned(),
            connected,
            draining: state.draining,
            version: state.version.clone(),
            streams,
            viewers,
            cpu_percent: state.cpu_percent,
            memory_mib: state.memory_mib,
            error,
        }
    }

    // ---- what it can do ----

    /// Has it do something that not every version can. `None`: it cannot.
    pub(super) async fn try_invoke(
        &self,
        object: &ObjectId,
        operation: Operation,
    ) -> Result<Option<Reply>, CallError> {
        let name = operation.name();
        if !self.can(name) {
            return Ok(None);
        }
        match self.client.invoke(object, operation).await {
            Ok(reply) => Ok(Some(reply)),
            Err(error) => match error.kind() {
                Some(RpcErrorKind::UnknownOperation | RpcErrorKind::Unsupported) => {
                    self.state().cannot.insert(name);
                    tracing::debug!(server = self.name(), operation = name, "not supported");
                    Ok(None)
                }
                Some(_) | None => Err(error),
            },
        }
    }

    /// Asks for an event, by its name of old where the server knows no other.
    pub(super) async fn subscribe(
        &self,
        object: &ObjectId,
        event: EventName,
    ) -> Result<(), CallError> {
        let legacy = event.legacy();
        let first = match legacy {
            Some(legacy) if self.state().has_legacy_names => legacy,
            Some(_) | None => event,
        };
        let subscribe = |event| {
            self.client.call(Request::Subscribe {
                object: object.clone(),
                event,
            })
        };
        let Err(error) = subscribe(first).await else {
            return Ok(());
        };
        match legacy {
            Some(legacy) if error.kind() == Some(RpcErrorKind::UnknownEvent) && first != legacy => {
                subscribe(legacy).await?;
                self.state().has_legacy_names = true;
                Ok(())
            }
            Some(_) | None => Err(error),
        }
    }

    /// Asks for an event that can be done without.
    pub(super) async fn subscribe_if_known(
        &self,
        object: &ObjectId,
        event: EventName,
    ) -> Result<(), CallError> {
        if !self.can(event.as_str()) {
            return Ok(());
        }
        match self.subscribe(object, event).await {
            Err(CallError::Refused(error)) => {
                tracing::debug!(server = self.name(), ?event, %error, "an event is not to be had");
                if error.kind() == RpcErrorKind::UnknownEvent {
                    self.state().cannot.insert(event.as_str());
                }
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Whether it has an operation, or an event, as far as is known.
    pub(super) fn can(&self, name: &str) -> bool {
        !self.state().cannot.contains(name)
    }

    /// Asks how much CPU and memory it uses, where it tells.
    pub(super) async fn ask_for_load(&self) {
        let operation = Operation::GetUsedCpu {
            interval_ms: CPU_INTERVAL_MS,
        };
        let manager = ObjectId::server_manager();
        let percent = match self.try_invoke(&manager, operation).await {
            Ok(Some(reply)) => reply.value().as_f64(),
            Ok(None) | Err(_) => None,
        };
        let memory = match self.try_invoke(&manager, Operation::GetUsedMemory).await {
            Ok(Some(reply)) => reply.value().as_u64(),
            Ok(None) | Err(_) => None,
        };
        let mut state = self.state();
        state.cpu_percent = percent.map(|percent| percent as f32);
        state.memory_mib = memory.map(|kib| kib / 1024);
    }

    // ---- what is to go ----

    /// Releases an object as soon as the server takes it.
    pub(super) fn release(&self, object: ObjectId) {
        let mut state = self.state();
        if state.releases.len() < MAX_RELEASES {
            state.releases.insert(object);
        }
        drop(state);
        self.releases_changed.notify_one();
    }

    pub(super) fn has_releases(&self) -> bool {
        !self.state().releases.is_empty()
    }

    pub(super) fn is_up(&self) -> bool {
        !matches!(self.state().link, Link::Down { .. })
    }

    /// Releases what waits, until it is stopped.
    pub(super) async fn keep_releasing(&self) {
        loop {
            self.releases_changed.notified().await;
            while self.is_up() && self.has_releases() {
                if self.release_all().await.is_err() {
                    tokio::time::sleep(RELEASE_RETRY).await;
                }
            }
        }
    }

    async fn release_all(&self) -> Result<(), CallError> {
        let waiting: Vec<ObjectId> = self.state().releases.iter().cloned().collect();
        for object in waiting {
            let request = Request::Release {
                object: object.clone(),
            };
            match self.client.call(request).await {
                Ok(_) => {}
                // It will not be different the next time.
                Err(CallError::Refused(error)) => {
                    tracing::warn!(server = self.name(), %object, %error, "an object cannot be released");
                }
                Err(error) => return Err(error),
            }
            self.state().releases.remove(&object);
        }
        Ok(())
    }

    /// Learns what the server is, and releases the pipelines of ours on it that are not `wanted`.
    ///
    /// # Errors
    /// When it did not answer; it is not ready then.
    pub(super) async fn sweep(
        &self,
        prefix: &str,
        wanted: impl Fn(&ObjectId) -> bool,
    ) -> Result<(), CallError> {
        let manager = ObjectId::server_manager();
        let info = self.client.invoke(&manager, Operation::GetInfo).await?;
        self.state().version = server_version(&info).map(str::to_owned);
        let list = self
            .client
            .invoke(&manager, Operation::GetPipelines)
            .await?;
        let mut swept = 0;
        for pipeline in text_list(&list).into_iter().map(ObjectId::new) {
            if wanted(&pipeline) || !self.is_ours(&pipeline, prefix).await? {
                continue;
            }
            swept += 1;
            self.release(pipeline);
        }
        if swept > 0 {
            tracing::info!(
                server = self.name(),
                pipelines = swept,
                "releasing what an earlier run left"
            );
        }
        let mut state = self.state();
        if let Link::Sweeping(up) = state.link {
            state.link = Link::Ready(up);
        }
        drop(state);
        self.releases_changed.notify_one();
        Ok(())
    }

    async fn is_ours(&self, pipeline: &ObjectId, prefix: &str) -> Result<bool, CallError> {
        match self.client.invoke(pipeline, Operation::GetName).await {
            Ok(reply) => {
                let rest = reply.text().and_then(|name| name.strip_prefix(prefix));
                Ok(rest.is_some_and(|rest| rest.starts_with('/')))
            }
            // It went while we asked.
            Err(CallError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
