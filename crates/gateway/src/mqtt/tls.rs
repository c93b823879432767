//! Certificates and keys for MQTT over TLS: from PEM files to rustls' configurations.
//!
//! rustls takes X.509 v3 only, and many certificates made by hand are v1; that is found here, with the way to mend it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore,
    ServerConfig, SignatureScheme, WantsVerifier,
};

use crate::config::{TlsFiles, Verify};

/// How to make a v3 certificate where a v1 one was found.
pub const MAKE_V3: &str = "it is an X.509 version 1 certificate, which `openssl x509 -req` makes when it is given no \
    extensions; make a version 3 one: openssl x509 -req -in request.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 \
    -extfile <(printf 'basicConstraints=CA:FALSE\\nkeyUsage=digitalSignature,keyEncipherment\\n\
    extendedKeyUsage=serverAuth,clientAuth\\nsubjectAltName=DNS:broker.example,IP:192.168.1.10') -out new.crt";

/// Why a certificate file cannot be used. Each names the configuration key.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// It cannot be read, or is no PEM.
    #[error("{key} = {path}: no certificate can be read from it: {cause}; give a PEM file", path = path.display())]
    Certificates {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// It cannot be read, or holds no private key.
    #[error("{key} = {path}: no private key can be read from it: {cause}; give a PEM file without a password", path = path.display())]
    PrivateKey {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A certificate of our own is X.509 v1.
    #[error("{key} = {path}: {MAKE_V3}", path = path.display())]
    Version1 {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The certificates cannot be used for what they are meant for.
    #[error("{key} = {path}: {cause}", path = path.display())]
    Unusable {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What rustls said.
        cause: String,
    },
    /// No file was given and the system has no list of authorities.
    #[error(
        "the system has no list of certificate authorities ({cause}); set {key} to the one that signed the server's certificate"
    )]
    NoSystemRoots {
        /// The configuration key that would name one.
        key: &'static str,
        /// What was found instead.
        cause: String,
    },
    /// A file is needed that was not given. Validation of the configuration prevents it.
    #[error("{key} is not set, and TLS needs it")]
    Missing {
        /// The configuration key.
        key: &'static str,
    },
}

/// The one set of algorithms that all of this program's TLS uses.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Makes it the default of the process too, for libraries that ask for one. (ring is linked as well, so rustls would not
/// choose by itself.)
pub fn install_crypto_provider() {
    // Fails only if one was installed already, which then is this one.
    _ = aws_lc_rs::default_provider().install_default();
}

/// For connecting to an external broker: trusts `mqtt.ca`, or the system's authorities, and presents `mqtt.cert`.
///
/// # Errors
/// When a file cannot be used.
pub fn client_config(files: &TlsFiles, verify: Verify) -> Result<ClientConfig, TlsFileError> {
    let roots = Arc::new(roots("mqtt.ca", files.ca.as_deref())?);
    let builder = client_builder();
    let builder = match verify {
        Verify::Full => builder.with_root_certificates(roots),
        Verify::Chain => {
            let inner = WebPkiServerVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(|error| TlsFileError::NoSystemRoots {
                    key: "mqtt.ca",
                    cause: error.to_string(),
                })?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyName { inner }))
        }
    };
    match &files.cert {
        None => Ok(builder.with_no_client_auth()),
        Some(path) => {
            let (chain, key) = identity(files)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(path, &error))
        }
    }
}

/// For connecting to a server that wants no certificate of ours: trusts the file that `key` names, or the system's authorities.
///
/// # Errors
/// When the file cannot be used.
pub fn trusting(key: &'static str, ca: Option<&Path>) -> Result<ClientConfig, TlsFileError> {
    let builder = client_builder().with_root_certificates(roots(key, ca)?);
    Ok(builder.with_no_client_auth())
}

fn client_builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
}

fn roots(key: &'static str, ca: Option<&Path>) -> Result<RootCertStore, TlsFileError> {
    match ca {
        Some(path) => authorities(key, path),
        None => system_authorities(key),
    }
}

