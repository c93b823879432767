//! The way from a simulated camera to its receiver: losses and damage done to whole datagrams, seeded,
//! without sockets or clocks.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::misbehaviour::Misbehaviour;

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rtp,
    Rtcp,
}

/// Which of the camera's sockets a datagram leaves from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Own,
    /// The socket of [`Misbehaviour::SecondSource`].
    Second,
}

/// One in so many packets is truncated or also sent by the second source.
const RARE: u64 = 10;
/// One in so many packets is reordered or duplicated.
const RARER: u64 = 20;
/// A reordered packet leaves after so many others.
const HELD_FOR: u8 = 2;
/// Packets lost in a row by [`Misbehaviour::BurstyLoss`].
const BURST: u32 = 10;
/// What the second source adds to sequence numbers.
const FOREIGN_SEQUENCE_STEP: u16 = 1000;

/// One camera's link, for the packets of one track pair and direction.
#[derive(Debug)]
pub(super) struct Link {
    loss: f64,
    misbehaviour: Vec<Misbehaviour>,
    rng: SmallRng,
    paused: bool,
    /// When the stream's first packet passed.
    began: Option<Instant>,
    burst_left: u32,
    passed: u64,
    lost: u64,
    held: Option<(u8, Vec<u8>)>,
}

impl Link {
    /// A link that loses the share `loss` (0 to 1) of all datagrams.
    pub(super) fn new(loss: f64, misbehaviour: &[Misbehaviour], seed: u64) -> Self {
        Self {
            loss: loss.clamp(0.0, 1.0),
            misbehaviour: misbehaviour.to_vec(),
            rng: SmallRng::seed_from_u64(seed),
            paused: false,
            began: None,
            burst_left: 0,
            passed: 0,
            lost: 0,
            held: None,
        }
    }

    /// A new stream begins: durations count from its first packet.
    pub(super) fn begin(&mut self) {
        self.began = None;
        self.held = None;
        self.lost = 0;
    }

    /// Loses everything until told otherwise, or no more.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Datagrams lost since the stream began.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// When the camera is to go on from other ports, if it is.
    pub(super) fn move_at(&self) -> Option<Instant> {
        let began = self.began?;
        self.misbehaviour.iter().find_map(|fault| {
            if let Misbehaviour::MovesPorts { after } = fault {
                Some(began + *after)
            } else {
                None
            }
        })
    }

    /// Takes `datagram` and calls `send` for each datagram that comes out, in their order.
    pub(super) fn pass(
        &mut self,
        now: Instant,
        kind: Kind,
        datagram: &mut Vec<u8>,
        mut send: impl FnMut(Source, &[u8]),
    ) {
        let began = *self.began.get_or_insert(now);
        if self.paused || self.stalled(now.saturating_duration_since(began)) || self.loses() {
            self.lost += 1;
            return;
        }
        self.passed += 1;
        match kind {
            Kind::Rtcp => self.pass_rtcp(datagram, send),
            Kind::Rtp => self.pass_rtp(datagram, &mut send),
        }
    }

    fn pass_rtcp(&mut self, datagram: &mut [u8], mut send: impl FnMut(Source, &[u8])) {
        if self.has(Misbehaviour::RtcpOnRtpPort) {
            return;
        }
        if self.has(Misbehaviour::LyingRtcpLengths)
            && let [first, _, high, low, ..] = datagram
        {
            // 31 blocks and 100 words more than there are (RFC 3550 §6.4.1).
            *first |= 0x1F;
            let words = u16::from_be_bytes([*high, *low]).wrapping_add(100);
            [*high, *low] = words.to_be_bytes();
        }
        send(Source::Own, datagram);
    }

