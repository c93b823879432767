//! How the program stands, and what is around it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::finding::FindingEntry;
use crate::check::{self, Report};
use crate::config::Config;
use crate::http::rest::model::MediaServerEntry;
use crate::http::rest::time;
use crate::http::state::HttpState;
use crate::mqtt::BrokerState;

/// The doctor looks again only after this time: it asks servers and opens files.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Longest that the doctor may take, a broker and a media server that do not answer included.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the program stands, and what is around it.
#[derive(Serialize, ToSchema)]
pub(super) struct System {
    version: &'static str,
    uptime_seconds: u64,
    broker: Broker,
    engine: EngineState,
    database: Database,
    /// The certificate for HTTPS; `null` where that is off.
    certificate: Option<Certificate>,
    disk: Option<Disk>,
    /// Processes that want to run, averaged over 1, 5 and 15 minutes.
    load: Option<[f64; 3]>,
    /// Cores that there are for them.
    cores: usize,
    /// What the doctor (`apiary check`) found, the worst first; `null` where it did not get to an end.
    findings: Option<Vec<FindingEntry>>,
}

/// The MQTT broker.
#[derive(Serialize, ToSchema)]
pub(super) struct Broker {
    connected: bool,
    /// Why it is not reached.
    error: Option<String>,
}

/// The media engine.
#[derive(Serialize, ToSchema)]
pub(super) struct EngineState {
    /// `sfu` or `kurento`.
    kind: &'static str,
    /// Why it can take no streams.
    error: Option<String>,
    /// Those that it drives; none with the built-in engine.
    media_servers: Vec<MediaServerEntry>,
}

/// The database.
#[derive(Serialize, ToSchema)]
pub(super) struct Database {
    /// `sqlite` or `postgresql`.
    kind: &'static str,
    up: bool,
    /// The file's length; `null` for a server's.
    octets: Option<u64>,
    /// Rows that wait to be written.
    queued: usize,
    /// Rows that were lost as too many waited.
    dropped: u64,
    /// Rows that the database refused for good.
    refused: u64,
}

/// A certificate.
#[derive(Serialize, ToSchema)]
pub(super) struct Certificate {
    /// `null` where there is none yet.
    #[schema(format = DateTime)]
    valid_until: Option<String>,
}

/// The file system of the data directory.
#[derive(Serialize, ToSchema)]
pub(super) struct Disk {
    path: String,
    free_octets: u64,
    total_octets: u64,
}

/// How the program stands: broker, media engine, database, certificate, disk, load, and what the doctor finds in the settings that
/// count and in what they point to.
#[utoipa::path(get, path = "/api/system", tag = "operation", operation_id = "system",
    responses((status = 200, body = System)))]
pub(super) async fn system(State(http): State<HttpState>) -> Json<System> {
    let config = http.supervisor.config();
    let engine = http.engine.health();
    let findings = http.doctor.look(&config).await;
    Json(System {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: http.started.elapsed().as_secs(),
        broker: broker(&http.broker.borrow()),
        engine: EngineState {
            kind: http.engine.kind(),
            error: engine.trouble,
            media_servers: engine.servers.into_iter().map(Into::into).collect(),
        },
        database: database(&http, &config),
        certificate: http.https.as_ref().map(|https| Certificate {
            valid_until: https.valid_until().map(time),
        }),
        disk: disk(&config.data.dir),
        load: load(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        findings: findings.map(|report| FindingEntry::all(&report)),
    })
}

fn broker(state: &BrokerState) -> Broker {
    Broker {
        connected: *state == BrokerState::Connected,
        error: match state {
            BrokerState::Unreachable { cause, .. } => Some(cause.clone()),
            BrokerState::Connecting | BrokerState::Connected => None,
        },
    }
}

fn database(http: &HttpState, config: &Config) -> Database {
    let written = http.operation.writer.health();
    let is_file = config.database.target.is_none();
    let file = || std::fs::metadata(crate::app::database(config));
    Database {
        kind: if is_file { "sqlite" } else { "postgresql" },
        up: http.operation.readiness.look().database.is_up(),
        octets: is_file
            .then(|| file().ok().map(|file| file.len()))
            .flatten(),
        queued: written.queued,
        dropped: written.dropped,
        refused: written.refused,
    }
}

fn disk(data: &Path) -> Option<Disk> {
    let path = std::path::absolute(data).ok()?;
    let there = path.ancestors().find(|path| path.exists())?;
    let about = statvfs(there).ok()?;
    let octets = |blocks: u64| blocks.saturating_mul(about.fragment_size());
    Some(Disk {
        free_octets: octets(about.blocks_available()),
        total_octets: octets(about.blocks()),
        path: path.display().to_string(),
    })
}

/// proc(5)
fn load() -> Option<[f64; 3]> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// Looks at everything once for all who ask at about the same time.
#[derive(Debug, Default)]
pub(in crate::http) struct Doctor(Mutex<Option<(Instant, Arc<Report>)>>);

impl Doctor {
    pub(super) async fn look(&self, config: &Config) -> Option<Arc<Report>> {
        let mut last = self.0.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < LOOK_EVERY
        {
            return Some(Arc::clone(report));
        }
        let report = timeout(PATIENCE, check::examine_running(config))
            .await
            .ok()?;
        let report = Arc::new(report);
        *last = Some((Instant::now(), Arc::clone(&report)));
        Some(report)
    }
}
