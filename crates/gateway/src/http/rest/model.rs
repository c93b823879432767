//! The shapes of the REST API. Dashboards of existing installations read these fields by name: add, never rename or drop.

use apiary_media::engine::{MediaServer, StreamStats, ViewerStats};
use apiary_wire::id::ViewerId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cameras::CameraEntry;
use crate::reason::{Cause, Reason};
use crate::supervisor::{StreamSnapshot, ViewerSnapshot};

/// UTC, ISO 8601 with microseconds and a trailing `Z`.
pub(in crate::http) fn time(timestamp: Timestamp) -> String {
    format!("{timestamp:.6}")
}

fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// How the gateway does.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `healthy`, or `degraded` while the MQTT broker cannot be reached or the media engine can take no streams.
    #[schema(pattern = "^(healthy|degraded)$")]
    pub(super) status: &'static str,
    /// Now.
    #[schema(format = DateTime)]
    pub(super) timestamp: String,
    /// Whether the media engine works; the name is from the time when that was always a Kurento server.
    pub(super) kurento_connected: bool,
    /// More, for those who are known.
    #[serde(flatten)]
    pub(super) detail: HealthDetail,
}

/// What of the gateway is told to those who are known, and left out for strangers where accounts are on.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct HealthDetail {
    /// Name of the media engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) engine: Option<&'static str>,
    /// Why the media engine can take no streams; absent while it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) engine_error: Option<String>,
    /// The media servers that the engine drives; absent with the built-in engine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) media_servers: Vec<MediaServerEntry>,
    /// Whether cameras can be commanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broker_connected: Option<bool>,
    /// Streams that run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) active_streams: Option<usize>,
    /// Viewers of all streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total_viewers: Option<usize>,
    /// Seconds since the program started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uptime_seconds: Option<u64>,
    /// Version of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'static str>,
}

/// A media server that the engine drives.
#[derive(Serialize, ToSchema)]
pub(crate) struct MediaServerEntry {
    /// As configured.
    url: String,
    /// `connected`, `draining` (it answers and gets no new streams) or `unreachable`.
    #[schema(pattern = "^(connected|draining|unreachable)$")]
    state: &'static str,
    /// What it calls itself; absent before it was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Streams on it.
    streams: usize,
    /// Viewers on it.
    viewers: usize,
    /// CPU time that it uses, in per cent of a core, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<f32>,
    /// Memory that it uses, where it tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_mib: Option<u64>,
    /// Why it is not reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<MediaServer> for MediaServerEntry {
    fn from(server: MediaServer) -> Self {
        Self {
            state: match (server.connected, server.draining) {
                (false, _) => "unreachable",
                (true, true) => "draining",
                (true, false) => "connected",
            },
            url: server.url,
            version: server.version,
            streams: server.streams,
            viewers: server.viewers,
            cpu_percent: server.cpu_percent,
            memory_mib: server.memory_mib,
            error: server.error,
        }
    }
}

/// The same with the field that the dashboard's proxy adds.
#[derive(Serialize, ToSchema)]
pub(crate) struct LivestreamHealth {
    #[serde(flatten)]
    pub(super) health: Health,
    /// Live streaming is switched on.
    pub(super) enabled: bool,
}

/// A stream in short.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct StreamSummary {
    /// 32 hexadecimal digits, upper case.
    camera_id: String,
    /// `stream-{camera id, first 8}-{stream id, first 8}`.
    session_id: String,
    /// UUID of this run of the camera.
    stream_id: String,
    /// `idle`, `starting`, `active`, `stopping`, `stopped` or `error`.
    state: &'static str,
    /// `good`, `degraded` (keepalives fail) or `stalled` (no RTP comes).
    health: &'static str,
    #[schema(format = DateTime)]
    started_at: String,
    /// Seconds since the start, or from start to stop.
    duration_seconds: f64,
    viewer_count: usize,
    /// The engine's name of the first viewer's leg, when somebody watches.
    webrtc_endpoint_id: Option<String>,
}

