//! WHEP: what any standard player does, and every way to be refused.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::time::Instant;

use reqwest::{Response, StatusCode};
use serde_json::Value;

mod http_support;
use apiary::http::Bounds;
use apiary_media::engine::{EngineEvent, ViewerGoneReason};
use http_support::{ANSWER, CAMERA, Gateway, OFFER, OTHER_CAMERA, id, turn};

const SDPFRAG: &str = "application/trickle-ice-sdpfrag";
/// The credentials of [`OFFER`].
const OFFERED: (&str, &str) = ("bQ2e", "NKZmu5XHPK0VD+EklH96Uuzm");
const FRESH: (&str, &str) = ("ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k");

fn fragment((ufrag, pwd): (&str, &str), candidates: usize) -> String {
    let mut text = format!(
        "a=group:BUNDLE 0 1\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n"
    );
    for number in 1..=candidates {
        text += &format!(
            "a=candidate:{number} 1 udp 2122260223 192.0.2.1 {} typ host\r\n",
            50_000 + number
        );
    }
    text
}

async fn patch(gateway: &Gateway, session: &str, if_match: Option<&str>, body: &str) -> Response {
    let request = gateway
        .request("PATCH", session)
        .header("content-type", SDPFRAG)
        .body(body.to_owned());
    let request = match if_match {
        Some(tag) => request.header("if-match", tag),
        None => request,
    };
    request.send().await.unwrap()
}

fn header(response: &Response, name: &str) -> String {
    let value = response
        .headers()
        .get(name)
        .unwrap_or_else(|| panic!("no {name}"));
    value.to_str().unwrap().to_owned()
}

