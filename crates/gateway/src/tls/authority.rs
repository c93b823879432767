//! A local certificate authority, for a household that has no other.
//!
//! Cameras run the AWS IoT device SDK 2.1.1, whose mbedTLS is known to take RSA (certificates in the field are RSA, leafs of
//! 2048 bits under larger authorities); whether it was built with elliptic curves is not known. So what a camera has to
//! verify or hold is RSA: the authority, the broker's certificate, the cameras'. Browsers take P-256 as well, which is
//! cheaper to sign with, so that is what HTTPS gets.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::facts::Facts;
use super::name::Name;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Life of the authority, and of what is put on cameras, where nobody likes to go each year.
const LONG_LIFE: Duration = DAY.saturating_mul(3650);
/// Life of a server's certificate for browsers: Apple's take none that lives longer than 825 days.
const HTTPS_LIFE: Duration = DAY.saturating_mul(800);
/// Certificates are valid from a little earlier on, for clocks that are slow.
const EARLIER: Duration = DAY;

/// The longest common name (RFC 5280, `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("a certificate cannot be made: {0}")]
pub struct MakeError(#[from] rcgen::Error);

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A server for browsers.
    Https,
    /// A broker for cameras.
    Broker,
    /// A camera, or this program, at a broker: the name by which it is known there.
    Client(String),
}

/// An authority that can sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    ends: Timestamp,
}

impl Authority {
    /// A new one; gives its certificate in PEM too.
    ///
    /// # Errors
    /// When the system has no randomness, or such.
    pub fn create(now: Timestamp) -> Result<(Self, String), MakeError> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072)?;
        let mut params = CertificateParams::default();
        // Browsers take two authorities of the same name for one.
        let name = format!("Apiary local CA {:08x}", rand::random::<u32>());
        params.distinguished_name = distinguished_name(&name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ends = lifetime(&mut params, now, LONG_LIFE);
        let made = params.self_signed(&key)?;
        let authority = Self {
            issuer: Issuer::new(params, key),
            der: made.der().clone(),
            ends,
        };
        Ok((authority, made.pem()))
    }

    /// One that exists.
    ///
    /// # Errors
    /// When the certificate is no authority's.
    pub fn from_parts(der: CertificateDer<'static>, key: KeyPair) -> Result<Self, MakeError> {
        let facts = Facts::of(&der).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        let ends = facts.not_after;
        Ok(Self { issuer, der, ends })
    }

    /// Its certificate.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Its key in PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate in PEM, for these names.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn issue(
        &self,
        purpose: &Purpose,
        names: &[Name],
        key: &KeyPair,
        now: Timestamp,
    ) -> Result<String, MakeError> {
        let mut params = CertificateParams::default();
        for name in names {
            params.subject_alt_names.push(match name {
                Name::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
                Name::Ip(ip) => SanType::IpAddress(*ip),
            });
        }
        let first = names.first().map_or_else(String::new, ToString::to_string);
        let first: String = first.chars().take(MAX_COMMON_NAME).collect();
        let (common_name, usage, life) = match purpose {
            Purpose::Https => (&first, ExtendedKeyUsagePurpose::ServerAuth, HTTPS_LIFE),
            Purpose::Broker => (&first, ExtendedKeyUsagePurpose::ServerAuth, LONG_LIFE),
            Purpose::Client(name) => (name, ExtendedKeyUsagePurpose::ClientAuth, LONG_LIFE),
        };
        params.distinguished_name = distinguished_name(common_name);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        // Firefox refuses two certificates of one authority with the same number, so a renewed one needs another.
        let mut serial: [u8; 16] = rand::random();
        serial[0] = serial[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.use_authority_key_identifier_extension = true;
        let until_authority_ends = self.ends.duration_since(now);
        let life = life.min(until_authority_ends.try_into().unwrap_or_default());
        lifetime(&mut params, now, life);
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}

/// A key for that purpose.
///
/// # Errors
/// When the system has no randomness, or such.
pub fn generate_key(purpose: &Purpose) -> Result<KeyPair, MakeError> {
    Ok(match purpose {
        Purpose::Https => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        Purpose::Broker | Purpose::Client(_) => {
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?
        }
    })
}

fn distinguished_name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Sets from when until when; the latter is given back.
fn lifetime(params: &mut CertificateParams, now: Timestamp, life: Duration) -> Timestamp {
    let epoch = date_time_ymd(1970, 1, 1);
    let now_s = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
    params.not_before = epoch + now_s.saturating_sub(EARLIER);
    params.not_after = epoch + now_s + life;
    now.saturating_add(life).unwrap_or(now)
}
