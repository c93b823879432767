//! What a WebRtcEndpoint makes of an offer's sections.

use std::time::Duration;

use apiary_wire::sdp::{Document, MediaKind};
use apiary_wire::units::PayloadType;
use str0m::RtcConfig;
use str0m::format::{Codec as Str0mCodec, FormatParams};
use str0m::media::{Frequency, Mid};
use str0m::rtp::{Extension, Ssrc};

use crate::media::{Codec, Medium, PeerTrack};
use crate::options::Options;
use crate::sdp;

/// So that a viewer that has fallen silent is noticed after 15 s, the least that str0m takes for it.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(1);
const UNANSWERED_CHECKS: usize = 5;

/// What an offer's sections have come to.
#[derive(Debug, Default)]
pub(super) struct Formats {
    /// `None` for a section that is refused.
    pub(super) sections: Vec<Option<Format>>,
    abs_send_time: Option<u8>,
}

#[derive(Debug)]
pub(super) struct Format {
    medium: Medium,
    mid: String,
    pub(super) known: Vec<(PayloadType, Codec)>,
    pub(super) ssrc: Ssrc,
}

impl Formats {
    pub(super) fn of(offer: &Document, options: &Options) -> Self {
        let mut seen = Vec::new();
        let mut sections = Vec::new();
        let mut abs_send_time = None;
        for media in offer.media() {
            let medium = match media.kind() {
                MediaKind::Audio => Some(Medium::Audio),
                MediaKind::Video => Some(Medium::Video),
                MediaKind::Application | MediaKind::Other => None,
            };
            // One of each, and no AV1 before 7.
            let known: Vec<_> = sdp::known_formats(media)
                .into_iter()
                .filter(|(_, codec)| *codec != Codec::Av1 || options.is_v7())
                .collect();
            let medium = medium.filter(|medium| !known.is_empty() && !seen.contains(medium));
            seen.extend(medium);
            let extension = media
                .extmaps()
                .find(|extension| extension.uri == sdp::ABS_SEND_TIME);
            abs_send_time = abs_send_time.or(extension.map(|extension| extension.id));
            sections.push(medium.map(|medium| Format {
                medium,
                mid: media.mid().unwrap_or(media.kind_name()).to_owned(),
                known,
                ssrc: Ssrc::from(rand::random::<u32>()),
            }));
        }
        Self {
            sections,
            abs_send_time,
        }
    }

    pub(super) fn mids(&self) -> Vec<String> {
        let accepted = self.sections.iter().flatten();
        accepted.map(|section| section.mid.clone()).collect()
    }

    pub(super) fn bundle(&self) -> String {
        format!("BUNDLE {}", self.mids().join(" "))
    }

    /// The picture would have to be sent in another codec than it comes in.
    pub(super) fn would_transcode(&self) -> bool {
        self.sections.iter().flatten().any(|section| {
            section.medium == Medium::Video
                && section.known.first().map(|(_, codec)| *codec) != Some(Codec::H264)
        })
    }

    pub(super) fn config(&self) -> RtcConfig {
        let mut config = RtcConfig::new()
            .clear_codecs()
            .clear_extension_map()
            .set_rtp_mode(true);
        config.set_max_stun_rto(MAX_CHECK_INTERVAL);
        config.set_max_stun_retransmits(UNANSWERED_CHECKS);
        if let Some(id) = self.abs_send_time {
            config = config.set_extension(id, Extension::AbsoluteSendTime);
        }
        for (number, codec) in self
            .sections
            .iter()
            .flatten()
            .flat_map(|section| &section.known)
        {
            let (codec, clock, channels) = codec_of_str0m(*codec);
            let format = FormatParams::default();
            let (number, clock) = (number.get().into(), clock);
            config
                .codec_config()
                .add_config(number, None, codec, clock, channels, format);
        }
        config
    }
}

impl Format {
    pub(super) fn track(&self) -> Option<PeerTrack> {
        let (number, codec) = *self.known.first()?;
        Some(PeerTrack {
            medium: self.medium,
            mid: Mid::from(self.mid.as_str()),
            ssrc: self.ssrc,
            payload_type: number.get().into(),
            codec,
        })
    }
}

fn codec_of_str0m(codec: Codec) -> (Str0mCodec, Frequency, Option<u8>) {
    let video = |codec| (codec, Frequency::NINETY_KHZ, None);
    match codec {
        Codec::Opus => (Str0mCodec::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2)),
        Codec::Pcmu => (Str0mCodec::PCMU, Frequency::EIGHT_KHZ, Some(1)),
        Codec::Pcma => (Str0mCodec::PCMA, Frequency::EIGHT_KHZ, Some(1)),
        Codec::Vp8 => video(Str0mCodec::Vp8),
        Codec::Vp9 => video(Str0mCodec::Vp9),
        Codec::Av1 => video(Str0mCodec::Av1),
        Codec::H264 => video(Str0mCodec::H264),
    }
}
