//! What goes wrong with media servers, and what becomes of streams and viewers then. The servers are doubles that behave as a
//! recorded Kurento did.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails, and waits for what it names"
)]

mod support;

use std::time::Duration;

use apiary_kurento_double::{Effect, Generation, Options, RpcFault};
use apiary_media::engine::{CloseReason, EngineError, EngineEvent, LegLoss, ViewerGoneReason};
use apiary_media::kurento::{DrainError, KurentoConfig};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use support::{Camera, Frame, House, Viewer, camera_id, show, spec_of, stream_id, viewer_id};

/// So impatient that tests of what takes its time take little of it.
fn impatient(config: &mut KurentoConfig) {
    config.request_timeout = Duration::from_millis(1_500);
    config.ping_interval = Duration::from_millis(300);
    config.failover_after = Duration::from_millis(2_500);
}

/// With servers that are connected.
fn impatient_house(servers: usize) -> House {
    let house = House::kurento_with(servers, |_, _| {}, impatient);
    house.wait_ready(servers);
    house
}

/// Which streams were lost, and why, once some are.
fn wait_lost(house: &mut House) -> (LegLoss, Vec<apiary_wire::id::CameraId>) {
    house.wait_for(|event| match event {
        EngineEvent::LegsLost { cause, streams } => Some((cause.clone(), streams.clone())),
        _ => None,
    })
}

/// Once a server has no pipeline any more.
#[track_caller]
fn wait_empty(house: &House, server: usize) {
    house.until("nothing is left on the server", || {
        house.servers[server].pipelines().is_empty().then_some(())
    });
}

fn close(house: &House, camera: u8) {
    let closing = house.engine.close(camera_id(camera), CloseReason::Stopped);
    house.ask(closing).unwrap();
}

/// On which server a camera's stream is.
fn server_of(house: &House, camera: u8) -> Option<usize> {
    let name = format!("apiary/{}/", camera_id(camera));
    house.servers.iter().position(|server| {
        let pipelines = server.pipelines();
        pipelines
            .iter()
            .any(|pipeline| pipeline.name.starts_with(&name))
    })
}

// ---- a server that is not there ----

#[test]
fn a_server_that_is_absent_is_named_and_waited_for() {
    let house = House::kurento_with(1, |_, _| {}, |_| {});
    house.servers[0].kill();
    let url = house.servers[0].url();
    let health = house.wait_health(|health| health.servers[0].error.is_some());
    let trouble = house
        .wait_health(|health| health.trouble.is_some())
        .trouble
        .unwrap();
    assert!(!health.servers[0].connected);
    assert!(
        trouble.contains(&url) && trouble.contains("no media server can take streams"),
        "{trouble}"
    );
    house.wait_health(|health| {
        let error = health.servers[0].error.as_ref();
        error.is_some_and(|error| error.contains("refused"))
    });
    let error = house.try_open(1).unwrap_err();
    assert!(
        matches!(&error, EngineError::NoServer(why) if why.contains(&url)),
        "{error}"
    );
    house.servers[0].restart();
    house.wait_ready(1);
    assert_eq!(house.engine.health().trouble, None);
    let (_camera, _viewer) = house.watched(1);
}

#[test]
fn a_server_of_another_path_is_not_taken_for_one() {
    let mut wrong = None;
    let house = House::kurento_with(
        1,
        |_, _| {},
        |config| {
            let url = config.servers[0]
                .address
                .url
                .replace("/kurento", "/elsewhere");
            config.servers = vec![spec_of(&url)];
            wrong = Some(url);
        },
    );
    let health = house.wait_health(|health| {
        let error = health.servers[0].error.as_ref();
        error.is_some_and(|error| error.contains("Invalid path"))
    });
    assert!(health.trouble.unwrap().contains(&wrong.unwrap()));
}

// ---- a server that is lost ----

