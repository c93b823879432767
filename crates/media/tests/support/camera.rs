//! A camera: sends the pictures and the sound that a test wants, as the engine's SDP commands.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use apiary_media::engine::{IngestPorts, OpenedStream};
use apiary_wire::h264::{Packetizer, nal_units};
use apiary_wire::rtcp::{RtcpPacket, RtcpWriter, SenderInfo, parse_compound};
use apiary_wire::rtp::{FIXED_HEADER_LEN, RtpHeader};
use apiary_wire::sdp::camera::{H264, OPUS};
use apiary_wire::units::{Bitrate, NtpTime, PayloadType, Ssrc};

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

/// The camera.
pub(crate) struct Camera {
    socket: UdpSocket,
    /// Where it sends RTCP from, and is sent RTCP.
    rtcp: UdpSocket,
    engine: Ipv4Addr,
    pub(crate) ports: IngestPorts,
    pub(crate) video: Track,
    pub(crate) audio: Track,
    /// Datagrams so far, of any kind.
    pub(crate) sent: Cell<u64>,
}

/// Where a track stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    pub(crate) ssrc: Ssrc,
    pub(crate) payload_type: PayloadType,
    pub(crate) sequence_number: u16,
    pub(crate) timestamp: u32,
}

fn attribute(sdp: &str, name: &str) -> u32 {
    let start = format!("a={name}:");
    let line = sdp.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap().trim().parse().unwrap()
}

impl Camera {
    pub(crate) fn new(engine: Ipv4Addr, opened: &OpenedStream) -> Self {
        let track = |name, payload_type, timestamp| Track {
            ssrc: Ssrc(attribute(&opened.camera_sdp, name)),
            payload_type,
            sequence_number: 65_530,
            timestamp,
        };
        Self {
            socket: UdpSocket::bind((engine, 0)).unwrap(),
            rtcp: UdpSocket::bind((engine, 0)).unwrap(),
            engine,
            ports: opened.ingest,
            video: track("x-skl-ssrcv", H264, 1_000),
            audio: track("x-skl-ssrca", OPUS, 5_000),
            sent: Cell::new(0),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Sends one picture; 1/20 s passes on its clock.
    pub(crate) fn send(&mut self, frame: &Frame) {
        let mut packets = Vec::new();
        Packetizer::new(1_100).packetize(&frame.to_annex_b(), |payload, marker| {
            packets.push((payload.to_vec(), marker));
        });
        for (payload, marker) in packets {
            let datagram = self.video.packet(&payload, marker);
            self.send_raw(self.ports.video, &datagram);
        }
        self.video.timestamp = self.video.timestamp.wrapping_add(4_500);
    }

    /// Sends 20 ms of sound.
    pub(crate) fn send_sound(&mut self, payload: &[u8]) {
        let datagram = self.audio.packet(payload, false);
        self.send_raw(self.ports.audio, &datagram);
        self.audio.timestamp = self.audio.timestamp.wrapping_add(960);
    }

    /// Sends a sender report of the picture, from its RTCP port to the engine's.
    pub(crate) fn send_report(&self) {
        let mut report = Vec::new();
        let info = SenderInfo {
            ssrc: self.video.ssrc,
            ntp: NtpTime(1 << 32),
            rtp_time: self.video.timestamp,
            packet_count: 1,
            octet_count: 1_000,
        };
        RtcpWriter::new(&mut report)
            .sender_report(info, &[])
            .sdes_cname(self.video.ssrc, "camera");
        let to = (self.engine, self.ports.video + 1);
        self.rtcp.send_to(&report, to).unwrap();
    }

    /// The next REMB that it is sent about its picture, if one is there.
    pub(crate) fn take_remb(&self) -> Option<Bitrate> {
        self.rtcp.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_000];
        while let Ok(length) = self.rtcp.recv(&mut buffer) {
            for packet in parse_compound(&buffer[..length]) {
                if let Ok(RtcpPacket::Remb(remb)) = packet
                    && remb.ssrcs.contains(self.video.ssrc)
                {
                    return Some(remb.bitrate);
                }
            }
        }
        None
    }

    /// The next packet that comes to where it sends its sound from, if one is there.
    pub(crate) fn hear(&self) -> Option<Vec<u8>> {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_000];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }

    pub(crate) fn send_raw(&self, port: u16, datagram: &[u8]) {
        self.socket.send_to(datagram, (self.engine, port)).unwrap();
        self.sent.set(self.sent.get() + 1);
    }
}

impl Track {
    /// The track's next packet.
    pub(crate) fn packet(&mut self, payload: &[u8], marker: bool) -> Vec<u8> {
        let mut header = [0; FIXED_HEADER_LEN];
        RtpHeader {
            marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        }
        .write(&mut header);
        self.sequence_number = self.sequence_number.wrapping_add(1);
        [header.as_slice(), payload].concat()
    }
}
