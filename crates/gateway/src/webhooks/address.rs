//! Where a webhook may be sent: to addresses of the internet, and to those of private networks that are allowed.
//!
//! A name is looked up once for each delivery, every address that comes of it is judged, and the connection goes to one of
//! those: a name server that answers differently a moment later changes nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::{Host, Url};

use crate::config::values::IpNetwork;

/// How long a name may take to look up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no address to send to.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The name, or one of its addresses, is not one of the internet.
    #[error("{host} is {address}, which is no public address of the internet")]
    NotPublic {
        /// As in the URL.
        host: String,
        /// What it is.
        address: IpAddr,
    },
    /// The name cannot be looked up.
    #[error("the name {host} cannot be looked up: {cause}")]
    Unknown {
        /// As in the URL.
        host: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The name has no address.
    #[error("the name {host} has no address")]
    None {
        /// As in the URL.
        host: String,
    },
}

impl AddressError {
    /// What to do.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::NotPublic { address, .. } => {
                let address = address.to_canonical();
                let length = if address.is_ipv4() { 32 } else { 128 };
                format!("if that is meant, put \"{address}/{length}\" into webhooks.allow_private")
            }
            Self::Unknown { .. } | Self::None { .. } => {
                "correct the name in webhooks.urls, or look at this machine's name servers"
                    .to_owned()
            }
        }
    }
}

