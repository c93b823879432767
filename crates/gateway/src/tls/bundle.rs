//! The files of a local authority, as `apiary certs` makes them: for HTTPS, for the broker, and for the cameras.
//!
//! What is there and still good stays as it is, so that it can be asked for again at any time. A key is never replaced unless
//! that is wanted; a certificate is, when it lacks a name, nears its end, or is another authority's.

use std::io;
use std::path::{Path, PathBuf};

use apiary_wire::id::CameraId;
use jiff::Timestamp;
use rcgen::KeyPair;

use super::authority::{Authority, MakeError, Purpose, generate_key};
use super::facts::{Facts, is_of_key, is_signed_by};
use super::name::Name;
use super::pair::{self, PairError};
use super::private_file::{self, MODE_PRIVATE, MODE_PUBLIC, OpenToOthers};

/// The name that cameras of a household have at the broker where they share a certificate; installations in the field use it.
pub const SHARED_CAMERA: &str = "camera_client";
/// The name of this program at a broker of others.
pub const SERVICE: &str = "apiary";

/// The authority's certificate.
pub const CA: &str = "ca.crt";
/// The authority's key.
const CA_KEY: &str = "ca.key";
/// Directory with what goes onto the cameras.
pub const CAMERAS: &str = "cameras";
/// The authority, as it is called on a camera.
const CAMERA_CA: &str = "mqttCA.crt";
/// Certificate and key, as they are called on a camera.
const CAMERA_PEM: &str = "mqtt.pem";
/// The key, as it is called on a camera.
const CAMERA_KEY: &str = "mqtt.key";

/// What goes onto each camera, all of it.
pub const CAMERA_FILES: [&str; 3] = [CAMERA_CA, CAMERA_PEM, CAMERA_KEY];

/// What to write into the settings, so that the embedded broker has the certificates in `dir`.
pub fn broker_settings(dir: &Path) -> String {
    format!(
        "[mqtt]\nlisten_tls = \"0.0.0.0:8883\"\nca = {}\ncert = {}\nkey = {}",
        toml_path(dir, CA),
        toml_path(dir, "broker.crt"),
        toml_path(dir, "broker.key"),
    )
}

/// A file of `dir` as a string of TOML, which takes escapes as Rust prints them.
pub fn toml_path(dir: &Path, name: &str) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    format!("{:?}", dir.join(name).display().to_string())
}

/// Most names of one certificate.
const MAX_NAMES: usize = 100;

/// Why the files cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file cannot be written.
    #[error("{}: cannot be written: {source}; choose another directory, or let this user write there", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that exists cannot be read.
    #[error(transparent)]
    Read(#[from] PairError),
    /// A key that exists is open to others.
    #[error("{}: {open}; run: {}", path.display(), open.command())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// How open.
        open: OpenToOthers,
    },
    /// A key that exists is none.
    #[error("{}: no private key can be read from it: {cause}; restore it, or run again with --force to make all anew", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Half of the authority is missing.
    #[error("{} is there, and {} is not: restore it, or run again with --force to make all anew", there.display(), missing.display())]
    HalfAuthority {
        /// What is there.
        there: PathBuf,
        /// What is not.
        missing: PathBuf,
    },
    /// The authority has ended.
    #[error("{}: this authority ended on {ended}; run with --force to make all anew, and give the cameras their new files", path.display())]
    AuthorityEnded {
        /// Its certificate.
        path: PathBuf,
        /// When.
        ended: Timestamp,
    },
    /// A certificate cannot be made.
    #[error(transparent)]
    Make(#[from] MakeError),
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there, or was replaced altogether.
    Made,
    /// A new certificate for the key that was there.
    Renewed,
    /// It is as it was.
    Kept,
}

/// A file, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
}

/// A directory with an authority and what it signed.
pub struct Bundle {
    dir: PathBuf,
    authority: Authority,
    ca_pem: String,
    now: Timestamp,
    force: bool,
    /// What has been done so far.
    pub written: Vec<Written>,
}

