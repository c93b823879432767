//! The section `[turn]`: the STUN and TURN servers that browsers are told of, and the secret that logins there are made with.
//!
//! Values and their rules. How a login is made does not belong here, and neither does the TURN server that Kurento uses
//! itself (`[kurento]`): its login never changes, so that no browser is given it.

use std::fmt;
use std::time::Duration;

use super::raw::RawValue;
use super::reader::Reader;
use super::values::{self, Parsed, Rejection, host_and_port, reject, seconds, text};
use crate::secret::Secret;

/// Most servers: browsers ask all of them before they are done, and warn of more than a few.
const MAX_URLS: usize = 8;
/// Shortest secret: 16 characters cannot be guessed by who sees what they signed, if they are random.
const MIN_SECRET: usize = 16;
/// Longest secret.
const MAX_SECRET: usize = 256;
/// How long a login counts unless said otherwise.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
/// The default port of STUN and TURN (RFC 8489, RFC 8656).
const STUN_PORT: u16 = 3478;
/// How a URL is written.
const HINT: &str = "write turn:HOST:PORT, turn:HOST:PORT?transport=tcp, turns:HOST:PORT?transport=tcp, or stun:HOST:PORT";

/// `[turn]`, where a server is named.
#[derive(Clone, Debug)]
pub struct TurnConfig {
    /// Servers that ask for no login.
    pub stun: Vec<IceUrl>,
    /// Those that do, and what it is made of.
    pub relays: Option<Relays>,
    /// How long what browsers are told counts.
    pub lifetime: Duration,
}

/// TURN servers.
#[derive(Clone, Debug)]
pub struct Relays {
    /// Where they are; one at least.
    pub urls: Vec<IceUrl>,
    /// What they and Apiary alone know.
    pub secret: Secret,
}

/// The URL of a STUN or TURN server as it was written (RFC 7064, RFC 7065); it has no character that a quoted text or `<…>`
/// would end at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceUrl(String);

impl IceUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_stun(&self) -> bool {
        self.0.starts_with("stun:")
    }
}

impl fmt::Display for IceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the section; `None` where no server is named.
pub(super) fn load(reader: &mut Reader) -> Option<TurnConfig> {
    let urls = reader.read("turn.urls", urls).unwrap_or_default();
    let secret = reader.read("turn.secret", secret);
    let lifetime = reader.read("turn.lifetime_s", seconds(60..=86_400));
    let (stun, relays): (Vec<_>, Vec<_>) = urls.into_iter().partition(IceUrl::is_stun);
    let failed = |key| reader.has_failed(key);
    if !relays.is_empty() && secret.is_none() && !failed("turn.secret") {
        let problem = "turn.secret is missing, without which no login at a TURN server can be made";
        let remedy = "set it to what the server has too, `static-auth-secret` with coturn";
        refuse(reader, "turn.urls", problem, remedy);
    } else if relays.is_empty() && secret.is_some() && !failed("turn.urls") {
        let problem = "turn.urls names no TURN server that it would be for";
        let remedy = "name one, as in turn:turn.example, or leave the secret out";
        refuse(reader, "turn.secret", problem, remedy);
    }
    let relays = (!relays.is_empty()).then_some(relays).zip(secret);
    if stun.is_empty() && relays.is_none() {
        return None;
    }
    Some(TurnConfig {
        stun,
        relays: relays.map(|(urls, secret)| Relays { urls, secret }),
        lifetime: lifetime.unwrap_or(DEFAULT_LIFETIME),
    })
}

fn refuse(reader: &mut Reader, key: &'static str, problem: &str, remedy: &str) {
    let (problem, remedy) = (problem.to_owned(), remedy.to_owned());
    reader.refuse(key, Rejection { problem, remedy });
}

fn urls(value: &RawValue) -> Parsed<Vec<IceUrl>> {
    let urls = values::list(value, url)?;
    if urls.len() > MAX_URLS {
        let problem = format!("there are {}", urls.len());
        return reject(problem, format!("name at most {MAX_URLS}"));
    }
    Ok(urls)
}

fn url(value: &RawValue) -> Parsed<IceUrl> {
    let text = text(value)?;
    let Some((scheme, rest)) = text.split_once(':') else {
        return reject("one has no scheme", HINT);
    };
    let (authority, transport) = match rest.split_once('?') {
        Some((authority, query)) => (authority, Some(query)),
        None => (rest, None),
    };
    if authority.contains('@') {
        return reject(
            "one holds a login",
            "leave it out: each browser gets one of its own, made with turn.secret",
        );
    }
    match (scheme, transport) {
        ("stun" | "turn" | "turns", None)
        | ("turn", Some("transport=udp" | "transport=tcp"))
        // Browsers speak no DTLS to TURN servers.
        | ("turns", Some("transport=tcp")) => {}
        ("stun" | "turn" | "turns", Some(query)) => {
            let problem = format!("`?{}` is not known for {scheme}:", query.escape_debug());
            return reject(problem, HINT);
        }
        (other, _) => {
            let problem = format!(
                "`{}:` is neither turn: nor stun:",
                other.escape_debug()
            );
            return reject(problem, HINT);
        }
    }
    host_and_port(authority, STUN_PORT, HINT)?;
    Ok(IceUrl(text))
}

fn secret(value: &RawValue) -> Parsed<Secret> {
    let secret = text(value)?;
    match secret.chars().count() {
        MIN_SECRET..=MAX_SECRET => Ok(Secret::new(secret)),
        _ => reject(
            format!("it has fewer than {MIN_SECRET} characters or more than {MAX_SECRET}"),
            "take what `openssl rand -hex 32` prints, for the TURN server too",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigErrors, Environment};

    const SECRET: (&str, &str) = ("SECRET", "canary-0123456789");

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let variables = variables
            .iter()
            .map(|(name, value)| (format!("APIARY_TURN_{name}"), (*value).to_owned()));
        let environment = Environment {
            variables: variables.collect(),
            ..Environment::default()
        };
        Config::load(None, &environment)
    }

    fn written(urls: &[IceUrl]) -> Vec<&str> {
        urls.iter().map(IceUrl::as_str).collect()
    }

    #[test]
    fn browsers_are_told_of_no_server_unless_one_is_named() {
        assert!(config(&[]).unwrap().turn.is_none());
        assert!(config(&[("LIFETIME_S", "60")]).unwrap().turn.is_none());
        let stun = config(&[("URLS", "stun:stun.example")]).unwrap();
        let stun = stun.turn.unwrap();
        assert_eq!(written(&stun.stun), ["stun:stun.example"]);
        assert!(stun.relays.is_none());
        let urls =
            "turn:[2001:db8::1]:3479?transport=udp,stun:s.example:1,turns:t.example?transport=tcp";
        let all = config(&[("URLS", urls), SECRET, ("LIFETIME_S", "60")]).unwrap();
        assert!(!format!("{all:?}").contains("canary"));
        let all = all.turn.unwrap();
        let relays = all.relays.unwrap();
        assert_eq!(
            written(&relays.urls),
            [
                "turn:[2001:db8::1]:3479?transport=udp",
                "turns:t.example?transport=tcp"
            ]
        );
        assert_eq!(written(&all.stun), ["stun:s.example:1"]);
        assert_eq!(relays.secret.expose(), SECRET.1);
        assert_eq!(all.lifetime.as_secs(), 60);
    }
}
