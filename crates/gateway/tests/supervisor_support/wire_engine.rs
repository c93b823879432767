//! An engine of real sockets and no viewers: it takes a camera's RTP and keeps the camera alive, by `apiary-core`'s rules.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use apiary_core::ingest::{
    Accepted, BitrateBounds, CameraIngest, FeedbackConfig, IngestConfig, IngestEvent, TrackConfig,
    TrackKind, ViewerPolicy,
};
use apiary_media::engine::{
    CloseReason, EngineError, EngineEvent, IceParameters, IngestPorts, JoinRequest, JoinedViewer,
    MediaEngine, OpenedStream, StreamSpec, StreamStats, ViewerStats,
};
use apiary_wire::id::{CameraId, StreamId, ViewerId};
use apiary_wire::rtp::RtpPacket;
use apiary_wire::sdp::{CameraSdp, camera};
use apiary_wire::units::Ssrc;
use async_trait::async_trait;
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) struct WireEngine {
    events: broadcast::Sender<EngineEvent>,
    ports: RangeInclusive<u16>,
    legs: Mutex<HashMap<CameraId, Leg>>,
}

struct Leg {
    spec: StreamSpec,
    ports: IngestPorts,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

enum Order {
    Rearm(IngestConfig, oneshot::Sender<()>),
    KeyFrame,
    Stats(oneshot::Sender<StreamStats>),
}

/// Video RTP and RTCP, audio RTP and RTCP.
type Sockets = [UdpSocket; 4];

impl WireEngine {
    pub(crate) fn new(ports: RangeInclusive<u16>) -> Self {
        Self {
            events: broadcast::Sender::new(apiary_media::engine::EVENT_QUEUE),
            ports,
            legs: Mutex::default(),
        }
    }

    async fn bind(&self) -> Option<(Sockets, IngestPorts)> {
        for video in self.ports.clone().step_by(4) {
            let bind = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
            if let (Ok(a), Ok(b), Ok(c), Ok(d)) = (
                bind(video).await,
                bind(video + 1).await,
                bind(video + 2).await,
                bind(video + 3).await,
            ) {
                let audio = video + 2;
                return Some(([a, b, c, d], IngestPorts { video, audio }));
            }
        }
        None
    }

    fn order(&self, camera: CameraId, order: Order) -> Result<(), EngineError> {
        let legs = self.legs.lock().unwrap();
        let leg = legs
            .get(&camera)
            .ok_or(EngineError::UnknownStream(camera))?;
        leg.orders.try_send(order).map_err(|_| EngineError::Busy)
    }
}

/// What is handed out to the camera, made from the stream id.
fn hand_out(
    spec: &StreamSpec,
    stream: StreamId,
    ports: IngestPorts,
) -> (OpenedStream, IngestConfig) {
    let seed = stream.0.as_u128();
    let (audio_ssrc, video_ssrc) = (Ssrc(seed as u32 | 1), Ssrc((seed >> 32) as u32 & !1));
    let sdp = CameraSdp {
        session_id: 1,
        version: 1,
        address: spec.advertised,
        audio_port: ports.audio,
        video_port: ports.video,
        audio_ssrc,
        video_ssrc,
        cname: "test".to_owned(),
    };
    let video = TrackConfig {
        kind: TrackKind::Video,
        ssrc: video_ssrc,
        payload_types: [(camera::H264, camera::H264_CLOCK_RATE)]
            .into_iter()
            .collect(),
    };
    let audio = TrackConfig {
        kind: TrackKind::Audio,
        ssrc: audio_ssrc,
        payload_types: [
            (camera::OPUS, camera::OPUS_CLOCK_RATE),
            (camera::PCMU, camera::PCMU_CLOCK_RATE),
        ]
        .into_iter()
        .collect(),
    };
    let config = IngestConfig {
        video,
        audio,
        feedback: FeedbackConfig {
            sender_ssrc: Ssrc(0x00c0_ffee),
            cname: "gateway".to_owned(),
        },
        bounds: BitrateBounds {
            min: spec.bitrate.min,
            max: spec.bitrate.max,
        },
        policy: ViewerPolicy::default(),
    };
    let opened = OpenedStream {
        camera_sdp: sdp.to_string(),
        ingest: ports,
        pipeline_id: "pipeline".to_owned(),
        rtp_endpoint_id: "rtp".to_owned(),
    };
    (opened, config)
}

struct Receiver {
    camera: CameraId,
    events: broadcast::Sender<EngineEvent>,
    sockets: Sockets,
    ingest: CameraIngest,
    orders: mpsc::Receiver<Order>,
}

impl Receiver {
    async fn run(mut self) {
        let mut buffers = [[0; 2048]; 4];
        loop {
            let due = self.ingest.poll_timeout();
            let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
            let [video, video_rtcp, audio, audio_rtcp] = &self.sockets;
            let [a, b, c, d] = &mut buffers;
            tokio::select! {
                received = video.recv_from(a) => self.rtp(TrackKind::Video, received, &buffers[0]),
                received = audio.recv_from(c) => self.rtp(TrackKind::Audio, received, &buffers[2]),
                received = video_rtcp.recv_from(b) => self.rtcp(TrackKind::Video, received, &buffers[1]),
                received = audio_rtcp.recv_from(d) => self.rtcp(TrackKind::Audio, received, &buffers[3]),
                () = tokio::time::sleep_until(due.into()) => {}
                order = self.orders.recv() => match order {
                    Some(order) => self.on_order(order),
                    None => return,
                },
            }
            self.drain().await;
        }
    }

