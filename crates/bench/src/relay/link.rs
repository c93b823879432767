//! One direction of a lossy path, without sockets or clocks: which datagrams come out, in which order, how often.

use std::collections::VecDeque;

use apiary_wire::demux::{Protocol, classify};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

/// What a direction does to packets. Nothing, by default.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Faults {
    /// The share of packets that is lost, 0 to 1.
    pub(crate) loss: f64,
    /// Packets lost in a row each time; 0 and 1 lose them one by one.
    pub(crate) burst: u32,
    /// The share of packets that leaves after the [`HELD_FOR`] next ones.
    pub(crate) reordered: f64,
    /// The share of packets that leaves twice.
    pub(crate) duplicated: f64,
    /// Whether RTCP suffers too. STUN and DTLS never do: how long a connection takes to come up is not the question.
    pub(crate) rtcp: bool,
}

/// The path of a dream.
pub(crate) const NO_FAULTS: Faults = Faults {
    loss: 0.0,
    burst: 0,
    reordered: 0.0,
    duplicated: 0.0,
    rtcp: false,
};

impl Default for Faults {
    fn default() -> Self {
        NO_FAULTS
    }
}

/// Packets that overtake a reordered one.
const HELD_FOR: u32 = 3;

/// What a direction did, which proves that it did something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LinkCounts {
    /// Datagrams of any kind that came out, second copies not counted.
    pub(crate) passed: u64,
    /// RTP packets that came in.
    pub(crate) rtp: u64,
    /// RTP packets that were dropped.
    pub(crate) rtp_dropped: u64,
    /// RTCP datagrams that were dropped.
    pub(crate) rtcp_dropped: u64,
    pub(crate) reordered: u64,
    pub(crate) duplicated: u64,
}

impl LinkCounts {
    /// With what another link did.
    pub(super) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.rtp += other.rtp;
        self.rtp_dropped += other.rtp_dropped;
        self.rtcp_dropped += other.rtcp_dropped;
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
    }

    /// What was done since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            passed: self.passed - earlier.passed,
            rtp: self.rtp - earlier.rtp,
            rtp_dropped: self.rtp_dropped - earlier.rtp_dropped,
            rtcp_dropped: self.rtcp_dropped - earlier.rtcp_dropped,
            reordered: self.reordered - earlier.reordered,
            duplicated: self.duplicated - earlier.duplicated,
        }
    }
}

/// One direction.
pub(super) struct Link {
    faults: Faults,
    rng: SmallRng,
    burst_left: u32,
    held: VecDeque<Held>,
    counts: LinkCounts,
}

struct Held {
    overtaken_by: u32,
    datagram: Vec<u8>,
}

