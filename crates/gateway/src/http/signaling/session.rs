//! One signaling socket: at most one viewer, who leaves when the socket closes.
//!
//! Messages of the page are acted on one after the other, so candidates that arrive before the answer wait in the socket and
//! keep their order. Nothing here ever waits for the page to read: see [`Outbox`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use apiary_core::lifecycle::Phase;
use apiary_media::engine::{CandidateDelivery, TrickledCandidate};
use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::sdp::Document;
use axum::extract::ws::{Message, WebSocket, close_code};
use axum::http::StatusCode;
use futures_util::StreamExt as _;
use futures_util::stream::SplitStream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::{self, Interval, MissedTickBehavior};

use super::message::{Candidate, ClientMessage, MessageError, ServerMessage};
use super::outbox::{NotReading, Outbox};
use crate::auth::Who;
use crate::http::allowance::{Allowance, Rate};
use crate::http::error::ApiError;
use crate::http::socket::is_too_long;
use crate::http::state::HttpState;
use crate::reason::{Code, Reason};
use crate::supervisor::{JoinedStream, SupervisorEvent, ViewerOffer, ViewerOrigin};

/// How often a ping is sent; it also keeps proxies from closing a quiet socket.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A page that says nothing for this long, not even a pong, is gone.
const SILENT_FOR: Duration = Duration::from_secs(65);
/// What one socket may ask. A page sends one offer and a few dozen candidates.
const RATE: Rate = Rate {
    burst: 120,
    per_second: 20,
};
/// Longest that one may talk without asking again: a page that hangs, or a hand that rests on the button, must not keep others
/// from talking.
const LONGEST_TURN: Duration = Duration::from_secs(60);
/// What an offer costs of the socket's allowance; other messages cost 1.
const OFFER_COST: u32 = 10;

pub(super) struct Session {
    http: HttpState,
    /// By whose right this socket watches; how far it goes is asked at each offer.
    who: Who,
    origin: ViewerOrigin,
    page: SplitStream<WebSocket>,
    outbox: Outbox,
    events: Receiver<SupervisorEvent>,
    allowance: Allowance,
    heard: Instant,
    watching: Option<Watching>,
    /// When its turn to talk ends at the latest.
    talks_until: Option<time::Instant>,
    /// Says that somebody's rights changed.
    rights: watch::Receiver<u64>,
    /// The engine's candidates for this viewer that were not in the answer.
    candidates: Option<mpsc::Receiver<TrickledCandidate>>,
}

/// The viewer of this socket.
#[derive(Clone, Copy, Debug)]
struct Watching {
    camera: CameraId,
    viewer: ViewerId,
}

/// Why a session ends.
#[derive(Debug)]
enum End {
    /// The page closed the socket, or it broke, or nobody reads it.
    Gone,
    /// The program ends.
    Shutdown,
    /// The page asked too much too fast.
    TooFast,
    /// A frame was so long that the rest of the connection cannot be understood.
    TooLong,
}

impl From<NotReading> for End {
    fn from(_: NotReading) -> Self {
        Self::Gone
    }
}

impl Session {
    pub(super) fn open(http: HttpState, who: Who, origin: ViewerOrigin, socket: WebSocket) -> Self {
        let (sink, page) = socket.split();
        let now = Instant::now();
        Self {
            events: http.supervisor.events(),
            rights: http.accounts.changes(),
            http,
            who,
            origin,
            page,
            outbox: Outbox::new(sink),
            allowance: Allowance::full(now),
            heard: now,
            watching: None,
            talks_until: None,
            candidates: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut pings = time::interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            if let Err(end) = self.step(&mut pings).await {
                break end;
            }
        };
        self.leave().await;
        let (code, reason) = match end {
            End::Gone => (close_code::NORMAL, ""),
            End::Shutdown => (close_code::AWAY, "the server is shutting down"),
            End::TooFast => (close_code::POLICY, "too many messages"),
            End::TooLong => (close_code::SIZE, "message too long"),
        };
        self.outbox.finish(code, reason).await;
    }

