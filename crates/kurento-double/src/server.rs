//! The server's whole state behind one lock, and what reaches across its parts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use uuid::Uuid;

use crate::endpoint::{RtpEndpoint, WebRtcEndpoint};
use crate::fault::RpcFault;
use crate::faults::{Faults, Journal};
use crate::links::Link;
use crate::objects::{Endpoint, Kind, MANAGER, Object, Objects};
use crate::options::Options;
use crate::rpc::{Outgoing, event_text};
use crate::sessions::Sessions;

/// One WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// The server. Nothing waits while it holds the lock.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Server>>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

impl Shared {
    pub(crate) fn new(options: Options, runtime: Handle) -> Self {
        Self(Arc::new_cyclic(|this| {
            Mutex::new(Server::new(options, runtime, this.clone()))
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Server> {
        // A test that panics while it looks must not hide why.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) options: Options,
    pub(crate) objects: Objects,
    pub(crate) sessions: Sessions,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    /// What `getUsedCpu` says, in percent.
    pub(crate) load: f64,
    pub(crate) links: Vec<Link>,
    /// Counts sessions of SDP.
    pub(crate) sdp_sessions: u64,
    connections: BTreeMap<ConnectionId, UnboundedSender<Outgoing>>,
    next_connection: u64,
    runtime: Handle,
    this: Weak<Mutex<Server>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Server {
    fn new(options: Options, runtime: Handle, this: Weak<Mutex<Self>>) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            options,
            objects: Objects::new(),
            sessions: Sessions::default(),
            journal: Journal::default(),
            faults: Faults::default(),
            load: 1.5,
            links: Vec::new(),
            sdp_sessions: 4_004_343_376,
            connections: BTreeMap::new(),
            next_connection: 0,
            runtime,
            this,
        }
    }

    /// Another process takes its place: nothing is known any more. Returns what must end with the old one.
    pub(crate) fn forget_everything(&mut self) -> Vec<Object> {
        self.id = Uuid::new_v4().to_string();
        self.sessions = Sessions::default();
        self.connections.clear();
        self.links.clear();
        self.objects.take_all()
    }

    pub(crate) fn connected(&mut self, outgoing: UnboundedSender<Outgoing>) -> ConnectionId {
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        self.connections.insert(id, outgoing);
        id
    }

    pub(crate) fn disconnected(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
    }

    /// Sends text, whatever it is, to everybody who is connected.
    pub(crate) fn send_to_all(&self, text: &str) {
        for connection in self.connections.values() {
            // Whoever has just left misses it.
            let _ = connection.send(Outgoing(text.to_owned()));
        }
    }

    pub(crate) fn create(
        &mut self,
        session: &str,
        kind: Kind,
        parent: Option<String>,
        data_channels: bool,
    ) -> String {
        let own = format!("{}_kurento.{}", Uuid::new_v4(), kind.name());
        let id = match &parent {
            Some(pipeline) => format!("{pipeline}/{own}"),
            None => own,
        };
        let voice = Voice {
            server: self.this.clone(),
            object: id.clone(),
        };
        let endpoint = match kind {
            Kind::RtpEndpoint => {
                let wild = self.options.wild_first_remb;
                Endpoint::Rtp(Box::new(RtpEndpoint::new(&self.runtime, voice, wild)))
            }
            Kind::WebRtcEndpoint => {
                let endpoint = WebRtcEndpoint::new(&self.runtime, voice, data_channels);
                Endpoint::WebRtc(Box::new(endpoint))
            }
            Kind::ServerManager | Kind::MediaPipeline | Kind::Other(_) => Endpoint::None,
        };
        self.objects
            .add(Object::new(id.clone(), kind, parent, endpoint));
        if !session.is_empty() {
            // It was added just now.
            let _ = self.objects.hold(session, &id);
        }
        self.emit(MANAGER, "ObjectCreated", json!({ "object": id }));
        id
    }

    pub(crate) fn touch(&mut self, session: &str, id: &str) -> Result<(), RpcFault> {
        self.objects.hold(session, id)
    }

    pub(crate) fn close_session(&mut self, session: &str) {
        for unused in self.objects.let_go(session) {
            self.release(&unused);
        }
        self.sessions.close(session);
    }

    /// Releases an object and all in it; what is not there counts as released.
    pub(crate) fn release(&mut self, id: &str) {
        for object in self.objects.take(id) {
            match object.endpoint {
                Endpoint::Rtp(endpoint) => endpoint.close(),
                Endpoint::WebRtc(endpoint) => endpoint.close(),
                Endpoint::None => {}
            }
            self.unlink_all(&object.id);
            self.sessions.forget_object(&object.id);
            self.emit(MANAGER, "ObjectDestroyed", json!({ "objectId": object.id }));
        }
    }

    /// Tells the subscribers of an event, by all of its names; `data` gets what all events have.
    pub(crate) fn emit(&self, object: &str, event: &'static str, data: Value) {
        for name in self.options.names_of(event) {
            self.emit_by_name(object, name, data.clone());
        }
    }

    pub(crate) fn emit_by_name(&self, object: &str, name: &str, data: Value) {
        let subscribers = self.sessions.subscribers(object, name);
        if subscribers.is_empty() {
            return;
        }
        let text = event_text(object, name, &self.event_data(object, name, data));
        for subscriber in subscribers {
            if let Some(connection) = self.connections.get(&subscriber) {
                // As above.
                let _ = connection.send(Outgoing(text.clone()));
            }
        }
    }

    fn event_data(&self, object: &str, event: &str, data: Value) -> Value {
        let mut data = match data {
            Value::Object(members) => members,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        data.insert("source".to_owned(), object.into());
        data.insert("tags".to_owned(), json!([]));
        data.insert(
            "timestampMillis".to_owned(),
            now.as_millis().to_string().into(),
        );
        if !self.options.is_v7() {
            data.insert("timestamp".to_owned(), now.as_secs().to_string().into());
        }
        // The manager's own events do not repeat their name.
        if object != MANAGER && !data.contains_key("type") {
            data.insert("type".to_owned(), event.into());
        }
        data.into()
    }
}

/// Through which an endpoint's media tells of its events.
#[derive(Clone, Debug)]
pub(crate) struct Voice {
    server: Weak<Mutex<Server>>,
    object: String,
}

impl Voice {
    pub(crate) fn object(&self) -> &str {
        &self.object
    }

    pub(crate) fn emit(&self, event: &'static str, data: Value) {
        if let Some(server) = self.server.upgrade() {
            let server = server.lock().unwrap_or_else(PoisonError::into_inner);
            server.emit(&self.object, event, data);
        }
    }
}
