//! Which pages may talk to this server.
//!
//! A browser says with `Origin` whose page asks. Pages of this very host are ours (on whatever port: existing installations
//! serve their dashboard beside the signaling port); others must be listed in `http.cors_origins`. Everybody else may not
//! change anything nor open a WebSocket: without that rule any page on the web could watch the cameras through the browser
//! of somebody at home.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST,
    ORIGIN, VARY,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};

/// Methods that a listed page may use.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, DELETE, OPTIONS");
/// Request headers that a listed page may send.
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("Accept, Authorization, Content-Type, If-Match");
/// Response headers that a listed page may read; WHEP players need them.
const EXPOSED_HEADERS: HeaderValue =
    HeaderValue::from_static("Accept-Patch, ETag, Link, Location, Retry-After");
/// Seconds for which a browser may remember a preflight's answer.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The pages that are let in beside our own.
#[derive(Clone, Debug, Default)]
pub(super) struct OriginPolicy {
    listed: Vec<HeaderValue>,
}

/// Whose page a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Requester {
    /// No page: a program, or a page of ours that reads.
    NoPage,
    /// A page of this host.
    OwnPage,
    /// A page of a listed origin.
    Listed(HeaderValue),
    /// Any other page.
    Foreign,
}

impl OriginPolicy {
    /// `origins` are checked with the configuration; what cannot stand in a header can match none.
    pub(super) fn new(origins: &[String]) -> Self {
        let listed = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(&origin.to_ascii_lowercase()).ok())
            .collect();
        Self { listed }
    }

    /// The listed origins, as they stand in headers.
    pub(super) fn listed(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().filter_map(|origin| origin.to_str().ok())
    }

    pub(super) fn requester(&self, headers: &HeaderMap) -> Requester {
        let Some(origin) = headers.get(ORIGIN) else {
            return Requester::NoPage;
        };
        if self.listed.contains(origin) {
            return Requester::Listed(origin.clone());
        }
        let same_host = match (origin_host(origin), host(headers)) {
            (Some(page), Some(ours)) => page.eq_ignore_ascii_case(&ours),
            (None, _) | (_, None) => false,
        };
        if same_host {
            Requester::OwnPage
        } else {
            Requester::Foreign
        }
    }
}

impl Requester {
    /// Whether it may do more than read what browsers would not show it anyway.
    pub(super) fn may_act(&self) -> bool {
        match self {
            Self::NoPage | Self::OwnPage | Self::Listed(_) => true,
            Self::Foreign => false,
        }
    }

    /// Adds what lets a browser hand the answer to a listed page.
    pub(super) fn write_headers(&self, preflight: bool, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_name(ORIGIN));
        let Self::Listed(origin) = self else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        if preflight {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
    }
}

/// Whether a browser asks if a page may send another request.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn origin_host(origin: &HeaderValue) -> Option<String> {
    let uri: Uri = origin.to_str().ok()?.parse().ok()?;
    matches!(uri.scheme_str(), Some("http" | "https"))
        .then(|| uri.host().map(str::to_owned))
        .flatten()
}

fn host(headers: &HeaderMap) -> Option<String> {
    let authority: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    Some(authority.host().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requester(host: &str, origin: &str) -> Requester {
        let policy = OriginPolicy::new(&[
            "http://localhost:5000".to_owned(),
            "https://Cams.Example".to_owned(),
        ]);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if !origin.is_empty() {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        policy.requester(&headers)
    }

    #[test]
    fn pages_are_told_apart_by_their_origin() {
        let listed = |origin: &'static str| Requester::Listed(HeaderValue::from_static(origin));
        let cases = [
            ("192.168.1.10:8080", "", Requester::NoPage),
            (
                "192.168.1.10:8080",
                "http://192.168.1.10:8080",
                Requester::OwnPage,
            ),
            (
                "192.168.1.10:8765",
                "http://192.168.1.10:5000",
                Requester::OwnPage,
            ),
            ("[::1]:8080", "http://[::1]:8080", Requester::OwnPage),
            ("Apiary.Local", "https://apiary.local", Requester::OwnPage),
            (
                "127.0.0.1:8080",
                "http://localhost:5000",
                listed("http://localhost:5000"),
            ),
            (
                "127.0.0.1:8080",
                "https://cams.example",
                listed("https://cams.example"),
            ),
            ("127.0.0.1:8080", "http://cams.example", Requester::Foreign),
            (
                "127.0.0.1:8080",
                "http://localhost:5001",
                Requester::Foreign,
            ),
            (
                "127.0.0.1:8080",
                "http://localhost:5000.evil.example",
                Requester::Foreign,
            ),
            ("127.0.0.1:8080", "https://evil.example", Requester::Foreign),
            (
                "127.0.0.1:8080",
                "http://127.0.0.1.evil.example",
                Requester::Foreign,
            ),
            (
                "127.0.0.1:8080",
                "http://evil.example@127.0.0.1.x",
                Requester::Foreign,
            ),
            ("127.0.0.1:8080", "file://127.0.0.1", Requester::Foreign),
            ("127.0.0.1:8080", "null", Requester::Foreign),
            ("127.0.0.1:8080", "*", Requester::Foreign),
        ];
        for (host, origin, expected) in cases {
            assert_eq!(requester(host, origin), expected, "{origin} to {host}");
        }
    }

    #[test]
    fn only_listed_pages_are_named_in_answers() {
        let headers_for = |requester: Requester, preflight| {
            let mut headers = HeaderMap::new();
            requester.write_headers(preflight, &mut headers);
            headers
        };
        let listed = Requester::Listed(HeaderValue::from_static("http://localhost:5000"));
        for other in [Requester::NoPage, Requester::OwnPage, Requester::Foreign] {
            let headers = headers_for(other, true);
            assert_eq!(headers.len(), 1, "nothing but Vary: {headers:?}");
            assert_eq!(headers[VARY], "origin");
        }
        let plain = headers_for(listed.clone(), false);
        assert_eq!(plain[ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:5000");
        assert!(
            plain[ACCESS_CONTROL_EXPOSE_HEADERS]
                .to_str()
                .unwrap()
                .contains("Location")
        );
        assert!(!plain.contains_key(ACCESS_CONTROL_ALLOW_METHODS));
        let preflight = headers_for(listed, true);
        assert!(
            preflight[ACCESS_CONTROL_ALLOW_METHODS]
                .to_str()
                .unwrap()
                .contains("PATCH")
        );
        assert!(
            preflight[ACCESS_CONTROL_ALLOW_HEADERS]
                .to_str()
                .unwrap()
                .contains("If-Match")
        );
    }
}
