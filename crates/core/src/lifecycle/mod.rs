//! The life of one stream: `idle → starting → active → stopping → stopped`, and `error`.
//!
//! Here belongs every rule about *when* a camera is told to play, kept alive, played again or stopped, and *when* its leg
//! in the media engine is opened, rearmed and closed. How those things are done does not: [`Lifecycle`] takes inputs and
//! the time, and gives outputs that its driver executes.
//!
//! # Contract with the driver
//! - Call [`Lifecycle::handle_input`] with each [`Input`], and with [`Input::Timeout`] once [`Lifecycle::poll_timeout`] is
//!   due; after each call execute everything that [`Lifecycle::poll_output`] gives, in order.
//! - Answer [`Output::OpenLeg`] and [`Output::RearmLeg`] with [`Input::LegOpened`] or [`Input::LegFailed`], after all RTP
//!   inputs that the engine gave before it was done: until then RTP is that of an earlier run and is ignored.
//! - Answer each publish with its acknowledgement or failure. Late answers for an earlier stream id are ignored here.
//! - One machine lives once: after `stopped` or `error` it gives no output any more.

mod api;
mod failure;
mod keepalive;
mod leg;
mod state;
#[cfg(test)]
mod tests;
mod timer;
mod transition;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use apiary_wire::id::StreamId;
use apiary_wire::units::Ssrc;

pub use api::{Health, Input, LegClose, Output, Phase, Report, Rules, StopReason};
pub use failure::Failure;
pub use keepalive::KeepaliveStats;
use leg::Leg;
use state::{Active, Flow, Presence, Starting, State, Stopping};
use timer::{Timer, Timers};

/// Pause before a `stream/play` that could not be published is published once more.
pub const PLAY_RETRY: Duration = Duration::from_secs(1);
/// A hello within this time of the last `stream/play` waits for its end: the camera may have heard that play, and a camera
/// says hello before its own subscription is in force.
pub const HELLO_GUARD: Duration = Duration::from_secs(1);
/// Shortest pause between two attempts to play again, whatever is configured.
const MIN_REPLAY_PAUSE: Duration = Duration::from_secs(1);
/// Shortest time between two keepalives, whatever is configured.
const MIN_KEEPALIVE_INTERVAL: Duration = Duration::from_millis(100);
/// Keepalives that fail in a row before the stream counts as degraded.
pub const KEEPALIVE_FAILURES_DEGRADED: u32 = 5;
/// How long a stop waits for the broker and the engine before the stream counts as stopped regardless.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The machine. See the module for its contract.
pub struct Lifecycle {
    rules: Rules,
    fresh_stream: Box<dyn FnMut() -> StreamId + Send>,
    state: State,
    presence: Presence,
    viewers: usize,
    timers: Timers,
    keepalive_stats: KeepaliveStats,
    reported: Report,
    outputs: VecDeque<Output>,
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle")
            .field("state", &self.state)
            .field("presence", &self.presence)
            .field("viewers", &self.viewers)
            .field("timers", &self.timers)
            .finish_non_exhaustive()
    }
}

impl Lifecycle {
    /// A machine in `idle`. `fresh_stream` gives an id that was never used before, each time it is called.
    #[must_use]
    pub fn new(rules: Rules, fresh_stream: impl FnMut() -> StreamId + Send + 'static) -> Self {
        Self {
            rules,
            fresh_stream: Box::new(fresh_stream),
            state: State::Idle,
            presence: Presence::NeverHeard,
            viewers: 0,
            timers: Timers::default(),
            keepalive_stats: KeepaliveStats::default(),
            reported: Report {
                phase: Phase::Idle,
                health: Health::Good,
                stream: None,
            },
            outputs: VecDeque::new(),
        }
    }

