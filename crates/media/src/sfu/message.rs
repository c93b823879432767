//! What workers are told, by the control plane and by each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use apiary_core::ingest::{IngestConfig, ViewerReport};
use apiary_core::viewer::offer::{AudioTrack, IceCredentials, VideoTrack};
use apiary_core::viewer::session::SessionConfig;
use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::units::Ssrc;
use tokio::sync::oneshot;

use super::ports::IngestSockets;
use super::relay::RelayBatch;
use super::still::Still;
use super::talk::Voice;
use crate::counts::WorkerCounts;
use crate::engine::{CloseReason, EngineError, StreamStats, ViewerStats};
use crate::sys::Waker;

/// Messages that may wait for a worker. Beyond it, the control plane answers "busy", and packets relayed between
/// workers are lost to the viewers of the worker that lags.
pub(super) const MAILBOX: usize = 4096;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<T>;

/// One message.
pub(super) enum Message {
    /// Take a camera's stream.
    Open(Box<OpenLeg>, Reply<Result<(), EngineError>>),
    /// Expect the camera anew.
    Rearm(CameraId, Box<IngestConfig>, Reply<Result<(), EngineError>>),
    /// Let go of a stream and its viewers.
    Close(CameraId, CloseReason, Reply<()>),
    /// Serve a viewer.
    Join(Box<NewViewer>, Reply<Result<(), EngineError>>),
    /// Give a viewer's session new ICE credentials.
    RestartIce(
        ViewerId,
        Box<[IceCredentials; 2]>,
        Reply<Result<(), EngineError>>,
    ),
    /// Let go of a viewer.
    Leave(ViewerId, Reply<()>),
    /// Let a viewer talk to its camera, which this worker serves.
    Talk(TalkTurn, Reply<Result<(), EngineError>>),
    /// Here is the voice for a viewer of yours.
    TakeVoice(ViewerId, Box<Voice>, Reply<Result<(), EngineError>>),
    /// Take the voice from a viewer, if it has it.
    Hush(ViewerId, Reply<()>),
    /// Ask the camera for a key frame.
    KeyFrame(CameraId),
    /// The last picture of such a stream that decoding can begin with.
    Still(CameraId, Reply<Option<Still>>),
    /// Counters of a stream whose camera this worker serves.
    StreamStats(CameraId, Reply<Option<StreamStats>>),
    /// What the worker has counted in all.
    Counts(Reply<WorkerCounts>),
    /// Counters of a viewer.
    ViewerStats(ViewerId, Reply<Option<ViewerStats>>),
    /// Another worker has viewers of a stream whose camera this worker serves.
    Subscribe { camera: CameraId, worker: usize },
    /// It has no more.
    Unsubscribe { camera: CameraId, worker: usize },
    /// Packets from the worker that serves the camera.
    Relay(Arc<RelayBatch>),
    /// What a viewer on another worker reports.
    Report(CameraId, ViewerId, ViewerReport),
    /// A viewer on another worker is gone.
    Forget(CameraId, ViewerId),
    /// End the thread, after saying goodbye to everybody.
    Shutdown,
    /// Panic, so that a test sees what is left standing.
    #[cfg(test)]
    Panic,
    /// Be stuck until the other side is dropped.
    #[cfg(test)]
    Hang(std::sync::mpsc::Receiver<()>),
}

/// A camera's leg for a worker.
pub(super) struct OpenLeg {
    pub(super) camera: CameraId,
    pub(super) sockets: IngestSockets,
    pub(super) config: IngestConfig,
}

/// Who wants to talk to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct TalkTurn {
    pub(super) camera: CameraId,
    pub(super) viewer: ViewerId,
    /// The worker that serves the viewer.
    pub(super) worker: usize,
}

/// A viewer for a worker.
pub(super) struct NewViewer {
    pub(super) camera: CameraId,
    pub(super) viewer: ViewerId,
    /// The worker that serves the camera.
    pub(super) home: usize,
    pub(super) session: SessionConfig,
    pub(super) video: Option<VideoTrack>,
    pub(super) audio: Option<AudioTrack>,
    pub(super) ssrcs: ViewerSsrcs,
    pub(super) cname: Arc<str>,
}

/// What a viewer's packets are marked with, and where their sequence numbers begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct ViewerSsrcs {
    pub(super) video: Ssrc,
    pub(super) rtx: Ssrc,
    pub(super) audio: Ssrc,
    pub(super) first_sequence: u16,
}

/// The way to a worker.
#[derive(Clone)]
pub(super) struct Mailbox {
    sender: SyncSender<Message>,
    waker: Waker,
    waiting: Arc<AtomicUsize>,
}

impl Mailbox {
    pub(super) fn new(sender: SyncSender<Message>, waker: Waker) -> Self {
        Self {
            sender,
            waker,
            waiting: Arc::default(),
        }
    }

    /// Leaves a message, unless the worker is gone or has too many.
    pub(super) fn post(&self, message: Message) -> Result<(), EngineError> {
        // Counted first: the worker may take it before this goes on.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let refused = match self.sender.try_send(message) {
            Ok(()) => {
                self.waker.wake();
                return Ok(());
            }
            Err(TrySendError::Full(_)) => EngineError::Busy,
            Err(TrySendError::Disconnected(_)) => EngineError::Closed,
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Err(refused)
    }

    /// Messages that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The worker has taken one out.
    pub(super) fn on_taken(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
