//! From a frame's text to a reply's: what is a request, and how an answer is wrapped.

use serde_json::{Value, json};

use super::methods::{self, Answer};
use super::params::Params;
use crate::fault::RpcFault;
use crate::faults::{Fate, Names};
use crate::server::{ConnectionId, Server};

/// What becomes of one frame.
#[derive(Debug)]
pub(super) enum Outcome {
    Reply(String),
    /// Nothing goes back.
    Silence,
    /// The TCP connection ends without a word.
    Drop,
}

/// A message that is a request.
#[derive(Debug)]
struct Request {
    id: Value,
    method: String,
    params: Value,
}

pub(super) fn handle(server: &mut Server, connection: ConnectionId, text: &str) -> Outcome {
    // What follows the first value is not looked at.
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let Some(Ok(message)) = values.next() else {
        return Outcome::Drop;
    };
    let Some(request) = Request::from_message(&message) else {
        let fault = RpcFault::invalid_request();
        return Outcome::Reply(error_text(&Value::Null, &fault));
    };
    let names = Names::of(&request.method, &request.params);
    server.journal.note(&names);
    match server.faults.fate_of(&names) {
        Fate::Answer => Outcome::Reply(reply(server, connection, &request)),
        Fate::Fail(fault) => Outcome::Reply(error_text(&request.id, &fault)),
        Fate::Swallow { carried_out } => {
            if carried_out {
                reply(server, connection, &request);
            }
            Outcome::Silence
        }
        Fate::Drop { carried_out } => {
            if carried_out {
                reply(server, connection, &request);
            }
            Outcome::Drop
        }
    }
}

impl Request {
    fn from_message(message: &Value) -> Option<Self> {
        let members = message.as_object()?;
        let id = members.get("id").cloned().unwrap_or(Value::Null);
        let id_is_fit = id.is_null() || id.is_number() || id.is_string();
        if members.get("jsonrpc")?.as_str()? != "2.0" || !id_is_fit {
            return None;
        }
        Some(Self {
            id,
            method: members.get("method")?.as_str()?.to_owned(),
            params: members.get("params").cloned().unwrap_or(Value::Null),
        })
    }
}

fn reply(server: &mut Server, connection: ConnectionId, request: &Request) -> String {
    let named = Params::of_request(&request.params)
        .map(|params| params.get("sessionId").and_then(Value::as_str))
        .ok()
        .flatten();
    if let Some(session) = named
        && let Some(known) = server.sessions.cached(session, &request.id)
    {
        return known;
    }
    let answer = methods::call(server, connection, &request.method, &request.params);
    let text = match &answer {
        Err(fault) => error_text(&request.id, fault),
        Ok(answer) if request.id.is_null() => notification_text(answer),
        Ok(answer) => success_text(&request.id, answer),
    };
    if let Some(session) = named {
        server.sessions.cache(session, &request.id, &text);
    }
    text
}

fn success_text(id: &Value, answer: &Answer) -> String {
    json!({ "id": id, "jsonrpc": "2.0", "result": answer.to_json() }).to_string()
}

/// An answer to what needs none goes back as an error around it.
fn notification_text(answer: &Answer) -> String {
    let error = json!({
        "code": -32000,
        "data": answer.to_json(),
        "message": "Ignoring response because of a notification request",
    });
    json!({ "error": error, "id": null, "jsonrpc": "2.0" }).to_string()
}

fn error_text(id: &Value, fault: &RpcFault) -> String {
    json!({ "error": fault.to_json(), "id": id, "jsonrpc": "2.0" }).to_string()
}

/// The message of one event.
pub(crate) fn event_text(object: &str, event: &str, data: &Value) -> String {
    let value = json!({ "data": data, "object": object, "type": event });
    json!({ "jsonrpc": "2.0", "method": "onEvent", "params": { "value": value } }).to_string()
}
