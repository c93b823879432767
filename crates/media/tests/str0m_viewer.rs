//! A viewer that shares no code with the engine watches: pictures and sound arrive whole, across joins in the middle,
//! workers, losses, restarts of the camera and the end.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails, and waits for what it names"
)]

mod support;

use std::time::Duration;

use apiary_media::engine::{CloseReason, EngineEvent, ViewerGoneReason};
use support::{Camera, DEADLINE, Frame, House, camera_id, show, stream_id, viewer_id};

#[test]
fn a_viewer_gets_the_start_picture_then_live_pictures_and_sound() {
    let mut house = House::new(1);
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    assert_eq!(house.wait_started(1), Some(camera.address()));
    let mut viewer = house.join(1, 1);
    viewer.connect();
    viewer.expect_frame(&Frame::idr(1));
    camera.send(&Frame::delta(2));
    camera.send_sound(b"a bit of sound");
    viewer.expect_frame(&Frame::delta(2));
    viewer.run_until("sound", |viewer| {
        viewer.sounds.contains(&b"a bit of sound".to_vec())
    });
    assert_eq!(viewer.frames, [Frame::idr(1), Frame::delta(2)]);
    let stats = house.stats(1);
    assert_eq!((stats.viewers, stats.dropped, stats.lost), (1, 0, 0));
}

/// What was sent and received is counted in all, also by streams and viewers that are gone.
#[test]
fn totals_outlive_streams_and_viewers() {
    let house = House::new(2);
    let totals = || {
        let workers = house.ask(house.engine.counts()).unwrap().workers;
        let cameras = workers.iter().map(|worker| worker.cameras);
        let viewers = workers.iter().map(|worker| worker.viewers);
        (
            cameras.reduce(|a, b| a.plus(b)).unwrap(),
            viewers.reduce(|a, b| a.plus(b)).unwrap(),
        )
    };
    let mut sent = 0;
    for run in 1..=2 {
        let mut camera = house.open(1);
        let mut viewer = house.join(1, run);
        viewer.connect();
        show(&mut camera, &mut viewer, &Frame::idr(1));
        house.wait_read(1, &camera);
        house.wait_stats(1, |stats| stats.remb_count > 0);
        sent += house.stats(1).packets;
        house
            .ask(house.engine.close(camera_id(1), CloseReason::Stopped))
            .unwrap();
        let (cameras, viewers) = totals();
        assert_eq!(cameras.packets, sent);
        assert!(cameras.rembs >= u64::from(run), "{cameras:?}");
        assert!(viewers.datagrams >= sent, "{viewers:?}");
    }
    let workers = house.ask(house.engine.counts()).unwrap().workers;
    assert_eq!(workers.len(), 2);
    for worker in workers {
        assert!(worker.cpu > Duration::ZERO && worker.turns.total > Duration::ZERO);
        assert!(worker.turns.classes.iter().sum::<u64>() > 0);
        assert_eq!(worker.waiting, 0, "all messages were taken");
    }
}

#[test]
fn who_joins_in_the_middle_gets_every_picture_since_the_last_idr() {
    let house = House::new(1);
    let mut camera = house.open(1);
    let pictures = send_group(&mut camera, 8);
    house.wait_read(1, &camera);
    let mut viewer = house.join(1, 1);
    viewer.expect_frame(pictures.last().unwrap());
    assert_eq!(viewer.frames, pictures);
}

/// An earlier group, of which nobody needs anything, then an IDR and `deltas` pictures.
fn send_group(camera: &mut Camera, deltas: u8) -> Vec<Frame> {
    camera.send(&Frame::idr(100));
    camera.send(&Frame::delta(101));
    let pictures: Vec<Frame> = std::iter::once(Frame::idr(1))
        .chain((2..2 + deltas).map(Frame::delta))
        .collect();
    pictures.iter().for_each(|picture| camera.send(picture));
    pictures
}

#[test]
fn viewers_on_both_workers_get_the_picture() {
    let house = House::new(2);
    let mut camera = house.open(1);
    let pictures = send_group(&mut camera, 3);
    house.wait_read(1, &camera);
    let mut viewers = [house.join(1, 1), house.join(1, 2)];
    assert_ne!(viewers[0].engine, viewers[1].engine);
    for viewer in &mut viewers {
        viewer.expect_frame(pictures.last().unwrap());
        assert_eq!(viewer.frames, pictures);
    }
    camera.send(&Frame::delta(50));
    for viewer in &mut viewers {
        viewer.expect_frame(&Frame::delta(50));
    }
    assert_eq!(house.stats(1).viewers, 2);
}

