//! The task of one running stream: feeds its [`Lifecycle`] and does what that asks for. It decides nothing.
//!
//! Its own timers come first in the loop, commands are awaited beside it, and the store is written through a queue:
//! nothing but the engine's answer to open, rearm or close holds it up, and those are bounded.

use std::any::Any;
use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use apiary_core::lifecycle::{Health, Input, LegClose, Lifecycle, Output, Phase, StopReason};
use apiary_media::engine::{CloseReason, EngineError, MediaEngine, OpenedStream, StreamSpec};
use apiary_store::Write;
use apiary_wire::camera::Command;
use apiary_wire::id::StreamId;
use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use super::Shared;
use super::session::{self, Clock, Session};
use super::snapshot::{StreamSnapshot, SupervisorEvent};
use super::streams::StreamLink;
use super::totals::{INTERNAL_FAILURE, class_of_failure};
use crate::mqtt::ControlError;
use crate::reason::{Code, Reason};

/// Longest that the engine may take to open or rearm a leg. Engines have shorter limits of their own; those of one that
/// drives media servers leave time to try a second server.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest that the engine may take for anything else.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest that a command may take; the way to the broker has its own, shorter limit.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that commands under way at the end are waited for.
const LAST_COMMANDS: Duration = Duration::from_secs(2);

/// Who started the stream waits here for its leg.
pub(super) type Opened = oneshot::Sender<Result<StreamSnapshot, EngineError>>;

pub(super) struct StreamTask {
    pub(super) shared: Arc<Shared>,
    pub(super) link: Arc<StreamLink>,
    pub(super) inbox: mpsc::Receiver<Input>,
    pub(super) lifecycle: Lifecycle,
    pub(super) session: Session,
    /// Taken with the first answer of the engine.
    pub(super) opened: Option<Opened>,
    /// Inputs that wait for the outputs before them.
    pub(super) backlog: VecDeque<Input>,
    /// Commands under way.
    pub(super) in_flight: FuturesUnordered<BoxFuture<'static, Option<Input>>>,
}

/// Runs a stream to its end, whatever happens in it.
pub(super) async fn keep(task: StreamTask) {
    let (shared, link) = (Arc::clone(&task.shared), Arc::clone(&task.link));
    let ended = AssertUnwindSafe(task.run()).catch_unwind().await;
    if let Err(panic) = ended {
        // What panicked once may do so again while it is being cleaned up.
        let cleaned = AssertUnwindSafe(clean_up(&shared, &link))
            .catch_unwind()
            .await;
        if cleaned.is_err() {
            tracing::error!(camera = %link.camera, "cleaning up after a failed stream failed too");
        }
        report_panic(&shared, &link, panic.as_ref());
    }
    shared.streams.finish(&link);
}

/// The camera is told, the leg freed.
async fn clean_up(shared: &Shared, link: &StreamLink) {
    let stop = Command::Stop {
        stream: link.snapshot.borrow().stream,
    };
    let told = timeout(LAST_COMMANDS, shared.commands.send(link.camera, stop));
    let closed = timeout(
        ENGINE_TIMEOUT,
        shared.engine.close(link.camera, CloseReason::Failed),
    );
    // Neither can be helped here.
    let _ = tokio::join!(told, closed);
}

fn report_panic(shared: &Shared, link: &StreamLink, panic: &(dyn Any + Send)) {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(camera = %link.camera, panic = text, "the task of a stream failed");
    let error = "the stream ended by an internal error, which the log describes; start it again";
    shared.streams.count_error(link.camera, error);
    shared.totals.stream_failures.count(INTERNAL_FAILURE);
    let counters = shared.streams.counters(link.camera);
    link.snapshot.send_modify(|snapshot| {
        snapshot.phase = Phase::Error;
        snapshot.health = Health::Good;
        snapshot.stopped_at = Some(jiff::Timestamp::now());
        snapshot.error = Some(Reason::new(Code::StreamBroke, error));
        snapshot.keepalive.running = false;
        snapshot.errors = counters.errors;
        snapshot.last_error = counters.last_error;
    });
    announce(shared, &link.current());
}

