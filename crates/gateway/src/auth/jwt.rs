//! JSON Web Tokens (RFC 7519) that others sign: a dashboard that shares a secret with us, or an identity provider whose
//! public keys we know.
//!
//! Which algorithm counts is decided by the key, never by the token alone: the shared secret verifies HS256 and nothing else, a
//! public key what its type is made for. So neither `none` nor a public key that is used as a secret gets anybody in.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use apiary_store::{CameraScope, Role};
use jiff::Timestamp;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::SignedToken;
use crate::config::JwtConfig;

/// Longest token that is looked at, in octets.
const MAX_TOKEN: usize = 8 * 1024;
/// Clocks of others may be ahead of ours by so many seconds: for `nbf`. What is over is over.
const LEEWAY_S: u64 = 30;
/// Longest subject, in characters.
const MAX_SUBJECT: usize = 100;
/// Most public keys.
const MAX_KEYS: usize = 64;

/// Why a text is no set of keys.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// It is no JSON, or not what RFC 7517 describes.
    #[error("it is no JSON Web Key Set (RFC 7517)")]
    Form(#[source] serde_json::Error),
    /// There is no key in it that we can use.
    #[error("it holds no key for RS256 or ES256")]
    NoKey,
    /// There are too many.
    #[error("it holds more than {MAX_KEYS} keys")]
    TooMany,
}

/// A public key and what it verifies.
struct PublicKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Verifies tokens.
pub(super) struct Verifier {
    secret: Option<DecodingKey>,
    keys: RwLock<Arc<[PublicKey]>>,
    issuer: Option<String>,
    audience: Option<String>,
    role_claim: String,
}

/// What is read of a token, beside the role.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    #[serde(default)]
    cameras: Option<Vec<String>>,
    #[serde(flatten)]
    others: HashMap<String, Value>,
}

impl Verifier {
    /// With the secret alone; public keys come by [`Verifier::set_keys`].
    pub(super) fn new(config: &JwtConfig) -> Self {
        let secret = config.secret.as_ref();
        Self {
            secret: secret.map(|secret| DecodingKey::from_secret(secret.expose().as_bytes())),
            keys: RwLock::new(Arc::new([])),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            role_claim: config.role_claim.clone(),
        }
    }

    /// Takes these public keys in place of those before; gives how many can be used.
    ///
    /// # Errors
    /// When there is none among them; those before stay.
    pub(super) fn set_keys(&self, jwks: &str) -> Result<usize, JwksError> {
        let set: JwkSet = serde_json::from_str(jwks).map_err(JwksError::Form)?;
        if set.keys.len() > MAX_KEYS {
            return Err(JwksError::TooMany);
        }
        let keys: Arc<[PublicKey]> = set.keys.iter().filter_map(public_key).collect();
        let count = keys.len();
        if count == 0 {
            return Err(JwksError::NoKey);
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(count)
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
        if header.alg == Algorithm::HS256 {
            return self.decode(token, self.secret.as_ref()?, Algorithm::HS256);
        }
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let fits = |key: &&PublicKey| {
            key.algorithm == header.alg && (header.kid.is_none() || key.id == header.kid)
        };
        keys.iter()
            .filter(fits)
            .find_map(|key| self.decode(token, &key.key, key.algorithm))
    }

    fn decode(&self, token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Claims> {
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
        match decode::<Claims>(token, key, &validation) {
            Ok(decoded) => Some(decoded.claims),
            Err(error) => {
                tracing::debug!(%error, "a signed token is refused");
                None
            }
        }
    }
}

/// What of a set can verify RS256 or ES256.
fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(parameters)
            if parameters.curve == EllipticCurve::P256 =>
        {
            Algorithm::ES256
        }
        AlgorithmParameters::EllipticCurve(_)
        | AlgorithmParameters::OctetKey(_)
        | AlgorithmParameters::OctetKeyPair(_) => return None,
    };
    // A key that says for what it is must say this.
    match (jwk.common.key_algorithm, algorithm) {
        (None, _)
        | (Some(KeyAlgorithm::RS256), Algorithm::RS256)
        | (Some(KeyAlgorithm::ES256), Algorithm::ES256) => {}
        (Some(_), _) => return None,
    }
    Some(PublicKey {
        id: jwk.common.key_id.clone(),
        algorithm,
        key: DecodingKey::from_jwk(jwk).ok()?,
    })
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