impl From<&StreamSnapshot> for StreamSummary {
    fn from(stream: &StreamSnapshot) -> Self {
        Self {
            camera_id: stream.camera.to_string(),
            session_id: stream.session_id.clone(),
            stream_id: stream.stream.to_string(),
            state: stream.phase.as_str(),
            health: stream.health.as_str(),
            started_at: time(stream.started_at),
            duration_seconds: duration(stream),
            viewer_count: stream.viewer_count,
            webrtc_endpoint_id: stream.webrtc_endpoint_id.clone(),
        }
    }
}

fn duration(stream: &StreamSnapshot) -> f64 {
    seconds_between(
        stream.started_at,
        stream.stopped_at.unwrap_or_else(Timestamp::now),
    )
}

/// All streams that run.
#[derive(Serialize, ToSchema)]
pub(super) struct StreamList {
    pub(super) streams: Vec<StreamSummary>,
    pub(super) count: usize,
}

/// A stream in full.
#[derive(Serialize, ToSchema)]
pub(super) struct StreamDetail {
    #[serde(flatten)]
    summary: StreamSummary,
    #[schema(format = DateTime)]
    stopped_at: Option<String>,
    /// Why it failed, in words that a user can act on.
    error_message: Option<String>,
    /// The same for programs, and for pages of another language.
    error_cause: Option<Cause>,
    /// The engine's name of the stream.
    pipeline_id: Option<String>,
    /// The engine's name of the camera's leg.
    rtp_endpoint_id: Option<String>,
    keepalive_stats: KeepaliveStats,
    manager_stats: ManagerStats,
}

impl From<&StreamSnapshot> for StreamDetail {
    fn from(stream: &StreamSnapshot) -> Self {
        Self {
            summary: stream.into(),
            stopped_at: stream.stopped_at.map(time),
            error_message: stream.error.as_ref().map(Reason::to_string),
            error_cause: stream.error.clone().map(|error| error.cause),
            pipeline_id: stream.pipeline_id.clone(),
            rtp_endpoint_id: stream.rtp_endpoint_id.clone(),
            keepalive_stats: stream.into(),
            manager_stats: stream.into(),
        }
    }
}

/// The keepalives of a stream.
#[derive(Serialize, ToSchema)]
pub(super) struct KeepaliveStats {
    running: bool,
    camera_id: String,
    stream_id: String,
    /// Seconds between two.
    interval: f64,
    /// Sent so far.
    keepalive_count: u64,
    /// Failed so far.
    error_count: u64,
    #[schema(format = DateTime)]
    last_success: Option<String>,
    last_error: Option<String>,
    /// Seconds since the first.
    elapsed_seconds: f64,
}

impl From<&StreamSnapshot> for KeepaliveStats {
    fn from(stream: &StreamSnapshot) -> Self {
        let keepalive = &stream.keepalive;
        Self {
            running: keepalive.running,
            camera_id: stream.camera.to_string(),
            stream_id: stream.stream.to_string(),
            interval: keepalive.interval.as_secs_f64(),
            keepalive_count: keepalive.count,
            error_count: keepalive.errors,
            last_success: keepalive.last_success.map(time),
            last_error: keepalive.last_error.clone(),
            elapsed_seconds: keepalive.elapsed.as_secs_f64(),
        }
    }
}

/// What was attempted with this camera since the program started.
#[derive(Serialize, ToSchema)]
pub(super) struct ManagerStats {
    start_attempts: u64,
    stop_attempts: u64,
    errors: u64,
    last_error: Option<String>,
}

impl From<&StreamSnapshot> for ManagerStats {
    fn from(stream: &StreamSnapshot) -> Self {
        Self {
            start_attempts: stream.starts,
            stop_attempts: stream.stops,
            errors: stream.errors,
            last_error: stream.last_error.clone(),
        }
    }
}

/// A stream with who watches it.
#[derive(Serialize, ToSchema)]
pub(super) struct StreamWithViewers {
    pub(super) stream: StreamDetail,
    pub(super) viewers: Vec<ViewerEntry>,
    pub(super) viewer_count: usize,
}

