//! What an owner says of a camera, and what happened to it, over the REST API.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

mod http_support;
use http_support::{CAMERA, Gateway, OTHER_CAMERA, within};

async fn change(gateway: &Gateway, body: &Value) -> Response {
    gateway
        .request("PATCH", &format!("/cameras/{CAMERA}"))
        .json(body)
        .send()
        .await
        .unwrap()
}

async fn error(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    (status, body["error"].as_str().unwrap().to_owned())
}

/// Events as the API gives them, once there are so many.
async fn events(gateway: &Gateway, query: &str, count: usize) -> Value {
    let path = format!("/cameras/{CAMERA}/events{query}");
    within("the events are written", async {
        loop {
            let answer = gateway.get_json(&path).await;
            if answer["count"] == count {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

fn activity(gateway: &Gateway, name: &str) {
    let topic = format!("prod/device/message/hive-cam/{CAMERA}/activity/start");
    let payload = json!({ "eventId": name, "activityType": "PERSON", "confidence": 0.9 });
    gateway.camera_publishes(&topic, &payload.to_string());
}

#[tokio::test]
async fn an_owner_names_a_camera_and_puts_it_in_its_place() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(OTHER_CAMERA).await;
    gateway.camera_says_hello(CAMERA).await;
    let named = change(
        &gateway,
        &json!({ "name": "  Porch ", "room": "'; DROP TABLE cameras; --", "position": 7 }),
    )
    .await;
    assert_eq!(named.status(), StatusCode::OK);
    let camera: Value = named.json().await.unwrap();
    assert_eq!(camera["name"], "Porch");
    assert_eq!(camera["room"], "'; DROP TABLE cameras; --");
    assert_eq!(camera["position"], 7);
    assert_eq!(camera["firmware"], "5.2.1");
    assert_eq!(
        gateway.get_json(&format!("/cameras/{CAMERA}")).await,
        camera
    );
    let list = gateway.get_json("/cameras").await;
    assert_eq!(
        list["cameras"][0]["name"], "Porch",
        "first, by its position"
    );
    assert_eq!(list["count"], 2);

    // What is left out stays, null and an empty text take away.
    let changed = change(&gateway, &json!({ "room": null, "name": "" })).await;
    let camera: Value = changed.json().await.unwrap();
    assert_eq!(
        (&camera["name"], &camera["room"], &camera["position"]),
        (&Value::Null, &Value::Null, &json!(7))
    );
}

#[tokio::test]
async fn a_name_is_kept_when_the_answer_comes() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    let named = change(&gateway, &json!({ "name": "Porch" })).await;
    assert_eq!(named.status(), StatusCode::OK);
    let kept = gateway.store.cameras().await.unwrap();
    assert_eq!(kept[0].label.name.as_deref(), Some("Porch"));
}

#[tokio::test]
async fn changes_that_cannot_be_are_refused() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    let before = gateway.get_json(&format!("/cameras/{CAMERA}")).await;
    for (body, word) in [
        (json!({ "name": "x".repeat(65) }), "64 characters"),
        (json!({ "room": "é".repeat(65) }), "64 characters"),
        (json!({ "name": "a\u{1b}[31mb" }), "control character"),
        (json!({ "name": "a\nb" }), "control character"),
        (json!({ "room": "a\u{202e}b" }), "control character"),
        (json!({ "name": 7 }), "expected"),
        (json!({ "position": -1 }), "expected"),
        (json!({ "position": 10_000 }), "9999"),
        (json!({ "position": 1.5 }), "expected"),
        (json!({ "nmae": "x" }), "unknown field"),
        (json!(["x"]), "JSON"),
    ] {
        let (status, text) = error(change(&gateway, &body).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {text}");
        assert!(text.contains(word), "{body}: {text}");
    }
    assert_eq!(
        gateway.get_json(&format!("/cameras/{CAMERA}")).await,
        before
    );

    let unknown = gateway
        .request("PATCH", &format!("/cameras/{OTHER_CAMERA}"))
        .json(&json!({ "name": "x" }))
        .send()
        .await
        .unwrap();
    let (status, text) = error(unknown).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
    let list = gateway.get_json("/cameras").await;
    assert_eq!(list["count"], 1, "asking makes no camera known");
}

#[tokio::test]
async fn what_happened_comes_newest_first_and_page_by_page() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    for name in ["a", "b", "c"] {
        activity(&gateway, name);
    }
    let all = events(&gateway, "", 4).await;
    assert_eq!(all["next"], Value::Null);
    let names: Vec<_> = all["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event_id"].as_str().unwrap_or("–"))
        .collect();
    assert_eq!(names, ["c", "b", "a", "–"]);
    let newest = &all["events"][0];
    assert_eq!(newest["kind"], "activity_start");
    assert_eq!(newest["camera_id"], CAMERA);
    assert_eq!(newest["activity_type"], "PERSON");
    assert_eq!(newest["confidence"], 0.9);
    assert_eq!(newest["payload"]["eventId"], "c");
    assert_eq!(all["events"][3]["detail"], "connected");

    let first = events(&gateway, "?limit=3", 3).await;
    let next = first["next"].as_str().unwrap();
    let second = events(&gateway, &format!("?limit=3&before={next}"), 1).await;
    assert_eq!(second["events"][0], all["events"][3]);
    assert_eq!(second["next"], Value::Null);
    let hello = events(&gateway, "?kind=connection", 1).await;
    assert_eq!(hello["events"][0], all["events"][3]);
    events(&gateway, "?before=1999-12-31T00:00:00Z", 0).await;
    events(&gateway, "?before=2999-12-31T00:00:00Z", 4).await;
    let same = gateway
        .get_json(&format!("/api/livestream/cameras/{CAMERA}/events"))
        .await;
    assert_eq!(same, all);
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    for (query, word) in [
        ("limit=0", "from 1 to 500"),
        ("limit=501", "from 1 to 500"),
        ("limit=-1", "from 1 to 500"),
        ("limit=", "from 1 to 500"),
        ("limit=99999999999999999999", "from 1 to 500"),
        ("kind=connection'%20OR%201=1", "kind is none of"),
        ("before=yesterday", "neither"),
        ("limti=5", "unknown field"),
        ("limit=1&limit=2", "duplicate field"),
    ] {
        let path = format!("/cameras/{CAMERA}/events?{query}");
        let response = gateway.request("GET", &path).send().await.unwrap();
        let (status, text) = error(response).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {text}");
        assert!(text.contains(word), "{query}: {text}");
    }
    for path in ["", "/events"] {
        let path = format!("/cameras/{OTHER_CAMERA}{path}");
        let response = gateway.request("GET", &path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
