//! Protection of RTCP in both directions (RFC 3711 §3.4, RFC 7714 §9).

use super::cipher::{AesCtr, AesGcm, GCM_TAG_LEN, HMAC_TAG_LEN, HmacSha1_80};
use super::kdf::SessionKeys;
use super::replay::ReplayWindow;
use super::rtp::counter_iv;
use super::{MasterKey, SrtpProfile};

/// The part of an RTCP packet that stays in clear: its first header word and the sender's SSRC.
const CLEAR_LEN: usize = 8;
const INDEX_LEN: usize = 4;
/// The bit of the index word that says "encrypted".
const ENCRYPTED: u32 = 1 << 31;

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each viewer and direction; a box would only move the same octets"
)]
enum RtcpCipher {
    Gcm {
        key: AesGcm,
        salt: [u8; 12],
    },
    CtrHmac {
        key: AesCtr,
        salt: [u8; 14],
        authentication: HmacSha1_80,
    },
}

impl RtcpCipher {
    fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        let keys = SessionKeys::for_rtcp(profile, master);
        match profile {
            SrtpProfile::AeadAes256Gcm | SrtpProfile::AeadAes128Gcm => Self::Gcm {
                key: AesGcm::new(&keys.encryption),
                salt: keys.salt.try_into().expect("an AEAD salt has 12 octets"),
            },
            SrtpProfile::AesCm128HmacSha1_80 => Self::CtrHmac {
                key: AesCtr::new(&keys.encryption),
                salt: keys.salt.try_into().expect("an AES-CM salt has 14 octets"),
                authentication: HmacSha1_80::new(&keys.authentication),
            },
        }
    }
}

/// RFC 7714 §9.1: two zero octets, SSRC, two zero octets, the 31-bit index; all XOR the salt.
fn gcm_nonce(salt: &[u8; 12], ssrc: &[u8], index: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(ssrc);
    nonce[8..12].copy_from_slice(&index.to_be_bytes());
    nonce.iter_mut().zip(salt).for_each(|(n, s)| *n ^= s);
    nonce
}

fn ssrc_of(packet: &[u8]) -> [u8; 4] {
    [packet[4], packet[5], packet[6], packet[7]]
}

/// Protects compound RTCP packets.
pub struct SrtcpSender {
    cipher: RtcpCipher,
    next_index: u32,
}

impl SrtcpSender {
    pub(crate) fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        Self {
            cipher: RtcpCipher::new(profile, master),
            next_index: 1,
        }
    }

    /// Appends the protected form of `packet`, a compound of at least 8 octets, to `out`.
    pub fn protect(&mut self, packet: &[u8], out: &mut Vec<u8>) {
        let index = self.next_index;
        self.next_index = (index + 1) & !ENCRYPTED;
        let word = (index | ENCRYPTED).to_be_bytes();
        let (clear, body) = packet.split_at(CLEAR_LEN);
        match &self.cipher {
            RtcpCipher::Gcm { key, salt } => {
                let mut aad = [0; CLEAR_LEN + INDEX_LEN];
                aad[..CLEAR_LEN].copy_from_slice(clear);
                aad[CLEAR_LEN..].copy_from_slice(&word);
                let nonce = gcm_nonce(salt, &clear[4..8], index);
                key.seal_after(nonce, clear, &aad, body, out);
                out.extend_from_slice(&word);
            }
            RtcpCipher::CtrHmac {
                key,
                salt,
                authentication,
            } => {
                let start = out.len();
                out.extend_from_slice(packet);
                let iv = counter_iv(salt, ssrc_of(packet), u64::from(index));
                key.apply(&iv, &mut out[start + CLEAR_LEN..]);
                out.extend_from_slice(&word);
                let tag = authentication.tag([&out[start..], &[]]);
                out.extend_from_slice(&tag);
            }
        }
    }
}

/// Opens protected RTCP packets and refuses forged and repeated ones.
pub struct SrtcpReceiver {
    cipher: RtcpCipher,
    replay: ReplayWindow,
}

