//! The media of one WebRtcEndpoint: a str0m peer on one socket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apiary_wire::h264;
use serde_json::json;
use str0m::bwe::BweKind;
use str0m::media::{Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::UnboundedReceiver;

use super::context::Context;
use super::facts::{IceState, SharedFacts};
use super::flow::Flow;
use super::leg::LegOrder;
use super::wiring::{Codec, Forwarded, LegMailbox, Medium, ViewerLimits};
use crate::server::Voice;

const MAX_DATAGRAM: usize = 2_048;
/// How often it is looked whether media still flows.
const FLOW_CHECK: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) enum PeerOrder {
    Negotiated(Box<Peer>),
    /// A candidate of the other side, as text.
    Candidate(String),
    /// Where its media comes from.
    Source(Option<LegMailbox>),
    Limits(ViewerLimits),
    Media(Forwarded),
    KeyFrame,
    Close,
}

/// What was negotiated.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) rtc: Rtc,
    pub(crate) socket: UdpSocket,
    pub(crate) tracks: Vec<PeerTrack>,
    /// The candidate that the socket is behind, as it was told.
    pub(crate) candidate: String,
    /// In the names of its DTLS connection.
    pub(crate) number: u64,
}

/// What is sent of one medium.
#[derive(Debug)]
pub(crate) struct PeerTrack {
    pub(crate) medium: Medium,
    pub(crate) mid: Mid,
    pub(crate) ssrc: Ssrc,
    pub(crate) payload_type: Pt,
    pub(crate) codec: Codec,
}

/// A track at work.
struct Line {
    track: PeerTrack,
    flow: Flow,
    run: Option<Run>,
    last: Option<Last>,
}

/// One run of a source, and what brings its numbers behind those of the run before: a Kurento packs media anew for its viewers, so
/// that for them it is one, whatever becomes of the camera.
#[derive(Clone, Copy)]
struct Run {
    ssrc: u32,
    sequence_shift: u16,
    time_shift: u32,
}

/// The last packet that a viewer was sent.
#[derive(Clone, Copy)]
struct Last {
    /// Extended.
    sequence: u64,
    timestamp: u32,
    at: Instant,
}

struct Running {
    peer: Peer,
    lines: Vec<Line>,
    remote: Option<SocketAddr>,
    candidates: Vec<String>,
    ice_up: bool,
    sent_media: bool,
}

pub(crate) async fn run(
    mut orders: UnboundedReceiver<PeerOrder>,
    voice: Voice,
    facts: SharedFacts,
) {
    let mut context = Context::new(voice, facts);
    let mut early = Vec::new();
    let mut running = loop {
        match orders.recv().await {
            None | Some(PeerOrder::Close) => return,
            Some(PeerOrder::Negotiated(peer)) => break Running::new(*peer),
            Some(PeerOrder::Candidate(candidate)) => early.push(candidate),
            Some(order) => context.obey(order),
        }
    };
    for candidate in early {
        running.add_candidate(candidate);
    }
    // Ends when the other side is gone; then orders are read on, and change nothing.
    if running.serve(&mut orders, &mut context).await.is_break() {
        return;
    }
    context.gone();
    drop(running);
    while let Some(order) = orders.recv().await {
        if matches!(order, PeerOrder::Close) {
            return;
        }
    }
}

impl Running {
    fn new(peer: Peer) -> Self {
        let mut peer = peer;
        let tracks = std::mem::take(&mut peer.tracks).into_iter();
        Self {
            lines: tracks.map(Line::new).collect(),
            peer,
            remote: None,
            candidates: Vec::new(),
            ice_up: false,
            sent_media: false,
        }
    }

