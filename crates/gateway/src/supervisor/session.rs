//! What belongs to one session of a stream beside its machine: names, times, and how they are shown and stored.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use apiary_core::lifecycle::{KeepaliveStats, Lifecycle, Phase};
use apiary_media::engine::{BitrateBounds, OpenedStream, StreamSpec};
use apiary_store::{SessionStatus, StreamSession};
use apiary_wire::id::{CameraId, StreamId};
use jiff::Timestamp;

use super::snapshot::{KeepaliveSnapshot, StreamSnapshot};
use super::streams::Counters;
use crate::reason::Reason;

/// What a stream is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) camera: CameraId,
    /// The id of the first run.
    pub(super) stream: StreamId,
    /// Where the camera is told to send to.
    pub(super) advertised: Ipv4Addr,
    pub(super) bitrate: BitrateBounds,
}

impl Order {
    pub(super) fn spec(&self, stream: StreamId) -> StreamSpec {
        StreamSpec {
            camera: self.camera,
            stream,
            advertised: self.advertised,
            bitrate: self.bitrate,
        }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) order: Order,
    pub(super) session_id: String,
    pub(super) opened: Option<OpenedStream>,
    started_at: Timestamp,
    keepalive_interval: Duration,
    first_keepalive: Option<Instant>,
}

impl Session {
    pub(super) fn new(order: Order, keepalive_interval: Duration, now: Timestamp) -> Self {
        let (camera, stream) = (order.camera.short(), order.stream.short());
        Self {
            order,
            session_id: format!("stream-{camera}-{stream}"),
            opened: None,
            started_at: now,
            keepalive_interval,
            first_keepalive: None,
        }
    }

    /// How the session stands before its task runs.
    pub(super) fn begin(&self, lifecycle: &Lifecycle, counters: &Counters) -> StreamSnapshot {
        StreamSnapshot {
            phase: Phase::Starting,
            ..self.snapshot(lifecycle, counters, Clock::now())
        }
    }

    pub(super) fn keepalive_sent(&mut self, now: Instant) {
        self.first_keepalive.get_or_insert(now);
    }

    /// How the session stands; viewers and the time of the end are filled in by who knows them.
    pub(super) fn snapshot(
        &self,
        lifecycle: &Lifecycle,
        counters: &Counters,
        clock: Clock,
    ) -> StreamSnapshot {
        StreamSnapshot {
            camera: self.order.camera,
            session_id: self.session_id.clone(),
            stream: lifecycle.stream().unwrap_or(self.order.stream),
            phase: lifecycle.phase(),
            health: lifecycle.health(),
            started_at: self.started_at,
            stopped_at: None,
            viewer_count: 0,
            pipeline_id: self
                .opened
                .as_ref()
                .map(|opened| opened.pipeline_id.clone()),
            rtp_endpoint_id: self
                .opened
                .as_ref()
                .map(|opened| opened.rtp_endpoint_id.clone()),
            webrtc_endpoint_id: None,
            error: lifecycle.failure().map(Reason::from),
            keepalive: self.keepalive(lifecycle, clock),
            starts: counters.starts,
            stops: counters.stops,
            errors: counters.errors,
            last_error: counters.last_error.clone(),
        }
    }

    fn keepalive(&self, lifecycle: &Lifecycle, clock: Clock) -> KeepaliveSnapshot {
        let KeepaliveStats {
            sent,
            failed,
            last_success,
            last_error,
            ..
        } = lifecycle.keepalive_stats();
        let running = match lifecycle.phase() {
            Phase::Starting | Phase::Active => self.first_keepalive.is_some(),
            Phase::Idle | Phase::Stopping | Phase::Stopped | Phase::Error => false,
        };
        KeepaliveSnapshot {
            running,
            interval: self.keepalive_interval,
            count: *sent,
            errors: *failed,
            last_success: last_success.map(|at| clock.wall_time(at)),
            last_error: last_error.clone(),
            elapsed: self.first_keepalive.map_or(Duration::ZERO, |first| {
                clock.instant.saturating_duration_since(first)
            }),
        }
    }
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) instant: Instant,
    pub(super) wall: Timestamp,
}

impl Clock {
    pub(super) fn now() -> Self {
        Self {
            // tokio's clock, which tests can stop.
            instant: tokio::time::Instant::now().into_std(),
            wall: Timestamp::now(),
        }
    }

    fn wall_time(self, at: Instant) -> Timestamp {
        let ago = self.instant.saturating_duration_since(at);
        self.wall.checked_sub(ago).unwrap_or(self.wall)
    }
}

/// The session's row in the store.
pub(super) fn row(snapshot: &StreamSnapshot, now: Timestamp) -> StreamSession {
    StreamSession {
        session_id: snapshot.session_id.clone(),
        camera: snapshot.camera,
        stream: snapshot.stream,
        pipeline_id: snapshot.pipeline_id.clone(),
        rtp_endpoint_id: snapshot.rtp_endpoint_id.clone(),
        webrtc_endpoint_id: snapshot.webrtc_endpoint_id.clone(),
        status: match snapshot.phase {
            Phase::Idle | Phase::Starting => SessionStatus::Starting,
            Phase::Active => SessionStatus::Active,
            Phase::Stopping => SessionStatus::Stopping,
            Phase::Stopped => SessionStatus::Stopped,
            Phase::Error => SessionStatus::Error,
        },
        created_at: snapshot.started_at,
        updated_at: now,
        ended_at: snapshot.stopped_at,
        error_message: snapshot.error.as_ref().map(Reason::to_string),
    }
}
