//! The server that is measured: one that this program starts, or one that runs already.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use apiary_wire::CameraId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::affinity;
use crate::error::BenchError;
use crate::options::Options;

const READY_WITHIN: Duration = Duration::from_secs(15);
/// The server promises to end within 5 s of SIGTERM.
const STOP_WITHIN: Duration = Duration::from_secs(6);
const POLL: Duration = Duration::from_millis(20);
/// Ingest ports: more than one camera needs, so that a port taken meanwhile does no harm.
const INGEST_PORTS: u16 = 32;
const LOG_NAME: &str = "server.log";

/// A server started for this run. It is stopped, and its directory removed, when this is dropped.
pub(crate) struct Server {
    child: Child,
    directory: TempDir,
    http: SocketAddr,
    mqtt: SocketAddr,
}

/// The ports that a server gets.
struct Ports {
    http: u16,
    signaling: u16,
    mqtt: u16,
    media: u16,
    ingest: u16,
}

impl Server {
    /// Starts the server with a configuration for loopback and waits until it answers.
    pub(crate) async fn start(options: &Options) -> Result<Self, BenchError> {
        let binary = match &options.target.binary {
            Some(path) => path.clone(),
            None => beside_this_program()?,
        };
        if !binary.is_file() {
            return Err(BenchError::NoServer { path: binary });
        }
        let directory = TempDir::with_prefix("apiary-bench-")
            .map_err(BenchError::io("make a directory for the server"))?;
        let ports = Ports::find(options.workers.unwrap_or_else(cores))?;
        let config = directory.path().join("apiary.toml");
        std::fs::write(&config, ports.config(directory.path(), options.workers))
            .map_err(BenchError::io("write the server's configuration"))?;
        let log = File::create(directory.path().join(LOG_NAME))
            .map_err(BenchError::io("create the server's log"))?;
        let errors = log.try_clone().map_err(BenchError::io("open the log"))?;
        let mut command = Command::new(&binary);
        command
            .args([Path::new("serve"), Path::new("--config"), &config])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let child = affinity::while_pinned(options.pinning.server_cpu, || command.spawn())?
            .map_err(BenchError::io("start the server"))?;
        let mut server = Self {
            child,
            directory,
            http: loopback(ports.http),
            mqtt: loopback(ports.mqtt),
        };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// The WHEP URL of a camera.
    pub(crate) fn whep(&self, camera: CameraId) -> String {
        format!("http://{}/whep/{camera}", self.http)
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
    fn find(workers: usize) -> Result<Self, BenchError> {
        let failed = || BenchError::io("find free ports");
        // Held until all are found, so that no two are the same.
        let tcp: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind(loopback(0)))
            .collect::<Result<_, _>>()
            .map_err(failed())?;
        let port = |index: usize| -> Result<u16, BenchError> {
            Ok(tcp[index].local_addr().map_err(failed())?.port())
        };
        let workers = u16::try_from(workers).unwrap_or(u16::MAX);
        Ok(Self {
            http: port(0)?,
            signaling: port(1)?,
            mqtt: port(2)?,
            media: consecutive_udp(workers, 20_000)?,
            ingest: consecutive_udp(INGEST_PORTS, 24_000)?,
        })
    }

    fn config(&self, directory: &Path, workers: Option<usize>) -> String {
        let workers = workers.map_or(String::new(), |count| format!("workers = {count}\n"));
        let data = directory.join("data");
        let ingest_end = self.ingest + INGEST_PORTS - 1;
        format!(
            "[http]\nlisten = [\"127.0.0.1:{}\"]\n\
             [signaling]\nlisten = [\"127.0.0.1:{}\"]\n\
             [mqtt]\nbroker = \"embedded\"\nlisten = \"127.0.0.1:{}\"\n\
             [network]\nlocal_ip = \"127.0.0.1\"\n\
             [media]\nudp_port = {}\n{workers}\
             [ingest]\nports = \"{}-{ingest_end}\"\n\
             [data]\ndir = {:?}\n\
             [log]\nlevel = \"warn\"\n",
            self.http, self.signaling, self.mqtt, self.media, self.ingest, data
        )
    }
}

/// The first even port from `from` on with `count` free UDP ports after each other.
fn consecutive_udp(count: u16, from: u16) -> Result<u16, BenchError> {
    // Several runs at once look in different places.
    let offset = (std::process::id() % 1000) as u16 * 2;
    let mut base = from + offset;
    while base < 32_000 {
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

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn beside_this_program() -> Result<PathBuf, BenchError> {
    let this = std::env::current_exe().map_err(BenchError::io("find this program"))?;
    Ok(this.with_file_name("apiary"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_do_not_collide() {
        let ports = Ports::find(2).unwrap();
        let mut all = [ports.http, ports.signaling, ports.mqtt];
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(ports.ingest % 2, 0);
        let media = ports.media..ports.media + 2;
        assert!(!media.contains(&ports.ingest));
    }
}
