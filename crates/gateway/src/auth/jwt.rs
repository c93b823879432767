//! JSON Web Tokens (RFC 7519) that others sign: a dashboard that shares a secret with us, or an identity provider whose
//! public keys we know.
//!
//! Which algorithm counts is decided by the key, never by the token alone: the shared secret verifies HS256 and nothing else, a
//! public key what its type is made for. So neither `none` nor a public key that is used as a secret gets anybody in.

use std::collections::HashMap;
use std::sync::Arc;

use apiary_store::{CameraScope, Role};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::SignedToken;
use super::jwks::{self, KeySet, Unverified};
use crate::config::JwtConfig;

/// Longest token that is looked at, in octets.
const MAX_TOKEN: usize = 8 * 1024;
/// Clocks of others may be ahead of ours by so many seconds: for `nbf`. What is over is over.
const LEEWAY_S: u64 = 30;
/// Longest subject, in characters.
const MAX_SUBJECT: usize = 100;
/// Verifies tokens.
pub(super) struct Verifier {
    secret: Option<DecodingKey>,
    pub(super) keys: Arc<KeySet>,
    issuer: Option<String>,
    audience: Option<String>,
    role_claim: String,
}

/// What is read of a token, beside the role.
#[derive(Clone, Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    #[serde(default)]
    cameras: Option<Vec<String>>,
    #[serde(flatten)]
    others: HashMap<String, Value>,
}

impl Verifier {
    /// With the secret alone; public keys come into [`Verifier::keys`].
    pub(super) fn new(config: &JwtConfig) -> Self {
        let secret = config.secret.as_ref();
        Self {
            secret: secret.map(|secret| DecodingKey::from_secret(secret.expose().as_bytes())),
            keys: Arc::default(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            role_claim: config.role_claim.clone(),
        }
    }

    /// Who shows a token, by its word; `None` for what nobody signed whom we trust, for what is over or not yet valid, and
    /// for what names no role.
    pub(super) fn verify(&self, token: &str) -> Option<SignedToken> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let claims = self.claims(token)?;
        let subject_fits = (1..=MAX_SUBJECT).contains(&claims.sub.chars().count());
        if !subject_fits || claims.sub.chars().any(char::is_control) {
            return None;
        }
        let role = role(claims.others.get(&self.role_claim)?)?;
        let cameras = match claims.cameras {
            Some(ids) => CameraScope::Only(
                ids.iter()
                    .map(|id| id.parse().ok())
                    .collect::<Option<_>>()?,
            ),
            None => CameraScope::All,
        };
        Some(SignedToken {
            subject: claims.sub,
            role,
            cameras,
            expires_at: Timestamp::from_second(claims.exp).ok()?,
        })
    }

    fn claims(&self, token: &str) -> Option<Claims> {
        let header = decode_header(token).ok()?;
        let verified = if header.alg == Algorithm::HS256 {
            let secret = self.secret.as_ref()?;
            jwks::decoded(token, secret, &self.rules(Algorithm::HS256))
        } else {
            self.keys
                .verify(token, &header, &|algorithm| self.rules(algorithm))
        };
        let refused = |error: &Unverified| tracing::debug!(%error, "a signed token is refused");
        verified.inspect_err(refused).ok()
    }

    fn rules(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        // A token that is meant for others is refused even where we name no audience of our own.
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation
    }
}

/// The highest role of a claim: one word, or a list with some that mean nothing here.
fn role(claim: &Value) -> Option<Role> {
    match claim {
        Value::String(word) => word.parse().ok(),
        Value::Array(words) => words
            .iter()
            .filter_map(|word| word.as_str()?.parse().ok())
            .max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
pub(super) mod tests;
