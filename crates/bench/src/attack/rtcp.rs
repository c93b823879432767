//! RTCP of a peer that has keys and bad intentions. What is made here is sealed as it is, so it passes authentication.

use apiary_wire::Ssrc;
use apiary_wire::rtcp::RtcpWriter;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// Sequence numbers in one NACK packet: as many as a server may care to look at in one.
const NUMBERS_PER_NACK: u16 = 255;
/// Octets of one datagram before sealing.
const MAX_COMPOUND: usize = 1900;

/// Compounds that break the rules of RFC 3550, 4585 or the REMB draft, each in another way. The first eight octets are
/// those of a receiver report, so that SRTCP can be made of all of them.
pub(crate) fn malformed(sender: Ssrc, media: Ssrc, seed: u64) -> Vec<Vec<u8>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let noise = [1, 3, 4, 24, 100, 1000].map(|len| {
        let mut noise = vec![0; len];
        rng.fill_bytes(&mut noise);
        [report(sender, 0, 1), noise].concat()
    });
    // Blocks that are not there, and lengths beyond the end.
    let reports = [(31, 1), (31, 0xffff), (1, 7)];
    reports
        .map(|(count, words)| report(sender, count, words))
        .into_iter()
        .chain(malformed_feedback(sender, media))
        .chain(malformed_sessions(sender, media))
        .chain(noise)
        .collect()
}

fn malformed_feedback(sender: Ssrc, media: Ssrc) -> [Vec<u8>; 10] {
    let (s, m) = (sender.0.to_be_bytes(), media.0.to_be_bytes());
    let about = |body: &[u8]| [&s[..], &m, body].concat();
    let remb = |count: u8, exponent: u8, sources: &[u8]| {
        let rate = [count, exponent << 2 | 3, 0xff, 0xff];
        [&s[..], &[0; 4], b"REMB", &rate, sources].concat()
    };
    [
        // NACK, PLI and FIR with too little or half an entry.
        (0x81, 205, 1, s.to_vec()),
        (0x81, 205, 2, about(&[])),
        (0x81, 205, 0x7fff, about(&[0, 1, 0xff, 0xff])),
        (0x81, 206, 1, s.to_vec()),
        (0x84, 206, 3, about(&[0; 4])),
        // REMB that names more sources than there are, the largest rate that there is, and no source.
        (0x8f, 206, 4, remb(255, 0, &[])),
        (0x8f, 206, 5, remb(1, 63, &m)),
        (0x8f, 206, 4, remb(0, 0, &[])),
        // Padding of nothing, and of more than there is.
        (0xa1, 205, 3, about(&[0, 0, 0, 0])),
        (0xa1, 205, 3, about(&[0, 0, 0, 255])),
    ]
    .map(|(first, kind, words, body)| behind_report(sender, [first, kind], words, &body))
}

fn malformed_sessions(sender: Ssrc, media: Ssrc) -> [Vec<u8>; 6] {
    let (s, m) = (sender.0.to_be_bytes(), media.0.to_be_bytes());
    [
        // SDES whose item is longer than everything, and one without an end.
        (0x81, 202, 2, [s, [1, 255, b'x', b'x']].concat()),
        (0x9f, 202, 1, s.to_vec()),
        // BYE with a reason that is not there.
        (0x81, 203, 2, [s, [250, b'n', b'o', 0]].concat()),
        // Other versions and unknown types.
        (0x00, 200, 1, m.to_vec()),
        (0x80, 223, 0, Vec::new()),
        (0x80, 192, 0xffff, Vec::new()),
    ]
    .map(|(first, kind, words, body)| behind_report(sender, [first, kind], words, &body))
}

/// A receiver report without blocks, whatever it says of itself.
fn report(sender: Ssrc, count: u8, words: u16) -> Vec<u8> {
    let mut packet = vec![0x80 | count, 201];
    packet.extend(words.to_be_bytes());
    packet.extend(sender.0.to_be_bytes());
    packet
}

/// A packet behind an honest report.
fn behind_report(sender: Ssrc, head: [u8; 2], words: u16, body: &[u8]) -> Vec<u8> {
    let mut compound = report(sender, 0, 1);
    compound.extend(head);
    compound.extend(words.to_be_bytes());
    compound.extend(body);
    compound
}

/// Compounds that together ask for all 65,536 packets of a source.
pub(crate) fn nack_everything(sender: Ssrc, media: Ssrc) -> Vec<Vec<u8>> {
    let mut compounds = Vec::new();
    let mut compound = begin(sender);
    let mut first = 0u32;
    while first <= u32::from(u16::MAX) {
        let end = (first + u32::from(NUMBERS_PER_NACK)).min(1 << 16);
        let before = compound.len();
        let numbers = (first..end).map(|number| number as u16);
        RtcpWriter::new(&mut compound).nack(sender, media, numbers);
        let grown = compound.len() - before;
        if compound.len() + grown > MAX_COMPOUND {
            compounds.push(std::mem::replace(&mut compound, begin(sender)));
        }
        first = end;
    }
    compounds.push(compound);
    compounds
}

/// A picture loss indication.
pub(crate) fn pli(sender: Ssrc, media: Ssrc) -> Vec<u8> {
    let mut compound = begin(sender);
    RtcpWriter::new(&mut compound).pli(sender, media);
    compound
}

/// A NACK for these packets.
pub(crate) fn nack(sender: Ssrc, media: Ssrc, numbers: &[u16]) -> Vec<u8> {
    let mut compound = begin(sender);
    RtcpWriter::new(&mut compound).nack(sender, media, numbers.iter().copied());
    compound
}

fn begin(sender: Ssrc) -> Vec<u8> {
    let mut compound = Vec::with_capacity(MAX_COMPOUND + 64);
    RtcpWriter::new(&mut compound).receiver_report(sender, &[]);
    compound
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiary_wire::rtcp::{RtcpPacket, parse_compound};
    use std::collections::HashSet;

    const SENDER: Ssrc = Ssrc(7);
    const MEDIA: Ssrc = Ssrc(9);

    #[test]
    fn what_is_malformed_can_be_sealed_and_most_is_refused() {
        let all = malformed(SENDER, MEDIA, 1);
        assert!(all.iter().all(|compound| compound.len() >= 8));
        let distinct: HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        let refused = all
            .iter()
            .filter(|compound| parse_compound(compound).any(|packet| packet.is_err()))
            .count();
        assert!(refused > all.len() / 2, "{refused} of {}", all.len());
    }

    #[test]
    fn everything_is_asked_for_in_datagrams_that_fit() {
        let compounds = nack_everything(SENDER, MEDIA);
        assert!(compounds.len() <= 12, "{}", compounds.len());
        let mut asked = HashSet::new();
        for compound in &compounds {
            assert!(compound.len() <= MAX_COMPOUND);
            for packet in parse_compound(compound) {
                if let RtcpPacket::Nack(nack) = packet.unwrap() {
                    assert!(nack.sequence_numbers().count() <= 256);
                    asked.extend(nack.sequence_numbers());
                }
            }
        }
        assert_eq!(asked.len(), 1 << 16);
    }

    #[test]
    fn requests_are_what_they_say() {
        let packets = |compound: &[u8]| {
            parse_compound(compound)
                .filter_map(Result::ok)
                .map(|packet| {
                    format!("{packet:?}")
                        .split('(')
                        .next()
                        .unwrap_or("")
                        .to_owned()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(packets(&pli(SENDER, MEDIA)), ["ReceiverReport", "Pli"]);
        assert_eq!(
            packets(&nack(SENDER, MEDIA, &[1, 5])),
            ["ReceiverReport", "Nack"]
        );
    }
}
