//! A camera's TLS towards the broker: one trusted authority, one client certificate, both from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::BrokerTls;

/// A camera's certificate files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is no PEM of the right kind.
    #[error("{path}: {cause}; give a PEM file with {wanted}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// What is wrong.
        cause: pem::Error,
    },
    /// rustls refuses what is in a file.
    #[error("{path} cannot be used", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// TLS as the cameras do it: version 1.2.
pub(crate) fn client_config(files: &BrokerTls) -> Result<Arc<ClientConfig>, TlsError> {
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Refused { path, source }
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.ca)? {
        roots.add(authority).map_err(refused(&files.ca))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .map_err(refused(&files.ca))?
        .with_root_certificates(roots);
    let config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_file(&identity.key)
                .map_err(unreadable(&identity.key, "a private key"))?;
            builder
                .with_client_auth_cert(certificates(&identity.cert)?, key)
                .map_err(refused(&identity.cert))?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wanted = "a certificate";
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(path, wanted))?;
    if certificates.is_empty() {
        return Err(unreadable(path, wanted)(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn unreadable(path: &Path, wanted: &'static str) -> impl FnOnce(pem::Error) -> TlsError {
    let path = path.to_owned();
    move |cause| TlsError::File {
        path,
        wanted,
        cause,
    }
}
