//! The bytes of one connection on their way to the broker: the first packet is read within bounds before the broker sees
//! any of it, a client that stops reading is given up, and the connection can be closed from outside.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mqtt5::broker::transport::WebSocketTransport;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Largest CONNECT: a camera's, with its last will, has some 400 bytes.
const MAX_FIRST_PACKET: usize = 16 << 10;
/// The first byte of a CONNECT (MQTT 3.1.1 §3.1.1).
const CONNECT: u8 = 0x10;
/// How long a client may read nothing while something waits for it.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// What comes from the network, plain or out of TLS.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Bytes for T {}

/// Why a first packet is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum FirstPacketError {
    #[error("it does not begin with a CONNECT packet; does it speak TLS, or another protocol?")]
    NoConnect,
    #[error("its CONNECT packet is longer than {MAX_FIRST_PACKET} bytes")]
    TooLong,
    #[error("its connection ended before its CONNECT packet did: {0}")]
    Ended(#[from] io::Error),
}

/// Reads until the first packet is whole: a CONNECT, and no longer than it may be. Returns all that was read, which may
/// go beyond it.
pub(super) async fn first_packet(stream: &mut impl Bytes) -> Result<Vec<u8>, FirstPacketError> {
    let mut packet = Vec::with_capacity(512);
    loop {
        let room = MAX_FIRST_PACKET - packet.len();
        if (&mut *stream)
            .take(room as u64)
            .read_buf(&mut packet)
            .await?
            == 0
        {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if packet.first() != Some(&CONNECT) {
            return Err(FirstPacketError::NoConnect);
        }
        match whole_length(&packet)? {
            Some(length) if length > MAX_FIRST_PACKET => return Err(FirstPacketError::TooLong),
            Some(length) if length <= packet.len() => return Ok(packet),
            Some(_) | None => {}
        }
    }
}

/// The length of a packet, its header included, once enough of it is there (MQTT 3.1.1 §2.2.3).
fn whole_length(packet: &[u8]) -> Result<Option<usize>, FirstPacketError> {
    let mut length = 0;
    for (i, byte) in packet.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some(2 + i + length));
        }
    }
    match packet.len() > 4 {
        true => Err(FirstPacketError::NoConnect),
        false => Ok(None),
    }
}

/// A connection as the broker sees it.
pub(super) struct Connection {
    /// What was read already, and how far it was passed on.
    begin: Vec<u8>,
    passed: usize,
    stream: Box<dyn Bytes>,
    address: SocketAddr,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// `begin` comes before what `stream` still has. Cancelling `close` ends it for the broker.
    pub(super) fn new(
        begin: Vec<u8>,
        stream: Box<dyn Bytes>,
        address: SocketAddr,
        close: CancellationToken,
    ) -> Self {
        Self {
            begin,
            passed: 0,
            stream,
            address,
            closed: Box::pin(close.cancelled_owned()),
            stalled: None,
        }
    }

    fn is_closed(&mut self, context: &mut Context<'_>) -> bool {
        self.closed.as_mut().poll(context).is_ready()
    }

    /// What a write comes to: nothing, while it waits, but not for ever.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut dyn Bytes>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.is_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let outcome = write(Pin::new(&mut *self.stream), context);
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + STALLED_AFTER)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        if connection.is_closed(context) {
            // Nothing read is the end.
            return Poll::Ready(Ok(()));
        }
        let left = &connection.begin[connection.passed..];
        if !left.is_empty() {
            let passed = left.len().min(buffer.remaining());
            buffer.put_slice(&left[..passed]);
            connection.passed += passed;
            if connection.passed == connection.begin.len() {
                (connection.begin, connection.passed) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *connection.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .written(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut()
            .written(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut()
            .written(context, |stream, context| stream.poll_shutdown(context))
    }
}

/// What the broker calls the one transport that may be anything.
impl WebSocketTransport for Connection {
    fn peer_addr(&self) -> mqtt5::error::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    async fn read(bytes: &[u8]) -> Result<Vec<u8>, FirstPacketError> {
        let (mut near, mut far) = duplex(64 << 10);
        near.write_all(bytes).await.unwrap();
        drop(near);
        first_packet(&mut far).await
    }

    #[tokio::test]
    async fn h33_only_a_connect_of_bounded_length_is_taken() {
        let whole = [&[0x10, 3][..], b"abc", b"beyond"].concat();
        assert_eq!(read(&whole).await.unwrap(), whole);
        for strange in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[0x16, 3, 1, 0, 5],
            &[0x30, 0],
            &[0],
        ] {
            let error = read(strange).await.unwrap_err();
            assert!(matches!(error, FirstPacketError::NoConnect), "{error}");
        }
        // 256 MiB, and just too much.
        for length in [
            &[0xff, 0xff, 0xff, 0x7f][..],
            &[0xfe, 0xff, 0x00],
            &[0xfe, 0x80, 0x01],
        ] {
            let error = read(&[&[0x10], length].concat()).await.unwrap_err();
            assert!(matches!(error, FirstPacketError::TooLong), "{error}");
        }
        let endless = read(&[0x10, 0xff, 0xff, 0xff, 0xff, 1]).await.unwrap_err();
        assert!(matches!(endless, FirstPacketError::NoConnect), "{endless}");
        for cut in [&[0x10][..], &[0x10, 0x80], &[0x10, 5, 1]] {
            let error = read(cut).await.unwrap_err();
            assert!(matches!(error, FirstPacketError::Ended(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn the_largest_connect_is_taken_in_pieces() {
        let body = MAX_FIRST_PACKET - 4;
        let mut packet = vec![0x10, (body & 0x7f) as u8 | 0x80, (body >> 7 & 0x7f) as u8];
        // 16380 fits into two bytes of length; a third one of zero may be written all the same.
        packet[2] |= 0x80;
        packet.push(0);
        packet.resize(MAX_FIRST_PACKET, b'x');
        let (mut near, mut far) = duplex(7);
        let sent = packet.clone();
        let sending = tokio::spawn(async move { near.write_all(&sent).await });
        assert_eq!(first_packet(&mut far).await.unwrap(), packet);
        sending.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn h34_who_stops_reading_is_given_up() {
        let (_near, far) = duplex(16);
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let token = CancellationToken::new();
        let mut connection = Connection::new(Vec::new(), Box::new(far), address, token);
        let began = Instant::now();
        let error = connection.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= STALLED_AFTER);
    }

    #[tokio::test]
    async fn closing_ends_reads_and_writes_that_wait() {
        let (_near, far) = duplex(16);
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let token = CancellationToken::new();
        let mut connection = Connection::new(vec![1], Box::new(far), address, token.clone());
        assert_eq!(connection.read_u8().await.unwrap(), 1);
        let reading = tokio::spawn(async move {
            let end = connection.read(&mut [0]).await.unwrap();
            (end, connection.write_all(&[0]).await.unwrap_err().kind())
        });
        token.cancel();
        assert_eq!(
            reading.await.unwrap(),
            (0, io::ErrorKind::ConnectionAborted)
        );
    }
}
