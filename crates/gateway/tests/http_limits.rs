//! Requests that are slow, huge or many: each is answered or cut, what they take is bounded, and others are served meanwhile.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use apiary::http::Bounds;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

mod http_support;
use http_support::{CAMERA, Gateway, Socket, within};

/// Short enough for a test to wait for, long enough for those who are not slow.
const SHORT: Duration = Duration::from_millis(500);
/// What all of an attack may cost in memory (h14).
const MEMORY: usize = 64 << 20;

fn impatient() -> Bounds {
    let mut bounds = Bounds::new(1024, 1024);
    bounds.head_timeout = SHORT;
    bounds.body_timeout = SHORT;
    bounds.stall_timeout = SHORT;
    bounds
}

async fn connect(address: SocketAddr) -> TcpStream {
    within("connecting", TcpStream::connect(address))
        .await
        .unwrap()
}

/// Everything that comes until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let ended = within("the close", stream.read_to_end(&mut answer)).await;
    match ended {
        Ok(_) => {}
        // It was closed with something unread.
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a whole request as far as it is taken, and gives what is answered.
async fn ask(gateway: &Gateway, request: &[u8]) -> String {
    let (mut reader, mut writer) = connect(gateway.http).await.into_split();
    let request = request.to_vec();
    let writing = tokio::spawn(async move {
        // It may be closed before all is sent.
        _ = writer.write_all(&request).await;
        writer
    });
    let mut answer = Vec::new();
    _ = within("an answer", reader.read_to_end(&mut answer)).await;
    writing.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn assert_serves(gateway: &Gateway) {
    assert_eq!(gateway.get_json("/health").await["status"], "healthy");
}

/// Resident memory of this process.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[tokio::test]
async fn h14_slow_heads_are_cut_and_others_served() {
    let gateway = Gateway::start_within(impatient()).await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = connect(gateway.http).await;
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            .await
            .unwrap();
        slow.push(stream);
    }
    assert_serves(&gateway).await;
    for mut stream in slow {
        assert_eq!(rest(&mut stream).await, "");
    }
    gateway.stop().await;
}

/// One octet at a time does not buy more time.
#[tokio::test]
async fn h14_a_head_that_drips_is_cut() {
    let gateway = Gateway::start_within(impatient()).await;
    let mut stream = connect(gateway.http).await;
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    let cut = within("the cut", async {
        let mut pause = tokio::time::interval(SHORT / 20);
        loop {
            pause.tick().await;
            if let Err(error) = stream.write_all(b"x").await {
                return error.kind();
            }
        }
    });
    let cut = cut.await;
    assert!(matches!(
        cut,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    ));
    gateway.stop().await;
}

#[tokio::test]
async fn h14_slow_bodies_are_told_and_cut() {
    let gateway = Gateway::start_within(impatient()).await;
    let mut stream = connect(gateway.http).await;
    let head = format!(
        "POST /streams/{CAMERA}/start HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_serves(&gateway).await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("not sent in time"), "{answer}");
    assert!(answer.contains("content-security-policy: "), "{answer}");
    gateway.stop().await;
}

/// Neither a WebSocket nor one that waits for the next request is a slow request.
#[tokio::test]
async fn what_lasts_is_not_cut() {
    let gateway = Gateway::start_within(impatient()).await;
    let mut socket = gateway.socket().await;
    let mut slow = connect(gateway.http).await;
    slow.write_all(b"GET").await.unwrap();
    // All times have passed for the socket, when they have for what came after it.
    rest(&mut slow).await;
    socket.say(&json!({"type": "unheard"})).await;
    assert_eq!(socket.hear_type("error").await["type"], "error");
    gateway.stop().await;
}

/// Who asks for much and takes nothing is cut, though it never stops to send.
#[tokio::test]
async fn h14_a_client_that_does_not_read_is_cut() {
    let gateway = Gateway::start_within(impatient()).await;
    let (_unread, mut writer) = connect(gateway.http).await.into_split();
    let requests = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let cut = within("the cut", async {
        loop {
            if let Err(error) = writer.write_all(&requests).await {
                return error.kind();
            }
        }
    });
    let cut = cut.await;
    assert!(matches!(
        cut,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    ));
    assert_serves(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn h14_bodies_of_a_gibibyte_are_not_kept() {
    let gateway = Gateway::start().await;
    assert_serves(&gateway).await;
    let before = memory();
    let mut attackers = JoinSet::new();
    for chunked in [false, true].repeat(8) {
        let stream = connect(gateway.http).await;
        attackers.spawn(send_gibibyte(stream, chunked));
    }
    assert_serves(&gateway).await;
    while let Some(answer) = attackers.join_next().await {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < MEMORY, "{grown} octets");
    gateway.stop().await;
}

async fn send_gibibyte(stream: TcpStream, chunked: bool) -> String {
    let (mut reader, mut writer) = stream.into_split();
    let length = if chunked {
        "Transfer-Encoding: chunked"
    } else {
        "Content-Length: 1073741824"
    };
    let head = format!(
        "POST /whep/{CAMERA} HTTP/1.1\r\nHost: a\r\nContent-Type: application/sdp\r\n{length}\r\n\r\n"
    );
    writer.write_all(head.as_bytes()).await.unwrap();
    let sending = tokio::spawn(async move {
        let mut piece = vec![b'v'; 64 << 10];
        if chunked {
            piece.splice(0..0, b"10000\r\n".iter().copied());
            piece.extend(b"\r\n");
        }
        for _ in 0..(1 << 30) / (64 << 10) {
            if writer.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    let mut answer = vec![0; 1024];
    let read = within("the refusal", reader.read(&mut answer)).await;
    sending.abort();
    String::from_utf8_lossy(&answer[..read.unwrap()]).into_owned()
}

#[tokio::test]
async fn h14_huge_heads_are_refused() {
    let gateway = Gateway::start().await;
    let long = format!(
        "GET /health HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let many = format!(
        "GET /health HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X-Many: 1\r\n".repeat(1000)
    );
    for request in [long, many] {
        let answer = ask(&gateway, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert_serves(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn h14_long_addresses_are_refused() {
    let gateway = Gateway::start().await;
    let path = format!("/cameras?a={}", "x".repeat(8 << 10));
    let answer = gateway.request("GET", &path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::URI_TOO_LONG);
    assert!(answer.headers().contains_key("content-security-policy"));
    let parameters = format!(
        "GET /cameras?{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "a=1&".repeat(1_000_000)
    );
    let answer = ask(&gateway, parameters.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 414 ") || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    let few = format!("/health?{}", "a=1&".repeat(1000));
    assert_eq!(gateway.get_json(&few).await["status"], "healthy");
    gateway.stop().await;
}

#[tokio::test]
async fn h14_deep_json_is_refused() {
    let gateway = Gateway::start().await;
    for deep in [
        format!("{{\"max_bandwidth\":{}", "[".repeat(200_000)),
        "{\"a\":".repeat(40_000),
    ] {
        let answer = gateway
            .request("POST", &format!("/streams/{CAMERA}/start"))
            .header("content-type", "application/json")
            .body(deep)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
    assert_serves(&gateway).await;
    gateway.stop().await;
}

/// f07: one too many is told so, and those inside lose nothing.
#[tokio::test]
async fn f07_one_connection_too_many_is_told() {
    let gateway = Gateway::start_within(Bounds::new(2, 2)).await;
    let mut socket = gateway.socket().await;
    let mut second = connect(gateway.http).await;
    second
        .write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 64];
    within("an answer", second.read(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    let refused = ask(&gateway, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("try again shortly"), "{refused}");
    assert!(refused.contains("Content-Security-Policy: "), "{refused}");
    socket.say(&json!({"type": "unheard"})).await;
    socket.hear_type("error").await;
    // A place that was left is given again, and that of a socket counts until the socket is closed.
    drop(second);
    within("a place", async {
        while gateway
            .request("GET", "/health")
            .send()
            .await
            .unwrap()
            .status()
            != StatusCode::OK
        {}
    })
    .await;
    gateway.stop().await;
}

/// f07: without descriptors for new connections, open ones go on; afterwards those that waited are served.
#[tokio::test]
async fn f07_without_descriptors_open_connections_go_on() {
    let gateway = Gateway::start().await;
    let mut socket = Socket::open(&format!("ws://{}/ws", gateway.http), None)
        .await
        .unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 128, hard).unwrap();
    let mut fill = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        fill.push(file);
    }
    // The last one is for the client's own end.
    fill.pop();
    let mut waiting = connect(gateway.http).await;
    waiting
        .write_all(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..10 {
        socket.say(&json!({"type": "unheard"})).await;
        socket.hear_type("error").await;
    }
    let mut nothing = [0; 1];
    let read = waiting.try_read(&mut nothing);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(fill);
    let answer = rest(&mut waiting).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    gateway.stop().await;
}

#[test]
fn f07_connections_leave_descriptors_for_streams() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 400, hard).unwrap();
    let bounds = Bounds::new(8192, 256).within_descriptors();
    assert_eq!(bounds.max_connections, 300);
    assert_eq!(
        Bounds::new(200, 256).within_descriptors().max_connections,
        200
    );
}
