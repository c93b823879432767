//! By which names this server may be addressed. A page of a foreign name whose address was changed to ours (DNS rebinding)
//! is of our origin as far as a browser can tell; its `Host` header still gives it away.

use std::net::IpAddr;

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};

/// Last parts of names that nobody on the internet can own (RFC 6761, RFC 6762, RFC 8375, and what ICANN and the makers
/// of routers set aside).
const PRIVATE_DOMAINS: [&str; 7] = [
    "localhost",
    "local",
    "lan",
    "home",
    "internal",
    "localdomain",
    "home.arpa",
];

/// The names that are ours beside those that cannot be anybody else's.
#[derive(Clone, Debug, Default)]
pub(super) struct HostPolicy {
    names: Vec<String>,
}

impl HostPolicy {
    /// `names` in small letters.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { names }
    }

    /// The name of the request where it is none of ours. Addresses are always ours, and so are names that no foreign page can
    /// have: those of one word, and those of a private domain.
    pub(super) fn foreign_name(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let authority = match (uri.authority(), headers.get(HOST)) {
            (Some(authority), _) => authority.clone(),
            // No browser leaves it out.
            (None, None) => return None,
            (None, Some(host)) => match Authority::try_from(host.as_bytes()) {
                Ok(authority) => authority,
                Err(_) => return Some(String::from_utf8_lossy(host.as_bytes()).into_owned()),
            },
        };
        let host = authority.host().to_ascii_lowercase();
        let name = host.strip_suffix('.').unwrap_or(&host);
        (!self.is_ours(name)).then(|| name.to_owned())
    }

    fn is_ours(&self, name: &str) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() || !name.contains('.') {
            return !name.is_empty();
        }
        let is_private = PRIVATE_DOMAINS.iter().any(|domain| {
            let rest = name.strip_suffix(domain);
            rest.is_some_and(|rest| rest.ends_with('.'))
        });
        is_private || self.names.iter().any(|ours| ours == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h04_only_our_names_are_answered() {
        let policy = HostPolicy::new(vec!["cams.example.org".to_owned()]);
        let foreign = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            policy
                .foreign_name(&Uri::from_static("/"), &headers)
                .is_some()
        };
        for ours in [
            "127.0.0.1:8080",
            "192.168.1.10",
            "[::1]:8080",
            "[fd00::1]",
            "localhost:8080",
            "raspberrypi",
            "Apiary.Local:8080",
            "apiary.local.",
            "nas.fritz.lan",
            "nas.home.arpa",
            "cams.example.org:443",
            "CAMS.example.org",
        ] {
            assert!(!foreign(ours), "{ours}");
        }
        for other in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "cams.example.org.evil.example",
            "xcams.example.org",
            "local.evil.example",
            "notlocal.example",
            "a b",
            "",
        ] {
            assert!(foreign(other), "{other:?}");
        }
    }

    #[test]
    fn who_names_no_host_is_no_browser() {
        let policy = HostPolicy::default();
        let name = policy.foreign_name(&Uri::from_static("/"), &HeaderMap::new());
        assert_eq!(name, None);
        let of_uri =
            policy.foreign_name(&Uri::from_static("http://evil.example/"), &HeaderMap::new());
        assert_eq!(of_uri.as_deref(), Some("evil.example"));
    }
}
