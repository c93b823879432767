//! A viewer's media side that shares no code with ours: str0m on a socket of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;
use tokio::time::sleep_until;

use super::within;

/// What a viewer notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noticed {
    Connected,
    Picture,
    Sound,
}

pub(crate) struct Viewer {
    rtc: Rtc,
    socket: UdpSocket,
    address: SocketAddr,
    offer: String,
    pending: Option<SdpPendingOffer>,
}

impl Viewer {
    /// One that can show what cameras send.
    pub(crate) async fn new(address: Ipv4Addr) -> Self {
        Self::with(address, |rtc| rtc.enable_h264(true)).await
    }

    /// One whose browser knows no H.264.
    pub(crate) async fn without_h264(address: Ipv4Addr) -> Self {
        Self::with(address, |rtc| rtc.enable_vp8(true)).await
    }

    async fn with(address: Ipv4Addr, video: impl FnOnce(RtcConfig) -> RtcConfig) -> Self {
        let socket = UdpSocket::bind((address, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let codecs = Rtc::builder().clear_codecs().enable_opus(true, false);
        let mut rtc = video(codecs).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut changes = rtc.sdp_api();
        for kind in [MediaKind::Video, MediaKind::Audio] {
            changes.add_media(kind, Direction::RecvOnly, None, None, None);
        }
        let (offer, pending) = changes.apply().unwrap();
        Self {
            rtc,
            socket,
            address,
            offer: offer.to_sdp_string(),
            pending: Some(pending),
        }
    }

    pub(crate) fn offer(&self) -> &str {
        &self.offer
    }

    pub(crate) fn accept(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        let pending = self.pending.take().unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    }

    /// Takes a candidate of the server's; what str0m does not know (TCP) is passed over, as browsers do.
    pub(crate) fn add_candidate(&mut self, candidate: &str) {
        if let Ok(candidate) = Candidate::from_sdp_string(candidate) {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    /// Lives until it notices something. Nothing is lost when it is not waited for to its end.
    pub(crate) async fn next(&mut self) -> Noticed {
        loop {
            let wake = match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => at,
                Output::Transmit(datagram) => {
                    // One that the system does not take is lost, as on any way.
                    let _ = self
                        .socket
                        .try_send_to(&datagram.contents, datagram.destination);
                    continue;
                }
                Output::Event(event) => match noticed(&event) {
                    Some(noticed) => return noticed,
                    None => continue,
                },
            };
            let mut buffer = [0; 2_000];
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => self.receive(received, &buffer),
                () = sleep_until(wake.into()) => {
                    self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
                }
            }
        }
    }

    fn receive(&mut self, received: io::Result<(usize, SocketAddr)>, buffer: &[u8]) {
        // An error is of a datagram sent before, to somebody who is gone.
        let Ok((length, source)) = received else {
            return;
        };
        let Ok(contents) = buffer[..length].try_into() else {
            return;
        };
        let receive = Receive {
            proto: Protocol::Udp,
            source,
            destination: self.address,
            contents,
        };
        let input = Input::Receive(Instant::now(), receive);
        self.rtc.handle_input(input).unwrap();
    }

    /// Lives until it has noticed this so often.
    pub(crate) async fn until(&mut self, wanted: Noticed, count: usize) {
        within(&format!("{count} times {wanted:?}"), async {
            let mut seen = 0;
            while seen < count {
                seen += usize::from(self.next().await == wanted);
            }
        })
        .await;
    }
}

fn noticed(event: &Event) -> Option<Noticed> {
    if let Event::MediaData(data) = event {
        let is_video = data.params.spec().codec.is_video();
        return Some(if is_video {
            Noticed::Picture
        } else {
            Noticed::Sound
        });
    }
    matches!(event, Event::Connected).then_some(Noticed::Connected)
}
