//! The section `[tls]`: where the certificate for pages, API, WHEP and signaling comes from, and what goes with it.
//!
//! Values, their rules, and the rules between the keys of the section. Reading and making certificates does not belong here.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::Uri;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::LetsEncrypt;

use super::Config;
use super::raw::RawValue;
use super::reader::Reader;
use super::values::{self, Parsed, Rejection, integer, reject, text};
use crate::secret::Secret;
use crate::tls::acme::can_be_asked_for;
use crate::tls::name::Name;

/// Days for which browsers remember to come over HTTPS only, where nothing else is set.
const DEFAULT_HSTS_DAYS: u32 = 30;
/// Two years, which is what preload lists ask for at most.
const MAX_HSTS_DAYS: i64 = 730;

/// What is about ACME alone.
const ACME_KEYS: [&str; 7] = [
    "tls.acme_directory",
    "tls.acme_contact",
    "tls.acme_ca",
    "tls.acme_challenge",
    "tls.acme_terms_agreed",
    "tls.acme_eab_id",
    "tls.acme_eab_key",
];

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
    /// A public authority gives it.
    Acme(AcmeConfig),
    /// A local authority in `data.dir` makes it.
    SelfSigned {
        /// Names beside those that the machine knows of itself.
        names: Vec<Name>,
    },
}

/// How a certificate is got by ACME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeConfig {
    /// Host names that the certificate is for, at least one.
    pub names: Vec<Name>,
    /// Address of the authority's directory.
    pub directory: String,
    /// Mail address that the authority may write to.
    pub contact: Option<String>,
    /// Who signed the certificate of the authority's own server, where the system does not know.
    pub ca: Option<PathBuf>,
    /// How the authority sees that names are ours.
    pub challenge: AcmeChallenge,
    /// What the account is bound to, with authorities that demand it.
    pub external_account: Option<ExternalAccount>,
}

/// An account that somebody has with an authority already (RFC 8555 §7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAccount {
    /// Its id.
    pub id: String,
    /// What shows that it is one's own, in base64url.
    pub key: Secret,
}

impl ExternalAccount {
    /// The octets of the key.
    pub fn key_octets(&self) -> Vec<u8> {
        octets(self.key.expose()).unwrap_or_default() // refused where it is none
    }
}

/// How an authority sees that a name is this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// It asks over HTTP, at port 80.
    Http01,
    /// It begins a TLS handshake, at port 443.
    TlsAlpn01,
}

impl AcmeChallenge {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// What can be written for `tls.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    Files,
    Acme,
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
    let redirect_listen = reader
        .read("tls.redirect_listen", |value| {
            values::list(value, values::socket_address)
        })
        .unwrap_or_default();
    let acme = acme(reader, !redirect_listen.is_empty());
    let source = match mode.unwrap_or(default) {
        Mode::Off => CertificateSource::None,
        Mode::Files => files(reader, cert, key),
        Mode::Acme => CertificateSource::Acme(AcmeConfig { names, ..acme }),
        Mode::SelfSigned => CertificateSource::SelfSigned { names },
    };
    TlsConfig {
        source,
        redirect_listen,
        public_port: reader
            .read("tls.public_port", integer(1..=65_535))
            .and_then(|port| u16::try_from(port).ok()),
        hsts_days: reader
            .read("tls.hsts_days", integer(0..=MAX_HSTS_DAYS))
            .and_then(|days| u32::try_from(days).ok())
            .unwrap_or(DEFAULT_HSTS_DAYS),
    }
}

/// All but the names.
fn acme(reader: &mut Reader, has_redirect: bool) -> AcmeConfig {
    let directory = reader.read("tls.acme_directory", directory);
    // Whoever listens for HTTP at port 80 can be asked there; else there is the port of HTTPS alone.
    let default = if has_redirect {
        AcmeChallenge::Http01
    } else {
        AcmeChallenge::TlsAlpn01
    };
    AcmeConfig {
        names: Vec::new(),
        directory: directory.unwrap_or_else(|| LetsEncrypt::Production.url().to_owned()),
        contact: reader.read("tls.acme_contact", contact),
        ca: reader.read("tls.acme_ca", values::readable_file),
        challenge: reader
            .read("tls.acme_challenge", challenge)
            .unwrap_or(default),
        external_account: external_account(reader),
    }
}

