//! Our own engine: it takes cameras' RTP and fans it out to browsers over WebRTC.
//!
//! The way of a packet: `ports` (the socket) → `stream` (ingest, ring) → `viewer` (header, seal) → `sys::send` (the
//! viewers' socket), all on one `worker` thread; viewers on other workers get it through a bounded queue. [`Sfu`] is the
//! control plane: it negotiates, decides who is served where, and tells the workers.

mod clocks;
mod commands;
mod from_viewers;
mod handout;
mod message;
mod ports;
mod relay;
mod shared;
mod slots;
mod still;
mod stream;
mod talk;
mod thread;
mod timers;
mod viewer;
mod wheel;
mod worker;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use apiary_core::viewer::answer::{LocalDescription, candidate_line};
use apiary_core::viewer::offer::{IceCredentials, Offer, read_offer};
use apiary_core::viewer::session::SessionConfig;
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use async_trait::async_trait;
use dimpl::DtlsCertificate;
use futures_util::future::join_all;
use tokio::sync::{broadcast, oneshot};

use self::message::{Mailbox, Message, NewViewer, OpenLeg, Reply, TalkTurn};
use self::ports::{PortPairs, ReserveError};
use self::shared::{Shared, StreamEntry, ViewerEntry};
use self::thread::Prepared;
use crate::candidate::check_candidate;
use crate::counts::{EngineCounts, WorkerCounts};
use crate::engine::{
    CloseReason, EngineError, EngineEvent, IceParameters, IngestPorts, JoinRequest, JoinedViewer,
    KeyFrame, MediaEngine, OpenedStream, StreamSpec, StreamStats, ViewerStats,
};
use crate::sys::bind_udp;

/// Octets that a viewers' socket may hold in each direction, as far as the system lets us.
const SOCKET_BUFFER: usize = 4 << 20;

/// How long a worker may take to say what it counted.
const COUNTS_PATIENCE: Duration = Duration::from_millis(500);

/// Name of our side in SDES toward viewers.
const CNAME: &str = "apiary";

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct SfuConfig {
    /// Worker threads, at least one.
    pub workers: usize,
    /// Worker `i` serves its viewers on this port + `i`; 0 lets the system choose each.
    pub udp_port: u16,
    /// The address that the viewers' sockets are bound to.
    pub bind: IpAddr,
    /// The addresses that viewers are told (host candidates), the most likely first.
    pub advertised: Vec<IpAddr>,
    /// The address that cameras' ports are bound to.
    pub ingest_bind: IpAddr,
    /// Ports for cameras.
    pub ingest_ports: RangeInclusive<u16>,
    /// Most viewers of one stream, 0 for no limit.
    pub max_viewers_per_stream: u32,
}

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SfuStartError {
    /// A viewers' socket cannot be had.
    #[error(
        "cannot open UDP {address} for viewers: {source}; free the port or set media.udp_port and media.bind"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A thread or its poller cannot be had.
    #[error("cannot start media worker {worker}: {source}")]
    Thread {
        /// Which.
        worker: usize,
        /// Why.
        source: std::io::Error,
    },
    /// No certificate for DTLS.
    #[error("cannot make a DTLS certificate: {0}")]
    Certificate(String),
    /// No settings for DTLS.
    #[error("cannot set up DTLS: {0}")]
    Dtls(String),
}

/// The engine.
pub struct Sfu {
    config: SfuConfig,
    shared: Arc<Shared>,
    ports: Mutex<PortPairs>,
    workers: Vec<WorkerHandle>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    identity: Identity,
    /// What each worker last said that it counted.
    counts: Mutex<Vec<WorkerCounts>>,
}

/// The control plane's side of a worker.
struct WorkerHandle {
    mailbox: Mailbox,
    candidates: Vec<SocketAddr>,
}

/// What we prove ourselves with in DTLS.
struct Identity {
    certificate: DtlsCertificate,
    fingerprint: String,
    dtls: Arc<dimpl::Config>,
}

