//! Whether a camera's picture arrives at a server: from the server's counters, and from its events while it has none.
//!
//! A machine without clock and I/O: inputs and the time in, at most one event out.

use std::time::Duration;

use apiary_wire::id::CameraId;
use apiary_wire::kurento::{FlowState, InboundRtp};
use apiary_wire::units::Bitrate;
use tokio::time::Instant;

use crate::engine::{EngineEvent, StreamStats};

/// Silence after which it is told; as in the built-in engine.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// Whether packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// None came since open or rearm.
    Awaited,
    /// They come; the last came after `since` and were noticed at `seen`.
    Flowing { since: Instant, seen: Instant },
    /// They came, and come no more.
    Silent,
}

/// A count at a time.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    inbound: InboundRtp,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Flow {
    state: State,
    reading: Option<Reading>,
    stats: StreamStats,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self {
            state: State::Awaited,
            reading: None,
            stats: StreamStats::default(),
        }
    }

    /// Another endpoint takes over: its counters begin anew, ours go on.
    pub(super) fn rearm(&mut self) {
        self.state = State::Awaited;
        self.reading = None;
    }

    /// The counters, since the stream was opened.
    pub(super) fn stats(&self) -> StreamStats {
        self.stats
    }

    /// The server says that the picture begins or ends to flow. Counters, where there are any, know better when it ends.
    pub(super) fn on_event(
        &mut self,
        camera: CameraId,
        state: FlowState,
        now: Instant,
    ) -> Option<EngineEvent> {
        match state {
            FlowState::Flowing => self.on_packets(camera, now, now),
            FlowState::NotFlowing if self.reading.is_none() => self.on_silence(camera, now),
            FlowState::NotFlowing => None,
        }
    }

    /// The server's counters of the picture; `None` while it has none.
    pub(super) fn on_counters(
        &mut self,
        camera: CameraId,
        inbound: Option<InboundRtp>,
        now: Instant,
    ) -> Option<EngineEvent> {
        let inbound = inbound?;
        let before = self.reading.replace(Reading { at: now, inbound });
        let earlier = before.map_or_else(InboundRtp::default, |before| before.inbound);
        let packets = inbound.packets.saturating_sub(earlier.packets);
        let octets = inbound.octets.saturating_sub(earlier.octets);
        self.stats.packets = self.stats.packets.saturating_add(packets);
        self.stats.octets = self.stats.octets.saturating_add(octets);
        self.stats.lost = self
            .stats
            .lost
            .saturating_add(inbound.lost.saturating_sub(earlier.lost));
        self.stats.remb = Bitrate::from_bps(inbound.remb_bps);
        if let Some(before) = before {
            let elapsed = now.saturating_duration_since(before.at).as_secs_f64();
            let bps = octets as f64 * 8.0 / elapsed.max(0.001);
            self.stats.bitrate = Bitrate::from_bps(bps as u64);
        }
        if packets > 0 {
            let since = before.map_or(now, |before| before.at);
            return self.on_packets(camera, since, now);
        }
        match self.state {
            State::Flowing { seen, .. } if now.saturating_duration_since(seen) >= SILENT_AFTER => {
                self.on_silence(camera, now)
            }
            State::Flowing { .. } | State::Awaited | State::Silent => None,
        }
    }

    fn on_packets(
        &mut self,
        camera: CameraId,
        since: Instant,
        seen: Instant,
    ) -> Option<EngineEvent> {
        match std::mem::replace(&mut self.state, State::Flowing { since, seen }) {
            State::Awaited => Some(EngineEvent::RtpStarted {
                camera,
                source: None,
            }),
            State::Silent => Some(EngineEvent::RtpResumed { camera }),
            State::Flowing { .. } => None,
        }
    }

    fn on_silence(&mut self, camera: CameraId, now: Instant) -> Option<EngineEvent> {
        let State::Flowing { since, .. } = self.state else {
            return None;
        };
        self.state = State::Silent;
        self.stats.bitrate = Bitrate::from_bps(0);
        Some(EngineEvent::RtpSilent {
            camera,
            // The longest that it can be: what the camera has said since, it has said in silence.
            silent_for: now.saturating_duration_since(since).max(SILENT_AFTER),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: CameraId = CameraId::from_bytes([7; 16]);

    fn inbound(packets: u64) -> Option<InboundRtp> {
        Some(InboundRtp {
            packets,
            octets: packets * 1_000,
            lost: 0,
            remb_bps: 1_500_000,
        })
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn counters_tell_of_start_silence_and_return() {
        let (mut flow, start) = (Flow::new(), Instant::now());
        let mut at = |second, packets| flow.on_counters(CAMERA, packets, start + secs(second));
        assert!(at(0, None).is_none());
        assert!(matches!(
            at(1, inbound(10)),
            Some(EngineEvent::RtpStarted { .. })
        ));
        assert!(at(2, inbound(260)).is_none());
        assert!(at(3, inbound(260)).is_none());
        assert!(matches!(
            at(4, inbound(260)),
            Some(EngineEvent::RtpSilent { .. })
        ));
        assert!(at(9, inbound(260)).is_none(), "said once");
        assert!(matches!(
            at(10, inbound(300)),
            Some(EngineEvent::RtpResumed { .. })
        ));
        assert_eq!(flow.stats().packets, 300);
    }

    #[test]
    fn silence_is_told_from_the_last_reading_that_packets_came_after() {
        let (mut flow, start) = (Flow::new(), Instant::now());
        let mut at = |ms, packets| {
            let now = start + Duration::from_millis(ms);
            flow.on_counters(CAMERA, inbound(packets), now)
        };
        at(0, 100);
        at(500, 200);
        at(1_000, 210);
        assert!(at(2_900, 210).is_none());
        let Some(EngineEvent::RtpSilent { silent_for, .. }) = at(3_300, 210) else {
            panic!("it is silent");
        };
        assert_eq!(silent_for, Duration::from_millis(2_800));
    }

    #[test]
    fn events_serve_while_there_are_no_counters() {
        let (mut flow, now) = (Flow::new(), Instant::now());
        let mut on = |state| flow.on_event(CAMERA, state, now);
        assert!(on(FlowState::NotFlowing).is_none(), "nothing came yet");
        assert!(matches!(
            on(FlowState::Flowing),
            Some(EngineEvent::RtpStarted { .. })
        ));
        assert!(on(FlowState::Flowing).is_none());
        assert!(matches!(
            on(FlowState::NotFlowing),
            Some(EngineEvent::RtpSilent { .. })
        ));
        assert!(matches!(
            on(FlowState::Flowing),
            Some(EngineEvent::RtpResumed { .. })
        ));
        flow.on_counters(CAMERA, inbound(5), now);
        assert!(
            flow.on_event(CAMERA, FlowState::NotFlowing, now).is_none(),
            "counters know better"
        );
    }

    #[test]
    fn another_endpoint_counts_from_zero_and_the_stream_goes_on() {
        let (mut flow, start) = (Flow::new(), Instant::now());
        flow.on_counters(CAMERA, inbound(500), start);
        flow.rearm();
        assert!(
            flow.on_counters(CAMERA, inbound(0), start + secs(1))
                .is_none()
        );
        let event = flow.on_counters(CAMERA, inbound(40), start + secs(2));
        assert!(matches!(event, Some(EngineEvent::RtpStarted { .. })));
        assert_eq!(flow.stats().packets, 540);
        assert_eq!(flow.stats().bitrate, Bitrate::from_bps(320_000));
    }
}
