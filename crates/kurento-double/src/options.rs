//! What a double is to be like.

use std::net::Ipv4Addr;

use crate::objects::Kind;

/// Which Kurento is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 6.x: events go by old and new names, and there is no `requestKeyframe`.
    V6,
    /// 7.x, of which the transcript is.
    V7,
}

/// How a double starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens and has its media sockets.
    pub address: Ipv4Addr,
    /// The WebSocket's port; 0 takes any.
    pub port: u16,
    /// The address in SDP and candidates, when it is another than `address`.
    pub advertised: Option<Ipv4Addr>,
    /// Which Kurento is played.
    pub generation: Generation,
    /// Only for [`Generation::V6`]: events go by their old names alone.
    pub only_legacy_events: bool,
    /// Answers of RtpEndpoints lack the lines that contain this: what a real one leaves out when it is set up otherwise.
    pub answers_without: Option<&'static str>,
    /// The first REMB says 60 Mbit/s, as one in three of a real Kurento's does, and those after it too.
    pub wild_first_remb: bool,
}

impl Options {
    /// A Kurento 7 at an address, on any port.
    pub fn at(address: Ipv4Addr) -> Self {
        Self {
            address,
            port: 0,
            advertised: None,
            generation: Generation::V7,
            only_legacy_events: false,
            answers_without: None,
            wild_first_remb: false,
        }
    }

    pub(crate) fn advertised(&self) -> Ipv4Addr {
        self.advertised.unwrap_or(self.address)
    }

    pub(crate) fn is_v7(&self) -> bool {
        self.generation == Generation::V7
    }

    /// Whether objects of a kind have an event of this name.
    pub(crate) fn knows_event(&self, kind: Kind, event: &str) -> bool {
        if kind.events().contains(&event) {
            return self.is_v7() || !self.only_legacy_events || legacy_names(event).is_empty();
        }
        let renamed = kind.events().into_iter();
        !self.is_v7() && renamed.flat_map(legacy_names).any(|old| *old == event)
    }

    /// The names by which an event goes to its subscribers.
    pub(crate) fn names_of(&self, event: &'static str) -> Vec<&'static str> {
        let old = if self.is_v7() {
            &[]
        } else {
            legacy_names(event)
        };
        [event].iter().chain(old).copied().collect()
    }
}

/// What 6.x called an event before, and still does.
fn legacy_names(event: &str) -> &'static [&'static str] {
    match event {
        "IceCandidateFound" => &["OnIceCandidate"],
        "IceGatheringDone" => &["OnIceGatheringDone"],
        "IceComponentStateChanged" => &["IceComponentStateChange", "OnIceComponentStateChanged"],
        "DataChannelOpened" => &["DataChannelOpen", "OnDataChannelOpened"],
        "DataChannelClosed" => &["DataChannelClose", "OnDataChannelClosed"],
        "MediaFlowOutStateChanged" => &["MediaFlowOutStateChange"],
        "MediaFlowInStateChanged" => &["MediaFlowInStateChange"],
        _ => &[],
    }
}
