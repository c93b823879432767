//! The ID token: whether it may be believed (OpenID Connect Core 1.0 §3.1.3.7).
//!
//! It came from the provider itself over TLS, which would be proof enough there; it is verified all the same, by the rules
//! that other tokens are (RS256 and ES256 alone, each by a key that is made for it).

use jsonwebtoken::{Algorithm, Header, Validation, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::auth::{KeySet, Unverified};

/// Longest token that is looked at, in octets.
const MAX_TOKEN: usize = 64 * 1024;
/// The provider's clock may differ from ours by so many seconds.
const LEEWAY_S: u64 = 30;
/// Longest subject (OpenID Connect Core 1.0 §2).
const MAX_SUBJECT: usize = 255;

/// Why a token is not believed.
#[derive(Debug, thiserror::Error)]
pub enum IdTokenError {
    /// It is none.
    #[error("what the provider gives is no ID token")]
    Form,
    /// It is not signed as it must be.
    #[error(
        "the provider signs with {0:?}, and only RS256 and ES256 count; choose one of them there"
    )]
    Algorithm(Algorithm),
    /// It is not signed by the provider, or not meant for us, or over.
    #[error("the ID token does not hold: {0}")]
    Unverified(String),
    /// It is for several, and was not asked for by us.
    #[error("the ID token was given to another client")]
    Party,
    /// It belongs to another login.
    #[error("the ID token belongs to another login")]
    Nonce,
    /// It says of nobody that it is them.
    #[error("the ID token names nobody that can be kept")]
    Subject,
}

impl From<Unverified> for IdTokenError {
    fn from(error: Unverified) -> Self {
        Self::Unverified(error.to_string())
    }
}

/// What it has to hold.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
}

/// What it holds.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct IdToken {
    pub(super) sub: String,
    aud: Value,
    azp: Option<String>,
    nonce: Option<String>,
    #[serde(flatten)]
    pub(super) others: Map<String, Value>,
}

/// How it is signed, by its own word.
pub(super) fn header(token: &str) -> Result<Header, IdTokenError> {
    if token.len() > MAX_TOKEN {
        return Err(IdTokenError::Form);
    }
    // `alg: none` is nothing that the library knows.
    let header = decode_header(token).map_err(|_| IdTokenError::Form)?;
    if matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) {
        Ok(header)
    } else {
        Err(IdTokenError::Algorithm(header.alg))
    }
}

pub(super) fn verify(
    token: &str,
    header: &Header,
    keys: &KeySet,
    expected: &Expected<'_>,
) -> Result<IdToken, IdTokenError> {
    let rules = |algorithm| {
        let mut rules = Validation::new(algorithm);
        rules.leeway = LEEWAY_S;
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
        rules.set_issuer(&[expected.issuer]);
        rules.set_audience(&[expected.client_id]);
        rules
    };
    let token: IdToken = keys.verify(token, header, &rules)?;
    let several = token.aud.as_array().is_some_and(|many| many.len() > 1);
    match &token.azp {
        Some(party) if party != expected.client_id => return Err(IdTokenError::Party),
        None if several => return Err(IdTokenError::Party),
        Some(_) | None => {}
    }
    if token.nonce.as_deref() != Some(expected.nonce) {
        return Err(IdTokenError::Nonce);
    }
    let subject_fits = (1..=MAX_SUBJECT).contains(&token.sub.chars().count());
    if !subject_fits || token.sub.chars().any(char::is_control) {
        return Err(IdTokenError::Subject);
    }
    Ok(token)
}
