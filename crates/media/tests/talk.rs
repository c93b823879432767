//! A viewer talks to its camera: what the camera hears, whose turn it is, and when that ends.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails, and waits for what it names"
)]

mod support;

use std::time::{Duration, Instant};

use apiary_media::engine::{CloseReason, EngineError, EngineEvent};
use apiary_wire::rtp::RtpPacket;
use apiary_wire::sdp::camera::OPUS;
use support::{Camera, DEADLINE, Frame, House, Viewer, camera_id, show, stream_id, viewer_id};

/// The viewer says this until the camera hears something; gives what it heard.
#[track_caller]
fn hear(camera: &Camera, viewer: &mut Viewer, voice: &[u8]) -> Vec<u8> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "the camera hears nothing");
        viewer.say(voice);
        let due = Instant::now() + Duration::from_millis(20);
        viewer.run_until("the next 20 ms", |_| Instant::now() >= due);
        if let Some(heard) = camera.hear() {
            return heard;
        }
    }
}

/// The viewer goes on speaking while it is shown pictures that were sent after its words, and the camera hears none of them.
#[track_caller]
fn expect_unheard(camera: &mut Camera, viewer: &mut Viewer) {
    while camera.hear().is_some() {}
    for number in 0..20 {
        viewer.say(b"unheard");
        show(camera, viewer, &Frame::idr(100 + number));
    }
    assert_eq!(camera.hear(), None);
}

/// A camera that sends picture and sound, and a viewer that is connected and may talk.
fn house_with_talker(workers: usize) -> (House, Camera, Viewer) {
    let house = House::new(workers);
    let mut camera = house.open(1);
    let mut viewer = house.join_who_speaks(1, 1, true);
    show(&mut camera, &mut viewer, &Frame::idr(1));
    (house, camera, viewer)
}

fn talk(house: &House, viewer: u8) -> Result<(), EngineError> {
    house.ask(house.engine.talk(viewer_id(viewer)))
}

fn hush(house: &House, viewer: u8) {
    house.ask(house.engine.hush(viewer_id(viewer))).unwrap();
}

#[test]
fn the_camera_hears_who_talks_while_they_do() {
    let (house, mut camera, mut viewer) = house_with_talker(1);
    assert!(house.engine.takes_voices());
    expect_unheard(&mut camera, &mut viewer);
    talk(&house, 1).unwrap();
    assert!(viewer.may_speak());
    let first = hear(&camera, &mut viewer, b"hello there");
    let first = RtpPacket::parse(&first).unwrap();
    assert_eq!(first.payload_type, OPUS);
    assert!(first.marker, "a talkspurt begins");
    assert_ne!(first.ssrc, camera.audio.ssrc, "it is not the camera's own");
    // Words from just before the turn may come first.
    let second = loop {
        let packet = hear(&camera, &mut viewer, b"and more");
        if packet.ends_with(b"and more") {
            break packet;
        }
    };
    let second = RtpPacket::parse(&second).unwrap();
    assert!(!second.marker);
    let step = second.sequence_number.wrapping_sub(first.sequence_number);
    let ticks = second.timestamp.wrapping_sub(first.timestamp);
    assert_eq!(ticks, u32::from(step) * 960);
    hush(&house, 1);
    expect_unheard(&mut camera, &mut viewer);
}

#[test]
fn one_talks_at_a_time_on_whichever_worker() {
    let (house, camera, mut viewer) = house_with_talker(2);
    let mut other = house.join_who_speaks(1, 2, true);
    talk(&house, 1).unwrap();
    let first = hear(&camera, &mut viewer, b"one");
    assert!(matches!(talk(&house, 2), Err(EngineError::Talking(of)) if of == camera_id(1)));
    hush(&house, 2); // has nothing to end
    assert!(matches!(talk(&house, 2), Err(EngineError::Talking(_))));
    hush(&house, 1);
    talk(&house, 2).unwrap();
    let second = loop {
        let packet = hear(&camera, &mut other, b"other");
        if packet.ends_with(b"other") {
            break packet;
        }
    };
    let [first, second] = [&first, &second].map(|packet| RtpPacket::parse(packet).unwrap());
    assert_eq!(first.ssrc, second.ssrc, "the camera sees one track");
    let ahead = second.sequence_number.wrapping_sub(first.sequence_number);
    assert!((1..1_000).contains(&ahead), "{ahead}");
}

#[test]
fn a_talker_who_leaves_makes_room() {
    let (house, camera, _viewer) = house_with_talker(2);
    let mut other = house.join_who_speaks(1, 2, true);
    talk(&house, 1).unwrap();
    house.ask(house.engine.leave(viewer_id(1))).unwrap();
    talk(&house, 2).unwrap();
    hear(&camera, &mut other, b"other");
}

#[test]
fn who_may_not_or_did_not_offer_to_speak_cannot() {
    let (house, _camera, _viewer) = house_with_talker(1);
    let not_allowed = house.join_who_speaks(1, 2, false);
    assert!(!not_allowed.may_speak(), "the answer must not let it");
    let mut listener = house.join(1, 3);
    listener.connect();
    for viewer in [2, 3] {
        let error = talk(&house, viewer).unwrap_err();
        assert!(matches!(error, EngineError::NoVoice(of) if of == viewer_id(viewer)));
    }
    let error = talk(&house, 9).unwrap_err();
    assert!(matches!(error, EngineError::UnknownViewer(_)), "{error}");
}

#[test]
fn a_camera_without_sound_cannot_be_talked_to() {
    let house = House::new(1);
    let mut camera = house.open(1);
    let mut viewer = house.join_who_speaks(1, 1, true);
    house.until_sending(&mut camera, |_| {
        let error = talk(&house, 1).unwrap_err();
        matches!(error, EngineError::NotListening(of) if of == camera_id(1)).then_some(())
    });
    show(&mut camera, &mut viewer, &Frame::idr(1));
    talk(&house, 1).unwrap();
    hear(&camera, &mut viewer, b"now it does");
}

#[test]
fn a_camera_that_is_told_to_play_again_is_talked_to_anew() {
    let (mut house, camera, mut viewer) = house_with_talker(2);
    talk(&house, 1).unwrap();
    let opened = house.ask(house.engine.rearm(camera_id(1), stream_id(2)));
    let ended = house.wait_for(|event| match event {
        EngineEvent::TalkEnded { camera, viewer } => Some((*camera, *viewer)),
        _ => None,
    });
    assert_eq!(ended, (camera_id(1), viewer_id(1)));
    while camera.hear().is_some() {}
    let mut again = Camera::new(house.address, &opened.unwrap());
    expect_unheard(&mut again, &mut viewer);
    assert_eq!(camera.hear(), None, "nothing goes to where it was");
    talk(&house, 1).unwrap();
    hear(&again, &mut viewer, b"again");
}

#[test]
fn a_stream_that_is_closed_while_somebody_talks_frees_its_ports() {
    let (house, _camera, mut viewer) = house_with_talker(2);
    talk(&house, 1).unwrap();
    viewer.say(b"oh");
    house
        .ask(house.engine.close(camera_id(1), CloseReason::Stopped))
        .unwrap();
    let error = talk(&house, 1).unwrap_err();
    assert!(matches!(error, EngineError::UnknownViewer(_)), "{error}");
    for number in 1..=10 {
        house.open(number);
    }
}

#[test]
fn a_pool_of_kurento_servers_takes_no_voices() {
    let house = House::kurento(1);
    assert!(!house.engine.takes_voices());
    let error = talk(&house, 1).unwrap_err();
    assert!(matches!(error, EngineError::NoVoice(_)), "{error}");
    hush(&house, 1);
}
