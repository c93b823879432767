//! The ways in which a simulated camera can be made to misbehave, one named fault each, so that a test
//! or a command line can combine them. What a fault does to packets is in `link`, what it does to the
//! firmware's decisions in `firmware`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One fault of a camera or of the network right behind it. Rates are seeded by the camera's seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Misbehaviour {
    /// RTP and RTCP carry other SSRCs than the SDP commands.
    WrongSsrc,
    /// RTP carries payload types that the SDP does not have.
    WrongPayloadType,
    /// Every tenth RTP packet is cut, most of these within the header.
    TruncatedPackets,
    /// A second socket also sends: every tenth RTP packet, with the right SSRC but another sequence.
    SecondSource,
    /// No RTCP at all comes from the camera.
    NoSenderReports,
    /// The RTCP lengths and counts announce more than the packets hold.
    LyingRtcpLengths,
    /// RTCP is heard on the RTP port only, and none is sent: nothing comes from port + 1.
    RtcpOnRtpPort,
    /// Nothing leaves the camera for `length`, from `after` the first packet on; it goes on as if sent.
    Stall {
        /// From the first packet of a stream to the silence.
        after: Duration,
        /// How long the silence lasts.
        length: Duration,
    },
    /// PLI and FIR are not answered.
    IgnoresPli,
    /// Generic NACK is not answered.
    IgnoresNack,
    /// The encoder stays at its first bitrate, whatever REMB says.
    IgnoresRemb,
    /// Every twentieth packet (5 %) leaves after the two packets that follow it.
    Reorders,
    /// Every twentieth packet (5 %) leaves twice.
    Duplicates,
    /// Losses come as whole bursts of ten packets; their mean is the camera's loss.
    BurstyLoss,
    /// Sequence numbers and timestamps start close enough to the wrap to pass it within two seconds.
    StartsNearWrap,
    /// The camera goes on from other local ports after this time, as behind a NAT that rebinds.
    MovesPorts {
        /// From the first packet of a stream to the move.
        after: Duration,
    },
    /// `stream/play` is received and never acted on.
    NeverAnswersPlay,
    /// The first packet leaves this long after `stream/play`.
    SlowStart {
        /// From the command to the first packet.
        delay: Duration,
    },
}

const DEFAULT_STALL_AFTER: Duration = Duration::from_secs(5);
const DEFAULT_STALL_LENGTH: Duration = Duration::from_secs(4);
const DEFAULT_MOVE_AFTER: Duration = Duration::from_secs(5);
const DEFAULT_START_DELAY: Duration = Duration::from_secs(5);

/// Every fault once, with the durations that a bare name stands for.
const ALL: [(&str, Misbehaviour); 18] = [
    ("wrong-ssrc", Misbehaviour::WrongSsrc),
    ("wrong-payload-type", Misbehaviour::WrongPayloadType),
    ("truncated-packets", Misbehaviour::TruncatedPackets),
    ("second-source", Misbehaviour::SecondSource),
    ("no-sender-reports", Misbehaviour::NoSenderReports),
    ("lying-rtcp-lengths", Misbehaviour::LyingRtcpLengths),
    ("rtcp-on-rtp-port", Misbehaviour::RtcpOnRtpPort),
    (
        "stall",
        Misbehaviour::Stall {
            after: DEFAULT_STALL_AFTER,
            length: DEFAULT_STALL_LENGTH,
        },
    ),
    ("ignores-pli", Misbehaviour::IgnoresPli),
    ("ignores-nack", Misbehaviour::IgnoresNack),
    ("ignores-remb", Misbehaviour::IgnoresRemb),
    ("reorders", Misbehaviour::Reorders),
    ("duplicates", Misbehaviour::Duplicates),
    ("bursty-loss", Misbehaviour::BurstyLoss),
    ("starts-near-wrap", Misbehaviour::StartsNearWrap),
    (
        "moves-ports",
        Misbehaviour::MovesPorts {
            after: DEFAULT_MOVE_AFTER,
        },
    ),
    ("never-answers-play", Misbehaviour::NeverAnswersPlay),
    (
        "slow-start",
        Misbehaviour::SlowStart {
            delay: DEFAULT_START_DELAY,
        },
    ),
];

impl Misbehaviour {
    /// The names that [`FromStr`] takes, for help texts.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(name, _)| *name)
    }

    /// The fault's name, without its durations.
    pub fn name(self) -> &'static str {
        let kind = std::mem::discriminant(&self);
        ALL.iter()
            .find(|(_, fault)| std::mem::discriminant(fault) == kind)
            .map_or("unnamed", |(name, _)| *name)
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text names no [`Misbehaviour`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no misbehaviour of a camera; there are: {}", Misbehaviour::names().collect::<Vec<_>>().join(", "))]
pub struct UnknownMisbehaviour {
    found: String,
}

impl FromStr for Misbehaviour {
    type Err = UnknownMisbehaviour;

    /// Takes a name from [`Misbehaviour::names`]; durations get their defaults.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ALL.iter()
            .find(|(name, _)| *name == text)
            .map(|(_, fault)| *fault)
            .ok_or_else(|| UnknownMisbehaviour {
                found: text.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_the_fault_it_names() {
        for (name, fault) in ALL {
            assert_eq!(name.parse::<Misbehaviour>(), Ok(fault));
            assert_eq!(fault.to_string(), name);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "explodes".parse::<Misbehaviour>().unwrap_err().to_string();
        assert!(
            error.contains("\"explodes\"") && error.contains("slow-start"),
            "{error}"
        );
    }
}
