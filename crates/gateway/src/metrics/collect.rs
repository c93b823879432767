//! All figures, read from those who count them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use apiary_core::lifecycle::{Health, Phase};
use apiary_media::counts::{CameraTraffic, EngineCounts, TURN_BOUNDS, ViewerTraffic};
use apiary_media::engine::MediaEngine;
use apiary_store::StoreWriter;

use super::counters::HistogramCounts;
use super::process;
use super::text::Exposition;
use crate::operation::{Pulse, Readiness};
use crate::push::Push;
use crate::supervisor::{CameraCommands, Supervisor};
use crate::tls::Https;
use crate::webhooks::Webhooks;

/// Who is asked.
pub struct Sources {
    /// Streams, viewers, joins, keepalives.
    pub supervisor: Supervisor,
    /// Packets.
    pub engine: Arc<dyn MediaEngine>,
    /// Messages to and from cameras.
    pub commands: Arc<dyn CameraCommands>,
    /// The queue of the database.
    pub writer: StoreWriter,
    /// Whether broker, engine and database are there.
    pub readiness: Readiness,
    /// The control side's lag.
    pub pulse: Arc<Pulse>,
    /// Events on their way to other programs.
    pub webhooks: Webhooks,
    /// Notifications on their way to browsers.
    pub push: Push,
    /// The certificate, where HTTPS is spoken.
    pub https: Option<Https>,
    /// Pages that are told how everything stands.
    pub live_sockets: Arc<AtomicUsize>,
}

/// The figures; clones read the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    sources: Sources,
    started: SystemTime,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Figures of a program that starts now.
    pub fn new(sources: Sources) -> Self {
        Self(Arc::new(Inner {
            sources,
            started: SystemTime::now(),
        }))
    }

    /// The text that a scrape is answered with.
    pub async fn text(&self) -> String {
        let sources = &self.0.sources;
        let mut text = Exposition::default();
        build(&mut text);
        process::write(&mut text);
        self.started(&mut text);
        readiness(&mut text, sources);
        streams(&mut text, sources);
        joins(&mut text, sources);
        commands(&mut text, sources);
        database(&mut text, sources);
        media_servers(&mut text, sources);
        webhooks(&mut text, sources);
        notifications(&mut text, sources);
        certificate(&mut text, sources);
        text.gauge(
            "apiary_live_sockets",
            "Pages that are told how everything stands, at /api/events/stream.",
        )
        .is(sources.live_sockets.load(Ordering::Relaxed));
        text.gauge(
            "apiary_tasks",
            "Tasks of the control side; about as many again after whatever came and went.",
        )
        .is(tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks() as f64);
        text.histogram(
            "apiary_control_lag_seconds",
            "How late the control side (API, signaling, keepalives) was, by a timer of its own.",
        )
        .times(&[], &sources.pulse.lags());
        if let Some(counts) = sources.engine.counts().await {
            cameras(&mut text, &counts);
            viewers(&mut text, &counts);
            workers(&mut text, &counts);
        }
        text.finish()
    }

    fn started(&self, text: &mut Exposition) {
        let since_epoch = self.0.started.duration_since(SystemTime::UNIX_EPOCH);
        text.gauge(
            "process_start_time_seconds",
            "When the program started, in seconds since 1970.",
        )
        .is(since_epoch.unwrap_or_default().as_secs_f64());
    }
}

fn build(text: &mut Exposition) {
    text.gauge("apiary_build_info", "Always 1; the version is a label.")
        .with(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64);
}

fn readiness(text: &mut Exposition, sources: &Sources) {
    let report = sources.readiness.look();
    let mut up = text.gauge(
        "apiary_part_up",
        "Whether a part works, as /health/ready says.",
    );
    for (part, look) in report.parts() {
        up.with(&[("part", part)], look.is_up());
    }
    let mut since = text.gauge(
        "apiary_part_since_seconds",
        "Since when it has been so, in seconds since 1970.",
    );
    for (part, look) in report.parts() {
        since.with(&[("part", part)], look.since.as_millisecond() as f64 / 1e3);
    }
}

fn certificate(text: &mut Exposition, sources: &Sources) {
    let end = match &sources.https {
        Some(https) => https
            .valid_until()
            .map_or(0.0, |end| end.as_second() as f64),
        None => f64::INFINITY,
    };
    text.gauge(
        "apiary_https_certificate_end_seconds",
        "When the certificate for HTTPS ends, in seconds since 1970; 0: there is none yet; infinite: HTTPS is off.",
    )
    .is(end);
}

