//! SDP (RFC 8866): a lossless document with typed reading and editing, and the cameras' own dialect.
//!
//! Negotiation (what to answer to an offer) belongs to `core`. Nothing here searches or replaces in text: a
//! document is parsed, read and edited line by line, and written again.

mod attributes;
pub mod camera;
mod document;
mod h264_profile;
pub mod kurento;
mod media;
mod section;

pub use attributes::{Direction, ExtMap, Fingerprint, Fmtp, RtcpFb, RtpMap, Setup, SsrcAttribute};
pub use camera::{AcceptedSdp, CameraSdp, CameraSdpRefusal, CameraSdpRules};
pub use document::{Document, MAX_LEN, MAX_LINES, MAX_SECTIONS, SdpError, SdpErrorKind};
pub use h264_profile::{H264Profile, ProfileLevelId, ProfileLevelIdError};
pub use media::{MediaKind, MediaSection};
pub use section::{Line, LineEnding, Section};
