//! One socket: who has it open, and how far they have been told.

use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use apiary_wire::id::CameraId;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};

use super::broadcaster::{entry, system};
use super::message::ServerMessage;
use super::ring::{TooOld, only_in};
use crate::auth::Principal;
use crate::http::allowance::{Allowance, Rate};
use crate::http::rest::time;
use crate::http::socket::is_too_long;
use crate::http::state::HttpState;

/// How often a ping is sent; it also keeps proxies from closing a quiet socket.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A page that says nothing for this long, not even a pong, is gone.
const SILENT_FOR: Duration = Duration::from_secs(65);
/// How long one message may wait for the page to read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// What a page may send, though nobody wants to know it.
const RATE: Rate = Rate {
    burst: 60,
    per_second: 2,
};
/// Messages that are taken out of the ring at once.
const BATCH: usize = 32;
/// Closes the socket of somebody who may not be told anything any more; 4000 to 4999 are free for such (RFC 6455 §7.4.2).
const NO_RIGHT: u16 = 4401;

/// Why a socket is closed.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The page closed it, it broke, or nothing came for too long.
    Gone,
    /// The program ends.
    Shutdown,
    /// The right to it has ended.
    NoRight,
    /// The page does not read.
    Slow,
    /// The page says too much.
    TooFast,
    /// The page says too much at once.
    TooLong,
}

impl End {
    fn frame(&self) -> CloseFrame {
        let (code, reason) = match self {
            Self::Gone => (close_code::NORMAL, ""),
            Self::Shutdown => (close_code::AWAY, "the server is shutting down"),
            Self::NoRight => (NO_RIGHT, "the right to this has ended; log in again"),
            Self::Slow => (close_code::AGAIN, "the page reads too slowly"),
            Self::TooFast => (close_code::POLICY, "nothing is to be sent here"),
            Self::TooLong => (close_code::SIZE, "message too long"),
        };
        CloseFrame {
            code,
            reason: reason.into(),
        }
    }
}

pub(super) struct Session {
    http: HttpState,
    asker: Principal,
    /// The number of the last message that was sent or passed over.
    place: u64,
    rights: watch::Receiver<u64>,
}

impl Session {
    pub(super) fn new(http: HttpState, asker: Principal) -> Self {
        http.live.sockets.fetch_add(1, Ordering::Relaxed);
        Self {
            asker,
            place: 0,
            rights: http.accounts.changes(),
            http,
        }
    }

    /// Until the socket is closed; `after` is the id of the last message that its page had before.
    pub(super) async fn run(mut self, socket: WebSocket, after: Option<String>) {
        let (sink, page) = socket.split();
        let mut pen = Pen(sink);
        let shutdown = self.http.shutdown.clone();
        let end = tokio::select! {
            () = shutdown.cancelled() => End::Shutdown,
            end = listen(page) => end,
            end = self.tell(&mut pen, after) => end,
        };
        pen.finish(&end).await;
    }

