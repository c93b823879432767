//! What a peer has to do with the rest of the server: events, facts, and its source.

use serde_json::{Value, json};

use super::facts::{IceState, SharedFacts};
use super::leg::LegOrder;
use super::peer::PeerOrder;
use super::wiring::{LegMailbox, ViewerLimits};
use crate::server::Voice;

pub(super) struct Context {
    pub(super) voice: Voice,
    pub(super) facts: SharedFacts,
    source: Option<LegMailbox>,
    limits: ViewerLimits,
    /// The last REMB of the viewer, and whether one was as high as the first is taken for.
    remb: Option<u64>,
    past_connect: bool,
    pub(super) connected: bool,
}

impl Context {
    pub(super) fn new(voice: Voice, facts: SharedFacts) -> Self {
        Self {
            voice,
            facts,
            source: None,
            limits: ViewerLimits::default(),
            remb: None,
            past_connect: false,
            connected: false,
        }
    }

    pub(super) fn obey(&mut self, order: PeerOrder) {
        match order {
            PeerOrder::Source(source) => {
                self.source = source;
                if self.connected {
                    self.tell_ceiling();
                    self.tell_source(LegOrder::KeyFrame);
                }
            }
            PeerOrder::Limits(limits) => {
                self.limits = limits;
                if self.connected {
                    self.tell_ceiling();
                }
            }
            PeerOrder::KeyFrame => self.tell_source(LegOrder::KeyFrame),
            PeerOrder::Media(_)
            | PeerOrder::Negotiated(_)
            | PeerOrder::Candidate(_)
            | PeerOrder::Close => {}
        }
    }

    pub(super) fn tell_source(&self, order: LegOrder) {
        if let Some(source) = &self.source {
            // A source that is gone wants to know nothing.
            let _ = source.send(order);
        }
    }

    /// What the source may ask of the camera for this viewer.
    fn tell_ceiling(&self) {
        let bps = match self.remb {
            Some(bps) if self.past_connect => bps,
            Some(_) | None => self.limits.remb_on_connect_bps,
        };
        self.tell_source(LegOrder::Ceiling {
            viewer: self.voice.object().to_owned(),
            bps: self.limits.clamp(bps),
        });
    }

    pub(super) fn viewers_remb(&mut self, bps: u64) {
        self.remb = Some(bps);
        self.past_connect |= bps >= self.limits.remb_on_connect_bps;
        self.tell_ceiling();
    }

    pub(super) fn connected(&mut self) {
        self.connected = true;
        self.facts.lock().connected = true;
        self.connection_changed("DISCONNECTED", "CONNECTED");
        self.tell_ceiling();
        self.tell_source(LegOrder::KeyFrame);
    }

    pub(super) fn gone(&mut self) {
        self.ice(IceState::Failed, "FAILED");
        let was_connected = std::mem::replace(&mut self.connected, false);
        self.facts.lock().connected = false;
        if was_connected {
            self.connection_changed("CONNECTED", "DISCONNECTED");
        }
        self.tell_source(LegOrder::RemoveSink(self.voice.object().to_owned()));
    }

    fn connection_changed(&self, old: &str, new: &str) {
        let data = json!({ "oldState": old, "newState": new });
        self.voice.emit("ConnectionStateChanged", data);
    }

    pub(super) fn ice(&self, state: IceState, name: &str) {
        self.facts.lock().ice = state;
        let data: Value = json!({ "componentId": 1, "state": name, "streamId": 1 });
        self.voice.emit("IceComponentStateChanged", data);
    }

    pub(super) fn dtls(&self, number: u64, state: &str) {
        for direction in ["enc", "dec"] {
            let data = json!({
                "componentId": format!("[bundle/dtlssrtp{direction}]"),
                "connectionId": format!("dtlssrtpenc{number}-dtlssrtpdec{number}-1-1"),
                "state": state,
                "streamId": "1",
            });
            self.voice.emit("DtlsConnectionStateChange", data);
        }
    }
}
