//! Every move from one state to another, each logged once.

use std::time::Instant;

use super::api::{LegClose, Output, Phase, StopReason};
use super::failure::Failure;
use super::leg::Leg;
use super::state::{Active, Flow, Starting, State, Stopping};
use super::timer::{Timer, Timers};
use super::{Lifecycle, STOP_TIMEOUT};

impl Lifecycle {
    pub(super) fn transition_to_starting(&mut self, now: Instant, why: &str) {
        let stream = (self.fresh_stream)();
        let idle = self.timers.get(Timer::Idle);
        self.timers = Timers::default();
        if let Some(at) = idle {
            self.timers.set(Timer::Idle, at);
        }
        self.timers
            .set(Timer::Start, now + self.rules.start_timeout);
        self.outputs.push_back(Output::OpenLeg { stream });
        let starting = Starting {
            leg: Leg::opening(stream),
            foreign_ssrc: None,
        };
        self.transition(State::Starting(starting), why);
    }

    pub(super) fn transition_to_active(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Starting(Starting { leg, .. }) => {
                tracing::info!(stream = %leg.stream, from = "starting", to = "active", why = "RTP flows", "stream");
                for timer in [Timer::Start, Timer::PlayRetry, Timer::Replay] {
                    self.timers.clear(timer);
                }
                State::Active(Active {
                    leg,
                    flow: Flow::Flowing { hello: None },
                })
            }
            other @ (State::Idle
            | State::Active(_)
            | State::Stopping(_)
            | State::Stopped { .. }
            | State::Error { .. }) => other,
        };
    }

    pub(super) fn stop(&mut self, now: Instant, reason: StopReason) {
        let Some(stream) = self.leg().map(|leg| leg.stream) else {
            if matches!(self.state, State::Idle) {
                self.transition_to_stopped("stopped before it was started");
            }
            return;
        };
        self.timers = Timers::default();
        self.timers.set(Timer::Stop, now + STOP_TIMEOUT);
        self.outputs.push_back(Output::PublishStop { stream });
        self.outputs.push_back(Output::CloseLeg {
            reason: LegClose::Stopped(reason),
        });
        let stopping = Stopping {
            stream,
            stop_settled: false,
            leg_closed: false,
        };
        let why = match reason {
            StopReason::Asked => "stop asked",
            StopReason::Idle => "nobody watches",
            StopReason::Shutdown => "the program ends",
        };
        self.transition(State::Stopping(stopping), why);
    }

    pub(super) fn transition_to_stopped(&mut self, why: &str) {
        let stream = self.stream();
        self.timers = Timers::default();
        self.transition(State::Stopped { stream }, why);
    }

    pub(super) fn transition_to_error(&mut self, failure: Failure) {
        let Some((stream, played)) = self
            .leg()
            .map(|leg| (leg.stream, leg.played_at().is_some()))
        else {
            return;
        };
        self.timers = Timers::default();
        if played {
            self.outputs.push_back(Output::PublishStop { stream });
        }
        self.outputs.push_back(Output::CloseLeg {
            reason: LegClose::Failed,
        });
        let why = failure.to_string();
        self.transition(State::Error { stream, failure }, &why);
    }

    fn transition(&mut self, next: State, why: &str) {
        let from = self.phase();
        self.state = next;
        let to = self.phase();
        let stream = self.stream().map(tracing::field::display);
        if to == Phase::Error {
            tracing::warn!(stream, %from, %to, why, "stream");
        } else {
            tracing::info!(stream, %from, %to, why, "stream");
        }
    }
}
