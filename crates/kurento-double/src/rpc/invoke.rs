//! `invoke`: the operations of the objects.

use serde_json::{Value, json};

use super::manager;
use super::params::{Params, text};
use crate::endpoint::{Settings, WebRtcEndpoint};
use crate::fault::RpcFault;
use crate::media::{Facts, Medium, PeerOrder};
use crate::objects::{Endpoint, Kind};
use crate::server::Server;
use crate::stats;

pub(super) fn invoke(
    server: &mut Server,
    id: &str,
    operation: &str,
    params: Params<'_>,
) -> Result<Value, RpcFault> {
    let kind = server.objects.get(id)?.kind;
    let answer = of_object(server, id, operation, params).or_else(|| match kind {
        Kind::ServerManager => manager::operation(server, operation),
        Kind::MediaPipeline => None,
        Kind::RtpEndpoint | Kind::WebRtcEndpoint => of_element(server, id, operation, params)
            .or_else(|| of_endpoint(server, id, operation, params))
            .or_else(|| of_webrtc(server, id, operation, params)),
        Kind::Other(_) => of_element(server, id, operation, params)
            .or_else(|| of_player(server, id, kind, operation)),
    });
    answer.unwrap_or_else(|| Err(RpcFault::unknown_operation(operation, params.count())))
}

/// The answer of an operation that there is.
pub(super) type Answer = Option<Result<Value, RpcFault>>;

fn of_object(server: &mut Server, id: &str, operation: &str, params: Params<'_>) -> Answer {
    let object = server.objects.get_mut(id).ok()?;
    Some(Ok(match operation {
        "getName" => object.name.clone().into(),
        "setName" => match params.text("name") {
            Ok(name) => {
                object.name = name;
                Value::Null
            }
            Err(fault) => return Some(Err(fault)),
        },
        "getId" => id.into(),
        "getParent" | "getMediaPipeline" => object.parent.clone().unwrap_or_default().into(),
        "getCreationTime" => {
            let since = object.created.duration_since(std::time::UNIX_EPOCH);
            since.unwrap_or_default().as_secs().into()
        }
        "getChildren" | "getChilds" => server
            .objects
            .children(id)
            .map(|child| child.id.clone())
            .collect(),
        _ => return None,
    }))
}

fn of_element(server: &mut Server, id: &str, operation: &str, params: Params<'_>) -> Answer {
    let links = |of_it: &dyn Fn(&crate::links::Link) -> bool| {
        let links = server.links.iter().filter(|link| of_it(link));
        links.map(crate::links::Link::to_json).collect::<Value>()
    };
    Some(match operation {
        "connect" => connect(server, id, params, true),
        "disconnect" => connect(server, id, params, false),
        "getSinkConnections" => Ok(links(&|link| link.source == id)),
        "getSourceConnections" => Ok(links(&|link| link.sink == id)),
        "isMediaFlowingIn" | "isMediaFlowingOut" => {
            let inwards = operation == "isMediaFlowingIn";
            params.text("mediaType").and_then(|name| {
                let facts = facts(&server.objects.get(id)?.endpoint);
                let flowing = if inwards {
                    facts.flowing_in
                } else {
                    facts.flowing_out
                };
                Ok(flowing.iter().any(|medium| medium.name() == name).into())
            })
        }
        _ => return None,
    })
}

fn connect(
    server: &mut Server,
    id: &str,
    params: Params<'_>,
    link: bool,
) -> Result<Value, RpcFault> {
    let sink = params.text("sink")?;
    let source_parent = server.objects.get(id)?.parent.clone();
    if server.objects.get(&sink)?.parent != source_parent {
        return Err(RpcFault::no_common_pipeline());
    }
    let only = params.get("mediaType").and_then(text);
    // As they are told of, which is not as they are listed.
    let media = ["AUDIO", "VIDEO", "DATA"].into_iter();
    let media: Vec<_> = media
        .filter(|medium| only.as_deref().is_none_or(|only| only == *medium))
        .collect();
    if link {
        server.link(id, &sink, &media);
    } else {
        server.unlink(id, &sink, &media);
    }
    Ok(Value::Null)
}

fn facts(endpoint: &Endpoint) -> Facts {
    match endpoint {
        Endpoint::Rtp(endpoint) => endpoint.facts.lock().clone(),
        Endpoint::WebRtc(endpoint) => endpoint.facts.lock().clone(),
        Endpoint::None => Facts::default(),
    }
}

fn settings(endpoint: &mut Endpoint) -> Option<&mut Settings> {
    match endpoint {
        Endpoint::Rtp(endpoint) => Some(&mut endpoint.settings),
        Endpoint::WebRtc(endpoint) => Some(&mut endpoint.settings),
        Endpoint::None => None,
    }
}

