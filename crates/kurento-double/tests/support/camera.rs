//! A camera as an RtpEndpoint sees it: plain RTP from any port, sender reports, and RTCP that comes back.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use apiary_wire::h264::{Packetizer, nal_units};
use apiary_wire::rtcp::{RtcpPacket, RtcpWriter, SenderInfo, parse_compound};
use apiary_wire::rtp::{FIXED_HEADER_LEN, RtpHeader};
use apiary_wire::sdp::{Document, MediaKind};
use apiary_wire::units::{NtpTime, PayloadType, Ssrc};

use super::DEADLINE;

pub(crate) const AUDIO_SSRC: Ssrc = Ssrc(11_111_111);
pub(crate) const VIDEO_SSRC: Ssrc = Ssrc(22_222_222);
const OPUS: u8 = 96;
const H264: u8 = 103;

/// The offer for it, as a client writes it.
pub(crate) fn offer() -> String {
    let lines = [
        "v=0",
        "o=- 0 0 IN IP4 0.0.0.0",
        "s=camera",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "m=audio 9 RTP/AVPF 96",
        "a=rtpmap:96 opus/48000/2",
        "a=sendonly",
        "a=direction:active",
        "a=ssrc:11111111 cname:camera",
        "m=video 9 RTP/AVPF 103",
        "a=rtpmap:103 H264/90000",
        "a=fmtp:103 packetization-mode=1;profile-level-id=42e01f;level-asymmetry-allowed=1",
        "a=rtcp-fb:103 goog-remb",
        "a=rtcp-fb:103 nack",
        "a=rtcp-fb:103 nack pli",
        "a=rtcp-fb:103 ccm fir",
        "a=sendonly",
        "a=direction:active",
        "a=ssrc:22222222 cname:camera",
        "",
    ];
    lines.join("\r\n")
}

/// One picture, as a list of NAL units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) Vec<Vec<u8>>);

impl Frame {
    /// Parameter sets and a picture of several packets, different for each number.
    pub(crate) fn idr(number: u8) -> Self {
        let slice = (0..5_000).map(|at| (at as u8 ^ number) | 1);
        Self(vec![
            vec![0x67, 0x42, 0xe0, 0x1f, number | 1],
            vec![0x68, 0xce, 0x3c, 0x81],
            [0x65].into_iter().chain(slice).collect(),
        ])
    }

    /// A picture that needs the one before.
    pub(crate) fn delta(number: u8) -> Self {
        let slice = (0..1_800).map(|at| (at as u8).wrapping_add(number) | 1);
        Self(vec![[0x41].into_iter().chain(slice).collect()])
    }

    pub(crate) fn from_annex_b(bytes: &[u8]) -> Self {
        Self(nal_units(bytes).map(<[u8]>::to_vec).collect())
    }

    fn to_annex_b(&self) -> Vec<u8> {
        let unit = |unit: &Vec<u8>| [&[0, 0, 0, 1], unit.as_slice()].concat();
        self.0.iter().flat_map(unit).collect()
    }
}

/// One RTCP packet that came back, as far as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Feedback {
    Remb {
        sender: Ssrc,
        bps: u64,
        ssrcs: Vec<Ssrc>,
    },
    Fir(Vec<Ssrc>),
    Pli(Ssrc),
    Report {
        sender: Ssrc,
        about: Option<Ssrc>,
    },
    Cname,
    Other,
}

/// The camera.
pub(crate) struct Camera {
    /// Everything leaves from here.
    pub(crate) socket: UdpSocket,
    server: Ipv4Addr,
    audio: Track,
    video: Track,
}

#[derive(Clone, Copy, Debug)]
struct Track {
    ssrc: Ssrc,
    payload_type: u8,
    port: u16,
    sequence_number: u16,
    timestamp: u32,
    packets: u32,
}

