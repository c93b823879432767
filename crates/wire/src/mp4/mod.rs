//! One picture as an MP4 file (ISO/IEC 14496-12, -14 and -15), which any browser shows without decoding it by hand.
//!
//! Belongs here: the boxes around an H.264 access unit. Does not: decoding it.

mod sps;

use crate::h264::{NalUnitType, nal_units};
use sps::Sps;

/// Why an access unit makes no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StillError {
    /// Without parameter sets nobody can decode the picture, and without an IDR slice there is none.
    #[error("the access unit holds no {0}")]
    Missing(&'static str),
    /// The sequence parameter set is malformed, or names a size that cannot be.
    #[error("the sequence parameter set cannot be read")]
    ParameterSet,
    /// A parameter set or the picture is longer than a file can say.
    #[error("the access unit is too long")]
    TooLong,
}

/// Ticks in a second.
const TIMESCALE: u32 = 90_000;
/// How long the picture is shown, in ticks: players stop at its end and go on showing it.
const DURATION: u32 = TIMESCALE;
const TRACK: u32 = 1;
/// 72 dots per inch, as a fixed-point number.
const RESOLUTION: u32 = 72 << 16;
/// Unity, as the transformation matrix of a movie and a track.
const MATRIX: [u32; 9] = [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30];
/// "Undetermined", three letters of five bits.
const LANGUAGE: u16 = 0x55c4;

/// A file of the one picture of an access unit (annex B) that is an IDR and has its parameter sets with it.
///
/// # Errors
/// When it is none such.
pub fn still(annex_b: &[u8]) -> Result<Vec<u8>, StillError> {
    let (mut sps, mut pps) = (None, None);
    let mut sample = Vec::with_capacity(annex_b.len());
    let mut has_idr = false;
    for nal in nal_units(annex_b) {
        let Some(&header) = nal.first() else {
            continue;
        };
        match NalUnitType::of_header(header) {
            // Where there are several the last counts, as for a decoder.
            NalUnitType::Sps => sps = Some(nal),
            NalUnitType::Pps => pps = Some(nal),
            kind @ (NalUnitType::IdrSlice | NalUnitType::Slice) => {
                has_idr |= kind == NalUnitType::IdrSlice;
                let length = u32::try_from(nal.len()).map_err(|_| StillError::TooLong)?;
                sample.extend_from_slice(&length.to_be_bytes());
                sample.extend_from_slice(nal);
            }
            NalUnitType::Sei
            | NalUnitType::Delimiter
            | NalUnitType::StapA
            | NalUnitType::FuA
            | NalUnitType::Other(_) => {}
        }
    }
    let sps = sps.ok_or(StillError::Missing("sequence parameter set"))?;
    let pps = pps.ok_or(StillError::Missing("picture parameter set"))?;
    if !has_idr {
        return Err(StillError::Missing("IDR slice"));
    }
    Movie {
        about: Sps::read(sps)?,
        sps,
        pps,
        sample: &sample,
    }
    .write()
}

struct Movie<'a> {
    about: Sps,
    sps: &'a [u8],
    pps: &'a [u8],
    sample: &'a [u8],
}

