//! `apiary certs`

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use apiary_wire::id::CameraId;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::output::{complain, say};
use super::serve;
use crate::config::{Config, Environment};
use crate::tls::DIRECTORY;
use crate::tls::bundle::{self, Bundle, BundleError, Outcome};
use crate::tls::facts::{Facts, Validity};
use crate::tls::name::{self, Name};
use crate::tls::own_names::own_names;
use crate::tls::pair;

/// How far below the directory certificates are looked for: those of each camera have one of their own.
const DEPTH: usize = 2;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    #[command(subcommand)]
    task: Task,
    /// Directory of the certificates [default: certs in data.dir]
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    settings: serve::Options,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make what is missing; what is there and good is kept
    Init(Init),
    /// Say what is there: for which names, until when
    Show,
    /// Make new certificates for HTTPS and broker where they near their end; keys and names stay
    Renew,
}

#[derive(Debug, Args)]
struct Init {
    /// Host names of this machine, beside those that it knows of itself
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<Name>,
    /// Addresses of this machine, beside network.local_ip and network.external_ip
    #[arg(long = "ip", value_name = "ADDRESS")]
    addresses: Vec<IpAddr>,
    /// Make files for this camera alone, with its id as the name in the certificate; otherwise all cameras share theirs
    #[arg(long = "camera", value_name = "ID")]
    cameras: Vec<CameraId>,
    /// Make all anew, authority and keys too: cameras then need their new files, and browsers the new authority
    #[arg(long)]
    force: bool,
}

/// Why it does not go on.
#[derive(Debug, thiserror::Error)]
enum CertsError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("{}: there are no certificates; `apiary certs init` makes some", .0.display())]
    Nothing(PathBuf),
}

pub(super) fn run(options: &Options) -> ExitCode {
    let environment = Environment::from_process();
    let file = options.settings.file(&environment);
    let config = match Config::load(file.as_deref(), &environment) {
        Ok(config) => Some(config),
        // They may be wrong because they name the very files that are to be made.
        Err(errors) if options.dir.is_some() => {
            complain(format_args!(
                "the settings are not used, since they are wrong as yet:\n{errors}"
            ));
            None
        }
        Err(errors) => {
            complain(errors);
            complain("with --dir DIR, certificates can be made without the settings");
            return ExitCode::FAILURE;
        }
    };
    let default = || {
        let data = config.as_ref().map(|config| config.data.dir.clone());
        data.unwrap_or_default().join(DIRECTORY)
    };
    let dir = options.dir.clone().unwrap_or_else(default);
    let done = match &options.task {
        Task::Init(init) => make(&dir, init, config.as_ref()),
        Task::Show => show(&dir),
        Task::Renew => renew(&dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

fn make(dir: &Path, init: &Init, config: Option<&Config>) -> Result<(), CertsError> {
    let asked = init.names.iter().cloned();
    let asked = asked.chain(init.addresses.iter().map(|ip| Name::Ip(ip.to_canonical())));
    let mut names: Vec<Name> = asked.collect();
    for name in own_names(config) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut bundle = Bundle::open(dir, init.force, Timestamp::now())?;
    bundle.https(&names)?;
    bundle.broker(&names)?;
    bundle.service()?;
    if init.cameras.is_empty() {
        bundle.camera(None)?;
    }
    for camera in &init.cameras {
        bundle.camera(Some(*camera))?;
    }
    report(&bundle);
    say(format_args!("\nfor {}\n", name::list(&names)));
    say(settings(dir));
    Ok(())
}

fn report(bundle: &Bundle) {
    for file in &bundle.written {
        let outcome = match file.outcome {
            Outcome::Made => "made",
            Outcome::Renewed => "renewed",
            Outcome::Kept => "kept",
        };
        say(format_args!("{}: {outcome}", file.path.display()));
    }
}

/// What to write into the settings.
fn settings(dir: &Path) -> String {
    let path = |name| bundle::toml_path(dir, name);
    format!(
        "To use them, write into the settings:\n\n[tls]\ncert = {}\nkey = {}\n\n{}\n\n\
         A broker of others gets broker.crt, broker.key and ca.crt; Apiary is then its client with\n\
         mqtt.ca = {}, mqtt.cert = {}, mqtt.key = {}.\n\
         Browsers ask for trust once: import ca.crt there as an authority. Cameras get the three files in {}.\n\
         Whoever has ca.key can make certificates that your browsers and cameras trust: keep a copy in a safe place only.",
        path("https.crt"),
        path("https.key"),
        bundle::broker_settings(dir),
        path(bundle::CA),
        path("service.crt"),
        path("service.key"),
        path(bundle::CAMERAS),
    )
}

/// Certificates of the cameras stay: they live as long as the authority, and somebody has to carry them there.
fn renew(dir: &Path) -> Result<(), CertsError> {
    if !dir.join(bundle::CA).exists() {
        return Err(CertsError::Nothing(dir.to_owned()));
    }
    let mut bundle = Bundle::open(dir, false, Timestamp::now())?;
    bundle.https(&[])?;
    bundle.broker(&[])?;
    bundle.service()?;
    report(&bundle);
    say("A running apiary takes them over by itself; another broker has to be told.");
    Ok(())
}

fn show(dir: &Path) -> Result<(), CertsError> {
    let mut found = false;
    for path in certificates(dir, DEPTH) {
        let leaf = pair::read(&path)
            .ok()
            .and_then(|text| pair::chain(&text).ok()?.into_iter().next());
        if let Some(facts) = leaf.and_then(|leaf| Facts::of(&leaf)) {
            found = true;
            say(description(&path, &facts, Timestamp::now()));
        }
    }
    if found {
        Ok(())
    } else {
        Err(CertsError::Nothing(dir.to_owned()))
    }
}

fn description(path: &Path, facts: &Facts, now: Timestamp) -> String {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    let whom = if facts.names.is_empty() {
        facts.subject.clone()
    } else {
        name::list(&facts.names)
    };
    let issuer = if facts.is_self_signed {
        "itself"
    } else {
        &facts.issuer
    };
    let validity = match facts.validity(now) {
        Validity::Valid => format!(
            "valid until {} ({} days left)",
            day(facts.not_after),
            facts.days_left(now)
        ),
        Validity::NotYet => format!("valid from {} on only", day(facts.not_before)),
        Validity::Expired => format!("ended on {}", day(facts.not_after)),
    };
    format!(
        "{}\n  for {whom}\n  signed by {issuer}\n  {validity}\n  SHA-256 {}",
        path.display(),
        facts.fingerprint
    )
}

/// Files that are named as certificates are, in order.
fn certificates(dir: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let extension = path.extension().unwrap_or_default();
        if path.is_dir() && depth > 0 {
            found.extend(certificates(&path, depth - 1));
        } else if extension == "crt" || extension == "pem" {
            found.push(path);
        }
    }
    found
}
