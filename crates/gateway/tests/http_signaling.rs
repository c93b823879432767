//! Signaling over WebSockets: what existing pages say and hear, and every way to be refused.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use apiary_media::engine::{EngineEvent, ViewerGoneReason};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

mod http_support;
use http_support::{ANSWER, CAMERA, Gateway, OFFER, OTHER_CAMERA, Socket, id, within};

fn viewer(camera: &str) -> Value {
    json!({"type": "viewer", "cameraId": camera, "streamId": null, "sdpOffer": OFFER})
}

fn candidate(number: usize) -> Value {
    let line = format!(
        "candidate:{number} 1 udp 2122260223 192.0.2.1 {} typ host",
        50_000 + number
    );
    json!({"type": "onIceCandidate", "candidate": {"candidate": line, "sdpMid": "0", "sdpMLineIndex": 0}})
}

#[tokio::test]
async fn a_page_joins_an_idle_camera_and_hears_of_it() {
    let gateway = Gateway::start().await;
    let mut page = gateway.socket().await;
    page.say(&viewer(&CAMERA.to_lowercase())).await;
    let response = page.hear().await.unwrap();
    assert_eq!(
        (&response["type"], &response["sdpAnswer"]),
        (&json!("viewerResponse"), &json!(ANSWER))
    );
    let viewer_id = response["viewerId"].as_str().unwrap().to_owned();
    assert_eq!(gateway.engine.viewers()[0].to_string(), viewer_id);
    for (number, address) in [(1, "127.0.0.1"), (2, "192.0.2.7")] {
        let message = page.hear_type("iceCandidate").await;
        let line = message["candidate"]["candidate"].as_str().unwrap();
        assert!(
            line.starts_with(&format!("candidate:{number} 1 udp")) && line.contains(address),
            "{line}"
        );
        assert_eq!(
            (
                &message["candidate"]["sdpMid"],
                &message["candidate"]["sdpMLineIndex"]
            ),
            (&json!("0"), &json!(0))
        );
    }
    let state = page.hear_type("state").await;
    assert_eq!(
        (&state["cameraId"], &state["state"]),
        (&json!(CAMERA), &json!("starting"))
    );
    gateway.rtp_started(CAMERA).await;
    while page.hear_type("state").await["state"] != "active" {}

    let (status, _) = gateway
        .post_json(&format!("/streams/{CAMERA}/stop"), None)
        .await;
    assert_eq!(status, 200);
    let stopped = page.hear_type("stopped").await;
    assert_eq!(stopped["retry"], false, "{stopped}");
    assert!(
        stopped["reason"].as_str().unwrap().contains("stopped"),
        "{stopped}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn candidates_keep_their_order_whenever_they_come() {
    let gateway = Gateway::start().await;
    let mut page = gateway.socket().await;
    // All of it at once, long before the answer can be there.
    page.say(&viewer(CAMERA)).await;
    for number in 1..=40 {
        page.say(&candidate(number)).await;
    }
    page.say(&json!({"type": "onIceCandidate", "candidate": null}))
        .await;
    gateway
        .engine
        .until("the last candidate", |engine| {
            engine.candidates().len() == 41
        })
        .await;
    let candidates = gateway.engine.candidates();
    for (index, line) in candidates.iter().take(40).enumerate() {
        assert!(
            line.starts_with(&format!("candidate:{} ", index + 1)),
            "{index}: {line}"
        );
    }
    assert_eq!(candidates[40], "", "the end of the candidates");
    gateway.stop().await;
}

#[tokio::test]
async fn a_viewer_leaves_by_stop_and_by_closing_and_by_a_new_offer() {
    let gateway = Gateway::start().await;
    let mut page = gateway.socket().await;
    page.say(&viewer(CAMERA)).await;
    let first = page.hear_type("viewerResponse").await["viewerId"].clone();
    page.say(&viewer(CAMERA)).await;
    let second = page.hear_type("viewerResponse").await["viewerId"].clone();
    assert_ne!(first, second);
    assert_eq!(
        gateway.engine.viewers().len(),
        1,
        "the new offer replaces the viewer"
    );
    page.say(&json!({"type": "stop"})).await;
    gateway
        .engine
        .until("the stop", |engine| engine.viewers().is_empty())
        .await;
    // A stop over REST may follow at once.
    let (status, _) = gateway
        .post_json(&format!("/streams/{CAMERA}/stop"), None)
        .await;
    assert_eq!(status, 200);
    // The socket goes on.
    page.say(&viewer(OTHER_CAMERA)).await;
    page.hear_type("viewerResponse").await;
    page.0.close(None).await.unwrap();
    gateway
        .engine
        .until("the leave", |engine| engine.viewers().is_empty())
        .await;
    let mut vanishing = gateway.socket().await;
    vanishing.say(&viewer(CAMERA)).await;
    vanishing.hear_type("viewerResponse").await;
    drop(vanishing);
    gateway
        .engine
        .until("the loss", |engine| engine.viewers().is_empty())
        .await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_page_that_finds_no_stream_starts_one_and_joins_at_once() {
    let gateway = Gateway::start().await;
    let path = format!("/api/livestream/streams/{CAMERA}");
    assert_eq!(
        gateway.request("GET", &path).send().await.unwrap().status(),
        404
    );
    assert_eq!(
        gateway.post_json(&format!("{path}/start"), None).await.0,
        201
    );
    // The classic port, at any path, from the classic dashboard.
    for path in ["", "/", "/ws", "/some/where?x=1"] {
        let url = format!("ws://{}{path}", gateway.signaling);
        let mut page = Socket::open(&url, Some("http://localhost:5000"))
            .await
            .unwrap();
        page.say(&viewer(CAMERA)).await;
        page.hear_type("viewerResponse").await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn messages_that_are_none_are_refused_and_the_connection_goes_on() {
    let gateway = Gateway::start().await;
    let mut page = gateway.socket().await;
    let no_h264 = OFFER.replace("H264/90000", "VP8/90000");
    let long = format!("{{\"type\":\"{}\"}}", "x".repeat(64 * 1024));
    let cases = [
        ("{".to_owned(), "not JSON"),
        ("[1]".to_owned(), "not a JSON object"),
        (
            r#"{"type":"presenter"}"#.to_owned(),
            "unknown message type \"presenter\"",
        ),
        (
            r#"{"type":"viewer"}"#.to_owned(),
            "needs the field cameraId",
        ),
        (
            json!({"type": "viewer", "cameraId": "x/+#", "sdpOffer": OFFER}).to_string(),
            "32 hexadecimal digits",
        ),
        (
            json!({"type": "viewer", "cameraId": CAMERA}).to_string(),
            "needs the field sdpOffer",
        ),
        (
            json!({"type": "viewer", "cameraId": CAMERA, "sdpOffer": "hello"}).to_string(),
            "the offer cannot be used",
        ),
        (
            json!({"type": "viewer", "cameraId": CAMERA, "sdpOffer": no_h264}).to_string(),
            "no H.264",
        ),
        (long, "longer than 64 KiB"),
    ];
    for (text, expected) in cases {
        page.say_text(&text).await;
        let error = page.hear_type("error").await;
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(expected), "{:.60} gave {message}", text);
        assert_eq!(error["retry"], false);
    }
    page.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert!(
        page.hear_type("error").await["message"]
            .as_str()
            .unwrap()
            .contains("binary")
    );
    // Candidates without a viewer are late ones: nothing is said.
    page.say(&candidate(1)).await;
    page.say(&viewer(CAMERA)).await;
    page.hear_type("viewerResponse").await;
    page.say(&json!({"type": "onIceCandidate", "candidate": {"candidate": "candidate:nonsense"}}))
        .await;
    assert!(
        page.hear_type("error").await["message"]
            .as_str()
            .unwrap()
            .contains("candidate cannot be used")
    );
    page.say(&candidate(2)).await;
    gateway
        .engine
        .until("the good candidate", |engine| {
            engine.candidates().len() == 1
        })
        .await;
    gateway.stop().await;
}

#[tokio::test]
async fn h14_frames_without_end_close_the_connection_and_the_server_goes_on() {
    let gateway = Gateway::start().await;
    let mut page = gateway.socket().await;
    // The server may close before all of it is written.
    let _ = page.0.send(Message::text("x".repeat(1024 * 1024))).await;
    assert!(matches!(page.close_code().await, Some(1009) | None));
    let mut next = gateway.socket().await;
    next.say(&viewer(CAMERA)).await;
    next.hear_type("viewerResponse").await;
    gateway.stop().await;
}

#[tokio::test]
async fn h26_a_flood_of_messages_ends_its_own_connection_only() {
    let gateway = Gateway::start().await;
    let mut good = gateway.socket().await;
    good.say(&viewer(CAMERA)).await;
    good.hear_type("viewerResponse").await;
    let mut flood = gateway.socket().await;
    for _ in 0..500 {
        if flood
            .0
            .send(Message::text(r#"{"type":"stop"}"#))
            .await
            .is_err()
        {
            break;
        }
    }
    assert!(matches!(flood.close_code().await, Some(1008) | None));
    good.say(&candidate(1)).await;
    gateway
        .engine
        .until("the candidate", |engine| !engine.candidates().is_empty())
        .await;
    gateway.stop().await;
}

#[tokio::test]
async fn h03_sockets_of_foreign_pages_are_refused_before_the_upgrade() {
    let gateway = Gateway::start().await;
    for address in [gateway.http, gateway.signaling] {
        let url = format!("ws://{address}/ws");
        for origin in ["https://evil.example", "null", "http://localhost:5001"] {
            let refused = Socket::open(&url, Some(origin))
                .await
                .err()
                .map(|error| *error);
            let Some(WsError::Http(response)) = refused else {
                panic!("{origin} was let in: {refused:?}")
            };
            assert_eq!(response.status(), 403);
        }
        // A page of this host, as existing installations have it beside the signaling port.
        Socket::open(&url, Some("http://127.0.0.1:5000"))
            .await
            .unwrap();
        Socket::open(&url, Some("http://127.0.0.1:9999"))
            .await
            .unwrap();
    }
    let plain = reqwest::get(format!("http://{}/any", gateway.signaling))
        .await
        .unwrap();
    assert_eq!(plain.status(), 400);
    let error: Value = plain.json().await.unwrap();
    assert!(
        error["error"].as_str().unwrap().contains("WebSocket"),
        "{error}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_lost_viewer_is_told_to_come_back_and_a_shutdown_too() {
    let gateway = Gateway::start().await;
    let mut page = gateway.socket().await;
    page.say(&viewer(CAMERA)).await;
    page.hear_type("viewerResponse").await;
    let viewer_id = gateway.engine.viewers()[0];
    gateway.engine.say(EngineEvent::ViewerGone {
        camera: id(CAMERA),
        viewer: viewer_id,
        reason: ViewerGoneReason::Expired,
    });
    assert_eq!(page.hear_type("stopped").await["retry"], true);
    page.say(&viewer(CAMERA)).await;
    page.hear_type("viewerResponse").await;
    gateway.stop().await;
    assert_eq!(page.hear_type("stopped").await["retry"], true);
}

#[tokio::test]
async fn pings_are_answered_and_the_server_sends_its_own() {
    let gateway = Gateway::start().await;
    let mut page = gateway.socket().await;
    page.0.send(Message::Ping("abc".into())).await.unwrap();
    let (mut pinged, mut ponged) = (false, false);
    within("ping and pong", async {
        while !(pinged && ponged) {
            match page.0.next().await.unwrap().unwrap() {
                Message::Ping(_) => pinged = true,
                Message::Pong(payload) => ponged = payload.as_ref() == b"abc",
                other @ (Message::Text(_)
                | Message::Binary(_)
                | Message::Close(_)
                | Message::Frame(_)) => panic!("{other:?}"),
            }
        }
    })
    .await;
    gateway.stop().await;
}
