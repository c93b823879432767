//! The service manager that started the program (systemd): it is told when the program is ready, reads its settings
//! again and ends, and, while the program does its work, that it lives (sd_notify(3), sd_watchdog_enabled(3)).
//!
//! Nothing waits for it: what it does not take at once is not sent. Without one, nothing is told to anybody.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

use super::liveness::Liveness;
use crate::config::Environment;

/// Signs of life within the time after which the program counts as hung.
const SIGNS_PER_TIMEOUT: u32 = 3;

/// Why the service manager cannot be told anything.
#[derive(Debug, thiserror::Error)]
pub enum ServiceManagerError {
    /// Its socket cannot be used.
    #[error("NOTIFY_SOCKET {name:?}: the service manager's socket cannot be used: {source}")]
    Socket {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The time is no number.
    #[error("WATCHDOG_USEC {0:?} is not a number of microseconds above 0")]
    WatchdogTime(String),
}

/// See the module; clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    socket: Option<Arc<UnixDatagram>>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names, if any.
    ///
    /// # Errors
    /// When it names one that cannot be reached.
    pub fn of(environment: &Environment) -> Result<Self, ServiceManagerError> {
        let variable = |name: &str| environment.variables.get(name).map(String::as_str);
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let socket = connect(name).map_err(|source| ServiceManagerError::Socket {
            name: name.to_owned(),
            source,
        })?;
        let own_pid = std::process::id().to_string();
        let is_watched = variable("WATCHDOG_PID").is_none_or(|pid| pid == own_pid);
        let watchdog = variable("WATCHDOG_USEC").filter(|_| is_watched);
        Ok(Self {
            socket: Some(Arc::new(socket)),
            watchdog: watchdog.map(watchdog_time).transpose()?,
        })
    }

    /// Everything listens.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The settings are being read again; [`Self::ready`] follows.
    pub fn reloading(&self) {
        // By this time systemd tells this reload's READY=1 from an older one.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
        let us = now.unwrap_or_default().as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={us}"));
    }

    /// The program ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Gives signs of life while the program does its work, without end. Silence has the program started anew.
    pub async fn give_signs_of_life(self, liveness: Liveness) {
        let Some(timeout) = self.watchdog else {
            return;
        };
        let mut ticks = interval(timeout / SIGNS_PER_TIMEOUT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = false;
        loop {
            ticks.tick().await;
            let trouble = liveness.trouble();
            match &trouble {
                None => self.tell("WATCHDOG=1"),
                Some(trouble) if !silent => tracing::error!(
                    "{trouble}; if that lasts, the service manager starts the program anew"
                ),
                Some(_) => {}
            }
            silent = trouble.is_some();
        }
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else {
            return;
        };
        if let Err(error) = socket.send(state.as_bytes()) {
            tracing::warn!(%error, state, "the service manager cannot be told");
        }
    }
}

/// A path, or a name in the abstract namespace, which is written with `@` in front.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn watchdog_time(us: &str) -> Result<Duration, ServiceManagerError> {
    let time = us.parse().map(Duration::from_micros);
    time.ok()
        // Shorter than what a timer can tell apart is nothing that can be kept.
        .filter(|time| *time >= Duration::from_millis(1))
        .ok_or_else(|| ServiceManagerError::WatchdogTime(us.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Environment {
            variables: variables.collect(),
            ..Environment::default()
        }
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn without_a_service_manager_nobody_is_told() {
        for variables in [&[][..], &[("NOTIFY_SOCKET", "")], &[("WATCHDOG_USEC", "x")]] {
            let manager = ServiceManager::of(&environment(variables)).unwrap();
            assert!(manager.socket.is_none() && manager.watchdog.is_none());
            manager.ready();
        }
    }

    #[test]
    fn it_is_found_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let abstract_name = format!("apiary-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        for (socket, name) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.display().to_string(),
            ),
            (
                UnixDatagram::bind_addr(&address).unwrap(),
                format!("@{abstract_name}"),
            ),
        ] {
            let manager = ServiceManager::of(&environment(&[("NOTIFY_SOCKET", &name)])).unwrap();
            manager.ready();
            assert_eq!(received(&socket), "READY=1");
            manager.reloading();
            let reloading = received(&socket);
            let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            assert!(time.unwrap().parse::<u64>().unwrap() > 0);
            manager.stopping();
            assert_eq!(received(&socket), "STOPPING=1");
        }
    }

    /// One that reads nothing holds nobody up.
    #[test]
    fn what_it_does_not_take_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _unread = UnixDatagram::bind(&path).unwrap();
        let name = path.display().to_string();
        let manager = ServiceManager::of(&environment(&[("NOTIFY_SOCKET", &name)])).unwrap();
        // More than the system queues (net.unix.max_dgram_qlen), and than a socket's buffer holds.
        for _ in 0..20_000 {
            manager.ready();
        }
    }

    #[test]
    fn the_watchdog_is_for_this_process_and_for_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _socket = UnixDatagram::bind(&path).unwrap();
        let name = path.display().to_string();
        let own = std::process::id().to_string();
        let watchdog = |us: &str, pid: &str| {
            let variables = [
                ("NOTIFY_SOCKET", &*name),
                ("WATCHDOG_USEC", us),
                ("WATCHDOG_PID", pid),
            ];
            ServiceManager::of(&environment(&variables)).map(|manager| manager.watchdog)
        };
        let half_a_minute = Some(Duration::from_secs(30));
        assert_eq!(watchdog("30000000", &own).unwrap(), half_a_minute);
        assert_eq!(watchdog("30000000", "1").unwrap(), None);
        for wrong in ["", "0", "-1", "soon"] {
            let error = watchdog(wrong, &own).unwrap_err();
            assert!(error.to_string().contains("WATCHDOG_USEC"), "{error}");
        }
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let variables = [("NOTIFY_SOCKET", "/nowhere/notify")];
        let error = ServiceManager::of(&environment(&variables)).unwrap_err();
        assert!(error.to_string().contains("/nowhere/notify"), "{error}");
    }
}
