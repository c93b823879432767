//! What endpoints pass to each other.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::{LegOrder, PeerOrder};

pub(crate) type LegMailbox = UnboundedSender<LegOrder>;
pub(crate) type PeerMailbox = UnboundedSender<PeerOrder>;

/// What is sent from one element to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Medium {
    Audio,
    Video,
}

impl Medium {
    pub(crate) const BOTH: [Self; 2] = [Self::Audio, Self::Video];

    /// The name in the protocol.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Audio => "AUDIO",
            Self::Video => "VIDEO",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|medium| medium.name() == name)
    }
}

/// The codecs that a Kurento knows and this double can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Opus,
    Pcmu,
    Pcma,
    Vp8,
    Vp9,
    Av1,
    H264,
}

impl Codec {
    /// By the encoding's name in SDP.
    pub(crate) fn named(encoding: &str) -> Option<Self> {
        const NAMES: [(&str, Codec); 7] = [
            ("opus", Codec::Opus),
            ("PCMU", Codec::Pcmu),
            ("PCMA", Codec::Pcma),
            ("VP8", Codec::Vp8),
            ("VP9", Codec::Vp9),
            ("AV1", Codec::Av1),
            ("H264", Codec::H264),
        ];
        let mut names = NAMES.into_iter();
        names
            .find(|(name, _)| name.eq_ignore_ascii_case(encoding))
            .map(|(_, codec)| codec)
    }

    /// Of its RTP timestamps, in Hz.
    pub(crate) fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Pcmu | Self::Pcma => 8_000,
            Self::Vp8 | Self::Vp9 | Self::Av1 | Self::H264 => 90_000,
        }
    }
}

/// One packet on its way to the viewers.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    pub(crate) medium: Medium,
    pub(crate) codec: Option<Codec>,
    /// The source's.
    pub(crate) ssrc: u32,
    pub(crate) marker: bool,
    pub(crate) sequence_number: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload: Arc<[u8]>,
}

/// A viewer that an endpoint's media goes to.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub(crate) id: String,
    pub(crate) media: Vec<Medium>,
    pub(crate) mailbox: PeerMailbox,
}

/// What a viewer lets its source ask of the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ViewerLimits {
    pub(crate) min_kbps: u64,
    /// 0 stands for none.
    pub(crate) max_kbps: u64,
    pub(crate) remb_on_connect_bps: u64,
}

impl Default for ViewerLimits {
    fn default() -> Self {
        Self {
            min_kbps: 100,
            max_kbps: 500,
            remb_on_connect_bps: 300_000,
        }
    }
}

impl ViewerLimits {
    /// What a viewer's REMB counts for.
    pub(crate) fn clamp(&self, bps: u64) -> u64 {
        let max = match self.max_kbps {
            0 => u64::MAX,
            kbps => kbps * 1_000,
        };
        bps.max(self.min_kbps * 1_000).min(max)
    }
}