#[test]
fn a_dropped_connection_is_taken_up_again_and_nothing_is_lost() {
    let mut house = impatient_house(1);
    let (mut camera, mut viewer) = house.watched(1);
    let sessions = house.servers[0].sessions();
    for round in 2..5 {
        house.servers[0].drop_sockets();
        house.wait_ready(1);
        show(&mut camera, &mut viewer, &Frame::idr(round));
        // Events come over the new connection: without them nobody could connect.
        let mut next = house.join(1, round);
        next.connect();
        show(&mut camera, &mut next, &Frame::idr(round));
    }
    assert_eq!(
        house.servers[0].sessions(),
        sessions,
        "one session all the time"
    );
    house.ask(house.engine.leave(viewer_id(2))).unwrap();
    house.wait_for(|event| match event {
        EngineEvent::ViewerGone { viewer, reason, .. } => {
            assert_eq!((*viewer, reason), (viewer_id(2), &ViewerGoneReason::Left));
            Some(())
        }
        EngineEvent::LegsLost { .. } => panic!("{event:?}"),
        _ => None,
    });
}

#[test]
fn a_server_that_was_restarted_has_lost_its_streams() {
    let mut house = impatient_house(1);
    let (_camera, _viewer) = house.watched(1);
    house.servers[0].restart();
    assert_eq!(house.wait_gone(1), ViewerGoneReason::ServerLost);
    let (cause, streams) = wait_lost(&mut house);
    assert_eq!(cause, LegLoss::Server(house.servers[0].url()));
    assert_eq!(streams, [camera_id(1)]);
    // The only server: opening waits for its return.
    let mut camera = house.open(1);
    let mut viewer = house.join(1, 2);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(2));
}

#[test]
fn streams_of_a_server_that_dies_go_to_another() {
    let mut house = impatient_house(2);
    let (_camera, _viewer) = house.watched(1);
    let first = server_of(&house, 1).unwrap();
    let second = 1 - first;
    house.servers[first].kill();
    assert_eq!(house.wait_gone(1), ViewerGoneReason::ServerLost);
    assert_eq!(wait_lost(&mut house).1, [camera_id(1)]);
    let mut camera = house.open(1);
    assert_eq!(server_of(&house, 1), Some(second));
    let mut viewer = house.join(1, 2);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(2));
    let health = house.engine.health();
    assert_eq!(health.trouble, None);
    assert!(!health.servers[first].connected && health.servers[second].connected);
    assert_eq!(
        (
            health.servers[second].streams,
            health.servers[second].viewers
        ),
        (1, 1)
    );
}

/// Its process lives and its network does not, so what is on it is still there when it returns.
#[test]
fn what_is_on_a_server_that_is_cut_off_is_released_when_it_returns() {
    let mut house = impatient_house(2);
    let _camera = house.open(1);
    let first = server_of(&house, 1).unwrap();
    house.servers[first].freeze();
    assert_eq!(wait_lost(&mut house).1, [camera_id(1)]);
    let _moved = house.open(1);
    assert_eq!(
        house.servers[first].pipelines().len(),
        1,
        "it cannot be told"
    );
    house.servers[first].thaw();
    wait_empty(&house, first);
    house.wait_ready(2);
    assert_eq!(server_of(&house, 1), Some(1 - first));
}

#[test]
fn with_two_of_three_down_the_third_takes_all() {
    let house = impatient_house(3);
    house.servers[0].kill();
    house.servers[2].kill();
    house.wait_health(|health| {
        health
            .servers
            .iter()
            .filter(|server| server.connected)
            .count()
            == 1
    });
    for number in 1..=3 {
        let mut camera = house.open(number);
        let mut viewer = house.join(number, number);
        viewer.connect();
        show(&mut camera, &mut viewer, &Frame::idr(number));
        assert_eq!(server_of(&house, number), Some(1));
    }
    assert_eq!(house.engine.health().trouble, None);
}

#[test]
fn garbage_of_earlier_runs_is_released_and_nothing_else() {
    let house = House::kurento_with(1, |_, _| {}, impatient);
    let server = &house.servers[0];
    server.kill();
    server.restart();
    let ours = server.create_garbage("apiary/56C1CADCF1FA4C6CAEBA3E2FD85EFEBF/old");
    let others = [
        server.create_garbage("apiary-cellar/56C1CADCF1FA4C6CAEBA3E2FD85EFEBF/old"),
        server.create_garbage("somebody else's"),
        server.create_garbage(""),
    ];
    server.drop_sockets();
    house.until("the garbage is gone", || {
        let left = server.pipelines();
        (!left.iter().any(|pipeline| pipeline.id == ours)).then_some(())
    });
    let left: Vec<String> = server.pipelines().into_iter().map(|left| left.id).collect();
    assert_eq!(left, others);
}

