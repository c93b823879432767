//! The media half of simulated cameras: firmware, encoder, ports and link of each, all run by one
//! thread. Belongs here: everything that happens per packet. Does not belong here: MQTT and tokio.

mod link;
mod ports;
mod reactor;

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiary_wire::Bitrate;
use apiary_wire::camera::Command;
use apiary_wire::demux::{Protocol, classify};
use apiary_wire::rtp::{FIXED_HEADER_LEN, RtpHeader};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::audio;
use crate::firmware::{Firmware, Output, SendPlan, Track, WallClock};
use crate::misbehaviour::Misbehaviour;
use crate::state::CameraState;
use crate::video::{LiveEncoder, LiveEvent, ReplayCursor, ReplayLoop, timestamp_sei};
use link::{Kind, Link, Source};
use ports::Ports;
pub(crate) use ports::local_address_towards;
pub(crate) use reactor::{Handle, Reactor};

/// What a camera is told from outside its media half.
#[derive(Debug)]
pub(crate) enum Order {
    /// A command came over MQTT.
    Command(Command),
    /// Power is back; packets leave from this address from now on.
    PowerOn { bind: IpAddr },
    /// Power fails. Once it is answered, nothing leaves the camera any more.
    PowerOff { done: oneshot::Sender<()> },
    /// Say on `camera/state` how the camera stands.
    Report,
    /// Lose everything that is sent, or no more.
    Pause(bool),
    /// Go on from other local ports.
    MovePorts,
}

/// What the media half wants of MQTT.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Publish this on `camera/state`.
    Report(serde_json::Value),
    /// Restart the camera.
    Reboot,
}

/// What the encoder is.
#[derive(Debug)]
pub(crate) enum Eye {
    Live(LiveEncoder),
    Replay {
        cursor: ReplayCursor,
        /// When the next picture is due.
        next: Option<Instant>,
    },
}

/// What a [`Device`] is made of.
#[derive(Debug)]
pub(crate) struct DeviceParts {
    pub(crate) firmware: Firmware,
    pub(crate) eye: Eye,
    pub(crate) tone: Arc<[Bytes]>,
    pub(crate) link: (f64, Vec<Misbehaviour>, u64),
    pub(crate) bind: IpAddr,
    /// For the time stamps in pictures, where these are wanted.
    pub(crate) stamps: Option<WallClock>,
    pub(crate) state: watch::Sender<CameraState>,
    pub(crate) wishes: mpsc::Sender<Wish>,
}

/// One camera on the reactor's thread.
#[derive(Debug)]
pub(crate) struct Device {
    firmware: Firmware,
    eye: Eye,
    ear: Ear,
    radio: Radio,
    bind: IpAddr,
    stamps: Option<WallClock>,
    state: watch::Sender<CameraState>,
    wishes: mpsc::Sender<Wish>,
    next_publication: Option<Instant>,
    /// The number of the run that the encoder works for.
    run: u64,
    bitrate: Bitrate,
}

/// The microphone.
#[derive(Debug)]
struct Ear {
    tone: Arc<[Bytes]>,
    position: usize,
    next: Option<Instant>,
}

/// Ports and the link behind them.
#[derive(Debug)]
struct Radio {
    link: Link,
    ports: Option<(Box<SendPlan>, Ports)>,
    /// The socket of the second source, where there is one.
    intruder: Option<UdpSocket>,
    /// Whether the camera still has to move to other ports in this stream.
    moves: bool,
    scratch: Vec<u8>,
}

/// Counters are shown this often while a stream runs; anything that matters is shown at once.
const PUBLICATION_INTERVAL: Duration = Duration::from_millis(200);
/// A camera that falls behind this far, as in a debugger, does not send what it missed.
const MAX_LAG: Duration = Duration::from_millis(500);
/// The largest datagram that is read, in bytes.
const MAX_DATAGRAM: usize = 2048;

impl Eye {
    pub(crate) fn replay(source: Arc<ReplayLoop>) -> Self {
        Self::Replay {
            cursor: ReplayCursor::new(source),
            next: None,
        }
    }
}

impl Device {
    pub(crate) fn new(parts: DeviceParts) -> Self {
        let (loss, misbehaviour, seed) = parts.link;
        Self {
            firmware: parts.firmware,
            eye: parts.eye,
            ear: Ear {
                tone: parts.tone,
                position: 0,
                next: None,
            },
            radio: Radio {
                link: Link::new(loss, &misbehaviour, seed),
                ports: None,
                intruder: None,
                moves: false,
                scratch: Vec::new(),
            },
            bind: parts.bind,
            stamps: parts.stamps,
            state: parts.state,
            wishes: parts.wishes,
            next_publication: None,
            run: 0,
            bitrate: Bitrate::ZERO,
        }
    }

