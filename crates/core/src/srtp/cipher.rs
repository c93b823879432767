//! The primitives: AES in counter mode, AES-GCM and HMAC-SHA1, all with keys expanded once.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

/// Octets of an AES-GCM tag.
pub(super) const GCM_TAG_LEN: usize = 16;
/// Octets of the truncated HMAC-SHA1 tag.
pub(super) const HMAC_TAG_LEN: usize = 10;

/// AES in counter mode with a 128- or 256-bit key.
pub(super) struct AesCtr(EncryptingKey);

impl AesCtr {
    pub(super) fn new(key: &[u8]) -> Self {
        let algorithm = match key.len() {
            16 => &AES_128,
            _ => &AES_256,
        };
        let key = UnboundCipherKey::new(algorithm, key).expect("profiles have 16 or 32 octet keys");
        Self(EncryptingKey::ctr(key).expect("AES knows counter mode"))
    }

    /// Encrypts or decrypts in place.
    pub(super) fn apply(&self, iv: &[u8; 16], in_out: &mut [u8]) {
        if in_out.is_empty() {
            return;
        }
        self.0
            .less_safe_encrypt(in_out, EncryptionContext::Iv128(FixedLength::from(*iv)))
            .expect("counter mode takes any length");
    }
}

/// AES-GCM with a 128- or 256-bit key.
pub(super) struct AesGcm(LessSafeKey);

impl AesGcm {
    pub(super) fn new(key: &[u8]) -> Self {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            _ => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).expect("profiles have 16 or 32 octet keys");
        Self(LessSafeKey::new(key))
    }

    /// Writes the sealed `plaintext` and the tag over `out`, which has just that length; authenticates `aad` as well.
    pub(super) fn seal_into(&self, nonce: [u8; 12], aad: &[u8], plaintext: &[u8], out: &mut [u8]) {
        let (ciphertext, tag) = out.split_at_mut(plaintext.len());
        self.0
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                plaintext,
                ciphertext,
                &[],
                tag,
            )
            .expect("a packet is far below the limits of AES-GCM");
    }

    /// Appends `prefix`, the sealed `plaintext` and the tag to `out`, authenticating `aad` instead of the prefix.
    pub(super) fn seal_after(
        &self,
        nonce: [u8; 12],
        prefix: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        out.extend_from_slice(prefix);
        out.resize(start + prefix.len() + plaintext.len() + GCM_TAG_LEN, 0);
        self.seal_into(nonce, aad, plaintext, &mut out[start + prefix.len()..]);
    }

    /// Opens ciphertext and tag in place; `None` when they are not authentic.
    pub(super) fn open<'a>(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        in_out: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), in_out)
            .ok()
    }
}

/// HMAC-SHA1 truncated to 80 bits.
pub(super) struct HmacSha1_80(hmac::Key);

impl HmacSha1_80 {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key))
    }

    /// The tag over `parts` one after the other.
    pub(super) fn tag(&self, parts: [&[u8]; 2]) -> [u8; HMAC_TAG_LEN] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let full = context.sign();
        let mut tag = [0; HMAC_TAG_LEN];
        tag.copy_from_slice(&full.as_ref()[..HMAC_TAG_LEN]);
        tag
    }

    /// Whether `tag` is the right one, in constant time.
    pub(super) fn verify(&self, parts: [&[u8]; 2], tag: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag(parts), tag).is_ok()
    }
}
