//! Session descriptions in the shape that a Kurento gives them.

mod answer;
mod candidates;
mod offer;

pub(crate) use answer::{Own, answer_section, known_formats};
pub(crate) use candidates::Candidates;
pub(crate) use offer::{rtp_offer, webrtc_offer};

use std::net::Ipv4Addr;

use apiary_wire::sdp::Document;

use crate::fault::RpcFault;

pub(crate) const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

/// The session part, up to and with the time. `number` counts sessions.
pub(crate) fn session(number: u64, address: Ipv4Addr) -> Document {
    let mut document = Document::new();
    document
        .push_line('v', 0)
        .push_line('o', format_args!("- {number} {number} IN IP4 {address}"))
        .push_line('s', "Kurento Media Server")
        .push_line('c', format_args!("IN IP4 {address}"))
        .push_line('t', "0 0");
    document
}

/// Reads what a client gives as SDP.
pub(crate) fn parse(text: &str, what: &str) -> Result<Document, RpcFault> {
    if text.is_empty() {
        return Err(RpcFault::bad_sdp(&format!("Empty {what} not valid")));
    }
    Document::parse(text).map_err(|_| RpcFault::bad_sdp("Invalid SDP"))
}

/// A CNAME of the kind that GStreamer makes up.
pub(crate) fn cname() -> String {
    let (user, host) = (rand::random::<u32>(), rand::random::<u32>());
    format!("user{user}@host-{host:x}")
}
