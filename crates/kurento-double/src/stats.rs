//! `getStats`: what an endpoint's task has counted, in the words of the protocol.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::media::{Facts, Inbound, Medium, Outbound};

/// `null` as long as there has been no media.
pub(crate) fn stats(facts: &Facts, only: Option<Medium>) -> Value {
    let wanted = |medium: Option<Medium>| only.is_none() || medium == only;
    let inbound = facts
        .inbound
        .iter()
        .filter(|one| wanted(one.medium))
        .map(inbound);
    let outbound = facts
        .outbound
        .iter()
        .filter(|one| wanted(one.medium))
        .map(outbound);
    let entries: Map<String, Value> = inbound
        .chain(outbound)
        .map(|entry| (entry["id"].as_str().unwrap_or_default().to_owned(), entry))
        .collect();
    if entries.is_empty() {
        return Value::Null;
    }
    entries.into()
}

fn inbound(one: &Inbound) -> Value {
    let own = json!({
        "__type__": "RTCInboundRTPStreamStats",
        "type": "inboundrtp",
        "bytesReceived": one.bytes,
        "fractionLost": one.fraction_lost,
        "jitter": one.jitter,
        "packetsLost": one.lost,
        "packetsReceived": one.packets,
    });
    let requests = [
        ("firCount", one.firs),
        ("pliCount", one.plis),
        ("remb", one.remb),
    ];
    entry("inboundrtp", one.ssrc, one.medium, own, &requests)
}

fn outbound(one: &Outbound) -> Value {
    let own = json!({
        "__type__": "RTCOutboundRTPStreamStats",
        "type": "outboundrtp",
        "bytesSent": one.bytes,
        "fractionLost": 0.0,
        "packetsLost": 0,
        "packetsSent": one.packets,
        "roundTripTime": 0.0,
        "targetBitrate": 0.0,
    });
    let requests = [
        ("firCount", 0),
        ("pliCount", one.key_frame_requests),
        ("remb", one.remb),
    ];
    entry("outboundrtp", one.ssrc, one.medium, own, &requests)
}

/// What all entries have, around what this one has.
fn entry(
    kind: &str,
    ssrc: u32,
    medium: Option<Medium>,
    own: Value,
    requests: &[(&str, u64)],
) -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut entry = own;
    entry["__module__"] = "kurento".into();
    entry["id"] = format!("{kind}_{ssrc}").into();
    entry["ssrc"] = ssrc.to_string().into();
    entry["associateStatsId"] = "".into();
    entry["codecId"] = "".into();
    entry["isRemote"] = false.into();
    entry["mediaTrackId"] = "".into();
    entry["transportId"] = "".into();
    entry["mediaType"] = medium.map_or("", Medium::name).to_lowercase().into();
    entry["nackCount"] = 0.into();
    entry["sliCount"] = 0.into();
    entry["timestamp"] = now.as_secs().into();
    entry["timestampMillis"] = u64::try_from(now.as_millis()).unwrap_or(0).into();
    for (name, count) in requests {
        entry[*name] = (*count).into();
    }
    entry
}
