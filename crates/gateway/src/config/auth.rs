//! The section `[auth]`: whether anybody has to log in, and for how long a login counts.

use std::time::Duration;

use super::Config;
use super::reader::Reader;
use super::values;

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// `[auth]`
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Whether accounts are on. By default they are where a page, the API or signaling listens beyond this machine.
    pub enabled: bool,
    /// After this time a login has to be made anew.
    pub session_lifetime: Duration,
}

pub(super) fn load(reader: &mut Reader) -> AuthConfig {
    let days = reader.read("auth.session_days", values::integer(1..=3650));
    AuthConfig {
        enabled: reader
            .read("auth.enabled", values::boolean)
            .unwrap_or_default(),
        session_lifetime: DAY * u32::try_from(days.unwrap_or(30)).unwrap_or(30),
    }
}

/// What depends on where the program listens.
pub(super) fn decide(config: &mut Config, reader: &mut Reader) {
    let listens = config.http.listen.iter().chain(&config.signaling.listen);
    let open = listens
        .filter(|address| !address.ip().is_loopback())
        .map(ToString::to_string)
        .next();
    if !reader.is_set("auth.enabled") {
        config.auth.enabled = open.is_some();
    } else if let Some(address) = open
        && !config.auth.enabled
        && !reader.has_failed("auth.enabled")
    {
        reader.note(
            "auth.enabled",
            format!(
                "accounts are off, and {address} can be reached from outside this machine: whoever reaches it can watch \
                 and command all cameras"
            ),
        );
    }
}
