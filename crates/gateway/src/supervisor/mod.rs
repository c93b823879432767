//! The supervisor: the only place that drives streams' lives.
//!
//! One task a running stream executes what its [`Lifecycle`](apiary_core::lifecycle::Lifecycle) asks for
//! ([`stream_task`]); one dispatcher brings events to those they concern ([`dispatch`]); tables behind short locks say how
//! everything stands ([`streams`], [`viewers`], [`cameras`]). [`Supervisor`] is the handle for HTTP and signaling. Rules
//! about *when* something happens to a stream do not belong here (they are `apiary-core`'s), nor do HTTP or MQTT.
//!
//! Locks are held for single steps and never across an await. All tasks belong to [`Shared`] and end with
//! [`Supervisor::shutdown`].

mod camera_events;
mod cameras;
mod commands;
mod dispatch;
mod error;
mod handle;
mod joining;
mod moment;
mod orphans;
mod pictures;
mod session;
mod shared;
mod snapshot;
mod stream_task;
mod streams;
mod talks;
mod totals;
mod viewers;

pub use cameras::LabelChange;
pub use commands::CameraCommands;
pub use error::{CommandError, JoinError, LabelError, NoPicture, NoStream, StartError, TalkError};
pub use handle::{StartOptions, Supervisor};
pub use joining::{JoinedStream, ViewerOffer, ViewerOrigin};
pub use pictures::Picture;
use shared::Shared;
pub use shared::{EVENT_QUEUE, SupervisorParts};
pub use snapshot::{
    CameraSnapshot, KeepaliveSnapshot, Noticed, StreamSnapshot, SupervisorEvent, Talker,
    ViewerSnapshot,
};
pub use totals::Totals;
