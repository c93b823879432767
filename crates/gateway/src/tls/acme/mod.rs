//! A certificate of a public authority, got and renewed by ACME (RFC 8555).
//!
//! [`challenges`] answers the authority's questions, [`order`] is one certificate from the asking to the chain, [`account`] who
//! asks, [`client`] the way there; here is when it is asked for, and what is kept. Whatever goes wrong is said and tried
//! again later; the program goes on with the certificate that it has, or without one.

mod account;
pub(crate) mod challenges;
mod client;
mod error;
mod order;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::facts::{Facts, Validity};
use super::name::{self, Name};
use super::pair::Pair;
use super::private_file::{self, MODE_PRIVATE};
use super::resolver::Resolver;
use crate::backoff::Backoff;
use crate::config::AcmeConfig;

pub(crate) use error::AcmeError;

/// What is kept, in the directory of our own certificates.
const DIRECTORY: &str = "acme";
/// The certificate's chain and its key: one file, so that they change in one step.
const CERTIFICATE: &str = "https.pem";

/// How long all of one attempt may take.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// After the first failure, before it is shortened by up to half. Authorities allow few an hour (Let's Encrypt: five).
const FIRST_RETRY: Duration = Duration::from_secs(10 * 60);
/// The longest wait after a failure.
const LAST_RETRY: Duration = Duration::from_secs(12 * 60 * 60);
/// After a success nothing is asked for so soon, whatever dates the new certificate has.
const REST: Duration = Duration::from_secs(60 * 60);
/// The clock may be set meanwhile, so nobody sleeps longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(15 * 60);

/// Where the certificate of a public authority is kept, under that directory.
pub(crate) fn file(certificates: &Path) -> PathBuf {
    certificates.join(DIRECTORY).join(CERTIFICATE)
}

/// Asks whether the authority is there.
///
/// # Errors
/// When it is not, or is no ACME server.
pub(crate) async fn probe(settings: &AcmeConfig) -> Result<(), AcmeError> {
    client::probe(settings).await
}

/// Gets the certificate, and renews it.
pub(super) struct Acme {
    settings: AcmeConfig,
    dir: PathBuf,
    resolver: Arc<Resolver>,
    backoff: Backoff,
    has_failed: bool,
    /// Nothing is tried before.
    not_before: Timestamp,
}

impl Acme {
    /// Presents the certificate that is kept in that directory, where there is one.
    pub(super) async fn start(
        settings: AcmeConfig,
        certificates: &Path,
        resolver: Arc<Resolver>,
    ) -> Self {
        let file = file(certificates);
        if file.exists() {
            match kept(file).await {
                Ok(pair) => present(&resolver, pair),
                Err(error) => {
                    tracing::error!("the certificate that was kept cannot be used: {error}")
                }
            }
        }
        Self {
            settings,
            dir: certificates.join(DIRECTORY),
            resolver,
            backoff: Backoff::between(FIRST_RETRY, LAST_RETRY),
            has_failed: false,
            not_before: Timestamp::MIN,
        }
    }

    /// Until the end. Who asks has it tried at once where there is something to do, and is answered when that is done.
    pub(super) async fn keep(
        mut self,
        mut asked: mpsc::Receiver<oneshot::Sender<()>>,
        stop: CancellationToken,
    ) {
        loop {
            let wait = self.wait(Timestamp::now());
            let done = tokio::select! {
                () = stop.cancelled() => return,
                Some(done) = asked.recv() => {
                    // After a success it may rest.
                    if self.has_failed {
                        self.not_before = Timestamp::MIN;
                    }
                    Some(done)
                }
                () = sleep(wait) => None,
            };
            if self.wait(Timestamp::now()).is_zero() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.attempt() => {}
                }
            }
            if let Some(done) = done {
                // Who asked may not wait.
                _ = done.send(());
            }
        }
    }

    /// How long nothing is to be done.
    fn wait(&self, now: Timestamp) -> Duration {
        let due = match self.resolver.facts() {
            Some(facts) if self.covers(&facts) => facts.renew_at(),
            Some(_) | None => Timestamp::MIN,
        };
        let wait = due.max(self.not_before).duration_since(now);
        Duration::try_from(wait).map_or(Duration::ZERO, |wait| wait.min(LONGEST_SLEEP))
    }

    fn covers(&self, facts: &Facts) -> bool {
        self.settings.names.iter().all(|name| facts.covers(name))
    }

    async fn attempt(&mut self) {
        let directory = &self.settings.directory;
        tracing::info!(
            names = name::list(&self.settings.names),
            "asking {directory} for a certificate"
        );
        let ordered = timeout(ATTEMPT_PATIENCE, self.order()).await;
        let ordered = ordered.unwrap_or(Err(AcmeError::TooLong));
        self.has_failed = ordered.is_err();
        match ordered {
            Ok(pair) => {
                present(&self.resolver, pair);
                self.backoff.reset();
                self.not_before = later(REST);
            }
            Err(error) => {
                self.not_before = later(self.backoff.pause(&mut rand::rng()));
                let until = self.resolver.facts().map(|facts| facts.not_after);
                let meanwhile = match until {
                    Some(until) => format!("the one from before stays, until {until}"),
                    None => "there is none, so nobody can come over HTTPS".to_owned(),
                };
                tracing::error!(
                    next = %self.not_before,
                    "{directory} gave no certificate, and {meanwhile}: {error}"
                );
            }
        }
    }

    async fn order(&self) -> Result<Pair, AcmeError> {
        let account = account::account(&self.settings, &self.dir).await?;
        let challenges = self.resolver.challenges();
        let made = order::certificate(&account, &self.settings, challenges).await?;
        let file = self.dir.join(CERTIFICATE);
        let text = made.chain + &made.key;
        let pair = Pair::from_pem(text.as_bytes(), text.as_bytes(), &file, &file)
            .map_err(|error| AcmeError::Useless(error.to_string()))?;
        if !self.covers(&pair.facts) || pair.facts.validity(Timestamp::now()) == Validity::Expired {
            let facts = &pair.facts;
            let names = name::list(&facts.names);
            let why = format!("it is for {names}, until {}", facts.not_after);
            return Err(AcmeError::Useless(why));
        }
        // It counts all the same: it is for the next start that it is kept.
        if let Err(error) = write(file, text).await {
            tracing::error!(
                "{error}; the new certificate counts, and is lost with the end of the program"
            );
        }
        Ok(pair)
    }
}

fn later(wait: Duration) -> Timestamp {
    let now = Timestamp::now();
    now.saturating_add(wait).unwrap_or(now)
}

fn present(resolver: &Resolver, pair: Pair) {
    tracing::info!(
        names = name::list(&pair.facts.names),
        until = %pair.facts.not_after,
        "HTTPS with a certificate of {}",
        pair.facts.issuer
    );
    resolver.set(pair);
}

async fn kept(file: PathBuf) -> Result<Pair, AcmeError> {
    on_disk(move || Pair::read(&file, &file).map_err(AcmeError::Read)).await
}

/// A file that only its owner may read.
async fn write(path: PathBuf, text: String) -> Result<(), AcmeError> {
    on_disk(move || {
        private_file::write(&path, &text, MODE_PRIVATE)
            .map_err(|source| AcmeError::Write { path, source })
    })
    .await
}

/// Files take their time, on a thread that may wait.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        // It is not cancelled, since nobody else has its handle.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Names that a certificate can be had for: authorities look at addresses and wildcards in ways that are not ours.
pub(crate) fn can_be_asked_for(name: &Name) -> bool {
    matches!(name, Name::Dns(host) if !host.starts_with("*."))
}
