//! Whatever packets come, access units stay within their bound, and one that is given out survives packetizing.
//! Input: packets of a control byte (bit 0 marker, bit 1 next timestamp, bits 2 and 3 sequence step), a length
//! byte and a payload.

use apiary_wire::h264::{
    AccessUnit, Depacketizer, MAX_ACCESS_UNIT_LEN, Packetizer, inspect, nal_units,
};

pub(crate) fn check(data: &[u8]) {
    let mut depacketizer = Depacketizer::new();
    let (mut rest, mut sequence, mut timestamp) = (data, 0u16, 0u32);
    while let [control, len, after @ ..] = rest {
        let (payload, after) = after.split_at(after.len().min(usize::from(*len)));
        rest = after;
        sequence = sequence.wrapping_add(u16::from(control >> 2 & 3));
        timestamp = timestamp.wrapping_add(u32::from(control >> 1 & 1));
        if let Ok(Some(unit)) = depacketizer.push(sequence, timestamp, control & 1 != 0, payload) {
            assert!(!unit.annex_b.is_empty() && unit.annex_b.len() <= MAX_ACCESS_UNIT_LEN);
            check_unit(&unit);
        }
    }
}

fn check_unit(unit: &AccessUnit) {
    // A delimiter in front says where the access unit begins; only an IDR is given out first.
    let with_start = [&[0, 0, 0, 1, 9, 16], &unit.annex_b[..]].concat();
    let units: Vec<u8> = nal_units(&with_start)
        .flat_map(|nal| [&[0, 0, 0, 1], nal].concat())
        .collect();
    // A start code inside of a NAL unit, which no encoder makes, splits it in two of any kind.
    let well_formed =
        nal_units(&with_start).all(|nal| !matches!(nal[0] & 0x1f, 24 | 28) && inspect(nal).is_ok());
    if !unit.is_idr || units != with_start || !well_formed {
        return;
    }
    let mut depacketizer = Depacketizer::new();
    let mut sequence = u16::MAX;
    let mut back = None;
    Packetizer::new(40).packetize(&with_start, |payload, marker| {
        sequence = sequence.wrapping_add(1);
        back = depacketizer
            .push(sequence, unit.timestamp, marker, payload)
            .expect("well formed");
    });
    assert_eq!(back.map(|unit| unit.annex_b), Some(with_start));
}
