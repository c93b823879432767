//! Requests: what a client asks of the server.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::event::EventName;

/// The object that stands for the server itself.
pub const SERVER_MANAGER: &str = "manager_ServerManager";

/// Name of an object at a server. Those of endpoints begin with their pipeline's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(Arc<str>);

impl ObjectId {
    /// As the server gave it.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The server itself.
    pub fn server_manager() -> Self {
        Self::new(SERVER_MANAGER)
    }

    /// As it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A medium, as Kurento names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// Sound.
    Audio,
    /// Picture.
    Video,
    /// A data channel.
    Data,
}

impl MediaType {
    /// As it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "AUDIO",
            Self::Video => "VIDEO",
            Self::Data => "DATA",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Audio, Self::Video, Self::Data]
            .into_iter()
            .find(|medium| medium.as_str() == name)
    }
}

/// An ICE candidate with the media section that it belongs to. All three are required: without `sdpMid` the server answers
/// with [`super::RpcErrorKind::BadParameter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceCandidate {
    /// `candidate:…`, without `a=`.
    pub candidate: String,
    /// Identification of the media section.
    pub sdp_mid: String,
    /// Number of the media section, from 0.
    pub sdp_m_line_index: u16,
}

impl IceCandidate {
    fn to_value(&self) -> Value {
        json!({
            "__module__": "kurento",
            "__type__": "IceCandidate",
            "candidate": self.candidate,
            "sdpMid": self.sdp_mid,
            "sdpMLineIndex": self.sdp_m_line_index,
        })
    }

    pub(super) fn from_value(value: &Value) -> Option<Self> {
        let text = |name| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let index = value.get("sdpMLineIndex").and_then(Value::as_u64);
        Some(Self {
            candidate: text("candidate")?,
            sdp_mid: text("sdpMid")?,
            sdp_m_line_index: u16::try_from(index?).ok()?,
        })
    }
}

/// What an object is asked to do. Bandwidths are in kbit/s; a maximum of 0 means no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Names an object; the name is seen by other clients.
    SetName(String),
    /// The name; an object that was not named is called by its id.
    GetName,
    /// Takes an SDP offer and gives the answer. Once per endpoint.
    ProcessOffer(String),
    /// Gives an SDP offer.
    GenerateOffer,
    /// Takes the answer to the offer, and gives our own description as it then is.
    ProcessAnswer(String),
    /// Passes all media of this object on to another of the same pipeline; what that one got before ends.
    Connect {
        /// Who gets it.
        sink: ObjectId,
    },
    /// Begins to gather ICE candidates, which come as events.
    GatherCandidates,
    /// A candidate of the other side.
    AddIceCandidate(IceCandidate),
    /// The least that REMB ever asks of the sender. Before `processOffer`: later it has no effect.
    SetMinVideoRecvBandwidth(u32),
    /// The most that REMB ever asks of the sender. Before `processOffer`: later it has no effect.
    SetMaxVideoRecvBandwidth(u32),
    /// The least of what the receiver's REMB counts as; the server's default is 100.
    SetMinVideoSendBandwidth(u32),
    /// The most of what the receiver's REMB counts as; the server's default is 500.
    SetMaxVideoSendBandwidth(u32),
    /// What a receiver counts as, in bit/s, until its first REMB; the server's default is 300,000.
    SetRembOnConnect(u64),
    /// Asks for a key frame; only some kinds of objects of 7.x can.
    RequestKeyframe,
    /// Counters of one medium; null before there are any.
    GetStats(MediaType),
    /// The server's version and modules.
    GetInfo,
    /// The ids of all pipelines, of whichever client.
    GetPipelines,
    /// CPU time used in per cent of one core, over this many milliseconds from now on.
    GetUsedCpu {
        /// How long the server measures before it answers.
        interval_ms: u32,
    },
    /// Memory in use, in KiB.
    GetUsedMemory,
}