    /// Until the peer is gone (continue) or the endpoint is released (break).
    async fn serve(
        &mut self,
        orders: &mut UnboundedReceiver<PeerOrder>,
        context: &mut Context,
    ) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        let mut buffer = [0; MAX_DATAGRAM];
        let mut flow_check = tokio::time::interval(FLOW_CHECK);
        loop {
            let Ok(Some(timeout)) = self.drain(context) else {
                return Continue(());
            };
            tokio::select! {
                order = orders.recv() => match order {
                    None | Some(PeerOrder::Close) => {
                        self.say_goodbye();
                        return Break(());
                    }
                    Some(PeerOrder::Candidate(candidate)) => self.add_candidate(candidate),
                    Some(PeerOrder::Media(forwarded)) => self.forward(&forwarded, context),
                    Some(order) => context.obey(order),
                },
                received = self.peer.socket.recv_from(&mut buffer) => {
                    if let Ok((len, from)) = received {
                        self.datagram(&buffer[..len], from);
                    }
                }
                () = tokio::time::sleep_until(timeout.into()) => {
                    if self.peer.rtc.handle_input(Input::Timeout(Instant::now())).is_err() {
                        return Continue(());
                    }
                }
                _ = flow_check.tick() => {
                    for line in &mut self.lines {
                        line.check_flow(context);
                    }
                }
            }
        }
    }

    /// Sends and tells what there is; when to be called next, or nothing once the peer is gone.
    fn drain(&mut self, context: &mut Context) -> Result<Option<Instant>, RtcError> {
        loop {
            match self.peer.rtc.poll_output()? {
                Output::Timeout(at) => {
                    return Ok(self.peer.rtc.is_alive().then_some(at));
                }
                Output::Transmit(datagram) => {
                    let socket = &self.peer.socket;
                    // What cannot be sent is lost, as it may be anywhere on its way.
                    let _ = socket.try_send_to(&datagram.contents, datagram.destination);
                }
                Output::Event(Event::Closed) => return Ok(None),
                Output::Event(Event::IceConnectionStateChange(state)) => match state {
                    IceConnectionState::Disconnected => return Ok(None),
                    IceConnectionState::New => {}
                    IceConnectionState::Checking => context.ice(IceState::Connecting, "CONNECTING"),
                    IceConnectionState::Connected | IceConnectionState::Completed => {
                        self.ice_is_up(context);
                    }
                },
                Output::Event(Event::Connected) => {
                    context.dtls(self.peer.number, "CONNECTED");
                    context.connected();
                }
                Output::Event(Event::EgressBitrateEstimate(BweKind::Remb { estimate, .. })) => {
                    context.viewers_remb(estimate.as_u64());
                    self.note_remb(estimate.as_u64(), context);
                }
                Output::Event(Event::KeyframeRequest(_)) => {
                    self.note_key_frame_request(context);
                    context.tell_source(LegOrder::KeyFrame);
                }
                Output::Event(_) => {}
            }
        }
    }

    fn datagram(&mut self, datagram: &[u8], from: SocketAddr) {
        let Ok(destination) = self.peer.socket.local_addr() else {
            return;
        };
        let Ok(contents) = datagram.try_into() else {
            return;
        };
        self.remote = Some(from);
        let input = Input::Receive(
            Instant::now(),
            Receive {
                proto: Protocol::Udp,
                source: from,
                destination,
                contents,
            },
        );
        if self.peer.rtc.accepts(&input) {
            // A bad datagram changes nothing.
            let _ = self.peer.rtc.handle_input(input);
        }
    }

    /// What cannot be read, or is no UDP, is as good as none.
    fn add_candidate(&mut self, text: String) {
        let line = text.strip_prefix("a=").unwrap_or(&text);
        let is_udp = line
            .split(' ')
            .nth(2)
            .is_some_and(|word| word.eq_ignore_ascii_case("udp"));
        // Component 2 would be RTCP on a port of its own, and that is never negotiated.
        let of_rtp = line.split(' ').nth(1) == Some("1");
        if let (true, true, Ok(candidate)) = (is_udp, of_rtp, Candidate::from_sdp_string(line)) {
            self.peer.rtc.add_remote_candidate(candidate);
            self.candidates.push(text);
        }
    }

    fn ice_is_up(&mut self, context: &mut Context) {
        if std::mem::replace(&mut self.ice_up, true) {
            return;
        }
        let pair = (self.peer.candidate.clone(), self.remote_candidate());
        context.facts.lock().pair = Some(pair.clone());
        let candidate_pair = json!({
            "__module__": "kurento",
            "__type__": "IceCandidatePair",
            "componentId": 1,
            "localCandidate": pair.0,
            "remoteCandidate": pair.1,
            "streamId": "1",
        });
        let data = json!({ "candidatePair": candidate_pair });
        context.voice.emit("NewCandidatePairSelected", data);
        context.ice(IceState::Ready, "CONNECTED");
        context.ice(IceState::Ready, "READY");
        context.dtls(self.peer.number, "CONNECTING");
    }

    fn remote_candidate(&self) -> String {
        let Some(remote) = self.remote else {
            return String::new();
        };
        let place = format!(" {} {} ", remote.ip(), remote.port());
        let known = self.candidates.iter().find(|text| text.contains(&place));
        known.cloned().unwrap_or_else(|| {
            let (ip, port) = (remote.ip(), remote.port());
            format!("candidate:10 1 UDP 1845494271 {ip} {port} typ prflx")
        })
    }

    fn forward(&mut self, packet: &Forwarded, context: &mut Context) {
        let of_it = |line: &&mut Line| line.track.medium == packet.medium;
        let Some(line) = self.lines.iter_mut().find(of_it) else {
            return;
        };
        let now = Instant::now();
        if line.flow.packet(now, &context.voice) {
            context.facts.lock().flowing_in.push(packet.medium);
        }
        // Another codec would have to be transcoded.
        if !context.connected || packet.codec != Some(line.track.codec) {
            return;
        }
        let Some(next) = line.next(packet, now) else {
            return;
        };
        let track = &line.track;
        let write = RtpWrite::new(
            track.payload_type,
            next.sequence.into(),
            next.timestamp,
            now,
            packet.payload.clone(),
        )
        .marker(packet.marker);
        if let Some(stream) = self.peer.rtc.direct_api().stream_tx(&track.ssrc) {
            stream.write_rtp(write);
        }
        let mut facts = context.facts.lock();
        let outbound = facts.outbound(packet.medium, *track.ssrc);
        outbound.packets += 1;
        outbound.bytes += packet.payload.len() as u64;
        let first = !std::mem::replace(&mut self.sent_media, true);
        facts.media_connected = true;
        drop(facts);
        if first {
            let data = json!({ "oldState": "DISCONNECTED", "newState": "CONNECTED" });
            context.voice.emit("MediaStateChanged", data);
        }
    }

    fn video(&self) -> Option<&PeerTrack> {
        let mut tracks = self.lines.iter().map(|line| &line.track);
        tracks.find(|track| track.medium == Medium::Video)
    }

    fn note_remb(&self, bps: u64, context: &Context) {
        if let Some(track) = self.video() {
            context
                .facts
                .lock()
                .outbound(track.medium, *track.ssrc)
                .remb = bps;
        }
    }

    fn note_key_frame_request(&self, context: &Context) {
        if let Some(track) = self.video() {
            let mut facts = context.facts.lock();
            facts.outbound(track.medium, *track.ssrc).key_frame_requests += 1;
        }
    }

    /// DTLS says so.
    fn say_goodbye(&mut self) {
        if self.peer.rtc.close().is_err() {
            return;
        }
        while let Ok(Output::Transmit(datagram)) = self.peer.rtc.poll_output() {
            let _ = self
                .peer
                .socket
                .try_send_to(&datagram.contents, datagram.destination);
        }
    }
}