/// What both endpoints have.
fn of_endpoint(server: &mut Server, id: &str, operation: &str, params: Params<'_>) -> Answer {
    let v7 = server.options.is_v7();
    if let Some(answer) = negotiation(server, id, operation, params) {
        return Some(answer);
    }
    let object = server.objects.get_mut(id).ok()?;
    let state = |connected: bool| {
        if connected {
            "CONNECTED"
        } else {
            "DISCONNECTED"
        }
        .into()
    };
    Some(Ok(match operation {
        "getConnectionState" => state(facts(&object.endpoint).connected),
        "getMediaState" => state(facts(&object.endpoint).media_connected),
        "getStats" => {
            let only = params.get("mediaType").and_then(text);
            let only = only.as_deref().and_then(Medium::named);
            stats::stats(&facts(&object.endpoint), only)
        }
        "requestKeyframe" if v7 => match &object.endpoint {
            Endpoint::WebRtc(endpoint) => {
                endpoint.tell(PeerOrder::KeyFrame);
                Value::Null
            }
            Endpoint::Rtp(_) | Endpoint::None => {
                return Some(Err(RpcFault::operation_not_supported(operation)));
            }
        },
        _ => return setting(&mut object.endpoint, operation, params),
    }))
}

fn setting(endpoint: &mut Endpoint, operation: &str, params: Params<'_>) -> Answer {
    let settings = settings(endpoint)?;
    let (verb, name) = operation.split_at_checked(3)?;
    let parameter = name.get(..1)?.to_lowercase() + &name[1..];
    let answer = match (verb, name) {
        ("get", "RembParams") => return Some(Ok(settings.remb())),
        ("set", "RembParams") => params
            .object(&parameter)
            .map(|given| settings.set_remb(given)),
        ("get", _) => return Some(Ok(settings.number(name)?.into())),
        ("set", _) => {
            settings.number(name)?;
            params.integer(&parameter).map(|value| {
                settings.set_number(name, value);
            })
        }
        _ => return None,
    };
    if let Endpoint::WebRtc(endpoint) = endpoint {
        endpoint.settings_changed();
    }
    Some(answer.map(|()| Value::Null))
}

fn negotiation(server: &mut Server, id: &str, operation: &str, params: Params<'_>) -> Answer {
    let answer = match operation {
        "processOffer" => params
            .text("offer")
            .and_then(|offer| process_offer(server, id, &offer)),
        "processAnswer" => params
            .text("answer")
            .and_then(|answer| process_answer(server, id, &answer)),
        "generateOffer" => generate_offer(server, id, params),
        "getLocalSessionDescriptor" | "getRemoteSessionDescriptor" => {
            let descriptions = match &server.objects.get(id).ok()?.endpoint {
                Endpoint::Rtp(endpoint) => &endpoint.descriptions,
                Endpoint::WebRtc(endpoint) => &endpoint.descriptions,
                Endpoint::None => return None,
            };
            let local = operation == "getLocalSessionDescriptor";
            let text = if local {
                &descriptions.local
            } else {
                &descriptions.remote
            };
            Ok(text.clone().unwrap_or_default())
        }
        _ => return None,
    };
    Some(answer.map(Value::from))
}

fn process_offer(server: &mut Server, id: &str, offer: &str) -> Result<String, RpcFault> {
    server.sdp_sessions += 1;
    let number = server.sdp_sessions;
    let object = server.objects.get_mut(id)?;
    let answer = match &mut object.endpoint {
        Endpoint::Rtp(endpoint) => endpoint.process_offer(offer, &server.options, number)?,
        Endpoint::WebRtc(endpoint) => endpoint.process_offer(offer, &server.options, number)?,
        Endpoint::None => String::new(),
    };
    if object.kind == Kind::RtpEndpoint {
        let data = json!({ "oldState": "DISCONNECTED", "newState": "CONNECTED" });
        server.emit(id, "ConnectionStateChanged", data);
    }
    server.emit(id, "MediaSessionStarted", json!({}));
    tell_of_dtls(server, id);
    Ok(answer)
}

fn process_answer(server: &mut Server, id: &str, answer: &str) -> Result<String, RpcFault> {
    let offer = match &mut server.objects.get_mut(id)?.endpoint {
        Endpoint::Rtp(endpoint) => endpoint.process_answer(answer)?,
        Endpoint::WebRtc(endpoint) => endpoint.process_answer(answer)?,
        Endpoint::None => String::new(),
    };
    server.emit(id, "MediaSessionStarted", json!({}));
    tell_of_dtls(server, id);
    Ok(offer)
}

