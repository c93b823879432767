//! An MQTT 3.1.1 client that sends what it is told, right or wrong, and reads only when asked.

use std::net::SocketAddr;
use std::sync::Arc;

use apiary::config::{TlsFiles, Verify};
use apiary::mqtt::tls;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::soon;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a CONNECT may have beside the client id.
#[derive(Default)]
pub(crate) struct AtMost {
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// Topic of a last will that says "disconnected".
    pub(crate) will: Option<String>,
    /// The session is to outlast the connection.
    pub(crate) lasting: bool,
}

pub(crate) struct Raw {
    stream: Box<dyn Stream>,
    pub(crate) session_present: bool,
    /// Messages that came while something else was waited for.
    received: Vec<(String, Vec<u8>)>,
}

/// The return code of a refusal.
pub(crate) fn refused(answer: Result<Raw, u8>) -> u8 {
    answer.err().expect("it is refused")
}

pub(crate) async fn with_tls(address: SocketAddr, files: &TlsFiles) -> impl Stream + 'static {
    let config = tls::client_config(files, Verify::Full).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::from(address.ip());
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    loop {
        let more = if left > 127 { 0x80 } else { 0 };
        packet.push((left & 0x7f) as u8 | more);
        left >>= 7;
        if left == 0 {
            return [&packet[..], body].concat();
        }
    }
}

impl Raw {
    /// Over plain TCP, with a clean session. The error is the CONNACK's code, or 0 where the connection just ended.
    pub(crate) async fn connect(address: SocketAddr, id: &str) -> Result<Self, u8> {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::greet(stream, id, AtMost::default()).await
    }

    pub(crate) async fn greet(
        stream: impl Stream + 'static,
        id: &str,
        with: AtMost,
    ) -> Result<Self, u8> {
        let mut raw = Self {
            stream: Box::new(stream),
            session_present: false,
            received: Vec::new(),
        };
        let mut flags = if with.lasting { 0 } else { 0x02 };
        let mut payload = text(id);
        if let Some(topic) = &with.will {
            flags |= 0x04 | 0x08;
            payload.extend(text(topic));
            payload.extend(text("{\"status\":\"disconnected\"}"));
        }
        if let Some((username, password)) = with.login {
            flags |= 0xc0;
            payload.extend(text(username));
            payload.extend(text(password));
        }
        let body = [&text("MQTT")[..], &[4, flags, 0, 60], &payload].concat();
        // The other side may have closed already.
        _ = raw.stream.write_all(&packet(0x10, &body)).await;
        match soon("the answer to CONNECT", raw.packet()).await {
            Some((0x20, answer)) if answer[1] == 0 => {
                raw.session_present = answer[0] == 1;
                Ok(raw)
            }
            Some((0x20, answer)) => Err(answer[1]),
            None => Err(0),
            Some(other) => panic!("{other:?} answers CONNECT"),
        }
    }

    /// The next packet, or nothing at the end.
    async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    /// The next packet of a kind; messages before it are kept for later.
    async fn answer(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let packet = soon("an answer", self.packet()).await;
            let (first, body) = packet.expect("the connection stands");
            if first & 0xf0 == 0x30 {
                self.take(first, &body).await;
            } else {
                assert_eq!(first, kind, "{body:?}");
                return body;
            }
        }
    }

    async fn take(&mut self, first: u8, body: &[u8]) {
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let mut payload = &body[2 + length..];
        if first & 0x06 != 0 {
            let ack = packet(0x40, &payload[..2]);
            payload = &payload[2..];
            self.stream.write_all(&ack).await.unwrap();
        }
        self.received.push((topic, payload.to_vec()));
    }

    /// Subscribes with QoS 1; whether it was allowed.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> bool {
        let body = [&[0, 1][..], &text(filter), &[1]].concat();
        self.stream.write_all(&packet(0x82, &body)).await.unwrap();
        let answer = self.answer(0x90).await;
        assert_eq!(answer.len(), 3);
        answer[2] <= 2
    }

    /// Publishes with QoS 1, until it is acknowledged.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) {
        let body = [&text(topic)[..], &[0, 1], payload].concat();
        let first = 0x32 | u8::from(retain);
        self.stream.write_all(&packet(first, &body)).await.unwrap();
        // Exactly two bytes: MQTT 3.1.1 knows no reasons (§3.4).
        assert_eq!(self.answer(0x40).await, [0, 1]);
    }

    /// The next message.
    pub(crate) async fn received(&mut self) -> (String, Vec<u8>) {
        while self.received.is_empty() {
            let packet = soon("a message", self.packet()).await;
            let (first, body) = packet.expect("the connection stands");
            self.take(first, &body).await;
        }
        self.received.remove(0)
    }

    /// Done when the broker ended the connection.
    pub(crate) async fn ended(&mut self) {
        while self.packet().await.is_some() {}
    }

    /// Done when the broker ended the connection, found out by writing alone.
    pub(crate) async fn gone_without_reading(&mut self) {
        const PING: [u8; 2] = [0xc0, 0];
        while self.stream.write_all(&PING).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// Says goodbye in order.
    pub(crate) async fn disconnect(mut self) {
        self.stream.write_all(&[0xe0, 0]).await.unwrap();
        self.ended().await;
    }
}
