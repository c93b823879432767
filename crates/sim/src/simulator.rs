//! Puts cameras together from their halves and owns all their tasks and threads.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use apiary_wire::CameraId;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::audio::AudioCodec;
use crate::camera::{CameraHandle, CommandLog, Shared};
use crate::config::{CameraConfig, SimulatorConfig, VideoSource};
use crate::device::{Device, DeviceParts, Eye, Handle as MediaHandle, Reactor};
use crate::firmware::{Firmware, FirmwareConfig, WallClock};
use crate::mqtt::{BrokerEndpoint, CameraTask};
use crate::state::CameraState;
use crate::tls::{self, TlsError};
use crate::video::{EncodeError, LiveEncoder, LiveSource, ReplayLoop};

/// Acts and wishes that wait for a camera's task. Who acts waits when it is full; wishes are dropped.
const QUEUE: usize = 32;
/// Hues of neighbouring cameras differ by the golden angle, so that any few look different.
const GOLDEN_ANGLE: f32 = 137.5;

/// The simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// Two cameras have one id.
    #[error("camera {0} is there twice; give each simulated camera an id of its own")]
    DuplicateCamera(CameraId),
    /// A live test card has a size or rate that cannot be encoded.
    #[error(
        "camera {camera} cannot show {width}x{height} at {fps} pictures a second: sizes must be even, \
         from 16x16 to 3840x2160, and the rate from 1 to 60"
    )]
    Picture {
        /// The camera.
        camera: CameraId,
        /// In pixels.
        width: usize,
        /// In pixels.
        height: usize,
        /// Pictures a second.
        fps: u32,
    },
    /// The certificate files cannot be used.
    #[error("the simulated cameras' certificates cannot be used")]
    Tls(#[from] TlsError),
    /// A thread, or what wakes it, cannot be made.
    #[error("the simulator cannot start its threads")]
    Threads(#[source] io::Error),
    /// The loop to replay cannot be encoded.
    #[error("the simulator cannot encode the loop that its cameras replay")]
    Replay(#[from] EncodeError),
}

/// Running simulated cameras. Dropping it ends them too, but without saying goodbye to the broker.
#[derive(Debug)]
pub struct Simulator {
    cameras: Vec<CameraHandle>,
    tasks: JoinSet<()>,
    stop: DropGuard,
    reactor: Reactor,
}

impl Simulator {
    /// Switches on all cameras. They connect in the background, and go on trying where there is no
    /// broker yet. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the configuration cannot be used or the system gives no threads.
    pub async fn start(config: SimulatorConfig) -> Result<Self, SimulatorError> {
        check(&config.cameras)?;
        let broker = endpoint(&config)?;
        let replay = encode_replay(&config.cameras).await?;
        let reactor = Reactor::prepare().map_err(SimulatorError::Threads)?;
        let clock = wall_clock();
        let mut tones = Tones::default();
        let stop = CancellationToken::new();
        let mut devices = Vec::new();
        let mut cameras = Vec::new();
        let mut waiting = Vec::new();
        for (index, camera) in config.cameras.into_iter().enumerate() {
            let wiring = Wiring::new(&camera, index, reactor.handle());
            let eye = open_eye(&camera, index, reactor.handle(), replay.as_ref())
                .map_err(SimulatorError::Threads)?;
            let tone = tones.get(camera.audio);
            devices.push(Device::new(wiring.device_parts(&camera, clock, eye, tone)));
            cameras.push(wiring.handle.clone());
            waiting.push(wiring.task(camera, broker.clone(), stop.clone()));
        }
        let reactor = reactor.start(devices).map_err(SimulatorError::Threads)?;
        let mut tasks = JoinSet::new();
        for task in waiting {
            tasks.spawn(task.run());
        }
        Ok(Self {
            cameras,
            tasks,
            stop: stop.drop_guard(),
            reactor,
        })
    }

    /// The camera with this id.
    pub fn camera(&self, id: CameraId) -> Option<CameraHandle> {
        self.cameras
            .iter()
            .find(|camera| camera.id() == id)
            .cloned()
    }

    /// All cameras, in the order of the configuration.
    pub fn cameras(&self) -> &[CameraHandle] {
        &self.cameras
    }

    /// Switches all cameras off in an orderly way: they stop sending, tell the broker `disconnected` and
    /// disconnect. Takes at most about a second.
    pub async fn shutdown(self) {
        let Self {
            mut tasks,
            stop,
            reactor,
            ..
        } = self;
        drop(stop);
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a simulated camera's task failed");
            }
        }
        // Joins threads, which must not hold up the runtime.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(reactor)).await {
            tracing::error!(%error, "the simulator's threads could not be joined");
        }
    }
}

/// The channels between the parts of one camera.
struct Wiring {
    handle: CameraHandle,
    media: MediaHandle,
    index: usize,
    acts: mpsc::Receiver<crate::camera::Act>,
    wishes: (
        mpsc::Sender<crate::device::Wish>,
        mpsc::Receiver<crate::device::Wish>,
    ),
    state: watch::Sender<CameraState>,
    commands: Arc<CommandLog>,
}