impl Camera {
    /// Sends as an answer says.
    pub(crate) fn new(server: Ipv4Addr, answer: &str) -> Self {
        let answer = Document::parse(answer).unwrap();
        let track = |kind, ssrc, payload_type| {
            let media = answer.media().iter().find(|media| media.kind() == kind);
            Track {
                ssrc,
                payload_type,
                port: media.unwrap().port(),
                sequence_number: 65_530,
                timestamp: 1_000,
                packets: 0,
            }
        };
        let socket = UdpSocket::bind((server, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        Self {
            socket,
            server,
            audio: track(MediaKind::Audio, AUDIO_SSRC, OPUS),
            video: track(MediaKind::Video, VIDEO_SSRC, H264),
        }
    }

    /// Sends one picture; 1/20 s passes on its clock.
    pub(crate) fn send(&mut self, frame: &Frame) {
        let mut packets = Vec::new();
        Packetizer::new(1_100).packetize(&frame.to_annex_b(), |payload, marker| {
            packets.push((payload.to_vec(), marker));
        });
        for (payload, marker) in packets {
            let datagram = self.video.packet(&payload, marker);
            self.send_to(self.video.port, &datagram);
        }
        self.video.timestamp = self.video.timestamp.wrapping_add(4_500);
    }

    /// Sends 20 ms of sound.
    pub(crate) fn send_sound(&mut self, payload: &[u8]) {
        let datagram = self.audio.packet(payload, false);
        self.send_to(self.audio.port, &datagram);
        self.audio.timestamp = self.audio.timestamp.wrapping_add(960);
    }

    /// Sends a sender report of the video, to the port of RTP plus `offset`.
    pub(crate) fn send_report(&self, offset: u16) {
        let mut out = Vec::new();
        let info = SenderInfo {
            ssrc: self.video.ssrc,
            ntp: NtpTime(1 << 32),
            rtp_time: self.video.timestamp,
            packet_count: self.video.packets,
            octet_count: 0,
        };
        RtcpWriter::new(&mut out)
            .sender_report(info, &[])
            .sdes_cname(self.video.ssrc, "camera");
        self.send_to(self.video.port + offset, &out);
    }

    fn send_to(&self, port: u16, datagram: &[u8]) {
        self.socket.send_to(datagram, (self.server, port)).unwrap();
    }

    pub(crate) fn video_rtcp(&self) -> SocketAddr {
        (self.server, self.video.port + 1).into()
    }

    /// The next compound that came back; where nothing comes for a moment, nothing.
    pub(crate) fn poll(&self) -> Option<(Vec<Feedback>, SocketAddr)> {
        let mut buffer = [0; 2_000];
        let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
        let packets = parse_compound(&buffer[..length]).map(|packet| match packet.unwrap() {
            RtcpPacket::Remb(remb) => Feedback::Remb {
                sender: remb.sender_ssrc,
                bps: remb.bitrate.as_bps(),
                ssrcs: remb.ssrcs.iter().collect(),
            },
            RtcpPacket::Fir(fir) => Feedback::Fir(fir.entries().map(|entry| entry.ssrc).collect()),
            RtcpPacket::Pli(pli) => Feedback::Pli(pli.media_ssrc),
            RtcpPacket::ReceiverReport(report) => Feedback::Report {
                sender: report.ssrc,
                about: report.reports.iter().next().map(|block| block.ssrc),
            },
            RtcpPacket::SourceDescription(_) => Feedback::Cname,
            _ => Feedback::Other,
        });
        Some((packets.collect(), from))
    }

    /// The next REMB; meanwhile the camera goes on sending small pictures and reports.
    #[track_caller]
    pub(crate) fn wait_remb(&mut self) -> u64 {
        self.wait("a REMB", |packets| {
            packets.iter().find_map(|packet| match packet {
                Feedback::Remb { bps, .. } => Some(*bps),
                _ => None,
            })
        })
    }

    /// Goes on streaming until something has come back.
    #[track_caller]
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&[Feedback]) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            self.send(&Frame::delta(7));
            self.send_report(1);
            if let Some(found) = self.poll().and_then(|(packets, _)| pick(&packets)) {
                return found;
            }
        }
        panic!("not in time: {what}");
    }
}

impl Track {
    fn packet(&mut self, payload: &[u8], marker: bool) -> Vec<u8> {
        let mut header = [0; FIXED_HEADER_LEN];
        RtpHeader {
            marker,
            payload_type: PayloadType::new(self.payload_type).unwrap(),
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        }
        .write(&mut header);
        self.sequence_number = self.sequence_number.wrapping_add(1);
        self.packets += 1;
        [header.as_slice(), payload].concat()
    }
}
