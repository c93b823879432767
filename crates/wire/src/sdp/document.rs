//! A whole SDP: what is parsed comes out byte for byte, however unusual, as long as nothing is edited.

use std::collections::HashSet;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;

use super::attributes::{Direction, Fingerprint, Setup};
use super::media::MediaSection;
use super::section::{Line, LineEnding, Section};
use crate::id::shorten;

/// Longer documents are refused unread. Browsers' offers have 2 to 10 KiB.
pub const MAX_LEN: usize = 64 * 1024;
/// Documents with more lines are refused.
pub const MAX_LINES: usize = 4096;
/// Documents with more media sections are refused.
pub const MAX_SECTIONS: usize = 256;

/// Why a text is no SDP, and in which line (from 1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SDP line {line}: {kind}")]
pub struct SdpError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub kind: SdpErrorKind,
}

/// What is wrong with an SDP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpErrorKind {
    /// More than [`MAX_LEN`].
    #[error("the document has {len} bytes, at most {MAX_LEN} are read")]
    TooLong {
        /// The document's length.
        len: usize,
    },
    /// More than [`MAX_LINES`].
    #[error("more than {MAX_LINES} lines")]
    TooManyLines,
    /// More than [`MAX_SECTIONS`].
    #[error("more than {MAX_SECTIONS} media sections")]
    TooManySections,
    /// The first line is not the version.
    #[error("a session description begins with v=0, this begins with {found:?}")]
    NoVersion {
        /// The first line, shortened.
        found: String,
    },
    /// Not a letter, an equals sign and a value.
    #[error("{found:?} is not of the form x=value")]
    NotALine {
        /// The line, shortened.
        found: String,
    },
    /// A NUL, or a CR without LF.
    #[error("a value holds a NUL or a lone carriage return")]
    ForbiddenCharacter,
    /// An `m=` line without its parts.
    #[error("{found:?} is not of the form kind port transport formats")]
    MediaLine {
        /// The line's value, shortened.
        found: String,
    },
    /// A format of an RTP section is no payload type.
    #[error("{found:?} is not an RTP payload type (0 to 127)")]
    PayloadType {
        /// The format, shortened.
        found: String,
    },
    /// An RTP section names a payload type twice.
    #[error("payload type {found} stands twice in one media section")]
    DuplicatePayloadType {
        /// The format, shortened.
        found: String,
    },
    /// Two sections have the same identification.
    #[error("mid {mid:?} is used by two media sections")]
    DuplicateMid {
        /// The identification, shortened.
        mid: String,
    },
}

/// A session description. Its session-level lines are reached through [`Section`], to which it derefs; functions
/// named `…_of` give what holds for one media section: its own value, or else the session's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    session: Section,
    media: Vec<MediaSection>,
    /// The last line had no line ending.
    unterminated: bool,
}