/// What a start may ask for. Unknown fields are ignored: pages of existing installations send their own.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct StartRequest {
    /// The camera is never asked for more, in kbit/s.
    pub(super) max_bandwidth: Option<u32>,
    /// The camera is never asked for less, in kbit/s.
    pub(super) min_bandwidth: Option<u32>,
}

/// A stream that starts.
#[derive(Serialize, ToSchema)]
pub(super) struct StartedStream {
    session_id: String,
    stream_id: String,
    camera_id: String,
    state: &'static str,
    pipeline_id: Option<String>,
    rtp_endpoint_id: Option<String>,
    #[schema(format = DateTime)]
    started_at: String,
}

impl From<&StreamSnapshot> for StartedStream {
    fn from(stream: &StreamSnapshot) -> Self {
        Self {
            session_id: stream.session_id.clone(),
            stream_id: stream.stream.to_string(),
            camera_id: stream.camera.to_string(),
            state: stream.phase.as_str(),
            pipeline_id: stream.pipeline_id.clone(),
            rtp_endpoint_id: stream.rtp_endpoint_id.clone(),
            started_at: time(stream.started_at),
        }
    }
}

/// A stream that was stopped.
#[derive(Serialize, ToSchema)]
pub(super) struct StoppedStream {
    session_id: String,
    stream_id: String,
    camera_id: String,
    state: &'static str,
    #[schema(format = DateTime)]
    started_at: String,
    #[schema(format = DateTime)]
    stopped_at: Option<String>,
    /// Seconds from start to stop.
    duration_seconds: f64,
    keepalive_stats: KeepaliveStats,
    stats: ManagerStats,
}

impl From<&StreamSnapshot> for StoppedStream {
    fn from(stream: &StreamSnapshot) -> Self {
        Self {
            session_id: stream.session_id.clone(),
            stream_id: stream.stream.to_string(),
            camera_id: stream.camera.to_string(),
            state: stream.phase.as_str(),
            started_at: time(stream.started_at),
            stopped_at: stream.stopped_at.map(time),
            duration_seconds: duration(stream),
            keepalive_stats: stream.into(),
            stats: stream.into(),
        }
    }
}

/// Who watches.
#[derive(Serialize, ToSchema)]
pub(super) struct ViewerList {
    pub(super) viewers: Vec<ViewerEntry>,
    pub(super) count: usize,
}

/// One who watches.
#[derive(Serialize, ToSchema)]
pub(super) struct ViewerEntry {
    viewer_id: String,
    camera_id: String,
    stream_id: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// The engine's name of the viewer's leg.
    webrtc_endpoint_id: String,
    /// The stream is being sent to it.
    connected: bool,
}

impl From<&ViewerSnapshot> for ViewerEntry {
    fn from(viewer: &ViewerSnapshot) -> Self {
        Self {
            viewer_id: viewer.viewer.to_string(),
            camera_id: viewer.camera.to_string(),
            stream_id: viewer.stream.to_string(),
            created_at: time(viewer.created_at),
            webrtc_endpoint_id: viewer.webrtc_endpoint_id.clone(),
            connected: viewer.connected,
        }
    }
}

/// All cameras that were ever heard of.
#[derive(Serialize, ToSchema)]
pub(super) struct CameraList {
    pub(super) cameras: Vec<CameraEntry>,
    pub(super) count: usize,
    /// Whether cameras can be commanded.
    pub(super) broker_connected: bool,
    /// Why the media engine can take no streams; absent while it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) engine_error: Option<String>,
}

/// A stream in short, with its rates.
#[derive(Serialize, ToSchema)]
pub(super) struct StreamRates {
    #[serde(flatten)]
    summary: StreamSummary,
    error_message: Option<String>,
    /// The same for programs, and for pages of another language.
    error_cause: Option<Cause>,
    /// Picture and sound over the last second, in kbit/s.
    bitrate_kbps: Option<u64>,
    /// Pictures in the last second.
    frames_per_second: Option<u32>,
}