impl Identity {
    fn new() -> Result<Self, SfuStartError> {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| SfuStartError::Certificate(error.to_string()))?;
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.certificate);
        let octets: Vec<String> = digest
            .as_ref()
            .iter()
            .map(|octet| format!("{octet:02X}"))
            .collect();
        // The cookie would cost a round trip, and nothing reaches DTLS before an authentic ICE check.
        let dtls = dimpl::Config::builder()
            .use_server_cookie(false)
            .build()
            .map_err(|error| SfuStartError::Dtls(error.to_string()))?;
        Ok(Self {
            certificate,
            fingerprint: format!("sha-256 {}", octets.join(":")),
            dtls: Arc::new(dtls),
        })
    }
}

impl Sfu {
    /// Binds the viewers' sockets and starts the workers.
    ///
    /// # Errors
    /// When a port, a thread or a certificate cannot be had; nothing is left running then.
    pub fn start(config: SfuConfig) -> Result<Self, SfuStartError> {
        let identity = Identity::new()?;
        let shared = Arc::new(Shared::new(config.workers.max(1)));
        let mut prepared = Vec::new();
        let mut workers = Vec::new();
        for index in 0..config.workers.max(1) {
            let (worker, candidates) = prepare(&config, index)?;
            workers.push(WorkerHandle {
                mailbox: worker.mailbox.clone(),
                candidates,
            });
            prepared.push(worker);
        }
        let mailboxes: Vec<Mailbox> = workers
            .iter()
            .map(|worker| worker.mailbox.clone())
            .collect();
        let mut threads = Vec::new();
        for (index, worker) in prepared.into_iter().enumerate() {
            match worker.spawn(index, mailboxes.clone(), Arc::clone(&shared)) {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    mailboxes
                        .iter()
                        .for_each(|mailbox| drop(mailbox.post(Message::Shutdown)));
                    return Err(SfuStartError::Thread {
                        worker: index,
                        source,
                    });
                }
            }
        }
        Ok(Self {
            ports: Mutex::new(PortPairs::new(
                config.ingest_bind,
                config.ingest_ports.clone(),
            )),
            config,
            shared,
            counts: Mutex::new(vec![WorkerCounts::default(); workers.len()]),
            workers,
            threads: Mutex::new(threads),
            identity,
        })
    }

    /// Puts a message into a worker's box and waits for the answer.
    async fn ask<T>(
        &self,
        worker: usize,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.workers[worker].mailbox.post(message(reply))?;
        answer.await.map_err(|_| EngineError::WorkerLost)
    }

    fn stream_entry(&self, camera: CameraId) -> Result<StreamEntry, EngineError> {
        let directory = self.shared.directory();
        directory
            .streams
            .get(&camera)
            .copied()
            .ok_or(EngineError::UnknownStream(camera))
    }

    /// Finds a worker for a new stream and notes it there.
    fn place_stream(&self, spec: &StreamSpec, ports: IngestPorts) -> Result<usize, EngineError> {
        let mut directory = self.shared.directory();
        if directory.closed {
            return Err(EngineError::Closed);
        }
        if directory.streams.contains_key(&spec.camera) {
            return Err(EngineError::AlreadyOpen(spec.camera));
        }
        let load = |worker: usize| {
            directory
                .streams
                .values()
                .filter(|entry| entry.home == worker)
                .count()
        };
        let home = (0..self.workers.len())
            .min_by_key(|&worker| load(worker))
            .unwrap_or(0);
        directory.streams.insert(
            spec.camera,
            StreamEntry {
                home,
                stream: spec.stream,
                advertised: spec.advertised,
                bounds: spec.bitrate,
                ports,
            },
        );
        Ok(home)
    }

    /// Finds a worker for a new viewer and notes it there: the one with the fewest, if equal the camera's own.
    fn place_viewer(
        &self,
        camera: CameraId,
        viewer: ViewerId,
        speaks: bool,
    ) -> Result<(usize, usize), EngineError> {
        let mut directory = self.shared.directory();
        let entry = directory
            .streams
            .get(&camera)
            .ok_or(EngineError::UnknownStream(camera))?;
        let home = entry.home;
        let mut load = vec![0_usize; self.workers.len()];
        let mut watching = 0;
        for other in directory.viewers.values() {
            load[other.worker] += 1;
            watching += u32::from(other.camera == camera);
        }
        let limit = self.config.max_viewers_per_stream;
        if limit > 0 && watching >= limit {
            return Err(EngineError::ViewerLimit { limit });
        }
        let worker = (0..load.len())
            .min_by_key(|&worker| (load[worker], worker != home))
            .unwrap_or(home);
        directory.viewers.insert(
            viewer,
            ViewerEntry {
                worker,
                camera,
                speaks,
            },
        );
        Ok((worker, home))
    }

    fn viewer_entry(&self, viewer: ViewerId) -> Option<ViewerEntry> {
        self.shared.directory().viewers.get(&viewer).copied()
    }

    /// The answer, and what the worker needs to serve the viewer.
    fn answer(
        &self,
        request: &JoinRequest,
        offer: Offer,
        worker: usize,
        home: usize,
    ) -> (String, NewViewer) {
        let ice = handout::ice_credentials();
        let ssrcs = handout::viewer_ssrcs();
        let candidates = &self.workers[worker].candidates;
        let answer = offer.answer(&LocalDescription {
            session_id: u64::from_be_bytes(crate::random::random()) >> 1,
            ice: &ice,
            fingerprint: &self.identity.fingerprint,
            candidates,
            cname: CNAME,
            video_ssrc: ssrcs.video,
            rtx_ssrc: ssrcs.rtx,
            audio_ssrc: ssrcs.audio,
            takes_voice: request.may_talk,
        });
        let takes_voice = request.may_talk && speaks(&offer);
        let viewer = NewViewer {
            camera: request.camera,
            viewer: request.viewer,
            home,
            session: SessionConfig {
                local: candidates[0],
                local_ice: ice,
                remote_ice: offer.ice,
                fingerprint: offer.fingerprint,
                certificate: self.identity.certificate.clone(),
                dtls: Arc::clone(&self.identity.dtls),
                takes_voice,
            },
            video: offer.video,
            audio: offer.audio,
            ssrcs,
            cname: CNAME.into(),
        };
        (answer, viewer)
    }
}

