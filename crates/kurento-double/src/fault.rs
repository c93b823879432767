//! What a Kurento answers when it cannot do what it is asked: code, `data.type` and text, as it was recorded.

use serde_json::{Value, json};

/// The `error` of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcFault {
    /// A code of JSON-RPC (negative) or of Kurento (40000 and up).
    pub code: i64,
    /// The text.
    pub message: String,
    /// `data.type`; faults of JSON-RPC itself have none.
    pub data_type: Option<String>,
}

impl RpcFault {
    /// One of Kurento's own.
    pub fn new(code: i64, data_type: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data_type: Some(data_type.to_owned()),
        }
    }

    fn of_json_rpc(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data_type: None,
        }
    }

    pub(crate) fn invalid_request() -> Self {
        Self::of_json_rpc(-32600, "Invalid JSON-RPC request.")
    }

    pub(crate) fn unknown_method() -> Self {
        Self::of_json_rpc(-32601, "Method not found.")
    }

    /// What comes of an exception that nobody in the server expected.
    pub(crate) fn unexpected(what: &str) -> Self {
        let message = format!("Unexpected error while processing method: {what}");
        Self::of_json_rpc(-32603, message)
    }

    pub(crate) fn parameter_required(name: &str) -> Self {
        Self::of_json_rpc(-32000, format!("'{name}' parameter is required"))
    }

    pub(crate) fn marshalling(message: impl Into<String>) -> Self {
        Self::new(40001, "MARSHALL_ERROR", message)
    }

    pub(crate) fn no_common_pipeline() -> Self {
        let message = "Media elements do not share pipeline";
        Self::new(40004, "CONNECT_ERROR", message)
    }

    pub(crate) fn unknown_operation(name: &str, parameters: usize) -> Self {
        let message = format!("Method '{name}' with {parameters} parameters not found");
        Self::new(40008, "MALFORMED_TRANSACTION", message)
    }

    pub(crate) fn unknown_object(id: &str) -> Self {
        let message = format!("Object '{id}' not found");
        Self::new(40101, "MEDIA_OBJECT_NOT_FOUND", message)
    }

    pub(crate) fn unknown_event(name: &str) -> Self {
        let message = format!("Event '{name}' not supported");
        Self::new(40106, "MEDIA_OBJECT_EVENT_NOT_SUPPORTED", message)
    }

    pub(crate) fn unknown_type(name: &str) -> Self {
        let message = format!("Factory '{name}' not found");
        Self::new(40108, "MEDIA_OBJECT_NOT_AVAILABLE", message)
    }

    pub(crate) fn operation_not_supported(name: &str) -> Self {
        let message = format!("Operation '{name}' not supported");
        Self::new(40111, "MEDIA_OBJECT_OPERATION_NOT_SUPPORTED", message)
    }

    pub(crate) fn bad_sdp(message: &str) -> Self {
        Self::new(40201, "SDP_PARSE_ERROR", message)
    }

    pub(crate) fn already_negotiated() -> Self {
        let message = "Endpoint already negotiated";
        Self::new(40208, "SDP_END_POINT_ALREADY_NEGOTIATED", message)
    }

    pub(crate) fn no_offer_generated() -> Self {
        let message = "Offer not generated. It is not possible to process an answer.";
        Self::new(40209, "SDP_END_POINT_NOT_OFFER_GENERATED", message)
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data_type) = &self.data_type {
            error["data"] = json!({ "type": data_type });
        }
        error
    }
}
