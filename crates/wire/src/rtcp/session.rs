//! Who takes part: source descriptions (RFC 3550 §6.5) and goodbyes (§6.6).

use super::{RawPacket, RtcpError, WORD, ssrc};
use crate::units::Ssrc;

const ITEM_END: u8 = 0;
pub(super) const ITEM_CNAME: u8 = 1;

/// SDES (RFC 3550 §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceDescription<'a> {
    /// Exactly `count` well-formed chunks.
    chunks: &'a [u8],
}

impl<'a> SourceDescription<'a> {
    pub(super) fn parse(raw: &RawPacket<'a>) -> Result<Self, RtcpError> {
        let mut rest = raw.body;
        for _ in 0..raw.count {
            (_, rest) = SdesChunk::split_from(rest).ok_or_else(|| raw.malformed("SDES chunk"))?;
        }
        let chunks = &raw.body[..raw.body.len() - rest.len()];
        Ok(Self { chunks })
    }

    /// One chunk a source.
    pub fn chunks(&self) -> SdesChunks<'a> {
        SdesChunks { rest: self.chunks }
    }

    /// The CNAME of one source.
    pub fn cname(&self, source: Ssrc) -> Option<&'a [u8]> {
        self.chunks().find(|chunk| chunk.ssrc == source)?.cname()
    }
}

/// Iterates the chunks of an SDES packet.
#[derive(Clone, Debug)]
pub struct SdesChunks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for SdesChunks<'a> {
    type Item = SdesChunk<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (chunk, rest) = SdesChunk::split_from(self.rest)?;
        self.rest = rest;
        Some(chunk)
    }
}

/// What is said of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesChunk<'a> {
    /// The source.
    pub ssrc: Ssrc,
    /// Well-formed items without the end.
    items: &'a [u8],
}

impl<'a> SdesChunk<'a> {
    fn split_from(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, after) = bytes.split_first_chunk::<WORD>()?;
        let mut end = 0;
        while *after.get(end)? != ITEM_END {
            end += 2 + usize::from(*after.get(end + 1)?);
        }
        // The end marker fills up to the next word; the chunk's head is a word of its own.
        let padded = (end / WORD + 1) * WORD;
        let rest = after.get(padded..)?;
        let chunk = Self {
            ssrc: ssrc(head, 0),
            items: &after[..end],
        };
        Some((chunk, rest))
    }

    /// `(type, text)` of each item (RFC 3550 §6.5.1 to §6.5.8).
    pub fn items(&self) -> SdesItems<'a> {
        SdesItems { rest: self.items }
    }

    /// The canonical name.
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.items()
            .find(|(kind, _)| *kind == ITEM_CNAME)
            .map(|(_, text)| text)
    }
}

/// Iterates `(type, text)` of a chunk.
#[derive(Clone, Debug)]
pub struct SdesItems<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for SdesItems<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [kind, len, rest @ ..] = self.rest else {
            return None;
        };
        let (text, rest) = rest.split_at_checked(usize::from(*len))?;
        self.rest = rest;
        Some((*kind, text))
    }
}

/// BYE (RFC 3550 §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goodbye<'a> {
    sources: &'a [u8],
    /// Why, if the sender said so.
    pub reason: Option<&'a [u8]>,
}

impl<'a> Goodbye<'a> {
    pub(super) fn parse(raw: &RawPacket<'a>) -> Result<Self, RtcpError> {
        let (sources, rest) = raw
            .body
            .split_at_checked(usize::from(raw.count) * WORD)
            .ok_or_else(|| raw.malformed("count of sources"))?;
        let reason = match rest {
            [] => None,
            [len, text @ ..] => {
                let text = text
                    .get(..usize::from(*len))
                    .ok_or_else(|| raw.malformed("reason"))?;
                Some(text)
            }
        };
        Ok(Self { sources, reason })
    }

    /// The sources that leave.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + use<'a> {
        self.sources.chunks_exact(WORD).map(|bytes| ssrc(bytes, 0))
    }
}