    async fn tell(
        &mut self,
        pen: &mut Pen<impl Sink<Message> + Unpin>,
        after: Option<String>,
    ) -> End {
        match self.keep_telling(pen, after).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn keep_telling(
        &mut self,
        pen: &mut Pen<impl Sink<Message> + Unpin>,
        after: Option<String>,
    ) -> Result<std::convert::Infallible, End> {
        let mut latest = self.http.live.latest.subscribe();
        let mut pings = interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Looked at anew here: rights may have changed since the door was passed.
        self.judge()?;
        self.begin(pen, after).await?;
        loop {
            self.catch_up(pen).await?;
            let right_ends = self.right_ends();
            tokio::select! {
                // Neither sender ends before the server does.
                _ = latest.changed() => {}
                _ = self.rights.changed() => self.on_rights(pen).await?,
                () = right_ends => self.on_rights(pen).await?,
                _ = pings.tick() => {
                    self.on_rights(pen).await?;
                    pen.write(Message::Ping(Default::default())).await?;
                }
            }
        }
    }

    async fn begin(
        &mut self,
        pen: &mut Pen<impl Sink<Message> + Unpin>,
        after: Option<String>,
    ) -> Result<(), End> {
        let place = after.and_then(|after| self.http.live.number(&after));
        let (resumed, latest) = {
            let ring = self.http.live.ring();
            let rights = *self.rights.borrow();
            let resumed = place.filter(|place| ring.resumes(*place, rights));
            (resumed, ring.latest())
        };
        self.place = resumed.unwrap_or(latest);
        let hello = ServerMessage::Hello {
            id: &self.http.live.id(self.place),
            resumed: resumed.is_some(),
            time: time(Timestamp::now()),
            version: env!("CARGO_PKG_VERSION"),
        };
        pen.say(&hello).await?;
        if resumed.is_some() {
            return Ok(());
        }
        self.show_all(pen).await
    }

    /// All that came since the last time.
    async fn catch_up(&mut self, pen: &mut Pen<impl Sink<Message> + Unpin>) -> Result<(), End> {
        loop {
            // Nothing is told by a right that has ended, however much waits.
            if self.rights.has_changed().unwrap_or(false) {
                self.on_rights(pen).await?;
            }
            let batch = self.http.live.ring().after(self.place, BATCH);
            match batch {
                Ok(batch) if batch.is_empty() => return Ok(()),
                Ok(batch) => {
                    for message in batch {
                        if message.audience.includes(&self.asker) {
                            pen.write(Message::Text(message.text)).await?;
                        }
                        self.place = message.number;
                    }
                }
                // It was so slow that there is no way to tell one by one.
                Err(TooOld) => {
                    self.place = self.http.live.ring().latest();
                    self.show_all(pen).await?;
                }
            }
        }
    }

    /// How all stands. What happens meanwhile is behind `place` and told once more.
    async fn show_all(&self, pen: &mut Pen<impl Sink<Message> + Unpin>) -> Result<(), End> {
        let snapshot = {
            let http = &self.http;
            let known = http.supervisor.cameras().into_iter();
            let own = known.filter(|camera| self.asker.may_watch(camera.camera));
            let system = match self.asker.is_guest() {
                true => system(http).for_guests(),
                false => system(http),
            };
            let snapshot = ServerMessage::Snapshot {
                id: &http.live.id(self.place),
                cameras: own.map(|camera| entry(http, camera)).collect(),
                system: &system,
            };
            snapshot.to_json()
        };
        pen.write(Message::Text(snapshot.into())).await
    }

    /// What one may see may be another choice than before.
    async fn on_rights(&mut self, pen: &mut Pen<impl Sink<Message> + Unpin>) -> Result<(), End> {
        let before = self.judge()?;
        if before.cameras == self.asker.cameras {
            return Ok(());
        }
        let id = self.http.live.id(self.place);
        for known in self.http.supervisor.cameras() {
            let camera: CameraId = known.camera;
            if only_in(&before.cameras, &self.asker.cameras)(camera) {
                let camera_id = camera;
                pen.say(&ServerMessage::Gone { id: &id, camera_id }).await?;
            } else if only_in(&self.asker.cameras, &before.cameras)(camera) {
                let camera = entry(&self.http, known);
                let camera = &camera;
                pen.say(&ServerMessage::Camera { id: &id, camera }).await?;
            }
        }
        Ok(())
    }

    /// Finds out how far one's right goes now; gives how far it went.
    fn judge(&mut self) -> Result<Principal, End> {
        self.rights.borrow_and_update();
        let now = self.http.accounts.current(&self.asker.who);
        Ok(std::mem::replace(&mut self.asker, now.ok_or(End::NoRight)?))
    }

    /// Completes when the right ends by itself.
    fn right_ends(&self) -> impl Future<Output = ()> + use<> {
        let end = self.http.accounts.end_of(&self.asker.who);
        let left = end.map(|end| {
            let left = Duration::try_from(end.duration_since(Timestamp::now()));
            left.unwrap_or_default() + Duration::from_millis(1)
        });
        async move {
            match left {
                Some(left) if left <= PING_EVERY => sleep(left).await,
                // It is looked at with each ping too, so far ends and clocks that were set do not matter.
                Some(_) | None => pending().await,
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.http.live.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Hears the page, which has nothing to say: pongs show that it is there.
async fn listen(mut page: impl Stream<Item = Result<Message, axum::Error>> + Unpin) -> End {
    let mut allowance = Allowance::full(Instant::now());
    loop {
        match timeout(SILENT_FOR, page.next()).await {
            Err(_) | Ok(None) => return End::Gone,
            Ok(Some(Err(error))) if is_too_long(&error) => {
                return End::TooLong;
            }
            Ok(Some(Err(_)) | Some(Ok(Message::Close(_)))) => return End::Gone,
            Ok(Some(Ok(_))) if allowance.take(Instant::now(), 1, RATE) => {}
            Ok(Some(Ok(_))) => return End::TooFast,
        }
    }
}

/// The sending half of a socket. Nothing waits in it but the one message that is being written.
struct Pen<S>(S);

impl<S: Sink<Message> + Unpin> Pen<S> {
    async fn say(&mut self, message: &ServerMessage<'_>) -> Result<(), End> {
        self.write(Message::Text(message.to_json().into())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.0.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Slow),
        }
    }

    async fn finish(mut self, end: &End) {
        let goodbye = Message::Close(Some(end.frame()));
        // Who does not take it sees the connection end.
        let _ = timeout(GOODBYE_TIMEOUT, self.0.send(goodbye)).await;
    }
}
