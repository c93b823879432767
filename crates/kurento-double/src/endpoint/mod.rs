//! What is behind an RtpEndpoint and a WebRtcEndpoint: settings, negotiation, and the task that moves the media.

mod formats;
mod rtp;
mod settings;
mod transport;
mod webrtc;

pub(crate) use rtp::RtpEndpoint;
pub(crate) use settings::Settings;
pub(crate) use webrtc::WebRtcEndpoint;

use crate::fault::RpcFault;

/// How far negotiation has come, with the descriptions so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Descriptions {
    pub(crate) local: Option<String>,
    pub(crate) remote: Option<String>,
}

impl Descriptions {
    /// Whether an offer may be processed or generated.
    pub(crate) fn must_be_fresh(&self) -> Result<(), RpcFault> {
        match (&self.local, &self.remote) {
            (None, None) => Ok(()),
            _ => Err(RpcFault::already_negotiated()),
        }
    }

    /// Whether an answer may be processed; the offer.
    pub(crate) fn must_have_offered(&self) -> Result<&str, RpcFault> {
        match (&self.local, &self.remote) {
            (Some(offer), None) => Ok(offer),
            (Some(_), Some(_)) => Err(RpcFault::already_negotiated()),
            (None, _) => Err(RpcFault::no_offer_generated()),
        }
    }
}

/// A socket could not be had.
pub(crate) fn no_socket(error: &std::io::Error) -> RpcFault {
    RpcFault::unexpected(&format!("no socket: {error}"))
}
