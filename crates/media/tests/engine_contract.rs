//! What every media engine does, told once and asked of each: the built-in one, and a pool of Kurento servers (which are doubles
//! that behave as a recorded one did, and move media for real).

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails, and waits for what it names"
)]

mod support;

use apiary_media::engine::{
    CandidateDelivery, CloseReason, EngineError, EngineEvent, ViewerGoneReason,
};
use apiary_wire::sdp::CameraSdpRules;
use support::{Camera, Frame, House, Viewer, camera_id, show, stream_id, viewer_id};

/// Makes a test of each function for each engine.
macro_rules! of_every_engine {
    ($($name:ident),+ $(,)?) => {
        mod sfu {
            $(#[test] fn $name() { super::$name(super::House::new(2)) })+
        }
        mod kurento {
            $(#[test] fn $name() { super::$name(super::House::kurento(1)) })+
        }
    };
}

of_every_engine!(
    the_camera_is_told_what_it_can_use,
    a_stream_starts_with_its_first_picture,
    a_viewer_sees_the_picture_and_hears_the_sound,
    candidates_may_trickle_both_ways,
    many_viewers_see_the_same,
    who_leaves_is_gone_and_nobody_else,
    stopping_tells_every_viewer_and_frees_the_camera,
    a_stall_is_told_once_and_so_is_its_end,
    a_camera_that_was_killed_is_seen_again_by_the_same_viewers,
    a_viewer_that_was_killed_is_let_go,
    the_camera_is_asked_for_what_it_may_send,
    counters_count,
    what_is_not_there_is_named,
    offers_and_candidates_that_cannot_be_used_are_refused,
    after_the_end_nothing_is_taken,
);

fn the_camera_is_told_what_it_can_use(house: House) {
    let opened = house.try_open(1).unwrap();
    let sdp = CameraSdpRules::accept(&opened.camera_sdp).unwrap();
    assert!(sdp.passive, "{}", opened.camera_sdp);
    assert_eq!(sdp.address, house.address);
    assert_eq!(opened.address, house.address);
    assert_eq!(
        (sdp.video_port, sdp.audio_port),
        (opened.ingest.video, opened.ingest.audio)
    );
    assert_eq!(
        (sdp.video_rtcp_port, sdp.audio_rtcp_port),
        (opened.ingest.video + 1, opened.ingest.audio + 1)
    );
    assert_ne!(sdp.video_ssrc, sdp.audio_ssrc);
    assert!(!opened.pipeline_id.is_empty() && !opened.rtp_endpoint_id.is_empty());
    assert!(matches!(
        house.try_open(1),
        Err(EngineError::AlreadyOpen(camera)) if camera == camera_id(1)
    ));
    let other = house.try_open(2).unwrap();
    assert_ne!(other.ingest, opened.ingest);
    assert_ne!(other.pipeline_id, opened.pipeline_id);
}

fn a_stream_starts_with_its_first_picture(mut house: House) {
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    house.wait_started(1);
}

fn a_viewer_sees_the_picture_and_hears_the_sound(mut house: House) {
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    house.wait_started(1);
    let mut viewer = house.join(1, 1);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(2));
    camera.send(&Frame::delta(3));
    viewer.expect_frame(&Frame::delta(3));
    viewer.run_until("sound", |viewer| {
        viewer.sounds.contains(&b"a bit of sound".to_vec())
    });
    house.wait_for(|event| match event {
        EngineEvent::ViewerConnected { camera, viewer } => {
            assert_eq!((*camera, *viewer), (camera_id(1), viewer_id(1)));
            Some(())
        }
        _ => None,
    });
}

fn candidates_may_trickle_both_ways(house: House) {
    let mut camera = house.open(1);
    let mut viewer = Viewer::new(house.address);
    let (offer, own) = viewer.offer_without_candidates();
    assert!(!own.is_empty());
    let mut joined = house
        .try_join_with(1, 1, &offer, CandidateDelivery::Trickled)
        .unwrap();
    viewer.accept(&joined.answer);
    let mdns = "candidate:9 1 udp 2113937151 2c4e8f5a-0000-4000-8000-000000000000.local 9 typ host";
    for candidate in own.iter().map(String::as_str).chain([mdns, ""]) {
        house
            .ask(house.engine.add_candidate(viewer_id(1), candidate))
            .unwrap();
    }
    if let Some(candidates) = &mut joined.candidates {
        let mut told = 0;
        while let Some(candidate) = house.ask(candidates.recv()) {
            viewer.add_candidate(&candidate.candidate);
            assert_eq!(candidate.sdp_m_line_index, 0);
            told += 1;
        }
        assert!(told > 0);
    }
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(1));
}