    async fn step(&mut self, pings: &mut Interval) -> Result<(), End> {
        tokio::select! {
            () = self.http.shutdown.cancelled() => self.on_shutdown(),
            () = self.outbox.closed() => Err(End::Gone),
            frame = self.page.next() => self.on_frame(frame).await,
            event = self.events.recv() => self.on_event(event),
            candidate = next(&mut self.candidates) => self.on_engine_candidate(candidate),
            () = reached(self.talks_until) => self.on_turn_over().await,
            Ok(()) = self.rights.changed(), if self.talks_until.is_some() => self.on_rights_changed().await,
            _ = pings.tick() => self.on_ping_due(),
        }
    }

    fn on_shutdown(&self) -> Result<(), End> {
        if self.watching.is_some() {
            let reason = Reason::new(Code::ShuttingDown, "the server is shutting down");
            let message = ServerMessage::stopped(reason, "stopped", true);
            self.outbox.send(&message)?;
        }
        Err(End::Shutdown)
    }

    fn on_ping_due(&self) -> Result<(), End> {
        if self.heard.elapsed() > SILENT_FOR {
            return Err(End::Gone);
        }
        Ok(self.outbox.ping()?)
    }

    async fn on_frame(&mut self, frame: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match frame {
            None => return Err(End::Gone),
            Some(Err(error)) if is_too_long(&error) => {
                self.refuse(&MessageError::TooLong)?;
                return Err(End::TooLong);
            }
            Some(Err(_)) => return Err(End::Gone),
            Some(Ok(message)) => message,
        };
        self.heard = Instant::now();
        self.charge(1)?;
        match message {
            Message::Text(text) => match ClientMessage::parse(&text) {
                Ok(message) => self.on_message(message).await,
                Err(error) => self.refuse(&error),
            },
            Message::Binary(_) => self.refuse(&MessageError::Binary),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(End::Gone),
        }
    }

    fn charge(&mut self, cost: u32) -> Result<(), End> {
        if self.allowance.take(Instant::now(), cost, RATE) {
            return Ok(());
        }
        let text = "too many messages in too short a time; the connection is closed";
        let reason = Reason::new(Code::TooFast, text);
        self.outbox.send(&ServerMessage::error(reason, true))?;
        Err(End::TooFast)
    }

    fn refuse(&self, error: &MessageError) -> Result<(), End> {
        let reason = Reason::new(Code::BadRequest, error);
        Ok(self.outbox.send(&ServerMessage::error(reason, false))?)
    }

    fn report(&self, error: ApiError) -> Result<(), End> {
        let retry = error.is_passing();
        let message = ServerMessage::error(error.reason, retry);
        Ok(self.outbox.send(&message)?)
    }

    async fn on_message(&mut self, message: ClientMessage) -> Result<(), End> {
        match message {
            ClientMessage::Viewer {
                camera,
                offer,
                talk,
            } => {
                self.charge(OFFER_COST)?;
                self.join(camera, offer, talk).await
            }
            ClientMessage::Talk => self.begin_turn().await,
            ClientMessage::Hush => self.end_turn(None).await,
            ClientMessage::Candidate(candidate) => self.add_candidate(&candidate).await,
            ClientMessage::Stop => {
                self.leave().await;
                Ok(())
            }
        }
    }

    /// A further offer on the same socket replaces the viewer: that is how some pages reconnect.
    async fn join(&mut self, camera: CameraId, offer: String, talk: bool) -> Result<(), End> {
        self.leave().await;
        let may_join = self
            .may_watch(camera)
            .and_then(|()| self.http.rates.join(&self.who, self.origin.ip));
        if let Err(refusal) = may_join {
            return self.report(refusal);
        }
        let offer = ViewerOffer {
            sdp: offer,
            candidates: CandidateDelivery::Trickled,
            may_talk: talk && self.who_talks(camera).is_ok(),
        };
        let joined = self
            .http
            .supervisor
            .join(camera, offer, self.origin.clone())
            .await;
        match joined {
            Ok(mut joined) => {
                let watching = Watching {
                    camera,
                    viewer: joined.viewer,
                };
                self.watching = Some(watching);
                self.http.views.add(joined.viewer, camera, self.who.clone());
                self.candidates = joined.candidates.take();
                self.answer(joined)?;
                // What happened before the answer is told by how things stand now.
                self.events = self.http.supervisor.events();
                self.read_anew(watching)
            }
            Err(error) => self.report(error.into()),
        }
    }

