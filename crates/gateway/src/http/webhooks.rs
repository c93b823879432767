//! Trying the webhooks out.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::state::HttpState;
use crate::reason::{Cause, Code, Reason};
use crate::webhooks::{Trial, TrialError};

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestReport {
    /// All receivers took it.
    delivered: bool,
    /// Each receiver, in the order of `webhooks.urls`.
    receivers: Vec<ReceiverReport>,
}

/// What one receiver did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiverReport {
    /// Where it is; the path, which may hold a token, is left out.
    receiver: String,
    /// It took the event.
    delivered: bool,
    /// The status that it took it with.
    #[schema(minimum = 200, maximum = 299)]
    status: Option<u16>,
    /// Why it did not, and what to do.
    error: Option<String>,
    /// The same for programs, and for pages of another language.
    cause: Option<Cause>,
}

impl From<&Trial> for ReceiverReport {
    fn from(trial: &Trial) -> Self {
        let outcome = trial.outcome.as_ref();
        let reason = outcome.err().map(Reason::from);
        let (error, cause) = reason.map(|reason| (reason.text, reason.cause)).unzip();
        Self {
            receiver: trial.receiver.to_string(),
            delivered: outcome.is_ok(),
            status: outcome.ok().map(StatusCode::as_u16),
            error,
            cause,
        }
    }
}

/// Sends the event `webhook.test` to each receiver of `webhooks.urls` at once, and tells what came of it. It is not repeated, and what
/// waits for a receiver does not hold it up.
#[utoipa::path(post, path = "/api/webhooks/test", tag = "operation", operation_id = "test_webhooks",
    responses(
        (status = 200, description = "what came of it", body = TestReport),
        (status = 404, description = "there are no webhooks", body = ErrorBody),
        (status = 409, description = "a test is under way", body = ErrorBody),
    ))]
pub(super) async fn test(State(http): State<HttpState>) -> Result<Json<TestReport>, ApiError> {
    let trials = http.operation.webhooks.try_all().await?;
    let receivers: Vec<ReceiverReport> = trials.iter().map(Into::into).collect();
    Ok(Json(TestReport {
        delivered: receivers.iter().all(|report| report.delivered),
        receivers,
    }))
}

impl From<TrialError> for ApiError {
    fn from(error: TrialError) -> Self {
        let (status, code) = match error {
            TrialError::None => (StatusCode::NOT_FOUND, Code::NoWebhooks),
            TrialError::Busy => (StatusCode::CONFLICT, Code::TestUnderWay),
        };
        Self::new(status, Reason::new(code, error))
    }
}
