//! The handle of one server's connection: a request goes in, its reply or the reason for none comes out.

use std::time::Duration;

use apiary_wire::kurento::{ObjectId, Operation, Reply, Request, RpcError, RpcErrorKind};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Requests that may wait to be sent.
pub(super) const CALL_QUEUE: usize = 256;

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// The server refuses.
    #[error("{0}")]
    Refused(#[from] RpcError),
    /// The reply is not of the shape that it must have.
    #[error("its reply to {0} cannot be understood")]
    BadReply(&'static str),
    /// No reply came in time.
    #[error("it did not answer {request} within {} s", .after.as_secs())]
    Timeout {
        request: &'static str,
        after: Duration,
    },
    /// There is no connection, or it ended before the reply.
    #[error("it is not connected")]
    Disconnected,
    /// More requests wait than may.
    #[error("it is overloaded with requests")]
    Overloaded,
}

impl CallError {
    /// What the server's error code means, where it gave one.
    pub(super) fn kind(&self) -> Option<RpcErrorKind> {
        match self {
            Self::Refused(error) => Some(error.kind()),
            Self::BadReply(_) | Self::Timeout { .. } | Self::Disconnected | Self::Overloaded => {
                None
            }
        }
    }

    /// Whether another server could do it.
    pub(super) fn is_about_the_server(&self) -> bool {
        match self {
            // Out of memory or threads, modules that are missing, faults of its own.
            Self::Refused(error) => matches!(
                error.kind(),
                RpcErrorKind::Internal | RpcErrorKind::UnknownType | RpcErrorKind::Other
            ),
            Self::BadReply(_) | Self::Timeout { .. } | Self::Disconnected | Self::Overloaded => {
                true
            }
        }
    }
}

/// A request on its way to the connection's task.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) request: Request,
    /// Dropped by who does not wait any longer.
    pub(super) reply: oneshot::Sender<Result<Reply, CallError>>,
}

/// The handle; clones are the same connection.
#[derive(Clone, Debug)]
pub(super) struct Client {
    calls: mpsc::Sender<Call>,
    request_timeout: Duration,
}

impl Client {
    /// The handle, and what the connection's task receives from it.
    pub(super) fn new(request_timeout: Duration) -> (Self, mpsc::Receiver<Call>) {
        let (calls, queue) = mpsc::channel(CALL_QUEUE);
        let client = Self {
            calls,
            request_timeout,
        };
        (client, queue)
    }

    /// Asks, and waits for the reply no longer than a request may take. Requests that are asked at the same time may be
    /// carried out in any order: the server has several threads.
    pub(super) async fn call(&self, request: Request) -> Result<Reply, CallError> {
        let name = request.name();
        let (reply, answer) = oneshot::channel();
        self.calls
            .try_send(Call { request, reply })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => CallError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => CallError::Disconnected,
            })?;
        match timeout(self.request_timeout, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(CallError::Disconnected),
            Err(_) => Err(CallError::Timeout {
                request: name,
                after: self.request_timeout,
            }),
        }
    }

    /// Creates an object.
    pub(super) async fn create(&self, request: Request) -> Result<ObjectId, CallError> {
        let name = request.name();
        let reply = self.call(request).await?;
        reply.object().ok_or(CallError::BadReply(name))
    }

    /// Has an object do something.
    pub(super) async fn invoke(
        &self,
        object: &ObjectId,
        operation: Operation,
    ) -> Result<Reply, CallError> {
        let object = object.clone();
        self.call(Request::Invoke { object, operation }).await
    }

    /// Has an object do something that gives a text.
    pub(super) async fn invoke_for_text(
        &self,
        object: &ObjectId,
        operation: Operation,
    ) -> Result<String, CallError> {
        let name = operation.name();
        let reply = self.invoke(object, operation).await?;
        let text = reply.text().ok_or(CallError::BadReply(name))?;
        Ok(text.to_owned())
    }
}
