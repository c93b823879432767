//! One media section: its `m=` line, and the lines that follow it.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::attributes::decimal;
use super::document::SdpErrorKind;
use super::section::{LineEnding, Section};
use crate::id::shorten;
use crate::units::PayloadType;

/// What a media section carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// `audio`
    Audio,
    /// `video`
    Video,
    /// `application`: data channels.
    Application,
    /// Anything else; [`MediaSection::kind_name`] says what.
    Other,
}

/// One media section (RFC 8866 §5.14). Its lines after the `m=` line are reached through [`Section`], to which it
/// derefs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaSection {
    kind: String,
    port: u16,
    /// The number of ports after a slash.
    port_count: Option<u16>,
    proto: String,
    formats: Vec<String>,
    /// The ending of the `m=` line itself.
    pub(super) ending: LineEnding,
    section: Section,
}

impl MediaSection {
    /// An empty section. `formats` are payload types for RTP. White space inside a part is left out, as it would
    /// make two of one.
    pub fn new(
        kind: &str,
        port: u16,
        proto: &str,
        formats: impl IntoIterator<Item = impl fmt::Display>,
    ) -> Self {
        Self {
            kind: one_word(kind),
            port,
            port_count: None,
            proto: one_word(proto),
            formats: formats
                .into_iter()
                .map(|format| one_word(&format.to_string()))
                .collect(),
            ending: LineEnding::CrLf,
            section: Section::default(),
        }
    }

    /// Reads the value of an `m=` line. What could not be written back the same is refused.
    pub(super) fn parse(value: &str, ending: LineEnding) -> Result<Self, SdpErrorKind> {
        let malformed = || SdpErrorKind::MediaLine {
            found: shorten(value),
        };
        let mut words = value.split(' ');
        let mut word = || {
            words
                .next()
                .filter(|word| !word.is_empty())
                .ok_or_else(malformed)
        };
        let (kind, ports, proto) = (word()?, word()?, word()?);
        let (port, port_count) = match ports.split_once('/') {
            Some((port, count)) => (port, Some(decimal(count).ok_or_else(malformed)?)),
            None => (ports, None),
        };
        let media = Self {
            kind: kind.to_owned(),
            port: decimal(port).ok_or_else(malformed)?,
            port_count,
            proto: proto.to_owned(),
            formats: words.map(str::to_owned).collect(),
            ending,
            section: Section {
                lines: Vec::new(),
                ending,
            },
        };
        if media.formats.is_empty() || media.to_string() != value {
            return Err(malformed());
        }
        media.check_payload_types()?;
        Ok(media)
    }

    /// In a section of RTP each format must be a payload type, and each only once: doubled ones mean nothing and
    /// would let a short line cost much time in negotiation.
    fn check_payload_types(&self) -> Result<(), SdpErrorKind> {
        if !self.is_rtp() {
            return Ok(());
        }
        let mut seen = 0u128;
        for format in &self.formats {
            let found = || shorten(format);
            let number =
                payload_type(format).ok_or_else(|| SdpErrorKind::PayloadType { found: found() })?;
            let bit = 1 << number.get();
            if seen & bit != 0 {
                return Err(SdpErrorKind::DuplicatePayloadType { found: found() });
            }
            seen |= bit;
        }
        Ok(())
    }

    /// What it carries.
    pub fn kind(&self) -> MediaKind {
        match self.kind.as_str() {
            "audio" => MediaKind::Audio,
            "video" => MediaKind::Video,
            "application" => MediaKind::Application,
            _ => MediaKind::Other,
        }
    }

    /// What it carries, as it stands.
    pub fn kind_name(&self) -> &str {
        &self.kind
    }

    /// The port; 0 refuses the section (RFC 3264 §6), and 9 stands for "not known yet" (RFC 8840 §4.1.1).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the port; a count of ports goes away.
    pub fn set_port(&mut self, port: u16) -> &mut Self {
        self.port = port;
        self.port_count = None;
        self
    }

    /// The transport, like `UDP/TLS/RTP/SAVPF`.
    pub fn proto(&self) -> &str {
        &self.proto
    }

    /// Whether the transport is a kind of RTP, so that the formats are payload types.
    pub fn is_rtp(&self) -> bool {
        self.proto.split('/').any(|part| part == "RTP")
    }

    /// The formats as they stand.
    pub fn formats(&self) -> impl Iterator<Item = &str> {
        self.formats.iter().map(String::as_str)
    }

    /// The formats in the writer's order of preference, where they are payload types.
    pub fn payload_types(&self) -> impl Iterator<Item = PayloadType> + '_ {
        let all = if self.is_rtp() {
            self.formats.as_slice()
        } else {
            &[]
        };
        all.iter().filter_map(|format| payload_type(format))
    }

    /// Replaces the formats.
    pub fn set_formats(
        &mut self,
        formats: impl IntoIterator<Item = impl fmt::Display>,
    ) -> &mut Self {
        self.formats = formats
            .into_iter()
            .map(|format| one_word(&format.to_string()))
            .collect();
        self
    }

    /// Removes the payload types that are not wanted, with all that is said about them alone.
    pub fn retain_payload_types(&mut self, wanted: impl Fn(PayloadType) -> bool) -> &mut Self {
        let is_wanted = |number: &str| payload_type(number).is_none_or(&wanted);
        self.formats.retain(|format| is_wanted(format));
        for name in ["rtpmap", "fmtp", "rtcp-fb"] {
            let number = |value: &str| value.split(' ').next().unwrap_or_default().to_owned();
            self.section
                .retain_attributes(name, |value| is_wanted(&number(value)));
        }
        self
    }
}

fn payload_type(text: &str) -> Option<PayloadType> {
    PayloadType::new(decimal(text)?)
}

fn one_word(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && *c != '\0')
        .collect()
}

/// The value of the `m=` line.
impl fmt::Display for MediaSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.port)?;
        if let Some(count) = self.port_count {
            write!(f, "/{count}")?;
        }
        write!(f, " {}", self.proto)?;
        self.formats
            .iter()
            .try_for_each(|format| write!(f, " {format}"))
    }
}

impl Deref for MediaSection {
    type Target = Section;

    fn deref(&self) -> &Section {
        &self.section
    }
}

impl DerefMut for MediaSection {
    fn deref_mut(&mut self) -> &mut Section {
        &mut self.section
    }
}
