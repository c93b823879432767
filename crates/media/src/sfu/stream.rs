//! One camera's stream on one worker: its rings, and, on the worker that serves the camera, its ingest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apiary_core::ingest::{CameraIngest, IngestConfig, TrackKind};
use apiary_core::ring::{
    Codec, Inserted, PacketMeta, PacketRing, PictureRole, RingLimits, RingPacket,
};
use apiary_core::splice::Splice;
use apiary_wire::h264;
use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::rtp::RtpPacket;
use apiary_wire::sdp::camera;
use apiary_wire::units::{NtpTime, PayloadType, Ssrc};

use super::clocks::{StreamClocks, TrackTiming};
use super::ports::IngestSockets;
use super::relay::{RelayBatch, RelayOut, RelayedPackets};
use super::still::Still;
use super::talk::{TalkPort, Voice};
use super::timers::Timer;
use super::wheel::TimerWheel;
use crate::counts::CameraTraffic;
use crate::engine::EngineError;

/// A picture group of 5 Mbit/s and 4 s, and as much again.
const VIDEO_RING: RingLimits = RingLimits {
    bytes: 5 << 20,
    age: Duration::from_millis(1_500),
};
const AUDIO_RING: RingLimits = RingLimits {
    bytes: 128 << 10,
    age: Duration::from_millis(500),
};

/// The camera's clocks are read again after this time.
const CLOCKS_LAST: Duration = Duration::from_secs(1);

/// A stream on a worker.
pub(super) struct Stream {
    pub(super) camera: CameraId,
    pub(super) video: PacketRing,
    pub(super) audio: PacketRing,
    pub(super) clocks: StreamClocks,
    /// Places of its viewers on this worker.
    pub(super) viewers: Vec<usize>,
    pub(super) role: Role,
    /// Video packets that filled gaps since the last fan-out.
    pub(super) repaired: Vec<u64>,
    /// Packets came since the last fan-out.
    pub(super) dirty: bool,
    /// A track's first packet since the start of a run came in this turn.
    pub(super) track_began: bool,
    /// When its timer wakes it, if it is set.
    pub(super) wakes_at: Option<Instant>,
}

/// What this worker is to the stream.
pub(super) enum Role {
    /// It serves the camera.
    Home(Box<Home>),
    /// It gets the packets from the worker that does.
    Replica { home: usize },
}

/// The camera's side.
pub(super) struct Home {
    pub(super) sockets: IngestSockets,
    pub(super) ingest: CameraIngest,
    video_splice: Splice,
    audio_splice: Splice,
    audio_codec: Codec,
    /// Workers that have viewers of the stream.
    pub(super) subscribers: Vec<usize>,
    /// What they get next.
    pub(super) relay: RelayOut,
    /// Of this run of the camera, once somebody wanted to talk.
    talk: Option<Arc<TalkPort>>,
    /// What our own RTP toward the camera is sent as; its reports bear it too.
    own_ssrc: Ssrc,
    /// What of the ingest's counters the worker's totals hold.
    counted: CameraTraffic,
}

impl Home {
    pub(super) fn new(sockets: IngestSockets, config: IngestConfig) -> Self {
        Self {
            sockets,
            talk: None,
            own_ssrc: config.feedback.sender_ssrc,
            ingest: CameraIngest::new(config),
            video_splice: Splice::new(Codec::H264.clock_rate()),
            audio_splice: Splice::new(Codec::Opus.clock_rate()),
            audio_codec: Codec::Opus,
            subscribers: Vec::new(),
            relay: RelayOut::default(),
            counted: CameraTraffic::default(),
        }
    }

    /// Gives who talked until now.
    pub(super) fn rearm(&mut self, now: Instant, config: IngestConfig) -> Option<ViewerId> {
        self.own_ssrc = config.feedback.sender_ssrc;
        self.ingest.rearm(now, config);
        self.video_splice.begin_run();
        self.audio_splice.begin_run();
        self.talk.take().and_then(|port| port.talker())
    }