impl Bundle {
    /// Opens the directory, and makes an authority where there is none, or with `force`: then nothing that was signed
    /// before is good any more.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn open(dir: &Path, force: bool, now: Timestamp) -> Result<Self, BundleError> {
        let (cert, key) = (dir.join(CA), dir.join(CA_KEY));
        let (authority, ca_pem, outcome) = match (cert.exists(), key.exists()) {
            (true, true) if !force => {
                let (authority, pem) = existing_authority(&cert, &key, now)?;
                (authority, pem, Outcome::Kept)
            }
            (true, false) if !force => {
                let (there, missing) = (cert, key);
                return Err(BundleError::HalfAuthority { there, missing });
            }
            // A key without its certificate has signed nothing yet: it was interrupted here.
            (true | false, true | false) => {
                let (authority, pem) = Authority::create(now)?;
                write(&key, &authority.key_pem(), MODE_PRIVATE)?;
                write(&cert, &pem, MODE_PUBLIC)?;
                (authority, pem, Outcome::Made)
            }
        };
        let written = [cert, key].map(|path| Written { path, outcome });
        Ok(Self {
            dir: dir.to_owned(),
            authority,
            ca_pem,
            now,
            force,
            written: written.to_vec(),
        })
    }

    /// Finds out whether a directory that is there can be used, without writing to it.
    ///
    /// # Errors
    /// What [`Bundle::open`] would refuse, and a key for HTTPS that is open to others.
    pub fn examine(dir: &Path, now: Timestamp) -> Result<(), BundleError> {
        let (cert, key) = (dir.join(CA), dir.join(CA_KEY));
        if cert.exists() {
            existing_authority(&cert, &key, now)?;
        }
        existing_key(&dir.join("https.key"))?;
        Ok(())
    }

    /// Certificate and key for the HTTPS listeners.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn https(&mut self, names: &[Name]) -> Result<(PathBuf, PathBuf), BundleError> {
        self.pair("https", &Purpose::Https, names)
    }

    /// Certificate and key for the broker.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn broker(&mut self, names: &[Name]) -> Result<(PathBuf, PathBuf), BundleError> {
        self.pair("broker", &Purpose::Broker, names)
    }

    /// Certificate and key of this program at a broker of others.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn service(&mut self) -> Result<(PathBuf, PathBuf), BundleError> {
        self.pair("service", &Purpose::Client(SERVICE.to_owned()), &[])
    }

    /// The three files that a camera has on its disk; without an id, those that all cameras share.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn camera(&mut self, camera: Option<CameraId>) -> Result<PathBuf, BundleError> {
        let cameras = self.dir.join(CAMERAS);
        let (dir, name) = match camera {
            Some(camera) => (cameras.join(camera.to_string()), camera.to_string()),
            None => (cameras, SHARED_CAMERA.to_owned()),
        };
        let ca = dir.join(CAMERA_CA);
        let is_there = std::fs::read(&ca).is_ok_and(|there| there == self.ca_pem.as_bytes());
        if !is_there {
            write(&ca, &self.ca_pem, MODE_PUBLIC)?;
        }
        let outcome = if is_there {
            Outcome::Kept
        } else {
            Outcome::Made
        };
        self.written.push(Written { path: ca, outcome });
        let files = Leaf {
            cert: dir.join(CAMERA_PEM),
            key: dir.join(CAMERA_KEY),
            cert_holds_key: true,
        };
        self.leaf(&files, &Purpose::Client(name), &[])?;
        Ok(dir)
    }

    fn pair(
        &mut self,
        stem: &str,
        purpose: &Purpose,
        names: &[Name],
    ) -> Result<(PathBuf, PathBuf), BundleError> {
        let files = Leaf {
            cert: self.dir.join(format!("{stem}.crt")),
            key: self.dir.join(format!("{stem}.key")),
            cert_holds_key: false,
        };
        self.leaf(&files, purpose, names)?;
        Ok((files.cert, files.key))
    }

    /// The key is written first: without its certificate it can be gone on with.
    fn leaf(&mut self, files: &Leaf, purpose: &Purpose, names: &[Name]) -> Result<(), BundleError> {
        let existing = if self.force {
            None
        } else {
            existing_key(&files.key)?
        };
        let is_new = existing.is_none();
        let key = match existing {
            Some(key) => key,
            None => {
                let key = generate_key(purpose)?;
                write(&files.key, &key.serialize_pem(), MODE_PRIVATE)?;
                key
            }
        };
        let there = if is_new { None } else { files.certificate() };
        let outcome = match &there {
            None => Outcome::Made,
            Some((der, facts)) if self.is_good(der, facts, &key, names) => Outcome::Kept,
            Some(_) => Outcome::Renewed,
        };
        if outcome != Outcome::Kept {
            let mut names = names.to_vec();
            let known = there.into_iter().flat_map(|(_, facts)| facts.names);
            let kept: Vec<Name> = known.filter(|name| !names.contains(name)).collect();
            names.extend(kept);
            // Addresses come and go; the newest stand first.
            names.truncate(MAX_NAMES);
            let mut pem = self.authority.issue(purpose, &names, &key, self.now)?;
            let mode = if files.cert_holds_key {
                pem.push_str(&key.serialize_pem());
                MODE_PRIVATE
            } else {
                MODE_PUBLIC
            };
            write(&files.cert, &pem, mode)?;
        }
        let key_outcome = if is_new { Outcome::Made } else { Outcome::Kept };
        for (path, outcome) in [(&files.cert, outcome), (&files.key, key_outcome)] {
            let path = path.clone();
            self.written.push(Written { path, outcome });
        }
        Ok(())
    }

    fn is_good(&self, der: &[u8], facts: &Facts, key: &KeyPair, names: &[Name]) -> bool {
        self.now < facts.renew_at()
            && names.iter().all(|name| facts.covers(name))
            && is_signed_by(der, self.authority.der())
            && is_of_key(der, key)
    }
}