impl Document {
    /// An empty document with CR LF line ends; add `v=0` first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a document.
    ///
    /// # Errors
    /// The first line that is none of SDP, or a bound that is exceeded.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > MAX_LEN {
            return Err(SdpError {
                line: 1,
                kind: SdpErrorKind::TooLong { len: text.len() },
            });
        }
        let mut document = Self {
            unterminated: !text.ends_with('\n'),
            ..Self::default()
        };
        let mut mids = HashSet::new();
        let mut count = 0;
        for (index, raw) in text.split_inclusive('\n').enumerate() {
            count = index + 1;
            let at = |kind| SdpError {
                line: index + 1,
                kind,
            };
            let line = parse_line(raw, document.session.ending).map_err(at)?;
            if let Some(("mid", mid)) = line.attribute()
                && !document.media.is_empty()
                && !mids.insert(mid.to_owned())
            {
                return Err(at(SdpErrorKind::DuplicateMid { mid: shorten(mid) }));
            }
            document.take(index, line).map_err(at)?;
        }
        if count == 0 {
            return Err(SdpError {
                line: 1,
                kind: SdpErrorKind::NoVersion {
                    found: String::new(),
                },
            });
        }
        Ok(document)
    }

    fn take(&mut self, index: usize, line: Line) -> Result<(), SdpErrorKind> {
        if index == 0 {
            if line.kind() != 'v' {
                return Err(SdpErrorKind::NoVersion {
                    found: shorten(&line.to_string()),
                });
            }
            self.session.ending = line.ending();
        }
        if index >= MAX_LINES {
            return Err(SdpErrorKind::TooManyLines);
        }
        if line.kind() == 'm' {
            if self.media.len() == MAX_SECTIONS {
                return Err(SdpErrorKind::TooManySections);
            }
            self.media
                .push(MediaSection::parse(line.value(), line.ending())?);
            return Ok(());
        }
        let section = self
            .media
            .last_mut()
            .map_or(&mut self.session, |media| &mut **media);
        section.lines.push(line);
        Ok(())
    }

    /// The media sections in their order, which an answer keeps.
    pub fn media(&self) -> &[MediaSection] {
        &self.media
    }

    /// The media sections, to be edited in place.
    pub fn media_mut(&mut self) -> &mut [MediaSection] {
        &mut self.media
    }

    /// Adds a media section at the end.
    pub fn push_media(&mut self, media: MediaSection) -> &mut Self {
        self.media.push(media);
        self
    }

    /// The section with this identification.
    pub fn media_by_mid(&self, mid: &str) -> Option<&MediaSection> {
        self.media.iter().find(|media| media.mid() == Some(mid))
    }

    /// The first attribute of this name in the section, or else in the session part.
    pub fn attribute_of<'a>(&'a self, media: &'a MediaSection, name: &str) -> Option<&'a str> {
        media
            .attribute(name)
            .or_else(|| self.session.attribute(name))
    }

    /// The ICE user name fragment that holds for a section.
    pub fn ice_ufrag_of<'a>(&'a self, media: &'a MediaSection) -> Option<&'a str> {
        self.attribute_of(media, "ice-ufrag")
    }

    /// The ICE password that holds for a section.
    pub fn ice_pwd_of<'a>(&'a self, media: &'a MediaSection) -> Option<&'a str> {
        self.attribute_of(media, "ice-pwd")
    }

    /// The fingerprints that hold for a section: its own if it has any. `None` in place of a malformed one.
    pub fn fingerprints_of<'a>(
        &'a self,
        media: &'a MediaSection,
    ) -> impl Iterator<Item = Option<Fingerprint>> + 'a {
        let own = media.has_flag("fingerprint");
        let section = if own { media } else { &self.session };
        section.fingerprints()
    }

    /// The first well-formed fingerprint that holds for a section.
    pub fn fingerprint_of(&self, media: &MediaSection) -> Option<Fingerprint> {
        self.fingerprints_of(media).flatten().next()
    }

    /// The DTLS role that holds for a section.
    pub fn setup_of(&self, media: &MediaSection) -> Option<Setup> {
        Setup::from_name(self.attribute_of(media, "setup")?)
    }

    /// The direction that holds for a section: its own, the session's, or both ways (RFC 8866 §6.7).
    pub fn direction_of(&self, media: &MediaSection) -> Direction {
        media
            .direction()
            .or_else(|| self.session.direction())
            .unwrap_or_default()
    }
}

/// `unterminated` is the ending that a last line without one gets, should something be added after it.
fn parse_line(raw: &str, unterminated: LineEnding) -> Result<Line, SdpErrorKind> {
    let (text, ending) = match (raw.strip_suffix("\r\n"), raw.strip_suffix('\n')) {
        (Some(text), _) => (text, LineEnding::CrLf),
        (None, Some(text)) => (text, LineEnding::Lf),
        (None, None) => (raw, unterminated),
    };
    if text.contains(['\r', '\0']) {
        return Err(SdpErrorKind::ForbiddenCharacter);
    }
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(kind), Some('=')) if kind.is_ascii_alphabetic() => {
            Ok(Line::new(kind, chars.as_str().to_owned(), ending))
        }
        _ => Err(SdpErrorKind::NotALine {
            found: shorten(text),
        }),
    }
}

/// The whole text.
impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The ending of a line is written before the next one, so that the last can go without.
        let mut pending = "";
        for line in &self.session.lines {
            write!(f, "{pending}{line}")?;
            pending = line.ending().as_str();
        }
        for media in &self.media {
            write!(f, "{pending}m={media}")?;
            pending = media.ending.as_str();
            for line in media.lines() {
                write!(f, "{pending}{line}")?;
                pending = line.ending().as_str();
            }
        }
        f.write_str(if self.unterminated { "" } else { pending })
    }
}

impl FromStr for Document {
    type Err = SdpError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Deref for Document {
    type Target = Section;

    fn deref(&self) -> &Section {
        &self.session
    }
}

impl DerefMut for Document {
    fn deref_mut(&mut self) -> &mut Section {
        &mut self.session
    }
}

#[cfg(test)]
mod tests;
