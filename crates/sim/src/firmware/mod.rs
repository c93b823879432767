//! The camera's firmware as a machine without sockets, clocks or threads: commands, RTCP, pictures,
//! sound and the time go in; packets and orders come out.
//!
//! Belongs here: every rule that a VBC01 follows, and the faults of `Misbehaviour` that are decisions
//! rather than damage done to packets on their way. Does not belong here: MQTT, encoding, sending.

mod history;
mod rules;
mod run;
#[cfg(test)]
mod tests;
mod track;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apiary_wire::camera::{Command, Mode, Settings};
use apiary_wire::rtp::RtpHeader;
use apiary_wire::{Bitrate, StreamId};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::audio::AudioCodec;
use crate::misbehaviour::Misbehaviour;
use crate::state::{CameraState, Feedback, Sent, StopReason, StreamState};
use crate::video::VideoFrame;

pub use rules::FirmwareRules;
use run::Run;
pub(crate) use run::SendPlan;
pub(crate) use track::Track;

/// What the firmware wants done.
#[derive(Debug)]
pub(crate) enum Output {
    /// A stream begins: open ports, send pictures from an IDR on, and sound.
    Start(Box<SendPlan>),
    /// Send an RTP packet.
    Rtp {
        track: Track,
        header: RtpHeader,
        payload: Bytes,
    },
    /// Send an RTCP compound.
    Rtcp { track: Track, compound: Vec<u8> },
    /// The next picture shall be an IDR.
    KeyFrame,
    /// Encode at this bitrate from now on.
    Bitrate(Bitrate),
    /// The stream is over: close its ports.
    Stop,
    /// Publish this on `camera/state`.
    Report(serde_json::Value),
    /// Restart the whole camera.
    Reboot,
}

/// Relates the monotonic clock, which the machine runs on, to the time of day for sender reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WallClock {
    start: Instant,
    unix: Duration,
}

impl WallClock {
    /// At `start` it was `unix` since 1970.
    pub(crate) fn new(start: Instant, unix: Duration) -> Self {
        Self { start, unix }
    }

    /// The time of day of `now`, since 1970.
    pub(crate) fn unix_at(&self, now: Instant) -> Duration {
        self.unix + now.saturating_duration_since(self.start)
    }
}

/// What a firmware is made with.
#[derive(Debug, Clone)]
pub(crate) struct FirmwareConfig {
    pub(crate) rules: FirmwareRules,
    pub(crate) misbehaviour: Vec<Misbehaviour>,
    pub(crate) audio: AudioCodec,
    pub(crate) clock: WallClock,
    pub(crate) seed: u64,
}

/// The firmware of one camera. After each `handle_*` the caller takes all of [`Self::poll_output`] and
/// comes back at [`Self::poll_timeout`] at the latest.
#[derive(Debug)]
pub(crate) struct Firmware {
    config: FirmwareConfig,
    rng: SmallRng,
    mode: Mode,
    settings: Box<Settings>,
    phase: Phase,
    refusal: Option<String>,
    commands: u64,
    outputs: VecDeque<Output>,
}

/// What becomes of a `stream/play`.
#[derive(Debug)]
enum Phase {
    Idle,
    /// Taken, but held back until `at`.
    Starting {
        plan: Box<SendPlan>,
        at: Instant,
    },
    Running(Box<Run>),
    Stopped {
        stream: StreamId,
        reason: StopReason,
        sent: Sent,
        feedback: Box<Feedback>,
    },
}

