//! A worker's thread: starts the loop, and starts it again when it panicked (f10).

use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use apiary_wire::id::CameraId;
use tokio::sync::oneshot;

use super::message::{MAILBOX, Mailbox, Message};
use super::shared::Shared;
use super::worker::{Ended, Post, TOKENS, Worker};
use crate::counts::WorkerCounts;
use crate::engine::CloseReason;
use crate::sys::{Poller, Waker};

/// A worker's parts before its thread runs.
pub(super) struct Prepared {
    socket: UdpSocket,
    poller: Poller,
    messages: Receiver<Message>,
    waker: Waker,
    pub(super) mailbox: Mailbox,
}

impl Prepared {
    /// Sets up a worker that serves viewers on `socket`.
    pub(super) fn new(socket: UdpSocket) -> std::io::Result<Self> {
        let poller = Poller::new()?;
        let waker = Waker::new(&poller, TOKENS.0)?;
        poller.add_once(&socket, TOKENS.1)?;
        let (sender, messages) = std::sync::mpsc::sync_channel(MAILBOX);
        Ok(Self {
            socket,
            poller,
            messages,
            mailbox: Mailbox::new(sender, waker.clone()),
            waker,
        })
    }

    /// Starts the thread.
    pub(super) fn spawn(
        self,
        index: usize,
        mailboxes: Vec<Mailbox>,
        shared: Arc<Shared>,
    ) -> std::io::Result<JoinHandle<()>> {
        let mut post = Post {
            index,
            socket: self.socket,
            poller: self.poller,
            messages: self.messages,
            mailboxes,
            own_waker: self.waker,
            shared,
            counts: WorkerCounts::default(),
        };
        std::thread::Builder::new()
            .name(format!("sfu-{index}"))
            .spawn(move || keep_running(&mut post))
    }
}

/// A panic costs the worker's viewers and streams, which are reported; the next loop begins empty.
fn keep_running(post: &mut Post) {
    loop {
        let ended = catch_unwind(AssertUnwindSafe(|| Worker::new(post).run()));
        post.shared.turn_ends(post.index);
        match ended {
            Ok(Ended::Shutdown | Ended::Broken) => return,
            Err(_) => {
                tracing::error!(
                    worker = post.index,
                    "a media worker panicked; its viewers and streams are lost and it starts again"
                );
                for camera in post.shared.worker_lost(post.index) {
                    close_elsewhere(post, camera);
                }
            }
        }
    }
}

/// Viewers on other workers get no more packets of a lost stream.
fn close_elsewhere(post: &Post, camera: CameraId) {
    for (index, mailbox) in post.mailboxes.iter().enumerate() {
        if index != post.index {
            let (reply, _) = oneshot::channel();
            // A worker that takes no message is closed by the supervisor, which closes the stream as well.
            let _ = mailbox.post(Message::Close(camera, CloseReason::Failed, reply));
        }
    }
}
