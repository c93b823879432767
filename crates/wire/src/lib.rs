//! Bytes and text on one side, typed values on the other.
//!
//! Belongs here: parsing and writing of RTP, RTCP, SDP, H.264 payloads, the cameras' MQTT messages, topic filters, Kurento's
//! JSON-RPC, and MP4 files of one picture.
//! Does not belong here: state across packets other than reassembly, clocks, randomness, sockets.
//!
//! Every parser takes untrusted input: it never panics, its memory and time are bounded by the input's
//! length, and what it refuses it refuses with a typed error.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod camera;
pub mod demux;
pub mod h264;
pub mod id;
pub mod kurento;
pub mod mp4;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod topic;
pub mod units;

pub use id::{CameraId, StreamId, ViewerId};
pub use units::{Bitrate, NtpTime, PayloadType, Ssrc};
