//! Secrets that somebody shows: how they are made, and how they are recognised without being kept.

use apiary_store::{SecretHash, ShareId};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use uuid::Uuid;

/// Random octets of a secret.
const SECRET_OCTETS: usize = 32;
/// Longest text that is looked at as a secret.
const MAX_SECRET: usize = 128;
/// Octets of a share link's signature (HMAC-SHA256, truncated as RFC 2104 §5 allows).
const SIGNATURE_OCTETS: usize = 16;

/// A new secret: what begins with `prefix` says what it is for, to people and to scanners for leaked secrets.
pub fn new_secret(prefix: &str) -> String {
    format!("{prefix}{}", BASE64.encode(random::<SECRET_OCTETS>()))
}

/// What is kept of a secret; `None` for what none of ours looks like.
pub(super) fn hash(secret: &str) -> Option<SecretHash> {
    if secret.is_empty() || secret.len() > MAX_SECRET {
        return None;
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    Some(SecretHash(hash))
}

pub(super) fn random<const OCTETS: usize>() -> [u8; OCTETS] {
    let mut octets = [0; OCTETS];
    OsRng
        .try_fill_bytes(&mut octets)
        .expect("the system gives random numbers");
    octets
}

/// Signs share links. A forged one is refused before anything is looked up.
pub struct ShareKey(hmac::Key);

impl ShareKey {
    /// A new key, in hexadecimal digits, to be kept.
    pub fn propose() -> String {
        random::<SECRET_OCTETS>()
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect()
    }

    /// The key that was kept.
    pub fn new(kept: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, kept.as_bytes()))
    }

    /// What a link to this share holds.
    pub fn sign(&self, share: ShareId) -> String {
        let id = share.0.as_bytes();
        let signature = hmac::sign(&self.0, id);
        let signature = &signature.as_ref()[..SIGNATURE_OCTETS];
        format!("aps_{}", BASE64.encode([id.as_slice(), signature].concat()))
    }

    /// The share of a link that we signed.
    pub fn verify(&self, token: &str) -> Option<ShareId> {
        let octets = BASE64.decode(token.strip_prefix("aps_")?).ok()?;
        let (id, signature) = octets.split_at_checked(16)?;
        let expected = hmac::sign(&self.0, id);
        aws_lc_rs::constant_time::verify_slices_are_equal(
            &expected.as_ref()[..SIGNATURE_OCTETS],
            signature,
        )
        .ok()?;
        Uuid::from_slice(id).ok().map(ShareId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_are_recognised_by_their_hash() {
        let (one, two) = (new_secret("apt_"), new_secret("apt_"));
        assert_ne!(one, two);
        assert!(one.starts_with("apt_") && one.len() >= 4 + 43);
        assert_eq!(hash(&one), hash(&one));
        assert_ne!(hash(&one), hash(&two));
        assert_eq!(hash(""), None);
        assert_eq!(hash(&"x".repeat(MAX_SECRET + 1)), None);
    }

    #[test]
    fn h08_only_what_we_signed_is_a_share() {
        let key = ShareKey::new(&ShareKey::propose());
        let share = ShareId::random();
        let token = key.sign(share);
        assert_eq!(key.verify(&token), Some(share));
        assert_eq!(
            ShareKey::new("other").verify(&token),
            None,
            "another installation's"
        );
        // Whichever character is changed: refused, or (in bits that base64 does not carry) no text of ours.
        for i in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_ne!(key.verify(&changed), Some(share), "{changed}");
        }
        for cut in 0..token.len() {
            assert_eq!(key.verify(&token[..cut]), None);
        }
        assert_eq!(key.verify(&format!("{token}AA")), None);
    }
}
