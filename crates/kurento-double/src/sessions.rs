//! Sessions: which WebSocket each is on, its subscriptions, and the replies that are remembered for it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;
use uuid::Uuid;

use crate::server::ConnectionId;

/// Replies that a session remembers for repeated ids; the oldest goes first.
const REMEMBERED_REPLIES: usize = 256;

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionView {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub session: String,
    /// To which object.
    pub object: String,
    /// To which event.
    pub event: String,
}

#[derive(Debug, Default)]
struct Session {
    /// The WebSocket that it was on last, which may be gone.
    connection: Option<ConnectionId>,
    replies: VecDeque<(Value, String)>,
}

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: BTreeMap<String, Session>,
    subscriptions: Vec<SubscriptionView>,
}

impl Sessions {
    pub(crate) fn open(&mut self) -> String {
        let id = Uuid::new_v4().to_string();
        self.sessions.insert(id.clone(), Session::default());
        id
    }

    /// The session's events go to this WebSocket from now on; one that is not known is now.
    pub(crate) fn take_up(&mut self, id: &str, connection: ConnectionId) {
        let session = self.sessions.entry(id.to_owned()).or_default();
        session.connection = Some(connection);
    }

    /// The session that a WebSocket was used for.
    pub(crate) fn of_connection(&self, connection: ConnectionId) -> Option<String> {
        let mut sessions = self.sessions.iter();
        sessions
            .find(|(_, session)| session.connection == Some(connection))
            .map(|(id, _)| id.clone())
    }

    pub(crate) fn close(&mut self, id: &str) {
        self.sessions.remove(id);
        self.subscriptions
            .retain(|subscription| subscription.session != id);
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.sessions.keys().cloned().collect()
    }

    pub(crate) fn cached(&self, id: &str, request: &Value) -> Option<String> {
        let mut replies = self.sessions.get(id)?.replies.iter();
        replies
            .find(|(known, _)| !known.is_null() && known == request)
            .map(|(_, reply)| reply.clone())
    }

    pub(crate) fn cache(&mut self, id: &str, request: &Value, reply: &str) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session
            .replies
            .push_back((request.clone(), reply.to_owned()));
        if session.replies.len() > REMEMBERED_REPLIES {
            session.replies.pop_front();
        }
    }

    pub(crate) fn subscribe(&mut self, session: &str, object: &str, event: &str) -> String {
        let id = Uuid::new_v4().to_string();
        self.subscriptions.push(SubscriptionView {
            id: id.clone(),
            session: session.to_owned(),
            object: object.to_owned(),
            event: event.to_owned(),
        });
        id
    }

    pub(crate) fn unsubscribe(&mut self, id: &str) {
        self.subscriptions
            .retain(|subscription| subscription.id != id);
    }

    pub(crate) fn subscriptions(&self) -> &[SubscriptionView] {
        &self.subscriptions
    }

    /// An object is gone, and nothing more will be heard of it.
    pub(crate) fn forget_object(&mut self, object: &str) {
        self.subscriptions
            .retain(|subscription| subscription.object != object);
    }

    /// Where an event of an object goes; once for each subscription.
    pub(crate) fn subscribers(&self, object: &str, event: &str) -> Vec<ConnectionId> {
        self.subscriptions
            .iter()
            .filter(|subscription| subscription.object == object && subscription.event == event)
            .filter_map(|subscription| self.sessions.get(&subscription.session)?.connection)
            .collect()
    }
}
