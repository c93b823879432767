//! Sealing of RTP, the innermost step of the packet path, and opening of what a talking viewer sends.

use apiary_wire::units::Ssrc;
use smallvec::SmallVec;

use super::cipher::{AesCtr, AesGcm, GCM_TAG_LEN, HMAC_TAG_LEN, HmacSha1_80};
use super::kdf::SessionKeys;
use super::replay::ReplayWindow;
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

impl RtpCipher {
    fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        let keys = SessionKeys::for_rtp(profile, master);
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

impl SrtpSender {
    pub(crate) fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        let cipher = RtpCipher::new(profile, master);
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
                let (header, sealed) = packet.split_at_mut(header_len);
                key.seal_into(gcm_nonce(salt, ssrc, index), header, payload, sealed);
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

/// Opens RTP packets of one peer and refuses forged and repeated ones.
pub struct SrtpReceiver {
    cipher: RtpCipher,
    /// What was seen of each SSRC from which something authentic came.
    sources: SmallVec<[(Ssrc, ReplayWindow); 1]>,
}

/// SSRCs of one peer that are taken. A browser sends one track here, under a new SSRC only after a collision.
const MAX_SOURCES: usize = 4;

impl SrtpReceiver {
    pub(crate) fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        Self {
            cipher: RtpCipher::new(profile, master),
            sources: SmallVec::new(),
        }
    }

    /// Opens `packet` in place. Gives its index (2^16 · ROC + SEQ, RFC 3711 §3.3.1) and the clear packet; `None` when it is too
    /// short, not authentic, was seen before, or is of one SSRC more than are taken.
    pub fn open<'a>(&mut self, packet: &'a mut [u8]) -> Option<(u64, &'a [u8])> {
        let header_len = clear_len(packet)?;
        let sequence_number = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = Ssrc(u32::from_be_bytes(*packet[8..].first_chunk()?));
        let known = self.sources.iter().position(|(known, _)| *known == ssrc);
        if known.is_none() && self.sources.len() == MAX_SOURCES {
            return None;
        }
        let highest = known.and_then(|at| self.sources[at].1.highest());
        let index = guess_index(highest, sequence_number)?;
        let len = self.cipher.open(packet, header_len, index)?;
        let at = known.unwrap_or_else(|| {
            self.sources.push((ssrc, ReplayWindow::default()));
            self.sources.len() - 1
        });
        self.sources[at].1.accept(index)?;
        Some((index, &packet[..len]))
    }
}

impl RtpCipher {
    /// Decrypts what follows the header in place; gives the length of the packet without its tag.
    fn open(&self, packet: &mut [u8], header_len: usize, index: u64) -> Option<usize> {
        let ssrc = *packet[8..].first_chunk()?;
        match self {
            Self::Gcm { key, salt } => {
                let len = packet.len().checked_sub(GCM_TAG_LEN)?;
                let (header, sealed) = packet.split_at_mut_checked(header_len)?;
                key.open(gcm_nonce(salt, ssrc, index), header, sealed)?;
                Some(len)
            }
            Self::CtrHmac {
                key,
                salt,
                authentication,
            } => {
                let len = packet.len().checked_sub(HMAC_TAG_LEN)?;
                let (clear, tag) = packet.split_at_mut(len);
                let roc = ((index >> 16) as u32).to_be_bytes();
                if header_len > len || !authentication.verify([clear, &roc], tag) {
                    return None;
                }
                key.apply(&counter_iv(salt, ssrc, index), &mut clear[header_len..]);
                Some(len)
            }
        }
    }
}

