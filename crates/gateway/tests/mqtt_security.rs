//! Strangers and hostile cameras at the embedded broker: h31 to h34, and what cameras with certificates may do.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "mqtt/brokers.rs"]
#[allow(dead_code, reason = "shared with the suite over both brokers")]
mod brokers;
#[path = "mqtt/certificates.rs"]
mod certificates;
#[path = "mqtt/client.rs"]
#[allow(dead_code, reason = "shared with the suite over both brokers")]
mod client;
#[path = "mqtt/raw.rs"]
mod raw;

use std::net::{Ipv4Addr, SocketAddr};

use apiary::config::{ExtraClient, MqttConfig, TlsFiles};
use apiary::mqtt::{CameraControl, EmbeddedBroker};
use apiary::reason::Code;
use apiary_sim::{
    BrokerIdentity, BrokerTls, CameraConfig, Simulator, SimulatorConfig, VideoSource,
};
use apiary_wire::CameraId;
use apiary_wire::camera::{Command, ConnectionStatus};
use apiary_wire::topic::TopicFilter;
use brokers::embedded_config;
use certificates::Authority;
use client::{connected, connection, control, external, heard, soon};
use raw::{AtMost, Raw, refused, with_tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ID: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";
const OTHER: &str = "00000000000000000000000000000002";
/// CONNACK: not authorized (MQTT 3.1.1 §3.2.2.3).
const NOT_AUTHORIZED: u8 = 5;
/// CONNACK: the server is unavailable.
const UNAVAILABLE: u8 = 3;

fn id(text: &str) -> CameraId {
    text.parse().unwrap()
}

/// A broker with the client of it.
struct Scene {
    config: MqttConfig,
    broker: EmbeddedBroker,
    control: CameraControl,
}

impl Scene {
    async fn new(change: impl FnOnce(&mut MqttConfig)) -> Self {
        let mut config = embedded_config(0);
        change(&mut config);
        let broker = EmbeddedBroker::start(&config).await.unwrap();
        let control = control(&external(broker.address().port(), None));
        connected(&control).await;
        Self {
            config,
            broker,
            control,
        }
    }

    async fn with_tls(authority: &Authority) -> Self {
        Self::new(|config| {
            config.embedded.listen_tls = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
            config.tls = authority.broker(&["127.0.0.1"]);
        })
        .await
    }

    fn address(&self) -> SocketAddr {
        self.broker.address()
    }

    async fn camera(&self, id: &str) -> Raw {
        Raw::connect(self.address(), id).await.unwrap()
    }

    async fn over_tls(&self, files: &TlsFiles, id: &str) -> Result<Raw, u8> {
        let stream = with_tls(self.broker.tls_address().unwrap(), files).await;
        Raw::greet(stream, id, AtMost::default()).await
    }

    fn revoke(&mut self, names: &[&str]) {
        self.config.access.revoked = names.iter().map(|name| (*name).to_owned()).collect();
        self.broker.reload(&self.config).unwrap();
    }

    async fn end(self) {
        self.control.shutdown().await;
        soon("the broker's end", self.broker.stop()).await;
    }
}

fn commands_of(id: &str) -> String {
    format!("prod/honeycomb/{id}/#")
}

fn hello_of(id: &str) -> String {
    format!("prod/device/connection/hive-cam/{id}")
}

#[tokio::test]
async fn h32_a_hostile_camera_neither_commands_nor_hears_another() {
    let scene = Scene::new(|_| {}).await;
    let mut events = scene.control.events();
    let mut victim = scene.camera(OTHER).await;
    assert!(victim.subscribe(&commands_of(OTHER)).await);
    let mut hostile = scene.camera(ID).await;
    for filter in [
        "#",
        "+/#",
        "$SYS/#",
        "prod/honeycomb/#",
        "prod/honeycomb/+/#",
        "prod/device/#",
        &commands_of(OTHER),
        &format!("$share/g/{}", commands_of(OTHER)),
        &format!("prod/+/{ID}/#"),
    ] {
        assert!(!hostile.subscribe(filter).await, "{filter}");
    }
    assert!(
        hostile.subscribe(&commands_of(ID)).await,
        "its own it may hear"
    );

    // All is acknowledged, since MQTT 3.1.1 cannot say no, and nothing of it arrives.
    for topic in [
        format!("prod/honeycomb/{OTHER}/stream/stop"),
        format!("prod/honeycomb/{ID}/stream/stop"),
        hello_of(OTHER),
        format!("prod/device/message/hive-cam/{OTHER}/activity/start"),
        "prod/device/connection/hive-cam/nobody".to_owned(),
    ] {
        hostile.publish(&topic, b"{}", true).await;
    }
    hostile
        .publish(&hello_of(ID), b"{\"status\":\"connected\"}", false)
        .await;
    assert_eq!(
        heard(&mut events).await.0,
        id(ID),
        "what comes first is its own message"
    );

    scene
        .control
        .send(id(OTHER), Command::Reboot)
        .await
        .unwrap();
    assert_eq!(
        victim.received().await.0,
        format!("prod/honeycomb/{OTHER}/system/reboot")
    );
    scene.control.send(id(ID), Command::Reboot).await.unwrap();
    assert_eq!(
        hostile.received().await.0,
        format!("prod/honeycomb/{ID}/system/reboot")
    );
    // Nothing was kept for later subscribers either.
    assert!(victim.subscribe(&commands_of(OTHER)).await);
    scene
        .control
        .send(id(OTHER), Command::StopSound)
        .await
        .unwrap();
    assert_eq!(
        victim.received().await.0,
        format!("prod/honeycomb/{OTHER}/sound/stop")
    );
    assert_eq!(scene.control.message_counts().no_camera_id, 0);
    scene.end().await;
}

#[tokio::test]
async fn h32_client_ids_of_nobody_are_refused() {
    let scene = Scene::new(|_| {}).await;
    let long = "A".repeat(16_000);
    let ids = [
        "",
        "x",
        "a/b",
        "+",
        "#",
        "$SYS",
        "a\0b",
        "a\u{1b}[31m\r\nforged",
        "..",
        &ID[1..],
        &long,
        "livestream_service-00000000",
        "apiary",
    ];
    for client_id in ids {
        let answer = Raw::connect(scene.address(), client_id).await;
        assert!(answer.is_err(), "{client_id:.40}");
    }
    // The right name with a wrong password is not taken either, nor does it push out who is there.
    let stream = TcpStream::connect(scene.address()).await.unwrap();
    let login = AtMost {
        login: Some(("apiary", "guessed")),
        ..AtMost::default()
    };
    assert!(
        Raw::greet(stream, "livestream_service-1", login)
            .await
            .is_err()
    );
    let will = AtMost {
        will: Some(format!("prod/honeycomb/{OTHER}/stream/stop")),
        ..AtMost::default()
    };
    let stream = TcpStream::connect(scene.address()).await.unwrap();
    assert_eq!(refused(Raw::greet(stream, ID, will).await), NOT_AUTHORIZED);
    connected(&scene.control).await;
    scene.end().await;
}

#[tokio::test]
async fn h32_a_camera_with_a_certificate_of_its_own_is_nobody_else() {
    let authority = Authority::new("ca");
    let scene = Scene::with_tls(&authority).await;
    let own = authority.client_named(ID);
    drop(scene.over_tls(&own, ID).await.unwrap());
    drop(scene.over_tls(&own, &ID.to_lowercase()).await.unwrap());
    for other in [OTHER, "camera_client", "livestream_service-1"] {
        assert_eq!(
            refused(scene.over_tls(&own, other).await),
            NOT_AUTHORIZED,
            "{other}"
        );
    }
    // The one that cameras share is good for each of them.
    let shared = authority.client();
    drop(scene.over_tls(&shared, ID).await.unwrap());
    drop(scene.over_tls(&shared, OTHER).await.unwrap());
    assert_eq!(
        refused(scene.over_tls(&shared, "camera_client").await),
        NOT_AUTHORIZED
    );
    // Administrators are told of each.
    let told = scene.broker.facts().refusals.latest();
    let told = told.iter().map(|one| (&*one.client, one.reason.cause.code));
    let told: Vec<_> = told.collect();
    let expected = [
        ("camera_client", Code::MqttStranger),
        ("livestream_service-1", Code::MqttStranger),
        (OTHER, Code::MqttAnothersCertificate),
    ];
    assert_eq!(told, expected);
    scene.end().await;
}

/// With the bundle that lies on a camera: `mqtt.pem` holds both certificate and key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulated_camera_comes_over_tls_with_a_bundle() {
    let authority = Authority::new("ca");
    let scene = Scene::with_tls(&authority).await;
    let mut events = scene.control.events();
    let mut camera = CameraConfig::numbered(7);
    camera.source = VideoSource::Replay;
    let files = authority.client_named(&camera.id.to_string());
    let pem = authority.dir.path().join("mqtt.pem");
    let both = [files.cert, files.key].map(|file| std::fs::read_to_string(file.unwrap()).unwrap());
    std::fs::write(&pem, both.concat()).unwrap();
    let tls = BrokerTls {
        ca: authority.ca(),
        identity: Some(BrokerIdentity {
            cert: pem.clone(),
            key: pem,
        }),
    };
    let url = format!("mqtts://{}", scene.broker.tls_address().unwrap());
    let broker = apiary_sim::Broker::from_url(&url, Some(tls)).unwrap();
    let camera_id = camera.id;
    let simulator = SimulatorConfig::new(broker, vec![camera]);
    let simulator = Simulator::start(simulator).await.unwrap();
    assert_eq!(heard(&mut events).await.0, camera_id);
    simulator.shutdown().await;
    scene.end().await;
}