/// Tells the pages and the store.
fn announce(shared: &Shared, snapshot: &StreamSnapshot) {
    let row = session::row(snapshot, jiff::Timestamp::now());
    shared.writer.write(Write::StreamSession(row));
    shared.tell(SupervisorEvent::StreamChanged(snapshot.clone()));
}

impl StreamTask {
    async fn run(mut self) {
        self.begin().await;
        while !self.lifecycle.phase().is_over() {
            let input = self.next_input().await;
            self.handle(input).await;
        }
        let last = async { while self.in_flight.next().await.is_some() {} };
        if timeout(LAST_COMMANDS, last).await.is_err() {
            tracing::warn!("the broker did not acknowledge the last commands in time");
        }
    }

    async fn begin(&mut self) {
        let camera = self.session.order.camera;
        match self.shared.cameras.online(camera) {
            Some(true) => self.handle(Input::CameraHello).await,
            Some(false) => self.handle(Input::CameraOffline).await,
            None => {}
        }
        self.handle(Input::StartAsked).await;
    }

    async fn next_input(&mut self) -> Input {
        loop {
            if let Some(input) = self.backlog.pop_front() {
                return input;
            }
            let due = self
                .lifecycle
                .poll_timeout()
                .map(tokio::time::Instant::from_std);
            tokio::select! {
                biased;
                () = async { sleep_until(due.expect("checked")).await }, if due.is_some() => {
                    return Input::Timeout;
                }
                Some(answer) = self.in_flight.next() => {
                    if let Some(input) = answer {
                        return input;
                    }
                }
                Some(input) = self.inbox.recv() => return input,
                () = self.link.viewers_changed.notified() => return self.viewers(),
                () = self.link.read_anew.notified() => {
                    if let Some(input) = self.read_anew().await {
                        return input;
                    }
                }
            }
        }
    }

    fn viewers(&self) -> Input {
        let count = self.shared.viewers.count(self.link.camera);
        Input::ViewersChanged { count }
    }

    /// Events were lost: the engine is asked what they would have said.
    async fn read_anew(&mut self) -> Option<Input> {
        let asked = self.shared.engine.stream_stats(self.link.camera);
        let stats = timeout(ENGINE_TIMEOUT, asked).await.ok()?;
        Some(match stats {
            None => Input::LegLost,
            Some(stats) if stats.bitrate.as_bps() > 0 => Input::RtpFlowing,
            // The rate is that of the last second, and the engine tells silence after two.
            Some(_) => Input::RtpSilent {
                silent_for: Duration::from_secs(2),
            },
        })
    }

