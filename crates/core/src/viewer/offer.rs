//! What a viewer offers (RFC 3264, RFC 8829): which sections are used, with which formats, and over which transport.
//!
//! Everything that an answer needs is read and checked here; writing it is in [`super::answer`]. Candidates of the
//! viewer are not read: as an ICE-lite agent we never send to a host that did not first send to us.

mod codec;
mod transport;

use apiary_wire::PayloadType;
use apiary_wire::sdp::{Document, MediaKind, MediaSection, SdpError};

pub(super) use codec::Codec;
use codec::{AudioChoice, VideoChoice};
pub use transport::{Fingerprint, IceCredentials};

/// The mid header extension (RFC 8843 §15).
pub(super) const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// Highest id of a header extension in the one-byte form (RFC 8285 §4.2).
const MAX_ONE_BYTE_ID: u8 = 14;
/// Longest value of a header extension in the one-byte form (RFC 8285 §4.2).
const MAX_ONE_BYTE_LEN: usize = 16;
/// The transports that WebRTC offers have (RFC 8829 §5.1.2); both mean DTLS-SRTP with feedback.
const PROTOS: [&str; 2] = ["UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF"];

/// Why an offer is refused. The texts are meant for whoever opened the page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It is no SDP, or too large.
    #[error("the offer cannot be read: {0}; send the connection's local description unchanged")]
    Document(SdpError),
    /// There is video, but not in the cameras' format.
    #[error(
        "this browser offers no H.264 video (packetization-mode=1), the only format that cameras send; use \
         Chrome, Edge or Safari, or enable the OpenH264 plugin in Firefox, or ask for sound only"
    )]
    NoH264,
    /// No section can be sent anything.
    #[error(
        "the offer asks for neither H.264 video nor Opus or PCMU sound; add a transceiver that receives video or audio"
    )]
    NothingToReceive,
    /// Picture and sound do not share a transport.
    #[error(
        "the offer's video and audio are not in one BUNDLE group; use the bundlePolicy \"max-bundle\""
    )]
    NotBundled,
    /// An identification that no `group` line can name.
    #[error(
        "the mid of the offer's {section} section is not a word of letters, digits and dashes; leave it as the browser wrote it"
    )]
    Mid {
        /// `video` or `audio`.
        section: &'static str,
    },
    /// RTCP wants a port of its own.
    #[error("the offer's {section} section lacks a=rtcp-mux; use the rtcpMuxPolicy \"require\"")]
    NoRtcpMux {
        /// `video` or `audio`.
        section: &'static str,
    },
    /// An ICE credential is absent or malformed (RFC 8839 §5.4).
    #[error(
        "the offer's a={attribute} must have {min} to 256 letters, digits, + or /; send the browser's offer unchanged"
    )]
    Ice {
        /// `ice-ufrag` or `ice-pwd`.
        attribute: &'static str,
        /// The least number of characters.
        min: usize,
    },
    /// The viewer does not open the DTLS association (RFC 8842 §5.2).
    #[error(
        "the offer's {section} section must have a=setup:actpass or a=setup:active, as only viewers open DTLS here"
    )]
    Setup {
        /// `video` or `audio`.
        section: &'static str,
    },
    /// Nothing ties the DTLS certificate to the offer.
    #[error(
        "the offer's {section} section has no a=fingerprint; offer DTLS-SRTP with a certificate"
    )]
    NoFingerprint {
        /// `video` or `audio`.
        section: &'static str,
    },
    /// More than one fingerprint for one section.
    #[error(
        "the offer's {section} section has more than one a=fingerprint; give the one of the certificate in use"
    )]
    ManyFingerprints {
        /// `video` or `audio`.
        section: &'static str,
    },
    /// Not the hash and its bytes in full.
    #[error(
        "a=fingerprint of the offer's {section} section is malformed; send the browser's offer unchanged"
    )]
    MalformedFingerprint {
        /// `video` or `audio`.
        section: &'static str,
    },
    /// A hash function that is broken or unknown.
    #[error(
        "the offer's fingerprint uses {hash:?}, which is too weak or unknown; use sha-256, sha-384 or sha-512"
    )]
    WeakFingerprint {
        /// The name found, shortened.
        hash: String,
    },
    /// Two used sections name two certificates.
    #[error(
        "the offer's video and audio have different fingerprints; one connection has one certificate"
    )]
    DifferentFingerprints,
}

