//! What a file says of its pictures, out of a sequence parameter set (H.264 §7.3.2.1.1).

use super::StillError;

/// Profiles whose parameter sets tell how colours are sampled, and may hold scaling lists.
const WITH_COLOURS: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Wider or higher pictures are none that a level allows.
const MAX_SIDE: u32 = 16_384;
/// Pictures that a picture order count may depend on (§7.4.2.1.1).
const MAX_CYCLE: u32 = 255;

/// What is needed of a sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sps {
    pub(super) profile: u8,
    pub(super) constraints: u8,
    pub(super) level: u8,
    /// Of what is shown, in pixels.
    pub(super) width: u16,
    /// Of what is shown, in pixels.
    pub(super) height: u16,
    pub(super) colours: Colours,
}

/// How colours are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colours {
    /// `chroma_format_idc`
    pub(super) format: u8,
    pub(super) luma_depth_minus8: u8,
    pub(super) chroma_depth_minus8: u8,
}

impl Sps {
    pub(super) fn read(nal: &[u8]) -> Result<Self, StillError> {
        read(&unescape(nal)).ok_or(StillError::ParameterSet)
    }

    /// Whether its profile may have other colours than 4:2:0 of 8 bits.
    pub(super) fn tells_colours(&self) -> bool {
        WITH_COLOURS.contains(&self.profile)
    }
}

/// Without the bytes that keep start codes out of a NAL unit (§7.4.1).
fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        bytes.push(byte);
    }
    bytes
}

fn read(sps: &[u8]) -> Option<Sps> {
    let &[_, profile, constraints, level] = sps.first_chunk()?;
    let mut bits = Bits::new(sps.get(4..)?);
    bits.ue()?; // seq_parameter_set_id
    let colours = if WITH_COLOURS.contains(&profile) {
        colours(&mut bits)?
    } else {
        Colours {
            format: 1,
            luma_depth_minus8: 0,
            chroma_depth_minus8: 0,
        }
    };
    bits.ue()?; // log2_max_frame_num_minus4
    order_count(&mut bits)?;
    bits.ue()?; // max_num_ref_frames
    bits.bit()?; // gaps_in_frame_num_value_allowed_flag
    let width = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let map_height = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let frames_only = bits.bit()?;
    if !frames_only {
        bits.bit()?; // mb_adaptive_frame_field_flag
    }
    bits.bit()?; // direct_8x8_inference_flag
    let fields: u32 = if frames_only { 1 } else { 2 };
    let height = map_height.checked_mul(fields)?;
    let (crop_width, crop_height) = if bits.bit()? {
        let (across, down): (u32, u32) = match colours.format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let [left, right, top, bottom] = [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?];
        (
            left.checked_add(right)?.checked_mul(across)?,
            top.checked_add(bottom)?.checked_mul(down * fields)?,
        )
    } else {
        (0, 0)
    };
    let side = |length: u32, cropped: u32| {
        let shown = length.checked_sub(cropped)?;
        let possible = (1..=MAX_SIDE).contains(&length) && shown > 0;
        possible.then(|| u16::try_from(shown).ok())?
    };
    Some(Sps {
        profile,
        constraints,
        level,
        width: side(width, crop_width)?,
        height: side(height, crop_height)?,
        colours,
    })
}

/// Reads over the scaling lists behind them too.
fn colours(bits: &mut Bits<'_>) -> Option<Colours> {
    let format = bits.ue()?;
    if format == 3 {
        bits.bit()?; // separate_colour_plane_flag: cropping counts in pixels either way
    }
    let (luma_depth, chroma_depth) = (bits.ue()?, bits.ue()?);
    bits.bit()?; // qpprime_y_zero_transform_bypass_flag
    if bits.bit()? {
        let lists = if format == 3 { 12 } else { 8 };
        for list in 0..lists {
            if bits.bit()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    let at_most = |value: u32, most| u8::try_from(value).ok().filter(|value| *value <= most);
    Some(Colours {
        format: at_most(format, 3)?,
        luma_depth_minus8: at_most(luma_depth, 6)?,
        chroma_depth_minus8: at_most(chroma_depth, 6)?,
    })
}

/// §7.3.2.1.1.1
fn skip_scaling_list(bits: &mut Bits<'_>, length: usize) -> Option<()> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..length {
        if next != 0 {
            next = (last + bits.se()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn order_count(bits: &mut Bits<'_>) -> Option<()> {
    match bits.ue()? {
        0 => drop(bits.ue()?),
        1 => {
            bits.bit()?;
            bits.se()?;
            bits.se()?;
            let cycle = bits.ue()?;
            if cycle > MAX_CYCLE {
                return None;
            }
            for _ in 0..cycle {
                bits.se()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// Bits, the highest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Of the next bit.
    place: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, place: 0 }
    }

    fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.place / 8)?;
        let bit = byte >> (7 - self.place % 8) & 1;
        self.place += 1;
        Some(bit == 1)
    }

    /// An Exp-Golomb code (§9.1).
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let mut value: u32 = 1;
        for _ in 0..zeros {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value - 1)
    }

    /// A signed one (§9.1.1).
    fn se(&mut self) -> Option<i64> {
        let code = i64::from(self.ue()?);
        Some(if code % 2 == 1 {
            (code + 1) / 2
        } else {
            -code / 2
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    /// Written by x264: Constrained Baseline, High, Main of an odd size, High 4:2:2, interlaced, High 4:4:4.
    const WRITTEN: [(&str, u8, u16, u16, u8); 6] = [
        (
            "6742c01fd9005005bb0110000003001000000300a0f1832480",
            66,
            1280,
            720,
            1,
        ),
        (
            "67640028acd940780227e5c044000003000400000300283c60c658",
            100,
            1920,
            1080,
            1,
        ),
        (
            "674d400ceca0a843c4446022000003000200000300141e28532c",
            77,
            322,
            242,
            1,
        ),
        (
            "677a0028bcd940780227e270110000030001000003000a0f183196",
            122,
            1920,
            1080,
            2,
        ),
        (
            "67640028acd94078044fde022000000300200000030143e2c5b2c0",
            100,
            1920,
            1080,
            1,
        ),
        (
            "67f4000c919b282a10f1f1f808800000030080000005078a14cb",
            244,
            322,
            242,
            3,
        ),
    ];

    #[test]
    fn sizes_are_read_as_encoders_write_them() {
        for (hex, profile, width, height, format) in WRITTEN {
            let sps = Sps::read(&bytes(hex)).unwrap();
            assert_eq!((sps.width, sps.height), (width, height), "{hex}");
            assert_eq!(
                (sps.profile, sps.colours.format),
                (profile, format),
                "{hex}"
            );
        }
    }

    #[test]
    fn h22_half_and_wild_parameter_sets_are_refused_or_read_but_never_more() {
        for (hex, ..) in WRITTEN {
            let whole = bytes(hex);
            for length in 0..whole.len() {
                let _ = Sps::read(&whole[..length]);
            }
            assert_eq!(Sps::read(&whole[..6]), Err(StillError::ParameterSet));
            for at in 0..whole.len() {
                for bit in 0..8 {
                    let mut wild = whole.clone();
                    wild[at] ^= 1 << bit;
                    if let Ok(sps) = Sps::read(&wild) {
                        assert!(sps.width > 0 && sps.height > 0);
                    }
                }
            }
        }
        assert_eq!(Sps::read(&[0x67; 4]), Err(StillError::ParameterSet));
        assert_eq!(Sps::read(&[0; 1000]), Err(StillError::ParameterSet));
    }
}
