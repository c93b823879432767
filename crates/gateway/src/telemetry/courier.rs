//! Brings what the SDK's threads have to send to the collector. They are no threads of the runtime, so that they hand
//! their requests to a task of it, and wait for the answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::{ANSWER_WITHIN, TelemetryError};
use crate::config::OtlpConfig;
use crate::mqtt::tls;
use crate::secret::Secret;

/// Requests that wait: there is a thread for traces and one for logs, each with one at a time.
const WAITING: usize = 2;
/// An unused connection is closed.
const IDLE: Duration = Duration::from_secs(30);

/// A request on its way to the task, and the way back.
struct Errand {
    request: Request<Bytes>,
    answer: oneshot::Sender<Result<StatusCode, Trouble>>,
}

/// Why the collector did not take something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Trouble {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it does not answer")]
    Silent,
    #[error("it refuses with {0}")]
    Refused(StatusCode),
    #[error("the program ends")]
    Ending,
}

/// The SDK's end.
#[derive(Clone, Debug)]
pub(super) struct Courier(mpsc::Sender<Errand>);

impl std::fmt::Debug for Errand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Errand").finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Courier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (answer, answered) = oneshot::channel();
        let errand = Errand { request, answer };
        self.0.send(errand).await.map_err(|_| Trouble::Ending)?;
        let status = answered.await.map_err(|_| Trouble::Ending)??;
        // What else it says is of no use here.
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Ok(response)
    }
}

/// The task's end.
#[derive(Clone)]
pub(super) struct Errands {
    waiting: Arc<Mutex<mpsc::Receiver<Errand>>>,
    client: Client<HttpsConnector<HttpConnector>, Body>,
    authorization: Option<Secret>,
    collector: String,
}

/// Both ends.
pub(super) fn pair(config: &OtlpConfig) -> Result<(Courier, Errands), TelemetryError> {
    let trusting = tls::trusting("otlp.ca", config.ca.as_deref())?;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trusting)
        .https_or_http()
        .enable_http1()
        .build();
    let (errands, waiting) = mpsc::channel(WAITING);
    let errands_end = Errands {
        waiting: Arc::new(Mutex::new(waiting)),
        client: Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .build(connector),
        authorization: config.authorization.clone(),
        collector: config.endpoint.to_string(),
    };
    Ok((Courier(errands), errands_end))
}

impl Errands {
    /// Runs each errand, without end. That the collector takes nothing is said once, and that it does again.
    pub(super) async fn run(self) {
        let mut waiting = self.waiting.lock().await;
        let mut trouble = None;
        while let Some(Errand { request, answer }) = waiting.recv().await {
            let outcome = self.send(request).await;
            match (&outcome, &trouble) {
                (Ok(_), Some(_)) => {
                    tracing::info!(
                        collector = self.collector,
                        "the collector takes traces and logs again"
                    );
                }
                (Err(error), None) => tracing::warn!(
                    collector = self.collector,
                    "the collector takes no traces and logs, and what does not fit into the queues is lost: {error}"
                ),
                (Ok(_), None) | (Err(_), Some(_)) => {}
            }
            trouble = outcome.as_ref().err().cloned();
            // The SDK may have given up waiting.
            let _ = answer.send(outcome);
        }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<StatusCode, Trouble> {
        let mut request = request.map(Body::from);
        if let Some(authorization) = &self.authorization {
            let mut value = HeaderValue::from_str(authorization.expose())
                .expect("the configuration takes nothing else");
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        match timeout(ANSWER_WITHIN, self.client.request(request)).await {
            Ok(Ok(response)) if response.status().is_success() => Ok(response.status()),
            Ok(Ok(response)) => Err(Trouble::Refused(response.status())),
            Ok(Err(error)) => Err(Trouble::Unreachable(crate::cli::with_causes(&error))),
            Err(_) => Err(Trouble::Silent),
        }
    }
}
