//! What must hold with every broker.

use std::time::Duration;

use apiary::config::Verify;
use apiary::mqtt::{BrokerState, ControlError};
use apiary_wire::StreamId;
use apiary_wire::camera::{CameraMessage, Command, ConnectionStatus};
use uuid::Uuid;

use crate::brokers::Broker;
use crate::certificates::Authority;
use crate::client::{
    Camera, camera_id, connected, connection, control, external, heard, soon, unreachable,
};

fn keep_alive(count: u64) -> Command {
    Command::KeepAlive {
        stream: StreamId(Uuid::from_u128(7)),
        count,
    }
}

pub(crate) async fn commands_are_acknowledged_and_reach_the_camera<B: Broker>() {
    let broker = B::start(0, None).await;
    let mut camera = Camera::connect(broker.port()).await;
    let control = control(&external(broker.port(), None));
    // No waiting for the connection: the first send does that itself.
    let sdp = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\n".to_owned();
    let play = Command::Play {
        stream: StreamId(Uuid::from_u128(7)),
        sdp,
    };
    for command in [play, keep_alive(0), keep_alive(1), Command::Reboot] {
        control.send(camera_id(), command.clone()).await.unwrap();
        assert_eq!(camera.command().await, (camera_id(), command));
    }
    control.shutdown().await;
    broker.stop().await;
}