    /// Follows an order. Returns whether the ports changed.
    fn on_order(&mut self, now: Instant, order: Order) -> bool {
        let mut done = None;
        let mut moved = false;
        match order {
            Order::Command(command) => self.firmware.handle_command(now, command),
            Order::PowerOn { bind } => self.bind = bind,
            Order::PowerOff { done: sender } => {
                self.firmware.handle_power_off(now);
                done = Some(sender);
            }
            Order::Report => self.firmware.report(),
            Order::Pause(paused) => self.radio.link.pause(paused),
            Order::MovePorts => moved = self.move_ports(now),
        }
        let changed = self.drain(now) || moved;
        self.publish(now);
        if let Some(done) = done {
            // Whoever asked may have gone away meanwhile.
            let _ = done.send(());
        }
        changed
    }

    /// Takes what the encoder made.
    fn on_live(&mut self, now: Instant, event: LiveEvent) -> bool {
        match event {
            LiveEvent::Frame {
                run,
                captured,
                frame,
            } if run == self.run => {
                let stamp = self.stamp(now);
                self.firmware.handle_video(now, captured, &frame, stamp);
            }
            LiveEvent::Failed { run, error } if run == self.run => {
                tracing::error!(%error, "a simulated camera's encoder failed");
                self.firmware.handle_failure(now);
            }
            LiveEvent::Frame { .. } | LiveEvent::Failed { .. } => {}
        }
        self.drain(now)
    }

    /// Reads all that has come.
    fn on_readable(&mut self, now: Instant) -> bool {
        let mut buffer = [0; MAX_DATAGRAM];
        let mut any = false;
        if let Some((_, ports)) = &self.radio.ports {
            for socket in ports.receivers() {
                while let Ok((length, _)) = socket.recv_from(&mut buffer) {
                    let datagram = &buffer[..length];
                    match classify(datagram) {
                        Protocol::Rtp => self.firmware.handle_voice(datagram),
                        Protocol::Rtcp | Protocol::Stun | Protocol::Dtls | Protocol::Unknown => {
                            self.firmware.handle_rtcp(now, datagram)
                        }
                    }
                    any = true;
                }
            }
        }
        let changed = self.drain(now);
        if any {
            self.publish(now);
        }
        changed
    }

    /// Does what is due. Returns whether the ports changed.
    fn on_timeout(&mut self, now: Instant) -> bool {
        if self.firmware.poll_timeout().is_some_and(|at| at <= now) {
            self.firmware.handle_timeout(now);
        }
        let mut changed = self.drain(now);
        self.send_due_video(now);
        self.send_due_audio(now);
        changed |= self.drain(now);
        if self.radio.moves && self.radio.link.move_at().is_some_and(|at| at <= now) {
            self.radio.moves = false;
            changed |= self.move_ports(now);
        }
        if self.next_publication.is_some_and(|at| at <= now) {
            self.publish(now);
        }
        changed
    }