impl Operation {
    /// As it goes over the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SetName(_) => "setName",
            Self::GetName => "getName",
            Self::ProcessOffer(_) => "processOffer",
            Self::GenerateOffer => "generateOffer",
            Self::ProcessAnswer(_) => "processAnswer",
            Self::Connect { .. } => "connect",
            Self::GatherCandidates => "gatherCandidates",
            Self::AddIceCandidate(_) => "addIceCandidate",
            Self::SetMinVideoRecvBandwidth(_) => "setMinVideoRecvBandwidth",
            Self::SetMaxVideoRecvBandwidth(_) => "setMaxVideoRecvBandwidth",
            Self::SetMinVideoSendBandwidth(_) => "setMinVideoSendBandwidth",
            Self::SetMaxVideoSendBandwidth(_) => "setMaxVideoSendBandwidth",
            Self::SetRembOnConnect(_) => "setRembParams",
            Self::RequestKeyframe => "requestKeyframe",
            Self::GetStats(_) => "getStats",
            Self::GetInfo => "getInfo",
            Self::GetPipelines => "getPipelines",
            Self::GetUsedCpu { .. } => "getUsedCpu",
            Self::GetUsedMemory => "getUsedMemory",
        }
    }

    fn parameters(&self) -> Option<Value> {
        Some(match self {
            Self::GetName
            | Self::GenerateOffer
            | Self::GatherCandidates
            | Self::RequestKeyframe
            | Self::GetInfo
            | Self::GetPipelines
            | Self::GetUsedMemory => return None,
            Self::SetName(name) => json!({ "name": name }),
            Self::ProcessOffer(offer) => json!({ "offer": offer }),
            Self::ProcessAnswer(answer) => json!({ "answer": answer }),
            Self::Connect { sink } => json!({ "sink": sink.as_str() }),
            Self::AddIceCandidate(candidate) => json!({ "candidate": candidate.to_value() }),
            Self::SetMinVideoRecvBandwidth(kbps) => json!({ "minVideoRecvBandwidth": kbps }),
            Self::SetMaxVideoRecvBandwidth(kbps) => json!({ "maxVideoRecvBandwidth": kbps }),
            Self::SetMinVideoSendBandwidth(kbps) => json!({ "minVideoSendBandwidth": kbps }),
            Self::SetMaxVideoSendBandwidth(kbps) => json!({ "maxVideoSendBandwidth": kbps }),
            Self::SetRembOnConnect(bps) => json!({ "rembParams": { "rembOnConnect": bps } }),
            Self::GetStats(medium) => json!({ "mediaType": medium.as_str() }),
            Self::GetUsedCpu { interval_ms } => json!({ "interval": interval_ms }),
        })
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Keeps the session alive for this long.
    Ping {
        /// The session lives at least until the next ping, if that comes within this time.
        interval_ms: u32,
    },
    /// Begins a session, or takes the one up again that the request is sent in.
    Connect,
    /// Ends the session, so that the server need not wait for it to time out.
    CloseSession,
    /// A pipeline of that name.
    CreatePipeline {
        /// What other clients see.
        name: String,
    },
    /// An endpoint for plain RTP.
    CreateRtpEndpoint {
        /// Where it belongs.
        pipeline: ObjectId,
    },
    /// An endpoint for a browser.
    CreateWebRtcEndpoint {
        /// Where it belongs.
        pipeline: ObjectId,
    },
    /// An object does something.
    Invoke {
        /// Which.
        object: ObjectId,
        /// What.
        operation: Operation,
    },
    /// Events of an object are wanted from now on.
    Subscribe {
        /// Whose.
        object: ObjectId,
        /// Which.
        event: EventName,
    },
    /// Type and ancestors of an object.
    Describe {
        /// Which.
        object: ObjectId,
    },
    /// An object ends, and all that belongs to it. Releasing what does not exist succeeds.
    Release {
        /// Which.
        object: ObjectId,
    },
}

impl Request {
    /// Its JSON text. An `id` must not come twice in a session: the server would repeat its first answer.
    pub fn to_json(&self, id: u64, session: Option<&str>) -> String {
        let (method, mut params) = self.parts();
        if let Some(session) = session {
            params.insert("sessionId".to_owned(), session.into());
        }
        json!({ "id": id, "method": method, "params": params, "jsonrpc": "2.0" }).to_string()
    }

    /// What it asks for, in one word for logs and errors: the method, or the operation that is invoked.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Invoke { operation, .. } => operation.name(),
            Self::CreatePipeline { .. } => "create MediaPipeline",
            Self::CreateRtpEndpoint { .. } => "create RtpEndpoint",
            Self::CreateWebRtcEndpoint { .. } => "create WebRtcEndpoint",
            Self::Ping { .. }
            | Self::Connect
            | Self::CloseSession
            | Self::Subscribe { .. }
            | Self::Describe { .. }
            | Self::Release { .. } => self.parts().0,
        }
    }

    /// Whether its reply names a new object.
    pub fn creates(&self) -> bool {
        match self {
            Self::CreatePipeline { .. }
            | Self::CreateRtpEndpoint { .. }
            | Self::CreateWebRtcEndpoint { .. } => true,
            Self::Ping { .. }
            | Self::Connect
            | Self::CloseSession
            | Self::Invoke { .. }
            | Self::Subscribe { .. }
            | Self::Describe { .. }
            | Self::Release { .. } => false,
        }
    }

    fn parts(&self) -> (&'static str, Map<String, Value>) {
        let create = |kind: &str, pipeline: &ObjectId| json!({ "type": kind, "constructorParams": { "mediaPipeline": pipeline.as_str() } });
        let (method, params) = match self {
            Self::Ping { interval_ms } => ("ping", json!({ "interval": interval_ms })),
            Self::Connect => ("connect", json!({})),
            Self::CloseSession => ("closeSession", json!({})),
            Self::CreatePipeline { name } => (
                "create",
                json!({
                    "type": "MediaPipeline",
                    "constructorParams": {},
                    "properties": { "name": name },
                }),
            ),
            Self::CreateRtpEndpoint { pipeline } => ("create", create("RtpEndpoint", pipeline)),
            Self::CreateWebRtcEndpoint { pipeline } => {
                ("create", create("WebRtcEndpoint", pipeline))
            }
            Self::Invoke { object, operation } => {
                let mut params =
                    json!({ "object": object.as_str(), "operation": operation.name() });
                if let Some(parameters) = operation.parameters() {
                    params["operationParams"] = parameters;
                }
                ("invoke", params)
            }
            Self::Subscribe { object, event } => (
                "subscribe",
                json!({ "object": object.as_str(), "type": event.as_str() }),
            ),
            Self::Describe { object } => ("describe", json!({ "object": object.as_str() })),
            Self::Release { object } => ("release", json!({ "object": object.as_str() })),
        };
        let Value::Object(params) = params else {
            unreachable!("each is written as an object above");
        };
        (method, params)
    }
}
