//! What strangers, broken peers and too many peers do to the engine. Names begin with the number in the hardening list
//! where there is one.
//!
//! That nothing came back is shown without waiting: the engine reads a socket in order, so once a real viewer's later
//! datagrams had their effect, an answer to the earlier ones would be there.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails, and waits for what it names"
)]

mod support;

use std::io::ErrorKind;
use std::net::UdpSocket;

use apiary_media::engine::{CloseReason, EngineError, EngineEvent, ViewerGoneReason};
use apiary_wire::sdp::camera::OPUS;
use apiary_wire::units::Ssrc;
use support::{Camera, DEADLINE, Frame, House, Viewer, camera_id, offer, stream_id, viewer_id};

fn stranger(house: &House) -> UdpSocket {
    let socket = UdpSocket::bind((house.address, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

#[track_caller]
fn assert_unanswered(stranger: &UdpSocket) {
    let answer = stranger.recv(&mut [0; 2_000]);
    assert_eq!(
        answer.map_err(|error| error.kind()),
        Err(ErrorKind::WouldBlock)
    );
}

/// A stream with its start picture, and a viewer that has it.
fn watched(house: &House) -> (Camera, Viewer) {
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    let mut viewer = house.join(1, 1);
    viewer.expect_frame(&Frame::idr(1));
    (camera, viewer)
}

#[test]
fn h15_dtls_from_an_address_without_an_ice_check_gets_no_answer() {
    let house = House::new(1);
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    let mut viewer = house.join(1, 1);
    let attacker = stranger(&house);
    // The real handshake, each flight from the wrong address first.
    viewer.wire.shadow = Some(attacker.try_clone().unwrap());
    viewer.expect_frame(&Frame::idr(1));
    assert!(viewer.wire.shadowed > 0);
    assert_unanswered(&attacker);
}

#[test]
fn h16_a_certificate_without_the_fingerprint_of_the_offer_gets_no_packet() {
    let mut house = House::new(1);
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    house.wait_started(1);
    let mut viewer = Viewer::new(house.address);
    let wrong = vec!["AB"; 32].join(":");
    let lines = viewer.offer().lines().map(|line| {
        if line.starts_with("a=fingerprint:") {
            format!("a=fingerprint:sha-256 {wrong}\r\n")
        } else {
            format!("{line}\r\n")
        }
    });
    let forged: String = lines.collect();
    assert!(forged.contains(&wrong));
    let answer = house.try_join(1, 1, &forged).unwrap();
    viewer.accept(&answer);
    let engine = &house.engine;
    viewer.run_until("refused", |_| {
        house.ask(engine.viewer_stats(viewer_id(1))).is_none()
    });
    assert!(
        matches!(house.wait_gone(1), ViewerGoneReason::Failed(why) if why.contains("fingerprint"))
    );
    camera.send(&Frame::delta(2));
    house.wait_read(1, &camera);
    viewer.drain();
    assert_eq!(viewer.wire.rtp, 0);
}

#[test]
fn h17_h19_clear_packets_and_garbage_of_every_length_change_nothing() {
    let house = House::new(1);
    let (mut camera, mut viewer) = watched(&house);
    let engine = viewer.engine.unwrap();
    let attacker = stranger(&house);
    for length in 0..=1_500_usize {
        // STUN, DTLS, TURN channels, RTP, RTCP and what is none of them.
        for (first, second) in [(0, 1), (22, 254), (64, 0), (128, 103), (128, 201), (255, 7)] {
            let mut datagram: Vec<u8> = (0..length).map(|at| (at * 31 + length) as u8).collect();
            datagram
                .iter_mut()
                .zip([first, second])
                .for_each(|(octet, value)| *octet = value);
            attacker.send_to(&datagram, engine).unwrap();
            // DTLS from the viewer's own address is for its session to judge; the rest is not.
            if first != 22 {
                viewer.socket.send_to(&datagram, engine).unwrap();
            }
        }
        // So that the engine gets its turn and the kernel's queue never overflows.
        house.stats(1);
    }
    camera.send(&Frame::delta(2));
    viewer.expect_frame(&Frame::delta(2));
    assert_unanswered(&attacker);
    assert_eq!(house.stats(1).viewers, 1);
}

#[test]
fn h23_h24_stun_that_is_not_authentic_gets_no_reply() {
    let house = House::new(1);
    let (mut camera, mut viewer) = watched(&house);
    let engine = viewer.engine.unwrap();
    let genuine = viewer.wire.request.clone().unwrap();
    let attacker = stranger(&house);
    let integrity = attribute(&genuine, 0x0008);
    let username = attribute(&genuine, 0x0006);
    for at in [integrity, username] {
        let mut forged = genuine.clone();
        forged[at] ^= 1;
        refresh_fingerprint(&mut forged);
        attacker.send_to(&forged, engine).unwrap();
    }
    camera.send(&Frame::delta(2));
    viewer.expect_frame(&Frame::delta(2));
    house.ask(house.engine.viewer_stats(viewer_id(1))).unwrap();
    assert_unanswered(&attacker);
    // The same words unforged are answered, so it was the forgery that was not.
    let mut unforged = genuine;
    refresh_fingerprint(&mut unforged);
    attacker.send_to(&unforged, engine).unwrap();
    attacker.set_nonblocking(false).unwrap();
    attacker.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut answer = [0; 200];
    attacker.recv(&mut answer).unwrap();
    assert_eq!(answer[..2], [1, 1]);
}

/// Where the value of an attribute of a STUN message begins (RFC 8489 §14).
fn attribute(message: &[u8], wanted: u16) -> usize {
    let mut at = 20;
    loop {
        let kind = u16::from_be_bytes([message[at], message[at + 1]]);
        if kind == wanted {
            return at + 4;
        }
        let length = usize::from(u16::from_be_bytes([message[at + 2], message[at + 3]]));
        at += 4 + length.next_multiple_of(4);
    }
}

/// RFC 8489 §14.7: the last attribute, CRC-32 of all before it.
fn refresh_fingerprint(message: &mut [u8]) {
    let at = attribute(message, 0x8028);
    let mut crc = u32::MAX;
    for &octet in &message[..at - 4] {
        crc ^= u32::from(octet);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let value = !crc ^ 0x5354_554e;
    message[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

#[test]
fn h28_foreign_rtp_is_counted_and_not_forwarded() {
    let mut house = House::new(1);
    let (mut camera, mut viewer) = watched(&house);
    let port = camera.ports.video;
    let mut wrong_ssrc = camera.video;
    wrong_ssrc.ssrc = Ssrc(camera.video.ssrc.0 ^ 1);
    let mut wrong_type = camera.video;
    wrong_type.payload_type = OPUS;
    let mut next = camera.video;
    let second_source = stranger(&house);
    let forged = next.packet(&[0x41, 1, 2, 3], true);
    second_source
        .send_to(&forged, (house.address, port))
        .unwrap();
    camera.send_raw(port, &wrong_ssrc.packet(&[0x41, 1, 2, 3], true));
    camera.send_raw(port, &wrong_type.packet(&[0x41, 1, 2, 3], true));
    camera.send_raw(port, &forged[..7]);
    let stats = house.wait_stats(1, |stats| stats.dropped >= 4);
    assert_eq!((stats.dropped, stats.source), (4, Some(camera.address())));
    let ssrc = house.wait_for(|event| match event {
        EngineEvent::ForeignSsrc { ssrc, .. } => Some(*ssrc),
        _ => None,
    });
    assert_eq!(ssrc, wrong_ssrc.ssrc);
    camera.send(&Frame::delta(2));
    viewer.expect_frame(&Frame::delta(2));
    assert_eq!(viewer.frames, [Frame::idr(1), Frame::delta(2)]);
}

#[test]
fn exhausted_ports_are_said_and_come_back_when_a_stream_is_closed() {
    let house = House::with(1, 2, 0);
    house.open(1);
    house.open(2);
    match house.try_open(3) {
        Err(EngineError::PortsExhausted { range }) => assert_eq!(range, 5_006..=5_013),
        other => panic!("{other:?}"),
    }
    let close = house.engine.close(camera_id(1), CloseReason::Stopped);
    house.ask(close).unwrap();
    assert_eq!(house.try_open(3).unwrap().ingest.video, 5_006);
}

#[test]
fn a_full_stream_refuses_viewers_until_one_leaves() {
    let house = House::with(2, 2, 2);
    house.open(1);
    house.open(2);
    let offer = offer(house.address);
    house.try_join(1, 1, &offer).unwrap();
    house.try_join(1, 2, &offer).unwrap();
    let refused = house.try_join(1, 3, &offer);
    assert!(matches!(
        refused,
        Err(EngineError::ViewerLimit { limit: 2 })
    ));
    // Another stream's viewers do not count.
    house.try_join(2, 4, &offer).unwrap();
    house.ask(house.engine.leave(viewer_id(1))).unwrap();
    house.try_join(1, 3, &offer).unwrap();
}

#[test]
fn what_is_not_there_is_said_by_name() {
    let house = House::new(1);
    let offer = offer(house.address);
    assert!(matches!(
        house.try_join(9, 1, &offer),
        Err(EngineError::UnknownStream(camera)) if camera == camera_id(9)
    ));
    let rearmed = house.ask(house.engine.rearm(camera_id(9), stream_id(9)));
    assert!(matches!(rearmed, Err(EngineError::UnknownStream(_))));
    let asked = house.ask(house.engine.request_key_frame(camera_id(9)));
    assert!(matches!(asked, Err(EngineError::UnknownStream(_))));
    assert!(house.ask(house.engine.stream_stats(camera_id(9))).is_none());
    let candidate = house.ask(house.engine.add_candidate(viewer_id(9), ""));
    assert!(matches!(candidate, Err(EngineError::UnknownViewer(viewer)) if viewer == viewer_id(9)));
    let restarted = house.ask(house.engine.restart_ice(
        viewer_id(9),
        "abcd",
        "0123456789012345678901",
    ));
    assert!(matches!(restarted, Err(EngineError::UnknownViewer(_))));
    // What is gone already may go.
    house.ask(house.engine.leave(viewer_id(9))).unwrap();
    house
        .ask(house.engine.close(camera_id(9), CloseReason::Stopped))
        .unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_nothing() {
    let house = House::with(1, 2, 1);
    house.open(1);
    assert!(matches!(
        house.try_open(1),
        Err(EngineError::AlreadyOpen(_))
    ));
    let garbage = house.try_join(1, 1, "v=0\r\nnot an offer\r\n");
    assert!(matches!(garbage, Err(EngineError::Offer(_))));
    // The refused one takes no place, the limit being one.
    house.try_join(1, 1, &offer(house.address)).unwrap();
    let candidate = house.ask(
        house
            .engine
            .add_candidate(viewer_id(1), "candidate:nonsense"),
    );
    assert!(matches!(candidate, Err(EngineError::Candidate(_))));
    house.ask(house.engine.shutdown());
    assert!(matches!(house.try_open(2), Err(EngineError::Closed)));
}
