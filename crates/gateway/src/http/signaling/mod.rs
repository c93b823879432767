//! WebRTC signaling over a WebSocket, as existing pages speak it: [`message`] is the language, [`session`] one socket.

mod message;
mod outbox;
mod session;

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, ErrorBody};
use super::extract::{Peer, user_agent};
use super::identity::Asker;
use super::state::{HttpState, MAX_SOCKETS};
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
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return refuse(&rejection).into_response(),
    };
    let Ok(permit) = Arc::clone(&http.sockets).try_acquire_owned() else {
        let message = format!(
            "{MAX_SOCKETS} signaling sockets are open, the most that is served; try again shortly"
        );
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).into_response();
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

fn refuse(rejection: &WebSocketUpgradeRejection) -> ApiError {
    let message = format!(
        "this address speaks WebSocket only: {}",
        rejection.body_text()
    );
    ApiError::new(rejection.status(), message)
}