    /// When [`Self::on_timeout`] is due.
    fn deadline(&self) -> Option<Instant> {
        let video = match &self.eye {
            Eye::Live(_) => None,
            Eye::Replay { next, .. } => *next,
        };
        let moving = self.radio.link.move_at().filter(|_| self.radio.moves);
        [
            self.firmware.poll_timeout(),
            video,
            self.ear.next,
            moving,
            self.next_publication,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn ports(&self) -> Option<&Ports> {
        self.radio.ports.as_ref().map(|(_, ports)| ports)
    }

    fn send_due_video(&mut self, now: Instant) {
        loop {
            let stamp = self.stamp(now);
            let Eye::Replay {
                cursor,
                next: Some(due),
            } = &mut self.eye
            else {
                return;
            };
            if *due > now {
                return;
            }
            let captured = caught_up(*due, now);
            *due = captured + ReplayLoop::INTERVAL;
            self.firmware
                .handle_video(now, captured, cursor.next(), stamp);
        }
    }

    fn send_due_audio(&mut self, now: Instant) {
        while let Some(due) = self.ear.next.filter(|due| *due <= now) {
            let captured = caught_up(due, now);
            self.ear.next = Some(captured + audio::PACKET_DURATION);
            let packet = self.ear.tone[self.ear.position % self.ear.tone.len()].clone();
            self.ear.position += 1;
            self.firmware.handle_audio(captured, packet);
        }
    }

    fn stamp(&self, now: Instant) -> Option<Bytes> {
        let clock = self.stamps?;
        Some(Bytes::from(timestamp_sei(clock.unix_at(now))))
    }

    /// Carries out what the firmware wants. Returns whether the ports changed.
    fn drain(&mut self, now: Instant) -> bool {
        let mut changed = false;
        while let Some(output) = self.firmware.poll_output() {
            match output {
                Output::Rtp {
                    track,
                    header,
                    payload,
                } => self.radio.send_rtp(now, track, header, &payload),
                Output::Rtcp { track, compound } => self.radio.send_rtcp(now, track, compound),
                Output::KeyFrame => match &mut self.eye {
                    Eye::Live(encoder) => encoder.request_idr(),
                    Eye::Replay { cursor, .. } => cursor.request_idr(),
                },
                Output::Bitrate(bitrate) => {
                    self.bitrate = bitrate;
                    if let Eye::Live(encoder) = &self.eye {
                        encoder.set_bitrate(bitrate);
                    }
                }
                Output::Start(plan) => {
                    self.begin(now, plan);
                    changed = true;
                }
                Output::Stop => {
                    self.end(now);
                    changed = true;
                }
                Output::Report(report) => self.wish(Wish::Report(report)),
                Output::Reboot => self.wish(Wish::Reboot),
            }
        }
        changed
    }

    fn begin(&mut self, now: Instant, plan: Box<SendPlan>) {
        if let Err(error) = self.radio.begin(self.bind, plan) {
            tracing::error!(%error, bind = %self.bind, "a simulated camera cannot open its ports");
            self.firmware.handle_failure(now);
            return;
        }
        self.run += 1;
        match &mut self.eye {
            Eye::Live(encoder) => encoder.begin(self.run, self.bitrate),
            Eye::Replay { cursor, next } => {
                cursor.request_idr();
                *next = Some(now);
            }
        }
        self.ear.next = Some(now);
        self.ear.position = 0;
        self.publish(now);
    }

    fn end(&mut self, now: Instant) {
        match &mut self.eye {
            Eye::Live(encoder) => encoder.end(),
            Eye::Replay { next, .. } => *next = None,
        }
        self.ear.next = None;
        self.radio.ports = None;
        self.radio.moves = false;
        self.publish(now);
    }

    /// Closes the ports and opens others for the same stream.
    fn move_ports(&mut self, now: Instant) -> bool {
        let Some((plan, _)) = &self.radio.ports else {
            return false;
        };
        match self.radio.open_ports(self.bind, plan) {
            Ok(ports) => {
                let plan = plan.clone();
                self.radio.ports = Some((plan, ports));
            }
            Err(error) => {
                tracing::error!(%error, bind = %self.bind, "a simulated camera cannot move its ports");
                self.firmware.handle_failure(now);
            }
        }
        true
    }

    fn wish(&self, wish: Wish) {
        if self.wishes.try_send(wish).is_err() {
            tracing::warn!("a simulated camera's report is lost: too many are waiting for MQTT");
        }
    }

    fn publish(&mut self, now: Instant) {
        let mut state = self.firmware.state(now);
        state.sent.lost = self.radio.link.lost();
        self.next_publication = state.is_streaming().then(|| now + PUBLICATION_INTERVAL);
        self.state.send_modify(|shown| {
            state.connected = shown.connected;
            *shown = state;
        });
    }
}

impl Radio {
    fn open_ports(&self, bind: IpAddr, plan: &SendPlan) -> std::io::Result<Ports> {
        Ports::open(bind, plan, self.link.has(Misbehaviour::RtcpOnRtpPort))
    }

    fn begin(&mut self, bind: IpAddr, plan: Box<SendPlan>) -> std::io::Result<()> {
        let ports = self.open_ports(bind, &plan)?;
        if self.link.has(Misbehaviour::SecondSource) {
            let local = ports.video.rtp.local_addr()?.ip();
            let intruder = UdpSocket::bind((local, 0))?;
            intruder.set_nonblocking(true)?;
            self.intruder = Some(intruder);
        }
        self.ports = Some((plan, ports));
        self.moves = true;
        self.link.begin();
        Ok(())
    }

    fn send_rtp(&mut self, now: Instant, track: Track, header: RtpHeader, payload: &[u8]) {
        let Some((_, ports)) = &self.ports else {
            return;
        };
        let pair = ports.pair(track);
        let mut fixed = [0; FIXED_HEADER_LEN];
        header.write(&mut fixed);
        self.scratch.clear();
        self.scratch.extend_from_slice(&fixed);
        self.scratch.extend_from_slice(payload);
        let intruder = &self.intruder;
        self.link
            .pass(now, Kind::Rtp, &mut self.scratch, |source, bytes| {
                match (source, intruder) {
                    (Source::Second, Some(intruder)) => pair.send_rtp_from(intruder, bytes),
                    (Source::Own | Source::Second, _) => pair.send_rtp(bytes),
                }
            });
    }

    fn send_rtcp(&mut self, now: Instant, track: Track, mut compound: Vec<u8>) {
        let Some((_, ports)) = &self.ports else {
            return;
        };
        let pair = ports.pair(track);
        self.link.pass(now, Kind::Rtcp, &mut compound, |_, bytes| {
            pair.send_rtcp(bytes)
        });
    }
}

/// `due`, or `now` where so much was missed that it is not worth catching up.
fn caught_up(due: Instant, now: Instant) -> Instant {
    if now.saturating_duration_since(due) > MAX_LAG {
        now
    } else {
        due
    }
}
