//! Who sends: the key pair by which push services and browsers know this installation (RFC 8292).

use std::num::ParseIntError;

use apiary_core::push::PUBLIC_KEY_LEN;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use url::Url;

/// How long a token counts; push services take at most 24 h (RFC 8292 §2).
const LIFETIME: SignedDuration = SignedDuration::from_hours(12);

/// A text that is no key of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no P-256 key pair in hexadecimal digits")]
pub struct BadVapidKey;

/// The key pair. Never printed.
pub(super) struct VapidKey {
    private: EncodingKey,
    public: [u8; PUBLIC_KEY_LEN],
}

/// What a token says.
#[derive(Serialize)]
struct Claims<'a> {
    aud: String,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
}

impl VapidKey {
    /// A new key pair, in hexadecimal digits, to be kept.
    pub(super) fn propose() -> String {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let pair = pair.expect("the system gives random numbers");
        let octets = pair.as_ref().iter();
        octets.map(|octet| format!("{octet:02x}")).collect()
    }

    /// The key pair that was kept.
    pub(super) fn new(kept: &str) -> Result<Self, BadVapidKey> {
        let octets = octets(kept).map_err(|_| BadVapidKey)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &octets);
        let pair = pair.map_err(|_| BadVapidKey)?;
        let public = pair.public_key().as_ref().try_into();
        Ok(Self {
            private: EncodingKey::from_ec_der(&octets),
            public: public.map_err(|_| BadVapidKey)?,
        })
    }

    /// What browsers are given when they subscribe.
    pub(super) fn public(&self) -> String {
        BASE64.encode(self.public)
    }

    /// The header `Authorization` of a message to that endpoint, sent at `now`, about which `contact` may be asked.
    pub(super) fn authorization(
        &self,
        endpoint: &Url,
        contact: Option<&str>,
        now: Timestamp,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            aud: endpoint.origin().ascii_serialization(),
            exp: now.saturating_add(LIFETIME).unwrap_or(now).as_second(),
            sub: contact,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &self.private)?;
        Ok(format!("vapid t={token}, k={}", self.public()))
    }
}

fn octets(hexadecimal: &str) -> Result<Vec<u8>, ParseIntError> {
    let digits = hexadecimal.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_token_says_for_whom_until_when_and_from_whom_and_is_signed() {
        let key = VapidKey::new(&VapidKey::propose()).unwrap();
        let endpoint = Url::parse("https://push.example/send/abc?d=e").unwrap();
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let header = key.authorization(&endpoint, Some("mailto:me@hive.example"), now);
        let header = header.unwrap();
        let (token, public) = header
            .strip_prefix("vapid t=")
            .and_then(|rest| rest.split_once(", k="))
            .unwrap();
        assert_eq!(public, key.public());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let public =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, BASE64.decode(public).unwrap());
        let signature = BASE64.decode(signature).unwrap();
        public.verify(signed.as_bytes(), &signature).unwrap();
        let (head, claims) = signed.split_once('.').unwrap();
        let read = |part| serde_json::from_slice::<Value>(&BASE64.decode(part).unwrap()).unwrap();
        assert_eq!(read(head), json!({ "typ": "JWT", "alg": "ES256" }));
        let expected = json!({
            "aud": "https://push.example",
            "exp": 1_700_000_000 + 12 * 3600,
            "sub": "mailto:me@hive.example",
        });
        assert_eq!(read(claims), expected);
    }

    #[test]
    fn a_key_comes_back_from_what_was_kept_and_others_are_refused() {
        let kept = VapidKey::propose();
        let public = VapidKey::new(&kept).unwrap().public();
        assert_eq!(VapidKey::new(&kept).unwrap().public(), public);
        assert_ne!(
            VapidKey::new(&VapidKey::propose()).unwrap().public(),
            public
        );
        for wrong in ["", "0g", "é", &kept[2..], &"00".repeat(138)] {
            assert!(VapidKey::new(wrong).is_err(), "{wrong}");
        }
    }
}
