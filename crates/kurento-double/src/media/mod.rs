//! What moves media: one task for each endpoint, reached through its mailbox.
//!
//! Mailboxes have no bound: tests send little, and nothing that was sent may get lost on the way inside.

mod context;
mod estimate;
mod facts;
mod flow;
mod leg;
mod peer;
mod ports;
mod reception;
mod wiring;

pub(crate) use facts::{Facts, IceState, Inbound, Outbound, SharedFacts};
pub(crate) use leg::{KeyFrames, Leg, LegOrder, Section, run as run_leg};
pub(crate) use peer::{Peer, PeerOrder, PeerTrack, run as run_peer};
pub(crate) use ports::{PortPair, udp};
pub(crate) use wiring::{Codec, LegMailbox, Medium, PeerMailbox, Sink, ViewerLimits};

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

/// A running task and the way to it.
#[derive(Debug)]
pub(crate) struct Actor<O> {
    pub(crate) mailbox: UnboundedSender<O>,
    task: JoinHandle<()>,
}

impl<O> Actor<O> {
    pub(crate) fn new(mailbox: UnboundedSender<O>, task: JoinHandle<()>) -> Self {
        Self { mailbox, task }
    }

    pub(crate) fn tell(&self, order: O) {
        // One that has ended needs to be told nothing.
        let _ = self.mailbox.send(order);
    }

    /// Ends it where it is, as when the process is killed; to be awaited.
    pub(crate) fn abort(self) -> JoinHandle<()> {
        self.task.abort();
        self.task
    }
}
