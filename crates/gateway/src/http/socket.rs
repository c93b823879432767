//! What all WebSockets have in common: how many there may be, and how they begin.

use std::error::Error as _;
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::tungstenite::Error;

use super::error::ApiError;
use super::state::{HttpState, MAX_SOCKETS};
use crate::reason::{Code, Reason};

/// A WebSocket that may be opened, and its place among all of them.
pub(super) fn take(
    http: &HttpState,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<(WebSocketUpgrade, OwnedSemaphorePermit), ApiError> {
    let upgrade = upgrade.map_err(|rejection| {
        let message = format!(
            "this address speaks WebSocket only: {}",
            rejection.body_text()
        );
        ApiError::plain(rejection.status(), message)
    })?;
    let permit = Arc::clone(&http.sockets).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let message = format!(
            "{MAX_SOCKETS} WebSockets are open, the most that is served; try again shortly"
        );
        let reason = Reason::new(Code::TooManySockets, message);
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    })?;
    Ok((upgrade, permit))
}

/// Whether a socket broke since a frame was longer than is read.
pub(super) fn is_too_long(error: &axum::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref());
    matches!(source, Some(Error::Capacity(_)))
}
