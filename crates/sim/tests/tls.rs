//! A simulated camera and its broker over TLS, with certificates made for the test.

// Helpers outside of test functions may fail as bluntly as these.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use apiary_sim::{
    Broker, BrokerIdentity, BrokerTls, Simulator, SimulatorConfig, SimulatorError, TlsError,
};
use mqtt5::broker::config::{BrokerConfig, StorageBackend, StorageConfig, TlsConfig};
use mqtt5::broker::server::MqttBroker;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use support::{PATIENCE, small_camera};

/// Certificates in files of a directory that goes with this value.
struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> BrokerIdentity {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        // Certificate and key in one file, as the cameras' `mqtt.pem`.
        let both = self.dir.path().join(format!("{name}.pem"));
        std::fs::write(&both, certificate.pem() + &key.serialize_pem()).unwrap();
        BrokerIdentity {
            cert: both.clone(),
            key: both,
        }
    }
}

fn simulate(port: u16, tls: BrokerTls) -> SimulatorConfig {
    let broker = Broker {
        tls: Some(tls),
        ..Broker::local(port)
    };
    SimulatorConfig {
        reconnect_first: Duration::from_millis(10),
        ..SimulatorConfig::new(broker, vec![small_camera(1)])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_with_its_client_certificate_only_to_a_broker_of_its_authority() {
    // The broker asks rustls for a default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = Authority::new();
    let server = authority.issue("broker", ExtendedKeyUsagePurpose::ServerAuth);
    let tls = TlsConfig::new(server.cert, server.key)
        .with_ca_file(authority.ca())
        .with_require_client_cert(true)
        .with_bind_address((Ipv4Addr::LOCALHOST, 0));
    let config = BrokerConfig::new()
        .with_bind_address((Ipv4Addr::LOCALHOST, 0))
        .with_storage(StorageConfig::new().with_backend(StorageBackend::Memory))
        .with_tls(tls);
    let mut broker = MqttBroker::with_config(config).await.unwrap();
    let port = broker.tls_local_addr().unwrap().port();
    let shutdown = broker.shutdown_handle();
    tokio::spawn(async move { broker.run().await });

    let client = authority.issue("camera", ExtendedKeyUsagePurpose::ClientAuth);
    let trusted = BrokerTls {
        ca: authority.ca(),
        identity: Some(client.clone()),
    };
    let simulator = Simulator::start(simulate(port, trusted)).await.unwrap();
    let camera = simulator.cameras()[0].clone();
    camera
        .wait_for(PATIENCE, |state| state.connected)
        .await
        .unwrap();
    simulator.shutdown().await;

    let another = Authority::new();
    let distrustful = BrokerTls {
        ca: another.ca(),
        identity: Some(client),
    };
    let anonymous = BrokerTls {
        ca: authority.ca(),
        identity: None,
    };
    for refused in [distrustful, anonymous] {
        let simulator = Simulator::start(simulate(port, refused)).await.unwrap();
        let camera = simulator.cameras()[0].clone();
        let connected = camera.wait_for(Duration::from_secs(1), |state| state.connected);
        assert!(connected.await.is_err());
        simulator.shutdown().await;
    }
    shutdown.shutdown();
}

#[tokio::test]
async fn files_that_are_no_certificates_are_named() {
    let authority = Authority::new();
    let text = authority.dir.path().join("notes.txt");
    std::fs::write(&text, "not a certificate").unwrap();
    let missing = authority.dir.path().join("missing.crt");
    for path in [text, missing] {
        let tls = BrokerTls {
            ca: path.clone(),
            identity: None,
        };
        let error = Simulator::start(simulate(1, tls)).await.unwrap_err();
        let SimulatorError::Tls(TlsError::File { path: named, .. }) = error else {
            panic!("{error}");
        };
        assert_eq!(named, path);
    }
}
