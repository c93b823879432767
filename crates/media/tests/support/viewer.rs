//! A viewer that shares no code with the engine: str0m on a socket of its own.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::{DEADLINE, Frame};

/// The viewer, with everything that it got.
pub(crate) struct Viewer {
    rtc: Rtc,
    pub(crate) socket: UdpSocket,
    offer: String,
    pending: Option<SdpPendingOffer>,
    /// Where the engine serves it, from the answer.
    pub(crate) engine: Option<SocketAddr>,
    pub(crate) frames: Vec<Frame>,
    /// The RTP timestamps of the frames, extended.
    pub(crate) times: Vec<u64>,
    /// No sequence number was missing between frames.
    pub(crate) contiguous: bool,
    pub(crate) sounds: Vec<Vec<u8>>,
    /// The section of the sound, and what was said in it so far.
    sound: Mid,
    said: u64,
    pub(crate) connected: bool,
    pub(crate) wire: Wire,
}

/// What a test does to the viewer's datagrams.
#[derive(Default)]
pub(crate) struct Wire {
    /// This many RTP packets get lost once `skip` more have passed.
    pub(crate) lose: usize,
    pub(crate) skip: usize,
    /// RTP packets that arrived.
    pub(crate) rtp: usize,
    /// A DTLS alert came after the handshake: goodbye.
    pub(crate) alerts: usize,
    /// Sends what the viewer sends of DTLS, before it.
    pub(crate) shadow: Option<UdpSocket>,
    /// How often it did.
    pub(crate) shadowed: usize,
    /// Its last ICE check.
    pub(crate) request: Option<Vec<u8>>,
}

/// What a viewer is like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    See,
    /// Knows VP8 as well, and would like that best.
    Vp8,
    /// Offers to send sound.
    Speak,
}

fn new_rtc(socket: &UdpSocket, wish: Wish) -> (Rtc, String, SdpPendingOffer, Mid) {
    let mut rtc = Rtc::builder()
        .clear_codecs()
        .enable_vp8(wish == Wish::Vp8)
        .enable_h264(true)
        .enable_opus(true, false)
        .build(Instant::now());
    let own = Candidate::host(socket.local_addr().unwrap(), "udp").unwrap();
    rtc.add_local_candidate(own);
    let mut changes = rtc.sdp_api();
    changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let sound = match wish {
        Wish::Speak => Direction::SendRecv,
        Wish::See | Wish::Vp8 => Direction::RecvOnly,
    };
    let sound = changes.add_media(MediaKind::Audio, sound, None, None, None);
    let (offer, pending) = changes.apply().unwrap();
    (rtc, offer.to_sdp_string(), pending, sound)
}

/// The offer of a viewer that will never connect.
pub(crate) fn offer(address: Ipv4Addr) -> String {
    new_rtc(&UdpSocket::bind((address, 0)).unwrap(), Wish::See).1
}

impl Viewer {
    pub(crate) fn new(address: Ipv4Addr) -> Self {
        Self::with(address, Wish::See)
    }

    /// Like a browser: VP8 is what it would like best.
    pub(crate) fn with_vp8_first(address: Ipv4Addr) -> Self {
        let viewer = Self::with(address, Wish::Vp8);
        let at = |name| viewer.offer.find(name).unwrap();
        assert!(at("VP8/90000") < at("H264/90000"), "{}", viewer.offer);
        viewer
    }

    /// Offers to send sound as well.
    pub(crate) fn who_speaks(address: Ipv4Addr) -> Self {
        Self::with(address, Wish::Speak)
    }

    fn with(address: Ipv4Addr, wish: Wish) -> Self {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        let (rtc, offer, pending, sound) = new_rtc(&socket, wish);
        Self {
            rtc,
            socket,
            offer,
            pending: Some(pending),
            engine: None,
            frames: Vec::new(),
            times: Vec::new(),
            contiguous: true,
            sounds: Vec::new(),
            sound,
            said: 0,
            connected: false,
            wire: Wire::default(),
        }
    }

    pub(crate) fn offer(&self) -> &str {
        &self.offer
    }

    pub(crate) fn accept(&mut self, answer: &str) {
        let candidate = answer.lines().find(|line| line.starts_with("a=candidate:"));
        if let Some(candidate) = candidate {
            let words: Vec<&str> = candidate.split(' ').collect();
            self.engine = Some(format!("{}:{}", words[4], words[5]).parse().unwrap());
        }
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        let pending = self.pending.take().unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    }