async fn error_text(response: Response) -> String {
    response.json::<Value>().await.unwrap()["error"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_player_is_told_of_turn_servers_with_a_login_of_its_own() {
    let bounds = Bounds::new(64, 64);
    let gateway = Gateway::start_by(bounds, None, |config| config.turn = turn()).await;
    let links = async || {
        let created = gateway.post_offer(CAMERA, OFFER).await;
        assert_eq!(created.status(), StatusCode::CREATED);
        let links = created.headers().get_all("link").into_iter();
        let links: Vec<String> = links
            .map(|link| link.to_str().unwrap().to_owned())
            .collect();
        links
    };
    let told = links().await;
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "<stun:stun.example>; rel=\"ice-server\"");
    let viewer = gateway.engine.viewers()[0];
    let login = told[1].strip_prefix("<turn:turn.example:3479>; rel=\"ice-server\"; username=\"");
    let (expiry, login) = login.unwrap().split_once(':').unwrap();
    let expiry = expiry.parse::<i64>().unwrap() - jiff::Timestamp::now().as_second();
    assert!((3500..=3600).contains(&expiry), "{expiry}");
    let credential = login.strip_prefix(&format!("viewer-{viewer}\"; credential=\""));
    let credential = credential
        .unwrap()
        .strip_suffix("\"; credential-type=\"password\"");
    assert_eq!(credential.unwrap().len(), 28, "SHA-1 in base64");
    assert!(told[2].starts_with("<turns:turn.example?transport=tcp>; rel="));
    assert_ne!(links().await[1], told[1], "each viewer has its own");
    gateway.stop().await;

    let gateway = Gateway::start().await;
    let created = gateway.post_offer(CAMERA, OFFER).await;
    assert!(!created.headers().contains_key("link"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_player_joins_trickles_restarts_and_leaves() {
    let gateway = Gateway::start().await;
    let created = gateway.post_offer(&CAMERA.to_lowercase(), OFFER).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(header(&created, "content-type"), "application/sdp");
    assert_eq!(header(&created, "accept-patch"), SDPFRAG);
    let (session, tag) = (header(&created, "location"), header(&created, "etag"));
    assert!(
        session.starts_with(&format!("/whep/{CAMERA}/")),
        "{session}"
    );
    assert!(
        tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10,
        "a strong tag: {tag}"
    );
    assert_eq!(created.text().await.unwrap(), ANSWER);
    let viewer = gateway.engine.viewers()[0];
    assert!(
        !session.contains(&viewer.to_string()),
        "the address must not be the viewer id that the API shows"
    );

    let trickled = patch(
        &gateway,
        &session,
        Some(&tag),
        &(fragment(OFFERED, 3) + "a=end-of-candidates\r\n"),
    )
    .await;
    assert_eq!(trickled.status(), StatusCode::NO_CONTENT);
    assert!(!trickled.headers().contains_key("etag"));
    let candidates = gateway.engine.candidates();
    assert_eq!(candidates.len(), 4);
    assert!(
        candidates[0].starts_with("candidate:1 ")
            && candidates[2].starts_with("candidate:3 ")
            && candidates[3].is_empty()
    );

    let restarted = patch(&gateway, &session, Some("*"), &fragment(FRESH, 1)).await;
    assert_eq!(restarted.status(), StatusCode::OK);
    assert_eq!(header(&restarted, "content-type"), SDPFRAG);
    let new_tag = header(&restarted, "etag");
    assert_ne!(new_tag, tag);
    let body = restarted.text().await.unwrap();
    assert!(
        body.contains("a=ice-ufrag:ours1\r\n")
            && body.contains("a=candidate:1 1 udp")
            && body.contains("a=ice-lite\r\n"),
        "{body}"
    );
    assert_eq!(
        gateway.engine.restarts(),
        [(FRESH.0.to_owned(), FRESH.1.to_owned())]
    );

    // h27: the tag of before the restart is worth nothing.
    let replayed = patch(&gateway, &session, Some(&tag), &fragment(OFFERED, 1)).await;
    assert_eq!(replayed.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(
        patch(&gateway, &session, Some(&new_tag), &fragment(FRESH, 1))
            .await
            .status(),
        StatusCode::NO_CONTENT
    );

    assert_eq!(
        gateway
            .request("GET", &session)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::NO_CONTENT
    );
    let removed = gateway
        .request("DELETE", &session)
        .header("if-match", "\"whatever\"")
        .send()
        .await
        .unwrap();
    assert_eq!(removed.status(), StatusCode::OK);
    assert!(gateway.engine.viewers().is_empty());
    for method in ["DELETE", "GET"] {
        assert_eq!(
            gateway
                .request(method, &session)
                .send()
                .await
                .unwrap()
                .status(),
            StatusCode::NOT_FOUND
        );
    }
    assert_eq!(
        patch(&gateway, &session, Some(&new_tag), &fragment(FRESH, 1))
            .await
            .status(),
        StatusCode::NOT_FOUND
    );
    gateway.stop().await;
}

#[tokio::test]
async fn patches_are_refused_by_the_rules_of_rfc_9725() {
    let gateway = Gateway::start().await;
    let created = gateway.post_offer(CAMERA, OFFER).await;
    let (session, tag) = (header(&created, "location"), header(&created, "etag"));
    let good = fragment(OFFERED, 1);
    assert_eq!(
        patch(&gateway, &session, None, &good).await.status(),
        StatusCode::PRECONDITION_REQUIRED
    );
    assert_eq!(
        patch(&gateway, &session, Some("\"old\""), &good)
            .await
            .status(),
        StatusCode::PRECONDITION_FAILED
    );
    let weak = format!("W/{tag}");
    assert_eq!(
        patch(&gateway, &session, Some(&weak), &good).await.status(),
        StatusCode::PRECONDITION_FAILED
    );
    for (body, expected) in [
        ("nonsense", StatusCode::BAD_REQUEST),
        ("a=ice-ufrag:ysXw\r\n", StatusCode::BAD_REQUEST),
        (
            "a=ice-ufrag:y\r\na=ice-pwd:short\r\n",
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let refused = patch(&gateway, &session, Some(&tag), body).await;
        assert_eq!(refused.status(), expected, "{body}");
        assert!(!error_text(refused).await.is_empty());
    }
    let no_credentials = patch(
        &gateway,
        &session,
        Some("*"),
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n",
    )
    .await;
    assert_eq!(no_credentials.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let sdp = gateway
        .request("PATCH", &session)
        .header("content-type", "application/sdp")
        .header("if-match", &tag)
        .body(good.clone());
    assert_eq!(
        sdp.send().await.unwrap().status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let untyped = gateway
        .request("PATCH", &session)
        .header("if-match", &tag)
        .body(good.clone());
    assert_eq!(
        untyped.send().await.unwrap().status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    // A candidate that cannot be used is dropped in silence; the others count.
    let mixed = good.clone() + "a=candidate:nonsense\r\n";
    assert_eq!(
        patch(&gateway, &session, Some(&tag), &mixed).await.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(gateway.engine.candidates().len(), 1);
    // A restart that fails leaves the session as it was.
    gateway.engine.refuse_restarts();
    assert_eq!(
        patch(&gateway, &session, Some("*"), &fragment(FRESH, 0))
            .await
            .status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        patch(&gateway, &session, Some(&tag), &good).await.status(),
        StatusCode::NO_CONTENT
    );
    gateway.stop().await;
}

#[tokio::test]
async fn h27_sessions_of_others_and_guessed_ones_look_the_same() {
    let gateway = Gateway::start().await;
    let session = gateway.join_by_whep(CAMERA).await;
    let viewer = gateway.engine.viewers()[0];
    let token = session.rsplit('/').next().unwrap();
    let guessed = [
        format!("/whep/{CAMERA}/{}", "0".repeat(token.len())),
        format!("/whep/{CAMERA}/{viewer}"),
        format!("/whep/{OTHER_CAMERA}/{token}"),
        format!("/whep/{CAMERA}/{}", &token[..token.len() - 1]),
        format!(
            "/whep/{CAMERA}/{}",
            token
                .to_uppercase()
                .replace(|c: char| c.is_ascii_digit(), "A")
        ),
    ];
    let mut answers = Vec::new();
    for path in &guessed {
        for method in ["DELETE", "GET"] {
            let response = gateway.request(method, path).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
        }
        let response = patch(&gateway, path, Some("*"), &fragment(FRESH, 1)).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        answers.push(error_text(response).await);
    }
    answers.dedup();
    assert_eq!(
        answers.len(),
        1,
        "foreign, missing and malformed sessions are told apart: {answers:?}"
    );
    assert_eq!(gateway.engine.viewers(), [viewer], "nobody was touched");
    gateway.stop().await;
}

#[tokio::test]
async fn offers_are_refused_by_their_form() {
    let gateway = Gateway::start().await;
    let path = format!("/whep/{CAMERA}");
    let post = |content_type: &'static str, accept: &'static str, body: String| {
        gateway
            .request("POST", &path)
            .header("content-type", content_type)
            .header("accept", accept)
            .body(body)
    };
    let no_h264 = OFFER.replace("H264/90000", "VP8/90000");
    let cases = [
        (
            post("text/plain", "*/*", OFFER.to_owned()),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "application/sdp",
        ),
        (
            post("application/json", "*/*", OFFER.to_owned()),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "application/sdp",
        ),
        (
            post("application/sdp", "text/html", OFFER.to_owned()),
            StatusCode::NOT_ACCEPTABLE,
            "Accept",
        ),
        (
            post("application/sdp", "*/*", String::new()),
            StatusCode::BAD_REQUEST,
            "cannot be used",
        ),
        (
            post("application/sdp", "*/*", "hello".to_owned()),
            StatusCode::BAD_REQUEST,
            "cannot be used",
        ),
        (
            post("application/sdp", "*/*", no_h264),
            StatusCode::BAD_REQUEST,
            "H.264",
        ),
        (
            post("application/sdp", "*/*", "x".repeat(300 * 1024)),
            StatusCode::PAYLOAD_TOO_LARGE,
            "256 KiB",
        ),
    ];
    for (request, status, text) in cases {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{text}");
        let error = error_text(response).await;
        assert!(error.contains(text), "{error}");
    }
    let binary = gateway
        .request("POST", &path)
        .header("content-type", "application/sdp")
        .body(vec![0xFF, 0xFE]);
    assert_eq!(
        binary.send().await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    assert!(gateway.engine.viewers().is_empty());
    assert_eq!(
        post(
            "Application/SDP; charset=utf-8",
            "application/sdp",
            OFFER.to_owned()
        )
        .send()
        .await
        .unwrap()
        .status(),
        StatusCode::CREATED
    );
    gateway.stop().await;
}

#[tokio::test]
async fn h21_sdp_bombs_are_refused_at_once() {
    let gateway = Gateway::start().await;
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    let section = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=rtpmap:96 H264/90000\r\n";
    let bombs = [
        format!("{head}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(7000)),
        format!("{head}a=x:{}\r\n{section}", "y".repeat(200 * 1024)),
        format!("{head}{}", "a=x\r\n".repeat(5000) + section),
        format!("{head}{section}{section}"),
        format!(
            "{head}m=video 9 UDP/TLS/RTP/SAVPF 96 200\r\na=mid:0\r\na=rtpmap:96 H264/90000\r\n"
        ),
        format!(
            "{head}m=video 9 UDP/TLS/RTP/SAVPF {}\r\n",
            "96 ".repeat(20_000).trim_end()
        ),
        "v=0\r\n\0".to_owned(),
    ];
    let mut socket = gateway.socket().await;
    for (index, bomb) in bombs.iter().enumerate() {
        let started = Instant::now();
        let response = gateway.post_offer(CAMERA, bomb).await;
        let status = response.status();
        assert!(status.is_client_error(), "bomb {index}: {status}");
        assert!(started.elapsed() < http_support::DEADLINE);
        socket
            .say(&serde_json::json!({"type": "viewer", "cameraId": CAMERA, "sdpOffer": bomb}))
            .await;
        let error = socket.hear_type("error").await;
        assert_eq!(error["retry"], false, "bomb {index}: {error}");
    }
    assert!(gateway.engine.viewers().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn a_viewer_that_is_gone_takes_its_session_along() {
    let gateway = Gateway::start().await;
    let session = gateway.join_by_whep(CAMERA).await;
    let viewer = gateway.engine.viewers()[0];
    gateway.engine.say(EngineEvent::ViewerGone {
        camera: id(CAMERA),
        viewer,
        reason: ViewerGoneReason::Expired,
    });
    http_support::within("the end of the session", async {
        while gateway
            .request("GET", &session)
            .send()
            .await
            .unwrap()
            .status()
            != StatusCode::NOT_FOUND
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn players_on_listed_pages_can_read_what_they_need() {
    let gateway = Gateway::start().await;
    let path = format!("/whep/{CAMERA}");
    let origin = "http://localhost:5000";
    let preflight = gateway
        .request("OPTIONS", &path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success());
    assert_eq!(header(&preflight, "accept-post"), "application/sdp");
    assert_eq!(header(&preflight, "access-control-allow-origin"), origin);
    assert!(
        header(&preflight, "access-control-allow-headers")
            .to_lowercase()
            .contains("if-match")
    );
    let created = gateway
        .request("POST", &path)
        .header("origin", origin)
        .header("content-type", "application/sdp")
        .body(OFFER)
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    let exposed = header(&created, "access-control-expose-headers").to_lowercase();
    for name in ["location", "etag", "link", "accept-patch", "retry-after"] {
        assert!(exposed.contains(name), "{name} is not in {exposed}");
    }
    let session = header(&created, "location");
    let options = gateway.request("OPTIONS", &session).send().await.unwrap();
    assert_eq!(header(&options, "accept-patch"), SDPFRAG);
    for method in ["PUT", "POST"] {
        let refused = gateway.request(method, &session).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert!(header(&refused, "allow").contains("PATCH"));
    }
    assert_eq!(
        gateway
            .request("PATCH", &path)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    gateway.stop().await;
}
