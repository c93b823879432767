//! The server that is measured: one that this program starts, or one that runs already.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use apiary_wire::CameraId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::affinity;
use crate::error::BenchError;

const READY_WITHIN: Duration = Duration::from_secs(15);
/// The server promises to end within 5 s of SIGTERM.
const STOP_WITHIN: Duration = Duration::from_secs(6);
const POLL: Duration = Duration::from_millis(20);
/// UDP ports that a camera takes.
const PORTS_PER_CAMERA: usize = 4;
/// Ingest ports beyond those, so that a port taken meanwhile does no harm.
const SPARE_PORTS: usize = 32;
const LOG_NAME: &str = "server.log";

/// How a server is to be set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerSettings<'a> {
    pub(crate) binary: &'a Path,
    /// The CPU that it gets, if it is to be bound to one.
    pub(crate) cpu: Option<usize>,
    pub(crate) workers: usize,
    pub(crate) cameras: usize,
    /// The address that viewers and cameras are told. Cameras are heard at 127.0.0.1 all the same: where this is
    /// another one, a relay stands between.
    pub(crate) advertised: Ipv4Addr,
}

/// A server started for this run. It is stopped, and its directory removed, when this is dropped.
pub(crate) struct Server {
    child: Child,
    directory: TempDir,
    http: SocketAddr,
    mqtt: SocketAddr,
    ingest: RangeInclusive<u16>,
}

/// The ports that a server gets.
struct Ports {
    http: u16,
    signaling: u16,
    mqtt: u16,
    media: u16,
    ingest: RangeInclusive<u16>,
}

impl Server {
    /// Starts the server with a configuration for loopback and waits until it answers.
    pub(crate) async fn start(settings: &ServerSettings<'_>) -> Result<Self, BenchError> {
        let directory = TempDir::with_prefix("apiary-bench-")
            .map_err(BenchError::io("make a directory for the server"))?;
        let ports = Ports::find(settings)?;
        let config = directory.path().join("apiary.toml");
        std::fs::write(&config, ports.config(directory.path(), settings))
            .map_err(BenchError::io("write the server's configuration"))?;
        let log = File::create(directory.path().join(LOG_NAME))
            .map_err(BenchError::io("create the server's log"))?;
        let errors = log.try_clone().map_err(BenchError::io("open the log"))?;
        let mut command = Command::new(settings.binary);
        command
            .args([Path::new("serve"), Path::new("--config"), &config])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let child = affinity::while_pinned(settings.cpu, || command.spawn())?
            .map_err(BenchError::io("start the server"))?;
        let mut server = Self {
            child,
            directory,
            http: loopback(ports.http),
            mqtt: loopback(ports.mqtt),
            ingest: ports.ingest,
        };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// The WHEP URL of a camera.
    pub(crate) fn whep(&self, camera: CameraId) -> String {
        format!("http://{}/whep/{camera}", self.http)
    }

    /// The URL of its REST API.
    pub(crate) fn rest(&self) -> String {
        format!("http://{}", self.http)
    }

    /// The URL of its signaling.
    pub(crate) fn signaling(&self) -> String {
        format!("ws://{}/ws", self.http)
    }

    /// Where it hears cameras on 127.0.0.1.
    pub(crate) fn ingest_ports(&self) -> RangeInclusive<u16> {
        self.ingest.clone()
    }

    /// Its embedded broker.
    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.mqtt
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn wait_until_ready(&mut self) -> Result<(), BenchError> {
        let url = format!("http://{}/health", self.http);
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(BenchError::ServerEnded {
                    status: status.to_string(),
                    log: self.keep_log(),
                });
            }
            let answered = reqwest::get(&url).await;
            if answered.is_ok_and(|response| response.status().is_success()) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(BenchError::Timeout {
                    what: "the server's first answer",
                    within: READY_WITHIN,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Saves the log from the directory that is about to be removed.
    fn keep_log(&self) -> PathBuf {
        let kept = std::env::temp_dir().join("apiary-bench-failed.log");
        // Without the log there is still the status.
        let _ = std::fs::copy(self.directory.path().join(LOG_NAME), &kept);
        kept
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        // It may have ended by itself.
        let _ = kill(pid, Signal::SIGTERM);
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(_)) | Err(_) => return,
                Ok(None) => std::thread::sleep(POLL),
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ports {
    /// Free ones. Between finding and binding somebody else may take one; the server then says so.
    fn find(settings: &ServerSettings<'_>) -> Result<Self, BenchError> {
        let failed = || BenchError::io("find free ports");
        // Held until all are found, so that no two are the same.
        let tcp: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind(loopback(0)))
            .collect::<Result<_, _>>()
            .map_err(failed())?;
        let port = |index: usize| -> Result<u16, BenchError> {
            Ok(tcp[index].local_addr().map_err(failed())?.port())
        };
        let count = |ports: usize| u16::try_from(ports).unwrap_or(u16::MAX);
        let ingest_ports = count(settings.cameras * PORTS_PER_CAMERA + SPARE_PORTS);
        let ingest = consecutive_udp(ingest_ports, 24_000)?;
        Ok(Self {
            http: port(0)?,
            signaling: port(1)?,
            mqtt: port(2)?,
            media: consecutive_udp(count(settings.workers), 20_000)?,
            ingest: ingest..=ingest + (ingest_ports - 1),
        })
    }

    fn config(&self, directory: &Path, settings: &ServerSettings<'_>) -> String {
        let ServerSettings {
            workers,
            advertised,
            ..
        } = settings;
        let data = directory.join("data");
        let (ingest, ingest_end) = self.ingest.clone().into_inner();
        format!(
            "[http]\nlisten = [\"127.0.0.1:{}\"]\n\
             [signaling]\nlisten = [\"127.0.0.1:{}\"]\n\
             [mqtt]\nbroker = \"embedded\"\nlisten = \"127.0.0.1:{}\"\n\
             [network]\nlocal_ip = \"{advertised}\"\n\
             [media]\nbind = \"{advertised}\"\nudp_port = {}\nworkers = {workers}\n\
             [ingest]\nbind = \"127.0.0.1\"\nports = \"{ingest}-{ingest_end}\"\n\
             [data]\ndir = {:?}\n\
             [log]\nlevel = \"warn\"\n",
            self.http, self.signaling, self.mqtt, self.media, data
        )
    }
}

/// The first even port from `from` on with `count` free UDP ports after each other.
fn consecutive_udp(count: u16, from: u16) -> Result<u16, BenchError> {
    // Several runs at once look in different places.
    let offset = (std::process::id() % 1000) as u16 * 2;
    let mut base = from + offset;
    while base < 32_000 - count.min(32_000) {
        let taken = (base..base + count).find(|port| UdpSocket::bind(loopback(*port)).is_err());
        match taken {
            None => return Ok(base),
            Some(port) => base = (port + 2) & !1,
        }
    }
    Err(BenchError::Io {
        operation: "find consecutive free UDP ports",
        source: std::io::ErrorKind::AddrInUse.into(),
    })
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_do_not_collide() {
        let ports = Ports::find(&ServerSettings {
            binary: Path::new("apiary"),
            cpu: None,
            workers: 2,
            cameras: 200,
            advertised: Ipv4Addr::LOCALHOST,
        })
        .unwrap();
        let mut all = [ports.http, ports.signaling, ports.mqtt];
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!((ports.ingest.start() % 2, ports.ingest.end() % 2), (0, 1));
        assert!(ports.ingest.len() >= 800);
        assert!(!ports.ingest.contains(&ports.media));
    }
}
