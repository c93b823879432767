//! What a certificate says: for whom it is, from when until when, and by whom.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PublicKeyData as _};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{X509Name, X509Version};

use super::name::Name;

/// What is read out of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The common name of its subject, empty where it has none.
    pub subject: String,
    /// The common name of its issuer, empty where it has none.
    pub issuer: String,
    /// Whom it is for.
    pub names: Vec<Name>,
    /// Valid from then on.
    pub not_before: Timestamp,
    /// Valid until then.
    pub not_after: Timestamp,
    /// SHA-256 of it, as browsers show it.
    pub fingerprint: String,
    /// It vouches for itself.
    pub is_self_signed: bool,
    /// X.509 version 1, which TLS libraries refuse.
    pub is_version_1: bool,
}

/// Where a point in time lies to a certificate's dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Before its first day.
    NotYet,
    /// Within.
    Valid,
    /// After its last day.
    Expired,
}

impl Facts {
    /// Reads a certificate in DER; `None` where it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(Self {
            subject: common_name(certificate.subject()),
            issuer: common_name(certificate.issuer()),
            names: names(&certificate),
            not_before: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
            not_after: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
            fingerprint: fingerprint(der),
            is_self_signed: certificate.verify_signature(None).is_ok(),
            is_version_1: certificate.version() == X509Version::V1,
        })
    }

    /// Whether it is for that host.
    pub fn covers(&self, host: &Name) -> bool {
        self.names.iter().any(|name| name.covers(host))
    }

    /// Whether it is valid at that time.
    pub fn validity(&self, now: Timestamp) -> Validity {
        if now < self.not_before {
            Validity::NotYet
        } else if now > self.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }

    /// When two thirds of its life are over.
    pub fn renew_at(&self) -> Timestamp {
        let life = self.not_after.duration_since(self.not_before);
        self.not_before
            .saturating_add(life * 2 / 3)
            .unwrap_or(self.not_after)
    }

    /// Whole days until it ends, 0 when it has.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        const DAY: SignedDuration = SignedDuration::from_hours(24);
        (self.not_after.duration_since(now).as_secs() / DAY.as_secs()).max(0)
    }
}

/// Whether `issuer` signed `certificate`, both in DER.
pub fn is_signed_by(certificate: &[u8], issuer: &[u8]) -> bool {
    let (Ok((_, certificate)), Ok((_, issuer))) = (
        X509Certificate::from_der(certificate),
        X509Certificate::from_der(issuer),
    ) else {
        return false;
    };
    certificate
        .verify_signature(Some(issuer.public_key()))
        .is_ok()
}

/// Whether the certificate says where that of its issuer can be fetched (RFC 5280 §4.2.2.1). Those of public authorities do:
/// browsers do not know their issuers and want them sent along.
pub fn names_issuer_elsewhere(certificate: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    certificate.extensions().iter().any(|extension| {
        matches!(extension.parsed_extension(), ParsedExtension::AuthorityInfoAccess(access)
            if access.accessdescs.iter().any(|one| one.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS))
    })
}

/// Whether the certificate is for that key.
pub fn is_of_key(certificate: &[u8], key: &KeyPair) -> bool {
    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, certificate)| certificate.public_key().raw == key.subject_public_key_info())
}

fn common_name(name: &X509Name<'_>) -> String {
    let first = name.iter_common_name().next();
    first
        .and_then(|name| name.as_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<Name> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for name in &extension.value.general_names {
        if let GeneralName::DNSName(name) = name {
            names.extend(name.parse::<Name>().ok());
        } else if let GeneralName::IPAddress(octets) = name {
            names.extend(address(octets).map(Name::Ip));
        }
    }
    names
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

fn fingerprint(der: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let octets: Vec<String> = digest
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    octets.join(":")
}