/// Octets of the header with CSRCs and extension, which stay in clear (RFC 3711 §3.1); `None` when they are not all there.
fn clear_len(packet: &[u8]) -> Option<usize> {
    const FIXED: usize = 12;
    let first = *packet.first()?;
    let csrcs = usize::from(first & 0x0f) * 4;
    let mut len = FIXED + csrcs;
    if first & 0x10 != 0 {
        let words = packet.get(len + 2..len + 4)?;
        len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    (len <= packet.len() && len >= FIXED).then_some(len)
}

/// The index that a sequence number most likely stands for: the one nearest to the highest so far (RFC 3711, appendix A). `None`
/// for one from before the first rollover.
fn guess_index(highest: Option<u64>, sequence_number: u16) -> Option<u64> {
    let Some(highest) = highest else {
        return Some(u64::from(sequence_number));
    };
    let ahead = sequence_number.wrapping_sub(highest as u16) as i16;
    highest.checked_add_signed(i64::from(ahead))
}

/// RFC 7714 §8.1: two zero octets, SSRC, ROC, SEQ; all XOR the salt.
fn gcm_nonce(salt: &[u8; 12], ssrc: [u8; 4], index: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc);
    nonce[6..12].copy_from_slice(&index.to_be_bytes()[2..8]);
    nonce.iter_mut().zip(salt).for_each(|(n, s)| *n ^= s);
    nonce
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

    const PROFILES: [SrtpProfile; 3] = [
        SrtpProfile::AeadAes256Gcm,
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AesCm128HmacSha1_80,
    ];

    fn pair(profile: SrtpProfile) -> (SrtpSender, SrtpReceiver) {
        let master = || MasterKey {
            key: (0..profile.key_len() as u8).collect(),
            salt: (0..profile.salt_len() as u8).collect(),
        };
        (
            SrtpSender::new(profile, &master()),
            SrtpReceiver::new(profile, &master()),
        )
    }

    /// A header with that sequence number and SSRC, and an extension of one word.
    fn header(sequence_number: u16, ssrc: u32) -> Vec<u8> {
        let mut header = vec![0x90, 111];
        header.extend_from_slice(&sequence_number.to_be_bytes());
        header.extend_from_slice(&[0, 0, 0, 1]);
        header.extend_from_slice(&ssrc.to_be_bytes());
        header.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
        header
    }

    fn sealed(sender: &SrtpSender, index: u64, ssrc: u32) -> Vec<u8> {
        seal(sender, &header(index as u16, ssrc), index, b"voice")
    }

    #[test]
    fn what_is_sealed_opens_again_over_rollovers_and_reordering() {
        for profile in PROFILES {
            let (sender, mut receiver) = pair(profile);
            for index in [
                65_530, 65_534, 65_538, 65_531, 65_536, 90_000, 120_000, 131_080,
            ] {
                let mut packet = sealed(&sender, index, 7);
                let (opened, clear) = receiver.open(&mut packet).expect("authentic");
                assert_eq!(opened, index, "{profile:?}");
                assert_eq!(clear, [&header(index as u16, 7)[..], b"voice"].concat());
            }
        }
    }

    #[test]
    fn h17_replayed_altered_and_too_old_packets_are_refused() {
        for profile in PROFILES {
            let (sender, mut receiver) = pair(profile);
            let packet = sealed(&sender, 1_000, 7);
            for at in 0..packet.len() {
                let mut altered = packet.clone();
                altered[at] ^= 0x10;
                assert!(
                    receiver.open(&mut altered).is_none(),
                    "{profile:?} octet {at}"
                );
            }
            assert!(receiver.open(&mut packet.clone()).is_some());
            assert!(receiver.open(&mut packet.clone()).is_none(), "seen");
            assert!(receiver.open(&mut sealed(&sender, 2_000, 7)).is_some());
            assert!(
                receiver.open(&mut sealed(&sender, 1_001, 7)).is_none(),
                "old"
            );
        }
    }

    #[test]
    fn h19_packets_shorter_than_they_say_are_refused() {
        for profile in PROFILES {
            let (_, mut receiver) = pair(profile);
            for first in [0x80, 0x8f, 0x90, 0x9f] {
                for len in 0..80 {
                    assert!(receiver.open(&mut vec![first; len]).is_none());
                }
            }
        }
    }

    #[test]
    fn one_peer_has_few_sources_and_strangers_use_up_none() {
        let profile = SrtpProfile::AeadAes128Gcm;
        let (sender, mut receiver) = pair(profile);
        for ssrc in 100..200 {
            assert!(receiver.open(&mut [ssrc as u8; 60]).is_none());
        }
        for ssrc in 0..MAX_SOURCES as u32 {
            assert!(receiver.open(&mut sealed(&sender, 1, ssrc)).is_some());
        }
        assert!(receiver.open(&mut sealed(&sender, 1, 99)).is_none());
        assert!(receiver.open(&mut sealed(&sender, 2, 0)).is_some());
    }
}