impl Line {
    fn new(track: PeerTrack) -> Self {
        Self {
            flow: Flow::into_endpoint(track.medium),
            track,
            run: None,
            last: None,
        }
    }

    fn check_flow(&mut self, context: &Context) {
        if self.flow.check(Instant::now(), &context.voice) {
            let medium = self.track.medium;
            context
                .facts
                .lock()
                .flowing_in
                .retain(|flowing| *flowing != medium);
        }
    }

    /// The packet's numbers in the viewer's own count; none for what comes before the first IDR of a run.
    fn next(&mut self, packet: &Forwarded, now: Instant) -> Option<Last> {
        let run = match self.run.filter(|run| run.ssrc == packet.ssrc) {
            Some(run) => run,
            None if !begins_a_run(packet) => return None,
            None => self.begin_run(packet, now),
        };
        let number = packet.sequence_number.wrapping_add(run.sequence_shift);
        let last = self.last.map_or(u64::from(number), |last| last.sequence);
        let step = number.wrapping_sub(last as u16).cast_signed();
        let next = Last {
            sequence: last.checked_add_signed(step.into())?,
            timestamp: packet.timestamp.wrapping_add(run.time_shift),
            at: now,
        };
        if step >= 0 {
            self.last = Some(next);
        }
        Some(next)
    }

    fn begin_run(&mut self, packet: &Forwarded, now: Instant) -> Run {
        let run = match self.last {
            None => Run {
                ssrc: packet.ssrc,
                sequence_shift: 0,
                time_shift: 0,
            },
            Some(last) => {
                let passed = now.saturating_duration_since(last.at).as_secs_f64();
                let passed = passed * f64::from(self.track.codec.clock_rate());
                let (number, time) = (last.sequence as u16, last.timestamp);
                Run {
                    ssrc: packet.ssrc,
                    sequence_shift: number.wrapping_add(1).wrapping_sub(packet.sequence_number),
                    time_shift: time
                        .wrapping_add(passed as u32)
                        .wrapping_sub(packet.timestamp),
                }
            }
        };
        self.run = Some(run);
        run
    }
}

/// Video does with an IDR.
fn begins_a_run(packet: &Forwarded) -> bool {
    let begins = h264::inspect(&packet.payload).unwrap_or_default();
    packet.medium == Medium::Audio || begins.starts_idr || begins.has_sps
}
