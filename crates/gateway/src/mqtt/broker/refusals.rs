//! The log of who was refused: a line at once, and then no more than one in a while, with how many it stands for.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A camera that is refused tries again and again, and so does an attacker.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Refusals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    /// Logs that a client was refused, or counts it.
    pub(super) fn refuse(&self, address: SocketAddr, client: &str, reason: &dyn Display) {
        match self.unsaid_before(Instant::now()) {
            Some(0) => tracing::warn!(%address, client, "refused an MQTT client: {reason}"),
            Some(unsaid) => {
                tracing::warn!(%address, client, unsaid, "refused an MQTT client: {reason}");
            }
            None => tracing::debug!(%address, client, "refused an MQTT client: {reason}"),
        }
    }

    /// How many were not told of since the last line; `None` if it is too early for another.
    fn unsaid_before(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .last
            .is_some_and(|last| now.duration_since(last) < PAUSE)
        {
            state.unsaid += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_few_lines() {
        let refusals = Refusals::default();
        let began = Instant::now();
        assert_eq!(refusals.unsaid_before(began), Some(0));
        for _ in 0..1000 {
            assert_eq!(refusals.unsaid_before(began), None);
        }
        assert_eq!(refusals.unsaid_before(began + PAUSE), Some(1000));
        assert_eq!(refusals.unsaid_before(began + PAUSE * 2), Some(0));
    }
}
