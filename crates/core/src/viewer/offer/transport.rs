//! The one transport of an offer: ICE credentials and the DTLS certificate's fingerprint.

use apiary_wire::sdp::{self, Document, MediaSection, Section, Setup};
use aws_lc_rs::digest;

use super::{OfferError, UsedSection};

/// RFC 8839 §5.4.
const MIN_UFRAG_LEN: usize = 4;
const MIN_PWD_LEN: usize = 22;
const MAX_ICE_LEN: usize = 256;
/// How much of a refused hash name an error repeats.
const SHOWN_CHARS: usize = 16;

/// The short-term credential of one side (RFC 8445 §5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceCredentials {
    /// The user name fragment, 4 to 256 characters.
    pub ufrag: String,
    /// The password, 22 to 256 characters.
    pub pwd: String,
}

/// What a viewer's certificate must hash to (RFC 8122 §5), by SHA-256, SHA-384 or SHA-512.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    algorithm: &'static digest::Algorithm,
    bytes: Vec<u8>,
}

impl Fingerprint {
    fn new(parsed: sdp::Fingerprint, section: &'static str) -> Result<Self, OfferError> {
        let algorithm = match parsed.hash.as_str() {
            "sha-256" => &digest::SHA256,
            "sha-384" => &digest::SHA384,
            "sha-512" => &digest::SHA512,
            other => {
                return Err(OfferError::WeakFingerprint {
                    hash: other.chars().take(SHOWN_CHARS).collect(),
                });
            }
        };
        if parsed.bytes.len() != algorithm.output_len() {
            return Err(OfferError::MalformedFingerprint { section });
        }
        Ok(Self {
            algorithm,
            bytes: parsed.bytes,
        })
    }

    /// Whether this is the fingerprint of a certificate, given in DER.
    pub fn matches(&self, certificate_der: &[u8]) -> bool {
        digest::digest(self.algorithm, certificate_der).as_ref() == self.bytes
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        // The length tells the three algorithms apart.
        self.bytes == other.bytes
    }
}

impl Eq for Fingerprint {}

pub(super) struct Transport {
    pub(super) ice: IceCredentials,
    pub(super) fingerprint: Fingerprint,
    /// The index of the section that the transport belongs to.
    pub(super) tagged: usize,
}

/// Where the attributes of a section's transport stand: in itself, in the session, or in the section that the
/// viewer tagged for its bundle (RFC 8843 §7.1.3).
struct Scopes<'a> {
    document: &'a Document,
    tag: Option<&'a MediaSection>,
}

impl<'a> Scopes<'a> {
    fn of(&self, media: &'a MediaSection, name: &str) -> Option<&'a Section> {
        let own: &Section = media;
        let session: &Section = self.document;
        let tag = self.tag.map(|tag| &**tag);
        [Some(own), Some(session), tag]
            .into_iter()
            .flatten()
            .find(|section| section.has_flag(name))
    }

    fn credential(
        &self,
        media: &'a MediaSection,
        attribute: &'static str,
        min: usize,
    ) -> Result<String, OfferError> {
        let is_ice_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        self.of(media, attribute)
            .and_then(|section| section.attribute(attribute))
            .filter(|value| (min..=MAX_ICE_LEN).contains(&value.len()))
            .filter(|value| value.bytes().all(is_ice_char))
            .map(str::to_owned)
            .ok_or(OfferError::Ice { attribute, min })
    }

    fn fingerprint(&self, section: &UsedSection<'a>) -> Result<Fingerprint, OfferError> {
        let name = section.name;
        let scope = self
            .of(section.media, "fingerprint")
            .ok_or(OfferError::NoFingerprint { section: name })?;
        let mut all = scope.fingerprints();
        let first = all.next().flatten();
        if all.next().is_some() {
            return Err(OfferError::ManyFingerprints { section: name });
        }
        let parsed = first.ok_or(OfferError::MalformedFingerprint { section: name })?;
        Fingerprint::new(parsed, name)
    }

    fn check(&self, section: &UsedSection<'a>) -> Result<(), OfferError> {
        let name = section.name;
        if self.of(section.media, "rtcp-mux").is_none() {
            return Err(OfferError::NoRtcpMux { section: name });
        }
        match self.of(section.media, "setup").and_then(Section::setup) {
            Some(Setup::ActPass | Setup::Active) => Ok(()),
            Some(Setup::Passive | Setup::HoldConn) | None => {
                Err(OfferError::Setup { section: name })
            }
        }
    }
}

/// `used` has at least one section, `bundle` the offered group that holds them all.
pub(super) fn read(
    document: &Document,
    used: &[UsedSection<'_>],
    bundle: &[&str],
) -> Result<Transport, OfferError> {
    let tag = bundle.first().and_then(|mid| document.media_by_mid(mid));
    let scopes = Scopes { document, tag };
    let mut fingerprint = None;
    for section in used {
        scopes.check(section)?;
        let found = scopes.fingerprint(section)?;
        if fingerprint.as_ref().is_some_and(|first| *first != found) {
            return Err(OfferError::DifferentFingerprints);
        }
        fingerprint = Some(found);
    }
    // The first of the group that is not rejected becomes the tag of the answer (RFC 8843 §7.3.1).
    let by_mid = |mid: &&str| used.iter().find(|section| section.media.mid() == Some(mid));
    let tagged = bundle.iter().find_map(by_mid).or(used.first());
    let (Some(tagged), Some(fingerprint)) = (tagged, fingerprint) else {
        return Err(OfferError::NothingToReceive);
    };
    Ok(Transport {
        ice: IceCredentials {
            ufrag: scopes.credential(tagged.media, "ice-ufrag", MIN_UFRAG_LEN)?,
            pwd: scopes.credential(tagged.media, "ice-pwd", MIN_PWD_LEN)?,
        },
        fingerprint,
        tagged: tagged.index,
    })
}
