//! Error replies, typed by their code.

use serde_json::Value;

/// What an error code means to us. Codes from 40000 on are Kurento's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcErrorKind {
    /// -32600: valid JSON that is no request.
    InvalidRequest,
    /// -32601
    UnknownMethod,
    /// -32603: the server's own fault, or parameters that are no object.
    Internal,
    /// -32000: `object`, `operation` or `type` is missing.
    MissingParameter,
    /// 40001: a parameter of a call is missing or of another type.
    BadParameter,
    /// 40004: two elements cannot be connected.
    Connect,
    /// 40008: the object has no such operation.
    UnknownOperation,
    /// 40101: the object does not exist (any more).
    UnknownObject,
    /// 40106: the object has no such event; 7.x no longer knows the `On…` names of 6.x.
    UnknownEvent,
    /// 40108: no such type, as when a module is not installed.
    UnknownType,
    /// 40111: the operation exists, but this kind of object cannot do it.
    Unsupported,
    /// 40201: the SDP cannot be read.
    BadSdp,
    /// 40208: a second `processOffer` on one endpoint.
    AlreadyNegotiated,
    /// 40209: `processAnswer` without an offer before.
    NoOffer,
    /// Any other.
    Other,
}

impl RpcErrorKind {
    /// What a code means.
    pub fn of_code(code: i64) -> Self {
        match code {
            -32600 => Self::InvalidRequest,
            -32601 => Self::UnknownMethod,
            -32603 => Self::Internal,
            -32000 => Self::MissingParameter,
            40001 => Self::BadParameter,
            40004 => Self::Connect,
            40008 => Self::UnknownOperation,
            40101 => Self::UnknownObject,
            40106 => Self::UnknownEvent,
            40108 => Self::UnknownType,
            40111 => Self::Unsupported,
            40201 => Self::BadSdp,
            40208 => Self::AlreadyNegotiated,
            40209 => Self::NoOffer,
            _ => Self::Other,
        }
    }
}

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (error {code})")]
pub struct RpcError {
    /// As the server gave it.
    pub code: i64,
    /// The server's text, without its line ends.
    pub message: String,
}

/// Longer texts are cut: they end up in logs and in what users read.
const MAX_MESSAGE_CHARS: usize = 300;

impl RpcError {
    /// What the code means.
    pub fn kind(&self) -> RpcErrorKind {
        RpcErrorKind::of_code(self.code)
    }

    /// Reads the `error` member of a reply; what is missing in it is made up.
    pub(super) fn from_value(error: &Value) -> Self {
        let message = error.get("message").and_then(Value::as_str);
        let message = message.unwrap_or("an error without a text");
        Self {
            code: error.get("code").and_then(Value::as_i64).unwrap_or(0),
            message: message
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .take(MAX_MESSAGE_CHARS)
                .collect(),
        }
    }
}