#[tokio::test]
async fn h31_a_revoked_camera_is_gone_with_all_it_left() {
    let mut scene = Scene::new(|_| {}).await;
    let mut events = scene.control.events();
    let lasting = || AtMost {
        will: Some(hello_of(ID)),
        lasting: true,
        ..AtMost::default()
    };
    let stream = TcpStream::connect(scene.address()).await.unwrap();
    let mut camera = Raw::greet(stream, ID, lasting()).await.unwrap();
    assert!(camera.subscribe(&commands_of(ID)).await);
    camera
        .publish(&hello_of(ID), b"{\"status\":\"connected\"}", true)
        .await;
    assert_eq!(heard(&mut events).await.0, id(ID));

    scene.revoke(&[ID]);
    soon("the end of its connection", camera.ended()).await;
    assert_eq!(
        refused(Raw::connect(scene.address(), ID).await),
        NOT_AUTHORIZED
    );
    assert_eq!(
        refused(Raw::connect(scene.address(), &ID.to_lowercase()).await),
        NOT_AUTHORIZED
    );

    // Neither its last will is heard, nor what was kept of it: the first that comes is another camera's.
    let later = control(&external(scene.address().port(), None));
    let mut later_events = later.events();
    connected(&later).await;
    let mut other = scene.camera(OTHER).await;
    other
        .publish(&hello_of(OTHER), b"{\"status\":\"connected\"}", false)
        .await;
    assert_eq!(heard(&mut events).await.0, id(OTHER));
    assert_eq!(heard(&mut later_events).await.0, id(OTHER));
    later.shutdown().await;

    // Nothing waits for it, should it be allowed again: no session, and no subscription from before.
    scene.control.send(id(ID), Command::Reboot).await.unwrap();
    scene.revoke(&[]);
    let stream = TcpStream::connect(scene.address()).await.unwrap();
    let mut again = Raw::greet(stream, ID, lasting()).await.unwrap();
    assert!(!again.session_present, "its session was forgotten");
    scene.control.send(id(ID), Command::Reboot).await.unwrap();
    assert!(again.subscribe(&commands_of(ID)).await);
    scene
        .control
        .send(id(ID), Command::StopSound)
        .await
        .unwrap();
    assert_eq!(
        again.received().await.0,
        format!("prod/honeycomb/{ID}/sound/stop")
    );
    scene.end().await;
}

