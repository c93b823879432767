//! Asking the camera for a key frame: merged over all who want one, at most once a second, until it comes.
//!
//! The camera makes at most about one IDR a second (camera-protocol.md), so asking more often only costs.
//! When PLI (RFC 4585 §6.3.1) stays unanswered, FIR (RFC 5104 §4.3.1) is tried in turn with it.

use std::time::{Duration, Instant};

/// Time between two requests to the camera, whoever wants a key frame.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Requests without an answer after which FIR is tried as well.
const PLIS_BEFORE_FIR: u32 = 2;
/// Requests without an answer after which it takes a new wish to go on.
const MAX_TRIES: u32 = 30;

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFrameRequest {
    /// Picture loss indication.
    Pli,
    /// Full intra request with its command sequence number, the same in repetitions (RFC 5104 §4.3.1.1).
    Fir {
        /// Command sequence number.
        sequence_number: u8,
    },
}

/// The one open wish for a key frame, whoever has it.
#[derive(Clone, Debug, Default)]
pub struct KeyFrameRequests {
    state: State,
    last_sent: Option<Instant>,
    fir_sequence_number: u8,
    sent: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nobody waits.
    #[default]
    Idle,
    /// Somebody waits, the first of them since `since`; `tries` requests have been sent for it.
    Wanted { since: Instant, tries: u32 },
}

impl KeyFrameRequests {
    /// Somebody needs a key frame. One that is already wanted serves all.
    pub fn request(&mut self, now: Instant) {
        if self.state == State::Idle {
            self.state = State::Wanted {
                since: now,
                tries: 0,
            };
        }
    }

    /// A key frame came: nobody waits any more.
    pub fn on_key_frame(&mut self) {
        if let State::Wanted { tries, .. } = self.state
            && tries > PLIS_BEFORE_FIR
        {
            self.fir_sequence_number = self.fir_sequence_number.wrapping_add(1);
        }
        self.state = State::Idle;
    }

    /// A key frame is wanted and has not come.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.state != State::Idle
    }

    /// Requests sent, repetitions included.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// When [`KeyFrameRequests::poll`] has something to send.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Idle => None,
            State::Wanted { since, .. } => Some(
                self.last_sent
                    .map_or(since, |sent| since.max(sent + MIN_INTERVAL)),
            ),
        }
    }

    /// The request to send now, if one is due.
    pub fn poll(&mut self, now: Instant) -> Option<KeyFrameRequest> {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return None;
        }
        let State::Wanted { since, tries } = self.state else {
            return None;
        };
        self.last_sent = Some(now);
        self.sent += 1;
        let tries = tries + 1;
        self.state = if tries >= MAX_TRIES {
            State::Idle
        } else {
            State::Wanted { since, tries }
        };
        if tries > PLIS_BEFORE_FIR && (tries - PLIS_BEFORE_FIR) % 2 == 1 {
            return Some(KeyFrameRequest::Fir {
                sequence_number: self.fir_sequence_number,
            });
        }
        Some(KeyFrameRequest::Pli)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h20_a_thousand_wishes_a_second_are_one_request() {
        let start = Instant::now();
        let mut requests = KeyFrameRequests::default();
        let mut sent = 0;
        for millisecond in 0..10_000 {
            let now = start + Duration::from_millis(millisecond);
            requests.request(now);
            if requests.poll(now).is_some() {
                sent += 1;
                // Even a camera that answers at once is not asked more often.
                requests.on_key_frame();
            }
        }
        assert_eq!(sent, 10);
    }

    #[test]
    fn asks_with_fir_in_turn_once_pli_stays_unanswered() {
        let mut now = Instant::now();
        let mut requests = KeyFrameRequests::default();
        requests.request(now);
        let mut kinds = Vec::new();
        for _ in 0..5 {
            kinds.push(requests.poll(now).unwrap());
            assert_eq!(requests.poll(now), None, "throttled");
            now = requests.poll_timeout().unwrap();
        }
        let fir = KeyFrameRequest::Fir { sequence_number: 0 };
        let pli = KeyFrameRequest::Pli;
        assert_eq!(kinds, [pli, pli, fir, pli, fir]);
        requests.on_key_frame();
        assert!(!requests.is_wanted());
        requests.request(now);
        for _ in 0..2 {
            now = requests.poll_timeout().unwrap();
            assert_eq!(requests.poll(now), Some(pli));
        }
        now = requests.poll_timeout().unwrap();
        assert_eq!(
            requests.poll(now),
            Some(KeyFrameRequest::Fir { sequence_number: 1 }),
            "a new command has a new number"
        );
    }

    #[test]
    fn a_key_frame_before_the_request_is_sent_saves_it() {
        let now = Instant::now();
        let mut requests = KeyFrameRequests::default();
        requests.request(now);
        requests.on_key_frame();
        assert_eq!(requests.poll(now), None);
        assert_eq!(requests.poll_timeout(), None);
    }

    #[test]
    fn a_camera_that_never_answers_is_left_alone_in_the_end() {
        let mut now = Instant::now();
        let mut requests = KeyFrameRequests::default();
        requests.request(now);
        let mut sent = 0;
        while let Some(due) = requests.poll_timeout() {
            now = due;
            sent += u32::from(requests.poll(now).is_some());
        }
        assert_eq!(sent, MAX_TRIES);
        requests.request(now);
        assert_eq!(requests.poll(now), None, "still once a second");
        assert!(requests.poll(now + MIN_INTERVAL).is_some());
    }
}
