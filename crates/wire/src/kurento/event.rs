//! Events: what a server says without being asked.

use serde_json::Value;

use super::request::{IceCandidate, MediaType, ObjectId};

/// The events that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventName {
    /// A candidate of the server's. Known from 6.x on.
    IceCandidateFound,
    /// The same in servers that know no other name.
    OnIceCandidate,
    /// No more candidates come.
    IceGatheringDone,
    /// The same in servers that know no other name.
    OnIceGatheringDone,
    /// ICE of one component moved on.
    IceComponentStateChanged,
    /// The same in servers that know no other name.
    OnIceComponentStateChanged,
    /// An endpoint is connected with its peer, or no longer.
    ConnectionStateChanged,
    /// RTCP flows between an endpoint and its peer, or no longer.
    MediaStateChanged,
    /// Media begins or ends to flow into an element.
    MediaFlowInStateChanged,
    /// The same in servers that know no other name.
    MediaFlowInStateChange,
    /// Media begins or ends to flow out of an element: for an endpoint, what it receives from its peer.
    MediaFlowOutStateChanged,
    /// The same in servers that know no other name.
    MediaFlowOutStateChange,
    /// Something went wrong inside of an object.
    Error,
}

const NAMES: [(EventName, &str); 13] = [
    (EventName::IceCandidateFound, "IceCandidateFound"),
    (EventName::OnIceCandidate, "OnIceCandidate"),
    (EventName::IceGatheringDone, "IceGatheringDone"),
    (EventName::OnIceGatheringDone, "OnIceGatheringDone"),
    (
        EventName::IceComponentStateChanged,
        "IceComponentStateChanged",
    ),
    (
        EventName::OnIceComponentStateChanged,
        "OnIceComponentStateChanged",
    ),
    (EventName::ConnectionStateChanged, "ConnectionStateChanged"),
    (EventName::MediaStateChanged, "MediaStateChanged"),
    (
        EventName::MediaFlowInStateChanged,
        "MediaFlowInStateChanged",
    ),
    (EventName::MediaFlowInStateChange, "MediaFlowInStateChange"),
    (
        EventName::MediaFlowOutStateChanged,
        "MediaFlowOutStateChanged",
    ),
    (
        EventName::MediaFlowOutStateChange,
        "MediaFlowOutStateChange",
    ),
    (EventName::Error, "Error"),
];

impl EventName {
    /// As it goes over the wire.
    pub fn as_str(self) -> &'static str {
        let name = NAMES.iter().find(|(event, _)| *event == self);
        name.expect("each is in the table").1
    }

    /// The name of the same event in older servers, where it has one.
    pub fn legacy(self) -> Option<Self> {
        match self {
            Self::IceCandidateFound => Some(Self::OnIceCandidate),
            Self::IceGatheringDone => Some(Self::OnIceGatheringDone),
            Self::IceComponentStateChanged => Some(Self::OnIceComponentStateChanged),
            Self::MediaFlowInStateChanged => Some(Self::MediaFlowInStateChange),
            Self::MediaFlowOutStateChanged => Some(Self::MediaFlowOutStateChange),
            Self::OnIceCandidate
            | Self::OnIceGatheringDone
            | Self::OnIceComponentStateChanged
            | Self::ConnectionStateChanged
            | Self::MediaStateChanged
            | Self::MediaFlowInStateChange
            | Self::MediaFlowOutStateChange
            | Self::Error => None,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(event, _)| *event)
    }
}

/// Whether an endpoint is connected, or has media of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// It is.
    Connected,
    /// It is not, or no longer.
    Disconnected,
}

/// Whether media flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// It does.
    Flowing,
    /// It does not, or no longer.
    NotFlowing,
}

/// How far ICE is with one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceState {
    /// A pair works.
    Ready,
    /// No pair works (any more).
    Failed,
    /// Anything on the way to those.
    Underway,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventData {
    /// The server has this candidate. Each comes once for every media section.
    Candidate(IceCandidate),
    /// No more candidates come.
    GatheringDone,
    /// ICE of this component, from 1, moved on.
    Ice {
        /// 1: RTP, and with rtcp-mux all there is.
        component: u64,
        /// Where to.
        state: IceState,
    },
    /// The connection with the peer.
    Connection(ConnectionState),
    /// RTCP with the peer.
    Media(ConnectionState),
    /// A medium begins or ends to flow through an element.
    Flow {
        /// Which.
        medium: MediaType,
        /// Whether.
        state: FlowState,
    },
    /// Something went wrong inside of the object; for the log.
    Error {
        /// The server's text.
        description: String,
    },
}

/// An event of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose.
    pub object: ObjectId,
    /// What.
    pub data: EventData,
}

impl Event {
    /// Reads the `value` member of `onEvent`; `None` for events that are not known here or lack what makes them useful.
    pub(super) fn from_value(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get("data")?.get(name)?.as_str();
        let data = match EventName::from_name(value.get("type")?.as_str()?)? {
            EventName::IceCandidateFound | EventName::OnIceCandidate => EventData::Candidate(
                IceCandidate::from_value(value.get("data")?.get("candidate")?)?,
            ),
            EventName::IceGatheringDone | EventName::OnIceGatheringDone => EventData::GatheringDone,
            EventName::IceComponentStateChanged | EventName::OnIceComponentStateChanged => {
                EventData::Ice {
                    component: value.get("data")?.get("componentId")?.as_u64()?,
                    state: ice_state(text("state")?),
                }
            }
            EventName::ConnectionStateChanged => {
                EventData::Connection(connection_state(text("newState")?)?)
            }
            EventName::MediaStateChanged => EventData::Media(connection_state(text("newState")?)?),
            EventName::MediaFlowInStateChanged
            | EventName::MediaFlowInStateChange
            | EventName::MediaFlowOutStateChanged
            | EventName::MediaFlowOutStateChange => EventData::Flow {
                medium: MediaType::from_name(text("mediaType")?)?,
                state: flow_state(text("state")?)?,
            },
            EventName::Error => EventData::Error {
                description: text("description").unwrap_or("no description").to_owned(),
            },
        };
        Some(Self {
            object: ObjectId::new(value.get("object")?.as_str()?),
            data,
        })
    }
}

fn connection_state(name: &str) -> Option<ConnectionState> {
    match name {
        "CONNECTED" => Some(ConnectionState::Connected),
        "DISCONNECTED" => Some(ConnectionState::Disconnected),
        _ => None,
    }
}

fn flow_state(name: &str) -> Option<FlowState> {
    match name {
        "FLOWING" => Some(FlowState::Flowing),
        "NOT_FLOWING" => Some(FlowState::NotFlowing),
        _ => None,
    }
}

fn ice_state(name: &str) -> IceState {
    match name {
        "READY" | "CONNECTED" => IceState::Ready,
        "FAILED" | "DISCONNECTED" => IceState::Failed,
        _ => IceState::Underway,
    }
}