#[tokio::test]
async fn h31_a_session_that_waits_for_its_camera_is_forgotten_too() {
    let mut scene = Scene::new(|_| {}).await;
    let lasting = || AtMost {
        lasting: true,
        ..AtMost::default()
    };
    let stream = TcpStream::connect(scene.address()).await.unwrap();
    let mut camera = Raw::greet(stream, ID, lasting()).await.unwrap();
    assert!(camera.subscribe(&commands_of(ID)).await);
    camera
        .publish(&hello_of(ID), b"{\"status\":\"connected\"}", true)
        .await;
    camera.disconnect().await;
    scene.control.send(id(ID), Command::Reboot).await.unwrap();

    // A live one shows when the revocation is through.
    let mut live = scene.camera(OTHER).await;
    scene.revoke(&[ID, OTHER]);
    soon("the end of the live one", live.ended()).await;
    let stream = TcpStream::connect(scene.address()).await.unwrap();
    assert_eq!(
        refused(Raw::greet(stream, ID, lasting()).await),
        NOT_AUTHORIZED
    );
    scene.revoke(&[]);
    let stream = TcpStream::connect(scene.address()).await.unwrap();
    let again = Raw::greet(stream, ID, lasting()).await.unwrap();
    assert!(!again.session_present, "its session was forgotten");
    scene.end().await;
}

