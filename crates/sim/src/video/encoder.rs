//! H.264 encoding of canvases with OpenH264, the way the camera encodes: constrained baseline, one
//! slice a picture, no B-frames, SPS and PPS in-band before each IDR.

use apiary_wire::Bitrate;
use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Level,
    Profile, QpRange, RateControlMode, UsageType, VuiConfig,
};
use openh264::formats::YUVSlices;

use super::canvas::Canvas;

/// One encoded picture in Annex B form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessUnit {
    /// NAL units, each behind a start code.
    pub(crate) annexb: Vec<u8>,
    /// Whether the picture is an IDR, with its SPS and PPS in front.
    pub(crate) idr: bool,
}

/// The encoder refused its settings or a picture.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It refused the settings.
    #[error("OpenH264 refuses an encoder for {bitrate}")]
    Open {
        /// What it was to aim at.
        bitrate: Bitrate,
        /// OpenH264's reason.
        source: openh264::Error,
    },
    /// It refused a picture.
    #[error("OpenH264 cannot encode a picture of {width}x{height}")]
    Encode {
        /// The picture's width in pixels.
        width: usize,
        /// The picture's height in pixels.
        height: usize,
        /// OpenH264's reason.
        source: openh264::Error,
    },
}

/// An encoder of one picture size whose bitrate can be changed while it runs.
pub(crate) struct CardEncoder {
    encoder: Encoder,
    bitrate: Bitrate,
    frame_rate: u32,
    /// Asked for, not encoded yet.
    idr_wanted: bool,
    /// The encoder has seen no picture yet, and without a size it cannot be asked for an IDR.
    fresh: bool,
}

impl CardEncoder {
    /// An encoder for `frame_rate` pictures a second that aims at `bitrate`.
    pub(crate) fn new(bitrate: Bitrate, frame_rate: u32) -> Result<Self, EncodeError> {
        Ok(Self {
            encoder: encoder(bitrate, frame_rate)?,
            bitrate,
            frame_rate,
            idr_wanted: true,
            fresh: true,
        })
    }

    /// Aims at `bitrate` from the next picture on, which becomes an IDR if the bitrate is another
    /// one: the safe interface of OpenH264 cannot change a running encoder, so a new one takes over.
    pub(crate) fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), EncodeError> {
        if bitrate != self.bitrate {
            self.encoder = encoder(bitrate, self.frame_rate)?;
            self.bitrate = bitrate;
            self.idr_wanted = true;
            self.fresh = true;
        }
        Ok(())
    }

    /// Makes the next picture an IDR.
    pub(crate) fn request_idr(&mut self) {
        self.idr_wanted = true;
    }

    /// Encodes one picture. `None` where the rate control skipped it.
    pub(super) fn encode(&mut self, canvas: &Canvas) -> Result<Option<AccessUnit>, EncodeError> {
        // A fresh encoder starts with an IDR by itself.
        let fresh = std::mem::take(&mut self.fresh);
        if std::mem::take(&mut self.idr_wanted) && !fresh {
            self.encoder.force_intra_frame();
        }
        let (width, height) = (canvas.width(), canvas.height());
        let source = YUVSlices::new(
            (&canvas.y, &canvas.u, &canvas.v),
            (width, height),
            (width, width / 2, width / 2),
        );
        let stream = self
            .encoder
            .encode(&source)
            .map_err(|source| EncodeError::Encode {
                width,
                height,
                source,
            })?;
        let annexb = stream.to_vec();
        Ok((!annexb.is_empty()).then(|| AccessUnit {
            annexb,
            idr: stream.frame_type() == FrameType::IDR,
        }))
    }
}

fn encoder(bitrate: Bitrate, frame_rate: u32) -> Result<Encoder, EncodeError> {
    let bps = u32::try_from(bitrate.as_bps()).unwrap_or(u32::MAX);
    let config = EncoderConfig::new()
        .bitrate(BitRate::from_bps(bps))
        .max_frame_rate(FrameRate::from_hz(frame_rate as f32))
        .rate_control_mode(RateControlMode::Bitrate)
        .usage_type(UsageType::CameraVideoRealTime)
        .profile(Profile::Baseline)
        .level(Level::Level_3_1)
        .complexity(Complexity::Low)
        .num_threads(1)
        .qp(QpRange::new(12, 48))
        // The camera's firmware decides about each IDR, not the encoder.
        .intra_frame_period(IntraFramePeriod::from_num_frames(0))
        .scene_change_detect(false)
        .background_detection(false)
        .adaptive_quantization(false)
        // Without it OpenH264 cannot hold a low bitrate, and says so on stderr.
        .skip_frames(true)
        .vui(VuiConfig::bt601());
    Encoder::with_api_config(OpenH264API::from_source(), config)
        .map_err(|source| EncodeError::Open { bitrate, source })
}

#[cfg(test)]
mod tests {
    use super::super::card::{Scene, TestCard};
    use super::*;

    const FPS: u32 = 30;

    /// Encodes `seconds` of the test card at its real size.
    fn encode(encoder: &mut CardEncoder, seconds: u32) -> Vec<AccessUnit> {
        let mut card = TestCard::new((1280, 720), "Test", 0.0, 1);
        let scene = |number: u32| Scene {
            frame: number.into(),
            clock: "12:00:00.0",
            bitrate_kbps: 0,
        };
        (0..seconds * FPS)
            .filter_map(|number| encoder.encode(card.draw(scene(number))).unwrap())
            .collect()
    }

    fn nal_types(unit: &AccessUnit) -> Vec<u8> {
        let nals = apiary_wire::h264::nal_units(&unit.annexb);
        nals.map(|nal| nal[0] & 0x1F).collect()
    }

    #[test]
    fn the_bitrate_is_met_and_follows_a_change() {
        let mut encoder = CardEncoder::new(Bitrate::from_kbps(5000), FPS).unwrap();
        for kbps in [5000, 500, 2000] {
            encoder.set_bitrate(Bitrate::from_kbps(kbps)).unwrap();
            let units = encode(&mut encoder, 4);
            let bytes: usize = units.iter().map(|unit| unit.annexb.len()).sum();
            let measured = bytes as u64 * 8 / 4 / 1000;
            let near = kbps * 8 / 10..kbps * 12 / 10;
            assert!(
                near.contains(&measured),
                "{kbps} wanted, {measured} kbit/s came"
            );
            assert!(units[0].idr);
        }
    }

    #[test]
    fn every_picture_is_one_slice_and_idrs_carry_their_parameter_sets() {
        let mut encoder = CardEncoder::new(Bitrate::from_kbps(1500), FPS).unwrap();
        let mut units = encode(&mut encoder, 1);
        encoder.request_idr();
        units.extend(encode(&mut encoder, 1));
        let idrs = units.iter().filter(|unit| unit.idr).count();
        assert_eq!(idrs, 2, "at the start and when asked for, no others");
        for unit in &units {
            let wanted: &[u8] = if unit.idr { &[7, 8, 5] } else { &[1] };
            assert_eq!(nal_types(unit), wanted);
        }
        // Constrained baseline, level 3.1 at most: profile_idc 66 with constraint_set1 (no B-frames).
        let sps = apiary_wire::h264::nal_units(&units[0].annexb)
            .next()
            .unwrap();
        assert_eq!((sps[1], sps[2] & 0x40, sps[3]), (66, 0x40, 31));
    }
}
