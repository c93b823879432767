//! Packets as SRTP has them with AES-256-GCM: header and extension in the clear, the rest sealed under a key that was
//! expanded once.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// An RTP header and an extension of one word.
const CLEAR: usize = 12 + 8;
const PAYLOAD: usize = 1150;
const TAG: usize = 16;
/// A packet on the wire.
pub(super) const PACKET: usize = CLEAR + PAYLOAD + TAG;
/// Payloads that all destinations are sent, one after the other.
const PAYLOADS: usize = 64;

/// Seals for one destination.
pub(super) struct Sealer {
    key: LessSafeKey,
    ssrc: u32,
    packets: u64,
}

impl Sealer {
    /// For the destination with this number, whose key nobody else has.
    pub(super) fn new(number: usize) -> Self {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("the key has the length of AES-256");
        Self {
            key: LessSafeKey::new(key),
            ssrc: number as u32,
            packets: 0,
        }
    }

    /// Appends the next packet.
    pub(super) fn seal_into(&mut self, buffer: &mut Vec<u8>) {
        static SOURCE: [[u8; PAYLOAD]; PAYLOADS] = [[0xa5; PAYLOAD]; PAYLOADS];
        self.packets += 1;
        let mut clear = [0; CLEAR];
        clear[..2].copy_from_slice(&[0x90, 102]);
        clear[2..4].copy_from_slice(&(self.packets as u16).to_be_bytes());
        clear[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        clear[12..].copy_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 0x31, 0, 0]);
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.packets.to_be_bytes());
        buffer.extend_from_slice(&clear);
        let start = buffer.len();
        buffer.extend_from_slice(&SOURCE[self.packets as usize % PAYLOADS]);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(&clear),
                &mut buffer[start..],
            )
            .expect("a packet is far shorter than what GCM can seal");
        buffer.extend_from_slice(tag.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_their_length_and_differ() {
        let mut buffer = Vec::new();
        let mut sealer = Sealer::new(3);
        sealer.seal_into(&mut buffer);
        sealer.seal_into(&mut buffer);
        assert_eq!(buffer.len(), 2 * PACKET);
        assert_ne!(buffer[CLEAR..PACKET], buffer[PACKET + CLEAR..]);
        assert_eq!(buffer[8..12], [0, 0, 0, 3]);
    }
}
