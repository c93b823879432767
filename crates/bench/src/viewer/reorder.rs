//! What a jitter buffer does before pictures are joined: packets in order, and a wait for those that are missing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::header::ClearHeader;

/// How long a packet waits for one before it. What is missing then is given up and its picture broken: a viewer
/// would stand still for half a second, and longer than that nobody calls live.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);
/// Packets that wait at most; when more come the first gap is given up.
const MAX_WAITING: usize = 4096;

/// Packets of one SSRC by extended sequence number.
#[derive(Debug, Default)]
pub(crate) struct Reorder {
    next: Option<u64>,
    waiting: BTreeMap<u64, Packet>,
    given_up: u64,
}

/// An opened packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) header: ClearHeader,
    pub(crate) payload: Vec<u8>,
    pub(crate) arrived: Instant,
}

/// What comes out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released {
    Packet(Packet),
    /// So many packets were given up.
    Gap(u64),
}

impl Reorder {
    /// Takes a packet. One that came already, or too late, is ignored.
    pub(crate) fn push(&mut self, number: u64, packet: Packet) {
        let next = *self.next.get_or_insert(number);
        if number >= next {
            self.waiting.entry(number).or_insert(packet);
        }
    }

    /// The next packet in order, or the gap before it once its time is over.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Released> {
        let next = self.next?;
        let entry = self.waiting.first_entry()?;
        let number = *entry.key();
        if number == next {
            self.next = Some(next + 1);
            return Some(Released::Packet(entry.remove()));
        }
        let over = now.saturating_duration_since(entry.get().arrived) >= PATIENCE;
        if over || self.waiting.len() > MAX_WAITING {
            self.next = Some(number);
            self.given_up += number - next;
            return Some(Released::Gap(number - next));
        }
        None
    }

    /// The number that is awaited.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    /// When [`Reorder::pop`] gives up what it waits for.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let (_, first) = self.waiting.first_key_value()?;
        Some(first.arrived + PATIENCE)
    }

    /// Packets that never came in time.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(number: u64, arrived: Instant) -> Packet {
        Packet {
            header: ClearHeader {
                marker: false,
                payload_type: 102,
                sequence_number: number as u16,
                timestamp: 0,
                ssrc: 1,
                len: 12,
            },
            payload: vec![number as u8],
            arrived,
        }
    }

    fn drain(buffer: &mut Reorder, now: Instant) -> Vec<Result<u8, u64>> {
        std::iter::from_fn(|| buffer.pop(now))
            .map(|released| match released {
                Released::Packet(packet) => Ok(packet.payload[0]),
                Released::Gap(count) => Err(count),
            })
            .collect()
    }

    #[test]
    fn puts_in_order_and_waits_for_what_is_missing() {
        let start = Instant::now();
        let mut buffer = Reorder::default();
        for number in [5, 7, 8, 7] {
            buffer.push(number, packet(number, start));
        }
        assert_eq!(drain(&mut buffer, start), [Ok(5)]);
        assert_eq!(buffer.next_timeout(), Some(start + PATIENCE));
        buffer.push(6, packet(6, start + PATIENCE / 2));
        assert_eq!(drain(&mut buffer, start), [Ok(6), Ok(7), Ok(8)]);
        buffer.push(6, packet(6, start));
        assert_eq!(drain(&mut buffer, start), []);
        assert_eq!(buffer.given_up(), 0);
    }

    #[test]
    fn gives_up_when_time_is_over() {
        let start = Instant::now();
        let mut buffer = Reorder::default();
        for number in [5, 8, 10] {
            buffer.push(number, packet(number, start));
        }
        let late = start + PATIENCE;
        assert_eq!(
            drain(&mut buffer, late),
            [Ok(5), Err(2), Ok(8), Err(1), Ok(10)]
        );
        assert_eq!(buffer.given_up(), 3);
        assert_eq!(buffer.next(), Some(11));
    }
}
