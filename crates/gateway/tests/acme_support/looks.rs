//! How an authority looks whether a name is a machine: HTTP-01 (RFC 8555 §8.3) and TLS-ALPN-01 (RFC 8737 §3).

use std::net::SocketAddr;
use std::sync::Arc;

use ::aws_lc_rs::digest::{SHA256, digest};
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const PROTOCOL: &[u8] = b"acme-tls/1";
/// id-pe-acmeIdentifier
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// What was found instead, where it is not the right thing.
pub(super) async fn http_01(
    at: SocketAddr,
    name: &str,
    token: &str,
    expected: &str,
) -> Result<(), String> {
    let mut stream = TcpStream::connect(at)
        .await
        .map_err(|error| error.to_string())?;
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    );
    let mut answer = String::new();
    let asked = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    };
    asked.await.map_err(|error| error.to_string())?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    if answer.starts_with("HTTP/1.1 200 ") && body == Some(expected) {
        Ok(())
    } else {
        Err(format!("Invalid response from http://{name}: {answer}"))
    }
}

/// As [`http_01`].
pub(super) async fn tls_alpn_01(at: SocketAddr, name: &str, expected: &str) -> Result<(), String> {
    let mut stream = handshake(at, name).await?;
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(PROTOCOL) {
        return Err("the protocol acme-tls/1 is not spoken".to_owned());
    }
    let chain = connection.peer_certificates().unwrap_or_default();
    let is_right = chain.len() == 1 && proves(&chain[0], name, expected);
    let mut rest = Vec::new();
    // Whoever looks is not served.
    _ = stream.read_to_end(&mut rest).await;
    if is_right && rest.is_empty() {
        Ok(())
    } else {
        Err("Incorrect validation certificate for tls-alpn-01 challenge".to_owned())
    }
}

/// Begins as whoever looks does, and believes any certificate.
pub(crate) async fn handshake(at: SocketAddr, name: &str) -> Result<TlsStream<TcpStream>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    let stream = TcpStream::connect(at)
        .await
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())
}

/// Whether it is for that name alone, and holds the digest in an extension that must be understood.
pub(crate) fn proves(certificate: &CertificateDer<'_>, name: &str, expected: &str) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let digest = digest(&SHA256, expected.as_bytes());
    let value = [&[4, 32], digest.as_ref()].concat();
    let extensions = certificate.extensions();
    let is_named = extensions.iter().any(|extension| {
        matches!(extension.parsed_extension(), ParsedExtension::SubjectAlternativeName(names)
            if names.general_names == [GeneralName::DNSName(name)])
    });
    let is_answer = extensions.iter().any(|extension| {
        extension.oid.to_id_string() == ACME_IDENTIFIER
            && extension.critical
            && extension.value == value
    });
    is_named && is_answer
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
