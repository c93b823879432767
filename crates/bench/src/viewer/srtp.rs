//! SRTP as a receiver needs it (RFC 3711, RFC 7714): opening RTP, sealing RTCP. Written for this program
//! alone: the rig must not share a fault with what it measures.

use std::collections::HashMap;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use dimpl::SrtpProfile;

use super::header::ClearHeader;

const HMAC_TAG_LEN: usize = 10;
const LABEL_ENCRYPTION: u8 = 0;
const LABEL_AUTHENTICATION: u8 = 1;
const LABEL_SALT: u8 = 2;
/// What the labels of RTCP are above those of RTP (RFC 3711 §4.3.2).
const RTCP_LABELS: u8 = 3;
/// The part of an RTCP compound that stays clear: the first header and its SSRC.
const RTCP_CLEAR_LEN: usize = 8;
/// Says in the index word that the packet is encrypted (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;

/// Opens what the server sends on one session.
pub(crate) struct SrtpOpener {
    cipher: Cipher,
    /// Highest packet index of each SSRC (RFC 3711 §3.3.1).
    highest: HashMap<u32, u64>,
}

enum Cipher {
    Gcm {
        key: Box<LessSafeKey>,
        salt: [u8; 12],
    },
    Counter {
        key: Box<EncryptingKey>,
        authentication: Box<hmac::Key>,
        salt: [u8; 14],
    },
}

/// Seals the RTCP that we send on one session.
pub(crate) struct SrtcpSealer {
    cipher: Cipher,
    index: u32,
}

/// Both directions of a session, from what DTLS exported (RFC 5764 §4.2): client key, server key, client
/// salt, server salt. We are the client. `None` for a profile that is not known.
pub(crate) fn session(exported: &[u8], profile: SrtpProfile) -> Option<(SrtpOpener, SrtcpSealer)> {
    let (key_len, salt_len) = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => (16, 14),
        SrtpProfile::AEAD_AES_128_GCM => (16, 12),
        SrtpProfile::AEAD_AES_256_GCM => (32, 12),
        _ => return None,
    };
    let (keys, salts) = exported.split_at_checked(2 * key_len)?;
    let (client_key, server_key) = keys.split_at(key_len);
    let (client_salt, server_salt) = salts.get(..2 * salt_len)?.split_at(salt_len);
    let opener = SrtpOpener {
        cipher: Cipher::derive(server_key, server_salt, 0)?,
        highest: HashMap::new(),
    };
    let sealer = SrtcpSealer {
        cipher: Cipher::derive(client_key, client_salt, RTCP_LABELS)?,
        index: 0,
    };
    Some((opener, sealer))
}

impl SrtcpSealer {
    /// Seals a compound in place. `None` when it is none.
    pub(crate) fn seal(&mut self, compound: &mut Vec<u8>) -> Option<()> {
        self.index += 1;
        self.cipher.seal_rtcp(self.index, compound)
    }
}

impl SrtpOpener {
    /// The payload of a packet, or `None` when it is not authentic.
    pub(crate) fn open(&mut self, header: &ClearHeader, packet: &[u8]) -> Option<Vec<u8>> {
        let index = self.index(header);
        let payload = self.cipher.open(header, index, packet)?;
        let highest = self.highest.entry(header.ssrc).or_insert(index);
        *highest = index.max(*highest);
        Some(payload)
    }

    /// RFC 3711 Appendix A: the index nearest to the highest one.
    fn index(&self, header: &ClearHeader) -> u64 {
        let number = u64::from(header.sequence_number);
        let Some(highest) = self.highest.get(&header.ssrc) else {
            return number;
        };
        let ahead = header.sequence_number.wrapping_sub(*highest as u16) as i16;
        highest
            .checked_add_signed(i64::from(ahead))
            .unwrap_or(number)
    }
}

impl Cipher {
    fn derive(master_key: &[u8], master_salt: &[u8], labels: u8) -> Option<Self> {
        let prf = counter_mode(master_key)?;
        let derive = |label: u8, out: &mut [u8]| expand(&prf, master_salt, labels + label, out);
        let mut key = vec![0; master_key.len()];
        derive(LABEL_ENCRYPTION, &mut key)?;
        if master_salt.len() == 12 {
            let mut salt = [0; 12];
            derive(LABEL_SALT, &mut salt)?;
            let algorithm = if key.len() == 16 {
                &AES_128_GCM
            } else {
                &AES_256_GCM
            };
            let key = Box::new(LessSafeKey::new(UnboundKey::new(algorithm, &key).ok()?));
            return Some(Self::Gcm { key, salt });
        }
        let mut salt = [0; 14];
        derive(LABEL_SALT, &mut salt)?;
        let mut authentication = [0; 20];
        derive(LABEL_AUTHENTICATION, &mut authentication)?;
        Some(Self::Counter {
            key: Box::new(counter_mode(&key)?),
            authentication: Box::new(hmac::Key::new(
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                &authentication,
            )),
            salt,
        })
    }

