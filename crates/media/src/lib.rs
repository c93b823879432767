//! The media engine: everything between a camera's RTP port and a browser's WebRTC session.
//!
//! [`engine::MediaEngine`] is what the gateway sees; [`sfu`] is our own engine behind it. Nothing here
//! knows of HTTP, MQTT or the database.

mod candidate;
pub mod engine;
pub mod sfu;
pub mod sys;
