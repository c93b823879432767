//! The supervisor with everything real around it. No viewers: those are the engine's own tests' and the browser's.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod supervisor_support;

use std::time::Duration;

use apiary::supervisor::StartError;
use apiary_core::lifecycle::{Health, Phase};
use apiary_media::engine::EngineError;
use apiary_sim::{CameraHandle, Misbehaviour, StopReason};
use apiary_wire::camera::Command;
use supervisor_support::house::{DEADLINE, House, Wishes, cheap, streaming, within};
use tokio::time::timeout;

#[tokio::test]
async fn a_camera_without_viewers_is_kept_alive_far_beyond_its_patience() {
    let mut house = House::new(Wishes::new(42_000..=42_003)).await;
    let camera = house.camera();
    let first = house.active().await;
    // Three times the patience of its firmware, for keepalives over MQTT and for REMB over RTCP.
    let state = camera
        .wait_for(DEADLINE, |state| {
            state.feedback.keepalive.count >= 12 && state.feedback.remb.count >= 12
        })
        .await
        .unwrap();
    assert!(state.is_streaming());
    // Nor did it give up in between and was started again.
    let stream = house.supervisor.stream(camera.id()).unwrap();
    assert_eq!(
        (stream.stream, stream.phase, stream.health),
        (first.stream, Phase::Active, Health::Good)
    );
    assert_eq!(state.stop_reason(), None);
    let counts: Vec<u64> = camera
        .commands()
        .iter()
        .filter_map(|received| match received.command {
            Command::KeepAlive { count, .. } => Some(count),
            Command::Play { .. }
            | Command::Stop { .. }
            | Command::SetMode(_)
            | Command::Reboot
            | Command::UpdateSettings(_)
            | Command::PlaySound { .. }
            | Command::StopSound => None,
        })
        .collect();
    assert!(counts.iter().copied().eq(0..counts.len() as u64));
    let stopped = house.supervisor.stop(camera.id()).await.unwrap();
    assert_eq!(stopped.phase, Phase::Stopped);
    let state = camera
        .wait_for(DEADLINE, |state| !state.is_streaming())
        .await
        .unwrap();
    assert_eq!(state.stop_reason(), Some(StopReason::Commanded));
    house.end().await;
}

#[tokio::test]
async fn f01_a_camera_that_is_killed_comes_back_from_other_ports() {
    let mut house = House::new(Wishes::new(42_010..=42_013)).await;
    let camera = house.camera();
    let mut last = house.active().await;
    for _ in 0..3 {
        camera.kill().await.unwrap();
        house
            .until(camera.id(), |stream| stream.health == Health::Stalled)
            .await;
        camera.restart(None).await.unwrap();
        let back = house
            .until(camera.id(), |stream| {
                stream.health == Health::Good && stream.stream != last.stream
            })
            .await;
        assert_eq!(back.phase, Phase::Active);
        assert_eq!(back.session_id, last.session_id);
        streaming(&camera).await;
        last = back;
    }
    house.end().await;
}

#[tokio::test]
async fn f01_a_camera_that_restarts_faster_than_silence_shows_comes_back() {
    let mut house = House::new(Wishes::new(42_020..=42_023)).await;
    let camera = house.camera();
    let first = house.active().await;
    camera.restart(None).await.unwrap();
    let back = house
        .until(camera.id(), |stream| {
            stream.health == Health::Good && stream.stream != first.stream
        })
        .await;
    assert_eq!(back.phase, Phase::Active);
    streaming(&camera).await;
    house.end().await;
}

#[tokio::test]
async fn a_camera_behind_a_nat_that_rebinds_comes_back() {
    let mut house = House::new(Wishes::new(42_030..=42_033)).await;
    let camera = house.camera();
    let first = house.active().await;
    camera.move_ports().unwrap();
    house
        .until(camera.id(), |stream| {
            stream.health == Health::Good && stream.stream != first.stream
        })
        .await;
    house.end().await;
}

#[tokio::test]
async fn f09_a_broker_that_is_away_during_a_stream_stops_nothing() {
    let mut house = House::new(Wishes {
        // Patient in what comes over the broker, so that it still sends when that is back.
        cameras: vec![{
            let mut camera = cheap(1);
            camera.rules.keepalive_timeout = Duration::from_secs(30);
            camera
        }],
        ..Wishes::new(42_040..=42_043)
    })
    .await;
    let camera = house.camera();
    let stream = house.active().await;
    house.end_broker().await;
    house
        .until(camera.id(), |stream| stream.health == Health::Degraded)
        .await;
    assert!(camera.state().is_streaming(), "REMB goes on");
    house.restart_broker().await;
    let healed = house
        .until(camera.id(), |stream| stream.health == Health::Good)
        .await;
    assert_eq!(
        (healed.phase, healed.stream),
        (Phase::Active, stream.stream)
    );
    assert_eq!(healed.session_id, stream.session_id);
    house.end().await;
}

