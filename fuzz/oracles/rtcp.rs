//! Each packet of a compound that can be written is read back with the same contents; nothing follows an error.

use std::collections::BTreeSet;

use apiary_wire::Ssrc;
use apiary_wire::rtcp::{RtcpPacket, RtcpWriter, parse_compound};

pub(crate) fn check(data: &[u8]) {
    let items: Vec<_> = parse_compound(data).collect();
    // Each packet has a header of its own.
    assert!(items.len() <= data.len() / 4 + 1);
    let errors = items.iter().filter(|item| item.is_err()).count();
    assert!(errors == 0 || (errors == 1 && items.last().is_some_and(Result::is_err)));
    for packet in items.into_iter().flatten() {
        check_packet(packet);
    }
}

fn check_packet(packet: RtcpPacket<'_>) {
    match packet {
        RtcpPacket::SenderReport(report) => {
            let blocks: Vec<_> = report.reports.iter().collect();
            again(
                |writer| {
                    writer.sender_report(report.info(), &blocks);
                },
                |back| back == packet,
            );
        }
        RtcpPacket::ReceiverReport(report) => {
            let blocks: Vec<_> = report.reports.iter().collect();
            again(
                |writer| {
                    writer.receiver_report(report.ssrc, &blocks);
                },
                |back| back == packet,
            );
        }
        RtcpPacket::SourceDescription(sdes) => {
            for chunk in sdes.chunks() {
                let Some(Ok(cname)) = chunk.cname().map(std::str::from_utf8) else {
                    continue;
                };
                again(
                    |writer| {
                        writer.sdes_cname(chunk.ssrc, cname);
                    },
                    |back| matches!(back, RtcpPacket::SourceDescription(one) if one.cname(chunk.ssrc) == Some(cname.as_bytes())),
                );
            }
        }
        RtcpPacket::Goodbye(bye) => {
            for ssrc in bye.ssrcs() {
                again(
                    |writer| {
                        writer.goodbye(ssrc);
                    },
                    |back| matches!(back, RtcpPacket::Goodbye(one) if one.ssrcs().eq([ssrc])),
                );
            }
        }
        RtcpPacket::Nack(nack) => {
            // A hostile list is in any order and repeats numbers; what it names stays the same.
            let named: BTreeSet<u16> = nack.sequence_numbers().collect();
            let mut written = Vec::new();
            RtcpWriter::new(&mut written).nack(
                nack.sender_ssrc,
                nack.media_ssrc,
                nack.sequence_numbers(),
            );
            let back: BTreeSet<u16> = parse_compound(&written)
                .flat_map(|packet| match packet {
                    Ok(RtcpPacket::Nack(nack)) => nack.sequence_numbers().collect::<Vec<_>>(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(back, named);
        }
        RtcpPacket::Pli(pli) => {
            again(
                |writer| {
                    writer.pli(pli.sender_ssrc, pli.media_ssrc);
                },
                |back| back == packet,
            );
        }
        RtcpPacket::Fir(fir) => {
            for entry in fir.entries() {
                again(
                    |writer| {
                        writer.fir(fir.sender_ssrc, entry.ssrc, entry.sequence);
                    },
                    |back| matches!(back, RtcpPacket::Fir(one) if one.entries().eq([entry])),
                );
            }
        }
        RtcpPacket::Remb(remb) => {
            let ssrcs: Vec<Ssrc> = remb.ssrcs.iter().collect();
            again(
                |writer| {
                    writer.remb(remb.sender_ssrc, remb.bitrate, &ssrcs);
                },
                |back| match back {
                    RtcpPacket::Remb(back) => {
                        // What came off the wire fits the mantissa, unless it went beyond 64 bits.
                        let saturated = remb.bitrate.as_bps() == u64::MAX;
                        back.ssrcs == remb.ssrcs
                            && back.bitrate <= remb.bitrate
                            && (saturated || back.bitrate == remb.bitrate)
                    }
                    _ => false,
                },
            );
        }
        RtcpPacket::Other { .. } => {}
    }
}

fn again(write: impl FnOnce(&mut RtcpWriter<'_>), same: impl FnOnce(RtcpPacket<'_>) -> bool) {
    let mut written = Vec::new();
    write(&mut RtcpWriter::new(&mut written));
    let back: Vec<_> = parse_compound(&written).collect();
    match back[..] {
        [Ok(packet)] => assert!(same(packet), "{packet:?}"),
        _ => panic!("{back:?}"),
    }
}