pub(crate) async fn messages_of_cameras_are_heard<B: Broker>() {
    let broker = B::start(0, None).await;
    let control = control(&external(broker.port(), None));
    connected(&control).await;
    let mut events = control.events();
    let mut camera = Camera::connect(broker.port()).await;

    let hello = connection(ConnectionStatus::Connected);
    camera
        .publish(&hello.topic(camera_id()), &hello.to_json())
        .await;
    assert_eq!(
        heard(&mut events).await,
        (camera_id(), hello.clone(), hello.to_json())
    );

    // Lower case, and a field nobody knows: taken, with the raw text kept.
    let topic = format!(
        "prod/device/message/hive-cam/{}/activity/start",
        camera_id().to_string().to_lowercase()
    );
    camera
        .publish(&topic, r#"{"eventId":"e","novelty":[1]}"#)
        .await;
    let (id, message, raw) = heard(&mut events).await;
    assert_eq!(id, camera_id());
    assert!(
        matches!(message, CameraMessage::ActivityStart(activity) if activity.event_id.as_deref() == Some("e"))
    );
    assert!(raw.contains("novelty"));
    control.shutdown().await;
    broker.stop().await;
}

pub(crate) async fn last_will_of_a_killed_camera_is_heard<B: Broker>() {
    let broker = B::start(0, None).await;
    let control = control(&external(broker.port(), None));
    connected(&control).await;
    let mut events = control.events();
    let camera = Camera::connect(broker.port()).await;
    // Dropped without a goodbye, as a camera that loses its power.
    drop(camera);
    let (id, message, _) = heard(&mut events).await;
    assert_eq!(
        (id, message),
        (camera_id(), connection(ConnectionStatus::Disconnected))
    );
    control.shutdown().await;
    broker.stop().await;
}

pub(crate) async fn f09_sends_fail_at_once_while_the_broker_is_away_and_recover<B: Broker>() {
    let broker = B::start(0, None).await;
    let port = broker.port();
    let control = control(&external(port, None));
    connected(&control).await;
    broker.stop().await;
    unreachable(&control).await;

    // Many at once: none waits, and none is kept for later.
    for count in 0..1000 {
        match control.send(camera_id(), keep_alive(count)).await {
            Err(ControlError::BrokerUnreachable { broker, cause }) => {
                assert_eq!(broker, format!("mqtt://127.0.0.1:{port}"));
                assert!(!cause.is_empty());
            }
            other => panic!("{other:?} without a broker"),
        }
    }

    let broker = B::start(port, None).await;
    connected(&control).await;
    let mut events = control.events();
    let mut camera = Camera::connect(port).await;
    control.send(camera_id(), keep_alive(5000)).await.unwrap();
    assert_eq!(
        camera.command().await.1,
        keep_alive(5000),
        "nothing of the outage is sent later"
    );
    // Heard again: the subscriptions were made anew.
    let hello = connection(ConnectionStatus::Connected);
    camera
        .publish(&hello.topic(camera_id()), &hello.to_json())
        .await;
    assert_eq!(heard(&mut events).await.1, hello);
    control.shutdown().await;
    broker.stop().await;
}

pub(crate) async fn two_instances_with_one_client_id_live_side_by_side<B: Broker>() {
    let broker = B::start(0, None).await;
    let config = external(broker.port(), None);
    let (one, other) = (control(&config), control(&config));
    connected(&one).await;
    connected(&other).await;
    for count in 0..20 {
        one.send(camera_id(), keep_alive(count)).await.unwrap();
        other.send(camera_id(), keep_alive(count)).await.unwrap();
    }
    assert_eq!(*one.broker().borrow(), BrokerState::Connected);
    assert_eq!(*other.broker().borrow(), BrokerState::Connected);
    one.shutdown().await;
    other.shutdown().await;
    broker.stop().await;
}

pub(crate) async fn h32_no_camera_id_reaches_the_program<B: Broker>() {
    let broker = B::start(0, None).await;
    let control = control(&external(broker.port(), None));
    connected(&control).await;
    let mut events = control.events();
    let mut camera = Camera::connect(broker.port()).await;
    let long = "F".repeat(33);
    // Control characters are tried on the parser itself: Mosquitto disconnects whoever sends them.
    let hostile = ["x", "$SYS", "..", "..%2f", "\u{202e}txt", long.as_str()];
    for id in hostile {
        camera
            .publish(&format!("prod/device/connection/hive-cam/{id}"), "{}")
            .await;
    }
    let hello = connection(ConnectionStatus::Connected);
    camera
        .publish(&hello.topic(camera_id()), &hello.to_json())
        .await;
    assert_eq!(
        heard(&mut events).await.0,
        camera_id(),
        "only the real one is heard"
    );
    let counts = control.message_counts();
    let reached = match B::LETS_CAMERAS_PUBLISH_ANYWHERE {
        true => hostile.len() as u64,
        false => 0,
    };
    assert_eq!((counts.no_camera_id, counts.accepted), (reached, 1));
    control.shutdown().await;
    broker.stop().await;
}

pub(crate) async fn tls_with_a_client_certificate<B: Broker>() {
    let authority = Authority::new("Config Server CA");
    let broker = B::start(0, Some(authority.broker(&["127.0.0.1"]))).await;
    let control = control(&external(broker.tls_port(), Some(authority.client())));
    connected(&control).await;
    let mut camera = Camera::connect(broker.port()).await;
    control.send(camera_id(), keep_alive(1)).await.unwrap();
    assert_eq!(camera.command().await.1, keep_alive(1));
    control.shutdown().await;
    broker.stop().await;
}

pub(crate) async fn tls_without_a_client_certificate_is_refused<B: Broker>() {
    let authority = Authority::new("Config Server CA");
    let broker = B::start(0, Some(authority.broker(&["127.0.0.1"]))).await;
    let mut files = authority.client();
    (files.cert, files.key) = (None, None);
    let control = control(&external(broker.tls_port(), Some(files)));
    let cause = unreachable(&control).await;
    assert!(cause.contains("mqtt.cert"), "{cause}");
    control.shutdown().await;
    broker.stop().await;
}

pub(crate) async fn tls_from_another_authority_is_refused<B: Broker>() {
    let authority = Authority::new("Config Server CA");
    let stranger = Authority::new("Config Server CA");
    let broker = B::start(0, Some(authority.broker(&["127.0.0.1"]))).await;

    // We do not trust the broker.
    let suspicious = control(&external(broker.tls_port(), Some(stranger.client())));
    let cause = unreachable(&suspicious).await;
    assert!(cause.contains("certificate"), "{cause}");
    suspicious.shutdown().await;

    // The broker does not trust us.
    let mut files = stranger.client();
    files.ca = Some(authority.ca());
    let untrusted = control(&external(broker.tls_port(), Some(files)));
    let cause = unreachable(&untrusted).await;
    assert!(cause.contains("does not accept our certificate"), "{cause}");
    untrusted.shutdown().await;
    broker.stop().await;
}

/// Brokers of existing installations have a name in their certificate, and are reached at 127.0.0.1.
pub(crate) async fn tls_checks_the_name_unless_told_otherwise<B: Broker>() {
    let authority = Authority::new("Config Server CA");
    let broker = B::start(
        0,
        Some(authority.broker(&["broker.hive.example", "192.168.1.10"])),
    )
    .await;
    let mut config = external(broker.tls_port(), Some(authority.client()));

    let strict = control(&config);
    let cause = unreachable(&strict).await;
    assert!(
        cause.contains("mqtt.server_name") && cause.contains("broker.hive.example"),
        "{cause}"
    );
    strict.shutdown().await;

    for name in ["broker.hive.example", "192.168.1.10"] {
        config.server_name = Some(name.to_owned());
        let named = control(&config);
        connected(&named).await;
        named.shutdown().await;
    }

    config.server_name = None;
    config.verify = Verify::Chain;
    let lenient = control(&config);
    connected(&lenient).await;
    lenient.shutdown().await;

    // The chain is still checked.
    let another = Authority::new("another");
    config.tls.ca = Some(another.ca());
    let other = control(&config);
    let cause = unreachable(&other).await;
    assert!(cause.contains("mqtt.ca"), "{cause}");
    other.shutdown().await;
    broker.stop().await;
}

pub(crate) async fn shutdown_ends_waiting_sends<B: Broker>() {
    let broker = B::start(0, None).await;
    let control = control(&external(broker.port(), None));
    connected(&control).await;
    soon("the end", control.shutdown()).await;
    assert_eq!(
        control.send(camera_id(), keep_alive(1)).await,
        Err(ControlError::Closed)
    );
    soon("a second end", control.shutdown()).await;
    soon(
        "the broker's end",
        tokio::time::timeout(Duration::from_secs(10), broker.stop()),
    )
    .await
    .unwrap();
}
