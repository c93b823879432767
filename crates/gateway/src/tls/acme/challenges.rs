//! What is answered when an authority comes to see whether a name is this machine.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// Where HTTP-01 looks (RFC 8555 §8.3).
pub(crate) const PATH: &str = "/.well-known/acme-challenge/";
/// The protocol in which TLS-ALPN-01 looks (RFC 8737 §4).
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

/// The answers that are ready, for as long as they are wanted.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    answers: RwLock<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    /// By token.
    http: HashMap<String, String>,
    /// By host name.
    tls: HashMap<String, Arc<CertifiedKey>>,
}

impl Challenges {
    /// The answer of HTTP-01 for a token.
    pub(crate) fn answer(&self, token: &str) -> Option<String> {
        self.read(|answers| answers.http.get(token).cloned())
    }

    /// The certificate of TLS-ALPN-01 for a host name.
    pub(crate) fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.read(|answers| answers.tls.get(&host.to_ascii_lowercase()).cloned())
    }

    /// Answers HTTP-01 until what is given back is dropped.
    pub(super) fn arm_http(self: &Arc<Self>, token: &str, answer: &str) -> Armed {
        let (token, answer) = (token.to_owned(), answer.to_owned());
        self.write(|answers| answers.http.insert(token.clone(), answer));
        self.armed(Key::Token(token))
    }

    /// Answers TLS-ALPN-01 until what is given back is dropped.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub(super) fn arm_tls(
        self: &Arc<Self>,
        host: &str,
        digest: &[u8],
    ) -> Result<Armed, rcgen::Error> {
        let certificate = Arc::new(proof(host, digest)?);
        let host = host.to_ascii_lowercase();
        self.write(|answers| answers.tls.insert(host.clone(), certificate));
        Ok(self.armed(Key::Host(host)))
    }

    fn armed(self: &Arc<Self>, key: Key) -> Armed {
        Armed {
            challenges: Arc::clone(self),
            key,
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Answers) -> T) -> T {
        look(&self.answers.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Answers) -> T) -> T {
        change(&mut self.answers.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An answer that is ready.
#[derive(Debug)]
pub(super) struct Armed {
    challenges: Arc<Challenges>,
    key: Key,
}

#[derive(Debug)]
enum Key {
    Token(String),
    Host(String),
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.challenges.write(|answers| match &self.key {
            Key::Token(token) => drop(answers.http.remove(token)),
            Key::Host(host) => drop(answers.tls.remove(host)),
        });
    }
}

/// A certificate that nobody trusts and that says what was asked (RFC 8737 §3).
fn proof(host: &str, digest: &[u8]) -> Result<CertifiedKey, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new([host.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![certificate.der().clone()];
    // Not `from_der`: it would refuse the extension, which is critical and means nothing to it.
    let key = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(private)
        .map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok(CertifiedKey::new(chain, key))
}
