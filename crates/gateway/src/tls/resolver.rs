//! Which certificate a handshake is answered with.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::acme::challenges::{Challenges, PROTOCOL};
use super::facts::Facts;
use super::name::Name;
use super::pair::Pair;

/// Holds the certificate that is presented; a new one counts from the next handshake on, and open connections keep theirs.
#[derive(Default)]
pub(super) struct Resolver {
    current: RwLock<Option<Pair>>,
    challenges: Arc<Challenges>,
}

impl Resolver {
    /// Presents this one from now on.
    pub(super) fn set(&self, pair: Pair) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(pair);
    }

    /// What the certificate says that is presented, where there is one.
    pub(super) fn facts(&self) -> Option<Facts> {
        self.read(|pair| pair.facts.clone())
    }

    /// Whether the certificate is for that host.
    pub(super) fn covers(&self, host: &Name) -> bool {
        self.read(|pair| pair.facts.covers(host)).unwrap_or(false)
    }

    /// What authorities are answered that come to look.
    pub(super) fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    fn read<T>(&self, look: impl FnOnce(&Pair) -> T) -> Option<T> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(look)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Who comes to look says that and nothing else, and is shown nothing else (RFC 8737 §3).
        if hello.alpn().is_some_and(|offered| offered.eq([PROTOCOL])) {
            return self.challenges.certificate(hello.server_name()?);
        }
        self.read(|pair| Arc::clone(&pair.certified))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("facts", &self.facts())
            .finish()
    }
}
