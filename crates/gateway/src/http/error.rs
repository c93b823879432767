//! What a failed request is answered with: one place that maps kinds of failure to HTTP and to signaling.

use std::fmt;
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
use crate::reason::{Cause, Code, Reason};
use crate::supervisor::{
    CommandError, JoinError, LabelError, NoPicture, NoStream, StartError, TalkError,
};

/// Seconds after which a refusal for want of room is worth trying again.
const RETRY_AFTER_S: u64 = 5;

/// The body of every answer with an error status.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What happened, to what, and what to do; meant to be read by a person.
    pub(crate) error: String,
    /// The same for programs, and for pages of another language.
    #[serde(flatten)]
    pub(crate) cause: Cause,
    /// The session that is in the way, where that is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<String>,
}

/// A failure on its way to the one who asked.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) reason: Reason,
    session_id: Option<String>,
    retry_after: Option<Duration>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, reason: impl Into<Reason>) -> Self {
        Self {
            status,
            reason: reason.into(),
            session_id: None,
            retry_after: None,
        }
    }

    /// One that nobody meets who uses the pages: the kind of refusal is all that they are told in their language.
    pub(crate) fn plain(status: StatusCode, text: impl fmt::Display) -> Self {
        Self::new(status, Reason::new(kind(status), text))
    }

    pub(crate) fn bad_request(text: impl fmt::Display) -> Self {
        Self::plain(StatusCode::BAD_REQUEST, text)
    }

    pub(crate) fn not_found(text: impl fmt::Display) -> Self {
        Self::plain(StatusCode::NOT_FOUND, text)
    }

    pub(crate) fn forbidden(code: Code, text: impl fmt::Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, Reason::new(code, text))
    }

    /// Nobody knows who asks.
    pub(crate) fn unknown_caller() -> Self {
        let text = "log in first, or send an API token as `Authorization: Bearer …`";
        let reason = Reason::new(Code::LogInFirst, text);
        Self::new(StatusCode::UNAUTHORIZED, reason)
    }

    /// There is no such camera, or it is not for the one who asks: both look the same.
    pub(crate) fn no_camera() -> Self {
        let text = "there is no such camera, or it is not shared with you";
        Self::new(StatusCode::NOT_FOUND, Reason::new(Code::NoCamera, text))
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
            error: self.reason.text,
            cause: self.reason.cause,
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

/// What a refusal is called that has no code of its own.
fn kind(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::BadRequest,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT => Code::Conflict,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        status if status.is_server_error() => Code::Internal,
        _ => Code::Refused,
    }
}

impl From<CameraIdError> for ApiError {
    fn from(error: CameraIdError) -> Self {
        let reason = Reason::new(Code::BadCameraId, error);
        Self::new(StatusCode::BAD_REQUEST, reason)
    }
}

impl From<NoStream> for ApiError {
    fn from(error: NoStream) -> Self {
        Self::new(StatusCode::NOT_FOUND, &error)
    }
}

impl From<NoPicture> for ApiError {
    fn from(error: NoPicture) -> Self {
        Self::new(StatusCode::NOT_FOUND, &error)
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        let reason = Reason::from(&error);
        match error {
            AccountError::Bad(_) => Self::new(StatusCode::BAD_REQUEST, reason),
            AccountError::WrongPassword => Self::new(StatusCode::UNAUTHORIZED, reason),
            AccountError::TooFast { wait } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, reason).retry_after(wait)
            }
            AccountError::NoSuch(_) => Self::new(StatusCode::NOT_FOUND, reason),
            AccountError::Conflict(_) => Self::new(StatusCode::CONFLICT, reason),
            AccountError::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, reason),
            AccountError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, reason),
            AccountError::Store { source, .. } => {
                tracing::error!(
                    error = &source as &dyn std::error::Error,
                    "an account could not be written"
                );
                Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
            }
            AccountError::Internal(message) => {
                tracing::error!(message, "accounts failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
            }
        }
    }
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> Self {
        let reason = Reason::from(&error);
        match error {
            StartError::AlreadyRunning(stream) => Self {
                session_id: Some(stream.session_id),
                ..Self::new(StatusCode::CONFLICT, reason)
            },
            StartError::BadBounds { .. } => Self::new(StatusCode::BAD_REQUEST, reason),
            StartError::StreamLimit { .. } | StartError::ShuttingDown => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
            }
            StartError::Engine(error) => error.into(),
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
        Self::new(status, &error)
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
        Self::new(status, &error)
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
        let text = "the database cannot be read at the moment; the log says why";
        Self::new(status, Reason::new(Code::DatabaseAway, text))
    }
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        let reason = Reason::from(&error);
        match error {
            JoinError::Start(error) => error.into(),
            JoinError::NoBandwidth { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, reason),
            // It kept ending under the viewer's hands: nothing that the viewer named is missing.
            JoinError::Engine(EngineError::UnknownStream(_)) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
            }
            JoinError::Engine(error) => error.into(),
        }
    }
}

impl From<TalkError> for ApiError {
    fn from(error: TalkError) -> Self {
        match error {
            TalkError::Taken { .. } => Self::new(StatusCode::CONFLICT, &error),
            TalkError::Engine(error) => error.into(),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let status = match &error {
            EngineError::Offer(_) | EngineError::Candidate(_) => StatusCode::BAD_REQUEST,
            EngineError::UnknownStream(_) | EngineError::UnknownViewer(_) => StatusCode::NOT_FOUND,
            EngineError::AlreadyOpen(_)
            | EngineError::Talking(_)
            | EngineError::NotListening(_) => StatusCode::CONFLICT,
            EngineError::NoVoice(_) => StatusCode::FORBIDDEN,
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
        Self::new(status, &error)
    }
}