// ---- a server that is slow, or refuses ----

#[test]
fn a_slow_server_holds_nobody_up_and_what_comes_too_late_is_released() {
    let house = House::kurento_with(
        1,
        |_, _| {},
        |config| {
            config.request_timeout = Duration::from_millis(700);
            // It answers its pings too late too, and is not to be given up for that here.
            config.failover_after = Duration::from_secs(60);
            config.ping_interval = Duration::from_secs(60);
        },
    );
    house.wait_ready(1);
    let server = &house.servers[0];
    server.delay_replies(Duration::from_millis(2_000));
    for number in 1..=2 {
        let error = house.try_open(number).unwrap_err();
        assert!(
            matches!(&error, EngineError::NoServer(why) if why.contains("answer")),
            "{error}"
        );
    }
    server.clear_faults();
    wait_empty(&house, 0);
    house.wait_ready(1);
    let (_camera, _viewer) = house.watched(1);
    close(&house, 1);
    wait_empty(&house, 0);
}

#[test]
fn a_server_that_answers_its_pings_and_nothing_else_is_given_up() {
    let mut house = impatient_house(2);
    let _camera = house.open(1);
    let first = server_of(&house, 1).unwrap();
    for operation in ["getStats", "invoke", "create", "processOffer"] {
        house.servers[first].swallow(operation, Effect::Lost);
    }
    assert_eq!(wait_lost(&mut house).1, [camera_id(1)]);
    let _moved = house.open(1);
    wait_empty(&house, first);
    assert_eq!(server_of(&house, 1), Some(1 - first));
}

/// What was made for a request that is never answered is not known here until it is looked for.
#[test]
fn a_pipeline_whose_making_is_never_confirmed_is_found_and_released() {
    let house = House::kurento_with(
        1,
        |_, _| {},
        |config| {
            config.request_timeout = Duration::from_millis(700);
            config.ping_interval = Duration::from_millis(300);
            config.failover_after = Duration::from_secs(60);
        },
    );
    house.wait_ready(1);
    house.servers[0].swallow("MediaPipeline", Effect::CarriedOut);
    house.try_open(1).unwrap_err();
    house.servers[0].clear_faults();
    assert!(!house.servers[0].pipelines().is_empty());
    wait_empty(&house, 0);
    house.wait_ready(1);
}

#[test]
fn a_server_that_leaves_its_pings_unanswered_is_given_up() {
    let mut house = impatient_house(1);
    let _camera = house.open(1);
    house.servers[0].swallow("ping", Effect::Lost);
    let (cause, streams) = wait_lost(&mut house);
    assert_eq!(cause, LegLoss::Server(house.servers[0].url()));
    assert_eq!(streams, [camera_id(1)]);
}

#[test]
fn whoever_gives_up_waiting_leaves_nothing_behind() {
    let house = impatient_house(1);
    let server = &house.servers[0];
    let gives_up = async |patience| {
        let opening = house.engine.open(house.spec(1));
        let _ = tokio::time::timeout(patience, opening).await;
    };
    server.delay_replies(Duration::from_millis(15));
    for round in 0..20 {
        house.ask(gives_up(Duration::from_millis(5 * round)));
        close(&house, 1);
    }
    server.clear_faults();
    wait_empty(&house, 0);
}