impl StreamRates {
    pub(super) fn new(stream: &StreamSnapshot, stats: Option<&StreamStats>) -> Self {
        Self {
            summary: stream.into(),
            error_message: stream.error.as_ref().map(Reason::to_string),
            error_cause: stream.error.clone().map(|error| error.cause),
            bitrate_kbps: stats.map(|stats| stats.bitrate.as_kbps()),
            frames_per_second: stats.map(|stats| stats.frames_per_second),
        }
    }
}

/// What the engine counts of a stream and its viewers.
#[derive(Serialize, ToSchema)]
pub(super) struct StreamStatistics {
    camera_id: String,
    stream_id: String,
    /// RTP packets taken.
    packets: u64,
    /// Their payload octets.
    octets: u64,
    /// Packets missing for good.
    lost: u64,
    /// Packets refused: wrong source, SSRC or payload type, broken.
    dropped: u64,
    bitrate_kbps: u64,
    frames_per_second: u32,
    /// The bitrate last asked of the camera.
    remb_kbps: u64,
    /// How often it was asked.
    remb_count: u64,
    /// Longest time between two such messages.
    remb_max_gap_ms: u64,
    viewers: Vec<ViewerStatistics>,
}

impl StreamStatistics {
    pub(super) fn new(
        stream: &StreamSnapshot,
        leg: &StreamStats,
        viewers: Vec<ViewerStatistics>,
    ) -> Self {
        Self {
            camera_id: stream.camera.to_string(),
            stream_id: stream.stream.to_string(),
            packets: leg.packets,
            octets: leg.octets,
            lost: leg.lost,
            dropped: leg.dropped,
            bitrate_kbps: leg.bitrate.as_kbps(),
            frames_per_second: leg.frames_per_second,
            remb_kbps: leg.remb.as_kbps(),
            remb_count: leg.remb_count,
            remb_max_gap_ms: leg.remb_max_gap_ms,
            viewers,
        }
    }
}

/// What the engine counts of a viewer.
#[derive(Serialize, ToSchema)]
pub(super) struct ViewerStatistics {
    viewer_id: String,
    connected: bool,
    /// RTP packets sent, retransmissions included.
    packets: u64,
    octets: u64,
    /// Packets sent again.
    retransmitted: u64,
    /// Packets asked for again that were no longer held.
    unanswered_nacks: u64,
    /// Key frames asked for.
    key_frame_requests: u64,
    /// The viewer's own estimate of what it can receive.
    remb_kbps: Option<u64>,
    /// Loss in its last report.
    loss_percent: f32,
    round_trip_ms: Option<u32>,
}

impl ViewerStatistics {
    pub(super) fn new(viewer: ViewerId, stats: &ViewerStats) -> Self {
        Self {
            viewer_id: viewer.to_string(),
            connected: stats.connected,
            packets: stats.packets,
            octets: stats.octets,
            retransmitted: stats.retransmitted,
            unanswered_nacks: stats.unanswered_nacks,
            key_frame_requests: stats.key_frame_requests,
            remb_kbps: stats.remb.map(|remb| remb.as_kbps()),
            loss_percent: f32::from(stats.fraction_lost) * 100.0 / 256.0,
            round_trip_ms: stats.round_trip_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_microseconds_and_a_z() {
        let timestamp: Timestamp = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        assert_eq!(time(timestamp), "2026-01-02T03:04:05.123456Z");
        assert_eq!(time(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn start_bodies_of_existing_pages_are_taken() {
        let request: StartRequest =
            serde_json::from_str(r#"{"max_bandwidth":2000,"camera_id":"x"}"#).unwrap();
        assert_eq!(
            (request.max_bandwidth, request.min_bandwidth),
            (Some(2000), None)
        );
        let request: StartRequest = serde_json::from_str(r#"{"max_bandwidth":null}"#).unwrap();
        assert_eq!(request.max_bandwidth, None);
        assert!(serde_json::from_str::<StartRequest>(r#"{"max_bandwidth":-1}"#).is_err());
    }
}
