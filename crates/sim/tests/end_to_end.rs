//! A simulated camera on a real broker and real sockets, all on loopback.

// Helpers outside of test functions may fail as bluntly as these.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod support;

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apiary_sim::{
    AudioCodec, Broker, CameraConfig, CameraState, FirmwareRules, Misbehaviour, Simulator,
    SimulatorConfig, SimulatorError, StopReason, VideoSource, find_timestamp,
};
use apiary_wire::Bitrate;
use apiary_wire::camera::{Activity, CameraMessage, Command, ConnectionStatus, Mode};
use apiary_wire::h264::{Depacketizer, nal_units};
use apiary_wire::rtcp::{self, RtcpPacket};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use serde_json::Value;
use support::{Control, Gate, PATIENCE, Received, Receiver, Stage, TestBroker, small_camera};

const VIDEO_SSRC: apiary_wire::Ssrc = apiary_wire::Ssrc(0x0101_0202);
const AUDIO_SSRC: apiary_wire::Ssrc = apiary_wire::Ssrc(0x0303_0404);

/// Decodes the next `count` pictures from the next whole IDR on and returns their luma.
async fn decode(receiver: &mut Receiver, count: usize) -> Vec<Vec<u8>> {
    let mut depacketizer = Depacketizer::new();
    let mut decoder = Decoder::new().unwrap();
    let mut pictures = Vec::new();
    while pictures.len() < count {
        let received = receiver.next_video().await;
        let header = received.header();
        let unit = depacketizer
            .push(
                header.sequence_number,
                header.timestamp,
                header.marker,
                received.payload(),
            )
            .unwrap();
        let has_sps = |annex_b: &[u8]| nal_units(annex_b).any(|nal| nal[0] & 0x1F == 7);
        if let Some(unit) = unit
            && (!pictures.is_empty() || has_sps(&unit.annex_b))
            && let Some(picture) = decoder.decode(&unit.annex_b).unwrap()
        {
            assert_eq!(picture.dimensions(), (320, 180));
            pictures.push(picture.y().to_vec());
        }
    }
    pictures
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_pictures_that_decode_and_change() {
    let mut stage = Stage::set(small_camera(1)).await;
    let mut receiver = Receiver::open();
    let sdp = receiver.sdp().to_string();
    stage
        .control
        .play(stage.camera.id(), receiver.stream(), sdp)
        .await;
    let pictures = decode(&mut receiver, 30).await;
    let distinct: HashSet<_> = pictures.iter().collect();
    assert!(distinct.len() > 25, "{} of 30 differ", distinct.len());
    let state = stage
        .camera
        .wait_for(PATIENCE, |state| state.sent.frames >= 30)
        .await
        .unwrap();
    assert!(state.sent.idrs >= 1 && state.sent.video_packets >= 30);
    stage.control.connection(ConnectionStatus::Connected).await;
    stage.simulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_both_media_and_their_reports_with_the_commanded_identity() {
    let mut stage = Stage::set(small_camera(2)).await;
    let mut receiver = stage.play().await;
    let mut reported = HashSet::new();
    let mut sources = HashSet::new();
    let mut audio: Vec<Received> = Vec::new();
    while reported.len() < 2 || audio.len() < 10 {
        let received = receiver.next().await;
        sources.insert((received.medium, received.rtcp, received.from));
        let ssrc = [VIDEO_SSRC, AUDIO_SSRC][received.medium];
        if received.rtcp {
            let packets: Vec<_> = rtcp::parse_compound(&received.bytes)
                .map(Result::unwrap)
                .collect();
            let [
                RtcpPacket::SenderReport(report),
                RtcpPacket::SourceDescription(sdes),
            ] = packets[..]
            else {
                panic!("{packets:?}");
            };
            assert_eq!(report.ssrc, ssrc);
            assert_eq!(sdes.cname(ssrc), Some(b"test@receiver".as_slice()));
            reported.insert(received.medium);
        } else {
            let header = received.header();
            assert_eq!(header.ssrc, ssrc);
            assert_eq!(header.payload_type.get(), [103, 96][received.medium]);
            if received.medium == 1 {
                audio.push(received);
            }
        }
    }
    for pair in audio.windows(2) {
        let (first, second) = (pair[0].header(), pair[1].header());
        assert_eq!(
            second.sequence_number.wrapping_sub(first.sequence_number),
            1
        );
        assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 960);
    }
    // Plain RTP from one port a medium, RTCP from the next one.
    assert_eq!(sources.len(), 4, "{sources:?}");
    for medium in 0..2 {
        let port = |rtcp| {
            let found = sources
                .iter()
                .find(|source| (source.0, source.1) == (medium, rtcp));
            found.unwrap().2.port()
        };
        assert_eq!(port(true), port(false) + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pcmu_is_an_option() {
    let camera = CameraConfig {
        audio: AudioCodec::Pcmu,
        ..small_camera(3)
    };
    let mut stage = Stage::set(camera).await;
    let mut receiver = stage.play().await;
    let first = receiver
        .find(|received| received.medium == 1 && !received.rtcp)
        .await;
    let second = receiver
        .find(|received| received.medium == 1 && !received.rtcp)
        .await;
    assert_eq!(
        (first.header().payload_type.get(), first.payload().len()),
        (0, 160)
    );
    assert_eq!(
        second
            .header()
            .timestamp
            .wrapping_sub(first.header().timestamp),
        160
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_without_remb_and_without_keepalives() {
    for (patience, reason) in [
        ((1, 60), StopReason::NoRemb),
        ((60, 1), StopReason::NoKeepalive),
    ] {
        let mut camera = small_camera(4);
        camera.rules.remb_timeout = Duration::from_secs(patience.0);
        camera.rules.keepalive_timeout = Duration::from_secs(patience.1);
        let mut stage = Stage::set(camera).await;
        let mut receiver = stage.play().await;
        let stopped = |state: &CameraState| state.stop_reason() == Some(reason);
        let state = stage.camera.wait_for(PATIENCE, stopped).await.unwrap();
        assert_eq!(
            (state.feedback.remb.count, state.feedback.keepalive.count),
            (0, 0)
        );
        receiver.drain().await;
        // A stop of a stream that is over changes nothing, and shows that the camera still listens.
        let stream = receiver.stream();
        stage
            .control
            .command(stage.camera.id(), Command::Stop { stream })
            .await;
        stage
            .camera
            .wait_for(PATIENCE, |state| state.commands == 2)
            .await
            .unwrap();
        assert!(!receiver.drain().await, "nothing comes any more");
        assert!(stopped(&stage.camera.state()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_remb_and_is_held_alive_by_it_and_by_keepalives() {
    let mut stage = Stage::set(small_camera(5)).await;
    let mut receiver = stage.play().await;
    receiver.next_video().await;
    for (told, followed) in [(1200, 1200), (100, 500), (700, 700), (9000, 5000)] {
        receiver.remb(told);
        let bitrate = Some(Bitrate::from_kbps(followed));
        stage
            .camera
            .wait_for(PATIENCE, |state| state.bitrate() == bitrate)
            .await
            .unwrap();
        // The new bitrate begins with an IDR that decodes.
        decode(&mut receiver, 3).await;
    }
    for count in 0..3 {
        let stream = receiver.stream();
        stage
            .control
            .command(stage.camera.id(), Command::KeepAlive { stream, count })
            .await;
    }
    let heard = |state: &CameraState| state.feedback.last_keepalive == Some(2);
    let state = stage.camera.wait_for(PATIENCE, heard).await.unwrap();
    assert_eq!(
        (state.feedback.keepalive.count, state.feedback.remb.count),
        (3, 4)
    );
    assert!(state.feedback.remb.max_gap > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_nack_with_the_same_packet_and_pli_with_an_idr() {
    let mut camera = small_camera(6);
    // No IDR of its own accord.
    camera.rules.idr_interval = Duration::from_secs(3600);
    let mut stage = Stage::set(camera).await;
    let mut receiver = stage.play().await;
    let lost = receiver.next_video().await;
    let number = lost.header().sequence_number;
    receiver.feedback(|writer, own| {
        writer.nack(own, VIDEO_SSRC, std::iter::once(number));
    });
    let again = receiver
        .find(|received| {
            received.medium == 0 && !received.rtcp && received.header().sequence_number == number
        })
        .await;
    assert_eq!(again.bytes, lost.bytes);

    // The answer is on its way a moment before the counters say so.
    let answered = stage
        .camera
        .wait_for(PATIENCE, |state| state.feedback.nack.answered == 1)
        .await
        .unwrap();
    receiver.feedback(|writer, own| {
        writer.pli(own, VIDEO_SSRC);
    });
    let state = stage
        .camera
        .wait_for(PATIENCE, |state| state.sent.idrs > answered.sent.idrs)
        .await
        .unwrap();
    assert_eq!((state.feedback.plis, state.feedback.nack.answered), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_a_killed_camera_leaves_its_will_and_comes_back_from_another_port() {
    let mut stage = Stage::set(small_camera(7)).await;
    let hello = stage.control.connection(ConnectionStatus::Connected).await;
    assert_eq!(hello.client_id, Some(stage.camera.id().to_string()));
    assert_eq!(hello.device.hardware_version.as_deref(), Some("VBC01"));
    assert_eq!(hello.ip_address, Some("127.0.0.1".parse().unwrap()));
    let mut ports = HashSet::new();
    for round in 0..3 {
        let mut receiver = stage.play().await;
        ports.insert(receiver.next_video().await.from);
        stage.camera.kill().await.unwrap();
        assert_eq!(
            stage.camera.state().stop_reason(),
            Some(StopReason::PowerOff)
        );
        assert!(!stage.camera.state().connected);
        let will = stage
            .control
            .connection(ConnectionStatus::Disconnected)
            .await;
        assert_eq!(will.client_id, Some(stage.camera.id().to_string()));
        receiver.drain().await;
        // Address by address, as a camera that gets another lease.
        let bind = format!("127.0.0.{}", round + 2).parse().unwrap();
        stage.camera.restart(Some(bind)).await.unwrap();
        let hello = stage.control.connection(ConnectionStatus::Connected).await;
        assert_eq!(hello.ip_address, Some(bind));
        assert!(!receiver.drain().await, "the old stream is forgotten");
    }
    assert_eq!(ports.len(), 3);
    assert_eq!(
        stage.play().await.next_video().await.from.ip().to_string(),
        "127.0.0.4"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_drops_the_connection_and_comes_back() {
    let camera = CameraConfig {
        reboot_time: Duration::from_millis(10),
        ..small_camera(8)
    };
    let mut stage = Stage::set(camera).await;
    stage.control.connection(ConnectionStatus::Connected).await;
    assert_eq!(stage.control.message(reported).await["mode"], "ARMED");
    let id = stage.camera.id();
    let mode = Command::SetMode(Mode::LiveStreamOnly);
    stage.control.command(id, mode).await;
    let changed = stage.control.message(reported).await;
    assert_eq!(changed["mode"], "LIVESTREAMONLY");
    stage.play().await;
    stage.control.command(id, Command::Reboot).await;
    stage
        .control
        .connection(ConnectionStatus::Disconnected)
        .await;
    stage.control.connection(ConnectionStatus::Connected).await;
    assert!(!stage.camera.state().is_streaming());
    let restarted = stage.control.message(reported).await;
    assert_eq!(restarted["mode"], "ARMED");
    assert!(restarted["settings"]["volume"].is_string());
}

/// What a camera says of its mode and settings.
fn reported(message: CameraMessage) -> Option<Value> {
    match message {
        CameraMessage::State(state) => Some(state),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_status_mode_and_activity() {
    let camera = CameraConfig {
        status_interval: Duration::from_millis(50),
        ..small_camera(9)
    };
    let mut stage = Stage::set(camera).await;
    let status = |message| match message {
        CameraMessage::Status(status) => Some(status),
        _ => None,
    };
    assert_eq!(stage.control.message(reported).await["mode"], "ARMED");
    assert!(stage.control.message(status).await.uptime.is_some());
    let id = stage.camera.id();
    stage
        .control
        .command(id, Command::SetMode(Mode::Privacy))
        .await;
    assert_eq!(stage.control.message(reported).await["mode"], "PRIVACY");
    let activity = Activity {
        event_id: Some("e1".to_owned()),
        activity_type: Some("MOTION".to_owned()),
        ..Activity::default()
    };
    stage.camera.activity_start(activity.clone()).await.unwrap();
    let started = |message| match message {
        CameraMessage::ActivityStart(activity) => Some(activity),
        _ => None,
    };
    assert_eq!(
        stage.control.message(started).await.event_id,
        activity.event_id
    );
    stage.camera.say_hello().await.unwrap();
    stage.control.connection(ConnectionStatus::Connected).await;
    let commands = stage.camera.commands();
    assert_eq!(commands[0].command, Command::SetMode(Mode::Privacy));
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_without_noticing_and_moves_to_other_ports() {
    let mut stage = Stage::set(small_camera(10)).await;
    let mut receiver = stage.play().await;
    let before = receiver.next_video().await;
    stage.camera.pause_sending().unwrap();
    let lost = |state: &CameraState| state.sent.lost > 20;
    stage.camera.wait_for(PATIENCE, lost).await.unwrap();
    receiver.drain().await;
    stage.camera.resume_sending().unwrap();
    let after = receiver.next_video().await;
    let gap = after
        .header()
        .sequence_number
        .wrapping_sub(before.header().sequence_number);
    assert!(gap > 5, "numbers went on: {gap}");
    stage.camera.move_ports().unwrap();
    let moved = receiver
        .find(|received| received.medium == 0 && !received.rtcp && received.from != before.from)
        .await;
    assert_eq!(moved.header().ssrc, VIDEO_SSRC);
    receiver.remb(800);
    let heard = |state: &CameraState| state.feedback.remb.count == 1;
    stage.camera.wait_for(PATIENCE, heard).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn h28_a_second_source_sends_beside_the_camera() {
    let camera = CameraConfig {
        misbehaviour: vec![Misbehaviour::SecondSource],
        ..small_camera(11)
    };
    let mut stage = Stage::set(camera).await;
    let mut receiver = stage.play().await;
    let own = receiver.next_video().await.from;
    let foreign = receiver
        .find(|received| received.medium == 0 && !received.rtcp && received.from != own)
        .await;
    assert_eq!(foreign.header().ssrc, VIDEO_SSRC);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_may_hear_rtcp_on_its_rtp_port_only() {
    let camera = CameraConfig {
        misbehaviour: vec![Misbehaviour::RtcpOnRtpPort],
        ..small_camera(12)
    };
    let mut stage = Stage::set(camera).await;
    let mut receiver = stage.play().await;
    receiver.next_video().await;
    receiver.remb(800);
    receiver.feedback_to_rtp_port(|writer, own| {
        writer.remb(own, Bitrate::from_kbps(900), &[VIDEO_SSRC]);
    });
    let heard = |state: &CameraState| state.feedback.remb.count > 0;
    let state = stage.camera.wait_for(PATIENCE, heard).await.unwrap();
    assert_eq!(state.feedback.last_remb, Some(Bitrate::from_kbps(900)));
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_say_when_they_were_sent() {
    let camera = CameraConfig {
        timestamps: true,
        ..small_camera(13)
    };
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut stage = Stage::set(camera).await;
    let mut receiver = stage.play().await;
    let found = receiver
        .find(|received| {
            received.medium == 0 && !received.rtcp && find_timestamp(received.payload()).is_some()
        })
        .await;
    let sent = find_timestamp(found.payload()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(
        started <= sent && sent <= now + Duration::from_millis(1),
        "{sent:?} {now:?}"
    );
    // Decoders do not mind.
    decode(&mut receiver, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_cameras_replay_one_loop() {
    const COUNT: u32 = 25;
    let broker = TestBroker::start().await;
    let control = Control::connect(broker.port()).await;
    let cameras: Vec<_> = (0..COUNT)
        .map(|number| CameraConfig {
            source: VideoSource::Replay,
            timestamps: true,
            ..CameraConfig::numbered(100 + number)
        })
        .collect();
    let config = SimulatorConfig::new(Broker::local(broker.port()), cameras);
    let simulator = Simulator::start(config).await.unwrap();
    let mut receivers = Vec::new();
    for camera in simulator.cameras() {
        camera
            .wait_for(PATIENCE, |state| state.connected)
            .await
            .unwrap();
        let receiver = Receiver::open();
        let sdp = receiver.sdp().to_string();
        control.play(camera.id(), receiver.stream(), sdp).await;
        receivers.push(receiver);
    }
    for (camera, receiver) in simulator.cameras().iter().zip(&mut receivers) {
        let state = camera
            .wait_for(PATIENCE, |state| state.sent.frames > 40)
            .await
            .unwrap();
        assert!(state.sent.audio_packets > 20);
        let first = receiver.next_video().await;
        let second = receiver.next_video().await;
        let step = second
            .header()
            .sequence_number
            .wrapping_sub(first.header().sequence_number);
        assert_eq!((step, first.header().ssrc), (1, VIDEO_SSRC));
    }
    simulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_waits_for_its_broker_and_streams_on_while_it_is_gone() {
    let broker = TestBroker::start().await;
    let mut control = Control::connect(broker.port()).await;
    let gate = Gate::before(broker.port()).await;
    let camera = small_camera(14);
    let id = camera.id;
    let config = SimulatorConfig {
        reconnect_first: Duration::from_millis(10),
        reconnect_max: Duration::from_millis(50),
        ..SimulatorConfig::new(Broker::local(gate.port()), vec![camera])
    };
    let simulator = Simulator::start(config).await.unwrap();
    let camera = simulator.camera(id).unwrap();
    gate.refused(3).await;
    assert!(!camera.state().connected);
    gate.open();
    control.connection(ConnectionStatus::Connected).await;

    let mut receiver = Receiver::open();
    let sdp = receiver.sdp().to_string();
    control.play(id, receiver.stream(), sdp).await;
    receiver.next_video().await;
    gate.close();
    control.connection(ConnectionStatus::Disconnected).await;
    camera
        .wait_for(PATIENCE, |state| !state.connected)
        .await
        .unwrap();
    receiver.drain().await;
    receiver.next_video().await;
    gate.open();
    control.connection(ConnectionStatus::Connected).await;
    assert!(camera.state().is_streaming());

    simulator.shutdown().await;
    assert!(camera.kill().await.is_err() && camera.pause_sending().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_says_goodbye() {
    let mut stage = Stage::set(small_camera(15)).await;
    let mut receiver = stage.play().await;
    stage.control.connection(ConnectionStatus::Connected).await;
    stage.simulator.shutdown().await;
    stage
        .control
        .connection(ConnectionStatus::Disconnected)
        .await;
    receiver.drain().await;
    assert!(!stage.camera.state().connected);
    assert_eq!(
        stage.camera.state().stop_reason(),
        Some(StopReason::PowerOff)
    );
}

#[tokio::test]
async fn configurations_that_cannot_work_are_refused() {
    let broker = Broker::local(1);
    let twice = vec![small_camera(1), small_camera(1)];
    let error = Simulator::start(SimulatorConfig::new(broker.clone(), twice))
        .await
        .unwrap_err();
    assert!(
        matches!(error, SimulatorError::DuplicateCamera(_)),
        "{error}"
    );
    for (width, height, fps) in [(321, 180, 30), (0, 0, 30), (320, 180, 0), (9000, 180, 30)] {
        let camera = CameraConfig {
            source: VideoSource::LiveTestCard { width, height, fps },
            rules: FirmwareRules::default(),
            ..small_camera(1)
        };
        let config = SimulatorConfig::new(broker.clone(), vec![camera]);
        let error = Simulator::start(config).await.unwrap_err();
        assert!(matches!(error, SimulatorError::Picture { .. }), "{error}");
    }
}
