//! A run of lines that belong together: the session's, or those of one media section after its `m=` line.
//! Reading and editing of single lines; what values mean is in [`super::attributes`].

use std::fmt;

use super::attributes::{
    Direction, ExtMap, Fingerprint, Fmtp, RtcpFb, RtpMap, Setup, SsrcAttribute,
};
use crate::units::PayloadType;

/// How a line ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnding {
    /// As RFC 8866 §5 wants it.
    #[default]
    CrLf,
    /// As RFC 8866 §9 asks to tolerate.
    Lf,
}

impl LineEnding {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::CrLf => "\r\n",
            Self::Lf => "\n",
        }
    }
}

/// One line, `kind=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    kind: char,
    value: String,
    ending: LineEnding,
}

impl Line {
    /// Characters of `value` that would end the line are left out, so that no value can become a second line.
    pub(super) fn new(kind: char, value: String, ending: LineEnding) -> Self {
        Self {
            kind,
            value: one_line(value),
            ending,
        }
    }

    /// The letter before the equals sign.
    pub fn kind(&self) -> char {
        self.kind
    }

    /// What follows the equals sign.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// How the line ends.
    pub fn ending(&self) -> LineEnding {
        self.ending
    }

    /// Name and value of an attribute line; the value of a flag is empty.
    pub fn attribute(&self) -> Option<(&str, &str)> {
        (self.kind == 'a').then(|| self.value.split_once(':').unwrap_or((&self.value, "")))
    }

    fn is_attribute(&self, name: &str) -> bool {
        self.attribute().is_some_and(|(found, _)| found == name)
    }
}

/// Without the characters that RFC 8866 §9 excludes from values.
pub(super) fn one_line(mut value: String) -> String {
    value.retain(|c| !matches!(c, '\r' | '\n' | '\0'));
    value
}

/// Without its line ending.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.value)
    }
}

/// Lines that belong together, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    pub(super) lines: Vec<Line>,
    /// What lines get that are added.
    pub(super) ending: LineEnding,
}

impl Section {
    /// All lines; those of a media section without its `m=` line.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The value of the first line of this kind.
    pub fn line(&self, kind: char) -> Option<&str> {
        self.lines
            .iter()
            .find(|line| line.kind == kind)
            .map(Line::value)
    }

    /// Replaces the first line of this kind, or adds one at the end.
    pub fn set_line(&mut self, kind: char, value: impl fmt::Display) -> &mut Self {
        let value = one_line(value.to_string());
        match self.lines.iter_mut().find(|line| line.kind == kind) {
            Some(line) => line.value = value,
            None => self.lines.push(Line::new(kind, value, self.ending)),
        }
        self
    }

    /// Adds a line at the end.
    pub fn push_line(&mut self, kind: char, value: impl fmt::Display) -> &mut Self {
        self.lines
            .push(Line::new(kind, value.to_string(), self.ending));
        self
    }