fn streams(text: &mut Exposition, sources: &Sources) {
    let streams = sources.supervisor.streams();
    let mut by_state = text.gauge("apiary_streams", "Streams by state.");
    for phase in [Phase::Starting, Phase::Active, Phase::Stopping] {
        let count = streams
            .iter()
            .filter(|stream| stream.phase == phase)
            .count();
        by_state.with(&[("state", phase.as_str())], count);
    }
    let mut by_health = text.gauge("apiary_active_streams", "Active streams by health.");
    for health in [Health::Good, Health::Stalled, Health::Degraded] {
        let is_so = |stream: &&_| is_active_and(stream, health);
        let count = streams.iter().filter(is_so).count();
        by_health.with(&[("health", health.as_str())], count);
    }
    let totals = sources.supervisor.totals();
    text.counter("apiary_streams_started_total", "Streams that were started.")
        .is(totals.streams_started.get());
    let mut failures = text.counter("apiary_stream_failures_total", "Streams that failed.");
    for (reason, count) in totals.stream_failures.counts() {
        failures.with(&[("reason", reason)], count);
    }
    text.counter(
        "apiary_keepalives_sent_total",
        "Keepalives sent to cameras.",
    )
    .is(totals.keepalives_sent.get());
    text.counter(
        "apiary_keepalives_failed_total",
        "Keepalives that the broker did not take.",
    )
    .is(totals.keepalives_failed.get());
    let cameras = sources.supervisor.cameras();
    let mut known = text.gauge(
        "apiary_cameras",
        "Known cameras, by whether they are connected.",
    );
    for (state, online) in [
        ("online", Some(true)),
        ("offline", Some(false)),
        ("unknown", None),
    ] {
        let count = cameras
            .iter()
            .filter(|camera| camera.online == online)
            .count();
        known.with(&[("state", state)], count);
    }
}

fn is_active_and(stream: &crate::supervisor::StreamSnapshot, health: Health) -> bool {
    stream.phase == Phase::Active && stream.health == health
}

fn joins(text: &mut Exposition, sources: &Sources) {
    let totals = sources.supervisor.totals();
    let viewers = sources.supervisor.viewers(None);
    let connected = viewers.iter().filter(|viewer| viewer.connected).count();
    text.gauge(
        "apiary_viewers",
        "Viewers by whether they are being sent pictures.",
    )
    .with(&[("state", "connected")], connected)
    .with(&[("state", "joining")], viewers.len() - connected);
    text.counter("apiary_joins_total", "Viewers whose offer was answered.")
        .is(totals.joins.get());
    let mut refused = text.counter("apiary_joins_refused_total", "Viewers that were refused.");
    for (reason, count) in totals.joins_refused.counts() {
        refused.with(&[("reason", reason)], count);
    }
    text.histogram(
        "apiary_join_answer_seconds",
        "From a viewer's offer to the answer.",
    )
    .times(&[], &totals.join_answered.counts());
    text.histogram(
        "apiary_join_duration_seconds",
        "From a viewer's offer until it is sent pictures.",
    )
    .times(&[], &totals.join_connected.counts());
    let mut gone = text.counter("apiary_viewers_gone_total", "Viewers that are gone.");
    for (reason, count) in totals.viewers_gone.counts() {
        gone.with(&[("reason", reason)], count);
    }
}

fn commands(text: &mut Exposition, sources: &Sources) {
    let counts = sources.commands.counts();
    let mut received = text.counter(
        "apiary_mqtt_messages_received_total",
        "Messages from the broker by what became of them.",
    );
    for (outcome, count) in [
        ("accepted", counts.messages.accepted),
        ("foreign_topic", counts.messages.foreign_topic),
        ("no_camera_id", counts.messages.no_camera_id),
        ("too_long", counts.messages.too_long),
        ("not_json", counts.messages.not_json),
    ] {
        received.with(&[("outcome", outcome)], count);
    }
    text.counter(
        "apiary_mqtt_commands_total",
        "Commands to cameras by whether the broker took them.",
    )
    .with(&[("outcome", "taken")], counts.taken)
    .with(&[("outcome", "failed")], counts.failed);
    text.gauge(
        "apiary_mqtt_commands_waiting",
        "Commands that wait for the broker's acknowledgement.",
    )
    .is(counts.waiting);
}

fn database(text: &mut Exposition, sources: &Sources) {
    let health = sources.writer.health();
    text.gauge("apiary_database_queue", "Rows that wait to be written.")
        .is(health.queued);
    text.gauge(
        "apiary_database_queue_limit",
        "Rows that may wait; one more is dropped.",
    )
    .is(health.queue_limit);
    text.counter(
        "apiary_database_rows_dropped_total",
        "Rows that were dropped as too many waited.",
    )
    .is(health.dropped);
    text.counter(
        "apiary_database_rows_refused_total",
        "Rows that the database refused for good.",
    )
    .is(health.refused);
}

fn media_servers(text: &mut Exposition, sources: &Sources) {
    let health = sources.engine.health();
    let connected = health.servers.iter().filter(|server| server.connected);
    let connected = connected.count();
    text.gauge(
        "apiary_media_servers",
        "Media servers by whether they are connected; none with the built-in engine.",
    )
    .with(&[("state", "connected")], connected)
    .with(&[("state", "lost")], health.servers.len() - connected);
}

