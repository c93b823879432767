//! RTP packets (RFC 3550 §5) and their header extensions (RFC 8285), borrowed from the datagram.
//! Nothing here allocates while parsing; sequence arithmetic and statistics belong to the receiver.

mod template;

pub use template::{HeaderTemplate, TEMPLATE_EXTENSION_MAX};

use crate::units::{PayloadType, Ssrc};

/// Length of a header without CSRCs and extension.
pub const FIXED_HEADER_LEN: usize = 12;
/// `profile` of an extension block with one-byte elements (RFC 8285 §4.2).
pub const ONE_BYTE_PROFILE: u16 = 0xbede;
/// `profile` of an extension block with two-byte elements, without its four application bits (RFC 8285 §4.3).
pub const TWO_BYTE_PROFILE: u16 = 0x1000;

const VERSION: u8 = 2;
const EXTENSION_BIT: u8 = 0x10;
const PADDING_BIT: u8 = 0x20;
const MARKER_BIT: u8 = 0x80;
const WORD: usize = 4;

/// Why a datagram is no RTP packet, or something cannot be written into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Fewer bytes than the fixed header.
    #[error("RTP packet of {len} bytes is shorter than its header of 12")]
    TooShort {
        /// The datagram's length.
        len: usize,
    },
    /// Another version than 2.
    #[error("RTP version is {version} instead of 2")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The CSRC list does not fit.
    #[error("RTP packet of {len} bytes announces {count} CSRCs, beyond its end")]
    CsrcsBeyondEnd {
        /// How many CSRCs were announced.
        count: u8,
        /// The datagram's length.
        len: usize,
    },
    /// The header extension does not fit.
    #[error("RTP packet of {len} bytes announces a header extension beyond its end")]
    ExtensionBeyondEnd {
        /// The datagram's length.
        len: usize,
    },
    /// The padding is longer than what follows the header, or zero.
    #[error("RTP packet announces {padding} bytes of padding, {available} follow the header")]
    Padding {
        /// The padding announced.
        padding: u8,
        /// Bytes after the header.
        available: usize,
    },
    /// An extension element does not fit the one-byte form.
    #[error(
        "header extension {id} of {len} bytes does not fit the one-byte form (ids 1-14, 1-16 bytes)"
    )]
    ExtensionElement {
        /// The element's id.
        id: u8,
        /// The element's length.
        len: usize,
    },
}

/// One RTP packet. CSRCs are skipped when parsing and never written: nothing here mixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// For video: the last packet of a frame.
    pub marker: bool,
    /// How to read the payload.
    pub payload_type: PayloadType,
    /// Counts packets, wraps.
    pub sequence_number: u16,
    /// Sampling time in the payload's clock, wraps.
    pub timestamp: u32,
    /// The sender's track.
    pub ssrc: Ssrc,
    /// The header extension block, if any.
    pub extension: Option<Extension<'a>>,
    /// The payload, without padding.
    pub payload: &'a [u8],
}

/// A header extension block (RFC 3550 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Says how to read `data`: [`ONE_BYTE_PROFILE`], [`TWO_BYTE_PROFILE`] + application bits, or private.
    pub profile: u16,
    /// The block without its own header. When written it is cut at 65,535 words and zero-padded to a full word.
    pub data: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Reads one datagram.
    ///
    /// # Errors
    /// Whatever makes the datagram no RTP packet; see [`RtpError`].
    pub fn parse(buf: &'a [u8]) -> Result<Self, RtpError> {
        let len = buf.len();
        let Some((header, rest)) = buf.split_first_chunk::<FIXED_HEADER_LEN>() else {
            return Err(RtpError::TooShort { len });
        };
        let version = header[0] >> 6;
        if version != VERSION {
            return Err(RtpError::Version { version });
        }
        let count = header[0] & 0x0f;
        let (_csrcs, rest) = rest
            .split_at_checked(usize::from(count) * WORD)
            .ok_or(RtpError::CsrcsBeyondEnd { count, len })?;
        let (extension, rest) = if header[0] & EXTENSION_BIT == 0 {
            (None, rest)
        } else {
            let (extension, rest) =
                Extension::split_from(rest).ok_or(RtpError::ExtensionBeyondEnd { len })?;
            (Some(extension), rest)
        };
        let payload = if header[0] & PADDING_BIT == 0 {
            rest
        } else {
            without_padding(rest)?
        };
        let fixed = RtpHeader::from_bytes(header);
        Ok(Self {
            marker: fixed.marker,
            payload_type: fixed.payload_type,
            sequence_number: fixed.sequence_number,
            timestamp: fixed.timestamp,
            ssrc: fixed.ssrc,
            extension,
            payload,
        })
    }

    /// The length of the header as [`RtpPacket::write`] writes it (without CSRCs).
    pub fn header_len(&self) -> usize {
        FIXED_HEADER_LEN
            + self
                .extension
                .map_or(0, |extension| WORD + extension.words() * WORD)
    }

    /// The packet's fixed header.
    pub fn header(&self) -> RtpHeader {
        RtpHeader {
            marker: self.marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        }
    }

    /// Appends the packet to `out`, without padding.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut header = [0; FIXED_HEADER_LEN];
        match self.extension {
            Some(_) => self.header().write_before_extension(&mut header),
            None => self.header().write(&mut header),
        }
        out.extend_from_slice(&header);
        if let Some(extension) = self.extension {
            extension.write(out);
        }
        out.extend_from_slice(self.payload);
    }
}