impl Wiring {
    fn new(camera: &CameraConfig, index: usize, media: MediaHandle) -> Self {
        let (state, state_receiver) = watch::channel(CameraState::default());
        let (act_sender, acts) = mpsc::channel(QUEUE);
        let commands = Arc::new(CommandLog::default());
        let shared = Shared {
            id: camera.id,
            name: camera.name.clone(),
            index,
            media: media.clone(),
            acts: act_sender,
            state: state_receiver,
            commands: Arc::clone(&commands),
        };
        Self {
            handle: CameraHandle {
                shared: Arc::new(shared),
            },
            media,
            index,
            acts,
            wishes: mpsc::channel(QUEUE),
            state,
            commands,
        }
    }

    fn device_parts(
        &self,
        camera: &CameraConfig,
        clock: WallClock,
        eye: Eye,
        tone: Arc<[Bytes]>,
    ) -> DeviceParts {
        DeviceParts {
            firmware: Firmware::new(FirmwareConfig {
                rules: camera.rules,
                misbehaviour: camera.misbehaviour.clone(),
                audio: camera.audio,
                clock,
                seed: camera.seed,
            }),
            eye,
            tone,
            link: (camera.loss, camera.misbehaviour.clone(), camera.seed),
            bind: camera.bind,
            stamps: camera.timestamps.then_some(clock),
            state: self.state.clone(),
            wishes: self.wishes.0.clone(),
        }
    }

    fn task(
        self,
        config: CameraConfig,
        broker: BrokerEndpoint,
        stop: CancellationToken,
    ) -> CameraTask {
        CameraTask {
            config,
            broker,
            index: self.index,
            media: self.media,
            acts: self.acts,
            wishes: self.wishes.1,
            state: self.state,
            commands: self.commands,
            stop,
        }
    }
}

/// Each codec's loop, made once.
#[derive(Default)]
struct Tones(HashMap<AudioCodec, Arc<[Bytes]>>);

impl Tones {
    fn get(&mut self, codec: AudioCodec) -> Arc<[Bytes]> {
        let tone = self.0.entry(codec).or_insert_with(|| codec.tone().into());
        Arc::clone(tone)
    }
}

fn check(cameras: &[CameraConfig]) -> Result<(), SimulatorError> {
    let mut seen = std::collections::HashSet::new();
    for camera in cameras {
        if !seen.insert(camera.id) {
            return Err(SimulatorError::DuplicateCamera(camera.id));
        }
        if let VideoSource::LiveTestCard { width, height, fps } = camera.source {
            let sizes = (16..=3840).contains(&width) && (16..=2160).contains(&height);
            let even = width.is_multiple_of(2) && height.is_multiple_of(2);
            if !sizes || !even || !(1..=60).contains(&fps) {
                return Err(SimulatorError::Picture {
                    camera: camera.id,
                    width,
                    height,
                    fps,
                });
            }
        }
    }
    Ok(())
}

fn endpoint(config: &SimulatorConfig) -> Result<BrokerEndpoint, TlsError> {
    let broker = &config.broker;
    Ok(BrokerEndpoint {
        host: broker.host.clone(),
        port: broker.port,
        tls: broker.tls.as_ref().map(tls::client_config).transpose()?,
        reconnect_first: config.reconnect_first.max(Duration::from_millis(1)),
        reconnect_max: config.reconnect_max.max(config.reconnect_first),
    })
}

async fn encode_replay(
    cameras: &[CameraConfig],
) -> Result<Option<Arc<ReplayLoop>>, SimulatorError> {
    if cameras
        .iter()
        .all(|camera| camera.source != VideoSource::Replay)
    {
        return Ok(None);
    }
    let encoded = tokio::task::spawn_blocking(ReplayLoop::encode).await;
    let encoded = encoded.map_err(|error| SimulatorError::Threads(io::Error::other(error)))?;
    Ok(Some(encoded?))
}

fn open_eye(
    camera: &CameraConfig,
    index: usize,
    media: MediaHandle,
    replay: Option<&Arc<ReplayLoop>>,
) -> io::Result<Eye> {
    let source = match (camera.source, replay) {
        (VideoSource::Replay, Some(replay)) => return Ok(Eye::replay(Arc::clone(replay))),
        (VideoSource::Replay, None) => return Err(io::Error::other("there is no loop to replay")),
        (VideoSource::LiveTestCard { width, height, fps }, _) => LiveSource {
            width,
            height,
            fps,
            name: camera.name.clone(),
            hue: index as f32 * GOLDEN_ANGLE,
            seed: camera.seed,
        },
    };
    let emit = move |event| media.picture(index, event);
    Ok(Eye::Live(LiveEncoder::spawn(source, emit)?))
}

fn wall_clock() -> WallClock {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is as good as none.
    WallClock::new(Instant::now(), unix.unwrap_or_default())
}