/// Each error that a server has a code for, wherever it may come: a text that names server and reason, and nothing left behind.
#[test]
fn errors_of_every_code_are_told_and_leave_nothing_behind() {
    let house = impatient_house(1);
    let server = &house.servers[0];
    let faults = [
        RpcFault::new(40001, "MARSHALL_ERROR", "a bad parameter"),
        RpcFault::new(40004, "CONNECT_ERROR", "no common pipeline"),
        RpcFault::new(40008, "MALFORMED_TRANSACTION", "no such operation"),
        RpcFault::new(40101, "MEDIA_OBJECT_NOT_FOUND", "no such object"),
        RpcFault::new(40106, "MEDIA_OBJECT_EVENT_NOT_SUPPORTED", "no such event"),
        RpcFault::new(40108, "MEDIA_OBJECT_NOT_AVAILABLE", "no such type"),
        RpcFault::new(40111, "MEDIA_OBJECT_OPERATION_NOT_SUPPORTED", "cannot"),
        RpcFault::new(40201, "SDP_PARSE_ERROR", "a bad SDP"),
        RpcFault::new(40208, "SDP_END_POINT_ALREADY_NEGOTIATED", "negotiated"),
        RpcFault::new(40209, "SDP_END_POINT_NOT_OFFER_GENERATED", "no offer"),
        RpcFault {
            code: -32600,
            message: "invalid".to_owned(),
            data_type: None,
        },
        RpcFault {
            code: -32601,
            message: "no such method".to_owned(),
            data_type: None,
        },
        RpcFault {
            code: -32000,
            message: "something is required".to_owned(),
            data_type: None,
        },
        RpcFault {
            code: -32603,
            message: "bad_weak_ptr".to_owned(),
            data_type: None,
        },
        RpcFault {
            code: 49_999,
            message: "never heard of".to_owned(),
            data_type: None,
        },
    ];
    let told = |error: &EngineError, fault: &RpcFault| {
        let text = error.to_string();
        text.contains(&server.url())
            && text.contains(&fault.message)
            && text.contains(&fault.code.to_string())
    };
    for fault in &faults {
        for operation in [
            "MediaPipeline",
            "RtpEndpoint",
            "setName",
            "setMaxVideoRecvBandwidth",
            "processOffer",
        ] {
            server.fail_always(operation, fault.clone());
            let error = house.try_open(1).unwrap_err();
            server.clear_faults();
            assert!(told(&error, fault), "{operation} with {fault:?}: {error}");
        }
    }
    wait_empty(&house, 0);
    let mut camera = house.open(1);
    let offer = support::offer(house.address);
    for fault in &faults {
        for operation in [
            "WebRtcEndpoint",
            "setMaxVideoSendBandwidth",
            "connect",
            "gatherCandidates",
        ] {
            server.fail_always(operation, fault.clone());
            let error = house.try_join(1, 1, &offer).unwrap_err();
            server.clear_faults();
            assert!(told(&error, fault), "{operation} with {fault:?}: {error}");
        }
    }
    server.fail_next("processOffer", faults[7].clone());
    assert!(matches!(
        house.try_join(1, 1, &offer),
        Err(EngineError::Offer(_))
    ));
    assert_eq!(house.stats(1).viewers, 0);
    house.until("only the camera's endpoint is left", || {
        (server.pipelines()[0].endpoints.len() == 1).then_some(())
    });
    // Events that can be done without, and settings that not every version has.
    for fault in &faults[2..=4] {
        server.fail_next("ConnectionStateChanged", fault.clone());
    }
    server.fail_next("setRembParams", faults[2].clone());
    let mut viewer = house.join(1, 2);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(1));
}

#[test]
fn an_answer_that_keeps_no_camera_alive_fails_the_start() {
    for lacks in ["direction:passive", "goog-remb"] {
        let answers_without = |_, options: &mut Options| options.answers_without = Some(lacks);
        let house = House::kurento_with(1, answers_without, impatient);
        house.wait_ready(1);
        let error = house.try_open(1).unwrap_err().to_string();
        assert!(
            error.contains("could not set up the stream")
                && error.contains(&format!(
                    "its answer lacks {}",
                    lacks.replace("direction", "a=direction")
                )),
            "{error}"
        );
        wait_empty(&house, 0);
    }
}

#[test]
fn a_connection_that_drops_in_the_middle_of_anything_leaves_nothing_behind() {
    let house = impatient_house(1);
    let server = &house.servers[0];
    for effect in [Effect::CarriedOut, Effect::Lost] {
        for operation in [
            "MediaPipeline",
            "setName",
            "RtpEndpoint",
            "setMinVideoRecvBandwidth",
            "processOffer",
        ] {
            server.drop_on(operation, effect);
            // The connection is taken up again and the stream begun anew, without anybody's doing.
            house.try_open(1).unwrap();
            close(&house, 1);
        }
    }
    wait_empty(&house, 0);
    let _camera = house.open(1);
    let offer = support::offer(house.address);
    for operation in [
        "WebRtcEndpoint",
        "connect",
        "processOffer",
        "gatherCandidates",
    ] {
        server.drop_on(operation, Effect::CarriedOut);
        house.try_join(1, 1, &offer).unwrap();
        house.ask(house.engine.leave(viewer_id(1))).unwrap();
    }
    close(&house, 1);
    wait_empty(&house, 0);
}

