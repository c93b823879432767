//! Logins at TURN servers, made for each session and good for a time (draft-uberti-behave-turn-rest-00; coturn's
//! `use-auth-secret`). The server has the same secret and checks them without asking us. Nothing of HTTP.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::config::{DEFAULT_LIFETIME, IceUrl, Relays, TurnConfig};
use crate::secret::Secret;

/// The STUN and TURN servers that browsers are told of.
#[derive(Clone, Debug)]
pub struct IceServers(Option<TurnConfig>);

/// Servers that are used alike, as `RTCIceServer` has them.
#[derive(Debug)]
pub struct IceServer {
    /// Where they are.
    pub urls: Vec<IceUrl>,
    /// What is shown there, where they ask for it.
    pub login: Option<Login>,
}

/// A user name and password at TURN servers.
#[derive(Clone, Debug)]
pub struct Login {
    /// When it ends, in seconds since 1970, and whose it is.
    pub username: String,
    /// The password.
    pub credential: Secret,
}

impl IceServers {
    /// Those of `[turn]`.
    pub fn new(config: Option<TurnConfig>) -> Self {
        Self(config)
    }

    /// How long what is told counts, that there is no server too.
    pub fn lifetime(&self) -> Duration {
        let config = self.0.as_ref();
        config.map_or(DEFAULT_LIFETIME, |config| config.lifetime)
    }

    /// What a browser is told. `session` goes over the network unencrypted and into the servers' logs: it must tell no name
    /// and no camera, and let those who run the program find out whose it is.
    pub fn told_to(&self, session: &str, now: Timestamp) -> Vec<IceServer> {
        let Some(config) = &self.0 else {
            return Vec::new();
        };
        let stun = (!config.stun.is_empty()).then(|| IceServer {
            urls: config.stun.clone(),
            login: None,
        });
        let relays = config.relays.as_ref().map(|relays| IceServer {
            urls: relays.urls.clone(),
            login: Some(login(relays, session, now + config.lifetime)),
        });
        stun.into_iter().chain(relays).collect()
    }
}

fn login(relays: &Relays, session: &str, ends: Timestamp) -> Login {
    let username = format!("{}:{session}", ends.as_second());
    let secret = relays.secret.expose().as_bytes();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, username.as_bytes());
    Login {
        username,
        credential: Secret::new(STANDARD.encode(tag)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn servers(urls: &str, secret: Option<&str>) -> IceServers {
        let mut variables = vec![("APIARY_TURN_URLS", urls)];
        variables.extend(secret.map(|secret| ("APIARY_TURN_SECRET", secret)));
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = Environment {
            variables: variables.collect(),
            ..Environment::default()
        };
        IceServers::new(Config::load(None, &environment).unwrap().turn)
    }

    /// What `printf 1700003600:viewer-1 | openssl dgst -sha1 -hmac north-0123456789 -binary | base64` prints.
    #[test]
    fn a_login_is_what_the_servers_work_out_themselves() {
        let servers = servers(
            "turn:turn.example,stun:stun.example",
            Some("north-0123456789"),
        );
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let told = servers.told_to("viewer-1", now);
        let [stun, turn] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!(stun.urls[0].as_str(), "stun:stun.example");
        assert!(stun.login.is_none());
        assert_eq!(turn.urls[0].as_str(), "turn:turn.example");
        let login = turn.login.as_ref().unwrap();
        assert_eq!(login.username, "1700003600:viewer-1");
        assert_eq!(login.credential.expose(), "JxUihZHKCkAlMlzlCL7DLIJ9h5g=");
        assert!(!format!("{told:?}").contains(login.credential.expose()));
    }

    #[test]
    fn without_a_secret_nobody_gets_a_login() {
        let told = servers("stun:stun.example", None).told_to("x", Timestamp::UNIX_EPOCH);
        assert!(told.len() == 1 && told[0].login.is_none(), "{told:?}");
        assert!(
            IceServers::new(None)
                .told_to("x", Timestamp::UNIX_EPOCH)
                .is_empty()
        );
    }
}
