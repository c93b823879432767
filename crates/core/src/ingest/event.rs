//! What an ingest tells the worker besides packets.

use std::net::SocketAddr;
use std::time::Duration;

use apiary_wire::units::Ssrc;

/// Something about the camera's stream that others must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngestEvent {
    /// The first valid packet of the picture since construction or rearming. Sound alone does not count.
    RtpStarted {
        /// Where the picture comes from.
        source: SocketAddr,
    },
    /// No valid packet of the picture for this long. Once per silence.
    Silent {
        /// Time since the last one.
        for_: Duration,
    },
    /// The picture flows again after [`IngestEvent::Silent`].
    Resumed,
    /// The first valid RTCP since construction or rearming.
    RtcpSeen,
    /// RTP with an SSRC that was not handed out. Once per construction or rearming.
    ForeignSsrc {
        /// The SSRC seen.
        ssrc: Ssrc,
    },
    /// Part of the picture is lost for good. The camera is being asked for a key frame; said once until it
    /// comes.
    KeyFrameNeeded,
}