/// The server lives and answers, and what was on it is gone: its session timed out, as when this machine slept.
#[test]
fn a_session_that_ended_loses_its_streams() {
    let mut house = impatient_house(1);
    let (_camera, _viewer) = house.watched(1);
    let session = house.servers[0].sessions().remove(0);
    house.servers[0].expire_session(&session);
    assert_eq!(house.wait_gone(1), ViewerGoneReason::ServerLost);
    assert_eq!(wait_lost(&mut house).1, [camera_id(1)]);
    let (_camera, _viewer) = house.watched(1);
    // The same while nobody is connected: the next connection finds that it is gone.
    house.servers[0].freeze();
    let session = house.servers[0].sessions().remove(0);
    house.servers[0].expire_session(&session);
    house.servers[0].drop_sockets();
    house.servers[0].thaw();
    assert_eq!(wait_lost(&mut house).1, [camera_id(1)]);
    let (_camera, _viewer) = house.watched(1);
}

#[test]
fn a_camera_that_comes_back_to_a_pipeline_that_is_gone_is_set_up_anew() {
    let house = House::kurento_with(
        1,
        |_, _| {},
        |config| {
            impatient(config);
            config.ping_interval = Duration::from_secs(60);
        },
    );
    house.wait_ready(1);
    let _camera = house.open(1);
    let server = &house.servers[0];
    server.fail_next(
        "RtpEndpoint",
        RpcFault::new(40101, "MEDIA_OBJECT_NOT_FOUND", "Object not found"),
    );
    let rearmed = house.ask(house.engine.rearm(camera_id(1), stream_id(2)));
    assert!(
        matches!(rearmed, Err(EngineError::UnknownStream(_))),
        "{rearmed:?}"
    );
    wait_empty(&house, 0);
}

#[test]
fn a_connection_that_drops_while_a_camera_comes_back_is_waited_for() {
    let mut house = impatient_house(1);
    let (_camera, mut viewer) = house.watched(1);
    house.wait_started(1);
    for operation in ["RtpEndpoint", "setMaxVideoRecvBandwidth", "processOffer"] {
        house.servers[0].drop_on(operation, Effect::CarriedOut);
        let rearmed = house.ask(house.engine.rearm(camera_id(1), stream_id(2)));
        let mut camera = Camera::new(house.address, &rearmed.unwrap());
        let frame = Frame::idr(operation.len() as u8);
        show(&mut camera, &mut viewer, &frame);
    }
    house.until("one endpoint is left beside the viewer's", || {
        let pipelines = house.servers[0].pipelines();
        let kinds = pipelines[0].endpoints.iter();
        (kinds
            .filter(|endpoint| endpoint.kind.name() == "RtpEndpoint")
            .count()
            <= 4)
            .then_some(())
    });
}

/// Viewers' requests come several at once; that some are slow says nothing of the server while it answers others.
#[test]
fn one_endpoint_that_hangs_does_not_lose_the_server() {
    let mut house = impatient_house(1);
    let (mut camera, mut viewer) = house.watched(1);
    let server = &house.servers[0];
    let offer = support::offer(house.address);
    for operation in [
        "setMaxVideoSendBandwidth",
        "setRembParams",
        "IceGatheringDone",
        "ConnectionStateChanged",
    ] {
        server.swallow(operation, Effect::Lost);
    }
    for _ in 0..3 {
        assert!(house.try_join(1, 2, &offer).is_err());
    }
    server.clear_faults();
    show(&mut camera, &mut viewer, &Frame::idr(2));
    house.ask(house.engine.leave(viewer_id(1))).unwrap();
    house.wait_for(|event| match event {
        EngineEvent::ViewerGone { reason, .. } => {
            assert_eq!(*reason, ViewerGoneReason::Left);
            Some(())
        }
        EngineEvent::LegsLost { .. } => panic!("{event:?}"),
        _ => None,
    });
}