    fn pass_rtp(&mut self, datagram: &mut Vec<u8>, send: &mut impl FnMut(Source, &[u8])) {
        let rare = self.passed.is_multiple_of(RARE);
        let rarer = self.passed.is_multiple_of(RARER);
        if rare && self.has(Misbehaviour::SecondSource) {
            send(Source::Second, &foreign(datagram));
        }
        if rare && self.has(Misbehaviour::TruncatedPackets) {
            let longest = datagram.len().min(20);
            datagram.truncate(self.rng.random_range(0..=longest));
        }
        if rarer && self.has(Misbehaviour::Reorders) && self.held.is_none() {
            self.held = Some((HELD_FOR, datagram.clone()));
            return;
        }
        send(Source::Own, datagram);
        if rarer && self.has(Misbehaviour::Duplicates) {
            send(Source::Own, datagram);
        }
        self.release_held(send);
    }

    fn release_held(&mut self, send: &mut impl FnMut(Source, &[u8])) {
        match self.held.take() {
            Some((0 | 1, held)) => send(Source::Own, &held),
            Some((left, held)) => self.held = Some((left - 1, held)),
            None => {}
        }
    }

    fn stalled(&self, since_begin: Duration) -> bool {
        self.misbehaviour.iter().any(|fault| {
            if let Misbehaviour::Stall { after, length } = fault {
                (*after..*after + *length).contains(&since_begin)
            } else {
                false
            }
        })
    }

    fn loses(&mut self) -> bool {
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return true;
        }
        if self.loss == 0.0 {
            return false;
        }
        if !self.has(Misbehaviour::BurstyLoss) {
            return self.rng.random_bool(self.loss);
        }
        // The chance to start a burst that makes lost / (lost + passed) the wanted share.
        let start = self.loss / (self.loss + f64::from(BURST) * (1.0 - self.loss));
        let starts = self.rng.random_bool(start);
        if starts {
            self.burst_left = BURST - 1;
        }
        starts
    }

    /// Whether this is one of the camera's faults.
    pub(super) fn has(&self, fault: Misbehaviour) -> bool {
        self.misbehaviour.contains(&fault)
    }
}

