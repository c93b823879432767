//! What datagrams cost in and out of sockets, on loopback: `cargo bench -p apiary-media`.
//!
//! Sending includes delivery into the receiver's socket there.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use apiary_media::sys::{ReceiveBatch, SendBatch, bind_udp};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const PACKET: usize = 1_190;
/// Packets of one picture for one viewer.
const BURST: usize = 7;
const VIEWERS: usize = 8;
const BUFFER: usize = 4 << 20;

fn socket() -> UdpSocket {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    bind_udp(any_port, BUFFER, BUFFER).expect("loopback has free ports")
}

fn drain(socket: &UdpSocket, received: &mut ReceiveBatch) -> usize {
    let mut all = 0;
    loop {
        all += received.receive(socket).expect("the socket is whole");
        if received.is_exhausted() {
            return all;
        }
    }
}

/// A picture for each of some viewers.
fn send(criterion: &mut Criterion) {
    let receivers: Vec<UdpSocket> = (0..VIEWERS).map(|_| socket()).collect();
    let addresses: Vec<SocketAddr> = receivers
        .iter()
        .map(|receiver| receiver.local_addr().expect("it is bound"))
        .collect();
    let sender = socket();
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements((VIEWERS * BURST) as u64));
    for (name, gso) in [("runs (GSO)", true), ("single packets", false)] {
        group.bench_function(name, |bencher| {
            let mut batch = SendBatch::new(gso);
            let mut received = ReceiveBatch::new();
            bencher.iter_batched(
                || {
                    for receiver in &receivers {
                        drain(receiver, &mut received);
                    }
                },
                |()| {
                    for address in &addresses {
                        for number in 0..BURST {
                            batch.packet(*address, PACKET)[0] = number as u8;
                        }
                    }
                    batch.flush(&sender)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// A picture of a camera.
fn receive(criterion: &mut Criterion) {
    let (receiver, sender) = (socket(), socket());
    let to = receiver.local_addr().expect("it is bound");
    let mut group = criterion.benchmark_group("receive");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("a picture", |bencher| {
        let mut received = ReceiveBatch::new();
        bencher.iter_batched(
            || {
                for _ in 0..BURST {
                    sender.send_to(&[0; PACKET], to).expect("loopback takes it");
                }
            },
            |()| drain(&receiver, &mut received),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, send, receive);
criterion_main!(benches);
