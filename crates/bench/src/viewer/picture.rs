//! What a viewer of the sample finds inside the packets: whole pictures, and the time they were sent.

use apiary_sim::find_timestamp;
use apiary_wire::h264::{Depacketizer, NalUnitType};

use super::header::ClearHeader;

/// A picture as the camera stamped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Its RTP time.
    pub(crate) timestamp: u32,
    /// When the camera sent it, in nanoseconds since 1970.
    pub(crate) sent_ns: u64,
}

/// Checks a stream of pictures.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    depacketizer: Depacketizer,
    complete: u64,
    broken: u64,
}

/// What a packet brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Nothing,
    Picture { idr: bool },
}

/// What was found in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) stamp: Option<Stamp>,
    pub(crate) progress: Progress,
}

impl Pictures {
    /// Takes the payload of a video packet.
    pub(crate) fn push(&mut self, header: &ClearHeader, payload: &[u8]) -> Found {
        let stamp = may_hold_sei(payload)
            .then(|| find_timestamp(payload))
            .flatten()
            .map(|sent| Stamp {
                timestamp: header.timestamp,
                sent_ns: u64::try_from(sent.as_nanos()).unwrap_or(u64::MAX),
            });
        Found {
            stamp,
            progress: self.join(header, payload),
        }
    }

    fn join(&mut self, header: &ClearHeader, payload: &[u8]) -> Progress {
        let (number, timestamp) = (header.sequence_number, header.timestamp);
        match self
            .depacketizer
            .push(number, timestamp, header.marker, payload)
        {
            Ok(Some(unit)) => {
                self.complete += 1;
                Progress::Picture { idr: unit.is_idr }
            }
            Ok(None) => Progress::Nothing,
            Err(_) => {
                self.broken += 1;
                Progress::Nothing
            }
        }
    }

    /// Whole pictures so far.
    pub(crate) fn complete(&self) -> u64 {
        self.complete
    }

    /// Packets that could not be used so far.
    pub(crate) fn broken(&self) -> u64 {
        self.broken
    }
}

/// Looking for the stamp in every slice would cost more than opening it.
fn may_hold_sei(payload: &[u8]) -> bool {
    const STAP_A: u8 = 24;
    payload.first().is_some_and(|byte| {
        NalUnitType::of_header(*byte) == NalUnitType::Sei || byte & 0x1f == STAP_A
    })
}
