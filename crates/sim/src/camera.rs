//! A simulated camera as others hold it: watch what it does, and do things to it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use apiary_wire::CameraId;
use apiary_wire::camera::{Activity, CameraMessage, Command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::device::{Handle as MediaHandle, Order};
use crate::state::{CameraState, ReceivedCommand};

/// So many commands are remembered of each camera; the oldest are forgotten first.
pub const MAX_REMEMBERED_COMMANDS: usize = 1024;

/// What is done to a camera from outside.
#[derive(Debug)]
pub(crate) enum Act {
    /// Power fails.
    Kill { done: oneshot::Sender<()> },
    /// Power is back. `None` keeps the address it sent from.
    Restart {
        bind: Option<IpAddr>,
        done: oneshot::Sender<()>,
    },
    /// Publish the connection message once more.
    Hello,
    /// Publish this.
    Publish(CameraMessage),
}

/// The commands that a camera received.
#[derive(Debug, Default)]
pub(crate) struct CommandLog(Mutex<VecDeque<ReceivedCommand>>);

impl CommandLog {
    pub(crate) fn push(&self, command: Command) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == MAX_REMEMBERED_COMMANDS {
            log.pop_front();
        }
        log.push_back(ReceivedCommand {
            at: Instant::now(),
            command,
        });
    }

    fn to_vec(&self) -> Vec<ReceivedCommand> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().cloned().collect()
    }
}

/// A camera did not come to a state in time.
#[derive(Debug, thiserror::Error)]
#[error("camera {camera} did not do what was expected within {limit:?}; it is at {state:?}")]
pub struct WaitTimeout {
    camera: CameraId,
    limit: Duration,
    state: Box<CameraState>,
}

/// The simulator was shut down, or is too busy to take an order.
#[derive(Debug, thiserror::Error)]
#[error(
    "camera {camera} cannot be reached: its simulator has ended, or too many orders wait for it"
)]
pub struct CameraUnreachable {
    camera: CameraId,
}

/// A simulated camera. Clones are the same camera; they do not keep the simulator alive.
#[derive(Debug, Clone)]
pub struct CameraHandle {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: CameraId,
    pub(crate) name: String,
    pub(crate) index: usize,
    pub(crate) media: MediaHandle,
    pub(crate) acts: mpsc::Sender<Act>,
    pub(crate) state: watch::Receiver<CameraState>,
    pub(crate) commands: Arc<CommandLog>,
}

impl CameraHandle {
    /// The camera's id.
    pub fn id(&self) -> CameraId {
        self.shared.id
    }

    /// The camera's name, as its picture shows it.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The camera as it stands.
    pub fn state(&self) -> CameraState {
        self.shared.state.borrow().clone()
    }

    /// The camera's state as it changes. Counters alone are refreshed five times a second.
    pub fn watch(&self) -> watch::Receiver<CameraState> {
        self.shared.state.clone()
    }

    /// Waits until the camera's state is as `wanted` says, and returns it.
    ///
    /// # Errors
    /// If that takes longer than `limit`, or the simulator ends.
    pub async fn wait_for(
        &self,
        limit: Duration,
        wanted: impl FnMut(&CameraState) -> bool,
    ) -> Result<CameraState, WaitTimeout> {
        let mut watch = self.watch();
        let reached = tokio::time::timeout(limit, watch.wait_for(wanted)).await;
        if let Ok(Ok(state)) = reached {
            return Ok(state.clone());
        }
        Err(WaitTimeout {
            camera: self.id(),
            limit,
            state: Box::new(self.state()),
        })
    }

    /// The last [`MAX_REMEMBERED_COMMANDS`] commands that it received, oldest first; reboots and losses
    /// of power do not clear them.
    pub fn commands(&self) -> Vec<ReceivedCommand> {
        self.shared.commands.to_vec()
    }

    /// Cuts the power: packets end at once, and the MQTT connection closes without DISCONNECT, so that
    /// the broker sends the last will. Done when both have happened; a camera without power stays so.
    ///
    /// # Errors
    /// If the simulator has ended.
    pub async fn kill(&self) -> Result<(), CameraUnreachable> {
        let (done, finished) = oneshot::channel();
        self.act(Act::Kill { done }).await?;
        finished.await.map_err(|_| self.unreachable())
    }

    /// Gives power back after [`Self::kill`], or takes it away and gives it back; done when the camera
    /// begins to connect. `bind` is the address that it sends from now on, `None` for the one before;
    /// the ports are others in any case.
    ///
    /// # Errors
    /// If the simulator has ended.
    pub async fn restart(&self, bind: Option<IpAddr>) -> Result<(), CameraUnreachable> {
        let (done, finished) = oneshot::channel();
        self.act(Act::Restart { bind, done }).await?;
        finished.await.map_err(|_| self.unreachable())
    }

    /// Publishes the connection message once more, if it is connected.
    ///
    /// # Errors
    /// If the simulator has ended.
    pub async fn say_hello(&self) -> Result<(), CameraUnreachable> {
        self.act(Act::Hello).await
    }

    /// Publishes that something began to happen before the camera, if it is connected.
    ///
    /// # Errors
    /// If the simulator has ended.
    pub async fn activity_start(&self, activity: Activity) -> Result<(), CameraUnreachable> {
        self.act(Act::Publish(CameraMessage::ActivityStart(activity)))
            .await
    }

    /// Publishes that it ended, if it is connected.
    ///
    /// # Errors
    /// If the simulator has ended.
    pub async fn activity_stop(&self, activity: Activity) -> Result<(), CameraUnreachable> {
        self.act(Act::Publish(CameraMessage::ActivityStop(activity)))
            .await
    }

    /// Loses all RTP and RTCP that the camera sends from now on; it does not notice.
    ///
    /// # Errors
    /// If the simulator has ended or too many orders wait.
    pub fn pause_sending(&self) -> Result<(), CameraUnreachable> {
        self.order(Order::Pause(true))
    }

    /// Ends [`Self::pause_sending`].
    ///
    /// # Errors
    /// If the simulator has ended or too many orders wait.
    pub fn resume_sending(&self) -> Result<(), CameraUnreachable> {
        self.order(Order::Pause(false))
    }

    /// Goes on from other local ports, as behind a NAT that rebinds.
    ///
    /// # Errors
    /// If the simulator has ended or too many orders wait.
    pub fn move_ports(&self) -> Result<(), CameraUnreachable> {
        self.order(Order::MovePorts)
    }

    async fn act(&self, act: Act) -> Result<(), CameraUnreachable> {
        let sent = self.shared.acts.send(act).await;
        sent.map_err(|_| self.unreachable())
    }

    fn order(&self, order: Order) -> Result<(), CameraUnreachable> {
        let given = self.shared.media.order(self.shared.index, order);
        given.map_err(|_| self.unreachable())
    }

    fn unreachable(&self) -> CameraUnreachable {
        CameraUnreachable { camera: self.id() }
    }
}