/// A WebRtcEndpoint that knows both descriptions has a DTLS connection.
fn tell_of_dtls(server: &Server, id: &str) {
    let Ok(object) = server.objects.get(id) else {
        return;
    };
    if let Endpoint::WebRtc(endpoint) = &object.endpoint
        && let Some(number) = endpoint.dtls_number()
    {
        let data = json!({
            "componentId": "[bundle/dtlssrtpenc]",
            "connectionId": format!("dtlssrtpenc{number}-dtlssrtpdec{number}-1-1"),
            "state": "NEW",
            "streamId": "1",
        });
        server.emit(id, "DtlsConnectionStateChange", data);
    }
}

fn generate_offer(server: &mut Server, id: &str, params: Params<'_>) -> Result<String, RpcFault> {
    server.sdp_sessions += 1;
    let number = server.sdp_sessions;
    let wants = |name: &str| {
        let options = params.get("options").and_then(|options| options.get(name));
        options != Some(&Value::Bool(false))
    };
    let audio = wants("offerToReceiveAudio").then_some("audio");
    let video = wants("offerToReceiveVideo").then_some("video");
    let wanted: Vec<_> = audio.into_iter().chain(video).collect();
    match &mut server.objects.get_mut(id)?.endpoint {
        Endpoint::Rtp(endpoint) => endpoint.generate_offer(&server.options, number),
        Endpoint::WebRtc(endpoint) => endpoint.generate_offer(&server.options, number, &wanted),
        Endpoint::None => Ok(String::new()),
    }
}

fn of_webrtc(server: &mut Server, id: &str, operation: &str, params: Params<'_>) -> Answer {
    let Endpoint::WebRtc(endpoint) = &mut server.objects.get_mut(id).ok()?.endpoint else {
        return None;
    };
    Some(match operation {
        "gatherCandidates" => {
            gather(server, id);
            Ok(Value::Null)
        }
        "addIceCandidate" => candidate(params).map(|candidate| {
            endpoint.tell(PeerOrder::Candidate(candidate));
            Value::Null
        }),
        "getICECandidatePairs" => Ok(pairs(endpoint)),
        "getIceConnectionState" => Ok(connections(endpoint)),
        _ => return None,
    })
}

/// The text of the candidate, whatever it is; what is around it is looked at more closely.
fn candidate(params: Params<'_>) -> Result<String, RpcFault> {
    let given = params.object("candidate")?;
    let property = |name: &str, what: &str| {
        let fault = || RpcFault::marshalling(format!("'{name}' property should be a {what}"));
        given.get(name).ok_or_else(fault)
    };
    let candidate = property("candidate", "string")?;
    property("sdpMid", "string")?;
    property("sdpMLineIndex", "integer")?;
    Ok(text(candidate).unwrap_or_default())
}

fn gather(server: &mut Server, id: &str) {
    let Ok(object) = server.objects.get_mut(id) else {
        return;
    };
    let Endpoint::WebRtc(endpoint) = &mut object.endpoint else {
        return;
    };
    let Some(gathered) = endpoint.gather() else {
        return;
    };
    for component in [1, 2] {
        let data = json!({ "componentId": component, "state": "GATHERING", "streamId": 1 });
        server.emit(id, "IceComponentStateChanged", data);
    }
    for (section, mid, text) in gathered {
        let candidate = json!({
            "__module__": "kurento",
            "__type__": "IceCandidate",
            "candidate": text,
            "sdpMLineIndex": section,
            "sdpMid": mid,
        });
        server.emit(id, "IceCandidateFound", json!({ "candidate": candidate }));
    }
    server.emit(id, "IceGatheringDone", json!({}));
}

fn pairs(endpoint: &WebRtcEndpoint) -> Value {
    let pair = endpoint.facts.lock().pair.clone();
    let pairs = pair.into_iter().map(|(local, remote)| {
        json!({
            "__module__": "kurento",
            "__type__": "IceCandidatePair",
            "componentId": 1,
            "localCandidate": local,
            "remoteCandidate": remote,
            "streamId": "1",
        })
    });
    pairs.collect()
}

fn connections(endpoint: &WebRtcEndpoint) -> Value {
    let state = endpoint.facts.lock().ice.name();
    json!([{
        "__module__": "kurento",
        "__type__": "IceConnection",
        "componentId": 1,
        "state": state,
        "streamId": "1",
    }])
}

/// A player finds nothing to play.
fn of_player(server: &mut Server, id: &str, kind: Kind, operation: &str) -> Answer {
    if kind != Kind::Other("PlayerEndpoint") || operation != "play" {
        return None;
    }
    server.emit(id, "UriEndpointStateChanged", json!({ "state": "START" }));
    let data = json!({ "description": "Invalid URI", "errorCode": 0, "type": "INVALID_URI" });
    server.emit(id, "Error", data);
    Some(Ok(Value::Null))
}
