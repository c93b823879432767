// A test may treat everything but the expected variant as a failure.
#![allow(clippy::wildcard_enum_match_arm)]

use super::*;
use crate::units::{Bitrate, NtpTime};
use proptest::prelude::*;

fn write(fill: impl FnOnce(&mut RtcpWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut RtcpWriter::new(&mut out));
    out
}

fn parse(bytes: &[u8]) -> Vec<RtcpPacket<'_>> {
    parse_compound(bytes).collect::<Result<_, _>>().unwrap()
}

fn parse_error(bytes: &[u8]) -> RtcpError {
    let items: Vec<_> = parse_compound(bytes).collect();
    assert_eq!(
        items.iter().filter(|item| item.is_err()).count(),
        1,
        "{items:?}"
    );
    items.last().unwrap().unwrap_err()
}

fn block(ssrc: u32) -> ReportBlock {
    ReportBlock {
        ssrc: Ssrc(ssrc),
        fraction_lost: 12,
        cumulative_lost: -3,
        highest_sequence: 0x1_0007,
        jitter: 99,
        last_sr: 0xaabb_ccdd,
        delay_since_last_sr: 0x8000,
    }
}

#[test]
fn receiver_report_with_sdes_and_remb_stands_as_in_the_documents() {
    let bytes = write(|writer| {
        writer
            .receiver_report(Ssrc(1), &[block(0x0102_0304)])
            .sdes_cname(Ssrc(1), "abc")
            .remb(Ssrc(1), Bitrate::from_bps(5_000_000), &[Ssrc(0x0102_0304)]);
    });
    let expected: &[&[u8]] = &[
        b"\x81\xc9\x00\x07\0\0\0\x01",
        b"\x01\x02\x03\x04\x0c\xff\xff\xfd\x00\x01\x00\x07\0\0\0\x63\xaa\xbb\xcc\xdd\0\0\x80\0",
        b"\x81\xca\x00\x03\0\0\0\x01\x01\x03abc\0\0\0",
        // 5,000,000 = 156,250 << 5
        b"\x8f\xce\x00\x05\0\0\0\x01\0\0\0\0REMB\x01\x16\x62\x5a\x01\x02\x03\x04",
    ];
    assert_eq!(bytes, expected.concat());
    let packets = parse(&bytes);
    let [
        RtcpPacket::ReceiverReport(report),
        RtcpPacket::SourceDescription(sdes),
        RtcpPacket::Remb(remb),
    ] = packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!(
        report.reports.about(Ssrc(0x0102_0304)),
        Some(block(0x0102_0304))
    );
    assert_eq!(report.reports.about(Ssrc(9)), None);
    assert_eq!(sdes.cname(Ssrc(1)), Some(&b"abc"[..]));
    assert_eq!(remb.bitrate, Bitrate::from_bps(5_000_000));
    assert!(remb.ssrcs.contains(Ssrc(0x0102_0304)) && !remb.ssrcs.contains(Ssrc(1)));
}

#[test]
fn sender_reports_round_trip() {
    let info = SenderInfo {
        ssrc: Ssrc(7),
        ntp: NtpTime(0x0102_0304_0506_0708),
        rtp_time: 90_000,
        packet_count: 10,
        octet_count: 12_000,
    };
    let bytes = write(|writer| {
        writer
            .sender_report(info, &[block(1), block(2)])
            .goodbye(Ssrc(7));
    });
    let packets = parse(&bytes);
    let [RtcpPacket::SenderReport(report), RtcpPacket::Goodbye(bye)] = packets[..] else {
        panic!("{packets:?}");
    };
    assert_eq!(report.info(), info);
    assert_eq!(
        report.reports.iter().collect::<Vec<_>>(),
        [block(1), block(2)]
    );
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [Ssrc(7)]);
    assert_eq!(bye.reason, None);
    assert!(SenderReport::from(info).reports.is_empty());
}