#[tokio::test]
async fn h31_a_revoked_certificate_ends_all_who_came_with_it() {
    let authority = Authority::new("ca");
    let mut scene = Scene::with_tls(&authority).await;
    let (shared, own) = (authority.client(), authority.client_named(OTHER));
    let mut with_shared = scene.over_tls(&shared, ID).await.unwrap();
    let mut with_own = scene.over_tls(&own, OTHER).await.unwrap();
    scene.revoke(&["camera_client"]);
    soon("the end of its connection", with_shared.ended()).await;
    assert_eq!(refused(scene.over_tls(&shared, ID).await), NOT_AUTHORIZED);
    assert_eq!(
        refused(scene.over_tls(&shared, OTHER).await),
        NOT_AUTHORIZED,
        "no takeover"
    );
    assert!(
        with_own.subscribe(&commands_of(OTHER)).await,
        "the other one is served"
    );
    connected(&scene.control).await;
    scene.end().await;
}

#[tokio::test]
async fn the_own_client_is_never_kept_out_by_others() {
    let scene = Scene::new(|config| config.embedded.max_clients = 1).await;
    let camera = scene.camera(ID).await;
    assert_eq!(
        refused(Raw::connect(scene.address(), OTHER).await),
        UNAVAILABLE
    );
    let second = control(&external(scene.address().port(), None));
    connected(&second).await;
    second.shutdown().await;
    // The place is free again when its holder is gone.
    camera.disconnect().await;
    let other = async {
        while Raw::connect(scene.address(), OTHER).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon("the free place", other).await;
    scene.end().await;
}

#[tokio::test]
async fn an_extra_client_is_held_to_its_filters_until_it_is_taken_out() {
    let extra = ExtraClient {
        name: "watcher".to_owned(),
        read: vec![TopicFilter::parse("prod/device/#").unwrap()],
        write: Vec::new(),
    };
    let mut scene = Scene::new(|config| config.access.extra_clients = vec![extra]).await;
    let mut watcher = scene.camera("watcher").await;
    assert!(watcher.subscribe("prod/device/+/hive-cam/+").await);
    assert!(!watcher.subscribe("#").await);
    assert!(!watcher.subscribe(&commands_of(ID)).await);
    let mut camera = scene.camera(ID).await;
    assert!(camera.subscribe(&commands_of(ID)).await);
    watcher
        .publish(&format!("prod/honeycomb/{ID}/system/reboot"), b"{}", false)
        .await;
    camera.publish(&hello_of(ID), b"{}", false).await;
    assert_eq!(watcher.received().await.0, hello_of(ID));
    scene
        .control
        .send(id(ID), Command::StopSound)
        .await
        .unwrap();
    assert_eq!(
        camera.received().await.0,
        format!("prod/honeycomb/{ID}/sound/stop")
    );

    scene.config.access.extra_clients.clear();
    scene.broker.reload(&scene.config).unwrap();
    soon("the end of its connection", watcher.ended()).await;
    assert_eq!(
        refused(Raw::connect(scene.address(), "watcher").await),
        NOT_AUTHORIZED
    );
    scene.end().await;
}

#[tokio::test]
async fn h33_what_is_no_connect_is_closed() {
    let scene = Scene::new(|_| {}).await;
    for first in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 3, 1, 2, 0, 1],
        // PUBLISH, SUBSCRIBE and PINGREQ before CONNECT.
        &[0x30, 5, 0, 1, b'a', b'x', b'y'],
        &[0x82, 6, 0, 1, 0, 1, b'#', 0],
        &[0xc0, 0],
        // 256 MiB, and a length without end.
        &[0x10, 0xff, 0xff, 0xff, 0x7f],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        let mut stream = TcpStream::connect(scene.address()).await.unwrap();
        stream.write_all(first).await.unwrap();
        closed(&mut stream).await;
    }
    // One byte a second comes nowhere, and keeps nobody out.
    let mut slow = TcpStream::connect(scene.address()).await.unwrap();
    let dripping = async {
        let mut bytes = [0x10, 0x7f].into_iter().chain(std::iter::repeat(0));
        while slow.write_all(&[bytes.next().unwrap()]).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    };
    let others = async {
        let mut camera = scene.camera(ID).await;
        camera.publish(&hello_of(ID), b"{}", false).await;
    };
    soon("the end of the slow one", async {
        tokio::join!(dripping, others)
    })
    .await;
    scene.end().await;
}

