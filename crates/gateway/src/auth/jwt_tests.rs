//! Signed here by hand with another library than the one that verifies.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::json;

use super::*;
use crate::secret::Secret;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const CAMERA: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";

fn config() -> JwtConfig {
    JwtConfig {
        secret: Some(Secret::new(SECRET)),
        jwks: None,
        jwks_ca: None,
        issuer: None,
        audience: None,
        role_claim: "role".to_owned(),
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn claims() -> Value {
    json!({"sub": "dashboard", "role": "operator", "exp": now() + 60})
}

fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = BASE64.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn by_secret(secret: &[u8], claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    signed(&json!({"alg": "HS256", "typ": "JWT"}), claims, |text| {
        hmac::sign(&key, text).as_ref().to_vec()
    })
}

/// An identity provider with a key of each kind.
pub(in crate::auth) struct Provider {
    rsa: KeyPair,
    ec: EcdsaKeyPair,
}

impl Provider {
    pub(in crate::auth) fn new() -> Self {
        Self {
            rsa: KeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        }
    }

    fn modulus(&self) -> &[u8] {
        self.rsa
            .public_key()
            .modulus()
            .big_endian_without_leading_zero()
    }

    pub(in crate::auth) fn jwks(&self) -> String {
        self.jwks_with("r")
    }

    /// With another name for the RSA key.
    pub(in crate::auth) fn jwks_with(&self, kid: &str) -> String {
        let exponent = self.rsa.public_key().exponent();
        let point = &self.ec.public_key().as_ref()[1..];
        let rsa = json!({"kty": "RSA", "kid": kid, "use": "sig", "n": BASE64.encode(self.modulus()),
            "e": BASE64.encode(exponent.big_endian_without_leading_zero())});
        let ec = json!({"kty": "EC", "crv": "P-256", "kid": "e", "alg": "ES256",
            "x": BASE64.encode(&point[..32]), "y": BASE64.encode(&point[32..])});
        let foreign = json!({"kty": "AKP", "kid": "f", "alg": "ML-DSA-44", "pub": "AA"});
        let useless = json!({"kty": "oct", "kid": "o", "k": BASE64.encode("secret")});
        json!({"keys": [foreign, useless, rsa, ec]}).to_string()
    }

    pub(in crate::auth) fn token(&self) -> String {
        self.token_with("r")
    }

    pub(in crate::auth) fn token_with(&self, kid: &str) -> String {
        self.by_rsa(kid, &claims())
    }

    fn by_rsa(&self, kid: &str, claims: &Value) -> String {
        signed(&json!({"alg": "RS256", "kid": kid}), claims, |text| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            let random = SystemRandom::new();
            self.rsa
                .sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
                .unwrap();
            signature
        })
    }

    fn by_ec(&self, kid: &str, claims: &Value) -> String {
        signed(&json!({"alg": "ES256", "kid": kid}), claims, |text| {
            let random = SystemRandom::new();
            self.ec.sign(&random, text).unwrap().as_ref().to_vec()
        })
    }
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

/// Changes a claim; `null` takes it away.
fn set(claims: &mut Value, claim: &str, value: &Value) {
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(claim);
    } else {
        claims[claim] = value.clone();
    }
}

#[test]
fn who_is_trusted_says_who_somebody_is() {
    let provider = Provider::new();
    let verifier = Verifier::new(&config());
    assert_eq!(verifier.keys.set(&provider.jwks()).unwrap(), 2);
    for token in [
        by_secret(SECRET.as_bytes(), &claims()),
        provider.by_rsa("r", &claims()),
        provider.by_ec("e", &claims()),
    ] {
        let who = verifier.verify(&token).unwrap();
        assert_eq!(
            (who.subject.as_str(), who.role),
            ("dashboard", Role::Operator)
        );
        assert_eq!(who.cameras, CameraScope::All);
        assert!(who.expires_at.as_second() >= now() + 50);
    }
    let list = with(|claims| {
        claims["role"] = json!(["offline_access", "viewer", "operator"]);
        claims["cameras"] = json!([CAMERA]);
        claims["nbf"] = json!(now());
    });
    let who = verifier
        .verify(&by_secret(SECRET.as_bytes(), &list))
        .unwrap();
    assert_eq!(who.role, Role::Operator);
    assert_eq!(who.cameras.to_string(), CAMERA);
}

#[test]
fn h08_forged_and_confused_tokens_are_refused() {
    let provider = Provider::new();
    let verifier = Verifier::new(&config());
    verifier.keys.set(&provider.jwks()).unwrap();
    let stranger = Provider::new();
    let good = by_secret(SECRET.as_bytes(), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let admin = BASE64.encode(with(|claims| claims["role"] = json!("admin")).to_string());
    let none = |alg: &str| signed(&json!({"alg": alg}), &claims(), |_| Vec::new());
    let confused = |alg: &str, secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        signed(&json!({"alg": alg, "kid": "r"}), &claims(), |text| {
            hmac::sign(&key, text).as_ref().to_vec()
        })
    };
    let refused = [
        none("none"),
        none("None"),
        none("HS256"),
        by_secret(b"another secret, just as long as it", &claims()),
        // The public key is known to everybody, so it must not count as a secret.
        confused("HS256", provider.modulus()),
        confused("HS256", provider.jwks().as_bytes()),
        confused("RS256", SECRET.as_bytes()),
        confused("HS512", SECRET.as_bytes()),
        stranger.by_rsa("r", &claims()),
        stranger.by_ec("e", &claims()),
        provider.by_rsa("e", &claims()),
        provider.by_ec("r", &claims()),
        provider.by_rsa("unknown", &claims()),
        format!("{}.{admin}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}.{}", parts[2]),
        "..".to_owned(),
        format!("{good}{}", "A".repeat(MAX_TOKEN)),
    ];
    for token in refused {
        assert!(verifier.verify(&token).is_none(), "{token}");
    }
    // Without a secret, and without keys, nothing is trusted.
    let nobody = Verifier::new(&JwtConfig {
        secret: None,
        ..config()
    });
    assert!(nobody.verify(&good).is_none());
    assert!(nobody.verify(&provider.by_rsa("r", &claims())).is_none());
}

#[test]
fn h08_tokens_that_are_over_early_or_not_for_us_are_refused() {
    let sign = |claims: &Value| by_secret(SECRET.as_bytes(), claims);
    let refuse = |config: JwtConfig, changes: &[(&str, Value)]| {
        let verifier = Verifier::new(&config);
        for (claim, value) in changes {
            let claims = with(|claims| set(claims, claim, value));
            assert!(verifier.verify(&sign(&claims)).is_none(), "{claims}");
        }
    };
    refuse(
        config(),
        &[
            ("exp", json!(now() - 120)),
            ("exp", Value::Null),
            ("exp", json!("never")),
            ("nbf", json!(now() + 120)),
            ("sub", Value::Null),
            ("sub", json!("")),
            ("sub", json!("x".repeat(MAX_SUBJECT + 1))),
            ("sub", json!("line\nbreak")),
            ("role", Value::Null),
            ("role", json!("owner")),
            ("role", json!(3)),
            ("role", json!([])),
            ("cameras", json!(["porch"])),
            ("cameras", json!("*")),
            ("aud", json!("another service")),
        ],
    );
    let strict = JwtConfig {
        issuer: Some("https://id.example".to_owned()),
        audience: Some("apiary".to_owned()),
        role_claim: "groups".to_owned(),
        ..config()
    };
    let full = with(|claims| {
        claims["iss"] = json!("https://id.example");
        claims["aud"] = json!(["apiary", "others"]);
        claims["groups"] = json!(["viewer"]);
    });
    let who = Verifier::new(&strict).verify(&sign(&full)).unwrap();
    assert_eq!(who.role, Role::Viewer, "the claim that is configured");
    for (claim, value) in [
        ("iss", json!("https://id.example.evil.example")),
        ("iss", Value::Null),
        ("aud", json!("others")),
        ("aud", Value::Null),
        ("groups", Value::Null),
    ] {
        let mut claims = full.clone();
        set(&mut claims, claim, &value);
        assert!(
            Verifier::new(&strict).verify(&sign(&claims)).is_none(),
            "{claims}"
        );
    }
}

#[test]
fn keys_change_and_bad_ones_change_nothing() {
    let (before, after) = (Provider::new(), Provider::new());
    let verifier = Verifier::new(&config());
    verifier.keys.set(&before.jwks()).unwrap();
    let many = json!({"keys": vec![json!({"kty": "oct", "k": "AA"}); 65]});
    for bad in [
        "",
        "{}",
        "[]",
        "{\"keys\": []}",
        "{\"keys\": [1]}",
        &many.to_string(),
    ] {
        assert!(verifier.keys.set(bad).is_err(), "{bad}");
    }
    assert!(verifier.verify(&before.by_rsa("r", &claims())).is_some());
    verifier.keys.set(&after.jwks()).unwrap();
    assert!(verifier.verify(&before.by_rsa("r", &claims())).is_none());
    assert!(verifier.verify(&after.by_ec("e", &claims())).is_some());
}