#[tokio::test]
async fn f09_a_broker_that_is_away_at_the_start_is_waited_for() {
    let mut house = House::new(Wishes::new(42_050..=42_053)).await;
    let camera = house.camera();
    house.end_broker().await;
    house.start(camera.id()).await.unwrap();
    house
        .until(camera.id(), |stream| stream.keepalive.errors > 1)
        .await;
    assert_eq!(
        house.supervisor.stream(camera.id()).unwrap().phase,
        Phase::Starting
    );
    house.restart_broker().await;
    house
        .until(camera.id(), |stream| stream.phase == Phase::Active)
        .await;
    streaming(&camera).await;
    house.end().await;
}

#[tokio::test]
async fn f09_a_broker_that_stays_away_is_named() {
    let mut house = House::new(Wishes {
        change: |config| config.stream.start_timeout = Duration::from_secs(3),
        ..Wishes::new(42_060..=42_063)
    })
    .await;
    let camera = house.camera();
    house.end_broker().await;
    house.start(camera.id()).await.unwrap();
    let failed = house
        .until(camera.id(), |stream| stream.phase == Phase::Error)
        .await;
    let text = failed.error.unwrap().text;
    assert!(text.contains("MQTT broker"), "{text}");
    house.restart_broker().await;
    house.all_known().await;
    house.active().await;
    house.end().await;
}

#[tokio::test]
async fn start_failures_of_real_cameras_name_their_cause() {
    let mut wrong_ssrc = cheap(1);
    wrong_ssrc.misbehaviour = vec![Misbehaviour::WrongSsrc];
    let mut mute = cheap(2);
    mute.misbehaviour = vec![Misbehaviour::NeverAnswersPlay];
    let mut house = House::new(Wishes {
        cameras: vec![wrong_ssrc, mute, cheap(3)],
        change: |config| config.stream.start_timeout = Duration::from_secs(3),
        ..Wishes::new(42_070..=42_081)
    })
    .await;
    let cameras: Vec<CameraHandle> = house.simulator.cameras().to_vec();
    cameras[2].kill().await.unwrap();
    let mut events = house.supervisor.events();
    within("the last will", async {
        while house
            .supervisor
            .cameras()
            .iter()
            .all(|camera| camera.online != Some(false))
        {
            let _ = timeout(Duration::from_millis(500), events.recv()).await;
        }
    })
    .await;
    for (camera, cause) in cameras
        .iter()
        .zip(["SSRC", "no RTP arrived at 127.0.0.1:", "offline"])
    {
        house.start(camera.id()).await.unwrap();
        let failed = house
            .until(camera.id(), |stream| stream.phase == Phase::Error)
            .await;
        let text = failed.error.unwrap().text;
        assert!(text.contains(cause), "{text}");
        // Its last packets must not reach the next one, which gets the same ports.
        camera
            .wait_for(DEADLINE, |state| !state.is_streaming())
            .await
            .unwrap();
    }
    assert!(house.supervisor.streams().is_empty());
    house.end().await;
}

#[tokio::test]
async fn a_used_up_port_range_is_named_and_recovers() {
    let mut house = House::new(Wishes {
        cameras: vec![cheap(1), cheap(2)],
        ..Wishes::new(42_090..=42_093)
    })
    .await;
    let second = house.simulator.cameras()[1].id();
    let first = house.active().await.camera;
    let refused = house.start(second).await.unwrap_err();
    assert!(matches!(
        refused,
        StartError::Engine(EngineError::PortsExhausted { .. })
    ));
    house.supervisor.stop(first).await.unwrap();
    house.start(second).await.unwrap();
    house
        .until(second, |stream| stream.phase == Phase::Active)
        .await;
    house.end().await;
}

#[tokio::test]
async fn shutdown_stops_the_cameras() {
    let mut house = House::new(Wishes {
        cameras: (1..=5).map(cheap).collect(),
        ..Wishes::new(42_100..=42_119)
    })
    .await;
    let cameras: Vec<CameraHandle> = house.simulator.cameras().to_vec();
    for camera in &cameras {
        house.start(camera.id()).await.unwrap();
    }
    for camera in &cameras {
        house
            .until(camera.id(), |stream| stream.phase == Phase::Active)
            .await;
    }
    house.supervisor.shutdown().await;
    for camera in &cameras {
        let state = camera
            .wait_for(DEADLINE, |state| !state.is_streaming())
            .await
            .unwrap();
        assert_eq!(state.stop_reason(), Some(StopReason::Commanded));
    }
    house.end().await;
}
