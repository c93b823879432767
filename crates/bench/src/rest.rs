//! What is asked of the server's REST API.

use std::time::{Duration, Instant};

use apiary_wire::CameraId;
use serde::Deserialize;
use serde_json::Value;

use crate::error::BenchError;

/// The time that the server gives a camera to send.
const ACTIVE_WITHIN: Duration = Duration::from_secs(30);

/// What the server has counted of a stream.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct StreamCounts {
    /// RTP packets taken.
    pub(crate) packets: u64,
    /// Packets missing for good.
    pub(crate) lost: u64,
    /// Packets refused.
    pub(crate) dropped: u64,
}

/// A client of the REST API.
pub(crate) struct Rest {
    http: reqwest::Client,
    base: String,
}

impl Rest {
    /// For `http://HOST:PORT`.
    pub(crate) fn new(base: String) -> Self {
        Self {
            http: reqwest::Client::new(),
            base,
        }
    }

    /// Starts cameras one after the other. The pause between two shares no beat with the pictures, so that these are
    /// spread over time as those of real cameras are.
    pub(crate) async fn start_all(
        &self,
        cameras: impl Iterator<Item = CameraId>,
    ) -> Result<(), BenchError> {
        const PAUSE: Duration = Duration::from_micros(7300);
        for camera in cameras {
            let url = format!("{}/streams/{camera}/start", self.base);
            let request = self.http.post(&url);
            // The server answers when the camera sends, which need not be waited for one by one.
            self.answer(url, request).await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Sums what the server has counted of all streams.
    pub(crate) async fn count_all(
        &self,
        cameras: impl Iterator<Item = CameraId>,
    ) -> Result<StreamCounts, BenchError> {
        let mut sum = StreamCounts::default();
        for camera in cameras {
            let url = format!("{}/streams/{camera}/stats", self.base);
            let request = self.http.get(&url);
            let body = self.answer(url.clone(), request).await?;
            let counts: StreamCounts = serde_json::from_str(&body)
                .map_err(|error| BenchError::Answer(format!("{url}: {error}")))?;
            sum.packets += counts.packets;
            sum.lost += counts.lost;
            sum.dropped += counts.dropped;
        }
        Ok(sum)
    }

    /// Waits until a camera sends.
    pub(crate) async fn until_active(&self, camera: CameraId) -> Result<(), BenchError> {
        const PAUSE: Duration = Duration::from_millis(5);
        let url = format!("{}/streams/{camera}", self.base);
        let deadline = Instant::now() + ACTIVE_WITHIN;
        while Instant::now() < deadline {
            let body = self.answer(url.clone(), self.http.get(&url)).await?;
            let body: Value = serde_json::from_str(&body)
                .map_err(|error| BenchError::Answer(format!("{url}: {error}")))?;
            if body["stream"]["state"] == "active" {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(BenchError::Timeout {
            what: "a camera's stream",
            within: ACTIVE_WITHIN,
        })
    }

    /// Stops a camera.
    pub(crate) async fn stop(&self, camera: CameraId) -> Result<(), BenchError> {
        let url = format!("{}/streams/{camera}/stop", self.base);
        let request = self.http.post(&url);
        self.answer(url, request).await.map(drop)
    }

    /// A figure of the server without labels, or the sum of one with them.
    pub(crate) async fn figure(&self, name: &str) -> Result<u64, BenchError> {
        let url = format!("{}/metrics", self.base);
        let text = self.answer(url.clone(), self.http.get(&url)).await?;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let labels_or_value = rest.starts_with(['{', ' ']);
            let value = rest.rsplit_once(' ')?.1;
            labels_or_value.then(|| value.parse::<f64>().ok())?
        });
        let values: Vec<f64> = values.collect();
        match values.is_empty() {
            true => Err(BenchError::Answer(format!("{url} has no {name}"))),
            false => Ok(values.iter().sum::<f64>() as u64),
        }
    }

    async fn answer(
        &self,
        url: String,
        request: reqwest::RequestBuilder,
    ) -> Result<String, BenchError> {
        let failed = |source| BenchError::Http {
            url: url.clone(),
            source,
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.text().await.map_err(failed)?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(BenchError::Refused {
                url,
                status: status.as_u16(),
                body: body.chars().take(300).collect(),
            })
        }
    }
}