/// For the embedded broker's TLS listener: presents `mqtt.cert` and takes only clients whose certificate `mqtt.ca` signed.
///
/// # Errors
/// When a file is missing or cannot be used.
pub fn server_config(files: &TlsFiles) -> Result<ServerConfig, TlsFileError> {
    let ca = files
        .ca
        .as_ref()
        .ok_or(TlsFileError::Missing { key: "mqtt.ca" })?;
    let cert = files
        .cert
        .as_ref()
        .ok_or(TlsFileError::Missing { key: "mqtt.cert" })?;
    let roots = Arc::new(authorities("mqtt.ca", ca)?);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| TlsFileError::Unusable {
            key: "mqtt.ca",
            path: ca.clone(),
            cause: error.to_string(),
        })?;
    let (chain, key) = identity(files)?;
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(cert, &error))
}

fn unusable(path: &Path, error: &rustls::Error) -> TlsFileError {
    let cause = if matches!(error, rustls::Error::InconsistentKeys(_)) {
        "mqtt.key is not the key of this certificate; give the pair".to_owned()
    } else {
        error.to_string()
    };
    TlsFileError::Unusable {
        key: "mqtt.cert",
        path: path.to_owned(),
        cause,
    }
}

/// Our own certificate chain and its key. One file may hold both, as the cameras' `mqtt.pem` does.
fn identity(
    files: &TlsFiles,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsFileError> {
    let cert = files
        .cert
        .as_ref()
        .ok_or(TlsFileError::Missing { key: "mqtt.cert" })?;
    let key = files
        .key
        .as_ref()
        .ok_or(TlsFileError::Missing { key: "mqtt.key" })?;
    let chain = certificates("mqtt.cert", cert)?;
    if chain.first().is_some_and(|leaf| is_version_1(leaf)) {
        return Err(TlsFileError::Version1 {
            key: "mqtt.cert",
            path: cert.clone(),
        });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsFileError::PrivateKey {
        key: "mqtt.key",
        path: key.clone(),
        cause: pem_cause(&error),
    })?;
    Ok((chain, key))
}

fn certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let refuse = |cause| TlsFileError::Certificates {
        key,
        path: path.to_owned(),
        cause,
    };
    let read: Result<Vec<_>, _> = match CertificateDer::pem_file_iter(path) {
        Ok(certificates) => certificates.collect(),
        Err(error) => Err(error),
    };
    match read {
        Ok(certificates) if certificates.is_empty() => Err(refuse("it holds none".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(refuse(pem_cause(&error))),
    }
}

fn pem_cause(error: &pem::Error) -> String {
    if let pem::Error::Io(error) = error {
        error.to_string()
    } else if matches!(error, pem::Error::NoItemsFound) {
        "it holds none".to_owned()
    } else {
        error.to_string()
    }
}

/// Authorities may be X.509 v1: only their name and key count.
fn authorities(key: &'static str, path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsFileError::Unusable {
                key,
                path: path.to_owned(),
                cause: error.to_string(),
            })?;
    }
    Ok(roots)
}

fn system_authorities(key: &'static str) -> Result<RootCertStore, TlsFileError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let cause = found
            .errors
            .first()
            .map_or_else(|| "none was found".to_owned(), ToString::to_string);
        return Err(TlsFileError::NoSystemRoots { key, cause });
    }
    Ok(roots)
}

/// Whether a DER certificate lacks the version field, which makes it v1 (RFC 5280 §4.1.2.1): the field is the first of
/// `TBSCertificate` and tagged `[0]`.
fn is_version_1(der: &[u8]) -> bool {
    const VERSION_TAG: u8 = 0xa0;
    let to_be_signed = sequence_content(der).and_then(sequence_content);
    to_be_signed
        .and_then(<[u8]>::first)
        .is_some_and(|tag| *tag != VERSION_TAG)
}

/// The content of a DER SEQUENCE (X.690 §8.1.3), as far as there is any.
fn sequence_content(der: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    let (&[tag, length], rest) = der.split_first_chunk::<2>()?;
    let length_bytes = if length & 0x80 == 0 {
        0
    } else {
        usize::from(length & 0x7f)
    };
    (tag == SEQUENCE).then(|| rest.get(length_bytes..))?
}

/// Checks everything but the name: for a broker whose certificate does not name the address it is reached at.
#[derive(Debug)]
struct AnyName {
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match checked {
            // The name is checked last, so everything else was found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
