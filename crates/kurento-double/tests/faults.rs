//! What goes wrong when a test wants it to, and what survives.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails"
)]

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use apiary_kurento_double::{Effect, Generation, Kind, KurentoDouble, Options, RpcFault};
use serde_json::json;
use support::{Camera, Client, DEADLINE, Frame, Received, own_address};

fn double() -> KurentoDouble {
    KurentoDouble::start(Options::at(own_address())).unwrap()
}

/// A double and a client that is connected to it.
fn pair() -> (KurentoDouble, Client) {
    let double = double();
    let client = Client::connect(&double.url());
    (double, client)
}

#[track_caller]
fn expect_end(client: &mut Client) {
    loop {
        match client.receive(DEADLINE) {
            Received::Message(_) => {}
            Received::Closed(_) => return,
            Received::Nothing => panic!("the connection is still there"),
        }
    }
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_kill_ends_everything_and_a_restart_knows_nothing() {
    let (double, mut client) = pair();
    let pipeline = client.create("MediaPipeline", None);
    let rtp = client.create("RtpEndpoint", Some(&pipeline));
    let offer = json!({ "offer": support::offer() });
    let answer = client.invoke(&rtp, "processOffer", offer);
    let camera = Camera::new(
        double.address().ip().to_string().parse().unwrap(),
        answer.as_str().unwrap(),
    );
    let before = double.server_id();
    double.kill();
    expect_end(&mut client);
    assert!(TcpStream::connect(double.address()).is_err());
    assert!(double.pipelines().is_empty());
    // Its ports are free again.
    std::net::UdpSocket::bind(camera.video_rtcp()).unwrap();
    double.restart();
    let mut client = Client::connect(&double.url());
    let connected = client.call("connect", json!({}));
    assert_ne!(connected["serverId"], before);
    assert_eq!(connected["serverId"], double.server_id());
    let described = client.error("describe", json!({ "object": pipeline }));
    assert_eq!(described.0, 40_101);
}

#[test]
fn a_restart_alone_kills_first() {
    let (double, mut client) = pair();
    client.create("MediaPipeline", None);
    double.restart();
    expect_end(&mut client);
    assert!(double.pipelines().is_empty());
    Client::connect(&double.url()).call("ping", json!({}));
}

#[test]
fn a_session_goes_on_over_another_socket() {
    let (double, mut client) = pair();
    let pipeline = client.create("MediaPipeline", None);
    let rtp = client.create("RtpEndpoint", Some(&pipeline));
    client.subscribe(&rtp, "MediaFlowOutStateChanged");
    let session = client.session.clone();
    let answer = client.invoke(&rtp, "processOffer", json!({ "offer": support::offer() }));
    double.drop_sockets();
    expect_end(&mut client);
    assert_eq!(double.sessions(), [session.clone().unwrap()]);
    let mut client = Client::connect(&double.url());
    client.session = session;
    client.call("connect", json!({}));
    let address = double.address().ip().to_string().parse().unwrap();
    let mut camera = Camera::new(address, answer.as_str().unwrap());
    camera.send(&Frame::idr(1));
    client.wait_state("MediaFlowOutStateChanged", "state", "FLOWING");
    assert_eq!(double.subscriptions().len(), 1);
}

#[test]
fn events_go_to_the_socket_that_was_used_last() {
    let (double, mut first) = pair();
    first.subscribe("manager_ServerManager", "ObjectCreated");
    let mut second = Client::connect(&double.url());
    second.session.clone_from(&first.session);
    second.call("ping", json!({}));
    let garbage = double.create_garbage("left over");
    second.wait_event("ObjectCreated", |data| {
        (data["object"] == garbage).then_some(())
    });
    first.call("ping", json!({}));
    assert!(first.events.is_empty(), "{:?}", first.events);
}

#[test]
fn frozen_it_reads_nothing_and_thawed_it_answers_all() {
    let (double, mut client) = pair();
    client.call("connect", json!({}));
    double.freeze();
    let id = client.request(
        "create",
        json!({ "type": "MediaPipeline", "constructorParams": {} }),
    );
    assert!(matches!(
        client.receive(Duration::from_millis(200)),
        Received::Nothing
    ));
    assert!(double.pipelines().is_empty());
    double.thaw();
    client.reply(id);
    assert_eq!(double.pipelines().len(), 1);
}

#[test]
fn replies_can_be_delayed_swallowed_and_replaced() {
    let (double, mut client) = pair();
    double.delay_replies(Duration::from_millis(50));
    let asked = Instant::now();
    client.call("ping", json!({}));
    assert!(asked.elapsed() >= Duration::from_millis(50));
    double.delay_replies(Duration::ZERO);

    double.swallow("MediaPipeline", Effect::CarriedOut);
    client.request(
        "create",
        json!({ "type": "MediaPipeline", "constructorParams": {} }),
    );
    until("the pipeline is created", || double.pipelines().len() == 1);
    client.call("ping", json!({}));
    double.clear_faults();

    let fault = RpcFault::new(40_003, "SERVER_OVERLOADED", "too much");
    double.fail_next("create", fault);
    let params = json!({ "type": "MediaPipeline", "constructorParams": {} });
    let failed = client.error("create", params);
    assert_eq!(failed, (40_003, "too much".to_owned()));
    client.create("MediaPipeline", None);
    assert_eq!(double.pipelines().len(), 2);
    assert_eq!((double.count("create"), double.count("ping")), (3, 2));
    let last = double.requests().pop().unwrap();
    assert_eq!(last.params["type"], "MediaPipeline");
    assert_eq!(
        (last.method.as_str(), last.detail.as_str()),
        ("create", "MediaPipeline")
    );
}

#[test]
fn a_connection_can_drop_in_the_middle_of_a_request() {
    let (double, mut client) = pair();
    client.call("connect", json!({}));
    for (effect, pipelines) in [(Effect::Lost, 0), (Effect::CarriedOut, 1)] {
        double.drop_on("create", effect);
        let params = json!({ "type": "MediaPipeline", "constructorParams": {} });
        client.request("create", params);
        expect_end(&mut client);
        assert_eq!(double.pipelines().len(), pipelines);
        let session = client.session.take();
        client = Client::connect(&double.url());
        client.session = session;
        client.call("connect", json!({}));
    }
}

#[test]
fn noise_reaches_the_client() {
    let (double, mut client) = pair();
    client.call("connect", json!({}));
    double.flood_events(1_000);
    double.send_raw(&json!({ "huge": "x".repeat(1_000_000) }).to_string());
    let id = client.request("ping", json!({}));
    let mut huge = 0;
    loop {
        match client.receive(DEADLINE) {
            Received::Message(message) if message["id"] == id => break,
            Received::Message(message) if message["method"] == "onEvent" => {
                client.events.push_back(message);
            }
            Received::Message(message) => {
                huge += message["huge"].as_str().map_or(0, str::len);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((client.events.len(), huge), (1_000, 1_000_000));
}

#[test]
fn an_event_can_be_made_up() {
    let (double, mut client) = pair();
    let pipeline = client.create("MediaPipeline", None);
    client.subscribe(&pipeline, "Error");
    let data =
        json!({ "description": "out of everything", "errorCode": 1, "type": "UNEXPECTED_ERROR" });
    double.emit_event(&pipeline, "Error", data);
    client.wait_event("Error", |data| {
        let whole = data["source"] == pipeline && data["type"] == "UNEXPECTED_ERROR";
        (whole && data["description"] == "out of everything").then_some(())
    });
}

#[test]
fn what_is_there_can_be_looked_at() {
    let (double, mut client) = pair();
    let garbage = double.create_garbage("apiary-old");
    let pipelines = double.pipelines();
    assert_eq!(
        (pipelines.len(), pipelines[0].name.as_str()),
        (1, "apiary-old")
    );
    let kinds: Vec<_> = pipelines[0].endpoints.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [Kind::RtpEndpoint, Kind::WebRtcEndpoint]);
    let manager = "manager_ServerManager";
    let listed = client.invoke(manager, "getPipelines", json!({}));
    assert_eq!(listed, json!([garbage]));
    assert_eq!(client.invoke(&garbage, "getName", json!({})), "apiary-old");
    double.set_load(97.5);
    let load = client.invoke(manager, "getUsedCpu", json!({ "interval": 500 }));
    assert_eq!(load, 97.5);
    assert!(client.invoke(manager, "getUsedMemory", json!({})).is_i64());
    client.call("release", json!({ "object": garbage }));
    assert!(double.pipelines().is_empty());
}

#[test]
fn with_its_last_session_goes_what_only_it_has_used() {
    let (double, mut client) = pair();
    let kept = double.create_garbage("nobody's");
    let pipeline = client.create("MediaPipeline", None);
    client.create("RtpEndpoint", Some(&pipeline));
    double.expire_session(&client.session.clone().unwrap());
    let pipelines = double.pipelines();
    assert_eq!(pipelines.len(), 1);
    assert_eq!(pipelines[0].id, kept);
    assert!(double.sessions().is_empty());
}

fn generation(only_legacy_events: bool) -> (KurentoDouble, Client) {
    let double = KurentoDouble::start(Options {
        generation: Generation::V6,
        only_legacy_events,
        ..Options::at(own_address())
    })
    .unwrap();
    let client = Client::connect(&double.url());
    (double, client)
}

#[test]
fn six_tells_of_candidates_by_both_names_and_knows_no_key_frame_request() {
    let (_double, mut client) = generation(false);
    let pipeline = client.create("MediaPipeline", None);
    let webrtc = client.create("WebRtcEndpoint", Some(&pipeline));
    for event in ["IceCandidateFound", "OnIceCandidate"] {
        client.subscribe(&webrtc, event);
    }
    client.invoke(&webrtc, "generateOffer", json!({}));
    client.invoke(&webrtc, "gatherCandidates", json!({}));
    for event in ["IceCandidateFound", "OnIceCandidate"] {
        client.wait_event(event, |data| (data["type"] == event).then_some(()));
    }
    let params = json!({ "object": webrtc, "operation": "requestKeyframe" });
    assert_eq!(client.error("invoke", params).0, 40_008);
}

#[test]
fn an_old_six_has_only_the_old_names() {
    let (_double, mut client) = generation(true);
    let pipeline = client.create("MediaPipeline", None);
    let webrtc = client.create("WebRtcEndpoint", Some(&pipeline));
    let params = json!({ "object": webrtc, "type": "IceCandidateFound" });
    assert_eq!(client.error("subscribe", params).0, 40_106);
    client.subscribe(&webrtc, "OnIceCandidate");
    client.subscribe(&webrtc, "ConnectionStateChanged");
}

#[test]
fn another_address_can_be_told_than_it_has() {
    let double = KurentoDouble::start(Options {
        advertised: Some([192, 0, 2, 7].into()),
        ..Options::at(own_address())
    })
    .unwrap();
    let mut client = Client::connect(&double.url());
    let pipeline = client.create("MediaPipeline", None);
    let rtp = client.create("RtpEndpoint", Some(&pipeline));
    let answer = client.invoke(&rtp, "processOffer", json!({ "offer": support::offer() }));
    assert!(
        answer.as_str().unwrap().contains("c=IN IP4 192.0.2.7\r\n"),
        "{answer}"
    );
    let webrtc = client.create("WebRtcEndpoint", Some(&pipeline));
    client.subscribe(&webrtc, "IceCandidateFound");
    client.invoke(&webrtc, "generateOffer", json!({}));
    client.invoke(&webrtc, "gatherCandidates", json!({}));
    client.wait_event("IceCandidateFound", |data| {
        let candidate = data["candidate"]["candidate"].as_str().unwrap();
        candidate
            .contains(" UDP 2015363327 192.0.2.7 ")
            .then_some(())
    });
}

#[test]
fn it_ends_with_its_handle_also_within_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, mut client) = runtime.block_on(async {
        let double = double();
        let client = Client::connect(&double.url());
        (double.address(), client)
    });
    expect_end(&mut client);
    assert!(TcpStream::connect(address).is_err());
}
