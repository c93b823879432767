//! An ingest under random input: it never panics, stays bounded, keeps its books, and talks to nobody but
//! the camera.

mod ingest_support;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apiary_core::ingest::{CameraIngest, TrackKind, ViewerReport};
use apiary_wire::rtp::RtpPacket;
use apiary_wire::units::{Bitrate, Ssrc};
use ingest_support::{
    BOUNDS, MS, SECOND, address, camera_rtp, config, config_with, payload_type, read_feedback,
    viewer,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Input {
    Rtp {
        video: bool,
        host: u8,
        payload_type: u8,
        ssrc: u32,
        sequence_number: u16,
        timestamp: u32,
    },
    /// A run of consecutive packets of the genuine camera.
    Run {
        from: u16,
        count: u8,
        skip: u8,
    },
    Rtcp {
        video: bool,
        host: u8,
        datagram: Vec<u8>,
    },
    Wait(u16),
    Report {
        viewer: u8,
        kbps: u64,
        fraction: u8,
    },
    Leave(u8),
    RequestKeyFrame,
    KeyFrame,
    Rearm(u32),
}

fn source(host: u8) -> SocketAddr {
    match host {
        0..=3 => camera_rtp(),
        4 => address("192.0.2.7:4001"),
        5 => address("192.0.2.7:65535"),
        _ => address("198.51.100.1:4000"),
    }
}

fn ssrc() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0x1111_1111_u32), Just(0x2222_2222), any::<u32>()]
}

/// Bytes that often look like RTCP.
fn rtcp() -> impl Strategy<Value = Vec<u8>> {
    let packet = (
        0..32_u8,
        199..=207_u8,
        0..12_u8,
        ssrc(),
        prop::collection::vec(any::<u8>(), 44),
    );
    let plausible = prop::collection::vec(packet, 0..5).prop_map(|packets| {
        let mut out = Vec::new();
        for (count, packet_type, words, ssrc, body) in packets {
            out.extend_from_slice(&[0x80 | count, packet_type, 0, words]);
            let mut bytes = ssrc.to_be_bytes().to_vec();
            bytes.extend(body);
            bytes.truncate(usize::from(words) * 4);
            out.extend(bytes);
        }
        out
    });
    prop_oneof![3 => plausible, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => (any::<bool>(), 0..8_u8, prop_oneof![Just(103), Just(96), 0..128_u8], ssrc(), any::<u16>(), any::<u32>())
            .prop_map(|(video, host, payload_type, ssrc, sequence_number, timestamp)| Input::Rtp {
                video, host, payload_type, ssrc, sequence_number, timestamp
            }),
        4 => (any::<u16>(), any::<u8>(), any::<u8>())
            .prop_map(|(from, count, skip)| Input::Run { from, count, skip }),
        2 => (any::<bool>(), 0..8_u8, rtcp())
            .prop_map(|(video, host, datagram)| Input::Rtcp { video, host, datagram }),
        3 => (0..3000_u16).prop_map(Input::Wait),
        1 => (any::<u8>(), any::<u64>(), any::<u8>())
            .prop_map(|(viewer, kbps, fraction)| Input::Report { viewer, kbps, fraction }),
        1 => any::<u8>().prop_map(Input::Leave),
        1 => Just(Input::RequestKeyFrame),
        1 => Just(Input::KeyFrame),
        1 => any::<u32>().prop_map(Input::Rearm),
    ]
}

struct Checked {
    ingest: CameraIngest,
    now: Instant,
    fed: u64,
    accepted: HashSet<(bool, u64)>,
    last_key_frame_request: Option<Instant>,
    media: [Ssrc; 2],
}

impl Checked {
    fn new() -> Self {
        let config = config();
        Self {
            media: [config.video.ssrc, config.audio.ssrc],
            ingest: CameraIngest::new(config),
            now: Instant::now(),
            fed: 0,
            accepted: HashSet::new(),
            last_key_frame_request: None,
        }
    }

    fn rtp(&mut self, video: bool, from: SocketAddr, packet: &RtpPacket<'_>) {
        let track = if video {
            TrackKind::Video
        } else {
            TrackKind::Audio
        };
        self.fed += 1;
        if let Ok(accepted) = self.ingest.handle_rtp(self.now, track, from, packet) {
            assert_eq!(accepted.ext_seq as u16, packet.sequence_number);
            assert!(
                self.accepted.insert((video, accepted.ext_seq)),
                "{} came twice",
                accepted.ext_seq
            );
        }
    }

