use super::*;
use proptest::prelude::*;

const SPS: &[u8] = &[0x67, 0x42, 0xe0, 0x1f, 0x11];
const PPS: &[u8] = &[0x68, 0xce, 0x38, 0x80 | 1];

fn annex_b(units: &[&[u8]]) -> Vec<u8> {
    units
        .iter()
        .flat_map(|unit| [&[0, 0, 0, 1], *unit].concat())
        .collect()
}

fn nal(header: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| if i == 0 { header } else { (i % 250) as u8 + 1 })
        .collect()
}

fn payloads(unit: &[u8], max: usize) -> Vec<(Vec<u8>, bool)> {
    let mut all = Vec::new();
    Packetizer::new(max).packetize(unit, |payload, marker| all.push((payload.to_vec(), marker)));
    all
}

/// Feeds access units with rising sequence numbers, except for packets that `lost` names.
struct Sender {
    sequence: u16,
    depacketizer: Depacketizer,
}

impl Sender {
    fn new() -> Self {
        Self {
            sequence: 65_530,
            depacketizer: Depacketizer::new(),
        }
    }

    fn packet(
        &mut self,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> Result<Option<AccessUnit>, H264Error> {
        self.sequence = self.sequence.wrapping_add(1);
        self.depacketizer
            .push(self.sequence, timestamp, marker, payload)
    }

    fn unit(&mut self, timestamp: u32, unit: &[u8], lost: Option<usize>) -> Option<AccessUnit> {
        let mut found = None;
        for (index, (payload, marker)) in payloads(unit, 100).into_iter().enumerate() {
            if lost == Some(index) {
                self.sequence = self.sequence.wrapping_add(1);
            } else {
                found = self.packet(timestamp, marker, &payload).unwrap().or(found);
            }
        }
        found
    }
}

fn idr() -> Vec<u8> {
    annex_b(&[SPS, PPS, &nal(0x65, 950)])
}

#[test]
fn nal_units_are_found_between_start_codes_of_either_length() {
    let stream = [
        &[9, 9, 0, 0, 0, 1][..],
        SPS,
        &[0, 0, 1],
        PPS,
        &[0, 0, 0, 0, 1, 0, 0, 1, 0x65, 1, 0, 0],
    ]
    .concat();
    assert_eq!(
        nal_units(&stream).collect::<Vec<_>>(),
        [SPS, PPS, &[0x65, 1]]
    );
    assert_eq!(nal_units(b"no start code").count(), 0);
    assert_eq!(nal_units(&[0, 0, 1]).count(), 0);
}

#[test]
fn long_nal_units_are_fragmented_as_in_rfc_6184() {
    let unit = annex_b(&[SPS, &[0x65, 1, 2, 3, 4, 5, 6, 7]]);
    let expected = [
        (SPS.to_vec(), false),
        (vec![0x7c, 0x85, 1, 2, 3], false),
        (vec![0x7c, 0x05, 4, 5, 6], false),
        (vec![0x7c, 0x45, 7], true),
    ];
    assert_eq!(payloads(&unit, 5), expected);
    assert_eq!(payloads(&[], 5), []);
    // A limit without room for anything still ends.
    assert!(
        payloads(&unit, 0)
            .iter()
            .all(|(payload, _)| payload.len() <= 3)
    );
}

#[test]
fn inspection_tells_what_begins() {
    let summary = |payload: &[u8]| inspect(payload).unwrap();
    let begins = PayloadSummary {
        starts_nal: true,
        ..PayloadSummary::default()
    };
    assert_eq!(summary(&[0x41, 1]), begins);
    assert_eq!(
        summary(&[0x65, 1]),
        PayloadSummary {
            starts_idr: true,
            ..begins
        }
    );
    assert_eq!(
        summary(SPS),
        PayloadSummary {
            has_sps: true,
            ..begins
        }
    );
    assert_eq!(
        summary(&[0x7c, 0x85, 1]),
        PayloadSummary {
            starts_idr: true,
            ..begins
        }
    );
    assert_eq!(summary(&[0x7c, 0x05, 1]), PayloadSummary::default());
    assert_eq!(summary(&[0x7c, 0x45, 1]), PayloadSummary::default());
    let aggregate = [0x78, 0, 2, 0x67, 1, 0, 1, 0x68, 0, 2, 0x65, 1];
    assert_eq!(
        summary(&aggregate),
        PayloadSummary {
            starts_idr: true,
            has_sps: true,
            has_pps: true,
            starts_nal: true
        }
    );
}

#[test]
fn h22_malformed_payloads_are_typed_errors() {
    let error = |payload: &[u8]| inspect(payload).unwrap_err();
    assert_eq!(error(&[]), H264Error::Empty);
    assert_eq!(error(&[0xe5, 1]), H264Error::ForbiddenBit);
    for number in [0, 25, 26, 27, 29, 30, 31] {
        assert_eq!(
            error(&[number, 1, 2, 3]),
            H264Error::UnexpectedType { number }
        );
        assert_eq!(
            error(&[0x1c, 0x80 | number, 1]),
            H264Error::UnexpectedType { number }
        );
        assert_eq!(
            error(&[0x18, 0, 1, number]),
            H264Error::UnexpectedType { number }
        );
    }
    // No fragment or aggregate inside of another.
    assert_eq!(
        error(&[0x1c, 0x9c, 1]),
        H264Error::UnexpectedType { number: 28 }
    );
    assert_eq!(
        error(&[0x18, 0, 2, 0x18, 0]),
        H264Error::UnexpectedType { number: 24 }
    );
    for fragment in [&[0x1c][..], &[0x1c, 0x85], &[0x1c, 0xc5, 1]] {
        assert_eq!(error(fragment), H264Error::Fragment);
    }
    assert_eq!(error(&[0x18]), H264Error::Empty);
    assert_eq!(error(&[0x18, 0, 0]), H264Error::Empty);
    assert_eq!(
        error(&[0x18, 0]),
        H264Error::AggregateBeyondEnd {
            announced: 1,
            available: 0
        }
    );
    // Lengths that reach into the next NAL unit and beyond the end.
    assert_eq!(
        error(&[0x18, 0, 4, 0x67, 0, 1, 0x68, 0xff, 0xff, 1]),
        H264Error::AggregateBeyondEnd {
            announced: 65_535,
            available: 1
        }
    );
}

#[test]
fn access_units_are_joined_again() {
    let mut sender = Sender::new();
    let first = sender.unit(1000, &idr(), None).unwrap();
    assert_eq!(
        first,
        AccessUnit {
            timestamp: 1000,
            is_idr: true,
            annex_b: idr()
        }
    );
    let delta = annex_b(&[&nal(0x41, 300)]);
    let second = sender.unit(4000, &delta, None).unwrap();
    assert_eq!(
        second,
        AccessUnit {
            timestamp: 4000,
            is_idr: false,
            annex_b: delta
        }
    );
}

#[test]
fn aggregates_are_joined_again() {
    let mut sender = Sender::new();
    let aggregate = [&[0x78, 0, 5][..], SPS, &[0, 4], PPS].concat();
    assert_eq!(sender.packet(1, false, &aggregate), Ok(None));
    let unit = sender.packet(1, true, &[0x65, 7]).unwrap().unwrap();
    assert_eq!(unit.annex_b, annex_b(&[SPS, PPS, &[0x65, 7]]));
}

#[test]
fn an_access_unit_without_marker_ends_with_the_next_timestamp() {
    let mut sender = Sender::new();
    assert_eq!(sender.packet(1, false, SPS), Ok(None));
    assert_eq!(sender.packet(1, false, &[0x65, 1]), Ok(None));
    assert_eq!(
        sender
            .packet(2, true, &[0x41, 1])
            .unwrap()
            .unwrap()
            .timestamp,
        1
    );
    // The one that came meanwhile, marker and all, is not lost.
    assert_eq!(
        sender
            .packet(3, false, &[0x41, 2])
            .unwrap()
            .unwrap()
            .timestamp,
        2
    );
    assert_eq!(
        sender
            .packet(3, true, &[0x41, 3])
            .unwrap()
            .unwrap()
            .timestamp,
        3
    );
}

#[test]
fn nothing_is_given_out_before_the_first_idr_or_after_a_loss() {
    let delta = annex_b(&[&nal(0x41, 300)]);
    let mut sender = Sender::new();
    assert_eq!(sender.unit(1, &delta, None), None);
    assert!(sender.unit(2, &idr(), None).is_some());
    assert!(sender.unit(3, &delta, None).is_some());
    for lost in 0..payloads(&delta, 100).len() {
        assert_eq!(sender.unit(4, &delta, Some(lost)), None, "packet {lost}");
        assert_eq!(sender.unit(5, &delta, None), None);
        assert!(sender.unit(6, &idr(), None).is_some());
    }
    let idr_packets = payloads(&idr(), 100).len();
    for lost in 2..idr_packets {
        assert_eq!(sender.unit(7, &idr(), Some(lost)), None, "packet {lost}");
        assert_eq!(sender.unit(8, &delta, None), None);
        assert!(sender.unit(9, &idr(), None).is_some());
    }
}

#[test]
fn an_access_unit_whose_marker_was_lost_may_lack_its_end() {
    let mut sender = Sender::new();
    let slices = annex_b(&[&nal(0x41, 50), &nal(0x41, 60)]);
    assert!(sender.unit(1, &idr(), None).is_some());
    assert_eq!(sender.unit(2, &slices, Some(1)), None);
    assert_eq!(
        sender.unit(3, &idr(), None).map(|unit| unit.timestamp),
        Some(3)
    );
}

#[test]
fn repeated_and_late_packets_are_ignored() {
    let mut depacketizer = Depacketizer::new();
    assert_eq!(depacketizer.push(10, 1, false, SPS), Ok(None));
    assert_eq!(depacketizer.push(10, 1, false, SPS), Ok(None));
    assert_eq!(depacketizer.push(9, 0, true, &[0x41, 1]), Ok(None));
    let unit = depacketizer.push(11, 1, true, &[0x65, 1]).unwrap().unwrap();
    assert_eq!(unit.annex_b, annex_b(&[SPS, &[0x65, 1]]));
}

#[test]
fn h22_fragments_without_end_or_start_cost_up_to_the_next_idr() {
    let mut sender = Sender::new();
    assert!(sender.unit(1, &idr(), None).is_some());
    assert_eq!(sender.packet(2, false, &[0x5c, 0x81, 1]), Ok(None));
    assert_eq!(
        sender.packet(2, false, &[0x5c, 0x81, 1]),
        Err(H264Error::FragmentWithoutEnd)
    );
    assert_eq!(sender.packet(2, true, &[0x41, 1]), Ok(None));
    assert!(sender.unit(3, &idr(), None).is_some());
    assert_eq!(
        sender.packet(4, false, &[0x5c, 0x01, 1]),
        Err(H264Error::FragmentWithoutStart)
    );
    assert_eq!(sender.packet(4, true, &[0x41, 1]), Ok(None));
    assert!(sender.unit(5, &idr(), None).is_some());
    // The end is missing although the marker says that all is there.
    assert_eq!(sender.packet(6, true, &[0x5c, 0x81, 1]), Ok(None));
    assert_eq!(sender.packet(7, true, &[0x41, 1]), Ok(None));
    assert!(sender.unit(8, &idr(), None).is_some());
}

#[test]
fn h22_endless_fragments_are_bounded_and_the_next_idr_is_given_out() {
    let mut sender = Sender::new();
    let piece = [&[0x7c, 0x05][..], &[0xaa; 1400]].concat();
    let mut started = piece.clone();
    started[1] = 0x85;
    assert_eq!(sender.packet(1, false, SPS), Ok(None));
    assert_eq!(sender.packet(1, false, &started), Ok(None));
    let needed = MAX_ACCESS_UNIT_LEN / 1400;
    let refused = (0..needed + 10)
        .filter(|_| sender.packet(1, false, &piece) == Err(H264Error::TooLong))
        .count();
    // Reported once, then only skipped.
    assert_eq!(refused, 1);
    assert!(sender.unit(2, &idr(), None).is_some());
}

#[test]
fn h22_a_64_kib_sps_passes_like_any_other() {
    let unit = annex_b(&[&nal(0x67, 65_536), PPS, &[0x65, 1]]);
    assert_eq!(Sender::new().unit(1, &unit, None).unwrap().annex_b, unit);
}

#[test]
fn h19_any_length_and_first_byte_is_survived() {
    let template: Vec<u8> = (0..1500u32).map(|i| (i * 29) as u8).collect();
    let mut depacketizer = Depacketizer::new();
    let mut sequence = 0u16;
    for first in 0..=255u8 {
        let mut bytes = template.clone();
        bytes[0] = first;
        for len in 0..=1500 {
            sequence = sequence.wrapping_add(1);
            let _ = inspect(&bytes[..len]);
            let _ = depacketizer.push(sequence, len as u32 / 7, len % 5 == 0, &bytes[..len]);
        }
    }
}

proptest! {
    #[test]
    fn packetizing_and_joining_is_the_identity(
        max in 3usize..200,
        units in proptest::collection::vec((1u8..24, 1usize..400), 1..6),
        start: u16,
    ) {
        // The IDR slice makes it an access unit that is given out; delimiter first, so that its start is known.
        let mut all = vec![vec![0x09, 0x10], nal(0x65, 20)];
        all.extend(units.iter().map(|(kind, len)| nal(0x60 | kind, *len)));
        let unit = annex_b(&all.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut depacketizer = Depacketizer::new();
        let mut found = Vec::new();
        for (index, (payload, marker)) in payloads(&unit, max).into_iter().enumerate() {
            prop_assert!(payload.len() <= max);
            inspect(&payload).unwrap();
            found.extend(depacketizer.push(start.wrapping_add(index as u16), 9, marker, &payload).unwrap());
        }
        prop_assert_eq!(found, [AccessUnit { timestamp: 9, is_idr: true, annex_b: unit }]);
    }

    #[test]
    fn any_packets_are_survived(
        packets in proptest::collection::vec(
            (0u16..3, 0u32..3, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..40),
    ) {
        let mut depacketizer = Depacketizer::new();
        let mut sequence = 0u16;
        for (step, timestamp, marker, payload) in packets {
            sequence = sequence.wrapping_add(step);
            if let Ok(Some(unit)) = depacketizer.push(sequence, timestamp, marker, &payload) {
                prop_assert!(nal_units(&unit.annex_b).count() > 0 || unit.annex_b.len() >= 5);
            }
        }
    }
}
