//! Ids of cameras, streams and viewers: checked once at the edge, canonical from then on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A camera's id: 32 hexadecimal digits, also its MQTT client id.
///
/// Either case is taken; it is always shown in upper case. Nothing else than hexadecimal digits gets in, so an
/// id is safe inside MQTT topics, file names, URLs and logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CameraId(u128);

/// How many hexadecimal digits a camera id has.
const CAMERA_ID_DIGITS: usize = 32;
/// How much of a refused id an error repeats.
const SHOWN_CHARS: usize = 40;

/// A text is no camera id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a camera id: it has 32 hexadecimal digits and no dashes, \
     like 56C1CADCF1FA4C6CAEBA3E2FD85EFEBF"
)]
pub struct CameraIdError {
    /// What was given, shortened.
    pub found: String,
}

impl CameraId {
    /// From the 16 bytes that the digits stand for.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The 16 bytes that the digits stand for.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The first 8 digits: for session names and screens, not unique by contract.
    pub fn short(self) -> String {
        format!("{:08X}", (self.0 >> 96) as u32)
    }
}

impl FromStr for CameraId {
    type Err = CameraIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // from_str_radix alone would take a leading `+`.
        let all_digits =
            text.len() == CAMERA_ID_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !all_digits {
            return Err(CameraIdError {
                found: shorten(text),
            });
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| CameraIdError {
                found: shorten(text),
            })
    }
}

impl TryFrom<String> for CameraId {
    type Error = CameraIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CameraId> for String {
    fn from(id: CameraId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032X}", self.0)
    }
}

impl fmt::Debug for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CameraId({self})")
    }
}

/// A text is no UUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a {what} id: that is a UUID, like 67e55044-10b1-426f-9247-bb680e5fe0c8")]
pub struct UuidIdError {
    /// Of what kind the id should have been: `stream` or `viewer`.
    pub what: &'static str,
    /// What was given, shortened.
    pub found: String,
}

/// One run of one camera. Made by callers from a fresh UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub Uuid);

/// One watcher of one stream. Made by callers from a fresh UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ViewerId(pub Uuid);

impl StreamId {
    /// The first 8 characters: for session names and screens, not unique by contract.
    pub fn short(self) -> String {
        short_uuid(self.0)
    }
}

impl ViewerId {
    /// The first 8 characters: for screens and logs, not unique by contract.
    pub fn short(self) -> String {
        short_uuid(self.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for StreamId {
    type Err = UuidIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_uuid(text, "stream").map(Self)
    }
}

impl FromStr for ViewerId {
    type Err = UuidIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_uuid(text, "viewer").map(Self)
    }
}

fn parse_uuid(text: &str, what: &'static str) -> Result<Uuid, UuidIdError> {
    Uuid::parse_str(text).map_err(|_| UuidIdError {
        what,
        found: shorten(text),
    })
}

fn short_uuid(uuid: Uuid) -> String {
    format!("{:08x}", (uuid.as_u128() >> 96) as u32)
}

/// The first characters of refused text, so that an error stays one readable line.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";

    #[test]
    fn camera_ids_are_canonicalised_to_upper_case() {
        let id: CameraId = ID.to_lowercase().parse().unwrap();
        assert_eq!(id.to_string(), ID);
        assert_eq!(id.short(), "56C1CADC");
        assert_eq!(id, ID.parse().unwrap());
        assert_eq!(CameraId::from_bytes(id.to_bytes()), id);
        let zeros: CameraId = "00000000000000000000000000000001".parse().unwrap();
        assert_eq!(zeros.to_string(), "00000000000000000000000000000001");
        assert_eq!(zeros.short(), "00000000");
    }

    #[test]
    fn h32_camera_ids_with_topic_characters_are_refused() {
        for bad in [
            "/", "+", "#", "$", "\0", "\n", "\u{1b}", " ", "-", "G", "é", "０",
        ] {
            for position in [0, 16, 31] {
                let mut text = ID.to_owned();
                text.replace_range(position..=position, bad);
                assert!(text.parse::<CameraId>().is_err(), "{text:?}");
            }
        }
        for bad in [
            "",
            "56C1",
            &ID[1..],
            &format!("{ID}0"),
            "56C1CADC-F1FA-4C6C-AEBA-3E2FD85EFEBF",
            &format!("+{}", &ID[1..]),
        ] {
            assert!(bad.parse::<CameraId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn h35_errors_escape_and_shorten_what_they_repeat() {
        let error = format!("\r\n\u{1b}[31m{}", "x".repeat(10_000))
            .parse::<CameraId>()
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("32 hexadecimal digits"), "{text}");
        assert!(
            text.len() < 300 && !text.contains(['\r', '\n', '\u{1b}']),
            "{text:?}"
        );
    }

    #[test]
    fn ids_are_strings_in_json() {
        let id: CameraId = ID.parse().unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{ID}\""));
        assert_eq!(
            serde_json::from_str::<CameraId>(&format!("\"{}\"", ID.to_lowercase())).unwrap(),
            id
        );
        assert!(serde_json::from_str::<CameraId>("\"nope\"").is_err());
        let stream = StreamId(Uuid::from_u128(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8));
        assert_eq!(
            serde_json::to_string(&stream).unwrap(),
            "\"67e55044-10b1-426f-9247-bb680e5fe0c8\""
        );
        assert_eq!(stream.short(), "67e55044");
        assert_eq!(stream.to_string().parse::<StreamId>().unwrap(), stream);
        assert_eq!(
            "x".parse::<ViewerId>()
                .unwrap_err()
                .to_string()
                .split(':')
                .next(),
            Some("\"x\" is not a viewer id")
        );
    }

    proptest! {
        #[test]
        fn only_32_hex_digits_parse(text in "\\PC{0,40}") {
            let valid = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
            prop_assert_eq!(text.parse::<CameraId>().is_ok(), valid);
        }

        #[test]
        fn camera_ids_round_trip(bytes: [u8; 16]) {
            let id = CameraId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse::<CameraId>().unwrap(), id);
        }
    }
}
