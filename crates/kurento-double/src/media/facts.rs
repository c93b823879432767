//! What an endpoint's task has seen, for the getters of the protocol.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::wiring::Medium;

#[derive(Clone, Debug, Default)]
pub(crate) struct SharedFacts(Arc<Mutex<Facts>>);

impl SharedFacts {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) connected: bool,
    /// Media has arrived.
    pub(crate) media_connected: bool,
    pub(crate) flowing_in: Vec<Medium>,
    pub(crate) flowing_out: Vec<Medium>,
    pub(crate) ice: IceState,
    /// Local and remote candidate of the chosen pair.
    pub(crate) pair: Option<(String, String)>,
    /// Its first video codec is none that comes from the camera.
    pub(crate) would_transcode: bool,
    pub(crate) inbound: Vec<Inbound>,
    pub(crate) outbound: Vec<Outbound>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IceState {
    #[default]
    Disconnected,
    Gathering,
    Connecting,
    Ready,
    Failed,
}

impl IceState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "DISCONNECTED",
            Self::Gathering => "GATHERING",
            Self::Connecting => "CONNECTING",
            Self::Ready => "READY",
            Self::Failed => "FAILED",
        }
    }
}

/// What came of one source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbound {
    pub(crate) medium: Option<Medium>,
    pub(crate) ssrc: u32,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: i64,
    pub(crate) fraction_lost: f64,
    /// In seconds.
    pub(crate) jitter: f64,
    /// The last REMB that was sent.
    pub(crate) remb: u64,
    pub(crate) firs: u64,
    pub(crate) plis: u64,
}

/// What went to one viewer of one medium.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbound {
    pub(crate) medium: Option<Medium>,
    pub(crate) ssrc: u32,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// The last REMB that came back.
    pub(crate) remb: u64,
    pub(crate) key_frame_requests: u64,
}

impl Facts {
    pub(crate) fn inbound(&mut self, medium: Medium, ssrc: u32) -> &mut Inbound {
        let known = self.inbound.iter().position(|known| known.ssrc == ssrc);
        let at = known.unwrap_or_else(|| {
            self.inbound.push(Inbound {
                medium: Some(medium),
                ssrc,
                ..Inbound::default()
            });
            self.inbound.len() - 1
        });
        &mut self.inbound[at]
    }

    pub(crate) fn outbound(&mut self, medium: Medium, ssrc: u32) -> &mut Outbound {
        let known = self.outbound.iter().position(|known| known.ssrc == ssrc);
        let at = known.unwrap_or_else(|| {
            self.outbound.push(Outbound {
                medium: Some(medium),
                ssrc,
                ..Outbound::default()
            });
            self.outbound.len() - 1
        });
        &mut self.outbound[at]
    }
}
