//! Receivers that misbehave, and names that mean something else the next time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::config::values::IpNetwork;
use crate::mqtt::tls;
use crate::webhooks::address::Lookup;

const NAME: &str = "hooks.example";

/// A name server that answers each question differently.
struct Answers(Mutex<VecDeque<Vec<SocketAddr>>>);

#[async_trait]
impl Lookup for Answers {
    async fn lookup(&self, name: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(name, NAME);
        Ok(self
            .0
            .lock()
            .unwrap()
            .pop_front()
            .expect("it is asked once an attempt"))
    }
}

/// May send to 127.0.0.1 and to nobody else here.
fn sender(answers: &[&[SocketAddr]]) -> Sender {
    let answers = answers.iter().map(|answer| answer.to_vec()).collect();
    Sender {
        key: hmac::Key::new(hmac::HMAC_SHA256, b"secret"),
        door: Door {
            tls: Arc::new(tls::trusting("webhooks.ca", None).unwrap()),
            allowed: vec![IpNetwork::new([127, 0, 0, 1].into(), 32).unwrap()],
            names: Box::new(Answers(Mutex::new(answers))),
        },
    }
}

fn message() -> Message {
    Message {
        id: "1".to_owned(),
        kind: "webhook.test".to_owned(),
        body: "{}".to_owned(),
    }
}

async fn listen(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads the head of a request, then says `answer`, as often as is asked for.
fn serve(listener: TcpListener, answer: &'static [u8], times: usize) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut head = [0; 4096];
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read(&mut head).await.unwrap();
        for _ in 0..times {
            if stream.write_all(answer).await.is_err() {
                break; // it has heard enough
            }
        }
        String::from_utf8(head[..length].to_vec()).unwrap()
    })
}

fn url(port: u16) -> ReceiverUrl {
    ReceiverUrl::of(&format!("http://{NAME}:{port}/hook?a=1"))
}

#[tokio::test]
async fn h10_the_address_that_was_judged_is_the_one_that_is_connected_to() {
    let (good, address) = listen("127.0.0.1:0").await;
    let (bad, elsewhere) = listen("127.0.0.2:0").await;
    // Asked again it would say the other one; for the next attempt it does.
    let sender = sender(&[&[address], &[elsewhere], &[address, elsewhere], &[]]);
    let heard = serve(good, b"HTTP/1.1 204 No Content\r\n\r\n", 1);
    let url = url(address.port());
    assert_eq!(
        sender.send(&url, &message()).await.unwrap(),
        StatusCode::NO_CONTENT
    );
    let head = heard.await.unwrap();
    assert!(head.starts_with("POST /hook?a=1 HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("host: {NAME}:{}\r\n", address.port())),
        "{head}"
    );
    for _ in 0..2 {
        let refused = sender.send(&url, &message()).await.unwrap_err();
        assert!(refused.to_string().contains("127.0.0.2/32"), "{refused}");
    }
    let none = sender.send(&url, &message()).await.unwrap_err();
    assert!(none.to_string().contains("no address"), "{none}");
    // Nobody has tried the other.
    let tried = futures_util::FutureExt::now_or_never(bad.accept());
    assert!(tried.is_none(), "{tried:?}");
}

#[tokio::test]
async fn an_answer_is_not_read_beyond_its_head_nor_without_bound() {
    for (answer, times, expected) in [
        (
            &b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nxxxxxxxx"[..],
            1,
            Some(200),
        ),
        (b"HTTP/1.1 500 Oops\r\n\r\n", 1, Some(500)),
        (
            b"HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\n\r\n",
            1,
            Some(301),
        ),
        (b"x: HTTP/1.1 200 OK\r\n", 1_000_000, None),
        (b"SSH-2.0-OpenSSH\r\n", 1, None),
        (b"", 1, None),
    ] {
        let (listener, address) = listen("127.0.0.1:0").await;
        let heard = serve(listener, answer, times);
        let outcome = sender(&[&[address]])
            .send(&url(address.port()), &message())
            .await;
        let status = match &outcome {
            Ok(status) | Err(DeliveryError::Status(status) | DeliveryError::Redirect(status)) => {
                Some(status.as_u16())
            }
            Err(DeliveryError::Http(_)) => None,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(status, expected, "{}", String::from_utf8_lossy(answer));
        assert_eq!(outcome.is_ok(), status == Some(200));
        heard.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_never_answers_is_given_up() {
    let (listener, address) = listen("127.0.0.1:0").await;
    let outcome = sender(&[&[address]])
        .send(&url(address.port()), &message())
        .await;
    assert!(matches!(outcome, Err(DeliveryError::Silent)), "{outcome:?}");
    drop(listener);
}

#[tokio::test]
async fn https_is_spoken_with_whom_the_authority_vouches_for() {
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, own.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    for trusted in [true, false] {
        let (listener, address) = listen("127.0.0.1:0").await;
        let acceptor = acceptor.clone();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut head = [0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            assert!(head[..length].starts_with(b"POST / HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        });
        let mut sender = sender(&[&[address]]);
        if trusted {
            sender.door.tls = Arc::new(tls::trusting("webhooks.ca", Some(&ca)).unwrap());
        }
        let url = ReceiverUrl::of(&format!("https://{NAME}:{}/", address.port()));
        let outcome = sender.send(&url, &message()).await;
        match trusted {
            true => assert_eq!(outcome.unwrap(), StatusCode::OK),
            false => assert!(matches!(outcome, Err(DeliveryError::Tls(_))), "{outcome:?}"),
        }
        serving.await.unwrap();
    }
}

#[test]
fn only_what_is_the_events_fault_is_a_refusal() {
    for (code, is_refusal) in [
        (400, true),
        (401, true),
        (410, true),
        (408, false),
        (429, false),
        (500, false),
        (503, false),
    ] {
        let error = DeliveryError::Status(StatusCode::from_u16(code).unwrap());
        assert_eq!(error.is_refusal(), is_refusal, "{code}");
    }
}
