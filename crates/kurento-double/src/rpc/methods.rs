//! The methods of the protocol; `invoke` has a file of its own.

use serde_json::{Map, Value, json};

use super::invoke;
use super::params::{Params, text};
use crate::fault::RpcFault;
use crate::objects::Kind;
use crate::server::{ConnectionId, Server};

/// The `result` of a reply.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Only `closeSession` says so.
    Nothing,
    Members(Map<String, Value>),
}

impl Answer {
    fn value(value: Value) -> Self {
        Self::members(json!({ "value": value }))
    }

    fn members(members: Value) -> Self {
        match members {
            Value::Object(members) => Self::Members(members),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Self::Nothing,
        }
    }

    fn in_session(mut self, session: Option<&str>) -> Self {
        if let (Self::Members(members), Some(session)) = (&mut self, session) {
            members.insert("sessionId".to_owned(), session.into());
        }
        self
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Members(members) => Value::Object(members.clone()),
        }
    }
}

pub(crate) fn call(
    server: &mut Server,
    connection: ConnectionId,
    method: &str,
    params: &Value,
) -> Result<Answer, RpcFault> {
    if !METHODS.contains(&method) {
        return Err(RpcFault::unknown_method());
    }
    let params = Params::of_request(params)?;
    let named = params.get("sessionId").and_then(text);
    let known = named.or_else(|| server.sessions.of_connection(connection));
    let session = match known {
        // A ping opens no session; whatever else comes does.
        None if method == "ping" => return Ok(Answer::value("pong".into())),
        None => server.sessions.open(),
        Some(known) => known,
    };
    server.sessions.take_up(&session, connection);
    if method == "closeSession" {
        server.close_session(&session);
        return Ok(Answer::Nothing);
    }
    in_session(server, &session, method, params).map(|answer| answer.in_session(Some(&session)))
}

const METHODS: &[&str] = &[
    "closeSession",
    "connect",
    "create",
    "describe",
    "invoke",
    "ping",
    "ref",
    "release",
    "subscribe",
    "transaction",
    "unref",
    "unsubscribe",
];

fn in_session(
    server: &mut Server,
    session: &str,
    method: &str,
    params: Params<'_>,
) -> Result<Answer, RpcFault> {
    match method {
        "ping" => Ok(Answer::value("pong".into())),
        "connect" => Ok(Answer::members(json!({ "serverId": server.id }))),
        "create" => create(server, session, params).map(|id| Answer::value(id.into())),
        "describe" => describe(server, session, &params.required("object")?),
        "invoke" => invoke_operation(server, session, params).map(Answer::value),
        "subscribe" => subscribe(server, session, params).map(|id| Answer::value(id.into())),
        "unsubscribe" => {
            let subscription = params.required("subscription")?;
            server.sessions.unsubscribe(&subscription);
            Ok(Answer::members(json!({})))
        }
        "release" => {
            server.release(&params.required("object")?);
            Ok(Answer::members(json!({})))
        }
        "ref" | "unref" => {
            let object = params.required("object")?;
            // An object that nobody holds any more was seen to stay, so that letting go changes nothing.
            if method == "ref" {
                server.touch(session, &object)?;
            }
            Ok(Answer::members(json!({})))
        }
        "transaction" => Ok(Answer::value(transaction(server, session, params))),
        _ => Err(RpcFault::unknown_method()),
    }
}

fn create(server: &mut Server, session: &str, params: Params<'_>) -> Result<String, RpcFault> {
    let name = params.required("type")?;
    let kind = Kind::named(&name).ok_or_else(|| RpcFault::unknown_type(&name))?;
    let constructor = params.inner("constructorParams")?;
    let parent = match kind {
        Kind::ServerManager => return Err(RpcFault::unknown_type(&name)),
        Kind::MediaPipeline => None,
        Kind::RtpEndpoint | Kind::WebRtcEndpoint | Kind::Other(_) => {
            let pipeline = constructor.text("mediaPipeline")?;
            match server.objects.get(&pipeline)?.kind {
                Kind::MediaPipeline => Some(pipeline),
                Kind::ServerManager | Kind::RtpEndpoint | Kind::WebRtcEndpoint | Kind::Other(_) => {
                    return Err(RpcFault::unexpected("bad_weak_ptr"));
                }
            }
        }
    };
    let data_channels = constructor.get("useDataChannels") == Some(&Value::Bool(true));
    let id = server.create(session, kind, parent, data_channels);
    let properties = params.inner("properties")?;
    if let Some(name) = properties.get("name").and_then(text) {
        server.objects.get_mut(&id)?.name = name;
    }
    Ok(id)
}

fn describe(server: &mut Server, session: &str, id: &str) -> Result<Answer, RpcFault> {
    server.touch(session, id)?;
    let kind = server.objects.get(id)?.kind;
    Ok(Answer::members(json!({
        "hierarchy": kind.hierarchy(),
        "qualifiedType": format!("kurento.{}", kind.name()),
        "type": kind.name(),
    })))
}

fn invoke_operation(
    server: &mut Server,
    session: &str,
    params: Params<'_>,
) -> Result<Value, RpcFault> {
    let object = params.required("object")?;
    let operation = params.required("operation")?;
    server.touch(session, &object)?;
    let parameters = params.inner("operationParams")?;
    invoke::invoke(server, &object, &operation, parameters)
}

fn subscribe(server: &mut Server, session: &str, params: Params<'_>) -> Result<String, RpcFault> {
    let event = params.required("type")?;
    let object = params.required("object")?;
    server.touch(session, &object)?;
    let kind = server.objects.get(&object)?.kind;
    if !server.options.knows_event(kind, &event) {
        return Err(RpcFault::unknown_event(&event));
    }
    Ok(server.sessions.subscribe(session, &object, &event))
}

/// All operations, one after the other; what earlier ones created goes by `newref:` and their number.
fn transaction(server: &mut Server, session: &str, params: Params<'_>) -> Value {
    let operations = params.get("operations").and_then(Value::as_array);
    let mut results: Vec<Value> = Vec::new();
    for operation in operations.into_iter().flatten() {
        let method = operation["method"].as_str().unwrap_or_default();
        let resolved = resolve(&operation["params"], &results);
        let answer = Params::of_request(&resolved)
            .and_then(|params| in_session(server, session, method, params))
            .map(|answer| answer.in_session(Some(session)));
        results.push(match answer {
            Ok(answer) => {
                json!({ "id": operation["id"], "jsonrpc": "2.0", "result": answer.to_json() })
            }
            Err(fault) => {
                json!({ "id": operation["id"], "jsonrpc": "2.0", "error": fault.to_json() })
            }
        });
    }
    results.into()
}

fn resolve(value: &Value, results: &[Value]) -> Value {
    match value {
        Value::String(text) => {
            let created = text.strip_prefix("newref:").and_then(|number| {
                let number: u64 = number.parse().ok()?;
                let created = results.iter().find(|result| result["id"] == number);
                Some(&created?["result"]["value"])
            });
            created.unwrap_or(value).clone()
        }
        Value::Array(items) => items.iter().map(|item| resolve(item, results)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), resolve(member, results)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}
