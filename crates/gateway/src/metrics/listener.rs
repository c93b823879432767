//! `/metrics` on a listener of its own, for a Prometheus that has no account here. It serves nothing else.

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Metrics, text};

/// The running listener. Ends with [`MetricsListener::shutdown`].
#[derive(Debug)]
pub struct MetricsListener {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl MetricsListener {
    /// Answers scrapes on `listener`.
    pub fn start(metrics: Metrics, listener: TcpListener) -> Self {
        let stop = CancellationToken::new();
        let router = Router::new()
            .route("/metrics", get(scrape))
            .with_state(metrics);
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stopped);
            if let Err(error) = served.await {
                tracing::error!(%error, "the listener for metrics failed");
            }
        });
        Self { stop, task }
    }

    /// Answers no more. A scrape under way is cut: the next one comes after the restart.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.task.abort();
        // Aborted, or ended already.
        let _ = self.task.await;
    }
}

async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, text::CONTENT_TYPE),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, metrics.text().await)
}