fn external_account(reader: &mut Reader) -> Option<ExternalAccount> {
    let id = reader.read("tls.acme_eab_id", values::text);
    let key = reader.read("tls.acme_eab_key", eab_key);
    for (name, missing) in [
        ("tls.acme_eab_id", "tls.acme_eab_key"),
        ("tls.acme_eab_key", "tls.acme_eab_id"),
    ] {
        if reader.is_set(name) && !reader.is_set(missing) {
            let problem = format!("{missing} is missing");
            refuse(reader, name, problem, "set both: they belong together");
        }
    }
    Some(ExternalAccount { id: id?, key: key? })
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
    match source {
        CertificateSource::SelfSigned { .. } => {}
        CertificateSource::Acme(acme) => check_acme(acme, reader),
        CertificateSource::None | CertificateSource::Files { .. } => {
            let why = "tls.mode = \"acme\" and \"self-signed\" use it";
            no_use(reader, "tls.names", why);
        }
    }
    if !matches!(source, CertificateSource::Acme(_)) && !failed {
        for key in ACME_KEYS {
            no_use(reader, key, "tls.mode = \"acme\" uses it");
        }
    }
    if !config.tls.is_on() && !failed {
        for key in ["tls.redirect_listen", "tls.public_port", "tls.hsts_days"] {
            no_use(reader, key, "nothing here speaks HTTPS: set tls.mode");
        }
    }
}

fn check_acme(acme: &AcmeConfig, reader: &mut Reader) {
    let wrong = acme.names.iter().find(|name| !can_be_asked_for(name));
    if let Some(name) = wrong {
        let problem = format!("`{name}` is no host name");
        let remedy =
            "with tls.mode = \"acme\", name hosts that lead here from the internet, without `*`";
        refuse(reader, "tls.names", problem, remedy);
    } else if acme.names.is_empty() && !reader.has_failed("tls.names") {
        let problem = "tls.names is missing".to_owned();
        let remedy = "write there the host names that lead here from the internet";
        refuse(reader, "tls.mode", problem, remedy);
    }
    // Nobody can agree for whoever runs the program.
    let agreed = reader.read("tls.acme_terms_agreed", values::boolean);
    if agreed != Some(true) && !reader.has_failed("tls.acme_terms_agreed") {
        let problem = format!("the terms of {} are not agreed to", acme.directory);
        let remedy = "read them, and set tls.acme_terms_agreed = true";
        refuse(reader, "tls.mode", problem, remedy);
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
        "acme" => Ok(Mode::Acme),
        "self-signed" => Ok(Mode::SelfSigned),
        _ => reject(
            format!("`{}` is no such mode", text.escape_debug()),
            "write off, files, acme or self-signed",
        ),
    }
}

fn directory(value: &RawValue) -> Parsed<String> {
    let text = text(value)?;
    let uri = text.parse::<Uri>();
    let is_good = |uri: Uri| uri.scheme_str() == Some("https") && uri.host().is_some();
    if uri.is_ok_and(is_good) && !text.contains('@') {
        Ok(text)
    } else {
        let remedy = format!("write one like {}", LetsEncrypt::Staging.url());
        reject("it is no https:// address", remedy)
    }
}

fn contact(value: &RawValue) -> Parsed<String> {
    let text = text(value)?;
    let is_good = |c: char| c.is_ascii_graphic() && !"<>\",:;?%".contains(c);
    match text.split_once('@') {
        Some((who, host)) if !who.is_empty() && !host.is_empty() && text.chars().all(is_good) => {
            Ok(text)
        }
        Some(_) | None => reject("it is no mail address", "write one like admin@cams.example"),
    }
}

fn eab_key(value: &RawValue) -> Parsed<Secret> {
    let text = text(value)?;
    match octets(&text) {
        Some(octets) if !octets.is_empty() => Ok(Secret::new(text)),
        Some(_) | None => reject(
            "it is no key",
            "write it as the authority shows it, in base64url",
        ),
    }
}

fn octets(base64url: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD
        .decode(base64url.trim_end_matches('='))
        .ok()
}

fn challenge(value: &RawValue) -> Parsed<AcmeChallenge> {
    let text = text(value)?;
    let kinds = [AcmeChallenge::Http01, AcmeChallenge::TlsAlpn01];
    match kinds.into_iter().find(|kind| kind.as_str() == text) {
        Some(kind) => Ok(kind),
        None => reject(
            format!("`{}` is no such kind", text.escape_debug()),
            "write http-01 or tls-alpn-01",
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