impl Link {
    /// The same faults and seed always hit the same packets.
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            rng: SmallRng::seed_from_u64(seed),
            burst_left: 0,
            held: VecDeque::new(),
            counts: LinkCounts::default(),
        }
    }

    pub(super) fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// Takes a datagram and calls `send` for each that comes out, in their order.
    pub(super) fn pass(&mut self, datagram: &[u8], mut send: impl FnMut(&[u8])) {
        let suffers = match classify(datagram) {
            Protocol::Rtp => {
                self.counts.rtp += 1;
                true
            }
            Protocol::Rtcp => self.faults.rtcp,
            Protocol::Stun | Protocol::Dtls | Protocol::Unknown => false,
        };
        if suffers && self.loses() {
            match classify(datagram) {
                Protocol::Rtp => self.counts.rtp_dropped += 1,
                Protocol::Rtcp | Protocol::Stun | Protocol::Dtls | Protocol::Unknown => {
                    self.counts.rtcp_dropped += 1;
                }
            }
            return;
        }
        self.counts.passed += 1;
        if suffers && self.chance(self.faults.reordered) {
            self.counts.reordered += 1;
            self.held.push_back(Held {
                overtaken_by: 0,
                datagram: datagram.to_vec(),
            });
            return;
        }
        send(datagram);
        if suffers && self.chance(self.faults.duplicated) {
            self.counts.duplicated += 1;
            send(datagram);
        }
        self.release_held(send);
    }

    fn release_held(&mut self, mut send: impl FnMut(&[u8])) {
        for held in &mut self.held {
            held.overtaken_by += 1;
        }
        while let Some(held) = self.held.pop_front_if(|held| held.overtaken_by >= HELD_FOR) {
            send(&held.datagram);
        }
    }

    fn loses(&mut self) -> bool {
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return true;
        }
        let (loss, burst) = (self.faults.loss, self.faults.burst.max(1));
        // The chance to begin a burst that makes lost / (lost + passed) the wanted share.
        let begin = loss / (loss + f64::from(burst) * (1.0 - loss));
        let begins = self.chance(begin);
        if begins {
            self.burst_left = burst - 1;
        }
        begins
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.random_bool(share.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtp(number: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(number.to_be_bytes());
        packet.resize(40, 0);
        packet
    }

    fn numbers(link: &mut Link, count: u16) -> Vec<u16> {
        let mut out = Vec::new();
        for number in 0..count {
            link.pass(&rtp(number), |packet| {
                out.push(u16::from_be_bytes([packet[2], packet[3]]));
            });
        }
        out
    }

    #[test]
    fn without_faults_nothing_changes() {
        let mut link = Link::new(Faults::default(), 1);
        assert_eq!(numbers(&mut link, 500), (0..500).collect::<Vec<_>>());
        assert_eq!(link.counts().rtp_dropped, 0);
        assert_eq!(link.counts().passed, 500);
    }

    #[test]
    fn loses_what_it_says_alone_and_in_bursts_and_the_same_each_time() {
        for (burst, holes_per_lost) in [(0, 0.9..1.01), (10, 0.05..0.12)] {
            let faults = Faults {
                loss: 0.05,
                burst,
                ..Faults::default()
            };
            let mut link = Link::new(faults, 7);
            let out = numbers(&mut link, 20_000);
            let counts = link.counts();
            assert_eq!(counts.rtp, 20_000);
            assert_eq!(out.len() as u64, counts.rtp - counts.rtp_dropped);
            assert!(
                (800..1200).contains(&counts.rtp_dropped),
                "{burst}: {counts:?}"
            );
            let holes = out.windows(2).filter(|pair| pair[1] - pair[0] > 1).count();
            let ratio = holes as f64 / counts.rtp_dropped as f64;
            assert!(holes_per_lost.contains(&ratio), "{burst}: {ratio}");
            assert_eq!(numbers(&mut Link::new(faults, 7), 20_000), out);
            assert_ne!(numbers(&mut Link::new(faults, 8), 20_000), out);
        }
    }

    #[test]
    fn reorders_and_duplicates() {
        let faults = Faults {
            reordered: 0.05,
            duplicated: 0.05,
            ..Faults::default()
        };
        let mut link = Link::new(faults, 3);
        let out = numbers(&mut link, 1000);
        let counts = link.counts();
        assert!((20..90).contains(&counts.reordered), "{counts:?}");
        assert!((20..90).contains(&counts.duplicated), "{counts:?}");
        assert!(out.windows(2).any(|pair| pair[1] < pair[0]));
        let distinct: std::collections::HashSet<_> = out.iter().collect();
        assert!(distinct.len() as u64 >= 1000 - u64::from(HELD_FOR));
        assert_eq!(out.len(), distinct.len() + counts.duplicated as usize);
    }

    #[test]
    fn stun_and_dtls_are_spared_and_rtcp_unless_asked_for() {
        let everything = Faults {
            loss: 1.0,
            ..Faults::default()
        };
        let stun = [0; 20];
        let dtls = [22; 40];
        let rtcp = [0x81, 201, 0, 1, 0, 0, 0, 1];
        for (rtcp_suffers, expected) in [(false, 3), (true, 2)] {
            let faults = Faults {
                rtcp: rtcp_suffers,
                ..everything
            };
            let mut link = Link::new(faults, 1);
            let mut came = 0;
            for datagram in [&stun[..], &dtls, &rtcp, &rtp(1)] {
                link.pass(datagram, |_| came += 1);
            }
            assert_eq!(came, expected);
            assert_eq!(link.counts().rtp_dropped, 1);
            assert_eq!(link.counts().rtcp_dropped, u64::from(rtcp_suffers));
        }
    }
}