#[test]
fn closing_the_stream_says_goodbye_to_every_viewer() {
    let mut house = House::new(2);
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    let mut viewers = [house.join(1, 1), house.join(1, 2)];
    for viewer in &mut viewers {
        viewer.expect_frame(&Frame::idr(1));
    }
    house
        .ask(house.engine.close(camera_id(1), CloseReason::Stopped))
        .unwrap();
    let mut gone = Vec::new();
    while gone.len() < viewers.len() {
        gone.push(house.wait_for(|event| match event {
            EngineEvent::ViewerGone { viewer, reason, .. } => {
                assert_eq!(
                    *reason,
                    ViewerGoneReason::StreamClosed(CloseReason::Stopped)
                );
                Some(*viewer)
            }
            _ => None,
        }));
    }
    gone.sort();
    assert_eq!(gone, [viewer_id(1), viewer_id(2)]);
    for viewer in &mut viewers {
        viewer.run_until("close_notify", |viewer| viewer.wire.alerts > 0);
    }
    assert!(house.ask(house.engine.stream_stats(camera_id(1))).is_none());
    assert!(house.ask(house.engine.viewer_stats(viewer_id(1))).is_none());
}

/// Nothing but its timer tells that a viewer's process was killed (h25).
#[test]
fn h25_a_viewer_that_falls_silent_is_let_go_while_the_stream_goes_on() {
    let mut house = House::new(1);
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    let mut silent = house.join(1, 1);
    silent.expect_frame(&Frame::idr(1));
    assert_eq!(house.stats(1).viewers, 1);
    assert_eq!(house.wait_gone(1), ViewerGoneReason::Expired);
    assert_eq!(house.stats(1).viewers, 0);
    let mut next = house.join(1, 2);
    camera.send(&Frame::idr(2));
    next.expect_frame(&Frame::idr(2));
}

#[test]
fn a_restart_of_the_camera_goes_on_without_new_negotiation() {
    let mut house = House::new(1);
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    house.wait_started(1);
    let mut viewer = house.join(1, 1);
    viewer.expect_frame(&Frame::idr(1));
    let rearmed = house
        .ask(house.engine.rearm(camera_id(1), stream_id(2)))
        .unwrap();
    let mut restarted = Camera::new(house.address, &rearmed);
    assert_eq!(restarted.ports, camera.ports);
    assert_ne!(restarted.video.ssrc, camera.video.ssrc);
    restarted.video.timestamp = 4_000_000_000;
    restarted.video.sequence_number = 7;
    restarted.send(&Frame::idr(2));
    assert_eq!(house.wait_started(1), Some(restarted.address()));
    restarted.send(&Frame::delta(3));
    viewer.expect_frame(&Frame::delta(3));
    assert_eq!(
        viewer.frames,
        [Frame::idr(1), Frame::idr(2), Frame::delta(3)]
    );
    // What the viewer sees is one run: no gap, and a clock that goes on.
    assert!(viewer.contiguous);
    let [before, after, _] = viewer.times[..] else {
        panic!("{:?}", viewer.times);
    };
    assert!((1..DEADLINE.as_secs() * 90_000).contains(&after.wrapping_sub(before)));
}

#[test]
fn packets_that_get_lost_toward_the_viewer_are_sent_again() {
    let house = House::new(1);
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    let mut viewer = house.join(1, 1);
    viewer.expect_frame(&Frame::idr(1));
    viewer.wire.skip = 1;
    viewer.wire.lose = 2;
    let pictures: Vec<Frame> = (2..8).map(Frame::delta).collect();
    pictures.iter().for_each(|picture| camera.send(picture));
    viewer.expect_frame(pictures.last().unwrap());
    assert_eq!(viewer.wire.lose, 0);
    assert_eq!(viewer.frames[1..], pictures);
    let stats = house.ask(house.engine.viewer_stats(viewer_id(1))).unwrap();
    assert!(stats.retransmitted >= 2, "{stats:?}");
    assert!(stats.connected);
}
