//! Sealing of RTP: the innermost step of the packet path.

use super::cipher::{AesCtr, AesGcm, HmacSha1_80};
use super::kdf::SessionKeys;
use super::{MasterKey, SrtpProfile};

/// Seals RTP packets of any number of SSRCs with one master key.
///
/// It holds no state per packet: the caller gives the 48-bit packet index and must never give the same SSRC
/// and index twice with different contents.
pub struct SrtpSender {
    cipher: RtpCipher,
    profile: SrtpProfile,
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each viewer, and a box would add a pointer chase to every packet"
)]
enum RtpCipher {
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

impl SrtpSender {
    pub(crate) fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        let keys = SessionKeys::for_rtp(profile, master);
        let cipher = match profile {
            SrtpProfile::AeadAes256Gcm | SrtpProfile::AeadAes128Gcm => RtpCipher::Gcm {
                key: AesGcm::new(&keys.encryption),
                salt: keys.salt.try_into().expect("an AEAD salt has 12 octets"),
            },
            SrtpProfile::AesCm128HmacSha1_80 => RtpCipher::CtrHmac {
                key: AesCtr::new(&keys.encryption),
                salt: keys.salt.try_into().expect("an AES-CM salt has 14 octets"),
                authentication: HmacSha1_80::new(&keys.authentication),
            },
        };
        Self { cipher, profile }
    }

    /// The profile it seals with.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Octets of the protected form of a packet with this header (its extension included) and payload.
    pub fn sealed_len(&self, header_len: usize, payload_len: usize) -> usize {
        header_len + payload_len + self.profile.rtp_overhead()
    }

    /// Completes `packet`, whose first `header_len` octets are a whole RTP header with its extension: behind them comes
    /// `payload` sealed, then the tag. `index` is the rollover counter and the sequence number: 2^16 · ROC + SEQ
    /// (RFC 3711 §3.3.1); its low 16 bits must equal the header's sequence number.
    ///
    /// # Panics
    /// If `packet` has not exactly [`Self::sealed_len`] octets.
    pub fn seal(&self, packet: &mut [u8], header_len: usize, index: u64, payload: &[u8]) {
        assert_eq!(
            packet.len(),
            self.sealed_len(header_len, payload.len()),
            "a packet's place has its length"
        );
        debug_assert_eq!(packet[2..4], (index as u16).to_be_bytes());
        let ssrc = [packet[8], packet[9], packet[10], packet[11]];
        match &self.cipher {
            RtpCipher::Gcm { key, salt } => {
                // RFC 7714 §8.1: two zero octets, SSRC, ROC, SEQ; all XOR the salt.
                let mut nonce = [0; 12];
                nonce[2..6].copy_from_slice(&ssrc);
                nonce[6..12].copy_from_slice(&index.to_be_bytes()[2..8]);
                nonce.iter_mut().zip(salt).for_each(|(n, s)| *n ^= s);
                let (header, sealed) = packet.split_at_mut(header_len);
                key.seal_into(nonce, header, payload, sealed);
            }
            RtpCipher::CtrHmac {
                key,
                salt,
                authentication,
            } => {
                let (clear, tag) = packet.split_at_mut(header_len + payload.len());
                clear[header_len..].copy_from_slice(payload);
                key.apply(&counter_iv(salt, ssrc, index), &mut clear[header_len..]);
                let roc = ((index >> 16) as u32).to_be_bytes();
                tag.copy_from_slice(&authentication.tag([clear, &roc]));
            }
        }
    }
}

/// The initial counter block of AES-CM (RFC 3711 §4.1.1): salt · 2^16 XOR SSRC · 2^64 XOR index · 2^16.
pub(super) fn counter_iv(salt: &[u8; 14], ssrc: [u8; 4], index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    iv[4..8].iter_mut().zip(ssrc).for_each(|(i, s)| *i ^= s);
    let index = &index.to_be_bytes()[2..8];
    iv[8..14].iter_mut().zip(index).for_each(|(i, x)| *i ^= x);
    iv
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// The vectors of RFC 7714 §16 start from session keys.
    fn gcm(key: &str) -> SrtpSender {
        SrtpSender {
            profile: SrtpProfile::AeadAes128Gcm,
            cipher: RtpCipher::Gcm {
                key: AesGcm::new(&hex(key)),
                salt: hex("51756964 2070726f 2071756f").try_into().unwrap(),
            },
        }
    }

    fn seal(sender: &SrtpSender, header: &[u8], index: u64, payload: &[u8]) -> Vec<u8> {
        let mut packet = header.to_vec();
        packet.resize(sender.sealed_len(header.len(), payload.len()), 0xee);
        sender.seal(&mut packet, header.len(), index, payload);
        packet
    }

    const HEADER: &str = "8040f17b 8041f8d3 5501a0b2";
    const PAYLOAD: &str =
        "47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573";

    #[test]
    fn rfc_7714_section_16_1_1() {
        let sender = gcm("00010203 04050607 08090a0b 0c0d0e0f");
        let sealed = seal(&sender, &hex(HEADER), 0xf17b, &hex(PAYLOAD));
        let expected = hex(
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
             36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        );
        assert_eq!(sealed, expected);
    }

    #[test]
    fn rfc_3711_appendix_b2_key_stream() {
        let key = AesCtr::new(&hex("2B7E1516 28AED2A6 ABF71588 09CF4F3C"));
        let salt: [u8; 14] = hex("F0F1F2F3 F4F5F6F7 F8F9FAFB FCFD").try_into().unwrap();
        let mut stream = [0; 48];
        key.apply(&counter_iv(&salt, [0; 4], 0), &mut stream);
        assert_eq!(stream[..16], hex("E03EAD0935C95E80E166B16DD92B4EB4"));
        assert_eq!(stream[16..32], hex("D23513162B02D0F72A43A2FE4A5F97AB"));
        assert_eq!(stream[32..], hex("41E95B3BB0A2E8DD477901E4FCA894C0"));
    }

    #[test]
    #[should_panic(expected = "a packet's place has its length")]
    fn a_place_of_another_length_is_refused() {
        let sender = gcm("00010203 04050607 08090a0b 0c0d0e0f");
        sender.seal(&mut [0; 12 + 1 + 15], 12, 0, b"x");
    }
}