/// Looks names up.
#[async_trait]
pub(super) trait Lookup: Send + Sync {
    async fn lookup(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// As the system does.
pub(super) struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match timeout(LOOKUP_TIMEOUT, lookup_host((name, port))).await {
            Ok(found) => Ok(found?.collect()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// The addresses of a URL as the system knows them, all of them judged.
///
/// # Errors
/// When there are none, or one of them is neither public nor in an allowed network.
pub(crate) async fn find(
    url: &Url,
    allowed: &[IpNetwork],
) -> Result<Vec<SocketAddr>, AddressError> {
    resolve(url, allowed, &SystemLookup).await
}

/// The addresses to connect to for a URL, all of them judged.
///
/// # Errors
/// When there are none, or one of them is neither public nor in an allowed network.
pub(super) async fn resolve(
    url: &Url,
    allowed: &[IpNetwork],
    names: &dyn Lookup,
) -> Result<Vec<SocketAddr>, AddressError> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or_default();
    let found = match literal(url) {
        Some(address) => vec![SocketAddr::from((address, port))],
        None => {
            let found = names.lookup(&host, port).await;
            found.map_err(|cause| AddressError::Unknown {
                host: host.clone(),
                cause,
            })?
        }
    };
    judge(host, found, allowed)
}

/// Judges a URL whose host is an address; what a name will turn out to be is not known yet.
///
/// # Errors
/// When it is neither public nor in an allowed network.
pub(crate) fn check_literal(url: &Url, allowed: &[IpNetwork]) -> Result<(), AddressError> {
    let Some(address) = literal(url) else {
        return Ok(());
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    judge(host, vec![SocketAddr::from((address, 0))], allowed).map(drop)
}

/// The host where it is an address, however that is written: the parser knows all the ways.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// One address that is not allowed condemns all: which of them is connected to would be left to chance.
fn judge(
    host: String,
    found: Vec<SocketAddr>,
    allowed: &[IpNetwork],
) -> Result<Vec<SocketAddr>, AddressError> {
    if found.is_empty() {
        return Err(AddressError::None { host });
    }
    match found
        .iter()
        .find(|address| !may_be_reached(address.ip(), allowed))
    {
        Some(bad) => Err(AddressError::NotPublic {
            host,
            address: bad.ip(),
        }),
        None => Ok(found),
    }
}

fn may_be_reached(address: IpAddr, allowed: &[IpNetwork]) -> bool {
    let address = address.to_canonical();
    is_public(address) || allowed.iter().any(|network| network.contains(address))
}

/// Whether an address is one that anybody on the internet may have. What stands for an IPv4 address inside an IPv6 one
/// (mapped, 6to4, NAT64, Teredo) is not, but for mapped ones, which are judged as what they are.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Everything that the IANA registry of special addresses does not name (RFC 6890 and its updates).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match (a, b, c) {
        // This network, private, loopback.
        (0 | 10 | 127, _, _) => true,
        // Carrier-grade NAT, link-local, private.
        (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // IETF, documentation, the old relays of 6to4.
        (192, 0, 0 | 2) | (192, 88, 99) => true,
        // Benchmarks, documentation.
        (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => true,
        // Multicast, reserved, broadcast.
        (224..=255, _, _) => true,
        _ => false,
    };
    !is_special
}

/// Global unicast (2000::/3) without what has another meaning in it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let is_special = match (segments[0], segments[1]) {
        // Teredo, ORCHID, benchmarks and the other assignments of the IETF.
        (0x2001, 0..=0x01ff) => true,
        // Documentation, 6to4.
        (0x2001, 0xdb8) | (0x2002, _) => true,
        (0x3fff, 0..=0x0fff) => true,
        _ => false,
    };
    segments[0] & 0xe000 == 0x2000 && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn h10_special_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0.0.0.0",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address(text)), "{text}");
        }
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "198.17.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert!(is_public(address(text)), "{text}");
        }
    }

    fn network(address: [u8; 4], length: u8) -> IpNetwork {
        IpNetwork::new(address.into(), length).unwrap()
    }

    #[tokio::test]
    async fn h10_oddly_written_addresses_are_what_they_are() {
        for text in [
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0x7f.1/",
            "http://127.0.0.1./",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://0/",
            "http://[::]/",
            "http://１２７.０.０.１/",
            "http://127%2e0%2e0%2e1/",
            "http://①②⑦.1/",
            "http://[64:ff9b::127.0.0.1]/",
            "http://[2002:7f00:1::]/",
        ] {
            let url = Url::parse(text).unwrap();
            for refused in [
                check_literal(&url, &[]).unwrap_err(),
                resolve(&url, &[], &SystemLookup).await.unwrap_err(),
            ] {
                assert!(
                    matches!(refused, AddressError::NotPublic { .. }),
                    "{text}: {refused}"
                );
            }
        }
        let url = Url::parse("http://localhost/").unwrap();
        assert!(
            check_literal(&url, &[]).is_ok(),
            "names are looked up later"
        );
        let refused = resolve(&url, &[], &SystemLookup).await.unwrap_err();
        assert!(
            matches!(refused, AddressError::NotPublic { .. }),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn h10_only_what_is_in_an_allowed_network_is_reached() {
        let allowed = [network([127, 0, 0, 0], 8)];
        for (text, socket) in [
            ("http://127.1:81/", "127.0.0.1:81"),
            ("http://[::ffff:127.0.0.1]:81/", "[::ffff:127.0.0.1]:81"),
        ] {
            let url = Url::parse(text).unwrap();
            let found = resolve(&url, &allowed, &SystemLookup).await.unwrap();
            assert_eq!(found, [socket.parse().unwrap()]);
        }
        let url = Url::parse("http://10.0.0.1/").unwrap();
        let refused = check_literal(&url, &allowed).unwrap_err();
        assert!(
            refused.remedy().contains("\"10.0.0.1/32\""),
            "{}",
            refused.remedy()
        );
    }

    #[test]
    fn h10_one_private_address_among_public_ones_is_one_too_many() {
        let found = ["8.8.8.8:443", "10.0.0.1:443"].map(|text| text.parse().unwrap());
        let judge = |allowed: &[_]| judge("two.example".to_owned(), found.to_vec(), allowed);
        let refused = judge(&[]).unwrap_err();
        assert!(refused.to_string().contains("10.0.0.1"), "{refused}");
        assert!(judge(&[network([10, 0, 0, 0], 8)]).is_ok());
        let none = super::judge("empty.example".to_owned(), Vec::new(), &[]);
        assert!(matches!(none, Err(AddressError::None { .. })));
    }
}
