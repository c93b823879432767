//! How everything stands, told to pages as it changes: `GET /api/events/stream`.
//!
//! It is a WebSocket and no stream of server-sent events: over HTTP/1.1 a browser has six connections to a host at most, which six
//! open tabs would use up; WebSockets are not counted among them.
//!
//! One [`broadcaster`] makes each message once and puts it into a [`ring`]; each socket ([`session`]) has a place in that ring,
//! passes over what is not for its user, and sends the rest. So a socket costs no more than its place, one that is slow misses what
//! the ring no longer holds (and is told how all stands instead), and one that comes back goes on where it was. Nothing here is
//! ever waited for by a stream.

mod broadcaster;
mod message;
mod pacing;
mod ring;
mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apiary_media::engine::StreamStats;
use apiary_wire::id::CameraId;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::{IntoResponse, Response};
use rand::Rng as _;
use serde::Deserialize;
use tokio::sync::watch;
use utoipa::IntoParams;

use super::error::ErrorBody;
use super::extract::QueryFields;
use super::identity::Asker;
use super::socket;
use super::state::HttpState;
use ring::{Audience, Ring};
use session::Session;

pub(super) use broadcaster::keep;

/// Longest frame that is read: pages have nothing to say here.
const MAX_FRAME: usize = 4096;
/// What is gathered before it is written. The default of 128 KiB, and as much for reading, would be held by each of hundreds of sockets.
const WRITE_BUFFER: usize = 4096;

/// What all sockets share.
#[derive(Debug)]
pub(super) struct Live {
    /// Names this run of the program, so that places of another one are known as such.
    epoch: u64,
    ring: Mutex<Ring>,
    /// Number of the latest message.
    latest: watch::Sender<u64>,
    /// What the engine last counted of the streams that run; empty while nobody looks.
    rates: Mutex<HashMap<CameraId, StreamStats>>,
    sockets: Arc<AtomicUsize>,
}

impl Live {
    /// Counts its sockets in `sockets`.
    pub(super) fn new(sockets: Arc<AtomicUsize>) -> Self {
        Self {
            epoch: rand::rng().random(),
            ring: Mutex::default(),
            latest: watch::Sender::new(0),
            rates: Mutex::default(),
            sockets,
        }
    }

    /// How a place in the ring is called outside.
    fn id(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.epoch)
    }

    /// The number of a message of this run.
    fn number(&self, id: &str) -> Option<u64> {
        let (epoch, number) = id.split_once('-')?;
        let own = u64::from_str_radix(epoch, 16).ok()? == self.epoch;
        own.then(|| number.parse().ok())?
    }

    /// Tells all whom it concerns. `rights` is how often rights had changed by now; `make` is given the message's id.
    fn publish(&self, audience: Audience, rights: u64, make: impl FnOnce(&str) -> String) {
        let mut ring = self.ring();
        let number = ring.next_number();
        ring.push(audience, rights, make(&self.id(number)).into());
        self.latest.send_replace(number);
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Each change of it is whole or does not happen.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rates(&self) -> MutexGuard<'_, HashMap<CameraId, StreamStats>> {
        // It is replaced as a whole.
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_anybody_there(&self) -> bool {
        self.sockets.load(Ordering::Relaxed) > 0
    }
}

/// From where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// The `id` of the last message that came: what followed comes first, as far as it is still there.
    after: Option<String>,
}

/// How all cameras stand that one may see, and what happens to them, as a WebSocket; `docs/api.md` describes the messages.
#[utoipa::path(get, path = "/api/events/stream", tag = "streams", operation_id = "event_stream",
    params(StreamQuery),
    responses(
        (status = 101, description = "the WebSocket is open"),
        (status = 400, description = "no WebSocket handshake", body = ErrorBody),
        (status = 403, description = "a page of a foreign origin", body = ErrorBody),
        (status = 503, description = "too many sockets are open", body = ErrorBody),
    ))]
pub(super) async fn stream(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    QueryFields(query): QueryFields<StreamQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let (upgrade, permit) = match socket::take(&http, upgrade) {
        Ok(taken) => taken,
        Err(refusal) => return refusal.into_response(),
    };
    upgrade
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .read_buffer_size(MAX_FRAME)
        .write_buffer_size(WRITE_BUFFER)
        .on_upgrade(move |socket| async move {
            Session::new(http, asker).run(socket, query.after).await;
            drop(permit);
        })
}
