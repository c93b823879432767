//! The REST API: the fields that existing installations read, and every way to be refused.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use apiary::http::Bounds;
use apiary_media::engine::EngineError;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

mod http_support;
use http_support::{CAMERA, Gateway, OFFER, OTHER_CAMERA};

fn fields(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn assert_has(value: &Value, names: &[&str]) {
    for name in names {
        assert!(value.get(name).is_some(), "{name} is missing in {value}");
    }
}

const SUMMARY: [&str; 8] = [
    "camera_id",
    "session_id",
    "stream_id",
    "state",
    "started_at",
    "duration_seconds",
    "viewer_count",
    "webrtc_endpoint_id",
];
const KEEPALIVE: [&str; 9] = [
    "running",
    "camera_id",
    "stream_id",
    "interval",
    "keepalive_count",
    "error_count",
    "last_success",
    "last_error",
    "elapsed_seconds",
];
const MANAGER: [&str; 4] = ["start_attempts", "stop_attempts", "errors", "last_error"];
const VIEWER: [&str; 6] = [
    "viewer_id",
    "camera_id",
    "stream_id",
    "created_at",
    "webrtc_endpoint_id",
    "connected",
];

#[tokio::test]
async fn an_engine_that_takes_no_streams_is_told_of() {
    let gateway = Gateway::start().await;
    let health = gateway.get_json("/health").await;
    assert_eq!(
        (&health["status"], &health["kurento_connected"]),
        (&json!("healthy"), &json!(true))
    );
    assert_eq!(
        (health.get("engine_error"), health.get("media_servers")),
        (None, None)
    );
    let why = "no media server can take streams: ws://media1:8888/kurento: refused";
    gateway.engine.set_trouble(Some(why));
    let health = gateway.get_json("/health").await;
    assert_eq!(
        (&health["status"], &health["kurento_connected"]),
        (&json!("degraded"), &json!(false))
    );
    assert_eq!(health["engine_error"], why);
    assert_eq!(gateway.get_json("/cameras").await["engine_error"], why);
    gateway.stop().await;
}

#[tokio::test]
async fn answers_have_every_field_that_existing_installations_read() {
    let gateway = Gateway::start().await;
    for prefix in ["", "/api/livestream"] {
        let health = gateway.get_json(&format!("{prefix}/health")).await;
        assert_has(
            &health,
            &[
                "status",
                "timestamp",
                "kurento_connected",
                "active_streams",
                "total_viewers",
            ],
        );
        assert_eq!(
            health.get("enabled"),
            (!prefix.is_empty()).then_some(&json!(true))
        );
        assert_eq!(health["status"], "healthy");

        let (status, started) = gateway
            .post_json(&format!("{prefix}/streams/{CAMERA}/start"), None)
            .await;
        assert_eq!(status, StatusCode::CREATED);
        assert_has(
            &started,
            &[
                "session_id",
                "stream_id",
                "camera_id",
                "state",
                "pipeline_id",
                "rtp_endpoint_id",
                "started_at",
            ],
        );
        let stream_id = started["stream_id"].as_str().unwrap();
        let session_id = format!("stream-{}-{}", &CAMERA[..8], &stream_id[..8]);
        assert_eq!(started["session_id"], session_id.as_str());
        assert_eq!(started["state"], "starting");

        gateway.rtp_started(CAMERA).await;
        let viewer = gateway.join_by_whep(CAMERA).await;
        let list = gateway.get_json(&format!("{prefix}/streams")).await;
        assert_eq!(list["count"], 1);
        assert_has(&list["streams"][0], &SUMMARY);
        let one = gateway
            .get_json(&format!("{prefix}/streams/{}", CAMERA.to_lowercase()))
            .await;
        assert_has(&one["stream"], &SUMMARY);
        assert_has(
            &one["stream"],
            &[
                "stopped_at",
                "error_message",
                "pipeline_id",
                "rtp_endpoint_id",
            ],
        );
        assert_has(&one["stream"]["keepalive_stats"], &KEEPALIVE);
        assert_has(&one["stream"]["manager_stats"], &MANAGER);
        assert_has(&one["viewers"][0], &VIEWER);
        assert_eq!(
            (&one["stream"]["state"], &one["viewer_count"]),
            (&json!("active"), &json!(1))
        );
        for path in ["/viewers".to_owned(), format!("/viewers/{CAMERA}")] {
            let viewers = gateway.get_json(&format!("{prefix}{path}")).await;
            assert_eq!(viewers["count"], 1);
            assert_has(&viewers["viewers"][0], &VIEWER);
        }
        let statistics = gateway
            .get_json(&format!("{prefix}/streams/{CAMERA}/stats"))
            .await;
        assert_has(
            &statistics,
            &["packets", "lost", "bitrate_kbps", "remb_kbps", "viewers"],
        );

        let (status, refused) = gateway
            .post_json(&format!("{prefix}/streams/{CAMERA}/start"), None)
            .await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(fields(&refused), ["code", "error", "session_id", "values"]);
        assert_eq!(refused["session_id"], session_id.as_str());

        let (status, stopped) = gateway
            .post_json(&format!("{prefix}/streams/{CAMERA}/stop"), None)
            .await;
        assert_eq!(status, StatusCode::OK);
        let names = [
            "session_id",
            "stream_id",
            "camera_id",
            "state",
            "started_at",
            "stopped_at",
            "duration_seconds",
            "keepalive_stats",
            "stats",
        ];
        assert_has(&stopped, &names);
        assert_has(&stopped["keepalive_stats"], &KEEPALIVE);
        assert_has(&stopped["stats"], &MANAGER);
        drop(viewer);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_does_not_run_is_not_found() {
    let gateway = Gateway::start().await;
    let (status, refused) = gateway
        .post_json(&format!("/streams/{CAMERA}/stop"), None)
        .await;
    assert_eq!(
        (status, fields(&refused)),
        (StatusCode::NOT_FOUND, vec!["code", "error", "values"])
    );
    for path in [
        format!("/streams/{CAMERA}"),
        format!("/streams/{CAMERA}/stats"),
    ] {
        let response = gateway.request("GET", &path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let error = response.json::<Value>().await.unwrap();
        assert!(error["error"].as_str().unwrap().contains(CAMERA), "{error}");
    }
    assert_eq!(
        gateway.get_json("/streams").await,
        json!({"streams": [], "count": 0})
    );
    assert_eq!(
        gateway.get_json("/viewers").await,
        json!({"viewers": [], "count": 0})
    );
    gateway.stop().await;
}

#[tokio::test]
async fn h32_ids_that_are_none_are_refused_with_what_an_id_looks_like() {
    let gateway = Gateway::start().await;
    let bad = [
        "x",
        "56C1CADCF1FA4C6CAEBA3E2FD85EFEB",
        "56C1CADC-F1FA-4C6C-AEBA-3E2FD85EFEBF",
        "%2e%2e%2f",
        "a%0d%0aX-Evil:%201",
        "%00",
        "+%23",
        "%ff",
    ];
    for id in bad {
        for (method, path) in [
            ("GET", "/streams/ID"),
            ("POST", "/streams/ID/start"),
            ("POST", "/streams/ID/stop"),
            ("GET", "/viewers/ID"),
            ("GET", "/streams/ID/stats"),
            ("POST", "/whep/ID"),
            ("DELETE", "/whep/ID/x"),
        ] {
            let url = path.replace("ID", id);
            let response = gateway.request(method, &url).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{method} {url}");
            assert!(!response.headers().contains_key("x-evil"));
            let error = response.json::<Value>().await.unwrap();
            let text = error["error"].as_str().unwrap();
            let expected = if id == "%ff" {
                "UTF-8"
            } else {
                "32 hexadecimal digits"
            };
            assert!(text.contains(expected), "{method} {url}: {text}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn start_takes_bounds_and_refuses_what_makes_no_sense() {
    let gateway = Gateway::start().await;
    let start = format!("/streams/{CAMERA}/start");
    let refused = [
        (
            json!({"max_bandwidth": 500, "min_bandwidth": 900}),
            StatusCode::BAD_REQUEST,
            "minimum",
        ),
        (
            json!({"max_bandwidth": "fast"}),
            StatusCode::BAD_REQUEST,
            "not the JSON expected",
        ),
        (
            json!({"max_bandwidth": -5}),
            StatusCode::BAD_REQUEST,
            "not the JSON expected",
        ),
        (json!([1]), StatusCode::BAD_REQUEST, "not the JSON expected"),
    ];
    for (body, expected, text) in refused {
        let (status, error) = gateway.post_json(&start, Some(&body)).await;
        assert_eq!(status, expected, "{body}");
        assert!(
            error["error"].as_str().unwrap().contains(text),
            "{body}: {error}"
        );
    }
    let (status, _) = gateway
        .post_json(
            &start,
            Some(&json!({"max_bandwidth": 900, "min_bandwidth": 600, "other": 1})),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED);
    let bounds = gateway.engine.last_bounds().unwrap();
    assert_eq!((bounds.min.as_kbps(), bounds.max.as_kbps()), (600, 900));
    gateway.stop().await;
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let gateway = Gateway::start().await;
    let url = format!("/streams/{CAMERA}/start");
    let cases = [
        ("application/json", "{".to_owned(), StatusCode::BAD_REQUEST),
        (
            "application/json",
            format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)),
            StatusCode::BAD_REQUEST,
        ),
        (
            "text/plain",
            "{}".to_owned(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            "application/x-www-form-urlencoded",
            "a=1".to_owned(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            "application/json",
            format!("{{\"x\":\"{}\"}}", "x".repeat(256 * 1024)),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ];
    for (content_type, body, expected) in cases {
        let shown: String = body.chars().take(30).collect();
        let request = gateway
            .request("POST", &url)
            .header("content-type", content_type)
            .body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), expected, "{content_type} {shown}");
        let error = response.json::<Value>().await.unwrap();
        assert!(error["error"].is_string(), "{error}");
    }
    assert_eq!(gateway.engine.opened(), 0, "nothing was started");
    gateway.stop().await;
}

#[tokio::test]
async fn no_room_is_said_with_a_time_to_come_back() {
    let gateway = Gateway::start().await;
    gateway
        .engine
        .refuse_open(EngineError::PortsExhausted { range: 5006..=5009 });
    let response = gateway
        .request("POST", &format!("/whep/{CAMERA}"))
        .header("content-type", "application/sdp")
        .body(http_support::OFFER)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let error = response.json::<Value>().await.unwrap();
    assert!(
        error["error"].as_str().unwrap().contains("5006-5009"),
        "{error}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn streams_and_what_viewers_take_together_are_bounded() {
    let gateway = Gateway::start_by(Bounds::new(1024, 1024), None, |config| {
        config.stream.max_streams = 1;
        config.media.max_total_mbps = 10; // two viewers, each of whom may be sent 5 Mbit/s
    })
    .await;
    let refusal = async |response: Response| {
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let error = response.json::<Value>().await.unwrap();
        error["error"].as_str().unwrap().to_owned()
    };
    gateway.join_by_whep(CAMERA).await;
    let second = gateway.join_by_whep(CAMERA).await;
    let third = gateway.post_offer(CAMERA, OFFER).await;
    let why = refusal(third).await;
    assert!(
        why.contains("10 Mbit/s") && why.contains("media.max_total_mbps"),
        "{why}"
    );
    let left = gateway.request("DELETE", &second).send().await.unwrap();
    assert_eq!(left.status(), StatusCode::OK);
    gateway.join_by_whep(CAMERA).await;

    let watch = gateway.post_offer(OTHER_CAMERA, OFFER).await;
    let why = refusal(watch).await;
    assert!(why.contains("stream.max_streams"), "{why}");
    let start = format!("/streams/{OTHER_CAMERA}/start");
    let (status, _) = gateway.post_json(&start, None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, _) = gateway
        .post_json(&format!("/streams/{CAMERA}/start"), None)
        .await;
    assert_eq!(
        status,
        StatusCode::CONFLICT,
        "one that streams is no new one"
    );
    let (status, _) = gateway
        .post_json(&format!("/streams/{CAMERA}/stop"), None)
        .await;
    assert_eq!(status, StatusCode::OK);
    gateway.join_by_whep(OTHER_CAMERA).await;
    gateway.stop().await;
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_answered_in_json() {
    let gateway = Gateway::start().await;
    for (method, path, expected) in [
        ("GET", "/nothing", StatusCode::NOT_FOUND),
        ("GET", "/api/livestream/nothing", StatusCode::NOT_FOUND),
        ("GET", "/assets/nothing.js", StatusCode::NOT_FOUND),
        ("GET", "/assets/..%2f..%2fCargo.toml", StatusCode::NOT_FOUND),
        ("DELETE", "/streams", StatusCode::METHOD_NOT_ALLOWED),
        ("POST", "/health", StatusCode::METHOD_NOT_ALLOWED),
        ("PUT", "/", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let response = gateway.request(method, path).send().await.unwrap();
        assert_eq!(response.status(), expected, "{method} {path}");
        assert_eq!(
            response.headers()["content-type"],
            "application/json",
            "{method} {path}"
        );
        assert_eq!(
            response.headers().contains_key("allow"),
            expected == StatusCode::METHOD_NOT_ALLOWED
        );
        assert!(response.json::<Value>().await.unwrap()["error"].is_string());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn h05_every_answer_carries_the_security_headers() {
    let gateway = Gateway::start().await;
    let whep = format!("/whep/{CAMERA}");
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/viewer"),
        ("GET", "/livestream/viewer"),
        ("GET", "/assets/js/player.js"),
        ("GET", "/assets/no.js"),
        ("GET", "/health"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
        ("POST", "/health"),
        ("OPTIONS", "/health"),
        ("POST", whep.as_str()),
        ("GET", "/ws"),
    ] {
        let response = gateway.request(method, path).send().await.unwrap();
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        for needed in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(needed), "{method} {path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            headers["x-content-type-options"], "nosniff",
            "{method} {path}"
        );
        assert_eq!(headers["referrer-policy"], "no-referrer", "{method} {path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn only_listed_origins_may_read_and_only_known_pages_may_act() {
    let gateway = Gateway::start().await;
    let start = format!("/streams/{CAMERA}/start");
    let own = format!("http://{}", gateway.http);
    // origin, may it act, is it named in the answer
    let cases = [
        (None, true, false),
        (Some(own.as_str()), true, false),
        (Some("http://localhost:5000"), true, true),
        (Some("http://127.0.0.1:5000"), true, true),
        (Some("http://localhost:5001"), false, false),
        (Some("https://localhost:5000"), false, false),
        (Some("https://evil.example"), false, false),
        (Some("null"), false, false),
    ];
    for (origin, acts, named) in cases {
        let ask = |method: &'static str, path: &str| {
            let request = gateway.request(method, path);
            match origin {
                Some(origin) => request.header("origin", origin),
                None => request,
            }
        };
        let read = ask("GET", "/streams").send().await.unwrap();
        assert_eq!(read.status(), StatusCode::OK);
        let allowed = read.headers().get("access-control-allow-origin");
        assert_eq!(
            allowed.map(|value| value.to_str().unwrap()),
            origin.filter(|_| named),
            "{origin:?}"
        );
        assert!(
            !read
                .headers()
                .contains_key("access-control-allow-credentials")
        );
        assert_eq!(read.headers()["vary"], "origin");
        let preflight = ask("OPTIONS", &start)
            .header("access-control-request-method", "POST")
            .send()
            .await
            .unwrap();
        assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
        assert_eq!(
            preflight
                .headers()
                .contains_key("access-control-allow-methods"),
            named,
            "{origin:?}"
        );
        let acted = ask("POST", &start).send().await.unwrap();
        let expected = if acts {
            StatusCode::CREATED
        } else {
            StatusCode::FORBIDDEN
        };
        assert_eq!(acted.status(), expected, "{origin:?}");
        if acts {
            gateway
                .post_json(&format!("/streams/{CAMERA}/stop"), None)
                .await;
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn cameras_are_listed_with_what_they_stream() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    gateway.camera_says_hello(OTHER_CAMERA).await;
    gateway
        .post_json(&format!("/streams/{CAMERA}/start"), None)
        .await;
    let list = gateway.get_json("/cameras").await;
    assert_eq!(
        (&list["count"], &list["broker_connected"]),
        (&json!(2), &json!(true))
    );
    let find = |id: &str| {
        list["cameras"]
            .as_array()
            .unwrap()
            .iter()
            .find(|camera| camera["camera_id"] == id)
            .cloned()
            .unwrap()
    };
    let (one, other) = (find(CAMERA), find(OTHER_CAMERA));
    assert_eq!(one["online"], true);
    assert_eq!(one["stream"]["state"], "starting");
    assert_eq!(other["stream"], Value::Null);
    assert_eq!(
        gateway.get_json("/api/livestream/cameras").await["count"],
        2
    );
    gateway.stop().await;
}

/// What two servers in a row could read as different requests is refused or closes the connection.
#[tokio::test]
async fn smuggled_requests_are_not_acted_on() {
    let gateway = Gateway::start().await;
    let start = format!("POST /streams/{CAMERA}/start HTTP/1.1\r\nHost: a\r\n\r\n");
    let attacks = [
        format!(
            "POST /streams/x/stop HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: {}\r\n\r\n{start}",
            start.len()
        ),
        format!(
            "POST /streams/x/stop HTTP/1.1\r\nHost: a\r\nContent-Length: +{}\r\n\r\n{start}",
            start.len()
        ),
        format!(
            "POST /streams/x/stop HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{start}"
        ),
        format!(
            "POST /streams/x/stop HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{start}"
        ),
        format!(
            "POST /streams/x/stop HTTP/1.1\r\nHost: a\r\nX: a\nContent-Length: 1\r\n\r\n{start}"
        ),
        format!("GET /streams/x\0 HTTP/1.1\r\nHost: a\r\n\r\n{start}"),
    ];
    for attack in attacks {
        let mut socket = TcpStream::connect(gateway.http).await.unwrap();
        socket.write_all(attack.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A reset after the refusal is a refusal too.
        let _ = socket.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let opened = gateway.engine.opened();
        assert_eq!(opened, 0, "{attack:?} was acted on: {answer}");
    }
    gateway.stop().await;
}