/// The files of one certificate.
struct Leaf {
    cert: PathBuf,
    key: PathBuf,
    /// The certificate's file holds the key too.
    cert_holds_key: bool,
}

impl Leaf {
    /// What is there, where it can be read.
    fn certificate(&self) -> Option<(Vec<u8>, Facts)> {
        let text = pair::read(&self.cert).ok()?;
        let leaf = pair::chain(&text).ok()?.into_iter().next()?;
        let facts = Facts::of(&leaf)?;
        Some((leaf.to_vec(), facts))
    }
}

fn existing_authority(
    cert: &Path,
    key: &Path,
    now: Timestamp,
) -> Result<(Authority, String), BundleError> {
    let no_certificate = |cause: String| PairError::NoCertificate {
        path: cert.to_owned(),
        cause,
    };
    let text = pair::read(cert)?;
    let chain = pair::chain(&text).map_err(no_certificate)?;
    let der = chain
        .into_iter()
        .next()
        .ok_or_else(|| no_certificate("it holds none".to_owned()))?;
    let facts = Facts::of(&der).ok_or_else(|| no_certificate("it is damaged".to_owned()))?;
    if now > facts.not_after {
        let path = cert.to_owned();
        let ended = facts.not_after;
        return Err(BundleError::AuthorityEnded { path, ended });
    }
    let missing = || BundleError::HalfAuthority {
        there: cert.to_owned(),
        missing: key.to_owned(),
    };
    let pair = existing_key(key)?.ok_or_else(missing)?;
    if !is_of_key(&der, &pair) {
        let (cert, key) = (cert.to_owned(), key.to_owned());
        return Err(PairError::Mismatch { cert, key }.into());
    }
    let authority = Authority::from_parts(der, pair)?;
    Ok((authority, String::from_utf8_lossy(&text).into_owned()))
}

/// A key that is there; one that others can read is refused, since it is theirs too.
fn existing_key(path: &Path) -> Result<Option<KeyPair>, BundleError> {
    if !path.exists() {
        return Ok(None);
    }
    if let Err(open) = private_file::check(path) {
        let path = path.to_owned();
        return Err(BundleError::OpenToOthers { path, open });
    }
    let text = pair::read(path)?;
    let key = KeyPair::from_pem(&String::from_utf8_lossy(&text));
    key.map(Some).map_err(|error| BundleError::BadKey {
        path: path.to_owned(),
        cause: error.to_string(),
    })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), BundleError> {
    private_file::write(path, text, mode).map_err(|source| BundleError::Write {
        path: path.to_owned(),
        source,
    })
}