#[test]
fn a_release_that_hangs_holds_up_no_other() {
    let house = House::kurento_with(
        1,
        |_, _| {},
        |config| {
            config.request_timeout = Duration::from_millis(1_500);
            config.failover_after = Duration::from_secs(60);
            config.ping_interval = Duration::from_secs(60);
        },
    );
    house.wait_ready(1);
    let server = &house.servers[0];
    for number in 1..=8 {
        house.try_open(number).unwrap();
    }
    let refusal = RpcFault {
        code: -32603,
        message: "busy".to_owned(),
        data_type: None,
    };
    for _ in 0..3 {
        server.fail_next("release", refusal.clone());
    }
    for number in 1..=8 {
        close(&house, number);
    }
    wait_empty(&house, 0);
}

// ---- a server that says strange things ----

#[test]
fn a_flood_of_events_and_nonsense_disturbs_nobody() {
    let house = House::kurento(1);
    let mut camera = house.open(1);
    let server = &house.servers[0];
    server.flood_events(20_000);
    for text in [
        "",
        "not json",
        "[]",
        "12",
        "{}",
        r#"{"id":999999,"result":{}}"#,
        r#"{"id":null,"error":{}}"#,
        r#"{"method":"onEvent"}"#,
        r#"{"method":"onEvent","params":{"value":{"type":"IceCandidateFound"}}}"#,
        r#"{"id":1,"result":{"value":7}}"#,
    ] {
        server.send_raw(text);
    }
    let mut viewer = house.join(1, 1);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(1));
    // Longer than any message may be: the connection is begun anew, and nothing is lost.
    server.send_raw(&format!("\"{}\"", "x".repeat(2 << 20)));
    house.wait_ready(1);
    show(&mut camera, &mut viewer, &Frame::idr(2));
}

#[test]
fn servers_that_know_events_by_their_names_of_old_serve_too() {
    let legacy = |_, options: &mut Options| {
        options.generation = Generation::V6;
        options.only_legacy_events = true;
    };
    let house = House::kurento_with(1, legacy, impatient);
    house.wait_ready(1);
    let mut camera = house.open(1);
    for number in 1..=2 {
        let mut viewer = house.join(1, number);
        viewer.connect();
        show(&mut camera, &mut viewer, &Frame::idr(number));
    }
    // It has no `requestKeyframe`; the second time it is not even asked.
    for _ in 0..2 {
        house
            .ask(house.engine.request_key_frame(camera_id(1)))
            .unwrap();
    }
    assert_eq!(house.servers[0].count("requestKeyframe"), 1);
    let subscriptions = house.servers[0].subscriptions();
    assert!(
        subscriptions
            .iter()
            .all(|subscription| subscription.event != "IceCandidateFound")
    );
}

#[test]
fn key_frames_are_asked_for_where_the_server_can() {
    let house = House::kurento(1);
    let mut camera = house.open(1);
    house
        .ask(house.engine.request_key_frame(camera_id(1)))
        .unwrap();
    assert_eq!(
        house.servers[0].count("requestKeyframe"),
        0,
        "nobody would see it"
    );
    let mut viewer = house.join(1, 1);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(1));
    house
        .ask(house.engine.request_key_frame(camera_id(1)))
        .unwrap();
    assert_eq!(house.servers[0].count("requestKeyframe"), 1);
}

// ---- bandwidth ----

#[test]
fn estimates_that_are_far_too_high_are_capped() {
    let house = House::kurento_with(1, |_, options| options.wild_first_remb = true, |_| {});
    house.wait_ready(1);
    let mut camera = house.open(1);
    let asked = house.until_sending(&mut camera, |camera| {
        camera.send_report();
        camera.take_remb()
    });
    assert_eq!(asked, house.spec(1).bitrate.max);
}

#[test]
fn a_viewer_does_not_hold_the_camera_at_the_servers_default() {
    let house = House::kurento_with(1, |_, options| options.wild_first_remb = true, |_| {});
    house.wait_ready(1);
    let (mut camera, _viewer) = house.watched(1);
    let asked = house.until_sending(&mut camera, |camera| {
        camera.send_report();
        camera.take_remb()
    });
    assert!(asked.as_kbps() > 500, "{asked:?}");
}