    fn may_watch(&self, camera: CameraId) -> Result<(), ApiError> {
        let asker = self.http.accounts.current(&self.who);
        let asker = asker.ok_or_else(ApiError::unknown_caller)?;
        if asker.may_watch(camera) {
            Ok(())
        } else {
            Err(ApiError::no_camera())
        }
    }

    /// Whose voice it would be.
    fn who_talks(&self, camera: CameraId) -> Result<Arc<str>, ApiError> {
        let asker = self.http.accounts.current(&self.who);
        let asker = asker.ok_or_else(ApiError::unknown_caller)?;
        if asker.may_watch(camera) && asker.may_talk() {
            return Ok(asker.name);
        }
        let text = "only operators and administrators may talk to cameras; an administrator can change your role";
        Err(ApiError::forbidden(Code::MayNotTalk, text))
    }

    async fn begin_turn(&mut self) -> Result<(), End> {
        let message = match self.take_turn().await {
            Ok(()) => {
                // Asking again in one's own turn makes it no longer.
                self.talks_until
                    .get_or_insert_with(|| time::Instant::now() + LONGEST_TURN);
                ServerMessage::Talking
            }
            Err(refusal) => ServerMessage::hushed(Some(refusal.reason)),
        };
        Ok(self.outbox.send(&message)?)
    }

    async fn take_turn(&self) -> Result<(), ApiError> {
        let Some(watching) = self.watching else {
            let text = "watch the camera first: only its viewers can talk to it";
            let reason = Reason::new(Code::WatchFirst, text);
            return Err(ApiError::new(StatusCode::NOT_FOUND, reason));
        };
        let name = self.who_talks(watching.camera)?;
        Ok(self.http.supervisor.talk(watching.viewer, name).await?)
    }

    async fn end_turn(&mut self, why: Option<Reason>) -> Result<(), End> {
        self.talks_until = None;
        if let Some(watching) = self.watching {
            self.http.supervisor.hush(watching.viewer).await;
        }
        Ok(self.outbox.send(&ServerMessage::hushed(why))?)
    }

    /// Whoever may not talk any more is not heard to the end of the turn. (A view that may not go on is ended elsewhere.)
    async fn on_rights_changed(&mut self) -> Result<(), End> {
        let Some(watching) = self.watching else {
            return Ok(());
        };
        match self.who_talks(watching.camera) {
            Ok(_) => Ok(()),
            Err(refusal) => self.end_turn(Some(refusal.reason)).await,
        }
    }

    async fn on_turn_over(&mut self) -> Result<(), End> {
        let text = "a turn is a minute long at most; press again to go on";
        self.end_turn(Some(Reason::new(Code::TurnIsOver, text)))
            .await
    }

    /// What the event says may be over already, so that how it stands is asked.
    fn on_talk_changed(&mut self, watching: Watching) -> Result<(), End> {
        let talker = self.http.supervisor.talker(watching.camera);
        let its = talker.is_some_and(|talker| talker.viewer == watching.viewer);
        if its || self.talks_until.take().is_none() {
            return Ok(());
        }
        let text = "the camera is being started anew; press again once it is back";
        let reason = Reason::new(Code::TalkBrokeOff, text);
        Ok(self.outbox.send(&ServerMessage::hushed(Some(reason)))?)
    }

    fn answer(&self, joined: JoinedStream) -> Result<(), End> {
        let candidates = candidates_of(&joined.answer);
        self.outbox.send(&ServerMessage::ViewerResponse {
            sdp_answer: joined.answer,
            viewer_id: joined.viewer,
            camera_id: joined.stream.camera,
            stream_id: joined.stream.stream,
        })?;
        for candidate in candidates {
            self.outbox
                .send(&ServerMessage::IceCandidate { candidate })?;
        }
        Ok(())
    }

    fn on_engine_candidate(&mut self, candidate: Option<TrickledCandidate>) -> Result<(), End> {
        let Some(candidate) = candidate else {
            self.candidates = None; // that was the last
            return Ok(());
        };
        let candidate = Candidate {
            candidate: candidate.candidate,
            sdp_mid: Some(candidate.sdp_mid),
            sdp_m_line_index: candidate.sdp_m_line_index,
        };
        Ok(self
            .outbox
            .send(&ServerMessage::IceCandidate { candidate })?)
    }

