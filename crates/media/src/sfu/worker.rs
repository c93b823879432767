//! A worker: one thread, one UDP port, its cameras and its viewers.
//!
//! One turn of the loop reads what is there, puts packets into rings, then goes once over the viewers of each stream that
//! got something, and sends everything in a few system calls. Per packet nothing is locked, logged or allocated; what
//! needs a clock has a timer in the worker's wheel (`timers`).

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use apiary_core::ingest::{IngestEvent, TrackKind};
use apiary_wire::demux::{Protocol, classify};
use apiary_wire::id::{CameraId, ViewerId};
use apiary_wire::units::NtpTime;

use super::from_viewers::Attention;
use super::message::{Mailbox, Message};
use super::shared::Shared;
use super::slots::Slots;
use super::stream::{Role, Stream};
use super::timers::Timer;
use super::viewer::{ReportScratch, Viewer};
use super::wheel::TimerWheel;
use crate::counts::WorkerCounts;
use crate::engine::EngineEvent;
use crate::sys::{Poller, ReceiveBatch, SendBatch};

/// Poll tokens: the mailbox, the viewers' socket, then four for each stream's place.
const MAILBOX_TOKEN: u64 = 0;
pub(super) const VIEWERS_TOKEN: u64 = 1;
const FIRST_INGEST_TOKEN: u64 = 2;
const SOCKETS_PER_STREAM: u64 = 4;

/// Reads of one socket in a row, so that a flood at one does not starve the others (h29).
const READS_PER_TURN: usize = 8;
/// Messages taken from the mailbox before packets have their turn again.
const MESSAGES_PER_TURN: usize = 64;

/// What outlives a panic of the worker.
pub(super) struct Post {
    pub(super) index: usize,
    pub(super) socket: UdpSocket,
    pub(super) poller: Poller,
    pub(super) messages: Receiver<Message>,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) own_waker: crate::sys::Waker,
    pub(super) shared: Arc<Shared>,
    pub(super) counts: WorkerCounts,
}

/// How a worker's loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Shutdown,
    /// The poller failed for good.
    Broken,
}

/// The state of a worker.
pub(super) struct Worker<'a> {
    pub(super) post: &'a mut Post,
    pub(super) streams: Slots<Stream>,
    pub(super) by_camera: HashMap<CameraId, usize>,
    pub(super) viewers: Slots<Viewer>,
    pub(super) lookup: Lookup,
    pub(super) out: SendBatch,
    pub(super) reports: ReportScratch,
    pub(super) wheel: TimerWheel<Timer>,
    /// Timers that have fired; only while they are handled.
    pub(super) fired: Vec<Timer>,
    pending: Pending,
    pub(super) viewers_socket: Attention,
}

/// What is still to do.
#[derive(Default)]
struct Pending {
    /// Places of streams that got packets in this turn.
    dirty: Vec<usize>,
    /// Cameras' sockets, by their token, that held more than was read in the last turn.
    unread: Vec<u64>,
}

/// How datagrams find their viewer.
#[derive(Default)]
pub(super) struct Lookup {
    pub(super) by_address: HashMap<SocketAddr, usize>,
    pub(super) by_ufrag: HashMap<String, usize>,
    pub(super) by_id: HashMap<ViewerId, usize>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(post: &'a mut Post) -> Self {
        Self {
            post,
            streams: Slots::default(),
            by_camera: HashMap::new(),
            viewers: Slots::default(),
            lookup: Lookup::default(),
            out: SendBatch::new(true),
            reports: ReportScratch::default(),
            wheel: TimerWheel::new(Instant::now()),
            fired: Vec::new(),
            pending: Pending::default(),
            // Whatever came before a panic of the last worker may have been reported already.
            viewers_socket: Attention::ReadAt(Instant::now()),
        }
    }