    /// The voice toward the camera, for a viewer.
    pub(super) fn lend_voice(
        &mut self,
        camera: CameraId,
        viewer: ViewerId,
    ) -> Result<Voice, EngineError> {
        let port = match &self.talk {
            Some(port) => port,
            None => {
                let source = self.ingest.stats().audio.source;
                let source = source.ok_or(EngineError::NotListening(camera))?;
                let socket = Arc::clone(&self.sockets.audio_rtp);
                let port = TalkPort::new(socket, source, self.own_ssrc);
                self.talk.insert(Arc::new(port))
            }
        };
        port.lend(viewer).ok_or(EngineError::Talking(camera))
    }

    /// What was counted since the last call.
    pub(super) fn take_traffic(&mut self) -> CameraTraffic {
        let stats = self.ingest.stats();
        let (video, audio) = (&stats.video, &stats.audio);
        let now = CameraTraffic {
            packets: video.counters.received + audio.counters.received,
            octets: video.counters.octets + audio.counters.octets,
            lost: video.lost + audio.lost,
            dropped: video.counters.dropped() + audio.counters.dropped() + stats.malformed,
            nacked: video.counters.nacked + audio.counters.nacked,
            repaired: video.counters.repaired + audio.counters.repaired,
            key_frame_requests: stats.key_frame_requests,
            rembs: stats.remb.count,
        };
        let before = self.counted;
        self.counted = before.highest(now);
        now.since(before)
    }

    fn read_clocks(&self, now: Instant, wall: NtpTime) -> StreamClocks {
        let video = TrackTiming {
            report: self.ingest.clock(TrackKind::Video),
            splice: &self.video_splice,
            rate: Codec::H264.clock_rate(),
        };
        let audio = TrackTiming {
            report: self.ingest.clock(TrackKind::Audio),
            splice: &self.audio_splice,
            rate: self.audio_codec.clock_rate(),
        };
        StreamClocks::read(now, wall, &video, &audio)
    }
}

impl Stream {
    pub(super) fn new(now: Instant, camera: CameraId, role: Role) -> Self {
        Self {
            camera,
            video: PacketRing::new(VIDEO_RING),
            audio: PacketRing::new(AUDIO_RING),
            clocks: StreamClocks::unknown(now),
            viewers: Vec::new(),
            role,
            repaired: Vec::new(),
            dirty: false,
            track_began: false,
            wakes_at: None,
        }
    }

    /// Takes a datagram from an RTP port.
    pub(super) fn handle_rtp(
        &mut self,
        now: Instant,
        kind: TrackKind,
        source: std::net::SocketAddr,
        datagram: &[u8],
    ) {
        let Role::Home(home) = &mut self.role else {
            return;
        };
        let Ok(packet) = RtpPacket::parse(datagram) else {
            home.ingest.on_malformed_rtp();
            return;
        };
        let Ok(accepted) = home.ingest.handle_rtp(now, kind, source, &packet) else {
            return;
        };
        self.track_began |= accepted.first;
        let (splice, codec, role) = match kind {
            TrackKind::Video => {
                let role = picture_role(packet.payload);
                if role == PictureRole::IdrStart {
                    home.ingest.on_key_frame(accepted.ext_seq);
                }
                (&mut home.video_splice, Codec::H264, role)
            }
            TrackKind::Audio => {
                home.audio_codec = audio_codec(packet.payload_type);
                (&mut home.audio_splice, home.audio_codec, PictureRole::Other)
            }
        };
        let Some((index, timestamp)) = splice.map(now, accepted.ext_seq, packet.timestamp) else {
            return;
        };
        let meta = PacketMeta {
            timestamp,
            marker: packet.marker,
            codec,
            role,
        };
        let packet = RingPacket {
            meta,
            payload: packet.payload,
        };
        if !home.subscribers.is_empty() {
            home.relay.packets().push(kind, index, packet);
        }
        self.insert(now, kind, index, packet);
    }

    /// Keeps a packet for the viewers on this worker.
    fn insert(
        &mut self,
        now: Instant,
        kind: TrackKind,
        index: u64,
        RingPacket { meta, payload }: RingPacket<'_>,
    ) {
        let ring = match kind {
            TrackKind::Video => &mut self.video,
            TrackKind::Audio => &mut self.audio,
        };
        match ring.insert(now, index, meta, payload) {
            Inserted::Newest => self.dirty = true,
            Inserted::Repair => {
                self.dirty = true;
                if kind == TrackKind::Video {
                    self.repaired.push(index);
                }
            }
            Inserted::Refused => {
                // Only a leap beyond all repair gets here from the ingest: start over behind it.
                if index > ring.head() && !matches!(self.role, Role::Replica { .. }) {
                    *ring = PacketRing::new(match kind {
                        TrackKind::Video => VIDEO_RING,
                        TrackKind::Audio => AUDIO_RING,
                    });
                    ring.insert(now, index, meta, payload);
                    self.dirty = true;
                }
            }
        }
    }

