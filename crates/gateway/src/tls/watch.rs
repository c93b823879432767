//! Certificate files that are replaced while the program runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::facts::Validity;
use super::name;
use super::pair::{self, Pair, PairError};
use super::resolver::Resolver;

/// Days before its end from which on a certificate is warned of.
const WARN_DAYS: i64 = 14;
/// How often it is warned of.
const WARN_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// A pair of files that is looked at from time to time.
pub(super) struct FileWatch {
    cert: PathBuf,
    key: PathBuf,
    resolver: Arc<Resolver>,
    /// What was last taken or refused.
    judged: Option<Digest>,
    /// What was there at the last look and is not judged yet.
    pending: Option<Digest>,
    warned: Option<Timestamp>,
}

/// SHA-256 of both files; `None` where one cannot be read.
type Digest = Option<[u8; 32]>;

impl FileWatch {
    /// Reads both files for the first time.
    ///
    /// # Errors
    /// When they are no pair.
    pub(super) fn start(
        cert: &Path,
        key: &Path,
        resolver: Arc<Resolver>,
    ) -> Result<Self, PairError> {
        let judged = Some(digest(cert, key));
        let pair = Pair::read(cert, key)?;
        tracing::info!(
            names = name::list(&pair.facts.names),
            until = %pair.facts.not_after,
            "HTTPS with the certificate in {}",
            cert.display()
        );
        resolver.set(pair);
        let mut watch = Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            resolver,
            judged,
            pending: None,
            warned: None,
        };
        watch.warn_of_the_end(Timestamp::now());
        Ok(watch)
    }

    /// Looks whether they have changed. Unless it is to be `at_once`, a change counts when it is still there at the next look:
    /// two files are not replaced in one step.
    pub(super) fn look(&mut self, at_once: bool, now: Timestamp) {
        let there = digest(&self.cert, &self.key);
        if self.judged == Some(there) {
            self.pending = None;
        } else if at_once || self.pending == Some(there) {
            self.judged = Some(there);
            self.pending = None;
            self.judge(now);
        } else {
            self.pending = Some(there);
        }
        self.warn_of_the_end(now);
    }

    fn judge(&mut self, now: Timestamp) {
        match self.replacement(now) {
            Ok(pair) => {
                tracing::info!(
                    names = name::list(&pair.facts.names),
                    until = %pair.facts.not_after,
                    "the certificate in {} was replaced; it counts from now on",
                    self.cert.display()
                );
                self.warned = None;
                self.resolver.set(pair);
            }
            Err(error) => tracing::error!(
                "the certificate files have changed and cannot be used, so the certificate from before stays: {error}"
            ),
        }
    }

    /// One that has ended does not take the place of one that has not.
    fn replacement(&self, now: Timestamp) -> Result<Pair, PairError> {
        let pair = Pair::read(&self.cert, &self.key)?;
        let is_good = |facts: &super::facts::Facts| facts.validity(now) != Validity::Expired;
        if self.resolver.facts().as_ref().is_some_and(is_good) {
            pair.not_expired(&self.cert, now)
        } else {
            Ok(pair)
        }
    }

    fn warn_of_the_end(&mut self, now: Timestamp) {
        let Some(facts) = self.resolver.facts() else {
            return;
        };
        let warned_lately = self
            .warned
            .is_some_and(|warned| now.duration_since(warned) < WARN_EVERY);
        if facts.days_left(now) >= WARN_DAYS || warned_lately {
            return;
        }
        self.warned = Some(now);
        let cert = self.cert.display();
        match facts.validity(now) {
            Validity::Expired => tracing::error!(
                "the certificate in {cert} ended on {}: browsers refuse it; replace it",
                facts.not_after
            ),
            Validity::Valid => tracing::warn!(
                "the certificate in {cert} ends on {}; replace it before",
                facts.not_after
            ),
            Validity::NotYet => tracing::warn!(
                "the certificate in {cert} is valid from {} on only; is this machine's clock right?",
                facts.not_before
            ),
        }
    }
}

fn digest(cert: &Path, key: &Path) -> Digest {
    use aws_lc_rs::digest::{Context, SHA256};
    let mut context = Context::new(&SHA256);
    for path in [cert, key] {
        let content = pair::read(path).ok()?;
        context.update(&content.len().to_be_bytes());
        context.update(&content);
    }
    context.finish().as_ref().try_into().ok()
}
