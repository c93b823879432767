//! Certificates as installations have them, made for one test.

use std::path::{Path, PathBuf};

use apiary::config::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

/// A certificate authority with a broker's and a client's certificate, in PEM files.
pub(crate) struct Authority {
    pub(crate) dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// The broker's own, valid for these names.
    pub(crate) fn broker(&self, names: &[&str]) -> TlsFiles {
        self.issue("broker", names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The one that all cameras of a household share.
    pub(crate) fn client(&self) -> TlsFiles {
        self.issue("camera_client", &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// One client's own, with its name as common name.
    pub(crate) fn client_named(&self, name: &str) -> TlsFiles {
        self.issue(name, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, name: &str, names: &[&str], usage: ExtendedKeyUsagePurpose) -> TlsFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.dir.path().join(format!("{name}.{end}"));
        std::fs::write(path("crt"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        // Mosquitto drops its privileges and must still read them.
        for file in [path("crt"), path("key"), self.ca()] {
            make_readable(&file);
        }
        make_readable(self.dir.path());
        TlsFiles {
            ca: Some(self.ca()),
            cert: Some(path("crt")),
            key: Some(path("key")),
        }
    }
}

fn make_readable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