    /// Its offer without its candidates, which are the second.
    pub(crate) fn offer_without_candidates(&self) -> (String, Vec<String>) {
        let is_candidate = |line: &&str| line.starts_with("a=candidate:");
        let offer = self.offer.split_inclusive('\n');
        let without = offer
            .clone()
            .filter(|line| !is_candidate(line) && !line.starts_with("a=end-of-candidates"));
        let candidates = offer.filter(is_candidate);
        let bare = |line: &str| line.trim().trim_start_matches("a=").to_owned();
        (without.collect(), candidates.map(bare).collect())
    }

    /// Takes a candidate of the engine's; what str0m does not know (TCP) is passed over, as browsers do.
    pub(crate) fn add_candidate(&mut self, candidate: &str) {
        if let Ok(candidate) = Candidate::from_sdp_string(candidate) {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    /// Says 20 ms of this.
    pub(crate) fn say(&mut self, frame: &[u8]) {
        let time = MediaTime::new(self.said * 960, Frequency::FORTY_EIGHT_KHZ);
        self.said += 1;
        let writer = self.rtc.writer(self.sound).expect("sound may be sent");
        let payload_type = writer.payload_params().next().unwrap().pt();
        writer
            .write(payload_type, Instant::now(), time, frame)
            .unwrap();
    }

    /// Whether the answer lets it speak.
    pub(crate) fn may_speak(&self) -> bool {
        let sound = self.rtc.media(self.sound);
        sound.is_some_and(|sound| sound.direction().is_sending())
    }

    /// Lives until `done`.
    #[track_caller]
    pub(crate) fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "not in time: {what}; connected {}, {} RTP packets, {} frames, {} sounds",
                self.connected,
                self.wire.rtp,
                self.frames.len(),
                self.sounds.len()
            );
            self.turn();
        }
    }

    #[track_caller]
    pub(crate) fn connect(&mut self) {
        self.run_until("connected", |viewer| viewer.connected);
    }

    #[track_caller]
    pub(crate) fn expect_frame(&mut self, frame: &Frame) {
        self.run_until("the frame", |viewer| viewer.frames.contains(frame));
    }

    /// Says that it is still there, without a look at what came: its last connectivity check, once more.
    pub(crate) fn check_in(&self) {
        let request = self.wire.request.as_ref().expect("it is connected");
        self.socket.send_to(request, self.engine.unwrap()).unwrap();
    }

    /// Counts what has arrived already.
    pub(crate) fn drain(&mut self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_000];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.passes(&buffer[..length]);
        }
        self.socket.set_nonblocking(false).unwrap();
    }

    fn turn(&mut self) {
        let wait = loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => break at.saturating_duration_since(Instant::now()),
                Output::Transmit(datagram) => {
                    self.transmit(datagram.destination, &datagram.contents)
                }
                Output::Event(event) => self.note(event),
            }
        };
        let mut buffer = [0; 2_000];
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(50));
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let input = match self.socket.recv_from(&mut buffer) {
            Ok((length, source)) if self.passes(&buffer[..length]) => Input::Receive(
                Instant::now(),
                Receive {
                    proto: Protocol::Udp,
                    source,
                    destination: self.socket.local_addr().unwrap(),
                    contents: buffer[..length].try_into().unwrap(),
                },
            ),
            Ok(_) => return,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Input::Timeout(Instant::now())
            }
            Err(error) => panic!("{error}"),
        };
        self.rtc.handle_input(input).unwrap();
    }

    fn transmit(&mut self, destination: SocketAddr, datagram: &[u8]) {
        match datagram[0] {
            0..=3 => self.wire.request = Some(datagram.to_vec()),
            20..=63 => {
                if let Some(shadow) = &self.wire.shadow {
                    shadow.send_to(datagram, destination).unwrap();
                    self.wire.shadowed += 1;
                }
            }
            _ => {}
        }
        self.socket.send_to(datagram, destination).unwrap();
    }

    fn passes(&mut self, datagram: &[u8]) -> bool {
        let wire = &mut self.wire;
        match datagram {
            // Sealed alerts are of content type 21.
            [21, ..] => wire.alerts += 1,
            [128..=191, second, ..] if !(192..=223).contains(second) => {
                if wire.skip > 0 {
                    wire.skip -= 1;
                } else if wire.lose > 0 {
                    wire.lose -= 1;
                    return false;
                }
                wire.rtp += 1;
            }
            _ => {}
        }
        true
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::MediaData(data) if data.params.spec().codec.is_video() => {
                self.frames.push(Frame::from_annex_b(&data.data));
                self.times.push(data.time.numer());
                self.contiguous &= data.contiguous;
            }
            Event::MediaData(data) => self.sounds.push(data.data.to_vec()),
            _ => {}
        }
    }
}
