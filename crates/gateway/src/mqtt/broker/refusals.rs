//! Who was refused, and why: the last of them for administrators, and the log. There it is a line at once, and then no more than one
//! in a while, with how many it stands for.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::reason::Reason;

/// A camera that is refused tries again and again, and so does an attacker.
const PAUSE: Duration = Duration::from_secs(5);
/// As many are remembered; those that were refused longest ago make room.
const REMEMBERED: usize = 16;

/// Somebody who was refused, perhaps more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When last.
    pub at: Timestamp,
    /// From where.
    pub ip: IpAddr,
    /// By which name, shortened; empty where it did not come to that.
    pub client: String,
    /// Why.
    pub reason: Reason,
    /// How often, in a row.
    pub count: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the log was last told.
    last: Option<Instant>,
    unsaid: u64,
    /// Oldest first.
    remembered: VecDeque<Refused>,
}

impl Refusals {
    /// The last that were refused, the latest first.
    pub fn latest(&self) -> Vec<Refused> {
        self.state().remembered.iter().rev().cloned().collect()
    }

    /// Remembers that a client was refused, and logs or counts it.
    pub(super) fn refuse(&self, address: SocketAddr, client: &str, reason: Reason) {
        match self.state().unsaid_before(Instant::now()) {
            Some(0) => tracing::warn!(%address, client, "refused an MQTT client: {reason}"),
            Some(unsaid) => {
                tracing::warn!(%address, client, unsaid, "refused an MQTT client: {reason}");
            }
            None => tracing::debug!(%address, client, "refused an MQTT client: {reason}"),
        }
        self.state().remember(Refused {
            at: Timestamp::now(),
            ip: address.ip(),
            client: client.to_owned(),
            reason,
            count: 1,
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many were not told of since the last line; `None` if it is too early for another.
    fn unsaid_before(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < PAUSE)
        {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }

    /// Whoever tries again for the same reason keeps one place.
    fn remember(&mut self, mut refused: Refused) {
        let same = |known: &Refused| {
            known.ip == refused.ip
                && known.client == refused.client
                && known.reason.cause.code == refused.reason.cause.code
        };
        if let Some(place) = self.remembered.iter().position(same) {
            let before = self.remembered.remove(place);
            refused.count += before.map_or(0, |before| before.count);
        } else if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(refused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Code;

    #[test]
    fn many_refusals_are_few_lines() {
        let mut state = State::default();
        let began = Instant::now();
        assert_eq!(state.unsaid_before(began), Some(0));
        for _ in 0..1000 {
            assert_eq!(state.unsaid_before(began), None);
        }
        assert_eq!(state.unsaid_before(began + PAUSE), Some(1000));
        assert_eq!(state.unsaid_before(began + PAUSE * 2), Some(0));
    }

    #[test]
    fn who_tries_again_has_one_place_and_places_are_few() {
        let refusals = Refusals::default();
        let refuse = |last: u8, code| {
            let address = SocketAddr::from(([192, 0, 2, last], 40_000));
            refusals.refuse(address, "", Reason::new(code, "no"));
        };
        for last in 1..=20 {
            refuse(last, Code::MqttNoCertificate);
        }
        for _ in 0..5 {
            refuse(10, Code::MqttNoCertificate);
        }
        refuse(10, Code::MqttForeignCertificate);
        let latest = refusals.latest();
        assert_eq!(latest.len(), REMEMBERED);
        let told = |at: usize| (latest[at].ip.to_string(), latest[at].count);
        assert_eq!(told(0), ("192.0.2.10".to_owned(), 1));
        assert_eq!(told(1), ("192.0.2.10".to_owned(), 6));
        assert_eq!(told(2), ("192.0.2.20".to_owned(), 1));
    }
}