fn many_viewers_see_the_same(house: House) {
    let mut camera = house.open(1);
    let mut viewers: Vec<Viewer> = (1..=4).map(|number| house.join(1, number)).collect();
    for viewer in &mut viewers {
        viewer.connect();
    }
    for viewer in &mut viewers {
        show(&mut camera, viewer, &Frame::idr(1));
    }
    camera.send(&Frame::delta(2));
    for viewer in &mut viewers {
        viewer.expect_frame(&Frame::delta(2));
    }
    assert_eq!(house.stats(1).viewers, 4);
}

fn who_leaves_is_gone_and_nobody_else(mut house: House) {
    let mut camera = house.open(1);
    let mut leaving = house.join(1, 1);
    leaving.connect();
    let mut staying = house.join(1, 2);
    staying.connect();
    house.ask(house.engine.leave(viewer_id(1))).unwrap();
    assert_eq!(house.wait_gone(1), ViewerGoneReason::Left);
    house.ask(house.engine.leave(viewer_id(1))).unwrap();
    assert!(house.ask(house.engine.viewer_stats(viewer_id(1))).is_none());
    assert_eq!(house.stats(1).viewers, 1);
    show(&mut camera, &mut staying, &Frame::idr(1));
    assert!(!leaving.frames.contains(&Frame::idr(1)));
}

fn stopping_tells_every_viewer_and_frees_the_camera(mut house: House) {
    let mut camera = house.open(1);
    let mut viewers = [house.join(1, 1), house.join(1, 2)];
    for viewer in &mut viewers {
        show(&mut camera, viewer, &Frame::idr(1));
    }
    house
        .ask(house.engine.close(camera_id(1), CloseReason::Stopped))
        .unwrap();
    let stopped = ViewerGoneReason::StreamClosed(CloseReason::Stopped);
    let mut gone = Vec::new();
    while gone.len() < viewers.len() {
        gone.push(house.wait_for(|event| match event {
            EngineEvent::ViewerGone { viewer, reason, .. } => {
                assert_eq!(*reason, stopped);
                Some(*viewer)
            }
            _ => None,
        }));
    }
    gone.sort();
    assert_eq!(gone, [viewer_id(1), viewer_id(2)]);
    assert!(house.ask(house.engine.stream_stats(camera_id(1))).is_none());
    house
        .ask(house.engine.close(camera_id(1), CloseReason::Stopped))
        .unwrap();
    let mut again = house.open(1);
    let mut viewer = house.join(1, 3);
    viewer.connect();
    show(&mut again, &mut viewer, &Frame::idr(7));
}

fn a_stall_is_told_once_and_so_is_its_end(mut house: House) {
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    house.wait_started(1);
    house.wait_for(|event| match event {
        EngineEvent::RtpSilent { camera, .. } if *camera == camera_id(1) => Some(()),
        _ => None,
    });
    camera.send(&Frame::idr(2));
    house.wait_for(|event| match event {
        EngineEvent::RtpResumed { camera } if *camera == camera_id(1) => Some(()),
        EngineEvent::RtpSilent { .. } | EngineEvent::RtpStarted { .. } => panic!("{event:?}"),
        _ => None,
    });
}