impl Firmware {
    /// A camera that was just switched on.
    pub(crate) fn new(config: FirmwareConfig) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(config.seed),
            config,
            mode: Mode::Armed,
            settings: Box::default(),
            phase: Phase::Idle,
            refusal: None,
            commands: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Takes a command from MQTT.
    pub(crate) fn handle_command(&mut self, now: Instant, command: Command) {
        self.commands += 1;
        match command {
            Command::Play { stream, sdp } => self.on_play(now, stream, &sdp),
            Command::KeepAlive { stream, count } => {
                if let Phase::Running(run) = &mut self.phase
                    && run.stream() == stream
                {
                    run.on_keepalive(now, count);
                }
            }
            Command::Stop { stream } => {
                if self.current_stream() == Some(stream) {
                    self.transition_to_stopped(now, StopReason::Commanded);
                }
            }
            Command::SetMode(mode) => self.on_mode(now, mode),
            Command::UpdateSettings(settings) => {
                self.settings = settings;
                self.report();
            }
            Command::Reboot => self.outputs.push_back(Output::Reboot),
            Command::PlaySound { .. } | Command::StopSound => {}
        }
    }

    /// Takes an RTCP datagram that came to the port of `track`.
    pub(crate) fn handle_rtcp(&mut self, now: Instant, datagram: &[u8]) {
        if let Phase::Running(run) = &mut self.phase {
            run.on_rtcp(now, datagram, &mut self.outputs);
        }
    }

    /// Takes a datagram with somebody's voice, that came to where the sound is sent from.
    pub(crate) fn handle_voice(&mut self, datagram: &[u8]) {
        if let Phase::Running(run) = &mut self.phase {
            run.on_voice(datagram);
        }
    }

    /// Takes an encoded picture, captured at `captured`; `stamp` is sent in front of its slices.
    pub(crate) fn handle_video(
        &mut self,
        now: Instant,
        captured: Instant,
        frame: &VideoFrame,
        stamp: Option<Bytes>,
    ) {
        if let Phase::Running(run) = &mut self.phase {
            run.send_video(now, captured, frame, stamp, &mut self.outputs);
        }
    }

    /// Takes one packet's worth of encoded sound.
    pub(crate) fn handle_audio(&mut self, captured: Instant, payload: Bytes) {
        if let Phase::Running(run) = &mut self.phase {
            run.send_audio(captured, payload, &mut self.outputs);
        }
    }

