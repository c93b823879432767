//! The gateway's side of RTP: four ports that collect what comes, and feedback that goes back to where
//! RTCP came from.

use std::net::{Ipv4Addr, SocketAddr};

use apiary_wire::rtcp::RtcpWriter;
use apiary_wire::rtp::{RtpHeader, RtpPacket};
use apiary_wire::sdp::CameraSdp;
use apiary_wire::{Bitrate, Ssrc, StreamId};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::PATIENCE;

const OWN_SSRC: Ssrc = Ssrc(0xABCD);
pub(crate) const VIDEO_SSRC: Ssrc = Ssrc(0x0101_0202);
pub(crate) const AUDIO_SSRC: Ssrc = Ssrc(0x0303_0404);

/// A datagram of the camera.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) from: SocketAddr,
    /// 0 for video, 1 for audio.
    pub(crate) medium: usize,
    pub(crate) rtcp: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self) -> RtpHeader {
        RtpPacket::parse(&self.bytes).unwrap().header()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        RtpPacket::parse(&self.bytes).unwrap().payload
    }
}

pub(crate) struct Receiver {
    stream: StreamId,
    ports: [u16; 2],
    video_rtcp: std::net::UdpSocket,
    datagrams: mpsc::UnboundedReceiver<Received>,
    /// From where the camera sends video.
    video_source: Option<SocketAddr>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    /// Listens on two fresh pairs of neighbouring ports.
    pub(crate) fn open() -> Self {
        let (sender, datagrams) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let pairs = [neighbours(), neighbours()];
        let ports = [0, 1].map(|medium: usize| pairs[medium].0.local_addr().unwrap().port());
        let video_rtcp = pairs[0].1.try_clone().unwrap();
        for (medium, (rtp, rtcp)) in pairs.into_iter().enumerate() {
            for (rtcp, socket) in [(false, rtp), (true, rtcp)] {
                tasks.spawn(receive(socket, medium, rtcp, sender.clone()));
            }
        }
        Self {
            stream: StreamId(Uuid::new_v4()),
            ports,
            video_rtcp,
            datagrams,
            video_source: None,
            _tasks: tasks,
        }
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.stream
    }

    pub(crate) fn sdp(&self) -> CameraSdp {
        CameraSdp {
            session_id: 1,
            version: 1,
            address: Ipv4Addr::LOCALHOST,
            audio_port: self.ports[1],
            video_port: self.ports[0],
            audio_ssrc: AUDIO_SSRC,
            video_ssrc: VIDEO_SSRC,
            cname: "test@receiver".to_owned(),
        }
    }

    /// The next datagram of any kind.
    pub(crate) async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(PATIENCE, self.datagrams.recv()).await;
        let received = next.expect("the camera sends").expect("the tasks run");
        if received.medium == 0 && !received.rtcp {
            self.video_source = Some(received.from);
        }
        received
    }

    /// The next one that `wanted` takes.
    pub(crate) async fn find(&mut self, mut wanted: impl FnMut(&Received) -> bool) -> Received {
        loop {
            let received = self.next().await;
            if wanted(&received) {
                return received;
            }
        }
    }

    pub(crate) async fn next_rtp(&mut self) -> Received {
        self.find(|received| !received.rtcp).await
    }

    pub(crate) async fn next_video(&mut self) -> Received {
        self.find(|received| received.medium == 0 && !received.rtcp)
            .await
    }

    /// Takes everything that was sent before this call, and says whether video was among it.
    pub(crate) async fn drain(&mut self) -> bool {
        let marker = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let from = marker.local_addr().unwrap();
        marker
            .send_to(b"marker", (Ipv4Addr::LOCALHOST, self.ports[0]))
            .unwrap();
        let mut any = false;
        loop {
            let next = tokio::time::timeout(PATIENCE, self.datagrams.recv()).await;
            let received = next.expect("the marker comes").expect("the tasks run");
            if received.from == from {
                return any;
            }
            any |= received.medium == 0 && !received.rtcp;
        }
    }

    /// Sends feedback about video to the camera's RTCP port, after an empty receiver report.
    pub(crate) fn feedback(&self, write: impl FnOnce(&mut RtcpWriter<'_>, Ssrc)) {
        self.feedback_to(1, write);
    }

    /// The same to the camera's RTP port.
    pub(crate) fn feedback_to_rtp_port(&self, write: impl FnOnce(&mut RtcpWriter<'_>, Ssrc)) {
        self.feedback_to(0, write);
    }

    pub(crate) fn remb(&self, kbps: u64) {
        self.feedback(|writer, own| {
            writer.remb(own, Bitrate::from_kbps(kbps), &[VIDEO_SSRC]);
        });
    }

    fn feedback_to(&self, step: u16, write: impl FnOnce(&mut RtcpWriter<'_>, Ssrc)) {
        let mut to = self.video_source.expect("video has come");
        to.set_port(to.port() + step);
        let mut compound = Vec::new();
        let mut writer = RtcpWriter::new(&mut compound);
        writer.receiver_report(OWN_SSRC, &[]);
        write(&mut writer, OWN_SSRC);
        self.video_rtcp.send_to(&compound, to).unwrap();
    }
}

async fn receive(
    socket: std::net::UdpSocket,
    medium: usize,
    rtcp: bool,
    sender: mpsc::UnboundedSender<Received>,
) {
    let socket = UdpSocket::from_std(socket).unwrap();
    let mut buffer = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let received = Received {
            from,
            medium,
            rtcp,
            bytes: buffer[..length].to_vec(),
        };
        if sender.send(received).is_err() {
            return;
        }
    }
}

fn neighbours() -> (std::net::UdpSocket, std::net::UdpSocket) {
    for _ in 0..1000 {
        let low = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let Some(above) = low.local_addr().unwrap().port().checked_add(1) else {
            continue;
        };
        if let Ok(high) = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, above)) {
            low.set_nonblocking(true).unwrap();
            high.set_nonblocking(true).unwrap();
            return (low, high);
        }
    }
    panic!("no two neighbouring ports are free");
}
