//! WHEP as a player speaks it: post an offer, get an answer, delete the session.

use reqwest::header::{CONTENT_TYPE, LOCATION};

use crate::error::BenchError;
use crate::viewer::Answer;

/// Joins and leaves one camera's stream.
#[derive(Clone)]
pub(crate) struct WhepClient {
    http: reqwest::Client,
    endpoint: String,
}

/// An answered offer.
pub(crate) struct Joined {
    pub(crate) answer: Answer,
    /// Where to delete it.
    pub(crate) session: Option<String>,
}

impl WhepClient {
    /// For the WHEP URL of a camera.
    pub(crate) fn new(endpoint: String) -> Self {
        Self {
            http: reqwest::Client::new(),
            endpoint,
        }
    }

    /// Posts an offer.
    pub(crate) async fn join(&self, offer: String) -> Result<Joined, BenchError> {
        let url = &self.endpoint;
        let failed = |source| BenchError::Http {
            url: url.clone(),
            source,
        };
        let response = self
            .http
            .post(url)
            .header(CONTENT_TYPE, "application/sdp")
            .body(offer)
            .send()
            .await
            .map_err(failed)?;
        let status = response.status();
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| response.url().join(location).ok())
            .map(String::from);
        let body = response.text().await.map_err(failed)?;
        if !status.is_success() {
            return Err(BenchError::Refused {
                url: url.clone(),
                status: status.as_u16(),
                body: body.chars().take(300).collect(),
            });
        }
        Ok(Joined {
            answer: Answer::parse(&body)?,
            session: location,
        })
    }

    /// Ends a session.
    pub(crate) async fn leave(&self, session: &str) -> Result<(), BenchError> {
        let response = self.http.delete(session).send().await;
        match response {
            Ok(_) => Ok(()),
            Err(source) => Err(BenchError::Http {
                url: session.to_owned(),
                source,
            }),
        }
    }
}