    /// Takes what happened at `now`. Timers that are due by then have their effect too.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.on_input(now, input);
        self.run_due_timers(now);
        self.report_changes();
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Where the stream stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Idle => Phase::Idle,
            State::Starting(_) => Phase::Starting,
            State::Active(_) => Phase::Active,
            State::Stopping(_) => Phase::Stopping,
            State::Stopped { .. } => Phase::Stopped,
            State::Error { .. } => Phase::Error,
        }
    }

    /// How well the stream does.
    #[must_use]
    pub fn health(&self) -> Health {
        match &self.state {
            State::Active(Active {
                flow: Flow::Silent { .. },
                ..
            }) => Health::Stalled,
            State::Active(Active { leg, .. }) | State::Starting(Starting { leg, .. })
                if leg.keepalive_failures() >= KEEPALIVE_FAILURES_DEGRADED =>
            {
                Health::Degraded
            }
            State::Idle
            | State::Starting(_)
            | State::Active(_)
            | State::Stopping(_)
            | State::Stopped { .. }
            | State::Error { .. } => Health::Good,
        }
    }

    /// The current, or last, run of the camera.
    #[must_use]
    pub fn stream(&self) -> Option<StreamId> {
        match &self.state {
            State::Idle => None,
            State::Starting(starting) => Some(starting.leg.stream),
            State::Active(active) => Some(active.leg.stream),
            State::Stopping(stopping) => Some(stopping.stream),
            State::Stopped { stream } => *stream,
            State::Error { stream, .. } => Some(*stream),
        }
    }

    /// Why the stream failed, in `error`.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.state {
            State::Error { failure, .. } => Some(failure),
            State::Idle
            | State::Starting(_)
            | State::Active(_)
            | State::Stopping(_)
            | State::Stopped { .. } => None,
        }
    }

    /// Counters of the keepalives, over all stream ids of this machine.
    #[must_use]
    pub fn keepalive_stats(&self) -> &KeepaliveStats {
        &self.keepalive_stats
    }

    fn on_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::StartAsked => self.on_start_asked(now),
            Input::LegOpened { stream, address } => self.on_leg_opened(now, stream, address),
            Input::LegFailed { stream, reason } => self.on_leg_failed(stream, reason),
            Input::LegLost => self.on_leg_lost(now),
            Input::LegClosed => self.on_stopping(|stopping| stopping.leg_closed = true),
            Input::PlayAcknowledged { stream } => self.on_play_acknowledged(stream),
            Input::PlayFailed { stream, reason } => self.on_play_failed(now, stream, reason),
            Input::KeepaliveAcknowledged { stream } => self.on_keepalive(now, stream, Ok(())),
            Input::KeepaliveFailed { stream, reason } => {
                self.on_keepalive(now, stream, Err(reason));
            }
            Input::StopSettled { stream } => self.on_stopping(|stopping| {
                stopping.stop_settled |= stopping.stream == stream;
            }),
            Input::RtpFlowing => self.on_rtp_flowing(),
            Input::RtpSilent { silent_for } => self.on_rtp_silent(now, silent_for),
            Input::ForeignSsrc { ssrc } => self.on_foreign_ssrc(ssrc),
            Input::CameraHello => self.on_camera_hello(now),
            Input::CameraOffline => self.presence = Presence::Offline,
            Input::ViewersChanged { count } => self.on_viewers_changed(now, count),
            Input::StopAsked { reason } => self.stop(now, reason),
            Input::Timeout => {}
        }
    }

    fn run_due_timers(&mut self, now: Instant) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Start => self.on_start_timeout(),
                Timer::PlayRetry => self.publish_play(now),
                Timer::Keepalive => self.publish_keepalive(now),
                Timer::Replay => self.on_replay_due(now),
                Timer::Idle => self.stop(now, StopReason::Idle),
                Timer::Stop => {
                    self.transition_to_stopped("broker or engine did not answer in time")
                }
            }
        }
    }

    fn report_changes(&mut self) {
        let report = Report {
            phase: self.phase(),
            health: self.health(),
            stream: self.stream(),
        };
        if report != self.reported {
            self.reported = report;
            self.outputs.push_back(Output::Report(report));
        }
    }

    fn leg(&mut self) -> Option<&mut Leg> {
        match &mut self.state {
            State::Starting(starting) => Some(&mut starting.leg),
            State::Active(active) => Some(&mut active.leg),
            State::Idle | State::Stopping(_) | State::Stopped { .. } | State::Error { .. } => None,
        }
    }

    /// The leg, if it is that of this stream: answers for an earlier one count for nothing.
    fn leg_of(&mut self, stream: StreamId) -> Option<&mut Leg> {
        self.leg().filter(|leg| leg.stream == stream)
    }

    // ---- inputs ----

    fn on_start_asked(&mut self, now: Instant) {
        match self.state {
            State::Idle => self.transition_to_starting(now, "start asked"),
            State::Starting(_)
            | State::Active(_)
            | State::Stopping(_)
            | State::Stopped { .. }
            | State::Error { .. } => {}
        }
    }

    fn on_leg_opened(&mut self, now: Instant, stream: StreamId, address: SocketAddrV4) {
        let Some(leg) = self.leg_of(stream) else {
            return;
        };
        if leg.is_opening() {
            leg.opened(now, address);
            self.publish_play(now);
            self.timers.set(Timer::Keepalive, now);
        }
    }

    /// A leg that cannot be opened fails the stream; one that cannot be rearmed is tried again with the next replay.
    fn on_leg_failed(&mut self, stream: StreamId, reason: String) {
        match &self.state {
            State::Starting(starting) if starting.leg.stream == stream => {
                self.transition_to_error(Failure::Leg { reason });
            }
            State::Active(active) if active.leg.stream == stream => {
                tracing::warn!(%stream, reason, "could not prepare to play again");
            }
            State::Idle
            | State::Starting(_)
            | State::Active(_)
            | State::Stopping(_)
            | State::Stopped { .. }
            | State::Error { .. } => {}
        }
    }

    fn on_leg_lost(&mut self, now: Instant) {
        if let Some(leg) = self.leg() {
            let stream = leg.stream;
            self.outputs.push_back(Output::PublishStop { stream });
            self.transition_to_starting(now, "the media engine lost the leg");
        }
    }

    fn on_play_acknowledged(&mut self, stream: StreamId) {
        if let Some(leg) = self.leg_of(stream) {
            leg.play_acknowledged();
            self.timers.clear(Timer::PlayRetry);
        }
    }

    fn on_play_failed(&mut self, now: Instant, stream: StreamId, reason: String) {
        let flowing = self.is_flowing();
        if let Some(leg) = self.leg_of(stream)
            && leg.play_failed(reason)
            && !flowing
        {
            self.timers.set(Timer::PlayRetry, now + PLAY_RETRY);
        }
    }

    fn on_keepalive(&mut self, now: Instant, stream: StreamId, outcome: Result<(), String>) {
        if let Some(leg) = self.leg_of(stream) {
            leg.keepalive_settled(outcome.is_ok());
            self.keepalive_stats.on_settled(now, outcome);
        }
    }

    fn on_rtp_flowing(&mut self) {
        let Some(leg) = self.leg() else { return };
        if leg.is_opening() {
            return; // of the run before
        }
        match &mut self.state {
            State::Starting(_) => self.transition_to_active(),
            State::Active(Active { leg, flow }) => {
                if matches!(flow, Flow::Silent { .. }) {
                    tracing::info!(stream = %leg.stream, "RTP flows again");
                    *flow = Flow::Flowing { hello: None };
                    self.timers.clear(Timer::Replay);
                    self.timers.clear(Timer::PlayRetry);
                    self.outputs.push_back(Output::RequestKeyFrame);
                }
            }
            State::Idle | State::Stopping(_) | State::Stopped { .. } | State::Error { .. } => {}
        }
    }

    fn on_rtp_silent(&mut self, now: Instant, silent_for: Duration) {
        let State::Active(Active { leg, flow }) = &mut self.state else {
            return;
        };
        let Flow::Flowing { hello } = *flow else {
            return;
        };
        tracing::warn!(stream = %leg.stream, ?silent_for, "RTP is silent");
        *flow = Flow::Silent { replays: 0 };
        self.outputs.push_back(Output::RequestKeyFrame);
        // A hello since the last packet: the camera has restarted and waits to be told.
        let restarted = hello.is_some_and(|at| at + silent_for >= now);
        let wait = if restarted {
            Duration::ZERO
        } else {
            self.rules.replay_after.saturating_sub(silent_for)
        };
        self.timers.set(Timer::Replay, now + wait);
    }

    fn on_foreign_ssrc(&mut self, ssrc: Ssrc) {
        if let State::Starting(starting) = &mut self.state
            && !starting.leg.is_opening()
        {
            starting.foreign_ssrc = Some(ssrc);
        }
    }

    fn on_camera_hello(&mut self, now: Instant) {
        self.presence = Presence::Online;
        match &mut self.state {
            State::Active(Active {
                flow: Flow::Flowing { hello },
                ..
            }) => *hello = Some(now),
            State::Starting(Starting { leg, .. })
            | State::Active(Active {
                leg,
                flow: Flow::Silent { .. },
            }) => {
                // What is still being opened is played soon anyway.
                if let Some(played) = leg.played_at() {
                    self.timers
                        .set(Timer::Replay, now.max(played + HELLO_GUARD));
                    self.forget_replays();
                }
            }
            State::Idle | State::Stopping(_) | State::Stopped { .. } | State::Error { .. } => {}
        }
    }

    fn on_viewers_changed(&mut self, now: Instant, count: usize) {
        let before = std::mem::replace(&mut self.viewers, count);
        if count > 0 {
            self.timers.clear(Timer::Idle);
        } else if before > 0 && self.leg().is_some() {
            self.timers.set(Timer::Idle, now + self.rules.idle_timeout);
        }
    }

    fn on_stopping(&mut self, update: impl FnOnce(&mut Stopping)) {
        if let State::Stopping(stopping) = &mut self.state {
            update(stopping);
            if stopping.stop_settled && stopping.leg_closed {
                self.transition_to_stopped("camera told, leg closed");
            }
        }
    }

    // ---- timers ----

    fn on_start_timeout(&mut self) {
        if let State::Starting(starting) = &self.state {
            let failure = Failure::of_start(starting, self.presence, self.rules.start_timeout);
            self.transition_to_error(failure);
        }
    }

    fn publish_play(&mut self, now: Instant) {
        if let Some(leg) = self.leg() {
            leg.playing(now);
            let stream = leg.stream;
            self.outputs.push_back(Output::PublishPlay { stream });
        }
    }

    fn publish_keepalive(&mut self, now: Instant) {
        if let Some(leg) = self.leg() {
            let (stream, count) = (leg.stream, leg.next_keepalive());
            self.outputs
                .push_back(Output::PublishKeepalive { stream, count });
            self.keepalive_stats.on_sent();
            let interval = self.rules.keepalive_interval.max(MIN_KEEPALIVE_INTERVAL);
            self.timers.set(Timer::Keepalive, now + interval);
        }
    }

    /// Tells the camera to play again, with a fresh stream id. It may believe that the old stream still runs (its packets
    /// could be what got lost), so that one is stopped first; QoS 1 keeps the order.
    fn on_replay_due(&mut self, now: Instant) {
        let rules = self.rules;
        let stream = (self.fresh_stream)();
        let Some(leg) = self.leg() else { return };
        let old = std::mem::replace(leg, Leg::opening(stream));
        if old.played_at().is_some() {
            self.outputs
                .push_back(Output::PublishStop { stream: old.stream });
        }
        self.timers.clear(Timer::PlayRetry);
        self.timers.clear(Timer::Keepalive);
        self.outputs.push_back(Output::RearmLeg { stream });
        tracing::info!(old = %old.stream, new = %stream, "playing again");
        match &mut self.state {
            State::Active(Active {
                flow: Flow::Silent { replays },
                ..
            }) => {
                let pause = replay_pause(&rules, *replays);
                *replays += 1;
                self.timers.set(Timer::Replay, now + pause);
            }
            State::Starting(starting) => starting.foreign_ssrc = None,
            State::Active(_)
            | State::Idle
            | State::Stopping(_)
            | State::Stopped { .. }
            | State::Error { .. } => {}
        }
    }

    fn forget_replays(&mut self) {
        if let State::Active(Active {
            flow: Flow::Silent { replays },
            ..
        }) = &mut self.state
        {
            *replays = 0;
        }
    }

    fn is_flowing(&self) -> bool {
        matches!(
            self.state,
            State::Active(Active {
                flow: Flow::Flowing { .. },
                ..
            })
        )
    }
}

/// Pause after the attempt with this number (0, 1, 2, …): doubling, by default 6, 12, 24, 30, 30 … s.
fn replay_pause(rules: &Rules, attempt: u32) -> Duration {
    rules
        .replay_after
        .saturating_mul(1 << attempt.min(8))
        .min(rules.replay_pause_max)
        .max(MIN_REPLAY_PAUSE)
}
