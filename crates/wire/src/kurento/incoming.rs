//! What comes from a server: replies and events.

use serde_json::Value;

use super::error::RpcError;
use super::event::Event;
use super::request::ObjectId;

/// Why a message means nothing.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// It is no JSON.
    #[error("not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON, but neither a reply nor a notification.
    #[error("neither a reply nor an event")]
    NotRpc,
}

/// A message of the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The answer to a request of ours.
    Reply {
        /// The request's id.
        id: u64,
        /// What it says.
        outcome: Result<Reply, RpcError>,
    },
    /// An error about a request that the server could not even find the id of.
    Complaint(RpcError),
    /// Something happened.
    Event(Event),
    /// An event, or a notification, that nobody here needs.
    Unknown,
}

impl Incoming {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is no JSON-RPC.
    pub fn parse(text: &str) -> Result<Self, IncomingError> {
        let mut message: Value = serde_json::from_str(text).map_err(IncomingError::NotJson)?;
        if let Some(method) = message.get("method").and_then(Value::as_str) {
            let value = message.pointer("/params/value");
            let event = value.filter(|_| method == "onEvent");
            let event = event.and_then(Event::from_value);
            return Ok(event.map_or(Self::Unknown, Self::Event));
        }
        let id = message.get("id").and_then(Value::as_u64);
        if let Some(error) = message.get("error") {
            let error = RpcError::from_value(error);
            return Ok(match id {
                Some(id) => Self::Reply {
                    id,
                    outcome: Err(error),
                },
                None => Self::Complaint(error),
            });
        }
        match (id, message.get_mut("result")) {
            (Some(id), Some(result)) => Ok(Self::Reply {
                id,
                outcome: Ok(Reply(result.take())),
            }),
            (_, _) => Err(IncomingError::NotRpc),
        }
    }
}

/// The `result` of a reply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply(Value);

/// A session at a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSession {
    /// This run of the server; another after it was restarted, which has none of the earlier objects.
    pub server_id: String,
    /// To be sent with every request.
    pub session_id: String,
}

impl Reply {
    /// What the operation gave: the member `value`.
    pub fn value(&self) -> &Value {
        self.0.get("value").unwrap_or(&Value::Null)
    }

    /// A text, such as an SDP.
    pub fn text(&self) -> Option<&str> {
        self.value().as_str()
    }

    /// The new object of a `create`.
    pub fn object(&self) -> Option<ObjectId> {
        self.text().map(ObjectId::new)
    }

    /// What `connect` gives.
    pub fn session(&self) -> Option<ServerSession> {
        let text = |name| self.0.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(ServerSession {
            // Not all versions tell it; then only the objects themselves show whether they are still there.
            server_id: text("serverId").unwrap_or_default(),
            session_id: text("sessionId")?,
        })
    }
}

/// The version in what `getInfo` gives.
pub fn server_version(reply: &Reply) -> Option<&str> {
    reply.value().get("version")?.as_str()
}

/// The texts in what `getPipelines` gives; what is no text is left out.
pub fn text_list(reply: &Reply) -> Vec<&str> {
    let list = reply.value().as_array();
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}
