//! One media server of the pool: how it stands, and what is still to be released on it.
//!
//! Whatever is given up here is released in the end: objects wait in a list until the server has confirmed their release, or
//! is known to have forgotten them. After each (re)connection the server's pipelines are looked through for ones of ours that
//! nobody here knows, and those go too.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apiary_wire::kurento::{
    EventName, ObjectId, Operation, Reply, Request, RpcErrorKind, server_version, text_list,
};
use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ServerAddress;
use super::client::{CallError, Client};
use super::connection::Up;
use crate::engine::MediaServer;

/// Objects that may wait for their release; more are left to the search after the next connection.
const MAX_RELEASES: usize = 10_000;
/// Objects that are released at once.
const RELEASES_AT_ONCE: usize = 16;
/// How often a server may refuse to release an object before that is left to the next connection.
const MAX_REFUSALS: u32 = 5;
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
    Sweeping {
        up: Up,
        /// Why that does not succeed.
        trouble: Option<String>,
    },
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
    /// What is to be released, and how often the server refused to.
    releases: HashMap<ObjectId, u32>,
    /// Counts the connections, so that what was begun on an earlier one knows.
    connections: u64,
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
                releases: HashMap::new(),
                connections: 0,
            }),
            releases_changed: Notify::new(),
            stop,
        }
    }

    /// How it is called in logs and errors.
    pub(super) fn name(&self) -> &str {
        &self.address.url
    }

    fn has_legacy_names(&self) -> bool {
        self.state().has_legacy_names
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

    /// Whether it is connected and known, so that what is on it can go on.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state().link, Link::Ready(_))
    }

    /// Why it takes none.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state();
        match &state.link {
            Link::Down { why, .. } => Some(format!("{}: {why}", self.name())),
            Link::Sweeping { trouble, .. } => Some(match trouble {
                Some(trouble) => format!("{}: {trouble}", self.name()),
                None => format!("{}: just connected", self.name()),
            }),
            Link::Ready(_) if state.draining => Some(format!("{}: being drained", self.name())),
            Link::Ready(_) => None,
        }
    }

    /// Whether it was connected a moment ago and may be back soon.
    pub(super) fn may_be_back_within(&self, patience: Duration) -> bool {
        let state = self.state();
        match state.link {
            Link::Sweeping { .. } => !state.draining,
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

    /// Gives the number of the connection.
    pub(super) fn on_up(&self, up: Up) -> u64 {
        let mut state = self.state();
        state.link = Link::Sweeping { up, trouble: None };
        // It may be another version by now.
        state.cannot.clear();
        state.has_legacy_names = false;
        state.connections += 1;
        self.releases_changed.notify_one();
        state.connections
    }

    /// Whether the connection with this number is still the one.
    pub(super) fn is_still(&self, connection: u64) -> bool {
        let state = self.state();
        state.connections == connection && !matches!(state.link, Link::Down { .. })
    }

    /// The server does not say what it has.
    pub(super) fn on_sweep_failed(&self, why: String) {
        if let Link::Sweeping { trouble, .. } = &mut self.state().link {
            *trouble = Some(why);
        }
    }

    /// It is as good as just connected: it will be there in a moment.
    pub(super) fn expect(&self) {
        if let Link::Down { since, .. } = &mut self.state().link {
            since.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn on_down(&self, why: &str) {
        let mut state = self.state();
        let since = match state.link {
            Link::Down { since, .. } => since,
            Link::Sweeping { .. } | Link::Ready(_) => Some(Instant::now()),
        };
        state.link = Link::Down {
            why: why.to_owned(),
            since,
        };
        state.cpu_percent = None;
        state.memory_mib = None;
    }

    /// What is being set up on it now is to be set up elsewhere.
    pub(super) fn void_openings(&self) {
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
            Link::Sweeping { up, .. } | Link::Ready(up) if up.is_here => Some(ours),
            Link::Sweeping {
                up: Up { peer, .. },
                ..
            }
            | Link::Ready(Up { peer, .. }) => match peer {
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
            Link::Sweeping { trouble, .. } => {
                let why = trouble.as_deref().unwrap_or("just connected");
                (false, Some(why.to_owned()))
            }
            Link::Ready(_) => (true, None),
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
            Some(legacy) if self.has_legacy_names() => legacy,
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
            state.releases.entry(object).or_insert(0);
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
                if !self.release_all().await {
                    tokio::time::sleep(RELEASE_RETRY).await;
                }
            }
        }
    }

    /// One attempt for each object, so that none that hangs holds up the others. Whether all went.
    async fn release_all(&self) -> bool {
        let waiting: Vec<ObjectId> = self.state().releases.keys().cloned().collect();
        let attempts = waiting.into_iter().map(|object| async move {
            let request = Request::Release {
                object: object.clone(),
            };
            let released = self.client.call(request).await;
            self.on_released(object, released)
        });
        stream::iter(attempts)
            .buffer_unordered(RELEASES_AT_ONCE)
            .all(std::future::ready)
            .await
    }

    /// Whether the object is off the list.
    fn on_released(&self, object: ObjectId, released: Result<Reply, CallError>) -> bool {
        let mut state = self.state();
        match &released {
            Ok(_) => {}
            Err(error) if error.kind() == Some(RpcErrorKind::UnknownObject) => {}
            Err(CallError::Refused(error)) => {
                let refusals = state.releases.entry(object.clone()).or_insert(0);
                *refusals += 1;
                if *refusals < MAX_REFUSALS {
                    return false;
                }
                tracing::warn!(server = self.name(), %object, %error, "an object cannot be released; the next connection tries again");
            }
            Err(
                CallError::BadReply(_)
                | CallError::Timeout { .. }
                | CallError::Disconnected
                | CallError::Overloaded,
            ) => return false,
        }
        state.releases.remove(&object);
        true
    }

    /// Learns what the server is and which pipelines it has, and releases those of ours that are not `wanted`. Gives all that it
    /// has.
    ///
    /// # Errors
    /// When it did not answer; it is not ready then.
    pub(super) async fn sweep(
        &self,
        prefix: &str,
        wanted: impl Fn(&ObjectId) -> bool,
    ) -> Result<HashSet<ObjectId>, CallError> {
        let manager = ObjectId::server_manager();
        let info = self.client.invoke(&manager, Operation::GetInfo).await?;
        self.state().version = server_version(&info).map(str::to_owned);
        let list = self
            .client
            .invoke(&manager, Operation::GetPipelines)
            .await?;
        let all: HashSet<ObjectId> = text_list(&list).into_iter().map(ObjectId::new).collect();
        let mut swept = 0;
        for pipeline in &all {
            if wanted(pipeline) || !self.is_ours(pipeline, prefix).await? || wanted(pipeline) {
                continue;
            }
            swept += 1;
            self.release(pipeline.clone());
        }
        if swept > 0 {
            tracing::info!(
                server = self.name(),
                pipelines = swept,
                "releasing what an earlier run left"
            );
        }
        Ok(all)
    }

    /// It takes streams from now on, if the connection with this number is still the one. Whether it is.
    pub(super) fn transition_to_ready(&self, connection: u64) -> bool {
        let mut state = self.state();
        match state.link {
            Link::Sweeping { up, .. } if state.connections == connection => {
                state.link = Link::Ready(up);
                true
            }
            Link::Down { .. } | Link::Sweeping { .. } | Link::Ready(_) => false,
        }
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
