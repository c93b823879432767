//! Inspection and reassembly agree on what is well formed; a lone NAL unit passes packetizing unchanged.

use apiary_wire::h264::{Depacketizer, H264Error, Packetizer, inspect, nal_units};

pub(crate) fn check(data: &[u8]) {
    let joined = Depacketizer::new().push(1, 0, true, data);
    let Ok(summary) = inspect(data) else {
        assert!(
            !matches!(joined, Ok(Some(_))),
            "a malformed payload became an access unit"
        );
        return;
    };
    assert!(
        matches!(joined, Ok(_) | Err(H264Error::FragmentWithoutStart)),
        "{joined:?}"
    );
    assert!(summary.starts_nal || !(summary.starts_idr || summary.has_sps || summary.has_pps));
    let annex_b = [&[0, 0, 1], data].concat();
    // Aggregates, fragments, and bytes that cannot stand in a NAL unit, are none to be packetized.
    let is_single = !matches!(data[0] & 0x1f, 24 | 28) && nal_units(&annex_b).eq([data]);
    if is_single {
        let mut payloads = Vec::new();
        Packetizer::new(data.len()).packetize(&annex_b, |payload, marker| {
            payloads.push((payload.to_vec(), marker))
        });
        // Below the packetizer's own minimum nothing is cut either.
        assert_eq!(payloads, [(data.to_vec(), true)]);
    }
}
