//! Binding requests of somebody who knows no password (RFC 8489): well-formed, with a right checksum and a made-up
//! integrity, so that a server has to look at them as closely as it ever will.

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

const MAGIC: u32 = 0x2112_a442;
const HEADER_LEN: usize = 20;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLING: u16 = 0x802a;
const FINGERPRINT_MASK: u32 = 0x5354_554e;
/// One in so many names a user fragment that exists.
const KNOWN_EVERY: u32 = 8;

/// Makes requests, no two alike.
pub(crate) struct StunForger {
    rng: SmallRng,
    known_ufrag: Option<String>,
}

impl StunForger {
    /// `known_ufrag` is one of the server's, as its answer told it to somebody else.
    pub(crate) fn new(known_ufrag: Option<String>, seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            known_ufrag,
        }
    }

    /// The next request.
    pub(crate) fn request(&mut self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[0, 1, 0, 0]);
        out.extend_from_slice(&MAGIC.to_be_bytes());
        out.resize(HEADER_LEN, 0);
        self.rng.fill_bytes(&mut out[8..]);
        let local = match &self.known_ufrag {
            Some(ufrag) if self.rng.random_ratio(1, KNOWN_EVERY) => ufrag.clone(),
            Some(_) | None => self.word(),
        };
        let username = format!("{local}:{}", self.word());
        attribute(out, USERNAME, username.as_bytes());
        attribute(out, PRIORITY, &self.rng.random::<u32>().to_be_bytes());
        attribute(
            out,
            ICE_CONTROLLING,
            &self.rng.random::<u64>().to_be_bytes(),
        );
        attribute(out, USE_CANDIDATE, &[]);
        let mut integrity = [0; 20];
        self.rng.fill_bytes(&mut integrity);
        attribute(out, MESSAGE_INTEGRITY, &integrity);
        // The length has the fingerprint in it before that is computed (RFC 8489 §14.7).
        attribute(out, FINGERPRINT, &[0; 4]);
        let at = out.len() - 8;
        let checksum = crc32(&out[..at]) ^ FINGERPRINT_MASK;
        out[at + 4..].copy_from_slice(&checksum.to_be_bytes());
    }

    fn word(&mut self) -> String {
        (0..8)
            .map(|_| char::from(self.rng.sample(rand::distr::Alphanumeric)))
            .collect()
    }
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    let len = (out.len() - HEADER_LEN) as u16;
    out[2..4].copy_from_slice(&len.to_be_bytes());
}

/// CRC-32 of ISO 3309, four bits at a time: the flood must be cheap for the rig.
fn crc32(octets: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut index = 0;
        while index < 16 {
            let mut crc = index as u32;
            let mut bit = 0;
            while bit < 4 {
                crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    let mut crc = u32::MAX;
    for octet in octets {
        crc ^= u32::from(*octet);
        crc = (crc >> 4) ^ TABLE[(crc & 15) as usize];
        crc = (crc >> 4) ^ TABLE[(crc & 15) as usize];
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use is::stun::StunMessage;

    #[test]
    fn requests_are_well_formed_and_name_whom_they_shall() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let mut forger = StunForger::new(Some("abcd".into()), 1);
        let mut request = Vec::new();
        let mut known = 0;
        for _ in 0..400 {
            forger.request(&mut request);
            let message = StunMessage::parse(&request).unwrap();
            assert!(message.is_binding_request() && message.use_candidate());
            let (local, _) = message.split_username().unwrap();
            known += u32::from(local == "abcd");
        }
        assert!((20..100).contains(&known), "{known}");
    }
}