impl SrtcpReceiver {
    pub(crate) fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        Self {
            cipher: RtcpCipher::new(profile, master),
            replay: ReplayWindow::default(),
        }
    }

    /// Opens `packet` in place and gives the clear compound, or `None` when it is too short, not encrypted, not
    /// authentic or was seen before.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        let length = match &mut self.cipher {
            RtcpCipher::Gcm { key, salt } => {
                let (index, length) = open_gcm(key, salt, packet)?;
                self.replay.accept(u64::from(index))?;
                length
            }
            RtcpCipher::CtrHmac {
                key,
                salt,
                authentication,
            } => {
                let (index, length) = verify_hmac(authentication, packet)?;
                self.replay.accept(u64::from(index))?;
                let iv = counter_iv(salt, ssrc_of(packet), u64::from(index));
                key.apply(&iv, &mut packet[CLEAR_LEN..length]);
                length
            }
        };
        Some(&packet[..length])
    }
}

/// The index and the length of the compound, opened in place.
fn open_gcm(key: &AesGcm, salt: &[u8; 12], packet: &mut [u8]) -> Option<(u32, usize)> {
    let sealed_end = packet.len().checked_sub(INDEX_LEN)?;
    if sealed_end < CLEAR_LEN + GCM_TAG_LEN {
        return None;
    }
    let index = encrypted_index(&packet[sealed_end..])?;
    let mut aad = [0; CLEAR_LEN + INDEX_LEN];
    aad[..CLEAR_LEN].copy_from_slice(&packet[..CLEAR_LEN]);
    aad[CLEAR_LEN..].copy_from_slice(&packet[sealed_end..]);
    let nonce = gcm_nonce(salt, &aad[4..8], index);
    let body = key.open(nonce, &aad, &mut packet[CLEAR_LEN..sealed_end])?;
    Some((index, CLEAR_LEN + body.len()))
}

/// The index and the length of the compound, which is still encrypted.
fn verify_hmac(authentication: &HmacSha1_80, packet: &[u8]) -> Option<(u32, usize)> {
    let tag_start = packet.len().checked_sub(HMAC_TAG_LEN)?;
    let length = tag_start.checked_sub(INDEX_LEN)?;
    if length < CLEAR_LEN {
        return None;
    }
    let index = encrypted_index(&packet[length..tag_start])?;
    let (signed, tag) = packet.split_at(tag_start);
    authentication
        .verify([signed, &[]], tag)
        .then_some((index, length))
}

/// The 31-bit index, `None` when the word says "not encrypted": nobody we talk to sends that.
fn encrypted_index(word: &[u8]) -> Option<u32> {
    let word = u32::from_be_bytes(word.try_into().ok()?);
    (word & ENCRYPTED != 0).then_some(word & !ENCRYPTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::KeyingMaterial;

    const PROFILES: [SrtpProfile; 3] = [
        SrtpProfile::AeadAes256Gcm,
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AesCm128HmacSha1_80,
    ];

    fn pair(profile: SrtpProfile) -> (SrtcpSender, SrtcpReceiver) {
        let exported: Vec<u8> = (0..2 * (profile.key_len() + profile.salt_len()) as u8).collect();
        let material = || KeyingMaterial::split(profile, &exported).unwrap();
        let (_, sender, _) = material().into_server_contexts();
        let (_, _, receiver) = material().into_client_contexts();
        (sender, receiver)
    }

    const REPORT: [u8; 16] = [0x81, 206, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    #[test]
    fn what_is_protected_opens_again() {
        for profile in PROFILES {
            let (mut sender, mut receiver) = pair(profile);
            let mut sealed = Vec::new();
            sender.protect(&REPORT, &mut sealed);
            assert_eq!(sealed.len(), REPORT.len() + profile.rtcp_overhead());
            assert_ne!(sealed[8..16], REPORT[8..16]);
            assert_eq!(receiver.open(&mut sealed), Some(&REPORT[..]));
        }
    }

    #[test]
    fn h17_replayed_and_altered_packets_are_refused() {
        for profile in PROFILES {
            let (mut sender, mut receiver) = pair(profile);
            let mut sealed = Vec::new();
            sender.protect(&REPORT, &mut sealed);
            for at in 0..sealed.len() {
                let mut altered = sealed.clone();
                altered[at] ^= 0x10;
                assert_eq!(receiver.open(&mut altered), None, "{profile:?} octet {at}");
            }
            assert!(receiver.open(&mut sealed.clone()).is_some());
            assert_eq!(receiver.open(&mut sealed), None);
        }
    }

    #[test]
    fn h19_packets_shorter_than_their_overhead_are_refused() {
        for profile in PROFILES {
            let (_, mut receiver) = pair(profile);
            for length in 0..64 {
                assert_eq!(receiver.open(&mut vec![0x80; length]), None);
            }
        }
    }
}