/// A viewer's offer that can be answered.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The viewer's ICE credentials.
    pub ice: IceCredentials,
    /// What the viewer's DTLS certificate must hash to.
    pub fingerprint: Fingerprint,
    /// How to send the picture; `None` when it is not asked for.
    pub video: Option<VideoTrack>,
    /// How to send the sound; `None` when it is not asked for, or in no format that cameras send.
    pub audio: Option<AudioTrack>,
    /// All sections in their order.
    pub(super) sections: Vec<OfferedSection>,
    /// The mids of the used sections in the offered group's order; empty without a group.
    pub(super) bundle: Vec<String>,
    /// The index of the section whose transport all others share.
    pub(super) tagged: usize,
}

/// How a viewer takes the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// Of H.264.
    pub payload_type: PayloadType,
    /// Of its retransmissions (RFC 4588), if the viewer takes these.
    pub rtx: Option<PayloadType>,
    /// Whether the viewer asks for what it lost (RFC 4585 §6.2.1).
    pub nack: bool,
    /// What packets carry beside their payload.
    pub extensions: HeaderExtensions,
}

/// How a viewer takes the sound. At least one format is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// Of Opus.
    pub opus: Option<PayloadType>,
    /// Of PCMU.
    pub pcmu: Option<PayloadType>,
    /// The viewer offers to send its voice as well, in the Opus that it takes.
    pub speaks: bool,
    /// What packets carry beside their payload.
    pub extensions: HeaderExtensions,
}

/// The header extensions that were agreed on, in the one-byte form (RFC 8285 §4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderExtensions {
    /// Id (1 to 14) and value (1 to 16 bytes) of the mid.
    pub mid: Option<(u8, String)>,
    /// Id of the playout delay. Not agreed to at present, so always `None`.
    pub playout_delay: Option<u8>,
}

/// One section of the offer, as far as the answer repeats it.
#[derive(Clone, Debug)]
pub(super) struct OfferedSection {
    /// The `m=` line with port 0 and no further lines.
    pub(super) media: MediaSection,
    pub(super) mid: Option<String>,
    pub(super) disposition: Disposition,
}

/// What becomes of an offered section.
#[derive(Clone, Debug)]
pub(super) enum Disposition {
    Rejected,
    Video(Vec<Codec>),
    Audio(Vec<Codec>),
}

/// The sections that are used, by their index.
#[derive(Default)]
struct Picked {
    video: Option<(usize, VideoChoice)>,
    audio: Option<(usize, AudioChoice)>,
}

/// A section that is used, with what to call it.
#[derive(Clone, Copy)]
struct UsedSection<'a> {
    index: usize,
    name: &'static str,
    media: &'a MediaSection,
}

/// Reads and checks an offer. The time it takes is linear in its length, which
/// [`MAX_LEN`](apiary_wire::sdp::MAX_LEN) bounds.
///
/// # Errors
/// The first rule that is broken, in words for whoever made the offer.
pub fn read_offer(text: &str) -> Result<Offer, OfferError> {
    let document = Document::parse(text).map_err(OfferError::Document)?;
    let picked = Picked::from_document(&document)?;
    let used = picked.used(&document);
    for section in &used {
        check_mid(section)?;
    }
    let bundle = bundle_group(&document, &used)?;
    let transport = transport::read(&document, &used, &bundle)?;
    let bundle = answered_group(&bundle, &used);
    let track = |index: usize| extensions(&document.media()[index]);
    Ok(Offer {
        ice: transport.ice,
        fingerprint: transport.fingerprint,
        video: picked.video.as_ref().map(|(index, choice)| VideoTrack {
            payload_type: choice.payload_type,
            rtx: choice.rtx,
            nack: choice.nack,
            extensions: track(*index),
        }),
        audio: picked.audio.as_ref().map(|(index, choice)| AudioTrack {
            opus: choice.opus,
            pcmu: choice.pcmu,
            speaks: choice.opus.is_some()
                && document.direction_of(&document.media()[*index]).sends(),
            extensions: track(*index),
        }),
        sections: picked.into_sections(&document),
        bundle,
        tagged: transport.tagged,
    })
}

impl Picked {
    fn from_document(document: &Document) -> Result<Self, OfferError> {
        let mut picked = Self::default();
        let mut video_asked = false;
        for (index, media) in document.media().iter().enumerate() {
            if !is_open(document, media) {
                continue;
            }
            match media.kind() {
                MediaKind::Video if picked.video.is_none() => {
                    video_asked = true;
                    picked.video = codec::choose_video(media).map(|choice| (index, choice));
                }
                MediaKind::Audio if picked.audio.is_none() => {
                    picked.audio = codec::choose_audio(media).map(|choice| (index, choice));
                }
                MediaKind::Video | MediaKind::Audio | MediaKind::Application | MediaKind::Other => {
                }
            }
        }
        if video_asked && picked.video.is_none() {
            return Err(OfferError::NoH264);
        }
        if picked.video.is_none() && picked.audio.is_none() {
            return Err(OfferError::NothingToReceive);
        }
        Ok(picked)
    }

