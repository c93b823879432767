//! Does the broker answer, and are the certificates what they should be?

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;

use super::Report;
use crate::config::values::{BrokerAddress, BrokerTarget};
use crate::config::{Config, MqttConfig};
use crate::mqtt::control::ControlSettings;
use crate::mqtt::{BrokerState, CameraControl, TlsFileError, tls};
use crate::reason::{Code, Reason};

/// Longer than one attempt of the client takes.
const PATIENCE: Duration = Duration::from_secs(12);

/// SHA-256 of the certificate of the old platform's set-up, `CN = Config Server CA`. Its private key is published, so anyone
/// can make certificates that it signed (camera-protocol notes, "Certificates in the field").
const PUBLISHED_AUTHORITY: [u8; 32] = [
    0x6a, 0xd0, 0x2c, 0x68, 0x17, 0x8f, 0xbe, 0xcf, 0x3c, 0x02, 0x9b, 0x95, 0x1c, 0x12, 0xe6, 0x30,
    0x3b, 0x44, 0x33, 0x29, 0x53, 0x26, 0x2b, 0x14, 0x01, 0x8c, 0xbd, 0x19, 0x6d, 0x90, 0xaa, 0x3a,
];

pub(super) async fn examine(config: &Config, report: &mut Report) {
    let mqtt = &config.mqtt;
    if let Some(ca) = &mqtt.tls.ca {
        authority(ca, report);
    }
    match &mqtt.broker {
        BrokerTarget::Embedded => embedded(config, report),
        BrokerTarget::External(address) => external(mqtt, address, report).await,
    }
}

fn authority(path: &Path, report: &mut Report) {
    let Ok(certificates) = CertificateDer::pem_file_iter(path) else {
        return;
    };
    for certificate in certificates.flatten() {
        if digest::digest(&digest::SHA256, &certificate).as_ref() == PUBLISHED_AUTHORITY {
            let text = "this is the authority of the old platform's set-up, whose private key is public: anyone who reaches the broker \
                 can make a certificate for it. Keep the broker off foreign networks, and replace the authority and \
                 the cameras' certificates when you can";
            report.note("mqtt.ca", Reason::new(Code::PublishedAuthority, text));
        }
    }
}

fn embedded(config: &Config, report: &mut Report) {
    let mqtt = &config.mqtt;
    if mqtt.embedded.listen_tls.is_none() {
        if mqtt.embedded.listen.ip().is_loopback() {
            let text = "the embedded broker is for this machine only; cameras need mqtt.listen_tls with certificates";
            report.note("mqtt.broker", Reason::new(Code::BrokerHereOnly, text));
        }
        // That it is open to the network is among the notes of the configuration.
        return;
    }
    match tls::server_config(&mqtt.tls) {
        Ok(_) => {
            let text = "the certificates can be used";
            report.good(
                "mqtt.listen_tls",
                Reason::new(Code::BrokerCertificatesGood, text),
            );
            super::tls::of_broker(config, report);
        }
        Err(error) => report.problem("mqtt.listen_tls", bad_certificates(&error)),
    }
}

async fn external(mqtt: &MqttConfig, address: &BrokerAddress, report: &mut Report) {
    let settings = match ControlSettings::new(mqtt, address.clone()) {
        Ok(settings) => settings,
        Err(error) => return report.problem("mqtt.broker", bad_certificates(&error)),
    };
    let control = CameraControl::start(settings);
    let mut state = control.broker();
    let settled = timeout(
        PATIENCE,
        state.wait_for(|state| *state != BrokerState::Connecting),
    );
    let found = match settled.await {
        Ok(Ok(state)) => state.clone(),
        Ok(Err(_)) | Err(_) => BrokerState::Connecting,
    };
    control.shutdown().await;
    let said = |code, text: String| Reason::new(code, text).with("address", address);
    match found {
        BrokerState::Connected => {
            let text = format!("{address} answers and lets us in");
            report.good("mqtt.broker", said(Code::BrokerAnswers, text));
        }
        BrokerState::Unreachable { cause, .. } => {
            let reason = said(Code::BrokerRefuses, format!("{address}: {cause}"));
            report.problem("mqtt.broker", reason.with("why", cause));
        }
        BrokerState::Connecting => {
            let text = format!("{address} does not answer");
            report.problem("mqtt.broker", said(Code::BrokerSilent, text));
        }
    }
}

fn bad_certificates(error: &TlsFileError) -> Reason {
    Reason::new(Code::BrokerCertificatesBad, error).with("why", error)
}
