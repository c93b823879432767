//! Attribute values, typed. All borrow from the document, and what is malformed is `None`.

use std::fmt;
use std::str::FromStr;

use crate::id::shorten;
use crate::units::{PayloadType, Ssrc};

fn payload_type(text: &str) -> Option<PayloadType> {
    PayloadType::new(decimal(text)?)
}

/// A number in digits only: `parse` alone would take a sign.
pub(super) fn decimal<T: FromStr>(text: &str) -> Option<T> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Which way media flows, seen from whoever wrote the document (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways; what holds when nothing is said.
    #[default]
    SendRecv,
    /// Only out.
    SendOnly,
    /// Only in.
    RecvOnly,
    /// Not at all.
    Inactive,
}

impl Direction {
    /// As in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [
            Self::SendRecv,
            Self::SendOnly,
            Self::RecvOnly,
            Self::Inactive,
        ]
        .into_iter()
        .find(|direction| direction.as_str() == name)
    }

    /// Whether the writer of the document takes media.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// Whether the writer of the document gives media.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who opens the DTLS association (RFC 4145 §4, RFC 5763 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// The writer does.
    Active,
    /// The other side does.
    Passive,
    /// Either: in offers.
    ActPass,
    /// Nobody yet.
    HoldConn,
}

impl Setup {
    /// As in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Passive, Self::ActPass, Self::HoldConn]
            .into_iter()
            .find(|setup| setup.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `rtpmap`: what a payload type is (RFC 8866 §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// The payload type.
    pub payload_type: PayloadType,
    /// The encoding's name; compare with [`RtpMap::is`].
    pub encoding: &'a str,
    /// In Hz.
    pub clock_rate: u32,
    /// For audio: channels, 1 when not given.
    pub channels: u8,
}

impl<'a> RtpMap<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let (number, format) = value.split_once(' ')?;
        let mut parts = format.trim_start().split('/');
        let encoding = parts.next().filter(|name| !name.is_empty())?;
        let clock_rate = decimal(parts.next()?)?;
        let channels = parts.next().map_or(Some(1), decimal)?;
        Some(Self {
            payload_type: payload_type(number)?,
            encoding,
            clock_rate,
            channels,
        })
    }

    /// Whether it is this encoding; names are compared without regard to case (RFC 4855 §3).
    pub fn is(&self, encoding: &str) -> bool {
        self.encoding.eq_ignore_ascii_case(encoding)
    }
}

/// The value of an `rtpmap` attribute.
impl fmt::Display for RtpMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}/{}",
            self.payload_type, self.encoding, self.clock_rate
        )?;
        match self.channels {
            1 => Ok(()),
            channels => write!(f, "/{channels}"),
        }
    }
}

/// `fmtp`: parameters of a payload type (RFC 8866 §6.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fmtp<'a> {
    /// The payload type.
    pub payload_type: PayloadType,
    /// All parameters, as they stand: to be copied into an answer.
    pub parameters: &'a str,
}

impl<'a> Fmtp<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let (number, parameters) = value.split_once(' ')?;
        Some(Self {
            payload_type: payload_type(number)?,
            parameters,
        })
    }

    /// `(key, value)` of each parameter; the value of one without `=` is empty.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.parameters
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                (key.trim(), value.trim())
            })
    }

    /// The value of one parameter; keys are compared without regard to case.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    }
}

/// `rtcp-fb`: feedback that may be sent (RFC 4585 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtcpFb<'a> {
    /// For which payload type; `None` for `*`, all.
    pub payload_type: Option<PayloadType>,
    /// `nack`, `ccm`, `goog-remb`, …
    pub kind: &'a str,
    /// `pli`, `fir`, …; empty when there is none.
    pub parameter: &'a str,
}

impl<'a> RtcpFb<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let (number, feedback) = value.split_once(' ')?;
        let payload_type = if number == "*" {
            None
        } else {
            Some(payload_type(number)?)
        };
        let (kind, parameter) = feedback.split_once(' ').unwrap_or((feedback, ""));
        Some(Self {
            payload_type,
            kind,
            parameter: parameter.trim(),
        })
    }

    /// Whether it is this kind with this parameter (empty: without one).
    pub fn is(&self, kind: &str, parameter: &str) -> bool {
        self.kind == kind && self.parameter == parameter
    }
}

/// `extmap`: a header extension (RFC 8285 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtMap<'a> {
    /// Its id in packets, 1 to 255 (1 to 14 in the one-byte form).
    pub id: u8,
    /// Restricts it to one direction.
    pub direction: Option<Direction>,
    /// What it is.
    pub uri: &'a str,
}

impl<'a> ExtMap<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let mut words = value.split(' ').filter(|word| !word.is_empty());
        let number = words.next()?;
        let (id, direction) = match number.split_once('/') {
            Some((id, direction)) => (id, Some(Direction::from_name(direction)?)),
            None => (number, None),
        };
        let id = decimal(id).filter(|id| *id != 0)?;
        Some(Self {
            id,
            direction,
            uri: words.next()?,
        })
    }
}

/// `ssrc`: an attribute of one source (RFC 5576 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SsrcAttribute<'a> {
    /// The source.
    pub ssrc: Ssrc,
    /// `cname`, `msid`, …
    pub name: &'a str,
    /// Empty when there is none.
    pub value: &'a str,
}

