//! Who signed a request (RFC 8555 §6.2, RFC 7515), with ES256 alone.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

/// The public key of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccountKey {
    x: String,
    y: String,
}

/// A request whose signature is not yet checked.
pub(super) struct Signed {
    pub(super) header: Value,
    pub(super) payload: Value,
    signed: String,
    signature: Vec<u8>,
}

impl Signed {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let [header, payload, signature] =
            ["protected", "payload", "signature"].map(|part| body[part].as_str());
        let (header, payload) = (header?, payload?);
        let decoded = BASE64.decode(payload).ok()?;
        Some(Self {
            header: serde_json::from_slice(&BASE64.decode(header).ok()?).ok()?,
            // POST-as-GET has none.
            payload: serde_json::from_slice(&decoded).unwrap_or(Value::Null),
            signed: format!("{header}.{payload}"),
            signature: BASE64.decode(signature?).ok()?,
        })
    }

    /// Whether that key signed it.
    pub(super) fn is_by(&self, key: &AccountKey) -> bool {
        let point = key.point().unwrap_or_default();
        self.header["alg"] == "ES256"
            && UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(self.signed.as_bytes(), &self.signature)
                .is_ok()
    }
}

impl Signed {
    /// Whether the holder of that key binds an account to `account` with it (RFC 8555 §7.3.4).
    pub(super) fn binds(&self, account: &AccountKey, external: &External) -> bool {
        let (id, key) = external;
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let header = &self.header;
        header["alg"] == "HS256"
            && header["kid"] == *id
            && header["nonce"].is_null()
            && AccountKey::of(&json!({"jwk": self.payload})).as_ref() == Some(account)
            && hmac::verify(&key, self.signed.as_bytes(), &self.signature).is_ok()
    }
}

/// An account somewhere else: its id and key.
pub(super) type External = (String, Vec<u8>);

impl AccountKey {
    /// The one in the header, which a new account brings.
    pub(super) fn of(header: &Value) -> Option<Self> {
        let jwk = &header["jwk"];
        let is_p256 = jwk["kty"] == "EC" && jwk["crv"] == "P-256";
        let [x, y] = ["x", "y"].map(|part| jwk[part].as_str().map(str::to_owned));
        is_p256.then_some(Self { x: x?, y: y? })
    }

    fn point(&self) -> Option<Vec<u8>> {
        let [x, y] = [&self.x, &self.y].map(|part| BASE64.decode(part));
        Some([&[4], &x.ok()?[..], &y.ok()?[..]].concat())
    }

    /// What the answer to a challenge is (RFC 8555 §8.1, RFC 7638).
    pub(super) fn key_authorization(&self, token: &str) -> String {
        let (x, y) = (&self.x, &self.y);
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let thumb = BASE64.encode(digest(&SHA256, jwk.as_bytes()));
        format!("{token}.{thumb}")
    }
}
