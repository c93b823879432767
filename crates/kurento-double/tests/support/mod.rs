//! What the double's tests share: a client of the protocol, a camera and a viewer.
//!
//! Everything that is waited for has a deadline; nothing waits for time to pass.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test binary uses the part that it needs of what all share"
)]
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails, and waits for what it names"
)]

mod camera;
mod client;
mod stage;
mod viewer;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

pub(crate) use camera::{AUDIO_SSRC, Camera, Feedback, Frame, VIDEO_SSRC, offer};
pub(crate) use client::{Client, Received};
pub(crate) use stage::{Stage, stats_of, watching};
pub(crate) use viewer::{Codecs, Viewer};

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Every test's double has an address of its own, so that its ports collide with nobody's.
pub(crate) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(
        127,
        10 + NEXT.fetch_add(1, Ordering::Relaxed) % 100,
        high,
        low,
    )
}
