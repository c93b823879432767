//! The section `[auth]`: whether anybody has to log in, for how long a login counts, and whose signed tokens count.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::Config;
use super::raw::RawValue;
use super::reader::Reader;
use super::values::{self, Parsed, Rejection, reject, text};
use super::web_address;
use crate::reason::{Code, Reason};
use crate::secret::Secret;

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Shortest secret of signed tokens: HS256 wants 256 bits (RFC 7518 §3.2), which random hexadecimal text of this length
/// has half of, and words never.
pub(super) const MIN_JWT_SECRET: usize = 32;

/// `[auth]`
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Whether accounts are on. By default they are where a page, the API or signaling listens beyond this machine.
    pub enabled: bool,
    /// After this time a login has to be made anew.
    pub session_lifetime: Duration,
    /// Whose signed tokens count.
    pub jwt: JwtConfig,
}

/// Tokens (JWT) that others sign.
#[derive(Clone, Debug)]
pub struct JwtConfig {
    /// What HS256 tokens are signed with.
    pub secret: Option<Secret>,
    /// The public keys of those who sign with RS256 or ES256.
    pub jwks: Option<KeysFrom>,
    /// The certificate authority (PEM) of the server with these keys; without it the system's count.
    pub jwks_ca: Option<PathBuf>,
    /// Who must have signed.
    pub issuer: Option<String>,
    /// For whom they must be.
    pub audience: Option<String>,
    /// Name of the claim that holds the role.
    pub role_claim: String,
}

/// Where public keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysFrom {
    /// In a file.
    File(PathBuf),
    /// At a server.
    Server(Url),
}

pub(super) fn load(reader: &mut Reader) -> AuthConfig {
    let days = reader.read("auth.session_days", values::integer(1..=3650));
    AuthConfig {
        enabled: reader
            .read("auth.enabled", values::boolean)
            .unwrap_or_default(),
        session_lifetime: DAY * u32::try_from(days.unwrap_or(30)).unwrap_or(30),
        jwt: JwtConfig {
            secret: reader.read("auth.jwt_secret", secret),
            jwks: reader.read("auth.jwks", keys_from),
            jwks_ca: keys_authority(reader),
            issuer: reader.read("auth.jwt_issuer", text),
            audience: reader.read("auth.jwt_audience", text),
            role_claim: reader
                .read("auth.jwt_role_claim", text)
                .unwrap_or_else(|| "role".to_owned()),
        },
    }
}

fn keys_from(value: &RawValue) -> Parsed<KeysFrom> {
    if text(value)?.contains("://") {
        web_address::asked(value).map(KeysFrom::Server)
    } else {
        values::readable_file(value).map(KeysFrom::File)
    }
}

fn keys_authority(reader: &mut Reader) -> Option<PathBuf> {
    let ca = reader.read("auth.jwks_ca", values::readable_file);
    let keys = reader.read_unjudged("auth.jwks", keys_from);
    let is_file = matches!(keys, Some(KeysFrom::File(_)));
    if ca.is_some() && (is_file || !reader.is_set("auth.jwks")) {
        let rejection = Rejection {
            problem: "it is about a server, and auth.jwks names none".to_owned(),
            remedy: "write the server's address into auth.jwks, or leave it out".to_owned(),
        };
        reader.refuse("auth.jwks_ca", rejection);
    }
    ca
}

fn secret(value: &RawValue) -> Parsed<Secret> {
    let secret = text(value)?;
    if secret.len() < MIN_JWT_SECRET {
        return reject(
            format!(
                "it has fewer than {MIN_JWT_SECRET} characters, and whoever guesses it is administrator"
            ),
            "write what `openssl rand -hex 32` prints",
        );
    }
    Ok(Secret::new(secret))
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
        let text = format!(
            "accounts are off, and {address} can be reached from outside this machine: whoever reaches it can watch \
             and command all cameras"
        );
        let reason = Reason::new(Code::AccountsOffOpen, text);
        reader.note("auth.enabled", reason.with("address", address));
    }
}