fn speaks(offer: &Offer) -> bool {
    offer.audio.as_ref().is_some_and(|audio| audio.speaks)
}

/// Binds a worker's socket; gives the addresses that viewers are told.
fn prepare(config: &SfuConfig, index: usize) -> Result<(Prepared, Vec<SocketAddr>), SfuStartError> {
    let port = match config.udp_port {
        0 => 0,
        first => first.saturating_add(index as u16),
    };
    let address = SocketAddr::new(config.bind, port);
    let bind_error = |source| SfuStartError::Bind { address, source };
    let socket = bind_udp(address, SOCKET_BUFFER, SOCKET_BUFFER).map_err(bind_error)?;
    let local = socket.local_addr().map_err(bind_error)?;
    let mut candidates: Vec<SocketAddr> = config
        .advertised
        .iter()
        .map(|&ip| SocketAddr::new(ip, local.port()))
        .collect();
    if candidates.is_empty() {
        candidates.push(local);
    }
    let worker = Prepared::new(socket).map_err(|source| SfuStartError::Thread {
        worker: index,
        source,
    })?;
    Ok((worker, candidates))
}

fn opened(
    camera: CameraId,
    entry: &StreamEntry,
    stream: StreamId,
    camera_sdp: String,
) -> OpenedStream {
    OpenedStream {
        camera_sdp,
        address: entry.advertised,
        ingest: entry.ports,
        pipeline_id: format!("sfu-{}-{}", entry.home, camera.short()),
        rtp_endpoint_id: format!("rtp-{}-{}", entry.ports.video, stream.short()),
    }
}

