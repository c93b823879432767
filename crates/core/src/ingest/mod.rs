//! The camera's side of a stream: which RTP counts, how well it arrives, and the RTCP that keeps it coming.
//!
//! [`CameraIngest`] is the one object that a worker keeps per camera stream. Inside it a packet goes
//! [`TrackReceiver`] (payload type, SSRC, source, sequence number) → [`ReceptionStatistics`] and
//! [`LossTracker`]; the timers of [`CameraIngest::poll_transmit`] turn what those know into RTCP:
//! receiver reports, SDES and REMB each second, NACK for what is missing, PLI and FIR when only a key
//! frame helps. [`BandwidthPolicy`] decides the REMB's value.
//!
//! Everything is sans-IO: `now` is an argument, sockets belong to the caller, and nothing allocates per
//! packet. What the packets hold (H.264, Opus), where they are kept and who watches them is not known here.

mod bandwidth;
mod camera;
mod destination;
mod event;
mod feedback;
mod key_frame;
mod loss;
mod rate;
mod sequence;
mod statistics;
mod track;

pub use bandwidth::{BandwidthPolicy, BitrateBounds, ViewerPolicy, ViewerReport};
pub use camera::{
    Accepted, CameraIngest, IngestConfig, IngestStats, RtcpCounters, SILENT_AFTER, TrackStats,
};
pub use destination::RtcpDestination;
pub use event::IngestEvent;
pub use feedback::{CameraFeedback, FeedbackConfig, RembHistory};
pub use key_frame::{KeyFrameRequest, KeyFrameRequests};
pub use loss::{Filled, LossTracker, MissingList, Outlook};
pub use sequence::{Placed, Refused, SequenceTracker};
pub use statistics::{ReceptionStatistics, SenderClock};
pub use track::{Counters, Dropped, ReportIgnored, TrackConfig, TrackKind, TrackReceiver};