fn a_camera_that_was_killed_is_seen_again_by_the_same_viewers(mut house: House) {
    let mut camera = house.open(1);
    let mut viewer = house.join(1, 1);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(1));
    house.wait_started(1);
    let rearmed = house
        .ask(house.engine.rearm(camera_id(1), stream_id(2)))
        .unwrap();
    let mut restarted = Camera::new(house.address, &rearmed);
    assert_ne!(restarted.video.ssrc, camera.video.ssrc);
    show(&mut restarted, &mut viewer, &Frame::idr(2));
    house.wait_started(1);
    assert!(matches!(
        house.ask(house.engine.rearm(camera_id(9), stream_id(3))),
        Err(EngineError::UnknownStream(_))
    ));
}

fn a_viewer_that_was_killed_is_let_go(mut house: House) {
    let mut camera = house.open(1);
    let mut viewer = house.join(1, 1);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(1));
    drop(viewer);
    assert_eq!(house.wait_gone(1), ViewerGoneReason::Expired);
    assert_eq!(house.stats(1).viewers, 0);
}

fn the_camera_is_asked_for_what_it_may_send(house: House) {
    let mut camera = house.open(1);
    let bounds = house.spec(1).bitrate;
    for _ in 0..3 {
        let asked = house.until_sending(&mut camera, |camera| {
            camera.send_report();
            camera.take_remb()
        });
        assert!(
            asked <= bounds.max,
            "{asked:?} is more than {:?}",
            bounds.max
        );
        assert!(
            asked >= bounds.min,
            "{asked:?} is less than {:?}",
            bounds.min
        );
    }
}

fn counters_count(mut house: House) {
    let mut camera = house.open(1);
    camera.send(&Frame::idr(1));
    house.wait_started(1);
    let mut viewer = house.join(1, 1);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(2));
    let stats = house.wait_stats(1, |stats| stats.packets >= 10 && stats.octets >= 10_000);
    assert_eq!((stats.viewers, stats.lost), (1, 0));
    house.wait_sent(1, 5);
    let stats = house.ask(house.engine.viewer_stats(viewer_id(1))).unwrap();
    assert!(stats.connected && stats.octets >= 4_000, "{stats:?}");
}

fn what_is_not_there_is_named(house: House) {
    let unknown =
        |error| matches!(error, EngineError::UnknownStream(camera) if camera == camera_id(8));
    let offer = support::offer(house.address);
    assert!(unknown(house.try_join(8, 1, &offer).unwrap_err()));
    let asked = house.ask(house.engine.request_key_frame(camera_id(8)));
    assert!(unknown(asked.unwrap_err()));
    assert!(house.ask(house.engine.stream_stats(camera_id(8))).is_none());
    assert!(house.ask(house.engine.viewer_stats(viewer_id(8))).is_none());
    assert!(matches!(
        house.ask(house.engine.add_candidate(viewer_id(8), "")),
        Err(EngineError::UnknownViewer(viewer)) if viewer == viewer_id(8)
    ));
}

fn offers_and_candidates_that_cannot_be_used_are_refused(house: House) {
    let _camera = house.open(1);
    for offer in ["", "garbage", "v=0\r\n"] {
        assert!(
            matches!(house.try_join(1, 1, offer), Err(EngineError::Offer(_))),
            "{offer:?}"
        );
    }
    assert_eq!(house.stats(1).viewers, 0);
    let _viewer = house.join(1, 2);
    for candidate in ["nonsense", "candidate:garbage"] {
        assert!(matches!(
            house.ask(house.engine.add_candidate(viewer_id(2), candidate)),
            Err(EngineError::Candidate(_))
        ));
    }
}

fn after_the_end_nothing_is_taken(mut house: House) {
    let _camera = house.open(1);
    let _viewer = house.join(1, 1);
    house.ask(house.engine.shutdown());
    assert_eq!(
        house.wait_gone(1),
        ViewerGoneReason::StreamClosed(CloseReason::Shutdown)
    );
    assert!(matches!(house.try_open(2), Err(EngineError::Closed)));
}
