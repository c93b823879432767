//! The last picture of a camera, over HTTP.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

mod http_support;
use http_support::{CAMERA, Gateway, OTHER_CAMERA, id};

/// An access unit, and the file of it.
const PICTURE: &[u8] = include_bytes!("../../wire/tests/mp4/odd.h264");
const FILE: &[u8] = include_bytes!("../../wire/tests/mp4/odd.mp4");

async fn poster(gateway: &Gateway, camera: &str, header: Option<(&str, &str)>) -> Response {
    let request = gateway.request("GET", &format!("/cameras/{camera}/poster.mp4"));
    let request = match header {
        Some((name, value)) => request.header(name, value),
        None => request,
    };
    request.send().await.unwrap()
}

async fn refusal(response: Response) -> String {
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let body: Value = response.json().await.unwrap();
    body["error"].as_str().unwrap().to_owned()
}

async fn body(response: Response) -> Vec<u8> {
    response.bytes().await.unwrap().to_vec()
}

#[tokio::test]
async fn a_picture_is_there_while_it_streams_and_afterwards() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    let text = refusal(poster(&gateway, CAMERA, None).await).await;
    assert!(text.contains("there is no picture of camera"), "{text}");
    refusal(poster(&gateway, OTHER_CAMERA, None).await).await;

    // Nobody asked while it ran: it is kept when it ends.
    gateway.engine.set_key_frame(id(CAMERA), PICTURE);
    let start = format!("/streams/{CAMERA}/start");
    assert_eq!(gateway.post_json(&start, None).await.0, 201);
    let stop = format!("/streams/{CAMERA}/stop");
    assert_eq!(gateway.post_json(&stop, None).await.0, 200);
    let kept = poster(&gateway, CAMERA, None).await;
    assert_eq!(kept.status(), StatusCode::OK);
    assert_eq!(kept.headers()["content-type"], "video/mp4");
    assert_eq!(kept.headers()["cache-control"], "private, no-cache");
    let came = kept.headers()["last-modified"].to_str().unwrap();
    let came: Timestamp = rfc2822::parse(&came.replace("GMT", "+0000"))
        .unwrap()
        .timestamp();
    let age = Timestamp::now().duration_since(came).as_secs();
    assert!((1..60).contains(&age), "{age} s");
    assert_eq!(body(kept).await, FILE);
    gateway.stop().await;
}

#[tokio::test]
async fn players_get_parts_and_what_they_have_is_not_sent_again() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    gateway.engine.set_key_frame(id(CAMERA), PICTURE);
    let start = format!("/streams/{CAMERA}/start");
    assert_eq!(gateway.post_json(&start, None).await.0, 201);
    let whole = poster(&gateway, CAMERA, None).await;
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let tag = whole.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(body(whole).await, FILE);

    let held = poster(&gateway, CAMERA, Some(("if-none-match", &tag))).await;
    assert_eq!(held.status(), StatusCode::NOT_MODIFIED);
    let part = poster(&gateway, CAMERA, Some(("range", "bytes=0-1"))).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    let place = format!("bytes 0-1/{}", FILE.len());
    assert_eq!(part.headers()["content-range"], place.as_str());
    assert_eq!(body(part).await, FILE[..2]);
    let beyond = poster(&gateway, CAMERA, Some(("range", "bytes=999999-"))).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let path = format!("/cameras/{CAMERA}/poster.mp4");
    let of_another = gateway.request("GET", &path).header("range", "bytes=0-1");
    let of_another = of_another.header("if-range", "\"other\"").send().await;
    assert_eq!(body(of_another.unwrap()).await, FILE);
    gateway.stop().await;
}

#[tokio::test]
async fn a_camera_that_wants_privacy_shows_nothing_and_what_it_showed_is_forgotten() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    gateway.engine.set_key_frame(id(CAMERA), PICTURE);
    let start = format!("/streams/{CAMERA}/start");
    assert_eq!(gateway.post_json(&start, None).await.0, 201);
    assert_eq!(
        poster(&gateway, CAMERA, None).await.status(),
        StatusCode::OK
    );
    let set_mode = async |mode: &str| {
        let topic = format!("prod/device/message/hive-cam/{CAMERA}/camera/state");
        gateway.camera_publishes(&topic, &json!({ "mode": mode }).to_string());
        let reported = || gateway.supervisor.camera(id(CAMERA)).unwrap().report.mode;
        gateway
            .until("reported", || reported().as_deref() == Some(mode))
            .await;
    };
    set_mode("PRIVACY").await;
    let text = refusal(poster(&gateway, CAMERA, None).await).await;
    assert!(text.contains("PRIVACY"), "{text}");
    // The engine has none any more, and the one before was forgotten.
    gateway.engine.set_key_frame(id(CAMERA), b"");
    set_mode("ARMED").await;
    let text = refusal(poster(&gateway, CAMERA, None).await).await;
    assert!(text.contains("there is no picture"), "{text}");
    gateway.stop().await;
}