    /// Takes packets that another worker received.
    pub(super) fn handle_relay(&mut self, batch: &RelayBatch) {
        self.clocks = batch.clocks;
        for (track, index, packet) in batch.packets.iter() {
            self.insert(batch.received, track, index, packet);
        }
    }

    /// Everything from the start picture on, for a worker that just got its first viewer.
    pub(super) fn snapshot(&self, now: Instant) -> RelayBatch {
        let mut packets = RelayedPackets::default();
        let from = self.video.picture_start().unwrap_or(self.video.head());
        for index in from..self.video.head() {
            if let Some(packet) = self.video.get(index) {
                packets.push(TrackKind::Video, index, packet);
            }
        }
        RelayBatch {
            camera: self.camera,
            received: now,
            clocks: self.clocks,
            packets,
        }
    }

    /// The packets of the last picture that decoding can begin with, once all of it came.
    pub(super) fn still(&self, now: Instant) -> Option<Still> {
        let start = self.video.picture_start()?;
        let is_idr = |index: &u64| {
            let packet = self.video.get(*index);
            packet.is_some_and(|packet| packet.meta.role == PictureRole::IdrStart)
        };
        let idr = (start..self.video.head()).find(is_idr)?;
        let end = self.video.picture_end(idr);
        let age = self.video.age(now, idr)?;
        let packets = (start..end).map(|index| Some((index, self.video.get(index)?)));
        Still::copy(packets, age)
    }

    /// When the stream needs a turn although no packet comes; `None` on workers that do not serve its camera.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let Role::Home(home) = &self.role else {
            return None;
        };
        let clocks = self.clocks.read_at() + CLOCKS_LAST;
        let ingest = home.ingest.poll_timeout();
        Some(ingest.map_or(clocks, |at| at.min(clocks)))
    }

    /// Has the wheel wake the stream, which is at `place`, in time.
    pub(super) fn set_timer(&mut self, place: usize, wheel: &mut TimerWheel<Timer>) {
        if let Some(at) = self.poll_timeout()
            && self.wakes_at.is_none_or(|set| at < set)
        {
            self.wakes_at = Some(wheel.set(at, Timer::Stream(place)).min(at));
        }
    }

    /// The same after packets came that began no track and caused no event: they can only have brought forward when to ask
    /// for what is missing.
    pub(super) fn set_repair_timer(&mut self, place: usize, wheel: &mut TimerWheel<Timer>) {
        let Role::Home(home) = &self.role else {
            return;
        };
        if let Some(at) = home.ingest.repair_timeout()
            && self.wakes_at.is_none_or(|set| at < set)
        {
            self.wakes_at = Some(wheel.set(at, Timer::Stream(place)).min(at));
        }
    }

    /// Whether the clocks were read so long ago that they may have drifted from the camera's.
    pub(super) fn clocks_are_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.clocks.read_at()) >= CLOCKS_LAST
    }

    /// Reads the camera's clocks anew, where this worker knows them.
    pub(super) fn refresh_clocks(&mut self, now: Instant, wall: NtpTime) {
        if let Role::Home(home) = &self.role {
            self.clocks = home.read_clocks(now, wall);
        }
    }
}

fn picture_role(payload: &[u8]) -> PictureRole {
    match h264::inspect(payload) {
        Ok(summary) if summary.starts_idr => PictureRole::IdrStart,
        Ok(summary) if summary.has_sps || summary.has_pps => PictureRole::ParameterSet,
        Ok(_) | Err(_) => PictureRole::Other,
    }
}

fn audio_codec(payload_type: PayloadType) -> Codec {
    if payload_type == camera::PCMU {
        Codec::Pcmu
    } else {
        Codec::Opus
    }
}
