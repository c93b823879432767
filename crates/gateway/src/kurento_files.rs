//! The files that Kurento servers read their own settings from, made from Apiary's configuration.
//!
//! Option names and forms are those of Kurento 6.16 and 7.x (their `WebRtcEndpoint.conf.ini` and `BaseRtpEndpoint.conf.ini`;
//! 6.16 replaced `externalAddress` with `externalIPv4` and `externalIPv6`). What is not set stays Kurento's default. What
//! a key may be belongs to `config`; how a server is started belongs to `scripts/start-kurento.sh`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::config::{Config, HostPort, KurentoTurn};

/// Mode of a file without secrets.
const MODE_PUBLIC: u32 = 0o644;
/// Mode of a file with the TURN password. The server of the official image runs as root in its container and reads it all
/// the same; others need not.
const MODE_SECRET: u32 = 0o600;

/// A file for Kurento.
#[derive(Clone, PartialEq, Eq)]
pub struct KurentoFile {
    /// Its name below `/etc/kurento/modules/kurento`.
    pub name: &'static str,
    /// Its text; may hold a password.
    pub text: String,
    /// Its mode.
    pub mode: u32,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is new, or is another now.
    Written,
    /// It was so already.
    Unchanged,
}

/// Why the files cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KurentoFilesError {
    /// A name could not be looked up.
    #[error(
        "{key}: `{host}` cannot be looked up, and Kurento wants an IP address: {cause}; correct the name, or write the address"
    )]
    Lookup {
        /// The key that names the host.
        key: &'static str,
        /// The host.
        host: String,
        /// What the system said.
        cause: String,
    },
    /// A name has no address that Kurento takes.
    #[error("{key}: `{host}` has no IPv4 address, and Kurento takes no other for it; write one")]
    NoAddress {
        /// The key that names the host.
        key: &'static str,
        /// The host.
        host: String,
    },
    /// A file cannot be written.
    #[error("{}: cannot be written: {source}; choose another directory for --out, or let this user write there", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Looks up the addresses of a host.
pub type Lookup<'a> = &'a dyn Fn(&str) -> io::Result<Vec<IpAddr>>;

/// Both files of a configuration.
///
/// # Errors
/// When the name of the STUN or TURN server has no address that Kurento takes.
pub fn files(config: &Config, lookup: Lookup<'_>) -> Result<[KurentoFile; 2], KurentoFilesError> {
    let ice = &config.kurento.ice;
    let mut text = header();
    if let Some(external) = config.network.external_ip {
        text.push_str(
            "\n; network.external_ip: viewers are told this address instead of the server's own ones.\n",
        );
        option(&mut text, "externalIPv4", external);
    }
    if !ice.interfaces.is_empty() {
        text.push_str("\n; kurento.interfaces\n");
        option(&mut text, "networkInterfaces", ice.interfaces.join(","));
    }
    if let Some(stun) = &ice.stun {
        let address = address("kurento.stun", stun, lookup, |_| true)?;
        let _ = writeln!(text, "\n; kurento.stun = {stun}");
        option(&mut text, "stunServerAddress", address);
        option(&mut text, "stunServerPort", stun.port);
    }
    if let Some(turn) = &ice.turn {
        let url = turn_url(turn, lookup)?;
        let _ = writeln!(text, "\n; kurento.turn = {}", turn.server);
        option(&mut text, "turnURL", url);
    }
    let mode = if ice.turn.is_some() {
        MODE_SECRET
    } else {
        MODE_PUBLIC
    };
    let web_rtc = KurentoFile {
        name: "WebRtcEndpoint.conf.ini",
        text,
        mode,
    };
    let mut text = header();
    text.push_str("\n; ingest.ports: UDP ports for cameras, and toward viewers.\n");
    option(&mut text, "minPort", config.ingest.ports.start());
    option(&mut text, "maxPort", config.ingest.ports.end());
    let base_rtp = KurentoFile {
        name: "BaseRtpEndpoint.conf.ini",
        text,
        mode: MODE_PUBLIC,
    };
    Ok([web_rtc, base_rtp])
}

fn header() -> String {
    "; Made by `apiary kurento-files` from the settings of Apiary. What is changed here is lost when they are made anew:\n\
     ; change the settings instead.\n"
        .to_owned()
}

fn option(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "{name}={value}");
}

/// Kurento takes this URL apart with `^(user):(password)@([0-9.]+):(port)(\?transport=(udp|tcp|tls))?$`, so that only an
/// IPv4 address will do (`kmswebrtcsession.c`).
fn turn_url(turn: &KurentoTurn, lookup: Lookup<'_>) -> Result<String, KurentoFilesError> {
    let address = address("kurento.turn", &turn.server, lookup, IpAddr::is_ipv4)?;
    Ok(format!(
        "{}:{}@{address}:{}?transport={}",
        turn.username,
        turn.password.expose(),
        turn.server.port,
        turn.transport
    ))
}

/// The host's address. Of several the lowest, IPv4 before IPv6: name servers change their order with each answer, and the file
/// should not.
fn address(
    key: &'static str,
    server: &HostPort,
    lookup: Lookup<'_>,
    is_taken: impl Fn(&IpAddr) -> bool,
) -> Result<IpAddr, KurentoFilesError> {
    let host = server.host.clone();
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => lookup(&host).map_err(|error| KurentoFilesError::Lookup {
            key,
            host: host.clone(),
            cause: error.to_string(),
        })?,
    };
    // `IpAddr` sorts IPv4 before IPv6.
    addresses
        .into_iter()
        .filter(is_taken)
        .min()
        .ok_or(KurentoFilesError::NoAddress { key, host })
}

impl KurentoFile {
    /// Writes it into a directory, which is made where it is missing. Whoever reads meanwhile sees the old file or the new
    /// one, whole.
    ///
    /// # Errors
    /// When the directory or the file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<Outcome, KurentoFilesError> {
        let path = dir.join(self.name);
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| KurentoFilesError::Write { path, source }
        };
        if self.is_at(&path) {
            return Ok(Outcome::Unchanged);
        }
        std::fs::create_dir_all(dir).map_err(failed(dir))?;
        // Made with mode 0600, in the same directory, so that renaming is one step.
        let mut file = NamedTempFile::new_in(dir).map_err(failed(dir))?;
        file.write_all(self.text.as_bytes())
            .map_err(failed(&path))?;
        file.as_file()
            .set_permissions(PermissionsExt::from_mode(self.mode))
            .map_err(failed(&path))?;
        file.as_file().sync_all().map_err(failed(&path))?;
        file.persist(&path)
            .map_err(|error| failed(&path)(error.error))?;
        Ok(Outcome::Written)
    }

    fn is_at(&self, path: &Path) -> bool {
        let has_mode = |metadata: std::fs::Metadata| {
            metadata.is_file() && metadata.permissions().mode() & 0o777 == self.mode
        };
        std::fs::symlink_metadata(path).is_ok_and(has_mode)
            && std::fs::read(path).is_ok_and(|bytes| bytes == self.text.as_bytes())
    }
}