    /// In the offer's order.
    fn used<'a>(&self, document: &'a Document) -> Vec<UsedSection<'a>> {
        let video = self.video.as_ref().map(|(index, _)| (*index, "video"));
        let audio = self.audio.as_ref().map(|(index, _)| (*index, "audio"));
        let mut all: Vec<_> = video
            .into_iter()
            .chain(audio)
            .map(|(index, name)| UsedSection {
                index,
                name,
                media: &document.media()[index],
            })
            .collect();
        all.sort_by_key(|section| section.index);
        all
    }

    fn into_sections(mut self, document: &Document) -> Vec<OfferedSection> {
        let section = |(index, media): (usize, &MediaSection)| OfferedSection {
            media: MediaSection::new(media.kind_name(), 0, media.proto(), media.formats()),
            mid: media.mid().map(str::to_owned),
            disposition: self.take(index),
        };
        document.media().iter().enumerate().map(section).collect()
    }

    fn take(&mut self, index: usize) -> Disposition {
        if let Some((_, video)) = self.video.take_if(|(at, _)| *at == index) {
            return Disposition::Video(video.codecs);
        }
        match self.audio.take_if(|(at, _)| *at == index) {
            Some((_, audio)) => Disposition::Audio(audio.codecs),
            None => Disposition::Rejected,
        }
    }
}

/// Whether the viewer wants to be sent something here, by DTLS-SRTP. Port 0 is a refusal unless it only means that
/// the section has no port of its own (RFC 8843 §6).
fn is_open(document: &Document, media: &MediaSection) -> bool {
    (media.port() != 0 || media.has_flag("bundle-only"))
        && PROTOS.contains(&media.proto())
        && document.direction_of(media).receives()
}

/// A token of RFC 8866 §9, nearly: what can stand between the spaces of a `group` line.
fn check_mid(section: &UsedSection<'_>) -> Result<(), OfferError> {
    let is_word = |mid: &str| !mid.is_empty() && mid.bytes().all(|byte| byte.is_ascii_graphic());
    match section.media.mid() {
        Some(mid) if !is_word(mid) => Err(OfferError::Mid {
            section: section.name,
        }),
        Some(_) | None => Ok(()),
    }
}

/// The mids of the group that holds all used sections, in its order; the first is the tag (RFC 8843 §7.2.1). A
/// single section needs no group.
fn bundle_group<'a>(
    document: &'a Document,
    used: &[UsedSection<'_>],
) -> Result<Vec<&'a str>, OfferError> {
    let mut groups = document.attributes("group").filter_map(|value| {
        let mut words = value.split_ascii_whitespace();
        (words.next() == Some("BUNDLE")).then_some(words)
    });
    let group = groups.find(|words| {
        used.iter().all(|section| {
            let mid = section.media.mid();
            mid.is_some_and(|mid| words.clone().any(|word| word == mid))
        })
    });
    match group {
        Some(words) => Ok(words.collect()),
        None if used.len() > 1 => Err(OfferError::NotBundled),
        None => Ok(Vec::new()),
    }
}

/// What remains of a group without the rejected sections. Each mid stands there once, however often it was offered.
fn answered_group(bundle: &[&str], used: &[UsedSection<'_>]) -> Vec<String> {
    let mut answered = Vec::with_capacity(used.len());
    for mid in bundle {
        let is_used = used.iter().any(|section| section.media.mid() == Some(mid));
        if is_used && !answered.iter().any(|known| known == mid) {
            answered.push((*mid).to_owned());
        }
    }
    answered
}

fn extensions(media: &MediaSection) -> HeaderExtensions {
    let fits = |mid: &&str| mid.len() <= MAX_ONE_BYTE_LEN;
    let mid = media.mid().filter(fits).and_then(|mid| {
        let offered = media.extmaps().find(|map| {
            map.uri == MID_URI
                && map.id <= MAX_ONE_BYTE_ID
                && map.direction.is_none_or(|direction| direction.receives())
        })?;
        Some((offered.id, mid.to_owned()))
    });
    HeaderExtensions {
        mid,
        playout_delay: None,
    }
}

#[cfg(test)]
mod tests;