fn without_padding(rest: &[u8]) -> Result<&[u8], RtpError> {
    let padding = rest.last().copied().unwrap_or(0);
    let available = rest.len();
    match available.checked_sub(usize::from(padding)) {
        Some(kept) if padding > 0 => Ok(&rest[..kept]),
        _ => Err(RtpError::Padding { padding, available }),
    }
}

/// The fields of the fixed header, for writing in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// As in [`RtpPacket::marker`].
    pub marker: bool,
    /// As in [`RtpPacket::payload_type`].
    pub payload_type: PayloadType,
    /// As in [`RtpPacket::sequence_number`].
    pub sequence_number: u16,
    /// As in [`RtpPacket::timestamp`].
    pub timestamp: u32,
    /// As in [`RtpPacket::ssrc`].
    pub ssrc: Ssrc,
}

impl RtpHeader {
    fn from_bytes(bytes: &[u8; FIXED_HEADER_LEN]) -> Self {
        let [_, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *bytes;
        Self {
            marker: second & MARKER_BIT != 0,
            payload_type: PayloadType::from_low_bits(second),
            sequence_number: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: Ssrc(u32::from_be_bytes([c0, c1, c2, c3])),
        }
    }

    /// Writes a header without extension: the payload follows it.
    #[inline]
    pub fn write(&self, out: &mut [u8; FIXED_HEADER_LEN]) {
        self.write_first_byte(out, VERSION << 6);
    }

    /// Writes a header that an extension block must follow ([`write_one_byte_extensions`]).
    #[inline]
    pub fn write_before_extension(&self, out: &mut [u8; FIXED_HEADER_LEN]) {
        self.write_first_byte(out, VERSION << 6 | EXTENSION_BIT);
    }

    fn write_first_byte(&self, out: &mut [u8; FIXED_HEADER_LEN], first: u8) {
        let marker = if self.marker { MARKER_BIT } else { 0 };
        out[0] = first;
        out[1] = marker | self.payload_type.get();
        out[2..4].copy_from_slice(&self.sequence_number.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
    }
}

impl<'a> Extension<'a> {
    /// Takes the block off the front of what follows the CSRCs.
    fn split_from(rest: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[p0, p1, l0, l1], rest) = rest.split_first_chunk::<WORD>()?;
        let words = usize::from(u16::from_be_bytes([l0, l1]));
        let (data, rest) = rest.split_at_checked(words * WORD)?;
        let profile = u16::from_be_bytes([p0, p1]);
        Some((Self { profile, data }, rest))
    }

    fn words(&self) -> usize {
        self.data.len().div_ceil(WORD).min(usize::from(u16::MAX))
    }

    fn write(&self, out: &mut Vec<u8>) {
        let len = self.words() * WORD;
        let end = out.len() + WORD + len;
        out.extend_from_slice(&self.profile.to_be_bytes());
        // `words` is at most u16::MAX.
        out.extend_from_slice(&(self.words() as u16).to_be_bytes());
        out.extend_from_slice(&self.data[..self.data.len().min(len)]);
        out.resize(end, 0);
    }

    /// The elements in the block; none when the profile is neither of RFC 8285's.
    pub fn elements(&self) -> ExtensionElements<'a> {
        let form = match self.profile {
            ONE_BYTE_PROFILE => ElementForm::OneByte,
            profile if profile & 0xfff0 == TWO_BYTE_PROFILE => ElementForm::TwoByte,
            _ => {
                return ExtensionElements {
                    form: ElementForm::OneByte,
                    rest: &[],
                };
            }
        };
        ExtensionElements {
            form,
            rest: self.data,
        }
    }

    /// The first element with this id.
    pub fn element(&self, id: u8) -> Option<&'a [u8]> {
        self.elements()
            .find(|(found, _)| *found == id)
            .map(|(_, data)| data)
    }
}

