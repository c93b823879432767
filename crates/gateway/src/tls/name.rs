//! What a certificate is for: a host name or an address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls::pki_types::DnsName;

/// A name in a certificate. Host names are in small letters; `*.` may stand before one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// A host name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// It is neither a host name nor an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is neither a host name nor an IP address", .0.escape_debug())]
pub struct NameError(String);

impl Name {
    /// Whether a certificate for this name is one for `host` too (RFC 9525 §6.3): `*.` stands for one label.
    pub fn covers(&self, host: &Self) -> bool {
        let (Self::Dns(pattern), Self::Dns(host)) = (self, host) else {
            return self == host;
        };
        match pattern.strip_prefix("*.") {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => pattern == host,
        }
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Self::Ip(ip.to_canonical()));
        }
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let host = name.strip_prefix("*.").unwrap_or(&name);
        match DnsName::try_from(host) {
            Ok(_) => Ok(Self::Dns(name)),
            Err(_) => Err(NameError(text.to_owned())),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => write!(f, "{ip}"),
        }
    }
}

/// The names, separated by commas.
pub fn list<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    let names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_browsers_do() {
        for (certificate, host, covers) in [
            ("cams.example", "CAMS.example.", true),
            ("cams.example", "www.cams.example", false),
            ("*.cams.example", "www.cams.example", true),
            ("*.cams.example", "cams.example", false),
            ("*.cams.example", "a.b.cams.example", false),
            ("192.168.1.10", "192.168.1.10", true),
            ("192.168.1.10", "::ffff:192.168.1.10", true),
            ("2001:db8::1", "[2001:DB8::1]", true),
            ("192.168.1.10", "192.168.1.11", false),
        ] {
            let (name, host): (Name, Name) = (certificate.parse().unwrap(), host.parse().unwrap());
            assert_eq!(name.covers(&host), covers, "{certificate} {host}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "a b",
            "http://cams.example",
            "a/b",
            "*",
            "*.",
            "x..y",
            "-a.example",
        ] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
