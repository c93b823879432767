//! What a failed request is answered with: one place that maps kinds of failure to HTTP and to signaling.

use std::time::Duration;

use apiary_media::engine::EngineError;
use apiary_store::{NotKept, StoreError};
use apiary_wire::id::CameraIdError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::AccountError;
use crate::supervisor::{CommandError, JoinError, LabelError, NoStream, StartError};

/// Seconds after which a refusal for want of room is worth trying again.
const RETRY_AFTER_S: u64 = 5;

/// The body of every answer with an error status.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What happened, to what, and what to do; meant to be read by a person.
    pub(crate) error: String,
    /// The session that is in the way, where that is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<String>,
}

/// A failure on its way to the one who asked.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    session_id: Option<String>,
    retry_after: Option<Duration>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            session_id: None,
            retry_after: None,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// Nobody knows who asks.
    pub(crate) fn unknown_caller() -> Self {
        let message = "log in first, or send an API token as `Authorization: Bearer …`";
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// There is no such camera, or it is not for the one who asks: both look the same.
    pub(crate) fn no_camera() -> Self {
        Self::not_found("there is no such camera, or it is not shared with you")
    }

    /// The same request may succeed once this time is over.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// The same request may succeed later without anybody changing anything.
    pub(crate) fn is_passing(&self) -> bool {
        self.status.is_server_error()
            || self.status == StatusCode::CONFLICT
            || self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: self.message,
            session_id: self.session_id,
        };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + 1;
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"apiary\""),
            );
        }
        response
    }
}

impl From<CameraIdError> for ApiError {
    fn from(error: CameraIdError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<NoStream> for ApiError {
    fn from(error: NoStream) -> Self {
        Self::not_found(error.to_string())
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        let message = error.to_string();
        match error {
            AccountError::Bad(_) => Self::bad_request(message),
            AccountError::WrongPassword => Self::new(StatusCode::UNAUTHORIZED, message),
            AccountError::TooFast { wait } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(wait)
            }
            AccountError::NoSuch(_) => Self::not_found(message),
            AccountError::Conflict(_) => Self::new(StatusCode::CONFLICT, message),
            AccountError::Forbidden(_) => Self::forbidden(message),
            AccountError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, message),
            AccountError::Store { source, .. } => {
                tracing::error!(
                    error = &source as &dyn std::error::Error,
                    "an account could not be written"
                );
                Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
            }
            AccountError::Internal(_) => {
                tracing::error!(message, "accounts failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        }
    }
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> Self {
        let message = error.to_string();
        match error {
            StartError::AlreadyRunning(stream) => Self {
                status: StatusCode::CONFLICT,
                message,
                session_id: Some(stream.session_id),
                retry_after: None,
            },
            StartError::BadBounds { .. } => Self::bad_request(message),
            StartError::StreamLimit { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, message),
            StartError::Engine(error) => error.into(),
            StartError::ShuttingDown => Self::new(StatusCode::SERVICE_UNAVAILABLE, message),
        }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let status = match error {
            CommandError::UnknownCamera(_) => StatusCode::NOT_FOUND,
            CommandError::Offline(_) => StatusCode::CONFLICT,
            CommandError::Control { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<LabelError> for ApiError {
    fn from(error: LabelError) -> Self {
        let status = match error {
            LabelError::UnknownCamera(_) => StatusCode::NOT_FOUND,
            LabelError::NotKept(NotKept::Refused) => StatusCode::INTERNAL_SERVER_ERROR,
            LabelError::NotKept(NotKept::QueueFull | NotKept::NotYet | NotKept::Ending) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<StoreError> for ApiError {
    /// What the database said is for the log: the one who asked can do nothing about it.
    fn from(error: StoreError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the database cannot be read"
        );
        let status = if error.is_passing() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self::new(
            status,
            "the database cannot be read at the moment; the log says why",
        )
    }
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Start(error) => error.into(),
            JoinError::NoBandwidth { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            // It kept ending under the viewer's hands: nothing that the viewer named is missing.
            JoinError::Engine(error @ EngineError::UnknownStream(_)) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            JoinError::Engine(error) => error.into(),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let status = match &error {
            EngineError::Offer(_) | EngineError::Candidate(_) => StatusCode::BAD_REQUEST,
            EngineError::UnknownStream(_) | EngineError::UnknownViewer(_) => StatusCode::NOT_FOUND,
            EngineError::AlreadyOpen(_) => StatusCode::CONFLICT,
            EngineError::PortsExhausted { .. }
            | EngineError::ViewerLimit { .. }
            | EngineError::Busy
            | EngineError::WorkerLost
            | EngineError::NoServer(_)
            | EngineError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            EngineError::Unsupported { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            EngineError::MediaServer { .. } => StatusCode::BAD_GATEWAY,
            EngineError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "media engine failed"
            );
        }
        Self::new(status, error.to_string())
    }
}