impl Movie<'_> {
    fn write(&self) -> Result<Vec<u8>, StillError> {
        let sample = u32::try_from(self.sample.len()).map_err(|_| StillError::TooLong)?;
        let mut file = Vec::with_capacity(self.sample.len() + 1024);
        boxed(&mut file, b"ftyp", |body| {
            body.extend_from_slice(b"isom\0\0\x02\0isomavc1mp41");
        });
        let sps = u16::try_from(self.sps.len()).map_err(|_| StillError::TooLong)?;
        let pps = u16::try_from(self.pps.len()).map_err(|_| StillError::TooLong)?;
        let mut place = 0;
        boxed(&mut file, b"moov", |body| {
            self.movie_header(body);
            boxed(body, b"trak", |body| {
                self.track_header(body);
                boxed(body, b"mdia", |body| {
                    media_header(body);
                    boxed(body, b"minf", |body| {
                        full(body, b"vmhd", 1, |body| body.extend_from_slice(&[0; 8]));
                        data_information(body);
                        place = self.sample_table(body, (sps, pps, sample));
                    });
                });
            });
        });
        // Where the sample begins is known once all before it is written.
        let begins = u32::try_from(file.len() + 8).map_err(|_| StillError::TooLong)?;
        if let Some(offset) = file.get_mut(place..place + 4) {
            offset.copy_from_slice(&begins.to_be_bytes());
        }
        boxed(&mut file, b"mdat", |body| {
            body.extend_from_slice(self.sample);
        });
        Ok(file)
    }

    fn movie_header(&self, body: &mut Vec<u8>) {
        full(body, b"mvhd", 0, |body| {
            words(body, &[0, 0, TIMESCALE, DURATION]);
            words(body, &[1 << 16]); // rate
            body.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // volume, reserved
            words(body, &MATRIX);
            words(body, &[0; 6]);
            words(body, &[TRACK + 1]);
        });
    }

    fn track_header(&self, body: &mut Vec<u8>) {
        const ENABLED_IN_MOVIE: u32 = 3;
        full(body, b"tkhd", ENABLED_IN_MOVIE, |body| {
            words(body, &[0, 0, TRACK, 0, DURATION, 0, 0]);
            words(body, &[0, 0]); // layer, group, volume of sound
            words(body, &MATRIX);
            let (width, height) = (self.about.width, self.about.height);
            words(body, &[u32::from(width) << 16, u32::from(height) << 16]);
        });
    }

    /// Gives the place of the sample's offset among all that was written so far.
    fn sample_table(&self, body: &mut Vec<u8>, (sps, pps, sample): (u16, u16, u32)) -> usize {
        let mut place = 0;
        boxed(body, b"stbl", |body| {
            full(body, b"stsd", 0, |body| {
                words(body, &[1]);
                self.sample_entry(body, sps, pps);
            });
            full(body, b"stts", 0, |body| words(body, &[1, 1, DURATION]));
            full(body, b"stsc", 0, |body| words(body, &[1, 1, 1, 1]));
            full(body, b"stsz", 0, |body| words(body, &[0, 1, sample]));
            full(body, b"stco", 0, |body| {
                words(body, &[1]);
                place = body.len();
                words(body, &[0]);
            });
        });
        place
    }

    fn sample_entry(&self, body: &mut Vec<u8>, sps: u16, pps: u16) {
        boxed(body, b"avc1", |body| {
            words(body, &[0, 1, 0, 0, 0, 0]); // reserved, data reference
            halves(body, &[self.about.width, self.about.height]);
            words(body, &[RESOLUTION, RESOLUTION, 0]);
            halves(body, &[1]); // pictures in a sample
            body.extend_from_slice(&[0; 32]); // name of the compressor
            halves(body, &[24, u16::MAX]); // depth
            boxed(body, b"avcC", |body| {
                let about = &self.about;
                const LENGTHS_OF_FOUR: u8 = 0xfc | 3;
                const ONE_SPS: u8 = 0xe0 | 1;
                let (profile, constraints) = (about.profile, about.constraints);
                body.extend_from_slice(&[1, profile, constraints, about.level]);
                body.extend_from_slice(&[LENGTHS_OF_FOUR, ONE_SPS]);
                halves(body, &[sps]);
                body.extend_from_slice(self.sps);
                body.push(1);
                halves(body, &[pps]);
                body.extend_from_slice(self.pps);
                if about.tells_colours() {
                    body.extend_from_slice(&[
                        0xfc | about.colours.format,
                        0xf8 | about.colours.luma_depth_minus8,
                        0xf8 | about.colours.chroma_depth_minus8,
                        0,
                    ]);
                }
            });
        });
    }
}

fn media_header(body: &mut Vec<u8>) {
    full(body, b"mdhd", 0, |body| {
        words(body, &[0, 0, TIMESCALE, DURATION]);
        halves(body, &[LANGUAGE, 0]);
    });
    full(body, b"hdlr", 0, |body| {
        body.extend_from_slice(b"\0\0\0\0vide\0\0\0\0\0\0\0\0\0\0\0\0video\0");
    });
}

/// The sample is in the file itself.
fn data_information(body: &mut Vec<u8>) {
    boxed(body, b"dinf", |body| {
        full(body, b"dref", 0, |body| {
            words(body, &[1]);
            full(body, b"url ", 1, |_| {});
        });
    });
}

/// A box: its length, its kind, what is in it. All but the sample is far from any bound of a length.
fn boxed(body: &mut Vec<u8>, kind: &[u8; 4], fill: impl FnOnce(&mut Vec<u8>)) {
    let start = body.len();
    words(body, &[0]);
    body.extend_from_slice(kind);
    fill(body);
    let length = u32::try_from(body.len() - start).unwrap_or(u32::MAX);
    body[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A box of version 0 with flags.
fn full(body: &mut Vec<u8>, kind: &[u8; 4], flags: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    boxed(body, kind, |body| {
        words(body, &[flags]);
        fill(body);
    });
}

fn words(body: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        body.extend_from_slice(&word.to_be_bytes());
    }
}

fn halves(body: &mut Vec<u8>, halves: &[u16]) {
    for half in halves {
        body.extend_from_slice(&half.to_be_bytes());
    }
}