    fn rtp(
        &mut self,
        track: TrackKind,
        received: std::io::Result<(usize, SocketAddr)>,
        buffer: &[u8],
    ) {
        let Ok((length, source)) = received else {
            return;
        };
        let now = Instant::now();
        match RtpPacket::parse(&buffer[..length]) {
            Ok(packet) => {
                let _: Result<Accepted, _> = self.ingest.handle_rtp(now, track, source, &packet);
            }
            Err(_) => self.ingest.on_malformed_rtp(),
        }
    }

    fn rtcp(
        &mut self,
        track: TrackKind,
        received: std::io::Result<(usize, SocketAddr)>,
        buffer: &[u8],
    ) {
        if let Ok((length, source)) = received {
            self.ingest
                .handle_rtcp(Instant::now(), track, source, &buffer[..length]);
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Rearm(config, done) => {
                self.ingest.rearm(Instant::now(), config);
                let _ = done.send(());
            }
            Order::KeyFrame => self.ingest.request_key_frame(Instant::now()),
            Order::Stats(asked) => {
                let stats = self.ingest.stats();
                let _ = asked.send(StreamStats {
                    bitrate: stats.bitrate,
                    ..StreamStats::default()
                });
            }
        }
    }

    async fn drain(&mut self) {
        let mut out = Vec::new();
        while let Some((track, to)) = self.ingest.poll_transmit(Instant::now(), &mut out) {
            let socket = match track {
                TrackKind::Video => &self.sockets[1],
                TrackKind::Audio => &self.sockets[3],
            };
            let _ = socket.send_to(&out, to).await;
            out.clear();
        }
        let camera = self.camera;
        while let Some(event) = self.ingest.poll_event() {
            let event = match event {
                IngestEvent::RtpStarted { source } => EngineEvent::RtpStarted { camera, source },
                IngestEvent::Silent { for_ } => EngineEvent::RtpSilent {
                    camera,
                    silent_for: for_,
                },
                IngestEvent::Resumed => EngineEvent::RtpResumed { camera },
                IngestEvent::RtcpSeen => EngineEvent::RtcpSeen { camera },
                IngestEvent::ForeignSsrc { ssrc } => EngineEvent::ForeignSsrc { camera, ssrc },
                IngestEvent::KeyFrameNeeded => continue,
            };
            let _ = self.events.send(event);
        }
    }
}

#[async_trait]
impl MediaEngine for WireEngine {
    fn kind(&self) -> &'static str {
        "wire"
    }

    async fn open(&self, spec: StreamSpec) -> Result<OpenedStream, EngineError> {
        let camera = spec.camera;
        let range = self.ports.clone();
        let (sockets, ports) = self
            .bind()
            .await
            .ok_or(EngineError::PortsExhausted { range })?;
        let (opened, config) = hand_out(&spec, spec.stream, ports);
        let (orders, waiting) = mpsc::channel(16);
        let receiver = Receiver {
            camera,
            events: self.events.clone(),
            sockets,
            ingest: CameraIngest::new(config),
            orders: waiting,
        };
        let task = tokio::spawn(receiver.run());
        let leg = Leg {
            spec,
            ports,
            orders,
            task,
        };
        self.legs.lock().unwrap().insert(camera, leg);
        Ok(opened)
    }

    async fn rearm(&self, camera: CameraId, stream: StreamId) -> Result<OpenedStream, EngineError> {
        let (opened, config) = {
            let legs = self.legs.lock().unwrap();
            let leg = legs
                .get(&camera)
                .ok_or(EngineError::UnknownStream(camera))?;
            hand_out(&leg.spec, stream, leg.ports)
        };
        let (done, wait) = oneshot::channel();
        self.order(camera, Order::Rearm(config, done))?;
        wait.await.map_err(|_| EngineError::WorkerLost)?;
        Ok(opened)
    }

    async fn close(&self, camera: CameraId, _: CloseReason) -> Result<(), EngineError> {
        let leg = self.legs.lock().unwrap().remove(&camera);
        if let Some(leg) = leg {
            leg.task.abort();
            let _ = leg.task.await;
        }
        Ok(())
    }

    async fn join(&self, _: JoinRequest) -> Result<JoinedViewer, EngineError> {
        Err(EngineError::ViewerLimit { limit: 0 })
    }

    async fn add_candidate(&self, viewer: ViewerId, _: &str) -> Result<(), EngineError> {
        Err(EngineError::UnknownViewer(viewer))
    }

    async fn restart_ice(
        &self,
        viewer: ViewerId,
        _: &str,
        _: &str,
    ) -> Result<IceParameters, EngineError> {
        Err(EngineError::UnknownViewer(viewer))
    }

    async fn leave(&self, _: ViewerId) -> Result<(), EngineError> {
        Ok(())
    }

    async fn request_key_frame(&self, camera: CameraId) -> Result<(), EngineError> {
        self.order(camera, Order::KeyFrame)
    }

    async fn stream_stats(&self, camera: CameraId) -> Option<StreamStats> {
        let (asked, stats) = oneshot::channel();
        self.order(camera, Order::Stats(asked)).ok()?;
        stats.await.ok()
    }

    async fn viewer_stats(&self, _: ViewerId) -> Option<ViewerStats> {
        None
    }

    fn events(&self) -> broadcast::Receiver<EngineEvent> {
        self.events.subscribe()
    }

    async fn shutdown(&self) {}
}
