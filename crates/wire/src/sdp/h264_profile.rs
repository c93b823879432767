//! `profile-level-id` of H.264 (RFC 6184 §8.1): which profile three bytes stand for, and what fits what.

use std::fmt;
use std::str::FromStr;

use crate::id::shorten;

/// The three bytes that begin a sequence parameter set: `profile_idc`, the constraint flags, `level_idc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProfileLevelId {
    /// `profile_idc`.
    pub profile_idc: u8,
    /// `profile-iop`: the constraint flags 0 to 5 from the top bit down, then two reserved bits.
    pub constraints: u8,
    /// `level_idc`: ten times the level.
    pub level_idc: u8,
}

/// The profiles that [`ProfileLevelId`] tells apart: those of RFC 6184 §8.1, table 5, and constrained high
/// (H.264 §A.2.4.2), which the table predates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum H264Profile {
    /// What every browser and camera speaks.
    ConstrainedBaseline,
    /// With slice groups and redundant slices, which hardly anything decodes.
    Baseline,
    /// Adds B-frames and CABAC.
    Main,
    /// For streaming; unused.
    Extended,
    /// High without B-frames.
    ConstrainedHigh,
    /// Adds 8×8 transforms.
    High,
    /// 10 bits a sample.
    High10,
    /// 4:2:2.
    High422,
    /// 4:4:4.
    High444,
    /// 10 bits, key frames only.
    High10Intra,
    /// 4:2:2, key frames only.
    High422Intra,
    /// 4:4:4, key frames only.
    High444Intra,
    /// 4:4:4, key frames only, no CABAC.
    Cavlc444Intra,
}

/// RFC 6184 §8.1, table 5: `profile_idc`, the constraint bits that count, their values, the profile.
const TABLE_5: [(u8, u8, u8, H264Profile); 16] = [
    (
        0x42,
        0b0100_1111,
        0b0100_0000,
        H264Profile::ConstrainedBaseline,
    ),
    (
        0x4d,
        0b1000_1111,
        0b1000_0000,
        H264Profile::ConstrainedBaseline,
    ),
    (
        0x58,
        0b1100_1111,
        0b1100_0000,
        H264Profile::ConstrainedBaseline,
    ),
    (0x42, 0b0100_1111, 0b0000_0000, H264Profile::Baseline),
    (0x58, 0b1100_1111, 0b1000_0000, H264Profile::Baseline),
    (0x4d, 0b1010_1111, 0b0000_0000, H264Profile::Main),
    (0x58, 0b1100_1111, 0b0000_0000, H264Profile::Extended),
    (0x64, 0b1111_1111, 0b0000_1100, H264Profile::ConstrainedHigh),
    (0x64, 0b1111_1111, 0b0000_0000, H264Profile::High),
    (0x6e, 0b1111_1111, 0b0000_0000, H264Profile::High10),
    (0x7a, 0b1111_1111, 0b0000_0000, H264Profile::High422),
    (0xf4, 0b1111_1111, 0b0000_0000, H264Profile::High444),
    (0x6e, 0b1111_1111, 0b0001_0000, H264Profile::High10Intra),
    (0x7a, 0b1111_1111, 0b0001_0000, H264Profile::High422Intra),
    (0xf4, 0b1111_1111, 0b0001_0000, H264Profile::High444Intra),
    (0x2c, 0b1111_1111, 0b0001_0000, H264Profile::Cavlc444Intra),
];

/// `constraint_set3_flag`, which makes level 1.1 into 1b in the profiles without intra variants.
const CONSTRAINT_SET_3: u8 = 0b0001_0000;

impl ProfileLevelId {
    /// What holds when the parameter is absent: baseline at level 1 (RFC 6184 §8.1).
    pub const INFERRED: Self = Self {
        profile_idc: 0x42,
        constraints: 0,
        level_idc: 10,
    };
    /// What the cameras send: constrained baseline at level 3.1.
    pub const CAMERA: Self = Self {
        profile_idc: 0x42,
        constraints: 0xe0,
        level_idc: 31,
    };

    /// The profile; `None` for combinations that table 5 does not have.
    pub fn profile(self) -> Option<H264Profile> {
        TABLE_5.into_iter().find_map(|(idc, mask, bits, profile)| {
            (idc == self.profile_idc && self.constraints & mask == bits).then_some(profile)
        })
    }

    /// Whether both stand for the same known profile; levels may differ.
    pub fn is_same_profile(self, other: Self) -> bool {
        self.profile()
            .is_some_and(|profile| other.profile() == Some(profile))
    }

    /// Ten times the level, and whether it is level 1b, for comparing: 1 < 1b < 1.1.
    pub fn level(self) -> (u8, bool) {
        let flagged_1b = self.level_idc == 11
            && self.constraints & CONSTRAINT_SET_3 != 0
            && matches!(self.profile_idc, 0x42 | 0x4d | 0x58);
        if flagged_1b || self.level_idc == 9 {
            (10, true)
        } else {
            (self.level_idc, false)
        }
    }
}