    fn apply(&mut self, input: Input) {
        match input {
            Input::Rtp {
                video,
                host,
                payload_type: number,
                ssrc,
                sequence_number,
                timestamp,
            } => {
                let packet = RtpPacket {
                    marker: timestamp & 1 == 1,
                    payload_type: payload_type(number),
                    sequence_number,
                    timestamp,
                    ssrc: Ssrc(ssrc),
                    extension: None,
                    payload: &[0; 20],
                };
                self.rtp(video, source(host), &packet);
            }
            Input::Run { from, count, skip } => {
                for step in 0..u16::from(count) {
                    if step % 7 == u16::from(skip % 11) {
                        continue;
                    }
                    let mut packet =
                        ingest_support::video_packet(from.wrapping_add(step), u32::from(step));
                    packet.ssrc = self.media[0];
                    self.rtp(true, camera_rtp(), &packet);
                    self.now += MS;
                }
            }
            Input::Rtcp {
                video,
                host,
                datagram,
            } => {
                let track = if video {
                    TrackKind::Video
                } else {
                    TrackKind::Audio
                };
                self.ingest
                    .handle_rtcp(self.now, track, source(host), &datagram);
            }
            Input::Wait(millis) => self.now += Duration::from_millis(u64::from(millis)),
            Input::Report {
                viewer: number,
                kbps,
                fraction,
            } => {
                let report = ViewerReport {
                    remb: Some(Bitrate::from_kbps(kbps)),
                    fraction_lost: Some(fraction),
                };
                self.ingest
                    .set_viewer_report(self.now, viewer(number), report);
            }
            Input::Leave(number) => self.ingest.remove_viewer(self.now, viewer(number)),
            Input::RequestKeyFrame => self.ingest.request_key_frame(self.now),
            Input::KeyFrame => {
                let highest = self.accepted.iter().map(|(_, number)| *number).max();
                self.ingest.on_key_frame(highest.unwrap_or(0));
            }
            Input::Rearm(ssrc) => {
                self.media = [Ssrc(ssrc), Ssrc(!ssrc)];
                let config = config_with(self.media[0], self.media[1]);
                self.ingest.rearm(self.now, config);
            }
        }
    }

    fn check(&mut self) {
        let stats = self.ingest.stats();
        let mut out = Vec::new();
        let mut datagrams = 0;
        while let Some((track, to)) = self.ingest.poll_transmit(self.now, &mut out) {
            datagrams += 1;
            assert!(datagrams <= 10, "one round is bounded");
            assert!(out.len() <= 1200, "fits any path");
            let source = match track {
                TrackKind::Video => stats.video.source,
                TrackKind::Audio => stats.audio.source,
            };
            assert_eq!(Some(to.ip()), source.map(|source| source.ip()));
            let feedback = read_feedback(&out);
            if let Some((bitrate, ssrcs)) = feedback.remb {
                assert!((BOUNDS.min..=BOUNDS.max).contains(&bitrate));
                assert_eq!(ssrcs, [self.media[0]]);
            }
            if feedback.plis + feedback.firs > 0 {
                let before = self.last_key_frame_request.replace(self.now);
                assert!(before.is_none_or(|before| self.now - before >= SECOND));
            }
            out.clear();
        }
        let events = std::iter::from_fn(|| self.ingest.poll_event()).count();
        assert!(events <= 16);
        let counted = stats.video.counters.received
            + stats.video.counters.dropped()
            + stats.audio.counters.received
            + stats.audio.counters.dropped();
        assert_eq!(counted, self.fed);
        assert_eq!(
            stats.video.counters.received + stats.audio.counters.received,
            self.accepted.len() as u64
        );
        assert!(
            self.ingest.poll_timeout().is_none_or(|at| at > self.now),
            "a drained ingest waits"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn h19_h28_random_inputs_keep_the_invariants(inputs in prop::collection::vec(input(), 1..80)) {
        let mut checked = Checked::new();
        for input in inputs {
            checked.apply(input);
            checked.check();
        }
    }
}
