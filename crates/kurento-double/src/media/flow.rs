//! Whether media flows: it does with the first packet, and no more after two seconds without.

use std::time::{Duration, Instant};

use serde_json::json;

use super::wiring::Medium;
use crate::server::Voice;

const SILENCE: Duration = Duration::from_secs(2);

/// One medium of one endpoint, in one direction.
#[derive(Debug)]
pub(crate) struct Flow {
    medium: Medium,
    event: &'static str,
    last_packet: Option<Instant>,
}

impl Flow {
    /// Out of an endpoint into the pipeline.
    pub(crate) fn out(medium: Medium) -> Self {
        Self {
            medium,
            event: "MediaFlowOutStateChanged",
            last_packet: None,
        }
    }

    /// Out of the pipeline into an endpoint.
    pub(crate) fn into_endpoint(medium: Medium) -> Self {
        Self {
            medium,
            event: "MediaFlowInStateChanged",
            last_packet: None,
        }
    }

    /// Notes a packet; whether it flows only from now on.
    pub(crate) fn packet(&mut self, now: Instant, voice: &Voice) -> bool {
        let starts = self.last_packet.replace(now).is_none();
        if starts {
            self.tell(voice, "FLOWING");
        }
        starts
    }

    /// Whether it has stopped flowing.
    pub(crate) fn check(&mut self, now: Instant, voice: &Voice) -> bool {
        let stops = self.last_packet.is_some_and(|last| now >= last + SILENCE);
        if stops {
            self.last_packet = None;
            self.tell(voice, "NOT_FLOWING");
        }
        stops
    }

    fn tell(&self, voice: &Voice, state: &str) {
        let data = json!({
            "mediaType": self.medium.name(),
            "padName": "default",
            "state": state,
        });
        voice.emit(self.event, data);
    }
}