impl<'a> SsrcAttribute<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let (number, attribute) = value.split_once(' ')?;
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        Some(Self {
            ssrc: Ssrc(decimal(number)?),
            name,
            value,
        })
    }
}

/// `fingerprint`: the hash of a certificate (RFC 8122 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function in lower case, like `sha-256`.
    pub hash: String,
    /// The hash, at most 64 bytes.
    pub bytes: Vec<u8>,
}

/// The longest hash in use (SHA-512).
const MAX_HASH_LEN: usize = 64;

/// A text is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a fingerprint: that is the name of a hash, a space, and bytes like AB:CD:…"
)]
pub struct FingerprintError {
    /// What was given, shortened.
    pub found: String,
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once(' ').and_then(|(hash, hex)| {
            let bytes = hex_bytes(hex.trim())?;
            (!hash.is_empty()).then(|| Self {
                hash: hash.to_ascii_lowercase(),
                bytes,
            })
        });
        parsed.ok_or_else(|| FingerprintError {
            found: shorten(text),
        })
    }
}

/// Pairs of hexadecimal digits with colons between them.
fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(MAX_HASH_LEN);
    for pair in text.split(':') {
        let digits = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits || bytes.len() == MAX_HASH_LEN {
            return None;
        }
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    Some(bytes)
}

/// The value of a `fingerprint` attribute, digits in upper case.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hash)?;
        for (index, byte) in self.bytes.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pt(number: u8) -> PayloadType {
        PayloadType::new(number).unwrap()
    }

    #[test]
    fn rtpmaps_are_read_and_written() {
        for text in ["96 opus/48000/2", "0 PCMU/8000", "103 H264/90000"] {
            assert_eq!(RtpMap::parse(text).unwrap().to_string(), text);
        }
        assert!(RtpMap::parse("103 h264/90000").unwrap().is("H264"));
        for bad in [
            "128 H264/90000",
            "x H264/90000",
            "96",
            "96 opus",
            "96 /48000",
            "96 opus/-1",
            "+96 opus/8000",
            "96 opus/48000/x",
        ] {
            assert_eq!(RtpMap::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn fmtp_keys_are_found_in_any_case_and_spacing() {
        let fmtp = Fmtp::parse(
            "103 level-asymmetry-allowed=1; packetization-mode = 1;Profile-Level-Id=42e01f;;x",
        )
        .unwrap();
        assert_eq!(fmtp.payload_type, pt(103));
        assert_eq!(fmtp.get("profile-level-id"), Some("42e01f"));
        assert_eq!(fmtp.get("packetization-mode"), Some("1"));
        assert_eq!(fmtp.get("x"), Some(""));
        assert_eq!(fmtp.get("apt"), None);
        assert_eq!(fmtp.iter().count(), 4);
        assert_eq!(Fmtp::parse("300 apt=1"), None);
    }

    #[test]
    fn feedback_names_its_payload_type_or_all() {
        let pli = RtcpFb::parse("103 nack pli").unwrap();
        assert!(pli.is("nack", "pli") && !pli.is("nack", ""));
        assert_eq!(pli.payload_type, Some(pt(103)));
        let remb = RtcpFb::parse("* goog-remb").unwrap();
        assert!(remb.is("goog-remb", "") && remb.payload_type.is_none());
        assert_eq!(RtcpFb::parse("200 nack"), None);
    }

    #[test]
    fn extmaps_have_an_id_and_maybe_a_direction() {
        let found = ExtMap::parse("3/recvonly urn:x attributes").unwrap();
        assert_eq!(
            (found.id, found.direction, found.uri),
            (3, Some(Direction::RecvOnly), "urn:x")
        );
        assert_eq!(ExtMap::parse("14 urn:y").unwrap().direction, None);
        for bad in ["0 urn:x", "256 urn:x", "1/sideways urn:x", "1", ""] {
            assert_eq!(ExtMap::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn sources_have_attributes() {
        let found = SsrcAttribute::parse("42 cname:user@host").unwrap();
        assert_eq!(
            (found.ssrc, found.name, found.value),
            (Ssrc(42), "cname", "user@host")
        );
        assert_eq!(SsrcAttribute::parse("4294967296 cname:x"), None);
    }

    #[test]
    fn h16_fingerprints_are_whole_or_none() {
        let text = "sha-256 AB:CD:0F";
        let found: Fingerprint = "SHA-256 ab:CD:0f".parse().unwrap();
        assert_eq!(found.bytes, [0xab, 0xcd, 0x0f]);
        assert_eq!(found.to_string(), text);
        let long = format!("sha-1024 {}", vec!["AA"; 65].join(":"));
        for bad in [
            "",
            "sha-256",
            "sha-256 ",
            "sha-256 A",
            "sha-256 AB:",
            "sha-256 +1",
            "sha-256 ABCD",
            " AB",
            &long,
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn directions_know_which_way_media_flows() {
        assert!(Direction::RecvOnly.receives() && !Direction::RecvOnly.sends());
        assert!(Direction::SendRecv.receives() && Direction::SendRecv.sends());
        assert_eq!(Direction::from_name("inactive"), Some(Direction::Inactive));
        assert_eq!(Setup::from_name("ACTPASS"), Some(Setup::ActPass));
        assert_eq!(Setup::from_name("both"), None);
    }
}