/// As many as the limit of open files lets this test have, at both ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h33_thousands_of_idle_sockets_cost_little_and_keep_nobody_out() {
    let authority = Authority::new("ca");
    let scene = Scene::with_tls(&authority).await;
    let files = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    let sockets = 10_000.min(usize::try_from(files.unwrap().0).unwrap_or(10_000) / 2 - 300);
    let before = resident_kib();
    let mut idle = Vec::with_capacity(sockets);
    for i in 0..sockets {
        let tls = i % 2 == 0;
        let address = match tls {
            true => scene.broker.tls_address().unwrap(),
            false => scene.address(),
        };
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let mut camera = scene.camera(ID).await;
    camera.publish(&hello_of(ID), b"{}", false).await;
    drop(scene.over_tls(&authority.client(), OTHER).await.unwrap());
    let used = resident_kib().saturating_sub(before);
    assert!(used < sockets * 16, "{used} KiB for {sockets} sockets");
    for stream in &mut idle {
        closed(stream).await;
    }
    scene.end().await;
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn closed(stream: &mut TcpStream) {
    let end = async { while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {} };
    soon("the close", end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h34_who_stops_reading_is_closed_and_slows_nobody() {
    let extra = ExtraClient {
        name: "watcher".to_owned(),
        read: vec![TopicFilter::parse("prod/device/#").unwrap()],
        write: Vec::new(),
    };
    let scene = Scene::new(|config| config.access.extra_clients = vec![extra]).await;
    let mut events = scene.control.events();
    let mut stuck = scene.camera("watcher").await;
    assert!(stuck.subscribe("prod/device/#").await);
    // 60 MB for one that takes none of it, more than all sockets hold.
    let mut camera = scene.camera(ID).await;
    let large = format!("{{\"padding\":\"{}\"}}", "x".repeat(200_000));
    for _ in 0..300 {
        camera.publish(&hello_of(ID), large.as_bytes(), false).await;
        heard(&mut events).await;
    }
    // Commands go on meanwhile, and in the end the stuck one is gone.
    assert!(camera.subscribe(&commands_of(ID)).await);
    scene.control.send(id(ID), Command::Reboot).await.unwrap();
    assert_eq!(
        camera.received().await.0,
        format!("prod/honeycomb/{ID}/system/reboot")
    );
    soon("its end", stuck.gone_without_reading()).await;
    scene.end().await;
}

/// The last will goes where its owner may publish, and is heard.
#[tokio::test]
async fn a_cameras_own_last_will_is_delivered() {
    let scene = Scene::new(|_| {}).await;
    let mut events = scene.control.events();
    let will = AtMost {
        will: Some(hello_of(ID)),
        ..AtMost::default()
    };
    let stream = TcpStream::connect(scene.address()).await.unwrap();
    drop(Raw::greet(stream, ID, will).await.unwrap());
    let (camera, message, _) = heard(&mut events).await;
    assert_eq!(camera, id(ID));
    assert_eq!(message, connection(ConnectionStatus::Disconnected));
    scene.end().await;
}