    fn open(&self, header: &ClearHeader, index: u64, packet: &[u8]) -> Option<Vec<u8>> {
        let (clear, sealed) = packet.split_at_checked(header.len)?;
        match self {
            Self::Gcm { key, salt } => {
                // RFC 7714 §8.1: two zero octets, SSRC, ROC and sequence number, XOR salt.
                let mut nonce = *salt;
                xor(&mut nonce[2..6], &header.ssrc.to_be_bytes());
                xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
                let mut payload = sealed.to_vec();
                let nonce = Nonce::assume_unique_for_key(nonce);
                let opened = key
                    .open_in_place(nonce, Aad::from(clear), &mut payload)
                    .ok()?;
                let len = opened.len();
                payload.truncate(len);
                Some(payload)
            }
            Self::Counter {
                key,
                authentication,
                salt,
            } => {
                let (encrypted, tag) =
                    sealed.split_at_checked(sealed.len().checked_sub(HMAC_TAG_LEN)?)?;
                let mut context = hmac::Context::with_key(authentication);
                context.update(&packet[..packet.len() - HMAC_TAG_LEN]);
                context.update(&((index >> 16) as u32).to_be_bytes());
                if context.sign().as_ref()[..HMAC_TAG_LEN] != *tag {
                    return None;
                }
                // RFC 3711 §4.1.1: salt * 2^16 XOR SSRC * 2^64 XOR index * 2^16.
                let mut iv = [0; 16];
                iv[..14].copy_from_slice(salt);
                xor(&mut iv[4..8], &header.ssrc.to_be_bytes());
                xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
                let mut payload = encrypted.to_vec();
                apply(key, iv, &mut payload)?;
                Some(payload)
            }
        }
    }

    fn seal_rtcp(&self, index: u32, compound: &mut Vec<u8>) -> Option<()> {
        let clear: [u8; RTCP_CLEAR_LEN] = *compound.first_chunk()?;
        let ssrc = &clear[4..];
        let index_word = (ENCRYPTED | index).to_be_bytes();
        match self {
            Self::Gcm { key, salt } => {
                // RFC 7714 §9.1: two zero octets, SSRC, two zero octets, index, XOR salt.
                let mut nonce = *salt;
                xor(&mut nonce[2..6], ssrc);
                xor(&mut nonce[8..12], &index.to_be_bytes());
                let mut additional = clear.to_vec();
                additional.extend_from_slice(&index_word);
                let nonce = Nonce::assume_unique_for_key(nonce);
                let body = &mut compound[RTCP_CLEAR_LEN..];
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(additional), body)
                    .ok()?;
                compound.extend_from_slice(tag.as_ref());
                compound.extend_from_slice(&index_word);
            }
            Self::Counter {
                key,
                authentication,
                salt,
            } => {
                let mut iv = [0; 16];
                iv[..14].copy_from_slice(salt);
                xor(&mut iv[4..8], ssrc);
                xor(&mut iv[10..14], &index.to_be_bytes());
                apply(key, iv, &mut compound[RTCP_CLEAR_LEN..])?;
                compound.extend_from_slice(&index_word);
                let tag = hmac::sign(authentication, compound);
                compound.extend_from_slice(&tag.as_ref()[..HMAC_TAG_LEN]);
            }
        }
        Some(())
    }
}

fn counter_mode(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

/// Key derivation with rate 0 (RFC 3711 §4.3.1): the key stream at salt XOR label * 2^48, times 2^16.
fn expand(prf: &EncryptingKey, salt: &[u8], label: u8, out: &mut [u8]) -> Option<()> {
    let mut iv = [0; 16];
    iv[..salt.len()].copy_from_slice(salt);
    iv[7] ^= label;
    out.fill(0);
    apply(prf, iv, out)
}

fn apply(key: &EncryptingKey, iv: [u8; 16], in_out: &mut [u8]) -> Option<()> {
    if in_out.is_empty() {
        return Some(());
    }
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(in_out, context).ok().map(drop)
}

fn xor(target: &mut [u8], mask: &[u8]) {
    for (byte, mask) in target.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    /// RFC 3711 Appendix B.3.
    #[test]
    fn derives_the_keys_of_the_rfc() {
        let prf = counter_mode(&hex("E1F97A0D3E018BE0D64FA32C06DE4139")).unwrap();
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let mut key = [0; 16];
        expand(&prf, &salt, LABEL_ENCRYPTION, &mut key).unwrap();
        assert_eq!(key.to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        let mut session_salt = [0; 14];
        expand(&prf, &salt, LABEL_SALT, &mut session_salt).unwrap();
        assert_eq!(session_salt.to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
    }

    /// RFC 7714 §16.1.1 and 16.1.2 (its session key and salt are used as they are there).
    #[test]
    fn opens_the_packet_of_the_rfc() {
        let key = hex("000102030405060708090a0b0c0d0e0f");
        let cipher = Cipher::Gcm {
            key: Box::new(LessSafeKey::new(
                UnboundKey::new(&AES_128_GCM, &key).unwrap(),
            )),
            salt: hex("517569642070726f2071756f").try_into().unwrap(),
        };
        let mut packet = hex(
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        );
        let header = ClearHeader::parse(&packet).unwrap();
        let index = u64::from(header.sequence_number);
        let payload = cipher.open(&header, index, &packet).unwrap();
        assert_eq!(payload, b"Gallia est omnis divisa in partes tres");
        packet[20] ^= 1;
        assert_eq!(cipher.open(&header, index, &packet), None);
    }

    #[test]
    fn sealed_rtcp_has_its_index_and_tag_behind_it() {
        for (profile, exported, overhead) in [
            (SrtpProfile::AES128_CM_SHA1_80, 60, 14),
            (SrtpProfile::AEAD_AES_128_GCM, 56, 20),
            (SrtpProfile::AEAD_AES_256_GCM, 88, 20),
        ] {
            let (_, mut sealer) = session(&vec![7; exported], profile).unwrap();
            let clear = [0x81, 201, 0, 2, 0, 0, 0, 9, 1, 2, 3, 4];
            let mut compound = clear.to_vec();
            sealer.seal(&mut compound).unwrap();
            assert_eq!(compound.len(), clear.len() + overhead);
            assert_eq!(compound[..8], clear[..8]);
            assert_ne!(compound[8..12], clear[8..]);
            let index = [0x80, 0, 0, 1];
            assert!(compound.windows(4).any(|word| word == index));
            assert!(session(&[7; 20], profile).is_none());
        }
    }
}
