//! Which of a section's payload types are used. Each line of the section is looked at a fixed number of times,
//! however many payload types there are.

use std::collections::HashMap;

use apiary_wire::PayloadType;
use apiary_wire::sdp::{Fmtp, H264Profile, MediaSection, ProfileLevelId, RtpMap};

/// The static payload type of PCMU, which needs no `rtpmap` (RFC 3551 §6).
const STATIC_PCMU: u8 = 0;
/// The feedback that is taken: type, parameter.
const FEEDBACK: [(&str, &str); 4] = [
    ("nack", ""),
    ("nack", "pli"),
    ("ccm", "fir"),
    ("goog-remb", ""),
];

/// A payload type as the answer repeats it.
#[derive(Clone, Debug)]
pub(in crate::viewer) struct Codec {
    pub(in crate::viewer) payload_type: PayloadType,
    /// The value of `rtpmap`.
    pub(in crate::viewer) map: String,
    /// The parameters of `fmtp`, as offered.
    pub(in crate::viewer) parameters: Option<String>,
    /// Type and parameter of `rtcp-fb`.
    pub(in crate::viewer) feedback: Vec<(&'static str, &'static str)>,
}

/// What is used of a video section.
pub(super) struct VideoChoice {
    pub(super) payload_type: PayloadType,
    pub(super) rtx: Option<PayloadType>,
    pub(super) nack: bool,
    pub(super) codecs: Vec<Codec>,
}

/// What is used of an audio section.
pub(super) struct AudioChoice {
    pub(super) opus: Option<PayloadType>,
    pub(super) pcmu: Option<PayloadType>,
    pub(super) codecs: Vec<Codec>,
}

/// The formats of one section by payload type; the first line for each counts.
struct Formats<'a> {
    order: Vec<PayloadType>,
    maps: HashMap<PayloadType, RtpMap<'a>>,
    parameters: HashMap<PayloadType, Fmtp<'a>>,
}

impl<'a> Formats<'a> {
    fn new(media: &'a MediaSection) -> Self {
        let mut maps = HashMap::new();
        for map in media.rtpmaps() {
            maps.entry(map.payload_type).or_insert(map);
        }
        let mut parameters = HashMap::new();
        let lines = media.attributes("fmtp");
        for fmtp in lines.filter_map(parse_fmtp) {
            parameters.entry(fmtp.payload_type).or_insert(fmtp);
        }
        Self {
            order: media.payload_types().collect(),
            maps,
            parameters,
        }
    }

    /// The formats in the viewer's order of preference.
    fn iter(&self) -> impl Iterator<Item = RtpMap<'a>> {
        self.order
            .iter()
            .filter_map(|pt| self.maps.get(pt))
            .copied()
    }

    fn find(&self, encoding: &str, clock_rate: u32, channels: u8) -> Option<RtpMap<'a>> {
        self.iter().find(|map| {
            map.is(encoding) && (map.clock_rate, map.channels) == (clock_rate, channels)
        })
    }

    fn fmtp(&self, payload_type: PayloadType) -> Option<&Fmtp<'a>> {
        self.parameters.get(&payload_type)
    }

    fn codec(&self, map: RtpMap<'a>) -> Codec {
        let fmtp = self.fmtp(map.payload_type);
        Codec {
            payload_type: map.payload_type,
            map: map.to_string(),
            parameters: fmtp.map(|fmtp| fmtp.parameters.to_owned()),
            feedback: Vec::new(),
        }
    }
}

fn parse_fmtp(value: &str) -> Option<Fmtp<'_>> {
    let (number, parameters) = value.split_once(' ')?;
    Some(Fmtp {
        payload_type: PayloadType::new(number.parse().ok()?)?,
        parameters,
    })
}

/// The H.264 that suits the cameras' best, with its retransmissions; `None` if there is none.
pub(super) fn choose_video(media: &MediaSection) -> Option<VideoChoice> {
    let formats = Formats::new(media);
    let ranked = formats.iter().filter_map(|map| {
        let usable = map.is("H264") && map.clock_rate == 90_000;
        let rank = usable.then(|| rank(formats.fmtp(map.payload_type)?))??;
        Some((rank, map))
    });
    // The first of several equals, as the viewer prefers it.
    let (_, map) = ranked.min_by_key(|(rank, _)| *rank)?;
    let payload_type = map.payload_type;
    let rtx = formats.iter().find(|candidate| {
        let fmtp = formats.fmtp(candidate.payload_type);
        let apt = fmtp.and_then(|fmtp| fmtp.get("apt")?.parse().ok());
        candidate.is("rtx")
            && candidate.clock_rate == 90_000
            && apt.and_then(PayloadType::new) == Some(payload_type)
    });
    let mut codec = formats.codec(map);
    codec.feedback = feedback(media, payload_type);
    let nack = codec.feedback.contains(&("nack", ""));
    let codecs = std::iter::once(codec)
        .chain(rtx.map(|map| formats.codec(map)))
        .collect();
    Some(VideoChoice {
        payload_type,
        rtx: rtx.map(|map| map.payload_type),
        nack,
        codecs,
    })
}

/// How well a decoder with these parameters suits the cameras' constrained baseline: 0 is best, `None` not at all.
fn rank(fmtp: &Fmtp<'_>) -> Option<u8> {
    if fmtp.get("packetization-mode") != Some("1") {
        return None;
    }
    let id = match fmtp.get("profile-level-id") {
        Some(text) => text.parse().ok()?,
        None => ProfileLevelId::INFERRED,
    };
    match id.profile()? {
        H264Profile::ConstrainedBaseline => Some(0),
        H264Profile::Baseline => Some(1),
        H264Profile::Main => Some(2),
        H264Profile::ConstrainedHigh | H264Profile::High => Some(3),
        H264Profile::High10 | H264Profile::High422 | H264Profile::High444 => Some(4),
        // Key frames only, or decoded by nothing in use.
        H264Profile::Extended
        | H264Profile::High10Intra
        | H264Profile::High422Intra
        | H264Profile::High444Intra
        | H264Profile::Cavlc444Intra => None,
    }
}

/// What is both offered and taken. Never transport-cc: the estimate is the viewer's REMB.
fn feedback(media: &MediaSection, payload_type: PayloadType) -> Vec<(&'static str, &'static str)> {
    let mut offered = [false; FEEDBACK.len()];
    for line in media.rtcp_fbs(payload_type) {
        for (known, (kind, parameter)) in offered.iter_mut().zip(FEEDBACK) {
            *known |= line.is(kind, parameter);
        }
    }
    let all = FEEDBACK.into_iter().zip(offered);
    all.filter_map(|(feedback, offered)| offered.then_some(feedback))
        .collect()
}

/// Opus and PCMU, whichever are offered; `None` if neither is.
pub(super) fn choose_audio(media: &MediaSection) -> Option<AudioChoice> {
    let mut formats = Formats::new(media);
    if let Some(payload_type) = PayloadType::new(STATIC_PCMU) {
        formats.maps.entry(payload_type).or_insert(RtpMap {
            payload_type,
            encoding: "PCMU",
            clock_rate: 8_000,
            channels: 1,
        });
    }
    let opus = formats.find("opus", 48_000, 2);
    let pcmu = formats.find("PCMU", 8_000, 1);
    let used = [opus, pcmu].into_iter().flatten();
    let codecs: Vec<_> = used.map(|map| formats.codec(map)).collect();
    (!codecs.is_empty()).then(|| AudioChoice {
        opus: opus.map(|map| map.payload_type),
        pcmu: pcmu.map(|map| map.payload_type),
        codecs,
    })
}
