//! Encryption of Web Push messages for one browser (RFC 8291), as one record of `aes128gcm` (RFC 8188).
//!
//! The salt and the key pair of a message are arguments and must never be used for another one. Who the message is sent for
//! (VAPID), and how, does not belong here.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

/// Octets of an uncompressed point of P-256.
pub const PUBLIC_KEY_LEN: usize = 65;
/// Octets of a browser's authentication secret (RFC 8291 §3.2).
pub const AUTH_LEN: usize = 16;
/// Octets of a message's salt (RFC 8188 §2.1).
pub const SALT_LEN: usize = 16;
/// The record size that is stated; the one record there is may be shorter (RFC 8291 §4).
const RECORD_SIZE: u32 = 4096;
/// Octets of the header: salt, record size, length of the key, key (RFC 8188 §2.1).
const HEADER_LEN: usize = SALT_LEN + 4 + 1 + PUBLIC_KEY_LEN;
/// Octets of an AES-GCM tag.
const TAG_LEN: usize = 16;
/// What ends the last record (RFC 8188 §2).
const LAST_RECORD: u8 = 2;
/// Longest message: push services take bodies of 4096 octets (RFC 8291 §4).
pub const MAX_PLAINTEXT: usize = RECORD_SIZE as usize - HEADER_LEN - TAG_LEN - 1;

/// Why a message cannot be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// The browser's key is none.
    #[error("the browser's key is no point of P-256")]
    BadKey,
    /// It does not fit.
    #[error("a message is longer than {MAX_PLAINTEXT} octets, the most that push services take")]
    TooLong,
}

/// What a browser gave for encrypting messages to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BrowserKeys {
    /// `p256dh`: its public key, an uncompressed point.
    pub public: [u8; PUBLIC_KEY_LEN],
    /// `auth`: a secret shared with it.
    pub auth: [u8; AUTH_LEN],
}

/// Encrypts a message. The result is the body of the request to the push service.
///
/// # Errors
/// See [`EncryptError`].
pub fn encrypt(
    message: &[u8],
    browser: &BrowserKeys,
    own: &PrivateKey,
    salt: [u8; SALT_LEN],
) -> Result<Vec<u8>, EncryptError> {
    if message.len() > MAX_PLAINTEXT {
        return Err(EncryptError::TooLong);
    }
    let own_public = own
        .compute_public_key()
        .map_err(|_| EncryptError::BadKey)?
        .as_ref()
        .to_vec();
    let theirs = UnparsedPublicKey::new(&ECDH_P256, &browser.public);
    let input = agree(own, theirs, EncryptError::BadKey, |shared| {
        Ok(input_key(shared, browser, &own_public))
    })?;
    let prk = Salt::new(HKDF_SHA256, &salt).extract(&input);
    let key = expand::<16>(&prk, &[b"Content-Encoding: aes128gcm\0"]);
    let nonce = expand::<12>(&prk, &[b"Content-Encoding: nonce\0"]);

    let mut sealed = Vec::with_capacity(message.len() + 1 + TAG_LEN);
    sealed.extend_from_slice(message);
    sealed.push(LAST_RECORD);
    let key = UnboundKey::new(&AES_128_GCM, &key).expect("AES-128 has keys of 16 octets");
    LessSafeKey::new(key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut sealed,
        )
        .expect("a short message can be sealed");

    let mut body = Vec::with_capacity(HEADER_LEN + sealed.len());
    body.extend_from_slice(&salt);
    body.extend_from_slice(&RECORD_SIZE.to_be_bytes());
    body.push(PUBLIC_KEY_LEN as u8);
    body.extend_from_slice(&own_public);
    body.extend_from_slice(&sealed);
    Ok(body)
}

/// The input keying material of RFC 8291 §3.4.
fn input_key(shared: &[u8], browser: &BrowserKeys, own_public: &[u8]) -> [u8; 32] {
    let prk = Salt::new(HKDF_SHA256, &browser.auth).extract(shared);
    expand(&prk, &[b"WebPush: info\0", &browser.public, own_public])
}

struct Octets(usize);

impl KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const LEN: usize>(prk: &Prk, info: &[&[u8]]) -> [u8; LEN] {
    let mut out = [0; LEN];
    prk.expand(info, Octets(LEN))
        .and_then(|material| material.fill(&mut out))
        .expect("HKDF gives far more than a key");
    out
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    fn octets<const LEN: usize>(text: &str) -> [u8; LEN] {
        let octets = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        octets.try_into().unwrap()
    }

    /// The browser of RFC 8291, appendix A.
    fn browser() -> BrowserKeys {
        BrowserKeys {
            public: octets(
                "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            ),
            auth: octets("BTBZMqHH6r4Tts7J_aSIgg"),
        }
    }

    fn own() -> PrivateKey {
        let key: [u8; 32] = octets("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        PrivateKey::from_private_key(&ECDH_P256, &key).unwrap()
    }

    #[test]
    fn the_example_of_rfc_8291_comes_out_octet_by_octet() {
        let message = b"When I grow up, I want to be a watermelon";
        let salt = octets("DGv6ra1nlYgDCS1FRnbzlw");
        let body = encrypt(message, &browser(), &own(), salt).unwrap();
        assert_eq!(
            BASE64_URL_SAFE_NO_PAD.encode(body),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl\
             7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        );
    }

    #[test]
    fn what_is_too_long_or_for_no_browser_is_refused() {
        let encrypted = |length, keys| encrypt(&vec![b'x'; length], &keys, &own(), [1; SALT_LEN]);
        assert_eq!(
            encrypted(MAX_PLAINTEXT, browser()).unwrap().len(),
            RECORD_SIZE as usize
        );
        let long = encrypted(MAX_PLAINTEXT + 1, browser());
        assert_eq!(long, Err(EncryptError::TooLong));
        let mut off_the_curve = browser();
        off_the_curve.public[40] ^= 1;
        assert_eq!(encrypted(1, off_the_curve), Err(EncryptError::BadKey));
        let zero = BrowserKeys {
            public: [0; PUBLIC_KEY_LEN],
            ..browser()
        };
        assert_eq!(encrypted(1, zero), Err(EncryptError::BadKey));
    }
}