/// `packet` as an intruder would send it: the same SSRC, another place in the sequence, other bytes.
fn foreign(packet: &[u8]) -> Vec<u8> {
    let mut copy = packet.to_vec();
    if let [_, _, high, low, ..] = copy.as_mut_slice() {
        let sequence = u16::from_be_bytes([*high, *low]).wrapping_add(FOREIGN_SEQUENCE_STEP);
        [*high, *low] = sequence.to_be_bytes();
    }
    for byte in copy.iter_mut().skip(12) {
        *byte = !*byte;
    }
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `count` packets, one each 10 ms, and returns what comes out, by first byte and source.
    fn run(link: &mut Link, kind: Kind, count: u32) -> Vec<(Source, Vec<u8>)> {
        let start = Instant::now();
        let mut out = Vec::new();
        for index in 0..count {
            let now = start + Duration::from_millis(10) * index;
            let mut datagram = vec![0x80; 40];
            datagram[2..4].copy_from_slice(&(index as u16).to_be_bytes());
            link.pass(now, kind, &mut datagram, |source, bytes| {
                out.push((source, bytes.to_vec()));
            });
        }
        out
    }

    fn sequences(out: &[(Source, Vec<u8>)]) -> Vec<u16> {
        out.iter()
            .map(|(_, bytes)| u16::from_be_bytes([bytes[2], bytes[3]]))
            .collect()
    }

    #[test]
    fn a_clean_link_changes_nothing() {
        let mut link = Link::new(0.0, &[], 1);
        let out = run(&mut link, Kind::Rtp, 100);
        assert_eq!(sequences(&out), (0..100).collect::<Vec<_>>());
        assert_eq!(link.lost(), 0);
    }

    #[test]
    fn f03_loses_the_wanted_share_alone_and_in_bursts() {
        for faults in [&[][..], &[Misbehaviour::BurstyLoss]] {
            let mut link = Link::new(0.05, faults, 7);
            let out = run(&mut link, Kind::Rtp, 20_000);
            assert_eq!(out.len() as u64 + link.lost(), 20_000);
            assert!(
                (800..1200).contains(&link.lost()),
                "{faults:?}: {}",
                link.lost()
            );
            let holes = sequences(&out)
                .windows(2)
                .filter(|pair| pair[1].wrapping_sub(pair[0]) > 1)
                .count() as u64;
            let mean_burst = link.lost() as f64 / holes as f64;
            let expected = if faults.is_empty() {
                0.9..1.3
            } else {
                9.0..20.0
            };
            assert!(expected.contains(&mean_burst), "{faults:?}: {mean_burst}");
        }
    }

    #[test]
    fn f03_reorders_and_duplicates_one_in_twenty() {
        let mut link = Link::new(0.0, &[Misbehaviour::Reorders], 1);
        let out = sequences(&run(&mut link, Kind::Rtp, 60));
        assert_eq!(out[17..24], [17, 18, 20, 21, 19, 22, 23]);
        assert_eq!(
            out.iter().collect::<std::collections::HashSet<_>>().len(),
            59
        );

        let mut link = Link::new(0.0, &[Misbehaviour::Duplicates], 1);
        let out = sequences(&run(&mut link, Kind::Rtp, 60));
        assert_eq!(out.len(), 63);
        assert_eq!(out[18..22], [18, 19, 19, 20]);
    }

    #[test]
    fn h28_a_second_source_sends_another_sequence_too() {
        let mut link = Link::new(0.0, &[Misbehaviour::SecondSource], 1);
        let out = run(&mut link, Kind::Rtp, 100);
        let foreign: Vec<_> = out
            .iter()
            .filter(|(source, _)| *source == Source::Second)
            .collect();
        assert_eq!((out.len(), foreign.len()), (110, 10));
        assert_eq!(foreign[0].1[2..4], 1009u16.to_be_bytes());
        assert_eq!(foreign[0].1[12..], [0x7F; 28]);
    }

    #[test]
    fn truncates_one_in_ten() {
        let mut link = Link::new(0.0, &[Misbehaviour::TruncatedPackets], 1);
        let out = run(&mut link, Kind::Rtp, 100);
        assert_eq!(out.iter().filter(|(_, bytes)| bytes.len() < 40).count(), 10);
    }

    #[test]
    fn rtcp_lengths_lie_only_when_asked_to() {
        let mut link = Link::new(0.0, &[Misbehaviour::LyingRtcpLengths], 1);
        assert_eq!(
            run(&mut link, Kind::Rtcp, 1)[0].1[..4],
            [0x9F, 0x80, 0, 100]
        );
        let mut link = Link::new(0.0, &[Misbehaviour::RtcpOnRtpPort], 1);
        assert!(run(&mut link, Kind::Rtcp, 5).is_empty());
    }

    #[test]
    fn stalls_for_a_while_and_pauses_until_resumed() {
        let stall = Misbehaviour::Stall {
            after: Duration::from_millis(100),
            length: Duration::from_millis(200),
        };
        let mut link = Link::new(0.0, &[stall], 1);
        let out = sequences(&run(&mut link, Kind::Rtp, 50));
        assert_eq!(out, (0..10).chain(30..50).collect::<Vec<_>>());

        let mut link = Link::new(0.0, &[], 1);
        link.pause(true);
        assert!(run(&mut link, Kind::Rtp, 5).is_empty());
        link.pause(false);
        assert_eq!(run(&mut link, Kind::Rtp, 5).len(), 5);
    }

    #[test]
    fn says_when_to_move_once_packets_flow() {
        let after = Duration::from_secs(3);
        let mut link = Link::new(0.0, &[Misbehaviour::MovesPorts { after }], 1);
        assert_eq!(link.move_at(), None);
        let now = Instant::now();
        link.pass(now, Kind::Rtp, &mut vec![0x80; 12], |_, _| {});
        assert_eq!(link.move_at(), Some(now + after));
    }
}
