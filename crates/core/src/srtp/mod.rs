//! SRTP and SRTCP (RFC 3711, RFC 7714): what protects media between us and a viewer.
//!
//! [`SrtpSender`] seals RTP on the packet path, [`SrtcpSender`] and [`SrtcpReceiver`] protect the few reports
//! beside it, and [`SrtpReceiver`] opens the voice of viewers who may talk to their camera. Keys come from DTLS-SRTP
//! ([`KeyingMaterial`], RFC 5764 §4.2).

mod cipher;
mod kdf;
mod replay;
mod rtcp;
mod rtp;

pub use rtcp::{SrtcpReceiver, SrtcpSender};
pub use rtp::{SrtpReceiver, SrtpSender};

/// How the packets are protected, as DTLS negotiates it (`use_srtp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpProfile {
    /// AEAD_AES_256_GCM (RFC 7714).
    AeadAes256Gcm,
    /// AEAD_AES_128_GCM (RFC 7714).
    AeadAes128Gcm,
    /// AES_CM_128_HMAC_SHA1_80 (RFC 5764).
    AesCm128HmacSha1_80,
}

impl SrtpProfile {
    /// Octets of the master key.
    pub fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            Self::AeadAes128Gcm | Self::AesCm128HmacSha1_80 => 16,
        }
    }

    /// Octets of the master salt.
    pub fn salt_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 12,
            Self::AesCm128HmacSha1_80 => 14,
        }
    }

    /// Octets that an RTP packet grows by.
    pub fn rtp_overhead(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 16,
            Self::AesCm128HmacSha1_80 => 10,
        }
    }

    /// Octets that an RTCP packet grows by: the tag and the index word.
    pub fn rtcp_overhead(self) -> usize {
        self.rtp_overhead() + 4
    }
}

/// The master keys of both directions, as exported by DTLS.
pub struct KeyingMaterial {
    profile: SrtpProfile,
    client: MasterKey,
    server: MasterKey,
}

/// Master key and salt of one direction.
pub(crate) struct MasterKey {
    pub(crate) key: Vec<u8>,
    pub(crate) salt: Vec<u8>,
}

/// The exported keying material has the wrong length for its profile.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{profile:?} needs {expected} octets of keying material, DTLS exported {actual}")]
pub struct KeyingMaterialLength {
    profile: SrtpProfile,
    expected: usize,
    actual: usize,
}

impl KeyingMaterial {
    /// Splits exported material into client key, server key, client salt, server salt (RFC 5764 §4.2).
    ///
    /// # Errors
    /// When `exported` has not exactly the length that the profile needs.
    pub fn split(profile: SrtpProfile, exported: &[u8]) -> Result<Self, KeyingMaterialLength> {
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let expected = 2 * (key + salt);
        if exported.len() != expected {
            return Err(KeyingMaterialLength {
                profile,
                expected,
                actual: exported.len(),
            });
        }
        let (keys, salts) = exported.split_at(2 * key);
        let master = |index: usize| MasterKey {
            key: keys[index * key..][..key].to_vec(),
            salt: salts[index * salt..][..salt].to_vec(),
        };
        Ok(Self {
            profile,
            client: master(0),
            server: master(1),
        })
    }

    /// What opens the RTP of the DTLS client, for its server.
    pub fn server_rtp_receiver(&self) -> SrtpReceiver {
        SrtpReceiver::new(self.profile, &self.client)
    }

    /// The contexts of the DTLS server: it sends with the server's key and receives with the client's.
    pub fn into_server_contexts(self) -> (SrtpSender, SrtcpSender, SrtcpReceiver) {
        (
            SrtpSender::new(self.profile, &self.server),
            SrtcpSender::new(self.profile, &self.server),
            SrtcpReceiver::new(self.profile, &self.client),
        )
    }

    /// The contexts of the DTLS client, the mirror image of the server's.
    pub fn into_client_contexts(self) -> (SrtpSender, SrtcpSender, SrtcpReceiver) {
        Self {
            profile: self.profile,
            client: self.server,
            server: self.client,
        }
        .into_server_contexts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn material_is_split_in_the_order_of_rfc_5764() {
        let exported: Vec<u8> = (0..60).collect();
        let split = KeyingMaterial::split(SrtpProfile::AesCm128HmacSha1_80, &exported).unwrap();
        assert_eq!(split.client.key, (0..16).collect::<Vec<u8>>());
        assert_eq!(split.server.key, (16..32).collect::<Vec<u8>>());
        assert_eq!(split.client.salt, (32..46).collect::<Vec<u8>>());
        assert_eq!(split.server.salt, (46..60).collect::<Vec<u8>>());
    }

    #[test]
    fn material_of_another_length_is_refused() {
        let error = KeyingMaterial::split(SrtpProfile::AeadAes256Gcm, &[0; 60])
            .err()
            .unwrap();
        assert_eq!(error.expected, 88);
        assert_eq!(error.actual, 60);
    }
}
