//! The packets of the last second, kept so that a NACK can have them again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use apiary_wire::rtp::RtpHeader;
use bytes::Bytes;

/// More than a second of 5 Mbit/s holds; the oldest go first.
const MAX_PACKETS: usize = 2048;

/// Sent packets in order of their sequence numbers, without holes. The payloads are shared, so that a
/// replaying camera's history costs a few dozen bytes a packet.
#[derive(Debug)]
pub(super) struct History {
    packets: VecDeque<Sent>,
    keep: Duration,
}

#[derive(Debug, Clone)]
struct Sent {
    at: Instant,
    header: RtpHeader,
    payload: Bytes,
}

impl History {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            packets: VecDeque::new(),
            keep,
        }
    }

    /// Keeps a packet, whose sequence number follows the last one's, and forgets what is too old.
    pub(super) fn push(&mut self, now: Instant, header: RtpHeader, payload: Bytes) {
        self.forget_old(now);
        if self.packets.len() == MAX_PACKETS {
            self.packets.pop_front();
        }
        self.packets.push_back(Sent {
            at: now,
            header,
            payload,
        });
    }

    /// The packet with this sequence number, if it is still there.
    pub(super) fn find(&mut self, now: Instant, sequence: u16) -> Option<(RtpHeader, Bytes)> {
        self.forget_old(now);
        let first = self.packets.front()?.header.sequence_number;
        let sent = self
            .packets
            .get(usize::from(sequence.wrapping_sub(first)))?;
        Some((sent.header, sent.payload.clone()))
    }

    fn forget_old(&mut self, now: Instant) {
        let too_old = |sent: &Sent| now.saturating_duration_since(sent.at) > self.keep;
        while self.packets.front().is_some_and(too_old) {
            self.packets.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use apiary_wire::{PayloadType, Ssrc};

    use super::*;

    fn header(sequence_number: u16) -> RtpHeader {
        RtpHeader {
            marker: false,
            payload_type: PayloadType::new(103).unwrap(),
            sequence_number,
            timestamp: 0,
            ssrc: Ssrc(1),
        }
    }

    #[test]
    fn finds_packets_across_the_wrap_until_they_are_too_old() {
        let start = Instant::now();
        let mut history = History::new(Duration::from_secs(1));
        for index in 0..20u16 {
            let at = start + Duration::from_millis(100) * u32::from(index);
            let sequence = 65_530u16.wrapping_add(index);
            history.push(at, header(sequence), Bytes::from(vec![index as u8]));
        }
        let now = start + Duration::from_millis(1900);
        let mut found = |sequence: u16| history.find(now, sequence).map(|(_, payload)| payload[0]);
        assert_eq!(found(65_530), None, "sent 1.9 s ago");
        assert_eq!(found(65_530u16.wrapping_add(8)), None, "sent 1.1 s ago");
        assert_eq!(found(65_530u16.wrapping_add(9)), Some(9), "sent 1 s ago");
        assert_eq!(found(65_530u16.wrapping_add(19)), Some(19));
        assert_eq!(found(65_530u16.wrapping_add(20)), None, "not sent yet");
    }

    #[test]
    fn is_bounded() {
        let now = Instant::now();
        let mut history = History::new(Duration::from_secs(1));
        for sequence in 0..5000 {
            history.push(now, header(sequence), Bytes::new());
        }
        assert_eq!(history.packets.len(), MAX_PACKETS);
        assert!(history.find(now, 4999).is_some());
    }
}