    /// Does what is due at `now`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Starting { plan, at } if *at <= now => {
                let plan = plan.clone();
                self.transition_to_running(now, plan);
            }
            Phase::Running(run) => {
                if let Some(reason) = run.expired(now) {
                    self.transition_to_stopped(now, reason);
                } else {
                    run.on_timeout(now, &mut self.outputs);
                }
            }
            Phase::Idle | Phase::Starting { .. } | Phase::Stopped { .. } => {}
        }
    }

    /// The camera's sockets or encoder failed.
    pub(crate) fn handle_failure(&mut self, now: Instant) {
        self.transition_to_stopped(now, StopReason::Failed);
    }

    /// The camera loses power: the stream ends, and all that was commanded is forgotten.
    pub(crate) fn handle_power_off(&mut self, now: Instant) {
        self.transition_to_stopped(now, StopReason::PowerOff);
        self.mode = Mode::Armed;
        *self.settings = Settings::default();
        self.commands = 0;
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Starting { at, .. } => Some(*at),
            Phase::Running(run) => Some(run.next_timeout()),
            Phase::Idle | Phase::Stopped { .. } => None,
        }
    }

    /// What to do next.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What is to be seen from outside; whether MQTT is connected and what the link lost, the caller
    /// knows.
    pub(crate) fn state(&self, now: Instant) -> CameraState {
        let (stream, sent, feedback) = match &self.phase {
            Phase::Idle => (StreamState::Idle, Sent::default(), Feedback::default()),
            Phase::Starting { plan, .. } => (
                StreamState::Starting {
                    stream: plan.stream,
                },
                Sent::default(),
                Feedback::default(),
            ),
            Phase::Running(run) => (run.state(), run.sent(), run.feedback_at(now)),
            Phase::Stopped {
                stream,
                reason,
                sent,
                feedback,
            } => (
                StreamState::Stopped {
                    stream: *stream,
                    reason: *reason,
                },
                *sent,
                **feedback,
            ),
        };
        CameraState {
            connected: false,
            mode: self.mode,
            stream,
            refusal: self.refusal.clone(),
            sent,
            feedback,
            commands: self.commands,
        }
    }

    fn on_play(&mut self, now: Instant, stream: StreamId, sdp: &str) {
        if self.has(Misbehaviour::NeverAnswersPlay) {
            return;
        }
        if self.mode == Mode::Privacy {
            self.refusal = Some("the camera is in PRIVACY".to_owned());
            return;
        }
        let plan = match SendPlan::read(stream, sdp, self.config.audio) {
            Ok(plan) => Box::new(plan),
            Err(why) => {
                tracing::warn!(%stream, %why, "the firmware does not take the SDP of stream/play");
                self.refusal = Some(why);
                return;
            }
        };
        self.refusal = None;
        self.transition_to_stopped(now, StopReason::Replaced);
        match self.start_delay() {
            Some(delay) => {
                self.phase = Phase::Starting {
                    plan,
                    at: now + delay,
                };
            }
            None => self.transition_to_running(now, plan),
        }
    }

    fn on_mode(&mut self, now: Instant, mode: Mode) {
        self.mode = mode;
        if mode == Mode::Privacy {
            self.transition_to_stopped(now, StopReason::Privacy);
        }
        self.report();
    }

    /// Says in which mode the camera is, and its settings.
    pub(crate) fn report(&mut self) {
        let report = json!({ "mode": self.mode, "settings": self.settings });
        self.outputs.push_back(Output::Report(report));
    }

    fn transition_to_running(&mut self, now: Instant, plan: Box<SendPlan>) {
        tracing::info!(stream = %plan.stream, video = %plan.video.rtp, "streaming begins");
        let run = Run::new(now, &plan, &self.config, &mut self.rng);
        let first_bitrate = run.bitrate();
        self.phase = Phase::Running(Box::new(run));
        self.outputs.push_back(Output::Bitrate(first_bitrate));
        self.outputs.push_back(Output::Start(plan));
    }

    /// Ends whatever stream there is; nothing happens where there is none.
    fn transition_to_stopped(&mut self, now: Instant, reason: StopReason) {
        let (stream, sent, feedback) = match &self.phase {
            Phase::Starting { plan, .. } => (plan.stream, Sent::default(), Feedback::default()),
            Phase::Running(run) => (run.stream(), run.sent(), run.feedback_at(now)),
            Phase::Idle | Phase::Stopped { .. } => return,
        };
        tracing::info!(%stream, %reason, "streaming ends");
        self.phase = Phase::Stopped {
            stream,
            reason,
            sent,
            feedback: Box::new(feedback),
        };
        self.outputs.push_back(Output::Stop);
    }

    fn current_stream(&self) -> Option<StreamId> {
        match &self.phase {
            Phase::Starting { plan, .. } => Some(plan.stream),
            Phase::Running(run) => Some(run.stream()),
            Phase::Idle | Phase::Stopped { .. } => None,
        }
    }

    fn start_delay(&self) -> Option<Duration> {
        self.config.misbehaviour.iter().find_map(|fault| {
            if let Misbehaviour::SlowStart { delay } = fault {
                Some(*delay)
            } else {
                None
            }
        })
    }

    fn has(&self, fault: Misbehaviour) -> bool {
        self.config.misbehaviour.contains(&fault)
    }
}

/// Where one track's packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) rtp: SocketAddr,
    pub(crate) rtcp: SocketAddr,
}

/// A random start for sequence numbers and timestamps, or one that soon wraps.
fn random_start(rng: &mut SmallRng, near_wrap: bool, clock_rate: u32) -> (u16, u32) {
    if near_wrap {
        // A second's worth of time and a few packets before the wrap.
        return (u16::MAX - 20, u32::MAX - clock_rate);
    }
    (rng.random(), rng.random())
}
