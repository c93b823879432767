//! WebRTC signaling over a WebSocket, as existing pages speak it: [`message`] is the language, [`session`] one socket.

mod message;
mod outbox;
mod session;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::error::ErrorBody;
use super::extract::{Peer, user_agent};
use super::identity::Asker;
use super::socket;
use super::state::HttpState;
use crate::supervisor::ViewerOrigin;
use session::Session;

/// Longer frames end the connection; shorter ones above the limit of messages are refused and the connection goes on.
const MAX_FRAME: usize = 4 * message::MAX_MESSAGE;

/// WebRTC signaling; `docs/api.md` describes the messages.
#[utoipa::path(get, path = "/ws", tag = "signaling", operation_id = "signaling",
    responses(
        (status = 101, description = "the WebSocket is open"),
        (status = 400, description = "no WebSocket handshake", body = ErrorBody),
        (status = 403, description = "a page of a foreign origin", body = ErrorBody),
        (status = 503, description = "too many sockets are open", body = ErrorBody),
    ))]
pub(super) async fn upgrade(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    Peer(ip): Peer,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let (upgrade, permit) = match socket::take(&http, upgrade) {
        Ok(taken) => taken,
        Err(refusal) => return refusal.into_response(),
    };
    let origin = ViewerOrigin {
        ip,
        user_agent: user_agent(&headers),
    };
    upgrade
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .on_upgrade(move |socket| async move {
            Session::open(http, asker.who, origin, socket).run().await;
            drop(permit);
        })
}