fn webhooks(text: &mut Exposition, sources: &Sources) {
    let counts = sources.webhooks.counts();
    text.counter(
        "apiary_webhook_events_sent_total",
        "Events that a webhook took.",
    )
    .is(counts.sent.get());
    text.counter(
        "apiary_webhook_attempts_failed_total",
        "Attempts to send an event to a webhook that failed.",
    )
    .is(counts.failed.get());
    text.gauge(
        "apiary_webhook_events_waiting",
        "Events that wait for a webhook to take them.",
    )
    .is(counts.queued());
    let mut dropped = text.counter(
        "apiary_webhook_events_dropped_total",
        "Events that a webhook was never told.",
    );
    for (reason, count) in counts.dropped.counts() {
        dropped.with(&[("reason", reason)], count);
    }
}

fn notifications(text: &mut Exposition, sources: &Sources) {
    let counts = sources.push.counts();
    text.counter(
        "apiary_push_messages_sent_total",
        "Notifications that a push service took.",
    )
    .is(counts.sent.get());
    text.counter(
        "apiary_push_attempts_failed_total",
        "Attempts to send a notification that failed.",
    )
    .is(counts.failed.get());
    text.counter(
        "apiary_push_devices_gone_total",
        "Devices that their push service knew no longer.",
    )
    .is(counts.gone.get());
    text.gauge(
        "apiary_push_messages_waiting",
        "Notifications that wait for a push service to take them.",
    )
    .is(counts.waiting());
    let mut dropped = text.counter(
        "apiary_push_messages_dropped_total",
        "Notifications that were never sent.",
    );
    for (reason, count) in counts.dropped.counts() {
        dropped.with(&[("reason", reason)], count);
    }
}

fn cameras(text: &mut Exposition, counts: &EngineCounts) {
    let workers = counts.workers.iter();
    let total = workers.fold(CameraTraffic::default(), |sum, worker| {
        sum.plus(worker.cameras)
    });
    for (name, help, value) in [
        (
            "apiary_camera_packets_total",
            "Valid RTP packets from cameras.",
            total.packets,
        ),
        (
            "apiary_camera_bytes_total",
            "Payload bytes of these packets.",
            total.octets,
        ),
        (
            "apiary_camera_packets_lost_total",
            "Packets of cameras that never came.",
            total.lost,
        ),
        (
            "apiary_camera_packets_refused_total",
            "Packets at cameras' ports that do not count.",
            total.dropped,
        ),
        (
            "apiary_camera_nacks_total",
            "Packets that cameras were asked to send again.",
            total.nacked,
        ),
        (
            "apiary_camera_repaired_total",
            "Packets that came when asked for again.",
            total.repaired,
        ),
        (
            "apiary_camera_plis_total",
            "Key frames that cameras were asked for.",
            total.key_frame_requests,
        ),
        (
            "apiary_camera_rembs_total",
            "REMBs sent to cameras.",
            total.rembs,
        ),
    ] {
        text.counter(name, help).is(value);
    }
}

fn viewers(text: &mut Exposition, counts: &EngineCounts) {
    let workers = counts.workers.iter();
    let total = workers.fold(ViewerTraffic::default(), |sum, worker| {
        sum.plus(worker.viewers)
    });
    for (name, help, value) in [
        (
            "apiary_viewer_packets_total",
            "Datagrams sent to viewers.",
            total.datagrams,
        ),
        (
            "apiary_viewer_bytes_total",
            "Bytes of these datagrams.",
            total.octets,
        ),
        (
            "apiary_viewer_packets_unsent_total",
            "Datagrams that the system did not take.",
            total.unsent,
        ),
        (
            "apiary_viewer_nacks_total",
            "Packets that viewers asked for again.",
            total.nacked,
        ),
        (
            "apiary_viewer_rtx_total",
            "Packets that viewers were sent again.",
            total.retransmitted,
        ),
        (
            "apiary_viewer_plis_total",
            "Key frames that viewers asked for.",
            total.key_frame_requests,
        ),
        (
            "apiary_viewer_rembs_total",
            "REMBs received from viewers.",
            total.rembs,
        ),
        (
            "apiary_viewer_skips_total",
            "Times a viewer did not keep up and was moved to a later picture.",
            total.skipped,
        ),
    ] {
        text.counter(name, help).is(value);
    }
}

fn workers(text: &mut Exposition, counts: &EngineCounts) {
    let workers = || counts.workers.iter().enumerate();
    let mut cpu = text.counter(
        "apiary_worker_cpu_seconds_total",
        "CPU time of a media worker.",
    );
    for (number, worker) in workers() {
        cpu.with(&[("worker", &number.to_string())], worker.cpu.as_secs_f64());
    }
    let mut queue = text.gauge(
        "apiary_worker_queue",
        "Messages that wait for a media worker.",
    );
    for (number, worker) in workers() {
        queue.with(&[("worker", &number.to_string())], worker.waiting);
    }
    let mut lag = text.histogram(
        "apiary_worker_lag_seconds",
        "Turns of a media worker's loop: for so long, whatever came had to wait.",
    );
    for (number, worker) in workers() {
        let turns = HistogramCounts {
            bounds: TURN_BOUNDS.to_vec(),
            classes: worker.turns.classes.to_vec(),
            total: worker.turns.total,
        };
        lag.times(&[("worker", &number.to_string())], &turns);
    }
}