impl H264Profile {
    /// Whether a decoder of this profile takes a stream of the other (H.264 §A.2): for the profiles of real-time
    /// video a subset relation, for all others equality.
    pub fn decodes(self, stream: Self) -> bool {
        use H264Profile as P;
        let subset: &[Self] = match self {
            P::ConstrainedBaseline => &[],
            P::Baseline => &[P::ConstrainedBaseline],
            P::Extended => &[P::ConstrainedBaseline, P::Baseline],
            P::Main | P::ConstrainedHigh => &[P::ConstrainedBaseline],
            P::High | P::High10 | P::High422 | P::High444 => {
                &[P::ConstrainedBaseline, P::Main, P::ConstrainedHigh, P::High]
            }
            P::High10Intra | P::High422Intra | P::High444Intra | P::Cavlc444Intra => &[],
        };
        self == stream || subset.contains(&stream)
    }
}

/// A text is no `profile-level-id`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a profile-level-id: that is six hexadecimal digits, like 42e01f")]
pub struct ProfileLevelIdError {
    /// What was given, shortened.
    pub found: String,
}

impl FromStr for ProfileLevelId {
    type Err = ProfileLevelIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = digits.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        let [_, profile_idc, constraints, level_idc] = value
            .ok_or_else(|| ProfileLevelIdError {
                found: shorten(text),
            })?
            .to_be_bytes();
        Ok(Self {
            profile_idc,
            constraints,
            level_idc,
        })
    }
}

/// Six digits in lower case.
impl fmt::Display for ProfileLevelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02x}{:02x}{:02x}",
            self.profile_idc, self.constraints, self.level_idc
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ProfileLevelId {
        text.parse().unwrap()
    }

    #[test]
    fn table_5_of_rfc_6184() {
        use H264Profile as P;
        let cases = [
            ("42e01f", Some(P::ConstrainedBaseline)),
            ("42c01f", Some(P::ConstrainedBaseline)),
            ("42f00b", Some(P::ConstrainedBaseline)),
            ("4d801f", Some(P::ConstrainedBaseline)),
            ("58c01f", Some(P::ConstrainedBaseline)),
            ("42001f", Some(P::Baseline)),
            ("42a01f", Some(P::Baseline)),
            ("58801f", Some(P::Baseline)),
            ("4d001f", Some(P::Main)),
            ("4d401f", Some(P::Main)),
            ("58001f", Some(P::Extended)),
            ("64001f", Some(P::High)),
            ("640c1f", Some(P::ConstrainedHigh)),
            ("6e001f", Some(P::High10)),
            ("7a001f", Some(P::High422)),
            ("f4001f", Some(P::High444)),
            ("6e101f", Some(P::High10Intra)),
            ("7a101f", Some(P::High422Intra)),
            ("f4101f", Some(P::High444Intra)),
            ("2c101f", Some(P::Cavlc444Intra)),
            ("42e11f", None),
            ("4d201f", None),
            ("2c001f", None),
            ("00001f", None),
        ];
        for (text, profile) in cases {
            assert_eq!(id(text).profile(), profile, "{text}");
        }
    }

    #[test]
    fn profiles_are_equal_across_their_spellings() {
        assert!(id("42e01f").is_same_profile(id("4d8028")));
        assert!(!id("42e01f").is_same_profile(id("42001f")));
        // Two unknown ones are not known to be equal.
        assert!(!id("00001f").is_same_profile(id("00001f")));
    }

    #[test]
    fn bigger_profiles_decode_smaller_ones() {
        use H264Profile as P;
        for decoder in [
            P::ConstrainedBaseline,
            P::Baseline,
            P::Main,
            P::ConstrainedHigh,
            P::High,
            P::High444,
        ] {
            assert!(decoder.decodes(P::ConstrainedBaseline), "{decoder:?}");
        }
        assert!(!P::Main.decodes(P::Baseline));
        assert!(!P::ConstrainedBaseline.decodes(P::Main));
        assert!(P::High444.decodes(P::High));
        assert!(!P::Cavlc444Intra.decodes(P::ConstrainedBaseline));
    }

    #[test]
    fn level_1b_lies_between_1_and_1_1() {
        let levels = ["42000a", "42100b", "42000b", "42001f"].map(|text| id(text).level());
        assert!(levels.is_sorted() && levels[0] != levels[1] && levels[1] != levels[2]);
        assert_eq!(id("640009").level(), id("4d100b").level());
        assert_eq!(id("64100b").level(), (11, false));
    }

    #[test]
    fn only_six_digits_are_an_id() {
        assert_eq!(id("42E01F"), ProfileLevelId::CAMERA);
        assert_eq!(ProfileLevelId::CAMERA.to_string(), "42e01f");
        assert_eq!(ProfileLevelId::INFERRED.to_string(), "42000a");
        for bad in ["", "42e01", "42e01f0", "+2e01f", "42e01g", "４２e01f"] {
            assert!(bad.parse::<ProfileLevelId>().is_err(), "{bad}");
        }
    }
}
