//! What each stop on a packet's way through the core costs: `cargo bench -p apiary-core`.
//!
//! In the order of the way. All but the last group work on one packet of 1,150 octets of payload, as cameras send most.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apiary_core::ingest::{
    BitrateBounds, CameraIngest, FeedbackConfig, IngestConfig, TrackConfig, TrackKind, ViewerPolicy,
};
use apiary_core::ring::{Codec, PacketMeta, PacketRing, PictureRole, RingLimits, RingPacket};
use apiary_core::srtp::{KeyingMaterial, SrtpProfile, SrtpSender};
use apiary_core::viewer::media::VideoOut;
use apiary_core::viewer::track::{PacketSink, RtxSender, TrackSender};
use apiary_wire::h264;
use apiary_wire::rtp::{HeaderTemplate, RtpHeader, RtpPacket};
use apiary_wire::units::{Bitrate, PayloadType, Ssrc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PAYLOAD_LEN: usize = 1_150;
/// Packets of a picture of 1.65 Mbit/s at 30 pictures a second.
const PICTURE: u64 = 7;
const VIDEO: Ssrc = Ssrc(0x1111_1111);
const H264: PayloadType = PayloadType::new(103).expect("at most 127");
const RTX: PayloadType = PayloadType::new(104).expect("at most 127");

fn payload() -> Vec<u8> {
    // An FU-A in the middle of a slice.
    let mut payload = vec![0x5a; PAYLOAD_LEN];
    payload[..2].copy_from_slice(&[0x7c, 0x01]);
    payload
}

fn datagram() -> Vec<u8> {
    let mut header = [0; 12];
    RtpHeader {
        marker: false,
        payload_type: H264,
        sequence_number: 7,
        timestamp: 9_000,
        ssrc: VIDEO,
    }
    .write(&mut header);
    [&header[..], &payload()].concat()
}

fn ingest_config() -> IngestConfig {
    let track = |kind, ssrc| TrackConfig {
        kind,
        ssrc,
        payload_types: [(H264, 90_000)].into_iter().collect(),
    };
    IngestConfig {
        video: track(TrackKind::Video, VIDEO),
        audio: track(TrackKind::Audio, Ssrc(2)),
        feedback: FeedbackConfig {
            sender_ssrc: Ssrc(3),
            cname: "bench".into(),
        },
        bounds: BitrateBounds {
            min: Bitrate::from_kbps(500),
            max: Bitrate::from_kbps(5_000),
        },
        policy: ViewerPolicy::Median,
    }
}

fn ring() -> PacketRing {
    PacketRing::new(RingLimits {
        bytes: 5 << 20,
        age: Duration::from_millis(1_500),
    })
}

fn meta(index: u64) -> PacketMeta {
    PacketMeta {
        timestamp: (index / PICTURE) as u32 * 3_000,
        marker: index % PICTURE == PICTURE - 1,
        codec: Codec::H264,
        role: if index.is_multiple_of(60 * PICTURE) {
            PictureRole::IdrStart
        } else {
            PictureRole::Other
        },
    }
}

fn sender(profile: SrtpProfile) -> SrtpSender {
    let material = vec![7; 2 * (profile.key_len() + profile.salt_len())];
    let material = KeyingMaterial::split(profile, &material).expect("the length is the profile's");
    material.into_server_contexts().0
}

/// A place for packets that nobody sends.
struct Nowhere(Vec<u8>);

impl PacketSink for Nowhere {
    fn packet(&mut self, len: usize) -> &mut [u8] {
        &mut self.0[..len]
    }
}

fn ingest(criterion: &mut Criterion) {
    let datagram = datagram();
    criterion.bench_function("parse", |bencher| {
        bencher.iter(|| RtpPacket::parse(black_box(&datagram)).is_ok());
    });
    let payload = payload();
    criterion.bench_function("inspect H.264", |bencher| {
        bencher.iter(|| h264::inspect(black_box(&payload)).is_ok());
    });
    criterion.bench_function("validate", |bencher| {
        let mut ingest = CameraIngest::new(ingest_config());
        let source = SocketAddr::from(([192, 0, 2, 7], 4_000));
        let now = Instant::now();
        let mut packet = RtpPacket::parse(&datagram).expect("it is RTP");
        bencher.iter(|| {
            packet.sequence_number = packet.sequence_number.wrapping_add(1);
            ingest
                .handle_rtp(now, TrackKind::Video, source, black_box(&packet))
                .is_ok()
        });
    });
    criterion.bench_function("ring insert", |bencher| {
        let mut ring = ring();
        let mut now = Instant::now();
        let mut index = 0;
        bencher.iter(|| {
            index += 1;
            now += Duration::from_millis(5);
            ring.insert(now, index, meta(index), black_box(&payload))
        });
    });
}

fn viewer(criterion: &mut Criterion) {
    let payload = payload();
    criterion.bench_function("header", |bencher| {
        let template = HeaderTemplate::new(VIDEO)
            .with_extension(&[0xbe, 0xde, 0, 1, 0x40, b'0', 0, 0])
            .expect("the block fits");
        let mut place = [0; 64];
        let mut number = 0_u16;
        bencher.iter(|| {
            number = number.wrapping_add(1);
            template.write(true, H264, number, 9_000, black_box(&mut place));
        });
    });
    let profiles = [
        ("seal AES-256-GCM", SrtpProfile::AeadAes256Gcm),
        ("seal AES-128-GCM", SrtpProfile::AeadAes128Gcm),
        ("seal AES-CM and SHA-1", SrtpProfile::AesCm128HmacSha1_80),
    ];
    for (name, profile) in profiles {
        criterion.bench_function(name, |bencher| {
            let sender = sender(profile);
            let mut packet = vec![0x80; sender.sealed_len(20, PAYLOAD_LEN)];
            packet[2..4].fill(0);
            bencher.iter(|| sender.seal(black_box(&mut packet), 20, 1 << 16, &payload));
        });
    }
    let mut group = criterion.benchmark_group("viewer");
    group.throughput(Throughput::Elements(PICTURE));
    group.bench_function("a picture from the ring", |bencher| {
        let mut ring = ring();
        let now = Instant::now();
        let mut head = 0;
        let mut put_picture = |ring: &mut PacketRing| {
            for index in head..head + PICTURE {
                ring.insert(now, index, meta(index), &payload);
            }
            head += PICTURE;
        };
        put_picture(&mut ring);
        let (srtp, mut out) = (sender(SrtpProfile::AeadAes256Gcm), Nowhere(vec![0; 2_048]));
        let track = TrackSender::new(HeaderTemplate::new(Ssrc(9)), 0);
        let mut video = VideoOut::new(track, H264, None);
        video.send(now, &srtp, &ring, &mut out);
        bencher.iter_batched(
            || (),
            |()| {
                put_picture(&mut ring);
                video.send(now, &srtp, &ring, &mut out);
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn repair(criterion: &mut Criterion) {
    let payload = payload();
    let mut ring = ring();
    let now = Instant::now();
    let mut track = TrackSender::new(HeaderTemplate::new(Ssrc(9)), 0);
    let srtp = sender(SrtpProfile::AeadAes256Gcm);
    let mut out = Nowhere(vec![0; 2_048]);
    track.jump(0);
    for index in 0..2_000 {
        ring.insert(now, index, meta(index), &payload);
        let packet = RingPacket {
            meta: meta(index),
            payload: &payload,
        };
        track.seal(&srtp, H264, index, packet, &mut out);
    }
    criterion.bench_function("NACK lookup", |bencher| {
        let mut number = 0_u16;
        bencher.iter(|| {
            number = (number + 7) % 2_000;
            let index = track.index_of(black_box(number));
            index.and_then(|index| ring.get(index)).is_some()
        });
    });
    criterion.bench_function("RTX", |bencher| {
        let mut rtx = RtxSender::new(HeaderTemplate::new(Ssrc(10)), RTX, 0);
        let packet = ring.get(1_000).expect("it was just put in");
        bencher.iter(|| rtx.seal(&srtp, black_box(1_000), packet, &mut out));
    });
}

criterion_group!(benches, ingest, viewer, repair);
criterion_main!(benches);
