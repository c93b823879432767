//! A certificate and its key, read from PEM files and found to belong together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::facts::{Facts, Validity};
use super::private_file;
use crate::mqtt::tls::MAKE_V3;

/// No file with certificates or a key is longer, in octets.
const MAX_FILE: u64 = 1 << 20;

/// What a server presents, and what it says.
#[derive(Clone, Debug)]
pub struct Pair {
    /// For rustls.
    pub certified: Arc<CertifiedKey>,
    /// About the first certificate of the chain.
    pub facts: Facts,
}

/// Why two files are no pair to present.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The private key is open to others.
    #[error("{}: {open}; run: {}", path.display(), open.command())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// How open.
        open: private_file::OpenToOthers,
    },
    /// There is no certificate in it.
    #[error("{}: no certificate can be read from it: {cause}; give a PEM file", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// There is no private key in it.
    #[error("{}: no private key can be read from it: {cause}; give a PEM file without a password", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The certificate is X.509 version 1.
    #[error("{}: {MAKE_V3}", path.display())]
    Version1 {
        /// The file.
        path: PathBuf,
    },
    /// The key is another's.
    #[error("{} is not the key of the certificate in {}; give the pair", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The key belongs to a certificate, which is not the first.
    #[error("{}: the certificate of {} is not the first in it; put it there, and after it those of its authorities", cert.display(), key.display())]
    NotFirst {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// rustls cannot use them.
    #[error("{}: {cause}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What rustls said.
        cause: String,
    },
    /// It has ended.
    #[error("{}: the certificate ended on {ended}; renew it", path.display())]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// When.
        ended: Timestamp,
    },
}

impl Pair {
    /// Reads both files.
    ///
    /// # Errors
    /// When they cannot be used, whatever their dates.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, PairError> {
        if let Err(open) = private_file::check(key) {
            let path = key.to_owned();
            return Err(PairError::OpenToOthers { path, open });
        }
        let certificates = read(cert)?;
        let key_text = read(key)?;
        Self::from_pem(&certificates, &key_text, cert, key)
    }

    /// As [`Pair::read`], from the content of both files; the paths are for messages.
    ///
    /// # Errors
    /// When they cannot be used, whatever their dates.
    pub fn from_pem(
        certificates: &[u8],
        key_text: &[u8],
        cert: &Path,
        key: &Path,
    ) -> Result<Self, PairError> {
        let chain = chain(certificates).map_err(|cause| PairError::NoCertificate {
            path: cert.to_owned(),
            cause,
        })?;
        let private =
            PrivateKeyDer::from_pem_slice(key_text).map_err(|error| PairError::NoKey {
                path: key.to_owned(),
                cause: pem_cause(&error),
            })?;
        let unreadable = || PairError::NoCertificate {
            path: cert.to_owned(),
            cause: "it is damaged".to_owned(),
        };
        let facts = chain
            .first()
            .and_then(|leaf| Facts::of(leaf))
            .ok_or_else(unreadable)?;
        if facts.is_version_1 {
            let path = cert.to_owned();
            return Err(PairError::Version1 { path });
        }
        let provider = aws_lc_rs::default_provider();
        let is_of_another = |certificate: &CertificateDer<'static>| {
            let alone = vec![certificate.clone()];
            CertifiedKey::from_der(alone, private.clone_key(), &provider).is_ok()
        };
        let is_not_first = chain.iter().skip(1).any(is_of_another);
        let certified = CertifiedKey::from_der(chain, private, &provider).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                let (cert, key) = (cert.to_owned(), key.to_owned());
                if is_not_first {
                    PairError::NotFirst { cert, key }
                } else {
                    PairError::Mismatch { cert, key }
                }
            } else {
                let (path, cause) = (cert.to_owned(), error.to_string());
                PairError::Unusable { path, cause }
            }
        })?;
        Ok(Self {
            certified: Arc::new(certified),
            facts,
        })
    }

    /// Refuses one that has ended, for where a better one is at hand.
    ///
    /// # Errors
    /// [`PairError::Expired`]
    pub fn not_expired(self, cert: &Path, now: Timestamp) -> Result<Self, PairError> {
        match self.facts.validity(now) {
            Validity::Expired => Err(PairError::Expired {
                path: cert.to_owned(),
                ended: self.facts.not_after,
            }),
            Validity::NotYet | Validity::Valid => Ok(self),
        }
    }
}

/// All certificates of a PEM text, at least one.
///
/// # Errors
/// What is wrong with it.
pub fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("it holds none".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(pem_cause(&error)),
    }
}

fn pem_cause(error: &pem::Error) -> String {
    if matches!(error, pem::Error::NoItemsFound) {
        "it holds none".to_owned()
    } else {
        error.to_string()
    }
}

/// The whole of a file that is not too long.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, PairError> {
    use std::io::Read as _;
    let unreadable = |cause: String| PairError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut text = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut text);
    read.map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > MAX_FILE {
        return Err(unreadable("it is too long for a PEM file".to_owned()));
    }
    Ok(text)
}