    /// One input, then all that follows from it at once.
    async fn handle(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let viewers_changed = matches!(input, Input::ViewersChanged { .. });
            let now = tokio::time::Instant::now().into_std();
            self.lifecycle.handle_input(now, input);
            let mut reported = viewers_changed;
            while let Some(output) = self.lifecycle.poll_output() {
                reported |= matches!(output, Output::Report(_));
                inputs.extend(self.execute(output).await);
            }
            self.publish(reported);
        }
    }

    async fn execute(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::OpenLeg { stream } => Some(self.open(stream).await),
            Output::RearmLeg { stream } => Some(self.rearm(stream).await),
            Output::PublishPlay { stream } => self.play(stream),
            Output::PublishKeepalive { stream, count } => {
                self.session.keepalive_sent(Clock::now().instant);
                self.shared.totals.keepalives_sent.add_one();
                let shared = Arc::clone(&self.shared);
                self.send(Command::KeepAlive { stream, count }, move |sent| {
                    Some(match sent {
                        Ok(()) => Input::KeepaliveAcknowledged { stream },
                        Err(reason) => {
                            shared.totals.keepalives_failed.add_one();
                            Input::KeepaliveFailed { stream, reason }
                        }
                    })
                })
            }
            Output::PublishStop { stream } => self.send(Command::Stop { stream }, move |sent| {
                if let Err(reason) = sent {
                    tracing::warn!(%stream, reason, "the camera could not be told to stop; it ends by itself soon");
                }
                Some(Input::StopSettled { stream })
            }),
            Output::RequestKeyFrame => {
                self.request_key_frame();
                None
            }
            Output::CloseLeg { reason } => Some(self.close(reason).await),
            Output::Report(_) => None, // `handle` publishes once for all
        }
    }

    async fn open(&mut self, stream: StreamId) -> Input {
        self.session.opened = None;
        self.publish(false); // nobody can join until it is open again
        self.forget_earlier_losses().await;
        let opening = open_leg(
            Arc::clone(&self.shared.engine),
            self.session.order.spec(stream),
        );
        tokio::select! {
            opened = opening => self.on_leg(stream, opened).await,
            stop = stop_asked(&mut self.inbox, &mut self.backlog) => {
                if let Some(waiting) = self.opened.take() {
                    let _ = waiting.send(Err(EngineError::UnknownStream(self.link.camera)));
                }
                stop
            }
        }
    }

    /// There is no leg now, so what was said of losing one is done with.
    async fn forget_earlier_losses(&mut self) {
        self.shared.settle_engine_events().await;
        while let Ok(input) = self.inbox.try_recv() {
            self.backlog.push_back(input);
        }
        self.backlog
            .retain(|input| !matches!(input, Input::LegLost));
    }

    async fn rearm(&mut self, stream: StreamId) -> Input {
        let rearmed = in_time(
            OPEN_TIMEOUT,
            self.shared.engine.rearm(self.link.camera, stream),
        )
        .await;
        match rearmed {
            Err(EngineError::UnknownStream(_) | EngineError::WorkerLost) => Input::LegLost,
            answer => self.on_leg(stream, answer).await,
        }
    }

    async fn on_leg(
        &mut self,
        stream: StreamId,
        answer: Result<OpenedStream, EngineError>,
    ) -> Input {
        self.forget_earlier_rtp().await;
        match answer {
            Ok(opened) => {
                let address = SocketAddrV4::new(opened.address, opened.ingest.video);
                self.session.opened = Some(opened);
                self.publish(false);
                if let Some(waiting) = self.opened.take() {
                    // Who asked may have gone.
                    let _ = waiting.send(Ok(self.link.current()));
                }
                Input::LegOpened { stream, address }
            }
            Err(error) => {
                let reason = error.to_string();
                if let Some(waiting) = self.opened.take() {
                    let _ = waiting.send(Err(error));
                }
                Input::LegFailed { stream, reason }
            }
        }
    }

    /// RTP events from before the leg was (re)armed are of an earlier run; what else has come is kept.
    async fn forget_earlier_rtp(&mut self) {
        self.shared.settle_engine_events().await;
        while let Ok(input) = self.inbox.try_recv() {
            if !matches!(
                input,
                Input::RtpFlowing | Input::RtpSilent { .. } | Input::ForeignSsrc { .. }
            ) {
                self.backlog.push_back(input);
            }
        }
    }

    fn play(&mut self, stream: StreamId) -> Option<Input> {
        self.stop_orphan();
        let sdp = self.session.opened.as_ref()?.camera_sdp.clone();
        self.send(Command::Play { stream, sdp }, move |sent| {
            Some(match sent {
                Ok(()) => Input::PlayAcknowledged { stream },
                Err(reason) => Input::PlayFailed { stream, reason },
            })
        })
    }

    /// What a crash left running is ended before the next begins.
    fn stop_orphan(&mut self) {
        let camera = self.link.camera;
        if let Some(stream) = self.shared.orphans.take(camera) {
            let shared = Arc::clone(&self.shared);
            let reached = shared.reaches(camera);
            self.send(Command::Stop { stream }, move |sent| {
                if sent.is_err() || !reached {
                    shared.orphans.put_back(camera, stream);
                }
                None
            });
        }
    }

    /// Sends a command at once, in order, and awaits its acknowledgement beside the loop.
    fn send(
        &mut self,
        command: Command,
        answer: impl FnOnce(Result<(), String>) -> Option<Input> + Send + 'static,
    ) -> Option<Input> {
        let (commands, camera) = (Arc::clone(&self.shared.commands), self.link.camera);
        let sending = async move {
            let sent = timeout(COMMAND_TIMEOUT, commands.send(camera, command)).await;
            answer(match sent {
                Ok(sent) => sent.map_err(|error: ControlError| error.to_string()),
                Err(_) => Err("the broker did not answer".to_owned()),
            })
        };
        let mut sending = sending.boxed();
        // The first poll hands the command over; doing it here keeps commands in order.
        match (&mut sending).now_or_never() {
            Some(input) => input,
            None => {
                self.in_flight.push(sending);
                None
            }
        }
    }

    fn request_key_frame(&self) {
        let (engine, camera) = (Arc::clone(&self.shared.engine), self.link.camera);
        let asking = async move {
            if let Err(error) = in_time(ENGINE_TIMEOUT, engine.request_key_frame(camera)).await {
                tracing::debug!(%error, "no key frame could be asked for");
            }
            None
        };
        self.in_flight.push(asking.boxed());
    }

    async fn close(&mut self, reason: LegClose) -> Input {
        let reason = match reason {
            LegClose::Stopped(StopReason::Asked | StopReason::Idle) => CloseReason::Stopped,
            LegClose::Stopped(StopReason::Shutdown) => CloseReason::Shutdown,
            LegClose::Failed => CloseReason::Failed,
        };
        // Viewers are told the reason by what they can read of the stream then.
        self.publish(false);
        if reason != CloseReason::Shutdown {
            // It is kept, for whoever wants to see how it looked.
            self.shared.take_picture(self.link.camera).await;
        }
        if let Err(error) = in_time(
            ENGINE_TIMEOUT,
            self.shared.engine.close(self.link.camera, reason),
        )
        .await
        {
            tracing::warn!(%error, "the leg could not be closed");
        }
        Input::LegClosed
    }

    /// Shows how the stream stands; `changed`: worth telling the pages and the store.
    fn publish(&mut self, changed: bool) {
        let camera = self.link.camera;
        let clock = Clock::now();
        let was_over = self.link.phase().is_over();
        if let Some(failure) = self.lifecycle.failure()
            && !was_over
        {
            self.shared
                .streams
                .count_error(camera, &failure.to_string());
            self.shared
                .totals
                .stream_failures
                .count(class_of_failure(failure));
        }
        let counters = self.shared.streams.counters(camera);
        let mut snapshot = self.session.snapshot(&self.lifecycle, &counters, clock);
        if snapshot.phase == Phase::Idle {
            return; // shown as starting from the first moment
        }
        snapshot.viewer_count = self.shared.viewers.count(camera);
        snapshot.webrtc_endpoint_id = self.shared.viewers.first_endpoint(camera);
        if snapshot.phase.is_over() {
            snapshot.stopped_at = self.link.snapshot.borrow().stopped_at.or(Some(clock.wall));
        }
        self.link.snapshot.send_replace(snapshot.clone());
        if changed {
            announce(&self.shared, &snapshot);
        }
    }
}

async fn open_leg(
    engine: Arc<dyn MediaEngine>,
    spec: StreamSpec,
) -> Result<OpenedStream, EngineError> {
    let opened = in_time(OPEN_TIMEOUT, engine.open(spec.clone())).await;
    let Err(EngineError::AlreadyOpen(camera)) = opened else {
        return opened;
    };
    // No stream but this one has the camera: the leg is left of one that could not be closed.
    tracing::warn!("closing a leg that was left open");
    in_time(ENGINE_TIMEOUT, engine.close(camera, CloseReason::Failed)).await?;
    in_time(OPEN_TIMEOUT, engine.open(spec)).await
}

/// The next input that stops the stream; what comes before it is kept.
async fn stop_asked(inbox: &mut mpsc::Receiver<Input>, backlog: &mut VecDeque<Input>) -> Input {
    while let Some(input) = inbox.recv().await {
        if matches!(input, Input::StopAsked { .. }) {
            return input;
        }
        backlog.push_back(input);
    }
    std::future::pending().await
}

/// The engine's answer, or that it gave none.
async fn in_time<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    timeout(limit, asked)
        .await
        .unwrap_or(Err(EngineError::Busy))
}
