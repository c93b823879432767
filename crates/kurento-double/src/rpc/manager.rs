//! The operations of the ServerManager.

use serde_json::{Value, json};

use super::invoke::Answer;
use crate::server::Server;

const CORE: &[&str] = &["HubPort", "MediaPipeline", "PassThrough"];
const ELEMENTS: &[&str] = &[
    "AlphaBlending",
    "Composite",
    "Dispatcher",
    "DispatcherOneToMany",
    "HttpPostEndpoint",
    "Mixer",
    "PlayerEndpoint",
    "RecorderEndpoint",
    "RtpEndpoint",
    "WebRtcEndpoint",
];
const USED_MEMORY_KIB: i64 = 48_128;

pub(super) fn operation(server: &Server, operation: &str) -> Answer {
    Some(Ok(match operation {
        "getInfo" => info(version(server)),
        "getPipelines" => server
            .objects
            .pipelines()
            .map(|object| object.id.clone())
            .collect(),
        // A real one counts three that are nobody's.
        "getSessions" => [const { String::new() }; 3]
            .into_iter()
            .chain(server.sessions.ids())
            .collect(),
        "getUsedCpu" => server.load.into(),
        "getUsedMemory" => USED_MEMORY_KIB.into(),
        "getCpuCount" => 2.into(),
        _ => return None,
    }))
}

fn version(server: &Server) -> &'static str {
    if server.options.is_v7() {
        "7.3.1-dev"
    } else {
        "6.16.0"
    }
}

fn info(version: &str) -> Value {
    json!({
        "__module__": "kurento",
        "__type__": "ServerInfo",
        "capabilities": ["transactions"],
        "modules": [
            module("core", version, CORE, "Nov 22 2026 13:13:15"),
            module("elements", version, ELEMENTS, "Nov 22 2026 13:19:23"),
        ],
        "type": "KMS",
        "version": version,
    })
}

fn module(name: &str, version: &str, factories: &[&str], generated: &str) -> Value {
    json!({
        "__module__": "kurento",
        "__type__": "ModuleInfo",
        "factories": factories,
        "generationTime": generated,
        "name": name,
        "version": version,
    })
}