    /// Serves until it is told to end.
    pub(super) fn run(&mut self) -> Ended {
        let mut received = ReceiveBatch::new();
        let mut tokens = Vec::new();
        let mut began = None;
        loop {
            let ended = Instant::now();
            if let Some(began) = began {
                self.post
                    .counts
                    .turns
                    .note(ended.saturating_duration_since(began));
                self.post.shared.turn_ends(self.post.index);
            }
            let wait = if self.pending.unread.is_empty() {
                self.next_turn()
                    .map(|at| at.saturating_duration_since(ended))
            } else {
                Some(Duration::ZERO)
            };
            if let Err(error) = self.post.poller.wait(wait) {
                tracing::error!(worker = self.post.index, %error, "cannot wait for packets");
                return Ended::Broken;
            }
            let now = Instant::now();
            began = Some(now);
            self.post.shared.turn_begins(self.post.index, now);
            tokens.clear();
            tokens.append(&mut self.pending.unread);
            tokens.extend_from_slice(self.post.poller.tokens());
            for &token in &tokens {
                match token {
                    MAILBOX_TOKEN => {
                        if self.read_messages(now) {
                            return Ended::Shutdown;
                        }
                    }
                    VIEWERS_TOKEN => self.viewers_socket = Attention::ReadAt(now),
                    ingest => self.read_ingest(now, ingest - FIRST_INGEST_TOKEN, &mut received),
                }
            }
            self.fan_out(now);
            if let Err(error) = self.attend_to_viewers(now, &mut received) {
                tracing::error!(worker = self.post.index, %error, "cannot wait for viewers");
                return Ended::Broken;
            }
            self.handle_timers(now);
            self.flush();
            let oversized = received.take_dropped();
            if oversized > 0 {
                tracing::trace!(oversized, "datagrams too long for any packet were dropped");
            }
        }
    }

    /// When the loop must go round although nothing comes.
    fn next_turn(&self) -> Option<Instant> {
        let viewers = match self.viewers_socket {
            Attention::Awaited => None,
            Attention::ReadAt(at) => Some(at),
        };
        [viewers, self.wheel.next_at()].into_iter().flatten().min()
    }

    /// `true` when the worker is to end.
    fn read_messages(&mut self, now: Instant) -> bool {
        self.post.own_waker.drain();
        for _ in 0..MESSAGES_PER_TURN {
            match self.post.messages.try_recv() {
                Ok(Message::Shutdown) | Err(TryRecvError::Disconnected) => {
                    self.say_goodbye();
                    return true;
                }
                Ok(message) => {
                    self.post.mailboxes[self.post.index].on_taken();
                    self.handle_message(now, message);
                }
                Err(TryRecvError::Empty) => return false,
            }
        }
        self.post.own_waker.wake(); // there may be more
        false
    }

    // ---- cameras' sockets

    fn read_ingest(&mut self, now: Instant, token: u64, received: &mut ReceiveBatch) {
        let place = (token / SOCKETS_PER_STREAM) as usize;
        for _ in 0..READS_PER_TURN {
            let Some(stream) = self.streams.get_mut(place) else {
                return;
            };
            let Role::Home(home) = &stream.role else {
                return;
            };
            let (kind, is_rtp, socket) = match token % SOCKETS_PER_STREAM {
                0 => (TrackKind::Video, true, &home.sockets.video_rtp),
                1 => (TrackKind::Video, false, &home.sockets.video_rtcp),
                2 => (TrackKind::Audio, true, &*home.sockets.audio_rtp),
                _ => (TrackKind::Audio, false, &home.sockets.audio_rtcp),
            };
            let count = received.receive(socket).unwrap_or(0);
            for at in 0..count {
                let (source, datagram) = received.datagram(at);
                if is_rtp && classify(datagram) != Protocol::Rtcp {
                    stream.handle_rtp(now, kind, source, datagram);
                } else if let Role::Home(home) = &mut stream.role {
                    home.ingest.handle_rtcp(now, kind, source, datagram);
                }
            }
            if received.is_exhausted() {
                break;
            }
        }
        if !received.is_exhausted() {
            self.pending.unread.push(FIRST_INGEST_TOKEN + token);
        }
        self.after_ingest(now, place);
    }