#[test]
fn more_than_31_blocks_continue_in_further_reports() {
    let blocks: Vec<_> = (0..70).map(block).collect();
    let info = SenderInfo {
        ssrc: Ssrc(7),
        ntp: NtpTime(1),
        rtp_time: 2,
        packet_count: 3,
        octet_count: 4,
    };
    let bytes = write(|writer| {
        writer.sender_report(info, &blocks);
    });
    let found: Vec<_> = parse(&bytes)
        .into_iter()
        .flat_map(|packet| match packet {
            RtcpPacket::SenderReport(report) => report.reports.iter().collect::<Vec<_>>(),
            RtcpPacket::ReceiverReport(report) => report.reports.iter().collect(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, blocks);
}

#[test]
fn feedback_round_trips() {
    let lost = [65_534, 65_535, 0, 14, 15, 40, 40];
    let bytes = write(|writer| {
        writer
            .nack(Ssrc(1), Ssrc(2), lost.into_iter())
            .nack(Ssrc(1), Ssrc(2), std::iter::empty())
            .pli(Ssrc(1), Ssrc(2))
            .fir(Ssrc(1), Ssrc(2), 200);
    });
    let packets = parse(&bytes);
    let [
        RtcpPacket::Nack(nack),
        RtcpPacket::Pli(pli),
        RtcpPacket::Fir(fir),
    ] = packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!((nack.sender_ssrc, nack.media_ssrc), (Ssrc(1), Ssrc(2)));
    assert_eq!(
        nack.sequence_numbers().collect::<Vec<_>>(),
        [65_534, 65_535, 0, 14, 15, 40]
    );
    assert_eq!(
        pli,
        Pli {
            sender_ssrc: Ssrc(1),
            media_ssrc: Ssrc(2)
        }
    );
    assert_eq!(
        fir.entries().collect::<Vec<_>>(),
        [FirEntry {
            ssrc: Ssrc(2),
            sequence: 200
        }]
    );
}

#[test]
fn long_cnames_are_cut_and_every_length_is_padded() {
    for len in 0..300 {
        let cname = "ü".repeat(len / 2) + &"x".repeat(len % 2);
        let bytes = write(|writer| {
            writer.sdes_cname(Ssrc(5), &cname);
        });
        let packets = parse(&bytes);
        let [RtcpPacket::SourceDescription(sdes)] = packets[..] else {
            panic!("{packets:?}")
        };
        let found = std::str::from_utf8(sdes.cname(Ssrc(5)).unwrap()).unwrap();
        assert!(
            cname.starts_with(found) && found.len() >= len.min(254),
            "{len}: {found}"
        );
    }
}

#[test]
fn unknown_packets_are_named_and_skipped() {
    let mut bytes =
        b"\x83\xcc\x00\x02\0\0\0\x01test\x8f\xce\x00\x03\0\0\0\x01\0\0\0\0ELSE".to_vec();
    RtcpWriter::new(&mut bytes).pli(Ssrc(1), Ssrc(2));
    let packets = parse(&bytes);
    assert_eq!(
        packets[0],
        RtcpPacket::Other {
            packet_type: 204,
            count: 3
        }
    );
    assert_eq!(
        packets[1],
        RtcpPacket::Other {
            packet_type: 206,
            count: 15
        }
    );
    assert!(matches!(packets[2], RtcpPacket::Pli(_)));
}

#[test]
fn goodbye_with_a_reason() {
    let packets = parse(b"\x81\xcb\x00\x02\0\0\0\x05\x03off");
    let [RtcpPacket::Goodbye(bye)] = packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!(bye.reason, Some(&b"off"[..]));
}

#[test]
fn h19_lengths_counts_and_padding_that_lie_are_typed_errors() {
    assert_eq!(parse_error(b"\x81\xc9\x00"), RtcpError::TooShort { len: 3 });
    assert_eq!(
        parse_error(b"\x41\xc9\x00\x00"),
        RtcpError::Version { version: 1 }
    );
    assert_eq!(
        parse_error(b"\x80\xc9\xff\xff\0\0\0\x01"),
        RtcpError::BeyondEnd {
            packet_type: 201,
            announced: 262_144,
            available: 8
        }
    );
    let malformed = |bytes: &[u8]| match parse_error(bytes) {
        RtcpError::Malformed { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(
        malformed(b"\x9f\xc9\x00\x01\0\0\0\x01"),
        "count of report blocks"
    );
    assert_eq!(malformed(b"\x80\xc9\x00\x00"), "sender SSRC");
    assert_eq!(malformed(b"\x80\xc8\x00\x01\0\0\0\x01"), "sender info");
    assert_eq!(malformed(b"\x82\xcb\x00\x01\0\0\0\x01"), "count of sources");
    assert_eq!(malformed(b"\x81\xcb\x00\x02\0\0\0\x01\xffabc"), "reason");
    assert_eq!(
        malformed(b"\x81\xca\x00\x02\0\0\0\x01\x01\xffab"),
        "SDES chunk"
    );
    assert_eq!(
        malformed(b"\x82\xca\x00\x02\0\0\0\x01\0\0\0\0"),
        "SDES chunk"
    );
    assert_eq!(malformed(b"\x81\xcd\x00\x01\0\0\0\x01"), "pair of SSRCs");
    assert_eq!(
        malformed(b"\x84\xce\x00\x03\0\0\0\x01\0\0\0\0\0\0\0\x01"),
        "FIR entry"
    );
    assert_eq!(
        malformed(b"\x8f\xce\x00\x03\0\0\0\x01\0\0\0\0REMB"),
        "REMB head"
    );
    assert_eq!(
        malformed(b"\x8f\xce\x00\x04\0\0\0\x01\0\0\0\0REMB\xff\0\0\x01"),
        "count of REMB sources"
    );
    assert_eq!(
        malformed(b"\x8f\xce\x00\x05\0\0\0\x01\0\0\0\0REMB\0\0\0\x01more"),
        "count of REMB sources"
    );
    for (padding, ok) in [
        (0, false),
        (3, false),
        (4, true),
        (8, true),
        (12, false),
        (255, false),
    ] {
        let bytes = [0xa0, 0xcc, 0, 2, 0, 0, 0, 0, 0, 0, 0, padding];
        let first = parse_compound(&bytes).next().unwrap();
        assert_eq!(first.is_ok(), ok, "{padding}: {first:?}");
    }
}

#[test]
fn nothing_follows_an_error() {
    let mut bytes = b"\x41\xc9\x00\x00".to_vec();
    RtcpWriter::new(&mut bytes).pli(Ssrc(1), Ssrc(2));
    assert_eq!(parse_compound(&bytes).count(), 1);
}

/// Reads everything that a packet offers.
fn exhaust(bytes: &[u8]) -> usize {
    parse_compound(bytes)
        .map(|packet| match packet {
            Ok(RtcpPacket::SenderReport(report)) => report.reports.iter().count(),
            Ok(RtcpPacket::ReceiverReport(report)) => report.reports.iter().count(),
            Ok(RtcpPacket::SourceDescription(sdes)) => {
                sdes.chunks().map(|chunk| chunk.items().count()).sum()
            }
            Ok(RtcpPacket::Goodbye(bye)) => bye.ssrcs().count(),
            Ok(RtcpPacket::Nack(nack)) => nack.sequence_numbers().count(),
            Ok(RtcpPacket::Fir(fir)) => fir.entries().count(),
            Ok(RtcpPacket::Remb(remb)) => remb.ssrcs.iter().count(),
            Ok(RtcpPacket::Pli(_) | RtcpPacket::Other { .. }) | Err(_) => 1,
        })
        .sum()
}

#[test]
fn h19_any_length_and_first_byte_is_survived() {
    for packet_type in [200, 201, 202, 203, 205, 206] {
        let mut template: Vec<u8> = (0..1500u32).map(|i| (i * 31) as u8).collect();
        template[1] = packet_type;
        for len in 0..=1500usize {
            // A length field that is right, so that the contents are reached.
            let words = (len / 4).saturating_sub(1) as u16;
            template[2..4].copy_from_slice(&words.to_be_bytes());
            for first in 0..=255u8 {
                template[0] = first;
                // At most 17 numbers for four bytes.
                assert!(exhaust(&template[..len]) <= len * 5 + 1);
            }
        }
    }
}

proptest! {
    #[test]
    fn remb_never_says_more_than_asked_and_loses_little(bps: u64) {
        let bytes = write(|writer| { writer.remb(Ssrc(1), Bitrate::from_bps(bps), &[]); });
        let packets = parse(&bytes);
        let [RtcpPacket::Remb(remb)] = packets[..] else { panic!("{packets:?}") };
        let said = remb.bitrate.as_bps();
        prop_assert!(said <= bps);
        prop_assert!(bps - said <= bps >> 17, "{bps} became {said}");
    }

    #[test]
    fn small_remb_values_are_exact(bps in 0u64..=0x3_ffff) {
        let bytes = write(|writer| { writer.remb(Ssrc(1), Bitrate::from_bps(bps), &[]); });
        let packets = parse(&bytes);
        prop_assert!(matches!(packets[..], [RtcpPacket::Remb(remb)] if remb.bitrate.as_bps() == bps));
    }

    #[test]
    fn report_blocks_round_trip(ssrc: u32, fraction_lost: u8, lost: i32, words: [u32; 4]) {
        let block = ReportBlock {
            ssrc: Ssrc(ssrc),
            fraction_lost,
            cumulative_lost: lost,
            highest_sequence: words[0],
            jitter: words[1],
            last_sr: words[2],
            delay_since_last_sr: words[3],
        };
        let bytes = write(|writer| { writer.receiver_report(Ssrc(1), &[block]); });
        let packets = parse(&bytes);
        let [RtcpPacket::ReceiverReport(report)] = packets[..] else { panic!("{packets:?}") };
        let clamped = ReportBlock { cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff), ..block };
        prop_assert_eq!(report.reports.iter().collect::<Vec<_>>(), [clamped]);
    }

    #[test]
    fn nacks_name_exactly_the_missing_numbers(start: u16, gaps in proptest::collection::vec(1u16..40, 0..600)) {
        // Stays within half of the number space, as any real list does.
        let mut number = start;
        let lost: Vec<u16> = gaps.iter().map(|gap| { number = number.wrapping_add(*gap); number }).collect();
        let bytes = write(|writer| { writer.nack(Ssrc(1), Ssrc(2), lost.iter().copied()); });
        let found: Vec<u16> = parse(&bytes).into_iter().flat_map(|packet| match packet {
            RtcpPacket::Nack(nack) => nack.sequence_numbers().collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(found, lost);
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        exhaust(&bytes);
    }
}
