//! The server's objects: which there are, of what kind, in which pipeline, and who holds them.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::endpoint::{RtpEndpoint, WebRtcEndpoint};
use crate::fault::RpcFault;

/// The one object that is always there.
pub(crate) const MANAGER: &str = "manager_ServerManager";

/// Types of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server itself.
    ServerManager,
    /// `MediaPipeline`
    MediaPipeline,
    /// `RtpEndpoint`
    RtpEndpoint,
    /// `WebRtcEndpoint`
    WebRtcEndpoint,
    /// An element that can be created and released, and does nothing else here.
    Other(&'static str),
}

/// Elements without a life of their own here.
const OTHERS: &[&str] = &[
    "AlphaBlending",
    "Composite",
    "Dispatcher",
    "DispatcherOneToMany",
    "HttpPostEndpoint",
    "HubPort",
    "Mixer",
    "PassThrough",
    "PlayerEndpoint",
    "RecorderEndpoint",
];
const OF_ELEMENTS: &[&str] = &[
    "ElementConnected",
    "ElementDisconnected",
    "MediaFlowInStateChanged",
    "MediaFlowOutStateChanged",
    "MediaTranscodingStateChanged",
];
const OF_RTP: &[&str] = &[
    "ConnectionStateChanged",
    "MediaSessionStarted",
    "MediaSessionTerminated",
    "MediaStateChanged",
];
const OF_WEBRTC: &[&str] = &[
    "DataChannelClosed",
    "DataChannelOpened",
    "DtlsConnectionStateChange",
    "IceCandidateFound",
    "IceComponentStateChanged",
    "IceGatheringDone",
    "NewCandidatePairSelected",
];

impl Kind {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ServerManager" => Self::ServerManager,
            "MediaPipeline" => Self::MediaPipeline,
            "RtpEndpoint" => Self::RtpEndpoint,
            "WebRtcEndpoint" => Self::WebRtcEndpoint,
            _ => Self::Other(OTHERS.iter().find(|other| **other == name)?),
        })
    }

    /// The name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::ServerManager => "ServerManager",
            Self::MediaPipeline => "MediaPipeline",
            Self::RtpEndpoint => "RtpEndpoint",
            Self::WebRtcEndpoint => "WebRtcEndpoint",
            Self::Other(name) => name,
        }
    }

    /// What it inherits from, nearest first.
    pub(crate) fn hierarchy(self) -> &'static [&'static str] {
        match self {
            Self::ServerManager | Self::MediaPipeline => &["kurento.MediaObject"],
            Self::RtpEndpoint | Self::WebRtcEndpoint => &[
                "kurento.BaseRtpEndpoint",
                "kurento.SdpEndpoint",
                "kurento.SessionEndpoint",
                "kurento.Endpoint",
                "kurento.MediaElement",
                "kurento.MediaObject",
            ],
            Self::Other(_) => &["kurento.MediaElement", "kurento.MediaObject"],
        }
    }

    /// The names of its events, those of 7.x.
    pub(crate) fn events(self) -> Vec<&'static str> {
        let own: &[&[&str]] = match self {
            Self::ServerManager => &[&["ObjectCreated", "ObjectDestroyed"]],
            Self::MediaPipeline => &[],
            Self::RtpEndpoint => &[OF_ELEMENTS, OF_RTP, &["OnKeySoftLimit"]],
            Self::WebRtcEndpoint => &[OF_ELEMENTS, OF_RTP, OF_WEBRTC],
            Self::Other(_) => &[OF_ELEMENTS, &["EndOfStream", "UriEndpointStateChanged"]],
        };
        own.iter()
            .flat_map(|names| names.iter())
            .chain(&["Error"])
            .copied()
            .collect()
    }
}

/// One object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The pipeline that an element is in.
    pub(crate) parent: Option<String>,
    pub(crate) endpoint: Endpoint,
    pub(crate) created: SystemTime,
    /// The sessions that use it; with the last of them it goes.
    holders: BTreeSet<String>,
}

/// What is behind an object.
#[derive(Debug)]
pub(crate) enum Endpoint {
    None,
    Rtp(Box<RtpEndpoint>),
    WebRtc(Box<WebRtcEndpoint>),
}

impl Object {
    pub(crate) fn new(id: String, kind: Kind, parent: Option<String>, endpoint: Endpoint) -> Self {
        Self {
            name: id.clone(),
            id,
            kind,
            parent,
            endpoint,
            created: SystemTime::now(),
            holders: BTreeSet::new(),
        }
    }
}

/// All objects, in the order of their creation.
#[derive(Debug)]
pub(crate) struct Objects(Vec<Object>);

impl Objects {
    pub(crate) fn new() -> Self {
        let manager = Object::new(
            MANAGER.to_owned(),
            Kind::ServerManager,
            None,
            Endpoint::None,
        );
        Self(vec![manager])
    }

    pub(crate) fn add(&mut self, object: Object) {
        self.0.push(object);
    }

    pub(crate) fn get(&self, id: &str) -> Result<&Object, RpcFault> {
        let mut objects = self.0.iter();
        objects
            .find(|object| object.id == id)
            .ok_or_else(|| RpcFault::unknown_object(id))
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Result<&mut Object, RpcFault> {
        let mut objects = self.0.iter_mut();
        objects
            .find(|object| object.id == id)
            .ok_or_else(|| RpcFault::unknown_object(id))
    }

    pub(crate) fn pipelines(&self) -> impl Iterator<Item = &Object> {
        self.0
            .iter()
            .filter(|object| object.kind == Kind::MediaPipeline)
    }

    /// The elements of a pipeline.
    pub(crate) fn children<'a>(&'a self, pipeline: &'a str) -> impl Iterator<Item = &'a Object> {
        let inside = move |object: &&Object| object.parent.as_deref() == Some(pipeline);
        self.0.iter().filter(inside)
    }

    /// A session uses an object, and the pipeline it is in.
    pub(crate) fn hold(&mut self, session: &str, id: &str) -> Result<(), RpcFault> {
        let object = self.get_mut(id)?;
        object.holders.insert(session.to_owned());
        if let Some(parent) = object.parent.clone() {
            self.hold(session, &parent)?;
        }
        Ok(())
    }

    /// A session is over: what it alone has used, by id.
    pub(crate) fn let_go(&mut self, session: &str) -> Vec<String> {
        let mut unused = Vec::new();
        for object in &mut self.0 {
            if object.holders.remove(session) && object.holders.is_empty() && object.id != MANAGER {
                unused.push(object.id.clone());
            }
        }
        unused
    }

    /// Takes out an object and what is in it, insides first. The manager stays.
    pub(crate) fn take(&mut self, id: &str) -> Vec<Object> {
        if id == MANAGER {
            return Vec::new();
        }
        let (mut inside, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|object| object.id == id || object.parent.as_deref() == Some(id));
        self.0 = kept;
        inside.sort_by_key(|object| object.id == id);
        inside
    }

    /// Everything but the manager.
    pub(crate) fn take_all(&mut self) -> Vec<Object> {
        std::mem::replace(&mut self.0, Self::new().0)
    }
}
