//! What only the crate itself can provoke: a worker that panics (f10).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an event that is not awaited fails the test"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use apiary_wire::units::Bitrate;
use str0m::Rtc;
use str0m::media::{Direction, MediaKind};

use super::*;
use crate::engine::{BitrateBounds, CandidateDelivery, LegLoss, ViewerGoneReason};

const DEADLINE: Duration = Duration::from_secs(20);

fn offer() -> String {
    let mut rtc = Rtc::new(Instant::now());
    let mut changes = rtc.sdp_api();
    changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    changes.apply().unwrap().0.to_sdp_string()
}

/// On an address of its own, so that fixed ports collide with nobody's.
fn engine(test: u8, workers: usize) -> Sfu {
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = IpAddr::V4(Ipv4Addr::new(127, 140 + test, high, low));
    Sfu::start(SfuConfig {
        workers,
        udp_port: 0,
        bind: address,
        advertised: Vec::new(),
        ingest_bind: address,
        ingest_ports: 5_006..=5_013,
        max_viewers_per_stream: 0,
    })
    .unwrap()
}

fn spec(number: u8) -> StreamSpec {
    StreamSpec {
        camera: CameraId::from_bytes([number; 16]),
        stream: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
        advertised: Ipv4Addr::LOCALHOST,
        bitrate: BitrateBounds {
            min: Bitrate::from_kbps(500),
            max: Bitrate::from_kbps(5_000),
        },
    }
}

fn join(camera: u8, viewer: u8) -> JoinRequest {
    JoinRequest {
        camera: CameraId::from_bytes([camera; 16]),
        viewer: format!("00000000-0000-4000-9000-0000000000{viewer:02x}")
            .parse()
            .unwrap(),
        offer: offer(),
        candidates: CandidateDelivery::InAnswer,
        may_talk: false,
    }
}

async fn next(events: &mut broadcast::Receiver<EngineEvent>) -> EngineEvent {
    tokio::time::timeout(DEADLINE, events.recv())
        .await
        .expect("the event comes in time")
        .unwrap()
}

/// The viewers reported lost, and what the report of the worker says.
async fn loss(
    events: &mut broadcast::Receiver<EngineEvent>,
) -> (Vec<ViewerId>, usize, Vec<CameraId>) {
    let mut gone = Vec::new();
    loop {
        match next(events).await {
            EngineEvent::ViewerGone {
                viewer,
                reason: ViewerGoneReason::WorkerLost,
                ..
            } => gone.push(viewer),
            EngineEvent::LegsLost {
                cause: LegLoss::Worker(worker),
                streams,
            } => return (gone, worker, streams),
            other => panic!("{other:?}"),
        }
    }
}

/// Turns that the first worker has counted.
async fn turns(sfu: &Sfu) -> u64 {
    let counts = sfu.counts().await.unwrap();
    counts.workers[0].turns.classes.iter().sum()
}

/// One that is stuck is seen without being asked, and what it counted before is kept.
#[tokio::test]
async fn a_worker_that_is_stuck_is_seen() {
    let sfu = engine(3, 1);
    // The first answers may all be given within the first turn.
    let counted = async { while turns(&sfu).await == 0 {} };
    tokio::time::timeout(DEADLINE, counted).await.unwrap();
    let (go_on, stuck) = std::sync::mpsc::channel::<()>();
    sfu.workers[0].mailbox.post(Message::Hang(stuck)).unwrap();
    let seen = async {
        while sfu.busy_for() < Duration::from_millis(100) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.unwrap();
    assert!(turns(&sfu).await > 0);
    drop(go_on);
    let free = async {
        while sfu.busy_for() > Duration::ZERO {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, free).await.unwrap();
    sfu.shutdown().await;
}

#[tokio::test]
async fn f10_a_worker_that_panics_is_reported_and_serves_again() {
    let sfu = engine(0, 1);
    let mut events = sfu.events();
    let first = sfu.open(spec(1)).await.unwrap();
    let watching = join(1, 1);
    sfu.join(watching.clone()).await.unwrap();
    let turns = turns(&sfu).await;
    sfu.workers[0].mailbox.post(Message::Panic).unwrap();
    let (gone, worker, streams) = loss(&mut events).await;
    assert_eq!(gone, [watching.viewer]);
    assert!(self::turns(&sfu).await >= turns, "totals never fall");
    assert_eq!((worker, streams), (0, vec![watching.camera]));
    assert!(sfu.stream_stats(watching.camera).await.is_none());
    assert!(sfu.viewer_stats(watching.viewer).await.is_none());
    // The same camera and, in their turn, the same ports; the range has room for two.
    sfu.open(spec(1)).await.unwrap();
    let second = sfu.open(spec(2)).await.unwrap();
    assert_eq!(second.ingest, first.ingest);
    sfu.join(watching).await.unwrap();
    sfu.shutdown().await;
}

#[tokio::test]
async fn f10_another_workers_streams_and_viewers_stay() {
    let sfu = engine(1, 2);
    let mut events = sfu.events();
    sfu.open(spec(1)).await.unwrap();
    sfu.open(spec(2)).await.unwrap();
    // The first viewer goes to its camera's worker, the second to the other one.
    let (lost, kept) = (join(1, 1), join(2, 2));
    sfu.join(lost.clone()).await.unwrap();
    sfu.join(kept.clone()).await.unwrap();
    let home = sfu.viewer_entry(lost.viewer).unwrap().worker;
    assert_ne!(sfu.viewer_entry(kept.viewer).unwrap().worker, home);
    sfu.workers[home].mailbox.post(Message::Panic).unwrap();
    let (gone, worker, streams) = loss(&mut events).await;
    assert_eq!(gone, [lost.viewer]);
    assert_eq!((worker, streams), (home, vec![lost.camera]));
    assert!(sfu.stream_stats(kept.camera).await.is_some());
    assert!(sfu.viewer_stats(kept.viewer).await.is_some());
    sfu.shutdown().await;
}

#[tokio::test]
async fn f10_viewers_on_other_workers_lose_a_lost_stream() {
    let sfu = engine(2, 2);
    let mut events = sfu.events();
    sfu.open(spec(1)).await.unwrap();
    let (near, far) = (join(1, 1), join(1, 2));
    sfu.join(near.clone()).await.unwrap();
    sfu.join(far.clone()).await.unwrap();
    let home = sfu.viewer_entry(near.viewer).unwrap().worker;
    assert_ne!(sfu.viewer_entry(far.viewer).unwrap().worker, home);
    sfu.workers[home].mailbox.post(Message::Panic).unwrap();
    let (gone, ..) = loss(&mut events).await;
    assert_eq!(gone, [near.viewer]);
    match next(&mut events).await {
        EngineEvent::ViewerGone { viewer, reason, .. } => {
            assert_eq!(viewer, far.viewer);
            assert_eq!(reason, ViewerGoneReason::StreamClosed(CloseReason::Failed));
        }
        other => panic!("{other:?}"),
    }
    sfu.shutdown().await;
}
