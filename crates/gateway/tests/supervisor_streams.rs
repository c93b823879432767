//! The supervisor between stand-ins, on a stopped clock: starting, stopping, keeping alive, and every fault in between.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod supervisor_support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use apiary::config::Config;
use apiary::config::values::{BrokerAddress, BrokerTarget};
use apiary::supervisor::{JoinError, StartError, StartOptions, SupervisorEvent, ViewerOrigin};
use apiary_core::lifecycle::{Health, Phase};
use apiary_media::engine::{CloseReason, EngineError, EngineEvent};
use apiary_store::SessionStatus;
use apiary_wire::camera::{CameraMessage, Command, Connection, ConnectionStatus};
use apiary_wire::id::StreamId;
use apiary_wire::units::Bitrate;
use supervisor_support::cameras::{FakeCameras, Mood};
use supervisor_support::engine::{BAD_OFFER, Fault};
use supervisor_support::store::MemoryStore;
use supervisor_support::{Rig, camera, config, offer, secs, within};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

fn play(stream: StreamId) -> Command {
    Command::Play {
        stream,
        sdp: format!("sdp of {stream}"),
    }
}

fn stop(stream: StreamId) -> Command {
    Command::Stop { stream }
}

#[tokio::test(start_paused = true)]
async fn a_stream_starts_becomes_active_by_rtp_and_stops() {
    let mut rig = Rig::new().await;
    let started = rig.start(camera(1)).await.unwrap();
    assert_eq!(started.phase, Phase::Starting);
    assert_eq!(
        started.session_id,
        format!("stream-{}-{}", camera(1).short(), started.stream.short())
    );
    assert!(started.pipeline_id.is_some() && started.rtp_endpoint_id.is_some());
    rig.cameras.until(camera(1), "stream/play", 1).await;
    assert_eq!(rig.cameras.sent(camera(1)), [play(started.stream)]);
    assert_eq!(
        rig.phase(camera(1)),
        Some(Phase::Starting),
        "not by a message sent"
    );
    rig.engine.rtp_started(camera(1));
    rig.until(camera(1), |stream| stream.phase == Phase::Active)
        .await;
    sleep(secs(9)).await;
    let running = rig.supervisor.stream(camera(1)).unwrap();
    assert!(running.keepalive.running && running.keepalive.last_success.is_some());
    assert_eq!((running.keepalive.count, running.keepalive.errors), (3, 0));
    assert_eq!(running.keepalive.interval, secs(4));

    let stopped = rig.supervisor.stop(camera(1)).await.unwrap();
    assert_eq!(stopped.phase, Phase::Stopped);
    assert!(stopped.stopped_at.is_some() && !stopped.keepalive.running);
    assert_eq!((stopped.starts, stopped.stops), (1, 1));
    assert_eq!(
        rig.cameras.sent(camera(1)).last(),
        Some(&stop(started.stream))
    );
    assert_eq!(rig.engine.legs(), 0);
    assert_eq!(rig.supervisor.streams(), []);
    assert_eq!(rig.supervisor.stream(camera(1)), Some(stopped));
    assert!(rig.supervisor.stop(camera(1)).await.is_err());

    rig.writer.flush().await;
    let rows = rig.store.streams();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].session_id, started.session_id);
    assert_eq!(rows[0].status, SessionStatus::Stopped);
    assert!(rows[0].ended_at.is_some());
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_starts_at_once_make_one_stream() {
    let rig = Rig::new().await;
    let mut starts = JoinSet::new();
    for _ in 0..100 {
        let supervisor = rig.supervisor.clone();
        starts.spawn(async move { supervisor.start(camera(1), StartOptions::default()).await });
    }
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    while let Some(started) = starts.join_next().await {
        match started.unwrap() {
            Ok(stream) => won.push(stream.session_id),
            Err(StartError::AlreadyRunning(stream)) => lost.push(stream.session_id),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((won.len(), lost.len()), (1, 99));
    assert!(lost.iter().all(|session| *session == won[0]));
    assert_eq!(rig.engine.opened().len(), 1);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_joins_at_once_start_one_stream_and_all_get_in() {
    let mut rig = Rig::new().await;
    let mut joins = JoinSet::new();
    for _ in 0..100 {
        let supervisor = rig.supervisor.clone();
        joins.spawn(async move {
            let origin = ViewerOrigin::default();
            supervisor.join(camera(1), offer("offer"), origin).await
        });
    }
    while let Some(joined) = joins.join_next().await {
        assert_eq!(joined.unwrap().unwrap().answer, "answer to offer");
    }
    assert_eq!(rig.engine.opened().len(), 1);
    assert_eq!(rig.engine.viewers(), 100);
    assert_eq!(rig.supervisor.viewers(Some(camera(1))).len(), 100);
    rig.until(camera(1), |stream| stream.viewer_count == 100)
        .await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_viewer_of_an_idle_camera_is_in_before_any_rtp() {
    let mut rig = Rig::new().await;
    let joined = rig.join(camera(1)).await.unwrap();
    assert_eq!(rig.phase(camera(1)), Some(Phase::Starting));
    assert_eq!(joined.stream.camera, camera(1));
    rig.engine.say(EngineEvent::ViewerConnected {
        camera: camera(1),
        viewer: joined.viewer,
    });
    rig.engine.rtp_started(camera(1));
    let stream = rig
        .until(camera(1), |stream| stream.phase == Phase::Active)
        .await;
    assert_eq!(stream.viewer_count, 1);
    let viewers = rig.supervisor.viewers(None);
    assert_eq!(viewers.len(), 1);
    assert!(viewers[0].connected);
    assert_eq!(viewers[0].stream, stream.stream);
    assert_eq!(
        stream.webrtc_endpoint_id,
        Some(viewers[0].webrtc_endpoint_id.clone())
    );
    rig.supervisor.leave(joined.viewer).await;
    assert_eq!(rig.until_gone(joined.viewer).await.0, "the viewer left");
    assert_eq!(rig.supervisor.viewers(None), []);
    assert_eq!(rig.engine.viewers(), 0);
    rig.supervisor.leave(joined.viewer).await;
    rig.writer.flush().await;
    assert!(rig.store.viewers()[0].disconnected_at.is_some());
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_offer_is_refused_and_does_not_leave_the_camera_running() {
    let mut rig = Rig::new().await;
    let origin = ViewerOrigin::default();
    let refused = rig
        .supervisor
        .join(camera(1), offer(BAD_OFFER), origin.clone())
        .await;
    let Err(JoinError::Engine(EngineError::Offer(text))) = refused else {
        panic!("{refused:?}");
    };
    assert!(text.contains("H.264"));
    rig.until(camera(1), |stream| stream.phase == Phase::Stopped)
        .await;
    assert_eq!(rig.supervisor.viewers(None), []);

    // One that others watch runs on.
    let other = rig.join(camera(1)).await.unwrap();
    let refused = rig
        .supervisor
        .join(camera(1), offer(BAD_OFFER), origin)
        .await;
    assert!(refused.is_err());
    sleep(secs(1)).await;
    assert_eq!(rig.phase(camera(1)), Some(Phase::Starting));
    assert_eq!(rig.supervisor.viewers(None)[0].viewer, other.viewer);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_viewer_gone_stops_the_stream_after_the_idle_timeout() {
    let mut rig = Rig::new().await;
    let joined = rig.join(camera(1)).await.unwrap();
    rig.engine.rtp_started(camera(1));
    rig.until(camera(1), |stream| stream.phase == Phase::Active)
        .await;
    sleep(secs(1_000)).await;
    assert_eq!(rig.phase(camera(1)), Some(Phase::Active));
    let left = Instant::now();
    rig.supervisor.leave(joined.viewer).await;
    while left.elapsed() < secs(299) {
        assert_eq!(rig.phase(camera(1)), Some(Phase::Active));
        sleep(secs(1)).await;
    }
    rig.until(camera(1), |stream| stream.phase == Phase::Stopped)
        .await;
    assert!(left.elapsed() <= secs(301));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_or_join_behind_a_stop_waits_for_it_and_starts_anew() {
    let mut rig = Rig::new().await;
    let first = rig.active(camera(1)).await;
    // The stop takes two seconds, as nobody acknowledges it.
    rig.cameras.set(Mood::Hangs);
    let (stopped, started) = tokio::join!(rig.supervisor.stop(camera(1)), async {
        sleep(secs(1)).await;
        let begin = Instant::now();
        let started = rig.start(camera(1)).await;
        assert!(begin.elapsed() >= secs(1), "behind the stop");
        started
    });
    rig.cameras.set(Mood::Works);
    assert_eq!(stopped.unwrap().stream, first.stream);
    let second = started.unwrap();
    assert_ne!(second.stream, first.stream);
    rig.cameras.until(camera(1), "stream/play", 2).await;
    assert_eq!(
        rig.cameras.sent(camera(1)),
        [play(first.stream), stop(first.stream), play(second.stream)]
    );
    rig.cameras.set(Mood::Hangs);
    let (stopped, joined) = tokio::join!(rig.supervisor.stop(camera(1)), async {
        sleep(secs(1)).await;
        rig.join(camera(1)).await
    });
    assert!(stopped.is_ok());
    assert_ne!(joined.unwrap().stream.stream, second.stream);
    assert_eq!(rig.engine.most_legs(), 1);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn stops_at_once_are_one() {
    let mut rig = Rig::new().await;
    let stream = rig.active(camera(1)).await;
    let (first, second) = tokio::join!(
        rig.supervisor.stop(camera(1)),
        rig.supervisor.stop(camera(1))
    );
    assert_eq!(first.unwrap().phase, Phase::Stopped);
    assert_eq!(second.unwrap().phase, Phase::Stopped);
    assert_eq!(
        rig.cameras.sent(camera(1)),
        [play(stream.stream), stop(stream.stream)]
    );
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_tells_the_viewers() {
    let mut rig = Rig::new().await;
    let joined = rig.join(camera(1)).await.unwrap();
    rig.supervisor.stop(camera(1)).await.unwrap();
    assert_eq!(
        rig.until_gone(joined.viewer).await,
        ("the stream was stopped".to_owned(), false)
    );
    assert_eq!(rig.supervisor.viewers(None), []);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn keepalives_keep_their_time_whatever_else_hangs() {
    let mut rig = Rig::new().await;
    let stream = rig.active(camera(1)).await;
    // The database, a viewer, and another camera's end hang; then the broker acknowledges no more.
    rig.store.hang();
    rig.engine.fault(Fault::HangInJoin);
    for _ in 0..50 {
        let supervisor = rig.supervisor.clone();
        tokio::spawn(async move {
            let origin = ViewerOrigin::default();
            let _ = supervisor.join(camera(1), offer("offer"), origin).await;
        });
    }
    rig.start(camera(2)).await.unwrap();
    rig.engine.fault(Fault::HangInClose);
    let other = rig.supervisor.clone();
    tokio::spawn(async move { other.stop(camera(2)).await });
    sleep(secs(40)).await;
    rig.cameras.set(Mood::Hangs);
    sleep(secs(41)).await;
    let keepalives = rig.cameras.keepalives(camera(1));
    assert_eq!(keepalives.len(), 21);
    for (number, (at, of, count)) in (0..).zip(&keepalives) {
        assert_eq!((*of, *count), (stream.stream, number));
        assert_eq!(at.as_secs(), 4 * number);
    }
}

#[tokio::test(start_paused = true)]
async fn f09_a_broker_that_is_gone_at_the_start_is_named_and_forgiven() {
    let mut rig = Rig::new().await;
    rig.cameras.set(Mood::Gone);
    rig.start(camera(1)).await.unwrap();
    let failed = rig
        .until(camera(1), |stream| stream.phase == Phase::Error)
        .await;
    let text = failed.error.unwrap().text;
    assert!(
        text.contains("connection refused") && text.contains("mqtt.broker"),
        "{text}"
    );
    assert_eq!(
        (failed.errors, failed.last_error.as_ref()),
        (1, Some(&text))
    );
    assert_eq!(rig.engine.legs(), 0);
    assert_eq!(
        rig.engine.closed(),
        [(camera(1), CloseReason::Failed)],
        "an error frees the leg"
    );
    // Back within the start timeout of the next try.
    rig.start(camera(1)).await.unwrap();
    sleep(secs(20)).await;
    assert_eq!(rig.cameras.sent(camera(1)), []);
    rig.cameras.set(Mood::Works);
    rig.cameras.until(camera(1), "stream/play", 1).await;
    rig.engine.rtp_started(camera(1));
    rig.until(camera(1), |stream| stream.phase == Phase::Active)
        .await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn f09_a_broker_that_goes_during_a_stream_degrades_it_and_stops_nothing() {
    let mut rig = Rig::new().await;
    rig.active(camera(1)).await;
    rig.cameras.set(Mood::Gone);
    rig.until_health(camera(1), Health::Degraded).await;
    sleep(secs(600)).await;
    let stream = rig.supervisor.stream(camera(1)).unwrap();
    assert_eq!(stream.phase, Phase::Active);
    assert!(stream.keepalive.errors > 100);
    assert!(
        stream
            .keepalive
            .last_error
            .unwrap()
            .contains("connection refused")
    );
    rig.cameras.set(Mood::Works);
    rig.until_health(camera(1), Health::Good).await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn f09_a_stop_without_a_broker_ends_the_stream_all_the_same() {
    for mood in [Mood::Gone, Mood::Hangs] {
        let mut rig = Rig::new().await;
        rig.active(camera(1)).await;
        rig.cameras.set(mood);
        let begin = Instant::now();
        let stopped = rig.supervisor.stop(camera(1)).await.unwrap();
        assert_eq!(stopped.phase, Phase::Stopped);
        assert!(begin.elapsed() <= secs(3));
        assert_eq!(rig.engine.legs(), 0);
        rig.end().await;
    }
}

fn silent(camera: apiary_wire::id::CameraId) -> EngineEvent {
    EngineEvent::RtpSilent {
        camera,
        silent_for: secs(2),
    }
}

#[tokio::test(start_paused = true)]
async fn f01_silence_stalls_and_the_camera_is_played_again() {
    let mut rig = Rig::new().await;
    let joined = rig.join(camera(1)).await.unwrap();
    let first = joined.stream.stream;
    rig.engine.rtp_started(camera(1));
    rig.until(camera(1), |stream| stream.phase == Phase::Active)
        .await;
    rig.engine.say(silent(camera(1)));
    rig.until_health(camera(1), Health::Stalled).await;
    assert_eq!(rig.phase(camera(1)), Some(Phase::Active));
    let again = rig.until(camera(1), |stream| stream.stream != first).await;
    rig.cameras.until(camera(1), "stream/play", 2).await;
    assert_eq!(
        rig.cameras.sent(camera(1)),
        [play(first), stop(first), play(again.stream)]
    );
    assert_eq!(rig.engine.armed_for(camera(1)), Some(again.stream));
    assert_eq!(again.session_id, joined.stream.session_id, "one session");
    let (_, stream, count) = *rig.cameras.keepalives(camera(1)).last().unwrap();
    assert_eq!(
        (stream, count),
        (again.stream, 0),
        "the sequence starts again"
    );
    assert!(rig.engine.key_frames() > 0);
    rig.engine.rtp_started(camera(1));
    rig.until_health(camera(1), Health::Good).await;
    assert_eq!(rig.supervisor.viewers(None).len(), 1, "viewers stay");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn f01_a_hello_during_silence_plays_again_at_once() {
    let mut rig = Rig::new().await;
    rig.active(camera(1)).await;
    sleep(secs(10)).await;
    rig.cameras
        .connection(camera(1), ConnectionStatus::Disconnected);
    rig.engine.say(silent(camera(1)));
    rig.until_health(camera(1), Health::Stalled).await;
    let begin = Instant::now();
    rig.cameras.hello(camera(1));
    rig.cameras.until(camera(1), "stream/play", 2).await;
    assert!(begin.elapsed() < secs(1));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn rtp_of_the_run_before_a_rearm_does_not_count() {
    let mut rig = Rig::new().await;
    rig.active(camera(1)).await;
    rig.engine.resume_while_rearming();
    rig.engine.say(silent(camera(1)));
    rig.cameras.until(camera(1), "stream/play", 2).await;
    sleep(secs(3)).await;
    let stream = rig.supervisor.stream(camera(1)).unwrap();
    assert_eq!(
        stream.health,
        Health::Stalled,
        "nothing came of the new run"
    );
    rig.cameras.until(camera(1), "stream/play", 3).await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_rearm_that_fails_is_tried_again() {
    let mut rig = Rig::new().await;
    rig.active(camera(1)).await;
    rig.engine.fault(Fault::RearmFails);
    rig.engine.say(silent(camera(1)));
    rig.cameras.until(camera(1), "stream/play", 2).await;
    rig.engine.rtp_started(camera(1));
    rig.until_health(camera(1), Health::Good).await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn start_failures_name_their_cause() {
    let mut rig = Rig::new().await;
    let error = |stream: &apiary::supervisor::StreamSnapshot| stream.error.clone().unwrap().text;
    let is_error = |stream: &apiary::supervisor::StreamSnapshot| stream.phase == Phase::Error;
    rig.start(camera(1)).await.unwrap();
    let text = error(&rig.until(camera(1), is_error).await);
    assert!(text.contains("127.0.0.1:5006"), "{text}");
    rig.cameras
        .connection(camera(2), ConnectionStatus::Disconnected);
    rig.start(camera(2)).await.unwrap();
    let text = error(&rig.until(camera(2), is_error).await);
    assert!(text.contains("offline"), "{text}");
    rig.start(camera(3)).await.unwrap();
    rig.engine.foreign_ssrc(camera(3));
    let text = error(&rig.until(camera(3), is_error).await);
    assert!(text.contains("0xdeadbeef"), "{text}");
    rig.writer.flush().await;
    assert!(
        rig.store
            .streams()
            .iter()
            .all(|row| row.status == SessionStatus::Error && row.error_message.is_some())
    );
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_used_up_port_range_is_named_and_recovers() {
    let mut rig = Rig::new().await;
    rig.engine.has_room_for(1);
    rig.active(camera(1)).await;
    let refused = rig.start(camera(2)).await.unwrap_err();
    assert!(
        matches!(
            refused,
            StartError::Engine(EngineError::PortsExhausted { .. })
        ),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("ingest.ports"), "{refused}");
    assert!(matches!(
        rig.join(camera(2)).await,
        Err(JoinError::Start(StartError::Engine(
            EngineError::PortsExhausted { .. }
        )))
    ));
    let failed = rig.supervisor.stream(camera(2)).unwrap();
    assert_eq!(failed.phase, Phase::Error);
    assert_eq!(rig.cameras.sent(camera(2)), [], "it was never told to play");
    rig.supervisor.stop(camera(1)).await.unwrap();
    rig.start(camera(2)).await.unwrap();
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_leg_that_could_not_be_closed_does_not_keep_the_camera_from_starting() {
    let mut rig = Rig::new().await;
    rig.active(camera(1)).await;
    rig.engine.fault(Fault::HangInClose);
    let stopped = rig.supervisor.stop(camera(1)).await.unwrap();
    assert_eq!(stopped.phase, Phase::Stopped);
    assert_eq!(rig.engine.legs(), 1, "left open");
    rig.engine.mend(Fault::HangInClose);
    rig.active(camera(1)).await;
    assert_eq!(rig.engine.legs(), 1);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn f10_a_lost_worker_is_reopened_and_its_viewers_are_told() {
    let mut rig = Rig::new().await;
    let joined = rig.join(camera(1)).await.unwrap();
    rig.engine.rtp_started(camera(1));
    rig.until(camera(1), |stream| stream.phase == Phase::Active)
        .await;
    rig.engine.lose_worker();
    let (_, retry) = rig.until_gone(joined.viewer).await;
    assert!(retry, "a page may join again at once");
    rig.cameras.until(camera(1), "stream/play", 2).await;
    assert_eq!(rig.engine.opened().len(), 2);
    rig.engine.rtp_started(camera(1));
    let stream = rig
        .until(camera(1), |stream| stream.phase == Phase::Active)
        .await;
    assert_eq!(stream.viewer_count, 0);
    rig.join(camera(1)).await.unwrap();
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn f10_a_viewer_that_comes_back_before_its_stream_has_heard_waits_for_it() {
    let mut rig = Rig::new().await;
    rig.active(camera(1)).await;
    let joined = rig.join(camera(1)).await.unwrap();
    let lost = rig.engine.lose_worker_and_tell_viewers();
    let (_, retry) = rig.until_gone(joined.viewer).await;
    assert!(retry);
    let (again, ()) = tokio::join!(rig.join(camera(1)), async {
        sleep(secs(1)).await;
        rig.engine.say_lost(lost);
    });
    let again = again.unwrap();
    assert_ne!(again.stream.stream, joined.stream.stream);
    assert_eq!(again.stream.session_id, joined.stream.session_id);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn f10_a_panic_in_a_stream_costs_that_session_alone() {
    for fault in [Fault::PanicInKeyFrame, Fault::PanicInRearm] {
        let mut rig = Rig::new().await;
        let stream = rig.active(camera(1)).await;
        rig.active(camera(2)).await;
        let viewer = rig.join(camera(1)).await.unwrap().viewer;
        rig.engine.fault(fault);
        rig.engine.say(silent(camera(1)));
        let failed = rig
            .until(camera(1), |stream| stream.phase == Phase::Error)
            .await;
        assert!(failed.error.unwrap().text.contains("internal error"));
        assert!(failed.stopped_at.is_some());
        assert_eq!(failed.errors, 1);
        assert_eq!(
            rig.cameras.sent(camera(1)).last(),
            Some(&stop(failed.stream))
        );
        rig.until_gone(viewer).await;
        assert_eq!(rig.phase(camera(2)), Some(Phase::Active));
        assert_eq!(rig.engine.legs(), 1);
        rig.writer.flush().await;
        let rows = rig.store.streams();
        let row = rows.iter().find(|row| row.session_id == stream.session_id);
        assert_eq!(row.unwrap().status, SessionStatus::Error);
        rig.active(camera(1)).await;
        rig.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn f10_a_panic_in_a_join_costs_that_viewer_alone() {
    let mut rig = Rig::new().await;
    rig.active(camera(1)).await;
    rig.engine.fault(Fault::PanicInJoin);
    assert!(rig.join(camera(1)).await.is_err());
    assert_eq!(rig.supervisor.viewers(None), []);
    rig.join(camera(1)).await.unwrap();
    assert_eq!(rig.phase(camera(1)), Some(Phase::Active));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_viewer_whose_request_was_given_up_is_let_go() {
    let mut rig = Rig::new().await;
    rig.active(camera(1)).await;
    {
        let origin = ViewerOrigin::default();
        let mut join = std::pin::pin!(rig.supervisor.join(camera(1), offer("offer"), origin));
        // Begun, then dropped before its answer is taken.
        assert!(futures_util::poll!(join.as_mut()).is_pending());
    }
    rig.writer.flush().await;
    within("the abandoned viewer's end", async {
        while rig
            .store
            .viewers()
            .iter()
            .all(|row| row.disconnected_at.is_none())
        {
            sleep(secs(1)).await;
            rig.writer.flush().await;
        }
    })
    .await;
    assert_eq!(rig.engine.viewers(), 0);
    assert_eq!(rig.supervisor.viewers(None), []);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn lost_events_are_made_up_for() {
    let mut rig = Rig::new().await;
    rig.start(camera(1)).await.unwrap();
    let viewer = rig.join(camera(1)).await.unwrap().viewer;
    rig.engine.receives(Bitrate::from_kbps(1_000));
    rig.engine.drop_viewer(viewer, true);
    // What says so is pushed out of the queue by more events than it holds.
    rig.engine.rtp_started(camera(1));
    for number in 0..2_000 {
        rig.engine.say(EngineEvent::RtcpSeen {
            camera: camera(number),
        });
    }
    rig.until(camera(1), |stream| {
        stream.phase == Phase::Active && stream.viewer_count == 0
    })
    .await;
    rig.engine.receives(Bitrate::from_kbps(0));
    for number in 0..2_000 {
        rig.engine.say(EngineEvent::RtcpSeen {
            camera: camera(number),
        });
    }
    rig.until_health(camera(1), Health::Stalled).await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_every_camera_and_tells_every_viewer() {
    let mut rig = Rig::new().await;
    let mut viewers = Vec::new();
    for number in 1..=20 {
        viewers.push(rig.join(camera(number)).await.unwrap().viewer);
    }
    rig.start(camera(21)).await.unwrap();
    let begin = Instant::now();
    rig.supervisor.shutdown().await;
    assert!(begin.elapsed() < secs(1));
    for number in 1..=21 {
        let last = rig.cameras.sent(camera(number)).pop().unwrap();
        assert!(matches!(last, Command::Stop { .. }), "{last:?}");
        assert_eq!(rig.phase(camera(number)), Some(Phase::Stopped));
    }
    let gone = rig.all_gone(viewers.len()).await;
    assert!(viewers.iter().all(|viewer| gone.contains_key(viewer)));
    assert!(
        gone.values()
            .all(|reason| reason == "the server is shutting down")
    );
    assert!(matches!(
        rig.start(camera(1)).await,
        Err(StartError::ShuttingDown)
    ));
    assert!(matches!(
        rig.join(camera(1)).await,
        Err(JoinError::Start(StartError::ShuttingDown))
    ));
    rig.writer.flush().await;
    assert!(rig.store.streams().iter().all(|row| row.ended_at.is_some()));
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_bounded_when_broker_and_engine_hang() {
    let mut rig = Rig::new().await;
    for number in 1..=20 {
        rig.active(camera(number)).await;
    }
    rig.cameras.set(Mood::Hangs);
    rig.engine.fault(Fault::HangInClose);
    let begin = Instant::now();
    rig.supervisor.shutdown().await;
    assert!(begin.elapsed() < secs(4), "{:?}", begin.elapsed());
}

/// A program that crashed with two streams, and the next one, which cannot reach the broker yet.
async fn after_a_crash(config: Config) -> (Rig, [StreamId; 2]) {
    let store = Arc::new(MemoryStore::default());
    let first = Rig::with(config.clone(), Arc::clone(&store), FakeCameras::new()).await;
    let left = [
        first.start(camera(1)).await.unwrap().stream,
        first.start(camera(2)).await.unwrap().stream,
    ];
    first.writer.flush().await; // and no shutdown
    let cameras = FakeCameras::new();
    cameras.set(Mood::Gone);
    let rig = Rig::with(config, Arc::clone(&store), cameras).await;
    assert!(
        store
            .streams()
            .iter()
            .all(|row| row.status == SessionStatus::Interrupted)
    );
    (rig, left)
}

#[tokio::test(start_paused = true)]
async fn f04_what_a_crash_left_streaming_is_stopped() {
    let mut config = config();
    config.mqtt.broker = BrokerTarget::External(BrokerAddress {
        host: "broker".to_owned(),
        port: 1883,
        tls: false,
    });
    let (mut rig, left) = after_a_crash(config).await;
    // One is started meanwhile: its old run must be stopped before the new one is played, and not after.
    let started = rig.start(camera(1)).await.unwrap();
    sleep(secs(10)).await;
    rig.cameras.set(Mood::Works);
    rig.cameras.until(camera(2), "stream/stop", 1).await;
    assert_eq!(rig.cameras.sent(camera(2)), [stop(left[1])]);
    rig.engine.rtp_started(camera(1));
    rig.until(camera(1), |stream| stream.phase == Phase::Active)
        .await;
    sleep(secs(30)).await;
    assert_eq!(
        rig.cameras.sent(camera(1)),
        [stop(left[0]), play(started.stream)]
    );
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn f04_with_the_embedded_broker_a_camera_is_stopped_when_it_is_back() {
    let (mut rig, left) = after_a_crash(config()).await;
    rig.cameras.set(Mood::Works);
    sleep(secs(10)).await;
    assert_eq!(rig.cameras.sent(camera(2)), [], "nobody would hear it");
    rig.cameras.hello(camera(2));
    rig.cameras.until(camera(2), "stream/stop", 1).await;
    assert_eq!(rig.cameras.sent(camera(2)), [stop(left[1])]);
    // The other is started before it is back, and hears of it with the play that follows its hello.
    rig.start(camera(1)).await.unwrap();
    sleep(secs(2)).await;
    rig.cameras.forget();
    rig.cameras.hello(camera(1));
    rig.cameras.until(camera(1), "stream/play", 1).await;
    let sent = rig.cameras.sent(camera(1));
    let position = |wanted: &Command| sent.iter().position(|command| command == wanted);
    assert!(position(&stop(left[0])) < Some(sent.len() - 1), "{sent:?}");
    assert!(position(&stop(left[0])).is_some(), "{sent:?}");
    rig.engine.rtp_started(camera(1));
    rig.until(camera(1), |stream| stream.phase == Phase::Active)
        .await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn cameras_become_known_and_stay_known() {
    let store = Arc::new(MemoryStore::default());
    let rig = Rig::with(config(), Arc::clone(&store), FakeCameras::new()).await;
    let mut events = rig.supervisor.events();
    let hello = CameraMessage::Connection(Connection {
        status: Some(ConnectionStatus::Connected),
        ip_address: Some(IpAddr::V4(Ipv4Addr::new(192, 168, 1, 9))),
        ..Connection::default()
    });
    rig.cameras.say(camera(1), hello, false);
    let changed = within("the camera's event", async {
        loop {
            if let Ok(SupervisorEvent::CameraChanged(changed)) = events.recv().await {
                return changed;
            }
        }
    })
    .await;
    assert_eq!((changed.camera, changed.online), (camera(1), Some(true)));
    assert_eq!(changed.address.as_deref(), Some("192.168.1.9"));
    rig.start(camera(2)).await.unwrap();
    let known: Vec<_> = rig.supervisor.cameras();
    assert_eq!(known.len(), 2);
    assert_eq!(known[1].online, None, "asked for, never heard");
    rig.end().await;

    let rig = Rig::with(config(), store, FakeCameras::new()).await;
    let known = rig.supervisor.cameras();
    assert_eq!(known.len(), 2);
    assert_eq!(known[0].address.as_deref(), Some("192.168.1.9"));
    assert_eq!(known[0].online, None, "it must say hello to the new broker");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_advertised_address_depends_on_who_asks() {
    let mut config = config();
    config.network.local_ip = Ipv4Addr::new(192, 168, 1, 10);
    config.network.external_ip = Some(Ipv4Addr::new(203, 0, 113, 7));
    config.network.local_networks = vec![
        apiary::config::values::IpNetwork::new(IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16)
            .unwrap(),
    ];
    let rig = Rig::with(config, Arc::default(), FakeCameras::new()).await;
    let asked = [
        (Some("192.168.7.7"), "192.168.1.10"),
        (Some("127.0.0.1"), "192.168.1.10"),
        (None, "192.168.1.10"),
        (Some("198.51.100.4"), "203.0.113.7"),
    ];
    for (number, (requester, advertised)) in (1..).zip(asked) {
        let requester = requester.map(|ip| ip.parse().unwrap());
        let options = StartOptions {
            requester,
            ..StartOptions::default()
        };
        rig.supervisor.start(camera(number), options).await.unwrap();
        let spec = rig.engine.opened().pop().unwrap();
        assert_eq!(spec.advertised.to_string(), advertised);
        let origin = ViewerOrigin {
            ip: requester,
            user_agent: None,
        };
        let joined = rig
            .supervisor
            .join(camera(100 + number), offer("offer"), origin);
        joined.await.unwrap();
        let spec = rig.engine.opened().pop().unwrap();
        assert_eq!(spec.advertised.to_string(), advertised);
    }
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn bitrate_bounds_stay_within_the_configured_ones() {
    let rig = Rig::new().await;
    let asked = [
        ((None, None), Some((500, 5000))),
        ((Some(1000), Some(2000)), Some((1000, 2000))),
        ((None, Some(2000)), Some((500, 2000))),
        ((None, Some(100)), Some((500, 500))),
        ((Some(1), Some(99_999)), Some((500, 5000))),
        ((Some(2000), Some(1000)), None),
        ((Some(0), None), None),
        ((None, Some(0)), None),
    ];
    for (number, ((min, max), expected)) in (1..).zip(asked) {
        let options = StartOptions {
            min_bitrate: min.map(Bitrate::from_kbps),
            max_bitrate: max.map(Bitrate::from_kbps),
            requester: None,
        };
        let started = rig.supervisor.start(camera(number), options).await;
        match expected {
            Some((min, max)) => {
                started.unwrap();
                let bounds = rig.engine.opened().pop().unwrap().bitrate;
                assert_eq!(bounds.min.as_kbps(), min);
                assert_eq!(bounds.max.as_kbps(), max);
            }
            None => assert!(matches!(started, Err(StartError::BadBounds { .. }))),
        }
    }
    rig.end().await;
}