#[derive(Clone, Copy, Debug)]
enum ElementForm {
    OneByte,
    TwoByte,
}

/// Iterates `(id, data)` of an extension block (RFC 8285 §4.2 and §4.3); ends at the first malformed element.
#[derive(Clone, Debug)]
pub struct ExtensionElements<'a> {
    form: ElementForm,
    rest: &'a [u8],
}

impl<'a> Iterator for ExtensionElements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Zero bytes between elements are padding.
        while let [0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let taken = std::mem::take(&mut self.rest);
        let (id, len, rest) = match (self.form, taken) {
            (_, []) => return None,
            (ElementForm::OneByte, [head, rest @ ..]) => {
                (head >> 4, usize::from(head & 0x0f) + 1, rest)
            }
            (ElementForm::TwoByte, [id, len, rest @ ..]) => (*id, usize::from(*len), rest),
            (ElementForm::TwoByte, [_]) => return None,
        };
        // In the one-byte form 15 ends the block, and 0 with a length is malformed.
        if matches!(self.form, ElementForm::OneByte) && (id == 0 || id == 15) {
            return None;
        }
        let (data, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some((id, data))
    }
}

/// Appends a whole extension block (profile, length, elements, padding) in the one-byte form of RFC 8285 §4.2:
/// what follows a header of [`RtpHeader::write_before_extension`].
///
/// # Errors
/// [`RtpError::ExtensionElement`] for an id outside 1–14 or data outside 1–16 bytes; nothing is written then.
pub fn write_one_byte_extensions(
    elements: &[(u8, &[u8])],
    out: &mut Vec<u8>,
) -> Result<(), RtpError> {
    for &(id, data) in elements {
        if !(1..=14).contains(&id) || !(1..=16).contains(&data.len()) {
            return Err(RtpError::ExtensionElement {
                id,
                len: data.len(),
            });
        }
    }
    let len: usize = elements.iter().map(|(_, data)| 1 + data.len()).sum();
    let words = len.div_ceil(WORD);
    let end = out.len() + WORD + words * WORD;
    out.extend_from_slice(&ONE_BYTE_PROFILE.to_be_bytes());
    out.extend_from_slice(&(words as u16).to_be_bytes());
    for &(id, data) in elements {
        out.push(id << 4 | (data.len() - 1) as u8);
        out.extend_from_slice(data);
    }
    out.resize(end, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(payload: &[u8]) -> RtpPacket<'_> {
        RtpPacket {
            marker: true,
            payload_type: PayloadType::new(103).unwrap(),
            sequence_number: 0xabcd,
            timestamp: 0x0102_0304,
            ssrc: Ssrc(0xdead_beef),
            extension: None,
            payload,
        }
    }

    fn written(packet: &RtpPacket<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        packet.write(&mut out);
        out
    }

    #[test]
    fn the_fixed_header_stands_as_in_rfc_3550() {
        let bytes = written(&packet(b"xy"));
        assert_eq!(bytes, b"\x80\xe7\xab\xcd\x01\x02\x03\x04\xde\xad\xbe\xefxy");
        assert_eq!(RtpPacket::parse(&bytes), Ok(packet(b"xy")));
    }

    #[test]
    fn csrcs_and_padding_are_taken_off() {
        let mut bytes = written(&packet(b""));
        bytes[0] |= 0x22;
        bytes.extend_from_slice(b"aaaabbbbpayload\0\0\x03");
        assert_eq!(RtpPacket::parse(&bytes), Ok(packet(b"payload")));
    }

    #[test]
    fn h19_lying_lengths_are_typed_errors() {
        let plain = written(&packet(b"1234"));
        let with_first = |first: u8, last: u8| {
            let mut bytes = plain.clone();
            bytes[0] = first;
            *bytes.last_mut().unwrap() = last;
            RtpPacket::parse(&bytes).map(|_| ()).unwrap_err()
        };
        assert_eq!(
            with_first(0x82, 0),
            RtpError::CsrcsBeyondEnd { count: 2, len: 16 }
        );
        assert_eq!(
            with_first(0x90, 0x34),
            RtpError::ExtensionBeyondEnd { len: 16 }
        );
        assert_eq!(
            with_first(0xa0, 5),
            RtpError::Padding {
                padding: 5,
                available: 4
            }
        );
        assert_eq!(
            with_first(0xa0, 0),
            RtpError::Padding {
                padding: 0,
                available: 4
            }
        );
        assert_eq!(with_first(0x40, 0), RtpError::Version { version: 1 });
        assert_eq!(
            RtpPacket::parse(&plain[..11]),
            Err(RtpError::TooShort { len: 11 })
        );
        let mut bare = plain[..12].to_vec();
        bare[0] = 0xa0;
        assert_eq!(
            RtpPacket::parse(&bare),
            Err(RtpError::Padding {
                padding: 0,
                available: 0
            })
        );
    }

    #[test]
    fn one_byte_elements_round_trip() {
        let mut block = Vec::new();
        write_one_byte_extensions(&[(3, b"0"), (12, b"abc")], &mut block).unwrap();
        assert_eq!(block, b"\xbe\xde\x00\x02\x300\xc2abc\0\0");
        let mut header = [0; 12];
        packet(b"").header().write_before_extension(&mut header);
        let bytes = [&header[..], &block, b"payload"].concat();
        let parsed = RtpPacket::parse(&bytes).unwrap();
        let extension = parsed.extension.unwrap();
        assert_eq!(parsed.payload, b"payload");
        assert_eq!(parsed.header_len(), 24);
        assert_eq!(
            extension.elements().collect::<Vec<_>>(),
            [(3, &b"0"[..]), (12, b"abc")]
        );
        assert_eq!(extension.element(12), Some(&b"abc"[..]));
        assert_eq!(written(&parsed), bytes);
    }

    #[test]
    fn elements_that_do_not_fit_are_refused_and_nothing_is_written() {
        let mut out = Vec::new();
        for (id, len) in [(0, 1), (15, 1), (200, 1), (1, 0), (1, 17)] {
            let result = write_one_byte_extensions(&[(1, b"ok"), (id, &vec![0; len])], &mut out);
            assert_eq!(result, Err(RtpError::ExtensionElement { id, len }));
        }
        assert!(out.is_empty());
    }

    #[test]
    fn element_iteration_follows_rfc_8285() {
        let collect = |profile, data: &'static [u8]| {
            Extension { profile, data }.elements().collect::<Vec<_>>()
        };
        // Padding before, between and after; 15 ends the block; a cut element ends it too.
        assert_eq!(
            collect(0xbede, b"\0\x10a\0\0\x20b\0"),
            [(1, &b"a"[..]), (2, b"b")]
        );
        assert_eq!(collect(0xbede, b"\x10a\xf0x\x20b\0"), [(1, &b"a"[..])]);
        assert_eq!(collect(0xbede, b"\x10a\x27b"), [(1, &b"a"[..])]);
        assert_eq!(
            collect(0x1003, b"\x01\x00\x02\x03abc\0\x11"),
            [(1, &b""[..]), (2, b"abc")]
        );
        assert_eq!(collect(0x4242, b"\x10a"), []);
    }

    #[test]
    fn h19_any_length_and_first_byte_is_survived() {
        let template: Vec<u8> = (0..1500u32).map(|i| (i * 37) as u8).collect();
        for first in 0..=255u8 {
            for len in 0..=1500 {
                let mut bytes = template[..len].to_vec();
                if let Some(byte) = bytes.first_mut() {
                    *byte = first;
                }
                if let Ok(packet) = RtpPacket::parse(&bytes) {
                    assert_eq!(first >> 6, 2);
                    assert!(packet.payload.len() + 12 <= len);
                    let _ = packet
                        .extension
                        .map(|extension| extension.elements().count());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn packets_round_trip(
            (marker, pt, seq, time, ssrc) in (any::<bool>(), 0u8..128, any::<u16>(), any::<u32>(), any::<u32>()),
            extension in proptest::option::of((any::<u16>(), 0usize..20)),
            payload in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let block = extension.map(|(profile, words)| (profile, vec![7u8; words * 4]));
            let packet = RtpPacket {
                marker,
                payload_type: PayloadType::new(pt).unwrap(),
                sequence_number: seq,
                timestamp: time,
                ssrc: Ssrc(ssrc),
                extension: block.as_ref().map(|(profile, data)| Extension { profile: *profile, data }),
                payload: &payload,
            };
            let bytes = written(&packet);
            prop_assert_eq!(packet.header_len() + payload.len(), bytes.len());
            prop_assert_eq!(RtpPacket::parse(&bytes), Ok(packet));
        }

        #[test]
        fn elements_of_any_block_stay_inside_it(profile: u16, data in proptest::collection::vec(any::<u8>(), 0..64)) {
            for profile in [profile, ONE_BYTE_PROFILE, TWO_BYTE_PROFILE] {
                let total: usize = Extension { profile, data: &data }.elements().map(|(_, d)| d.len() + 1).sum();
                prop_assert!(total <= data.len());
            }
        }
    }
}
