//! A viewer: str0m on a socket of its own.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::{DEADLINE, Frame};

/// What a viewer offers for video, the first first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codecs {
    H264,
    Vp8AndH264,
}

pub(crate) struct Viewer {
    rtc: Rtc,
    socket: UdpSocket,
    pub(crate) offer: String,
    pending: Option<SdpPendingOffer>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) sounds: Vec<Vec<u8>>,
    pub(crate) connected: bool,
    video: Option<Mid>,
}

impl Viewer {
    pub(crate) fn new(address: Ipv4Addr, codecs: Codecs) -> Self {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        let mut rtc = Rtc::builder()
            .clear_codecs()
            .enable_vp8(codecs == Codecs::Vp8AndH264)
            .enable_h264(true)
            .enable_opus(true, false)
            .build(Instant::now());
        let own = Candidate::host(socket.local_addr().unwrap(), "udp").unwrap();
        rtc.add_local_candidate(own);
        let mut changes = rtc.sdp_api();
        for kind in [MediaKind::Audio, MediaKind::Video] {
            changes.add_media(kind, Direction::RecvOnly, None, None, None);
        }
        let (offer, pending) = changes.apply().unwrap();
        Self {
            rtc,
            socket,
            offer: offer.to_sdp_string(),
            pending: Some(pending),
            frames: Vec::new(),
            sounds: Vec::new(),
            connected: false,
            video: None,
        }
    }

    pub(crate) fn accept(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        let pending = self.pending.take().unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    }

    /// Whatever str0m cannot use is left out.
    pub(crate) fn add_candidate(&mut self, candidate: &str) {
        let of_rtp = candidate.split(' ').nth(1) == Some("1");
        if let (true, Ok(candidate)) = (of_rtp, Candidate::from_sdp_string(candidate)) {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    /// Lives until `done`.
    #[track_caller]
    pub(crate) fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "not in time: {what}; connected {}, {} frames, {} sounds",
                self.connected,
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

    pub(crate) fn request_key_frame(&mut self) {
        let mid = self.video.expect("video has come");
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx_by_mid(mid, None).unwrap();
        stream.request_keyframe(KeyframeRequestKind::Pli);
    }

    pub(crate) fn send_remb(&mut self, bps: u64) {
        let mid = self.video.expect("video has come");
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx_by_mid(mid, None).unwrap();
        stream.request_remb(str0m::bwe::Bitrate::bps(bps));
    }

    /// Says goodbye by DTLS.
    pub(crate) fn leave(&mut self) {
        self.rtc.close().unwrap();
        while let Ok(Output::Transmit(datagram)) = self.rtc.poll_output() {
            let _ = self
                .socket
                .send_to(&datagram.contents, datagram.destination);
        }
    }

    pub(crate) fn turn(&mut self) {
        let wait = loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => break at.saturating_duration_since(Instant::now()),
                Output::Transmit(datagram) => {
                    // Some candidates are at addresses that cannot be reached from here.
                    let _ = self
                        .socket
                        .send_to(&datagram.contents, datagram.destination);
                }
                Output::Event(event) => self.note(event),
            }
        };
        let mut buffer = [0; 2_000];
        let wait = wait.clamp(Duration::from_millis(1), Duration::from_millis(20));
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let input = match self.socket.recv_from(&mut buffer) {
            Ok((length, source)) => Input::Receive(
                Instant::now(),
                Receive {
                    proto: Protocol::Udp,
                    source,
                    destination: self.socket.local_addr().unwrap(),
                    contents: buffer[..length].try_into().unwrap(),
                },
            ),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Input::Timeout(Instant::now())
            }
            Err(error) => panic!("{error}"),
        };
        self.rtc.handle_input(input).unwrap();
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::MediaData(data) if data.params.spec().codec.is_video() => {
                self.video = Some(data.mid);
                self.frames.push(Frame::from_annex_b(&data.data));
            }
            Event::MediaData(data) => self.sounds.push(data.data.to_vec()),
            _ => {}
        }
    }
}
