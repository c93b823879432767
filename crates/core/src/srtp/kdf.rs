//! Session keys from a master key (RFC 3711 §4.3, RFC 7714 §11).

use super::{MasterKey, SrtpProfile, cipher::AesCtr};

/// What a derived key is for (RFC 3711 §4.3.2).
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Octets of an HMAC-SHA1 authentication key.
pub(super) const AUTHENTICATION_KEY_LEN: usize = 20;

/// Encryption key, salt and (unused by the AEAD profiles) authentication key of RTP or RTCP.
pub(super) struct SessionKeys {
    pub(super) encryption: Vec<u8>,
    pub(super) authentication: [u8; AUTHENTICATION_KEY_LEN],
    pub(super) salt: Vec<u8>,
}

impl SessionKeys {
    pub(super) fn for_rtp(profile: SrtpProfile, master: &MasterKey) -> Self {
        use Label::{RtpAuthentication, RtpEncryption, RtpSalt};
        Self::derive(profile, master, [RtpEncryption, RtpAuthentication, RtpSalt])
    }

    pub(super) fn for_rtcp(profile: SrtpProfile, master: &MasterKey) -> Self {
        use Label::{RtcpAuthentication, RtcpEncryption, RtcpSalt};
        Self::derive(
            profile,
            master,
            [RtcpEncryption, RtcpAuthentication, RtcpSalt],
        )
    }

    fn derive(profile: SrtpProfile, master: &MasterKey, labels: [Label; 3]) -> Self {
        let prf = AesCtr::new(&master.key);
        let mut keys = Self {
            encryption: vec![0; profile.key_len()],
            authentication: [0; AUTHENTICATION_KEY_LEN],
            salt: vec![0; profile.salt_len()],
        };
        expand(&prf, &master.salt, labels[0], &mut keys.encryption);
        expand(&prf, &master.salt, labels[1], &mut keys.authentication);
        expand(&prf, &master.salt, labels[2], &mut keys.salt);
        keys
    }
}

/// The key stream for `label` (key derivation rate 0). A 96-bit salt is padded on the right to 112 bits.
fn expand(prf: &AesCtr, salt: &[u8], label: Label, out: &mut [u8]) {
    const LABEL_POSITION: usize = 7;
    let mut iv = [0; 16];
    iv[..salt.len()].copy_from_slice(salt);
    iv[LABEL_POSITION] ^= label as u8;
    out.fill(0);
    prf.apply(&iv, out);
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

    #[test]
    fn rfc_3711_appendix_b3() {
        let master = MasterKey {
            key: hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            salt: hex("0EC675AD498AFEEBB6960B3AABE6"),
        };
        let keys = SessionKeys::for_rtp(SrtpProfile::AesCm128HmacSha1_80, &master);
        assert_eq!(keys.encryption, hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(keys.salt, hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            keys.authentication.to_vec(),
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }
}
