//! The media engine: everything between a camera's RTP port and a browser's WebRTC session.
//!
//! [`engine::MediaEngine`] is what the gateway sees; [`sfu`] is our own engine behind it, [`kurento`] one that
//! drives media servers. Nothing here knows of HTTP, MQTT or the database.

mod candidate;
pub mod counts;
pub mod engine;
pub mod kurento;
mod random;
pub mod sfu;
pub mod sys;
