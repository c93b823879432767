//! Whose a client's certificate is: its common name. That it is valid, and signed by `mqtt.ca`, was found out in the
//! handshake.

use rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

use super::access::CertificateName;

/// Why a certificate names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    #[error("its certificate cannot be read")]
    Unreadable,
    #[error(
        "its certificate has no common name, or more than one; make one with a camera's id as common name"
    )]
    NotOne,
}

/// The common name of a certificate. With none or several it could be taken for different clients'.
pub(super) fn name(certificate: &CertificateDer<'_>) -> Result<CertificateName, NameError> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| NameError::Unreadable)?;
    let mut names = parsed.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(NameError::NotOne);
    };
    let name = name.as_str().map_err(|_| NameError::Unreadable)?;
    Ok(match name.parse() {
        Ok(camera) => CertificateName::Camera(camera),
        Err(_) => CertificateName::Other(name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    const ID: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";

    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (i, name) in names.iter().enumerate() {
            // The second one of the same kind only fits by its number.
            let kind = match i {
                0 => DnType::CommonName,
                _ => DnType::CustomDnType(vec![2, 5, 4, 3]),
            };
            params.distinguished_name.push(kind, *name);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_camera_id_makes_it_that_cameras() {
        let camera = CertificateName::Camera(ID.parse().unwrap());
        assert_eq!(name(&certificate(&[ID])), Ok(camera.clone()));
        assert_eq!(name(&certificate(&[&ID.to_lowercase()])), Ok(camera));
        let shared = CertificateName::Other("camera_client".to_owned());
        assert_eq!(name(&certificate(&["camera_client"])), Ok(shared));
    }

    #[test]
    fn none_or_several_names_are_refused() {
        assert_eq!(name(&certificate(&[])), Err(NameError::NotOne));
        assert_eq!(name(&certificate(&[ID, "other"])), Err(NameError::NotOne));
        assert_eq!(
            name(&CertificateDer::from(vec![0x30, 0x80, 1])),
            Err(NameError::Unreadable)
        );
    }
}