#[async_trait]
impl MediaEngine for Sfu {
    fn kind(&self) -> &'static str {
        "sfu"
    }

    async fn open(&self, spec: StreamSpec) -> Result<OpenedStream, EngineError> {
        if self.stream_entry(spec.camera).is_ok() {
            return Err(EngineError::AlreadyOpen(spec.camera));
        }
        let reserved = self
            .ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reserve();
        let sockets = reserved.map_err(|error| match error {
            ReserveError::Exhausted { range } => EngineError::PortsExhausted { range },
            ReserveError::Io { source, .. } => EngineError::Io {
                operation: "open a UDP port for the camera",
                source,
            },
        })?;
        let ports = IngestPorts {
            video: sockets.video_port,
            audio: sockets.audio_port,
        };
        let home = self.place_stream(&spec, ports)?;
        let hand_out = handout::camera(spec.advertised, ports, spec.bitrate);
        let leg = Box::new(OpenLeg {
            camera: spec.camera,
            sockets,
            config: hand_out.ingest,
        });
        let taken = self.ask(home, |reply| Message::Open(leg, reply)).await;
        if let Err(error) = taken.and_then(|result| result) {
            self.shared.directory().streams.remove(&spec.camera);
            return Err(error);
        }
        let entry = self.stream_entry(spec.camera)?;
        Ok(opened(spec.camera, &entry, spec.stream, hand_out.sdp))
    }

    async fn rearm(&self, camera: CameraId, stream: StreamId) -> Result<OpenedStream, EngineError> {
        let entry = self.stream_entry(camera)?;
        let hand_out = handout::camera(entry.advertised, entry.ports, entry.bounds);
        let config = Box::new(hand_out.ingest);
        self.ask(entry.home, |reply| Message::Rearm(camera, config, reply))
            .await??;
        if let Some(entry) = self.shared.directory().streams.get_mut(&camera) {
            entry.stream = stream;
        }
        Ok(opened(camera, &entry, stream, hand_out.sdp))
    }

    async fn close(&self, camera: CameraId, reason: CloseReason) -> Result<(), EngineError> {
        self.shared.directory().streams.remove(&camera);
        for worker in 0..self.workers.len() {
            match self
                .ask(worker, |reply| Message::Close(camera, reason, reply))
                .await
            {
                // A worker that just died holds nothing of the stream any more.
                Ok(()) | Err(EngineError::WorkerLost | EngineError::Closed) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinedViewer, EngineError> {
        self.stream_entry(request.camera)?;
        let offer =
            read_offer(&request.offer).map_err(|error| EngineError::Offer(error.to_string()))?;
        let speaks = request.may_talk && speaks(&offer);
        let (worker, home) = self.place_viewer(request.camera, request.viewer, speaks)?;
        let (answer, viewer) = self.answer(&request, offer, worker, home);
        let viewer = Box::new(viewer);
        let taken = self.ask(worker, |reply| Message::Join(viewer, reply)).await;
        if let Err(error) = taken.and_then(|result| result) {
            self.shared.directory().viewers.remove(&request.viewer);
            return Err(error);
        }
        Ok(JoinedViewer {
            answer,
            webrtc_endpoint_id: format!("webrtc-{worker}-{}", request.viewer.short()),
            candidates: None,
        })
    }

    /// Candidates are checked for their form and then not needed: an ICE-lite agent answers whoever reaches it.
    async fn add_candidate(&self, viewer: ViewerId, candidate: &str) -> Result<(), EngineError> {
        let known = self.viewer_entry(viewer).is_some();
        if !known {
            return Err(EngineError::UnknownViewer(viewer));
        }
        check_candidate(candidate)
    }

    async fn restart_ice(
        &self,
        viewer: ViewerId,
        ufrag: &str,
        pwd: &str,
    ) -> Result<IceParameters, EngineError> {
        let entry = self
            .viewer_entry(viewer)
            .ok_or(EngineError::UnknownViewer(viewer))?;
        let local = handout::ice_credentials();
        let remote = IceCredentials {
            ufrag: ufrag.to_owned(),
            pwd: pwd.to_owned(),
        };
        let both = Box::new([local.clone(), remote]);
        self.ask(entry.worker, |reply| {
            Message::RestartIce(viewer, both, reply)
        })
        .await??;
        let candidates = &self.workers[entry.worker].candidates;
        Ok(IceParameters {
            ufrag: local.ufrag,
            pwd: local.pwd,
            candidates: candidates
                .iter()
                .enumerate()
                .map(|(index, &address)| candidate_line(address, index))
                .collect(),
        })
    }

    async fn leave(&self, viewer: ViewerId) -> Result<(), EngineError> {
        let Some(entry) = self.viewer_entry(viewer) else {
            return Ok(());
        };
        self.ask(entry.worker, |reply| Message::Leave(viewer, reply))
            .await
    }

    fn takes_voices(&self) -> bool {
        true
    }

    async fn talk(&self, viewer: ViewerId) -> Result<(), EngineError> {
        let entry = self
            .viewer_entry(viewer)
            .ok_or(EngineError::UnknownViewer(viewer))?;
        if !entry.speaks {
            return Err(EngineError::NoVoice(viewer));
        }
        let turn = TalkTurn {
            camera: entry.camera,
            viewer,
            worker: entry.worker,
        };
        let home = self.stream_entry(entry.camera)?.home;
        self.ask(home, |reply| Message::Talk(turn, reply)).await?
    }

    async fn hush(&self, viewer: ViewerId) -> Result<(), EngineError> {
        let Some(entry) = self.viewer_entry(viewer) else {
            return Ok(());
        };
        self.ask(entry.worker, |reply| Message::Hush(viewer, reply))
            .await
    }

    async fn request_key_frame(&self, camera: CameraId) -> Result<(), EngineError> {
        let entry = self.stream_entry(camera)?;
        self.workers[entry.home]
            .mailbox
            .post(Message::KeyFrame(camera))
    }

    async fn key_frame(&self, camera: CameraId) -> Option<KeyFrame> {
        let home = self.stream_entry(camera).ok()?.home;
        let still = self.ask(home, |reply| Message::Still(camera, reply)).await;
        still.ok()??.join()
    }

    async fn stream_stats(&self, camera: CameraId) -> Option<StreamStats> {
        let entry = self.stream_entry(camera).ok()?;
        let stats = self
            .ask(entry.home, |reply| Message::StreamStats(camera, reply))
            .await;
        let watching = |entry: &&ViewerEntry| entry.camera == camera;
        let viewers = self
            .shared
            .directory()
            .viewers
            .values()
            .filter(watching)
            .count();
        Some(StreamStats {
            viewers,
            ..stats.ok()??
        })
    }

    async fn viewer_stats(&self, viewer: ViewerId) -> Option<ViewerStats> {
        let entry = self.viewer_entry(viewer)?;
        self.ask(entry.worker, |reply| Message::ViewerStats(viewer, reply))
            .await
            .ok()?
    }

    /// A worker that does not answer in time counts as before, so that no total ever falls.
    async fn counts(&self) -> Option<EngineCounts> {
        let asked = (0..self.workers.len()).map(|worker| async move {
            let answer = self.ask(worker, Message::Counts);
            tokio::time::timeout(COUNTS_PATIENCE, answer)
                .await
                .ok()?
                .ok()
        });
        let answers = join_all(asked).await;
        let mut known = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (known, answer) in known.iter_mut().zip(answers) {
            *known = answer.unwrap_or(*known);
        }
        Some(EngineCounts {
            workers: known.clone(),
        })
    }

    fn busy_for(&self) -> Duration {
        self.shared.longest_turn()
    }

    fn events(&self) -> broadcast::Receiver<EngineEvent> {
        self.shared.subscribe()
    }

    async fn shutdown(&self) {
        let cameras: Vec<CameraId> = {
            let mut directory = self.shared.directory();
            directory.closed = true;
            directory.streams.keys().copied().collect()
        };
        for camera in cameras {
            // Whatever a worker could not close ends with its thread.
            let _ = self.close(camera, CloseReason::Shutdown).await;
        }
        for worker in &self.workers {
            while let Err(EngineError::Busy) = worker.mailbox.post(Message::Shutdown) {
                tokio::task::yield_now().await; // the worker is emptying its mailbox
            }
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| drop(thread.join()))
        });
        let _ = joined.await;
    }
}

impl Drop for Sfu {
    fn drop(&mut self) {
        for worker in &self.workers {
            let _ = worker.mailbox.post(Message::Shutdown);
        }
    }
}

#[cfg(test)]
mod tests;
