//! Where a request comes from, as far as it can be believed: behind a proxy that is trusted, the proxy's word counts.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::serving::Connection;
use crate::config::values::IpNetwork;

/// Proxies in a row that are looked through.
const MAX_PROXIES: usize = 16;

/// The other end of a request; each request carries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// Its address; none where the request came over no socket.
    pub(super) ip: Option<IpAddr>,
    /// Whether it speaks HTTPS, to us or to a proxy that is trusted.
    pub(super) https: bool,
}

impl Client {
    pub(super) fn of(parts: &Parts, trusted: &[IpNetwork]) -> Self {
        let connection = parts.extensions.get::<Connection>();
        let socket = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = socket.map(|info| info.0.ip().to_canonical());
        let tls = connection.is_some_and(|connection| connection.tls);
        let Some(proxy) = peer.filter(|peer| is_in(trusted, *peer)) else {
            return Self {
                ip: peer,
                https: tls,
            };
        };
        Self {
            ip: Some(forwarded_for(&parts.headers, trusted, proxy)),
            https: tls || forwarded_https(&parts.headers),
        }
    }
}

fn is_in(networks: &[IpNetwork], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// From the right, the first address that is no trusted proxy: what stands left of it, anybody can have written.
fn forwarded_for(headers: &HeaderMap, trusted: &[IpNetwork], proxy: IpAddr) -> IpAddr {
    let listed: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let mut nearest = proxy;
    for text in listed.iter().rev().take(MAX_PROXIES) {
        let Ok(address) = text.trim().parse::<IpAddr>() else {
            return nearest;
        };
        nearest = address.to_canonical();
        if !is_in(trusted, nearest) {
            return nearest;
        }
    }
    nearest
}

/// What the nearest proxy says.
fn forwarded_https(headers: &HeaderMap) -> bool {
    let last = headers.get_all("x-forwarded-proto").iter().next_back();
    last.and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn client(peer: &str, headers: &[(&str, &str)]) -> (String, bool) {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let peer = SocketAddr::new(peer.parse().unwrap(), 4000);
        parts.extensions.insert(ConnectInfo(peer));
        let trusted = ["10.0.0.0", "127.0.0.1"].map(|address| {
            let bits = if address.starts_with("10") { 8 } else { 32 };
            IpNetwork::new(address.parse().unwrap(), bits).unwrap()
        });
        let client = Client::of(&parts, &trusted);
        (client.ip.unwrap().to_string(), client.https)
    }

    #[test]
    fn h07_only_trusted_proxies_are_believed() {
        let forged = [
            ("x-forwarded-for", "198.51.100.9"),
            ("x-forwarded-proto", "https"),
        ];
        let cases = [
            ("192.0.2.1", &forged[..], ("192.0.2.1", false)),
            ("127.0.0.1", &forged[..], ("198.51.100.9", true)),
            ("::ffff:127.0.0.1", &forged[..], ("198.51.100.9", true)),
            ("127.0.0.1", &[], ("127.0.0.1", false)),
            (
                "127.0.0.1",
                &[("x-forwarded-for", "1.2.3.4, 198.51.100.9, 10.1.1.1")],
                ("198.51.100.9", false),
            ),
            (
                "127.0.0.1",
                &[
                    ("x-forwarded-for", "1.2.3.4"),
                    ("x-forwarded-for", "198.51.100.9"),
                ],
                ("198.51.100.9", false),
            ),
            (
                "127.0.0.1",
                &[("x-forwarded-for", "1.2.3.4, nonsense")],
                ("127.0.0.1", false),
            ),
            (
                "127.0.0.1",
                &[("x-forwarded-proto", "https, http")],
                ("127.0.0.1", false),
            ),
        ];
        for (peer, headers, (ip, https)) in cases {
            assert_eq!(
                client(peer, headers),
                (ip.to_owned(), https),
                "{peer} {headers:?}"
            );
        }
    }
}
