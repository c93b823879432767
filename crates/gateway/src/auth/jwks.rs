//! Public keys of those who sign tokens: JSON Web Key Sets (RFC 7517), as far as they are for RS256 and ES256.

use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;

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

/// Why a token does not count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unverified {
    #[error("it is signed by a key that is not known")]
    UnknownKey,
    #[error(transparent)]
    Refused(#[from] jsonwebtoken::errors::Error),
}

/// Keys that may change while tokens are verified by them.
#[derive(Default)]
pub struct KeySet {
    keys: RwLock<Arc<[PublicKey]>>,
    /// A token named a key that is not there.
    missed: Notify,
}

/// A public key and what it verifies.
#[derive(Clone)]
struct PublicKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What RFC 7517 §5 describes. What is in it that we do not understand is passed over, as it demands.
#[derive(Deserialize)]
struct Written {
    keys: Vec<Value>,
}

impl KeySet {
    /// Takes these public keys in place of those before; gives how many can be used.
    ///
    /// # Errors
    /// When there is none among them; those before stay.
    pub fn set(&self, jwks: &str) -> Result<usize, JwksError> {
        let keys = read(jwks)?;
        let count = keys.len();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(count)
    }

    /// What a token holds that one of the keys signed, by the algorithm that the key is for.
    pub(crate) fn verify<C: DeserializeOwned + Clone>(
        &self,
        token: &str,
        header: &Header,
        rules: &dyn Fn(Algorithm) -> Validation,
    ) -> Result<C, Unverified> {
        let keys = self.keys();
        let mut why = Unverified::UnknownKey;
        for key in keys.iter().filter(|key| key.fits(header)) {
            match decoded(token, &key.key, &rules(key.algorithm)) {
                Ok(claims) => return Ok(claims),
                Err(error) => why = error,
            }
        }
        if matches!(why, Unverified::UnknownKey) {
            self.missed.notify_one();
        }
        Err(why)
    }

    /// Whether there is a key that a token of this header may be signed with.
    pub(crate) fn has_key_for(&self, header: &Header) -> bool {
        self.keys().iter().any(|key| key.fits(header))
    }

    /// Waits until a token names a key that is not there; at once, where one did since this was awaited last.
    pub(super) async fn missed(&self) {
        self.missed.notified().await;
    }

    fn keys(&self) -> Arc<[PublicKey]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PublicKey {
    fn fits(&self, header: &Header) -> bool {
        self.algorithm == header.alg && (header.kid.is_none() || self.id == header.kid)
    }

    /// What of a set can verify RS256 or ES256.
    fn of(jwk: &Jwk) -> Option<Self> {
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
        match jwk.common.public_key_use {
            None | Some(PublicKeyUse::Signature) => {}
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)) => return None,
        }
        Some(Self {
            id: jwk.common.key_id.clone(),
            algorithm,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

fn read(jwks: &str) -> Result<Arc<[PublicKey]>, JwksError> {
    let written: Written = serde_json::from_str(jwks).map_err(JwksError::Form)?;
    if written.keys.len() > MAX_KEYS {
        return Err(JwksError::TooMany);
    }
    let understood = written
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value(key).ok());
    let keys: Arc<[PublicKey]> = understood.filter_map(|key| PublicKey::of(&key)).collect();
    if keys.is_empty() {
        return Err(JwksError::NoKey);
    }
    Ok(keys)
}

/// What a token holds that is signed with this key and keeps to the rules.
pub(super) fn decoded<C: DeserializeOwned + Clone>(
    token: &str,
    key: &DecodingKey,
    rules: &Validation,
) -> Result<C, Unverified> {
    Ok(decode::<C>(token, key, rules)?.claims)
}
