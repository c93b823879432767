//! The way to cameras without a broker: what is sent is remembered, and it fails on command.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use apiary::mqtt::{BrokerState, ControlError, ControlEvent};
use apiary::supervisor::CameraCommands;
use apiary_wire::camera::{CameraMessage, Command, Connection, ConnectionStatus};
use apiary_wire::id::{CameraId, StreamId};
use async_trait::async_trait;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

/// How the broker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Works,
    Gone,
    /// Takes everything and acknowledges nothing.
    Hangs,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    /// Since the begin of the test.
    pub(crate) at: Duration,
    pub(crate) camera: CameraId,
    pub(crate) command: Command,
}

pub(crate) struct FakeCameras {
    begin: Instant,
    mood: Mutex<Mood>,
    sent: Mutex<Vec<Sent>>,
    events: broadcast::Sender<ControlEvent>,
    broker: watch::Sender<BrokerState>,
    changed: Notify,
}

impl FakeCameras {
    pub(crate) fn new() -> Self {
        Self {
            begin: Instant::now(),
            mood: Mutex::new(Mood::Works),
            sent: Mutex::default(),
            events: broadcast::Sender::new(1024),
            broker: watch::Sender::new(BrokerState::Connected),
            changed: Notify::new(),
        }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.broker.send_replace(match mood {
            Mood::Works | Mood::Hangs => BrokerState::Connected,
            Mood::Gone => BrokerState::Unreachable {
                cause: "connection refused".to_owned(),
                since: jiff::Timestamp::now(),
            },
        });
    }

    fn log(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap()
    }

    /// What was sent to a camera, keepalives left out.
    pub(crate) fn sent(&self, camera: CameraId) -> Vec<Command> {
        self.log()
            .iter()
            .filter(|sent| sent.camera == camera)
            .filter(|sent| !matches!(sent.command, Command::KeepAlive { .. }))
            .map(|sent| sent.command.clone())
            .collect()
    }

    /// When which keepalives were sent to a camera.
    pub(crate) fn keepalives(&self, camera: CameraId) -> Vec<(Duration, StreamId, u64)> {
        let log = self.log();
        let of_camera = log.iter().filter(|sent| sent.camera == camera);
        of_camera
            .filter_map(|sent| match sent.command {
                Command::KeepAlive { stream, count } => Some((sent.at, stream, count)),
                Command::Play { .. }
                | Command::Stop { .. }
                | Command::SetMode(_)
                | Command::Reboot
                | Command::UpdateSettings(_)
                | Command::PlaySound { .. }
                | Command::StopSound => None,
            })
            .collect()
    }

    pub(crate) fn forget(&self) {
        self.log().clear();
    }

    /// Waits until so many commands of a kind (as in [`Command::action`]) were sent to a camera.
    pub(crate) async fn until(&self, camera: CameraId, action: &str, count: usize) {
        super::within(&format!("{count} × {action}"), async {
            loop {
                let changed = self.changed.notified();
                let sent = self.sent(camera);
                if sent.iter().filter(|sent| sent.action() == action).count() >= count {
                    return;
                }
                changed.await;
            }
        })
        .await;
    }

    pub(crate) fn connection(&self, camera: CameraId, status: ConnectionStatus) {
        let message = CameraMessage::Connection(Connection {
            status: Some(status),
            ..Connection::default()
        });
        self.say(camera, message, false);
    }

    pub(crate) fn hello(&self, camera: CameraId) {
        self.connection(camera, ConnectionStatus::Connected);
    }

    pub(crate) fn say(&self, camera: CameraId, message: CameraMessage, retained: bool) {
        let _ = self.events.send(ControlEvent::Camera {
            camera,
            message,
            raw: Vec::new().into(),
            retained,
        });
    }
}

#[async_trait]
impl CameraCommands for FakeCameras {
    async fn send(&self, camera: CameraId, command: Command) -> Result<(), ControlError> {
        let mood = *self.mood.lock().unwrap();
        if mood == Mood::Gone {
            return Err(ControlError::BrokerUnreachable {
                broker: "mqtt://fake".to_owned(),
                cause: "connection refused".to_owned(),
            });
        }
        let at = self.begin.elapsed();
        self.log().push(Sent {
            at,
            camera,
            command,
        });
        self.changed.notify_waiters();
        if mood == Mood::Hangs {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    fn events(&self) -> broadcast::Receiver<ControlEvent> {
        self.events.subscribe()
    }

    fn broker(&self) -> watch::Receiver<BrokerState> {
        self.broker.subscribe()
    }
}
