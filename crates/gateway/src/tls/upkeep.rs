//! Keeps the certificate good while the program runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::acme::Acme;
use super::bundle::{Bundle, BundleError, Outcome};
use super::https::Https;
use super::name::{self, Name};
use super::own_names::own_names;
use super::pair::{Pair, PairError};
use super::resolver::Resolver;
use super::watch::FileWatch;
use crate::config::{CertificateSource, Config};

/// Directory of our own certificates, in `data.dir`.
pub const DIRECTORY: &str = "certs";
/// How often certificate files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How often it is asked whether a certificate of our own is due.
const RENEW_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// Most looks that wait.
const MAX_LOOKS: usize = 4;

/// Why there is no certificate to begin with.
#[derive(Debug, thiserror::Error)]
pub enum TlsStartError {
    /// The files cannot be used.
    #[error("tls: {0}")]
    Pair(#[from] PairError),
    /// One of our own cannot be made.
    #[error("tls.mode = \"self-signed\": {0}")]
    Bundle(#[from] BundleError),
}

/// The certificate of the HTTP side, kept good by a task.
pub struct Tls {
    https: Https,
    looks: mpsc::Sender<oneshot::Sender<()>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Tls {
    /// Gets the certificate that the configuration names, and keeps it good; `None` where HTTPS is off.
    ///
    /// # Errors
    /// When there is none to begin with.
    pub async fn start(config: &Config) -> Result<Option<Self>, TlsStartError> {
        let resolver = Arc::new(Resolver::default());
        let tls = &config.tls;
        let certificates = config.data.dir.join(DIRECTORY);
        let (looks, asked) = mpsc::channel(MAX_LOOKS);
        let stop = CancellationToken::new();
        let port = tls.public_port.unwrap_or_else(|| first_port(config));
        let started = |https: Https, task| Self {
            https,
            looks,
            stop: stop.clone(),
            task,
        };
        let (mut keeper, hsts_days) = match &tls.source {
            CertificateSource::None => return Ok(None),
            CertificateSource::Acme(settings) => {
                let at = Arc::clone(&resolver);
                let acme = Acme::start(settings.clone(), &certificates, at).await;
                let https = Https::new(resolver, tls.hsts_days, port, &settings.names);
                let task = tokio::spawn(acme.keep(asked, stop.clone()));
                return Ok(Some(started(https, task)));
            }
            CertificateSource::Files { cert, key } => {
                let watch = FileWatch::start(cert, key, Arc::clone(&resolver))?;
                (Keeper::Files(watch), tls.hsts_days)
            }
            // Who trusts no authority of ours can go past the browser's warning, which HSTS would forbid.
            CertificateSource::SelfSigned { names } => {
                let own = OwnCertificate {
                    dir: certificates,
                    names: names.clone(),
                    config: Box::new(config.clone()),
                    resolver: Arc::clone(&resolver),
                };
                (Keeper::Own(own), 0)
            }
        };
        if let Keeper::Own(own) = keeper {
            let (own, made) = off_thread(own, |own| own.ensure(Timestamp::now())).await;
            made?;
            keeper = Keeper::Own(own);
        }
        let https = Https::new(resolver, hsts_days, port, &[]);
        let task = tokio::spawn(keep(keeper, asked, stop.clone()));
        Ok(Some(started(https, task)))
    }

    /// For the HTTP side.
    pub fn https(&self) -> Https {
        self.https.clone()
    }

    /// Looks now whether files have changed, or a certificate is due; what is given back resolves when that is done. Where several looks are asked for
    /// already, one more is not needed.
    pub fn reload(&self) -> oneshot::Receiver<()> {
        let (done, looked) = oneshot::channel();
        // The task is busy with just that, or it ends.
        _ = self.looks.try_send(done);
        looked
    }

    /// Ends the task.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that keeps the certificate failed");
        }
    }
}

fn first_port(config: &Config) -> u16 {
    let first = config.http.listen.first();
    first.map_or(0, std::net::SocketAddr::port)
}

/// What is done, by where the certificate comes from.
enum Keeper {
    Files(FileWatch),
    Own(OwnCertificate),
}

impl Keeper {
    fn every(&self) -> Duration {
        match self {
            Self::Files(_) => LOOK_EVERY,
            Self::Own(_) => RENEW_EVERY,
        }
    }

    fn look(&mut self, at_once: bool) {
        let now = Timestamp::now();
        match self {
            Self::Files(watch) => watch.look(at_once, now),
            Self::Own(own) => {
                if let Err(error) = own.ensure(now) {
                    tracing::error!("the certificate cannot be renewed: {error}");
                }
            }
        }
    }
}

async fn keep(
    mut keeper: Keeper,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
    stop: CancellationToken,
) {
    let mut ticks = interval(keeper.every());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await; // the first is at once
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            Some(done) = asked.recv() => Some(done),
            _ = ticks.tick() => None,
        };
        let at_once = done.is_some();
        (keeper, ()) = off_thread(keeper, move |keeper| keeper.look(at_once)).await;
        if let Some(done) = done {
            // Who asked may not wait.
            _ = done.send(());
        }
    }
}

/// Files and keys take their time, on a thread that may wait.
async fn off_thread<S, T>(mut subject: S, work: impl FnOnce(&mut S) -> T + Send + 'static) -> (S, T)
where
    S: Send + 'static,
    T: Send + 'static,
{
    let done = spawn_blocking(move || {
        let result = work(&mut subject);
        (subject, result)
    });
    match done.await {
        Ok(done) => done,
        // It is not cancelled, since nobody else has its handle.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A certificate that our own authority signs.
struct OwnCertificate {
    dir: PathBuf,
    names: Vec<Name>,
    config: Box<Config>,
    resolver: Arc<Resolver>,
}

impl OwnCertificate {
    /// Makes what is missing or due, and presents it.
    fn ensure(&mut self, now: Timestamp) -> Result<(), TlsStartError> {
        let mut names = self.names.clone();
        for name in own_names(Some(&self.config)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut bundle = Bundle::open(&self.dir, false, now)?;
        let (cert, key) = bundle.https(&names)?;
        let is_new = bundle
            .written
            .iter()
            .any(|file| file.path == cert && file.outcome != Outcome::Kept);
        let pair = Pair::read(&cert, &key)?;
        if is_new || self.resolver.facts().is_none() {
            tracing::info!(
                names = name::list(&pair.facts.names),
                until = %pair.facts.not_after,
                fingerprint = pair.facts.fingerprint,
                "HTTPS with a certificate of our own; import {} into browsers as an authority, and they trust it",
                self.dir.join(super::bundle::CA).display()
            );
        }
        self.resolver.set(pair);
        Ok(())
    }
}
