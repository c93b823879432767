//! The section `[tls]`: where the certificate for pages, API, WHEP and signaling comes from, and what goes with it.
//!
//! Values, their rules, and the rules between the keys of the section. Reading and making certificates does not belong here.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Config;
use super::raw::RawValue;
use super::reader::Reader;
use super::values::{self, Parsed, Rejection, integer, reject, text};
use crate::tls::name::Name;

/// Days for which browsers remember to come over HTTPS only, where nothing else is set.
const DEFAULT_HSTS_DAYS: u32 = 30;
/// Two years, which is what preload lists ask for at most.
const MAX_HSTS_DAYS: i64 = 730;

/// `[tls]`
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Where the certificate comes from.
    pub source: CertificateSource,
    /// Addresses that send browsers from HTTP to HTTPS.
    pub redirect_listen: Vec<SocketAddr>,
    /// The port at which browsers reach HTTPS, where that is not the port of `http.listen`.
    pub public_port: Option<u16>,
    /// Days for which browsers remember to come over HTTPS only; 0: not at all.
    pub hsts_days: u32,
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// There is none: plain HTTP.
    None,
    /// PEM files, which are watched.
    Files {
        /// The certificate chain.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// A local authority in `data.dir` makes it.
    SelfSigned {
        /// Names beside those that the machine knows of itself.
        names: Vec<Name>,
    },
}

/// What can be written for `tls.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    Files,
    SelfSigned,
}

impl TlsConfig {
    /// Whether HTTPS is spoken.
    pub fn is_on(&self) -> bool {
        self.source != CertificateSource::None
    }
}

/// Reads the section.
pub(super) fn load(reader: &mut Reader) -> TlsConfig {
    let mode = reader.read("tls.mode", mode);
    let cert = reader.read("tls.cert", values::readable_file);
    let key = reader.read("tls.key", values::private_file);
    let names = reader
        .read("tls.names", |value| values::list(value, name))
        .unwrap_or_default();
    // A certificate that is named is meant to be used.
    let default = if reader.is_set("tls.cert") || reader.is_set("tls.key") {
        Mode::Files
    } else {
        Mode::Off
    };
    let source = match mode.unwrap_or(default) {
        Mode::Off => CertificateSource::None,
        Mode::Files => files(reader, cert, key),
        Mode::SelfSigned => CertificateSource::SelfSigned { names },
    };
    TlsConfig {
        source,
        redirect_listen: reader
            .read("tls.redirect_listen", |value| {
                values::list(value, values::socket_address)
            })
            .unwrap_or_default(),
        public_port: reader
            .read("tls.public_port", integer(1..=65_535))
            .and_then(|port| u16::try_from(port).ok()),
        hsts_days: reader
            .read("tls.hsts_days", integer(0..=MAX_HSTS_DAYS))
            .and_then(|days| u32::try_from(days).ok())
            .unwrap_or(DEFAULT_HSTS_DAYS),
    }
}

/// Both are needed; one alone, or none, is refused.
fn files(reader: &mut Reader, cert: Option<PathBuf>, key: Option<PathBuf>) -> CertificateSource {
    for (name, missing) in [("tls.cert", "tls.key"), ("tls.key", "tls.cert")] {
        if !reader.is_set(missing) && (reader.is_set(name) || name == "tls.key") {
            let blamed = if reader.is_set(name) {
                name
            } else {
                "tls.mode"
            };
            refuse(
                reader,
                blamed,
                format!("{missing} is missing"),
                "set tls.cert and tls.key: they belong together",
            );
        }
    }
    match (cert, key) {
        (Some(cert), Some(key)) => CertificateSource::Files { cert, key },
        (Some(_) | None, Some(_) | None) => CertificateSource::None, // refused
    }
}

/// The rules between keys; see `validate`.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    if reader.has_failed("tls.mode") {
        return;
    }
    let source = &config.tls.source;
    let is_files = matches!(source, CertificateSource::Files { .. });
    let failed = reader.has_failed("tls.cert") || reader.has_failed("tls.key");
    if !is_files && !failed {
        for key in ["tls.cert", "tls.key"] {
            no_use(reader, key, "tls.mode = \"files\" uses it");
        }
    }
    if !matches!(source, CertificateSource::SelfSigned { .. }) {
        no_use(reader, "tls.names", "tls.mode = \"self-signed\" uses it");
    }
    if !config.tls.is_on() && !failed {
        for key in ["tls.redirect_listen", "tls.public_port", "tls.hsts_days"] {
            no_use(reader, key, "nothing here speaks HTTPS: set tls.mode");
        }
    }
}

fn no_use(reader: &mut Reader, key: &'static str, why: &str) {
    if reader.is_set(key) && !reader.has_failed(key) {
        let remedy = "set that, or leave it out";
        refuse(reader, key, format!("it has no use: {why}"), remedy);
    }
}

fn refuse(reader: &mut Reader, key: &'static str, problem: String, remedy: &str) {
    if !reader.has_failed(key) {
        let remedy = remedy.to_owned();
        reader.refuse(key, Rejection { problem, remedy });
    }
}

fn mode(value: &RawValue) -> Parsed<Mode> {
    let text = text(value)?;
    match text.as_str() {
        "off" => Ok(Mode::Off),
        "files" => Ok(Mode::Files),
        "self-signed" => Ok(Mode::SelfSigned),
        _ => reject(
            format!("`{}` is no such mode", text.escape_debug()),
            "write off, files or self-signed",
        ),
    }
}

fn name(value: &RawValue) -> Parsed<Name> {
    text(value)?.parse::<Name>().or_else(|error| {
        let remedy =
            "write names and addresses of this machine, as in [\"cams.example\", \"192.168.1.10\"]";
        reject(error.to_string(), remedy)
    })
}
