//! What `getStats` gives: counters of the RTP streams of one medium.

use serde_json::Value;

use super::incoming::Reply;

/// Counters of what an endpoint receives.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InboundRtp {
    /// RTP packets.
    pub packets: u64,
    /// Their octets.
    pub octets: u64,
    /// Packets that are missing.
    pub lost: u64,
    /// The last REMB sent, in bit/s; 0 before.
    pub remb_bps: u64,
}

/// Counters of what an endpoint sends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OutboundRtp {
    /// RTP packets.
    pub packets: u64,
    /// Their octets.
    pub octets: u64,
    /// PLIs and FIRs of the receiver.
    pub key_frame_requests: u64,
    /// The receiver's last REMB, in bit/s; 0 before.
    pub remb_bps: u64,
    /// What the receiver lost since its report before, 0.0 to 1.0.
    pub fraction_lost: f64,
    /// In seconds.
    pub round_trip: f64,
}

/// Counters of one medium, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MediaStats {
    /// What is received; `None` before anything was.
    pub inbound: Option<InboundRtp>,
    /// What is sent; `None` before anything was.
    pub outbound: Option<OutboundRtp>,
}

impl MediaStats {
    /// Reads the reply to `getStats`. The server answers null while there is nothing to count.
    pub fn of(reply: &Reply) -> Self {
        let mut stats = Self::default();
        let entries = reply.value().as_object();
        for entry in entries.into_iter().flat_map(|entries| entries.values()) {
            match entry.get("type").and_then(Value::as_str) {
                Some("inboundrtp") => {
                    let sum = stats.inbound.get_or_insert_default();
                    sum.packets = sum.packets.saturating_add(count(entry, "packetsReceived"));
                    sum.octets = sum.octets.saturating_add(count(entry, "bytesReceived"));
                    sum.lost = sum.lost.saturating_add(count(entry, "packetsLost"));
                    sum.remb_bps = sum.remb_bps.max(count(entry, "remb"));
                }
                Some("outboundrtp") => {
                    let sum = stats.outbound.get_or_insert_default();
                    sum.packets = sum.packets.saturating_add(count(entry, "packetsSent"));
                    sum.octets = sum.octets.saturating_add(count(entry, "bytesSent"));
                    let asked = count(entry, "pliCount").saturating_add(count(entry, "firCount"));
                    sum.key_frame_requests = sum.key_frame_requests.saturating_add(asked);
                    sum.remb_bps = sum.remb_bps.max(count(entry, "remb"));
                    sum.fraction_lost = sum.fraction_lost.max(number(entry, "fractionLost"));
                    sum.round_trip = sum.round_trip.max(number(entry, "roundTripTime"));
                }
                Some(_) | None => {}
            }
        }
        stats
    }
}

fn number(entry: &Value, name: &str) -> f64 {
    let number = entry.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    if number.is_finite() {
        number.max(0.0)
    } else {
        0.0
    }
}

/// Counters are whole numbers; some versions write them as 12.0.
fn count(entry: &Value, name: &str) -> u64 {
    number(entry, name) as u64
}