    /// The value of the first attribute of this name; empty for a flag.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes(name).next()
    }

    /// The values of all attributes of this name.
    pub fn attributes<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let all = self.lines.iter().filter_map(Line::attribute);
        all.filter_map(move |(found, value)| (found == name).then_some(value))
    }

    /// Whether there is an attribute of this name, with or without a value.
    pub fn has_flag(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// Adds `a=name:value` at the end.
    pub fn push_attribute(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        self.push_line('a', format_args!("{name}:{value}"))
    }

    /// Adds `a=name` at the end.
    pub fn push_flag(&mut self, name: &str) -> &mut Self {
        self.push_line('a', name)
    }

    /// Replaces the first attribute of this name where it stands and removes further ones, or adds it at the end.
    pub fn set_attribute(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        let Some(first) = self.lines.iter().position(|line| line.is_attribute(name)) else {
            return self.push_attribute(name, value);
        };
        self.lines[first] = Line::new('a', format!("{name}:{value}"), self.lines[first].ending);
        let mut index = 0;
        self.lines.retain(|line| {
            index += 1;
            index - 1 <= first || !line.is_attribute(name)
        });
        self
    }

    /// Removes all attributes of this name; how many these were.
    pub fn remove_attributes(&mut self, name: &str) -> usize {
        let before = self.lines.len();
        self.lines.retain(|line| !line.is_attribute(name));
        before - self.lines.len()
    }

    /// Removes the attributes of this name whose value is not wanted.
    pub fn retain_attributes(&mut self, name: &str, wanted: impl Fn(&str) -> bool) -> &mut Self {
        self.lines.retain(|line| {
            let attribute = line.attribute();
            attribute.is_none_or(|(found, value)| found != name || wanted(value))
        });
        self
    }

    /// The direction given here, if any (RFC 8866 §6.7).
    pub fn direction(&self) -> Option<Direction> {
        let mut names = self.lines.iter().filter_map(Line::attribute);
        names.find_map(|(name, value)| value.is_empty().then(|| Direction::from_name(name))?)
    }

    /// Replaces the direction where it stands, or adds it at the end.
    pub fn set_direction(&mut self, direction: Direction) -> &mut Self {
        let is_direction = |line: &Line| {
            line.attribute().is_some_and(|(name, value)| {
                value.is_empty() && Direction::from_name(name).is_some()
            })
        };
        match self.lines.iter().position(is_direction) {
            Some(at) => direction.as_str().clone_into(&mut self.lines[at].value),
            None => {
                self.push_flag(direction.as_str());
            }
        }
        self
    }

    /// The media identification (RFC 5888 §4).
    pub fn mid(&self) -> Option<&str> {
        self.attribute("mid")
    }

    /// The ICE user name fragment given here (RFC 8839 §5.4).
    pub fn ice_ufrag(&self) -> Option<&str> {
        self.attribute("ice-ufrag")
    }

    /// The ICE password given here (RFC 8839 §5.4).
    pub fn ice_pwd(&self) -> Option<&str> {
        self.attribute("ice-pwd")
    }

    /// The certificate fingerprints given here (RFC 8122 §5); `None` in place of a malformed one.
    pub fn fingerprints(&self) -> impl Iterator<Item = Option<Fingerprint>> {
        self.attributes("fingerprint")
            .map(|value| value.parse().ok())
    }

    /// The DTLS role given here (RFC 4145 §4); `None` also for an unknown one.
    pub fn setup(&self) -> Option<Setup> {
        Setup::from_name(self.attribute("setup")?)
    }

    /// The well-formed payload formats (RFC 8866 §6.6).
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap<'_>> {
        self.attributes("rtpmap").filter_map(RtpMap::parse)
    }

    /// The format of one payload type.
    pub fn rtpmap(&self, payload_type: PayloadType) -> Option<RtpMap<'_>> {
        self.rtpmaps().find(|map| map.payload_type == payload_type)
    }

    /// The format parameters of one payload type (RFC 8866 §6.15).
    pub fn fmtp(&self, payload_type: PayloadType) -> Option<Fmtp<'_>> {
        self.attributes("fmtp")
            .filter_map(Fmtp::parse)
            .find(|fmtp| fmtp.payload_type == payload_type)
    }

    /// The feedback that may be sent for one payload type, given for it or for all (RFC 4585 §4.2).
    pub fn rtcp_fbs(&self, payload_type: PayloadType) -> impl Iterator<Item = RtcpFb<'_>> {
        self.attributes("rtcp-fb")
            .filter_map(RtcpFb::parse)
            .filter(move |fb| fb.payload_type.is_none_or(|only| only == payload_type))
    }

    /// The well-formed header extensions (RFC 8285 §5).
    pub fn extmaps(&self) -> impl Iterator<Item = ExtMap<'_>> {
        self.attributes("extmap").filter_map(ExtMap::parse)
    }

    /// The well-formed attributes of sources (RFC 5576 §4.1).
    pub fn ssrcs(&self) -> impl Iterator<Item = SsrcAttribute<'_>> {
        self.attributes("ssrc").filter_map(SsrcAttribute::parse)
    }

    /// ICE candidates as text, without `candidate:` (RFC 8839 §5.1).
    pub fn candidates(&self) -> impl Iterator<Item = &str> {
        self.attributes("candidate")
    }
}
