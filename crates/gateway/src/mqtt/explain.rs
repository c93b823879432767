//! Why a broker could not be reached, in words that say what to do.

use std::error::Error;
use std::io;

use rumqttc::{ConnectReturnCode, ConnectionError, StateError};
use rustls::{AlertDescription, CertificateError};

use super::tls::MAKE_V3;
use crate::reason::{Code, Reason};

/// What an abrupt end most often means.
const CLOSED: &str =
    "it closed the connection; check whether mqtt.broker should begin with mqtt:// or mqtts://";

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
        return CLOSED.to_owned();
    }
    if matches!(error, ConnectionError::MqttState(StateError::AwaitPingResp)) {
        return "it no longer answers pings".to_owned();
    }
    if matches!(
        error,
        ConnectionError::MqttState(StateError::Deserialization(_))
    ) {
        return format!(
            "it does not speak MQTT on this port ({error}); if it speaks TLS there, write mqtts:// in mqtt.broker"
        );
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
        CLOSED.to_owned()
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
    match advice(error) {
        Some(advice) => format!("TLS: {text}; {advice}"),
        None => format!("TLS: {text}"),
    }
}

fn advice(error: &rustls::Error) -> Option<&'static str> {
    if let rustls::Error::InvalidCertificate(certificate) = error {
        return Some(certificate_advice(certificate));
    }
    if let rustls::Error::AlertReceived(alert) = error {
        return alert_advice(*alert);
    }
    matches!(error, rustls::Error::InvalidMessage(_)).then_some(
        "it does not speak TLS on this port; write mqtt:// in mqtt.broker if that is meant",
    )
}

fn certificate_advice(error: &CertificateError) -> &'static str {
    if matches!(
        error,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    ) {
        "set mqtt.server_name to a name that stands in the certificate, or, as a last resort, mqtt.verify = \"chain\""
    } else if matches!(error, CertificateError::UnknownIssuer) {
        "set mqtt.ca to the authority that signed it"
    } else {
        "the certificate needs to be replaced"
    }
}

/// What an alert of the broker means for our certificate (RFC 8446 §6.2).
fn alert_advice(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as Alert;
    if matches!(alert, Alert::CertificateRequired | Alert::HandshakeFailure) {
        Some("it wants a client certificate; set mqtt.cert and mqtt.key")
    } else if matches!(
        alert,
        Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown | Alert::DecryptError
    ) {
        Some("it does not accept our certificate; check that its authority signed mqtt.cert")
    } else {
        None
    }
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

/// Why a client's TLS handshake with us failed.
pub(super) fn handshake(error: &io::Error) -> Reason {
    let Some(tls) = find::<rustls::Error>(error) else {
        return Reason::new(Code::MqttHungUp, error);
    };
    Reason::new(code_of_handshake(tls), tls_error(tls))
}

fn code_of_handshake(error: &rustls::Error) -> Code {
    use AlertDescription as Alert;
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented,
    };
    if let InvalidCertificate(certificate) = error {
        return code_of_certificate(certificate);
    }
    if let AlertReceived(alert) = error {
        let distrusts = [
            Alert::UnknownCA,
            Alert::BadCertificate,
            Alert::CertificateUnknown,
            Alert::DecryptError,
        ];
        return if *alert == Alert::CertificateExpired {
            Code::MqttItsClock
        } else if distrusts.contains(alert) {
            Code::MqttDistrustsUs
        } else {
            Code::MqttRefused
        };
    }
    if matches!(error, NoCertificatesPresented) {
        Code::MqttNoCertificate
    } else if matches!(error, InvalidMessage(_)) {
        Code::MqttNotTls
    } else {
        Code::MqttRefused
    }
}

fn code_of_certificate(error: &CertificateError) -> Code {
    use CertificateError as Bad;
    if matches!(
        error,
        Bad::Expired
            | Bad::ExpiredContext { .. }
            | Bad::NotValidYet
            | Bad::NotValidYetContext { .. }
    ) {
        Code::MqttCertificateDate
    } else if matches!(error, Bad::UnknownIssuer | Bad::BadSignature) {
        Code::MqttForeignCertificate
    } else {
        Code::MqttRefused
    }
}