    async fn add_candidate(&self, candidate: &str) -> Result<(), End> {
        // Candidates of a viewer that was refused or stopped trickle in late: nothing to say about them.
        let Some(watching) = self.watching else {
            return Ok(());
        };
        let added = self
            .http
            .supervisor
            .add_candidate(watching.viewer, candidate)
            .await;
        added.or_else(|error| self.report(error.into()))
    }

    async fn leave(&mut self) {
        self.candidates = None;
        self.talks_until = None;
        if let Some(watching) = self.watching.take() {
            self.http.supervisor.leave(watching.viewer).await;
        }
    }

    fn on_event(&mut self, event: Result<SupervisorEvent, RecvError>) -> Result<(), End> {
        let Some(watching) = self.watching else {
            return Ok(());
        };
        match event {
            Ok(SupervisorEvent::StreamChanged(stream)) if stream.camera == watching.camera => {
                Ok(self.outbox.send(&ServerMessage::state(&stream))?)
            }
            Ok(SupervisorEvent::TalkChanged { camera, .. }) if camera == watching.camera => {
                self.on_talk_changed(watching)
            }
            Ok(SupervisorEvent::ViewerGone {
                viewer,
                reason,
                retry,
                ..
            }) if viewer == watching.viewer => self.on_gone(reason, retry),
            Ok(
                SupervisorEvent::StreamChanged(_)
                | SupervisorEvent::ViewerJoined { .. }
                | SupervisorEvent::TalkChanged { .. }
                | SupervisorEvent::CameraEvent(_)
                | SupervisorEvent::ViewerGone { .. }
                | SupervisorEvent::CameraChanged(_),
            ) => Ok(()),
            Err(RecvError::Lagged(_)) => self.read_anew(watching),
            Err(RecvError::Closed) => self.on_shutdown(),
        }
    }

    /// In place of events that were missed: what they would have said is read from the supervisor.
    fn read_anew(&mut self, watching: Watching) -> Result<(), End> {
        let stream = self.http.supervisor.stream(watching.camera);
        let known = self.http.supervisor.viewers(Some(watching.camera));
        if known.iter().any(|viewer| viewer.viewer == watching.viewer) {
            return match stream {
                Some(stream) => Ok(self.outbox.send(&ServerMessage::state(&stream))?),
                None => Ok(()),
            };
        }
        let runs = stream.is_some_and(|stream| match stream.phase {
            Phase::Idle | Phase::Starting | Phase::Active => true,
            Phase::Stopping | Phase::Stopped | Phase::Error => false,
        });
        let reason = if runs {
            Reason::new(Code::ViewerLost, "the viewer's connection was lost")
        } else {
            Reason::new(Code::StreamEnded, "the stream has ended")
        };
        self.on_gone(reason, runs)
    }

    fn on_gone(&mut self, reason: Reason, retry: bool) -> Result<(), End> {
        let Some(watching) = self.watching.take() else {
            return Ok(());
        };
        self.candidates = None;
        self.talks_until = None;
        let stream = self.http.supervisor.stream(watching.camera);
        let (state, failure) = match stream {
            Some(stream) => (stream.phase.as_str(), stream.error),
            None => (Phase::Stopped.as_str(), None),
        };
        // How the stream failed says more than that it did.
        let reason = failure.unwrap_or(reason);
        let message = ServerMessage::stopped(reason, state, retry);
        Ok(self.outbox.send(&message)?)
    }
}

/// Returns at that time, where there is one.
async fn reached(at: Option<time::Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The next candidate, where any can come.
async fn next(
    candidates: &mut Option<mpsc::Receiver<TrickledCandidate>>,
) -> Option<TrickledCandidate> {
    match candidates {
        Some(candidates) => candidates.recv().await,
        None => std::future::pending().await,
    }
}

/// Our candidates, as pages expect them in messages of their own. BUNDLE puts all of them into the first section.
fn candidates_of(answer: &str) -> Vec<Candidate> {
    let Ok(document) = Document::parse(answer) else {
        return Vec::new();
    };
    let Some(section) = document.media().first() else {
        return Vec::new();
    };
    let candidate = |value: &str| Candidate {
        candidate: format!("candidate:{value}"),
        sdp_mid: section.mid().map(str::to_owned),
        sdp_m_line_index: 0,
    };
    section.candidates().map(candidate).collect()
}
