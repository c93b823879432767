//! The machines that decide: what arrives, what is answered, what a viewer is sent.
//!
//! Everything here is sans-IO: bytes, the time and random seeds are arguments, and what to do is the result. There is
//! no socket, clock, lock, task or ambient randomness in this crate; the shells in `media` and `gateway` own those.

#![warn(missing_docs)]

pub mod ingest;
pub mod lifecycle;
pub mod push;
pub mod ring;
pub mod splice;
pub mod srtp;
pub mod talk;
pub mod viewer;
