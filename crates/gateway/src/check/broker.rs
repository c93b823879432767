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
use crate::mqtt::{BrokerState, CameraControl, tls};

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
        BrokerTarget::Embedded => embedded(mqtt, report),
        BrokerTarget::External(address) => external(mqtt, address, report).await,
    }
}

fn authority(path: &Path, report: &mut Report) {
    let Ok(certificates) = CertificateDer::pem_file_iter(path) else {
        return;
    };
    for certificate in certificates.flatten() {
        if digest::digest(&digest::SHA256, &certificate).as_ref() == PUBLISHED_AUTHORITY {
            report.note(
                "mqtt.ca",
                "this is the authority of the old platform's set-up, whose private key is public: anyone who reaches the broker \
                 can make a certificate for it. Keep the broker off foreign networks, and replace the authority and \
                 the cameras' certificates when you can",
            );
        }
    }
}

fn embedded(mqtt: &MqttConfig, report: &mut Report) {
    if mqtt.embedded.listen_tls.is_none() {
        if mqtt.embedded.listen.ip().is_loopback() {
            let text = "the embedded broker is for this machine only; cameras need mqtt.listen_tls with certificates";
            report.note("mqtt.broker", text);
        }
        // That it is open to the network is among the notes of the configuration.
        return;
    }
    match tls::server_config(&mqtt.tls) {
        Ok(_) => {
            report.good("mqtt.listen_tls", "the certificates can be used");
            super::tls::of_broker(&mqtt.tls, report);
        }
        Err(error) => report.problem("mqtt.listen_tls", error.to_string()),
    }
}

async fn external(mqtt: &MqttConfig, address: &BrokerAddress, report: &mut Report) {
    let settings = match ControlSettings::new(mqtt, address.clone()) {
        Ok(settings) => settings,
        Err(error) => return report.problem("mqtt.broker", error.to_string()),
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
    match found {
        BrokerState::Connected => {
            report.good("mqtt.broker", format!("{address} answers and lets us in"))
        }
        BrokerState::Unreachable { cause, .. } => {
            report.problem("mqtt.broker", format!("{address}: {cause}"))
        }
        BrokerState::Connecting => {
            report.problem("mqtt.broker", format!("{address} does not answer"))
        }
    }
}
