//! `apiary demo`: the gateway and its cameras in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use apiary_sim::{Broker, CameraConfig, Simulator, SimulatorConfig};
use apiary_store::{CameraLabel, CameraRow, SqliteStore, Store, StoreError, Write};
use clap::Args;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::output::{complain, say, with_causes};
use super::{free_ports, runtime};
use crate::app::{self, Controls, Ready};
use crate::config::{Config, DemoPorts};
use crate::{logging, mqtt};

/// What the first cameras are called.
const NAMES: [&str; 6] = [
    "Front door",
    "Garden",
    "Garage",
    "Hallway",
    "Nursery",
    "Workshop",
];
/// Most cameras; each encodes live, which costs about a twentieth of a core.
const MAX_CAMERAS: i64 = 50;
/// Worker threads are for viewers, of whom a demo has few.
const MAX_WORKERS: usize = 4;
/// UDP ports that cameras may use.
const INGEST_PORTS: u16 = 4 * MAX_CAMERAS as u16;
/// Where things usually are.
const SIGNALING_PORT: u16 = 8765;
const UDP_PORT: u16 = 8189;
const INGEST_PORT: u16 = 5006;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Port of the page; another is taken where it is not free
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_port: u16,
    /// How many cameras to simulate
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=MAX_CAMERAS))]
    cameras: u16,
    /// Say more about what happens
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn run(options: Options) -> ExitCode {
    let dir = match TempDir::with_prefix("apiary-demo-") {
        Ok(dir) => dir,
        Err(error) => {
            complain(format_args!("cannot make a temporary directory: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let Some(ports) = free_demo_ports(options.http_port) else {
        complain("no free UDP ports were found on 127.0.0.1; stop what uses them");
        return ExitCode::FAILURE;
    };
    let mut config = Config::demo(dir.path().to_owned(), ports, workers());
    // The cameras outlive their broker by a moment, and would complain.
    let (level, silent) = match options.verbose {
        true => (tracing::Level::DEBUG, &[][..]),
        false => (tracing::Level::WARN, &["apiary_sim"][..]),
    };
    config.log.level = level;
    if let Err(error) = logging::init_without(&config.log, silent) {
        complain(format_args!("cannot set up the log: {error}"));
        return ExitCode::FAILURE;
    }
    mqtt::tls::install_crypto_provider();
    runtime::run(|stop| async move {
        let cameras = cameras(options.cameras);
        if let Err(error) = introduce(&config, &cameras).await {
            complain(with_causes(&error));
            return ExitCode::FAILURE;
        }
        demonstrate(config, options, cameras, stop).await
    })
    // The data directory is removed when `dir` goes out of scope here.
}

fn workers() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_WORKERS)
}

fn free_demo_ports(http: u16) -> Option<DemoPorts> {
    let workers = u16::try_from(workers()).unwrap_or(1);
    let ingest = free_ports::udp(INGEST_PORT, INGEST_PORTS)?;
    Some(DemoPorts {
        http: free_ports::tcp(http),
        signaling: free_ports::tcp(SIGNALING_PORT),
        udp: free_ports::udp(UDP_PORT, workers)?,
        ingest: ingest..=ingest + (INGEST_PORTS - 1),
    })
}

/// The simulated cameras, each with its name.
fn cameras(count: u16) -> Vec<CameraConfig> {
    let mut cameras: Vec<CameraConfig> =
        (1..=u32::from(count)).map(CameraConfig::numbered).collect();
    for camera in &mut cameras {
        camera.bind = Ipv4Addr::LOCALHOST.into();
    }
    for (camera, name) in cameras.iter_mut().zip(NAMES) {
        camera.name = name.to_owned();
    }
    cameras
}

/// Writes the cameras' names into the database that the gateway is about to open: a camera's messages do not have its name.
async fn introduce(config: &Config, cameras: &[CameraConfig]) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let rows: Vec<Write> = cameras
        .iter()
        .map(|camera| {
            Write::Camera(CameraRow {
                label: CameraLabel {
                    name: Some(camera.name.clone()),
                    ..CameraLabel::default()
                },
                ..CameraRow::new(camera.id, now)
            })
        })
        .collect();
    let store = SqliteStore::open(&app::database(config)).await?;
    let written = store.apply(&rows).await;
    store.close().await;
    written
}

/// The gateway runs to its end; the cameras start when it is ready, and end after it, so that they hear its last words.
async fn demonstrate(
    config: Config,
    options: Options,
    cameras: Vec<CameraConfig>,
    stop: CancellationToken,
) -> ExitCode {
    let (ready, is_ready) = oneshot::channel();
    let mut gateway = std::pin::pin!(app::run(config, Controls::new(stop), ready));
    let ready = tokio::select! {
        ended = &mut gateway => return exit_code(ended),
        ready = is_ready => ready,
    };
    let simulator = match ready {
        Ok(ready) => match start_cameras(&ready, cameras).await {
            Ok(simulator) => {
                announce(&ready, &options);
                Some(simulator)
            }
            Err(cause) => {
                complain(cause);
                None
            }
        },
        // It is ending already, and will say why.
        Err(_) => None,
    };
    let code = exit_code(gateway.await);
    if let Some(simulator) = simulator {
        simulator.shutdown().await;
    }
    code
}

fn exit_code(ended: Result<(), app::AppError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

async fn start_cameras(ready: &Ready, cameras: Vec<CameraConfig>) -> Result<Simulator, String> {
    let broker = ready
        .broker
        .ok_or("the demo's MQTT broker does not listen")?;
    let config = SimulatorConfig::new(Broker::local(broker.port()), cameras);
    Simulator::start(config)
        .await
        .map_err(|error| with_causes(&error))
}

fn announce(ready: &Ready, options: &Options) {
    let port = ready
        .http
        .first()
        .map_or(options.http_port, SocketAddr::port);
    if options.http_port != 0 && port != options.http_port {
        say(format_args!(
            "Port {} is taken, so the page is on {port}.",
            options.http_port
        ));
    }
    say(format_args!(
        "Apiary shows {} simulated cameras at http://127.0.0.1:{port}/",
        options.cameras
    ));
    say("Ctrl-C ends it; nothing is kept.");
}
