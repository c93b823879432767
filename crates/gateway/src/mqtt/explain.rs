//! Why a broker could not be reached, in words that say what to do.

use std::error::Error;
use std::io;

use rumqttc::{ConnectReturnCode, ConnectionError, StateError};
use rustls::{AlertDescription, CertificateError};

use super::tls::MAKE_V3;

/// The cause of a failed or lost connection.
pub(super) fn connection(error: &ConnectionError) -> String {
    if let Some(tls) = find::<rustls::Error>(error) {
        return tls_error(tls);
    }
    if let ConnectionError::ConnectionRefused(code) = error {
        return refusal(*code);
    }
    if matches!(
        error,
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout
    ) {
        return "it does not answer; check address and firewall".to_owned();
    }
    if matches!(
        error,
        ConnectionError::MqttState(StateError::ConnectionAborted)
    ) {
        return "it closed the connection".to_owned();
    }
    if matches!(error, ConnectionError::MqttState(StateError::AwaitPingResp)) {
        return "it no longer answers pings".to_owned();
    }
    match find::<io::Error>(error) {
        Some(error) => io_error(error),
        None => error.to_string(),
    }
}

fn io_error(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        "connection refused: nothing listens there; is the broker running?".to_owned()
    } else if error.kind() == io::ErrorKind::UnexpectedEof
        || error.kind() == io::ErrorKind::ConnectionAborted
    {
        "it closed the connection; if it speaks TLS on this port, write mqtts:// in mqtt.broker"
            .to_owned()
    } else {
        error.to_string()
    }
}

fn refusal(code: ConnectReturnCode) -> String {
    match code {
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
            "it refuses the login; check mqtt.username and mqtt.password".to_owned()
        }
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1".to_owned(),
        ConnectReturnCode::BadClientId => {
            "it refuses the client id; check mqtt.client_id".to_owned()
        }
        ConnectReturnCode::ServiceUnavailable => "it says that it is unavailable".to_owned(),
        ConnectReturnCode::Success => "it accepted and refused at once".to_owned(),
    }
}

/// What a failed TLS handshake means, on either side of it.
pub(super) fn tls_error(error: &rustls::Error) -> String {
    let text = error.to_string();
    if text.contains("UnsupportedCertVersion")
        || format!("{error:?}").contains("UnsupportedCertVersion")
    {
        return format!("the other side's certificate cannot be checked: {MAKE_V3}");
    }
    let advice = match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "set mqtt.server_name to a name that stands in the certificate, or, as a last resort, mqtt.verify = \"chain\""
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "set mqtt.ca to the authority that signed it"
        }
        rustls::Error::InvalidCertificate(_) => "the certificate needs to be replaced",
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        ) => "it wants a client certificate; set mqtt.cert and mqtt.key",
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError,
        ) => "it does not accept our certificate; check that its authority signed mqtt.cert",
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS on this port; write mqtt:// in mqtt.broker if that is meant"
        }
        _ => return format!("TLS: {text}"),
    };
    format!("TLS: {text}; {advice}")
}

/// The first error of a type among an error and its causes, looking into I/O errors as well.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// What a TLS handshake failed of, where it is known.
pub(super) fn handshake(error: &io::Error) -> String {
    find::<rustls::Error>(error).map_or_else(|| error.to_string(), tls_error)
}