    /// Passes on what the ingest tells, and marks the stream for the fan-out.
    fn after_ingest(&mut self, now: Instant, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        if stream.dirty && !self.pending.dirty.contains(&place) {
            self.pending.dirty.push(place);
        }
        let camera = stream.camera;
        let Role::Home(home) = &mut stream.role else {
            return;
        };
        let mut news = std::mem::take(&mut stream.track_began);
        let mut new_clocks = news;
        while let Some(event) = home.ingest.poll_event() {
            news = true;
            new_clocks |= matches!(
                event,
                IngestEvent::RtpStarted { .. } | IngestEvent::RtcpSeen
            );
            let event = match event {
                IngestEvent::RtpStarted { source } => EngineEvent::RtpStarted {
                    camera,
                    source: Some(source),
                },
                IngestEvent::Silent { for_ } => EngineEvent::RtpSilent {
                    camera,
                    silent_for: for_,
                },
                IngestEvent::Resumed => EngineEvent::RtpResumed { camera },
                IngestEvent::RtcpSeen => EngineEvent::RtcpSeen { camera },
                IngestEvent::ForeignSsrc { ssrc } => EngineEvent::ForeignSsrc { camera, ssrc },
                IngestEvent::KeyFrameNeeded => continue, // the ingest asks the camera itself
            };
            self.post.shared.emit(event);
        }
        if new_clocks {
            stream.refresh_clocks(now, wall());
        }
        if news {
            stream.set_timer(place, &mut self.wheel);
        } else {
            stream.set_repair_timer(place, &mut self.wheel);
        }
    }

    /// Sends RTCP to the camera of a stream, as far as it is due.
    pub(super) fn feed_back(&mut self, now: Instant, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        let Role::Home(home) = &mut stream.role else {
            return;
        };
        let mut datagram = Vec::new();
        while let Some((kind, destination)) = home.ingest.poll_transmit(now, &mut datagram) {
            let socket = match kind {
                TrackKind::Video => &home.sockets.video_rtcp,
                TrackKind::Audio => &home.sockets.audio_rtcp,
            };
            // What cannot be sent now is as lost as on the way; the next report follows in a second.
            let _ = socket.send_to(&datagram, destination);
            datagram.clear();
        }
        self.after_ingest(now, place);
        if let Some(stream) = self.streams.get_mut(place) {
            stream.set_timer(place, &mut self.wheel);
        }
    }

    // ---- from the rings to the viewers

    pub(super) fn mark_dirty(&mut self, place: usize) {
        if !self.pending.dirty.contains(&place) {
            self.pending.dirty.push(place);
        }
    }

    /// Goes once over the viewers of each stream that got packets.
    fn fan_out(&mut self, now: Instant) {
        while let Some(place) = self.pending.dirty.pop() {
            let Some(stream) = self.streams.get_mut(place) else {
                continue;
            };
            relay(&self.post.mailboxes, now, stream);
            for &key in &stream.viewers {
                if let Some(viewer) = self.viewers.get_mut(key) {
                    viewer.send(now, stream, &mut self.out);
                    if viewer.is_catching_up() || viewer.is_waiting() {
                        viewer.set_timer(now, key, &mut self.wheel);
                    }
                }
                if self.out.is_full() {
                    flush(&mut self.out, self.post);
                }
            }
            stream.repaired.clear();
            stream.dirty = false;
        }
    }

    pub(super) fn flush(&mut self) {
        flush(&mut self.out, self.post);
    }
}

fn flush(out: &mut SendBatch, post: &mut Post) {
    let flushed = out.flush(&post.socket);
    let counts = &mut post.counts.viewers;
    counts.datagrams += flushed.sent_packets;
    counts.octets += flushed.sent_octets;
    counts.unsent += flushed.dropped_packets;
    if flushed.dropped_packets > 0 {
        post.shared.count_dropped(flushed.dropped_packets);
    }
}

/// Gives other workers what came for their viewers.
fn relay(mailboxes: &[Mailbox], now: Instant, stream: &mut Stream) {
    let (camera, clocks) = (stream.camera, stream.clocks);
    let Role::Home(home) = &mut stream.role else {
        return;
    };
    if let Some(batch) = home.relay.take(camera, now, clocks) {
        for &worker in &home.subscribers {
            // A worker that lags loses the batch; its viewers NACK or wait for the next key frame.
            let _ = mailboxes[worker].post(Message::Relay(Arc::clone(&batch)));
        }
    }
}

/// Our own wall clock, for streams whose camera tells none.
pub(super) fn wall() -> NtpTime {
    NtpTime::from_unix(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// The poll token of a stream's socket, in the order of [`Worker::read_ingest`].
pub(super) fn ingest_token(place: usize, socket: u64) -> u64 {
    FIRST_INGEST_TOKEN + place as u64 * SOCKETS_PER_STREAM + socket
}

pub(super) const TOKENS: (u64, u64) = (MAILBOX_TOKEN, VIEWERS_TOKEN);