#[test]
fn nothing_is_transcoded_for_a_browser_that_takes_h264_too() {
    let house = House::kurento(1);
    let mut camera = house.open(1);
    let mut viewer = Viewer::with_vp8_first(house.address);
    let answer = house.try_join(1, 1, viewer.offer()).unwrap();
    viewer.accept(&answer);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(1));
    assert_eq!(house.servers[0].transcoding_viewers(), 0);
}

// ---- the pool ----

#[test]
fn streams_go_to_the_server_with_the_least_to_do() {
    let house = impatient_house(3);
    house.servers[0].set_load(250.0);
    house.wait_health(|health| health.servers[0].cpu_percent.is_some_and(|cpu| cpu > 200.0));
    let cameras: Vec<Camera> = (1..=4).map(|number| house.open(number)).collect();
    let mut on: Vec<usize> = (1..=4)
        .map(|number| server_of(&house, number).unwrap())
        .collect();
    on.sort_unstable();
    assert_eq!(on, [1, 1, 2, 2]);
    drop(cameras);
}

/// As after the loss of another server, when all of its streams come at the same moment.
#[test]
fn streams_that_are_opened_at_once_are_spread() {
    let house = House::kurento(3);
    let opening = (1..=9).map(|number| house.engine.open(house.spec(number)));
    house
        .ask(futures_util::future::try_join_all(opening))
        .unwrap();
    for server in &house.servers {
        assert_eq!(server.pipelines().len(), 3);
    }
}

#[test]
fn a_drained_server_gets_nothing_new_and_gives_up_what_is_idle() {
    let mut house = impatient_house(2);
    let pool = house.kurento.clone().unwrap();
    let (_camera, _viewer) = house.watched(1);
    let first = server_of(&house, 1).unwrap();
    let url = house.servers[first].url();
    pool.drain(&url, false).unwrap();
    let _second = house.open(2);
    let _third = house.open(3);
    assert_eq!(
        (server_of(&house, 2), server_of(&house, 3)),
        (Some(1 - first), Some(1 - first))
    );
    assert!(house.engine.health().servers[first].draining);
    assert_eq!(server_of(&house, 1), Some(first), "it is watched");
    house.ask(house.engine.leave(viewer_id(1))).unwrap();
    let (cause, streams) = wait_lost(&mut house);
    assert_eq!(
        (cause, streams),
        (LegLoss::Drained(url.clone()), vec![camera_id(1)])
    );
    wait_empty(&house, first);
    let _moved = house.open(1);
    assert_eq!(server_of(&house, 1), Some(1 - first));
    pool.undrain(&url).unwrap();
    let _fourth = house.open(4);
    assert_eq!(server_of(&house, 4), Some(first));
}

#[test]
fn a_server_can_be_drained_at_once() {
    let mut house = impatient_house(2);
    let pool = house.kurento.clone().unwrap();
    let (_camera, _viewer) = house.watched(1);
    let first = server_of(&house, 1).unwrap();
    pool.drain(&house.servers[first].url(), true).unwrap();
    assert_eq!(house.wait_gone(1), ViewerGoneReason::Moved);
    assert_eq!(wait_lost(&mut house).1, [camera_id(1)]);
    wait_empty(&house, first);
    let _moved = house.open(1);
    assert_eq!(server_of(&house, 1), Some(1 - first));
    let url = house.servers[1 - first].url();
    assert_eq!(pool.drain(&url, true), Err(DrainError::NoOther { url }));
    assert!(matches!(
        pool.drain("ws://nowhere/kurento", false),
        Err(DrainError::Unknown { .. })
    ));
}

#[test]
fn servers_come_and_go_by_configuration() {
    let mut house = impatient_house(2);
    let pool = house.kurento.clone().unwrap();
    let _camera = house.open(1);
    let first = server_of(&house, 1).unwrap();
    pool.reconfigure(vec![spec_of(&house.servers[1 - first].url())]);
    assert_eq!(wait_lost(&mut house).1, [camera_id(1)]);
    wait_empty(&house, first);
    let _moved = house.open(1);
    assert_eq!(server_of(&house, 1), Some(1 - first));
    house.until("the session with the server that left is over", || {
        house.servers[first].sessions().is_empty().then_some(())
    });
    assert_eq!(house.engine.health().servers.len(), 1);
    // Replaced by another all at once: the stream waits until that is connected.
    pool.reconfigure(vec![spec_of(&house.servers[first].url())]);
    assert_eq!(wait_lost(&mut house).1, [camera_id(1)]);
    let _replaced = house.open(1);
    assert_eq!(server_of(&house, 1), Some(first));
    wait_empty(&house, 1 - first);
    pool.reconfigure(vec![spec_of(&house.servers[1 - first].url())]);
    assert_eq!(wait_lost(&mut house).1, [camera_id(1)]);
    let _returned = house.open(1);
    // Back, and the other one drained.
    let mut drained = spec_of(&house.servers[1 - first].url());
    drained.drain = true;
    pool.reconfigure(vec![drained, spec_of(&house.servers[first].url())]);
    let (cause, streams) = wait_lost(&mut house);
    assert_eq!(streams, [camera_id(1)], "{cause}");
    let _back = house.open(1);
    assert_eq!(server_of(&house, 1), Some(first));
}

#[test]
fn cameras_are_told_the_address_that_is_configured_for_the_server() {
    let told = std::net::Ipv4Addr::new(192, 0, 2, 9);
    let house = House::kurento_with(
        1,
        |_, _| {},
        |config| {
            config.servers[0].advertised = Some(told);
        },
    );
    house.wait_ready(1);
    let opened = house.try_open(1).unwrap();
    assert_eq!(opened.address, told);
    assert!(opened.camera_sdp.contains("c=IN IP4 192.0.2.9"));
}

// ---- all of it ----

/// Streams and viewers come and go while servers misbehave at random; afterwards nothing is left on any.
#[test]
fn no_pipeline_is_left_after_two_hundred_streams_with_faults() {
    let house = House::kurento_with(2, |_, _| {}, impatient);
    house.wait_ready(2);
    let mut random = StdRng::seed_from_u64(4);
    let operations = [
        "MediaPipeline",
        "RtpEndpoint",
        "WebRtcEndpoint",
        "setName",
        "processOffer",
        "connect",
        "release",
        "getStats",
        "gatherCandidates",
        "getName",
        "getPipelines",
    ];
    let offer = support::offer(house.address);
    let (mut opened, mut joined) = (0, 0);
    for round in 0..200_u8 {
        let server = &house.servers[random.random_range(0..2)];
        let operation = operations[random.random_range(0..operations.len())];
        match random.random_range(0..12) {
            0 | 1 => server.fail_next(
                operation,
                RpcFault::new(40101, "MEDIA_OBJECT_NOT_FOUND", "gone"),
            ),
            2 => server.drop_on(operation, Effect::CarriedOut),
            3 => server.drop_on(operation, Effect::Lost),
            4 => server.drop_sockets(),
            5 if round % 4 == 0 => server.restart(),
            6 => server.delay_replies(Duration::from_millis(random.random_range(0..20))),
            7 => server.flood_events(50),
            _ => server.clear_faults(),
        }
        let camera = round % 8;
        if house.try_open(camera).is_ok() {
            opened += 1;
            joined += usize::from(house.try_join(camera, round, &offer).is_ok());
            if random.random_bool(0.3) {
                let _ = house.ask(house.engine.rearm(camera_id(camera), stream_id(round)));
            }
        }
        if random.random_bool(0.9) {
            close(&house, camera);
        }
    }
    assert!(
        opened > 100 && joined > 50,
        "{opened} opened, {joined} joined"
    );
    for server in &house.servers {
        server.clear_faults();
    }
    for camera in 0..8 {
        close(&house, camera);
    }
    for server in 0..2 {
        wait_empty(&house, server);
    }
}

#[test]
fn the_end_releases_everything_and_ends_the_sessions() {
    let house = impatient_house(2);
    let _cameras: Vec<Camera> = (1..=4).map(|number| house.open(number)).collect();
    let _viewer = house.join(1, 1);
    house.ask(house.engine.shutdown());
    for server in &house.servers {
        assert!(server.pipelines().is_empty());
    }
    house.until("the sessions are over", || {
        let mut servers = house.servers.iter();
        servers
            .all(|server| server.sessions().is_empty())
            .then_some(())
    });
}
